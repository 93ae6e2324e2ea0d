// Runs every contender on the same models, the same adapter and in the same run, and prints the tables of docs/benchmarks.md.
// Usage: node test/bench/run.mjs [--rounds 2] [--seconds 6] [--models decoder,digits] [--only heddle,jax-js,tfjs] [--trusted | --checked]
//   [--json FILE] [--markdown FILE]
//   --rounds   times that each contender runs, in turn, so that a busy moment of the machine does not hit one alone
//   --seconds  time for the median of each measure
//   --trusted  Dawn without bounds checks (disable_robustness) for the others too; Heddle has proven its own kernels
//   --checked  bounds checks for Heddle too
// HEDDLE_ADAPTER chooses the adapter. Exit code 0; 1 if a contender failed or is wrong; 2 for a wrong option.
// Each contender is a process of its own that prints one line of JSON (Report in peers/contender.mjs).

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exit, stderr } from "node:process";
import { parseArgs } from "node:util";
import { reportOf } from "./peers/report_of.mjs";
import { MODELS, isRightIn, merged, table } from "./table.mjs";

const CONTENDERS = {
  decoder: { heddle: "heddle.mjs", "jax-js": "peers/jax.mjs", tfjs: "peers/tfjs.mjs" },
  digits: { heddle: "digits_heddle.mjs", "jax-js": "peers/digits_jax.mjs", tfjs: "peers/digits_tfjs.mjs" },
};

function options() {
  try {
    return parseArgs({
      options: {
        rounds: { type: "string", default: "2" },
        seconds: { type: "string", default: "6" },
        models: { type: "string", default: "decoder,digits" },
        only: { type: "string", default: "heddle,jax-js,tfjs" },
        checked: { type: "boolean", default: false },
        trusted: { type: "boolean", default: false },
        json: { type: "string" },
        markdown: { type: "string" },
      },
    }).values;
  } catch (thrown) {
    stderr.write(`${thrown.message}\n`);
    return exit(2);
  }
}

const { rounds, seconds, models, only, trusted, checked, json, markdown } = options();
const wanted = models.split(","), names = only.split(",");
if (!wanted.every((model) => model in CONTENDERS) || !names.every((name) => name in CONTENDERS.decoder) || !(Number(rounds) >= 1) || !(Number(seconds) > 0)) {
  stderr.write("--models names decoder or digits; --only names heddle, jax-js or tfjs; --rounds and --seconds are numbers above 0\n");
  exit(2);
}
const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
const extra = {
  BENCH_SECONDS: seconds,
  BENCH_PROBLEM: join(folder, "digits.json"), // the first to want the truth makes it for all
  ...(trusted ? { BENCH_DAWN_FEATURES: "disable_robustness" } : {}),
  ...(checked ? { BENCH_CHECKED: "1" } : {}),
};

/** @type {Record<string, import("./peers/contender.mjs").Report[]>} */
const results = {};
let failed = false, text = "";
for (const model of wanted) {
  /** @type {Map<string, import("./peers/contender.mjs").Report[]>} */
  const reports = new Map();
  for (let round = 1; round <= Number(rounds); round++) {
    for (const name of names) {
      stderr.write(`${model}, round ${round} of ${rounds}: ${name}\n`);
      const report = await reportOf(join(import.meta.dirname, CONTENDERS[model][name]), extra);
      if (report === undefined) failed = true;
      else reports.set(name, [...(reports.get(name) ?? []), report]);
    }
  }
  results[model] = [...reports.values()].map(merged);
  failed ||= !results[model].every(({ errors }) => isRightIn(MODELS[model], errors));
  text += `## ${MODELS[model].title}\n\n${table(results[model], MODELS[model])}\n`;
}
rmSync(folder, { recursive: true });
console.log(text);
if (json !== undefined) writeFileSync(json, `${JSON.stringify(results, undefined, 2)}\n`);
if (markdown !== undefined) writeFileSync(markdown, text);
exit(failed ? 1 : 0);
