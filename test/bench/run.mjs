// Runs every contender on the same decoder, the same adapter and in the same run, and prints the table of docs/benchmarks.md.
// Usage: node test/bench/run.mjs [--rounds 2] [--seconds 6] [--only heddle,jax-js,tfjs] [--trusted] [--json FILE] [--markdown FILE]
//   --rounds   times that each contender runs, in turn, so that a busy moment of the machine does not hit one alone
//   --seconds  time for the median of each measure
//   --trusted  Dawn without bounds checks (disable_robustness), for all contenders alike
// HEDDLE_ADAPTER chooses the adapter. Exit code 0; 1 if a contender failed or is wrong; 2 for a wrong option.
// Each contender is a process of its own that prints one line of JSON (Report in peers/contender.mjs).

import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { env, exit, stderr } from "node:process";
import { parseArgs } from "node:util";
import { isRight } from "./reference/compare.mjs";
import { merged, table } from "./table.mjs";

const CONTENDERS = [
  { name: "heddle", script: "heddle.mjs" },
  { name: "jax-js", script: "peers/jax.mjs" },
  { name: "tfjs", script: "peers/tfjs.mjs" },
].map(({ name, script }) => ({ name, script: join(import.meta.dirname, script) }));

/** @returns {Promise<import("./peers/contender.mjs").Report | undefined>} */
function runOne(script, extra) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script], { env: { ...env, ...extra }, stdio: ["ignore", "pipe", "pipe"] });
    let out = "", errors = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.on("close", (code) => {
      const line = out.split("\n").findLast((text) => text.startsWith("{"));
      if (code === 0 && line !== undefined) return resolve(JSON.parse(line));
      stderr.write(`${script} failed with exit code ${code}\n${errors}\n`);
      resolve(undefined);
    });
  });
}

function options() {
  try {
    return parseArgs({
      options: {
        rounds: { type: "string", default: "2" },
        seconds: { type: "string", default: "6" },
        only: { type: "string" },
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

const { rounds, seconds, only, trusted, json, markdown } = options();
const chosen = CONTENDERS.filter(({ name, script }) => existsSync(script) && (only === undefined || only.split(",").includes(name)));
if (chosen.length === 0 || !(Number(rounds) >= 1) || !(Number(seconds) > 0)) {
  stderr.write("--only names heddle, jax-js or tfjs; --rounds and --seconds are numbers above 0\n");
  exit(2);
}
const extra = { BENCH_SECONDS: seconds, ...(trusted ? { BENCH_DAWN_FEATURES: "disable_robustness" } : {}) };

/** @type {Map<string, import("./peers/contender.mjs").Report[]>} */
const reports = new Map();
let failed = false;
for (let round = 1; round <= Number(rounds); round++) {
  for (const { name, script } of chosen) {
    stderr.write(`round ${round} of ${rounds}: ${name}\n`);
    const report = await runOne(script, extra);
    if (report === undefined) failed = true;
    else reports.set(name, [...(reports.get(name) ?? []), report]);
  }
}
const results = [...reports.values()].map(merged);
failed ||= !results.every(({ errors }) => isRight(errors));
const text = table(results);
console.log(text);
if (json !== undefined) writeFileSync(json, `${JSON.stringify(results, undefined, 2)}\n`);
if (markdown !== undefined) writeFileSync(markdown, text);
exit(failed ? 1 : 0);
