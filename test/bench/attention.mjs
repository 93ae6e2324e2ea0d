// Attention under masks, beside the same attention without a mask, with the mask as a bias table, and in jax-js and tfjs.
// Usage: node test/bench/attention.mjs [--masks causal,window,documents,prefix,images,scales] [--lengths 256,512,1024,2048]
//   [--passes forward,both] [--only heddle,bias,jax-js,tfjs] [--rounds 2] [--seconds 2] [--most 60] [--clock wall|cpu]
//   [--json FILE] [--markdown FILE] [--docs]
//        node test/bench/attention.mjs --memory [--tokens 8192] [--mask window] [--run]
//   --rounds    times that each contender runs, in turn
//   --seconds   time for the median of each measure, at least three runs each
//   --most      seconds: a measure that would take longer (four times that of half the length) is left out, and the table says so
//   --clock     cpu shows processor time of all threads, which a software adapter on a busy machine is better judged by
//   --docs      puts the tables into docs/benchmarks.md, between its bench:attention marks
//   --memory    bytes of forward and backward on a long row; with --run also runs it
// HEDDLE_ADAPTER chooses the adapter. Exit code 0; 1 if a contender failed or is wrong; 2 for a wrong option.
// Each contender is a process of its own; the dense ones do the same work whatever the mask, and are measured with one.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exit, stderr } from "node:process";
import { parseArgs } from "node:util";
import { memory } from "./attention/memory.mjs";
import { sources } from "./attention/problem.mjs";
import { attentionTables, mergedCells } from "./attention/table.mjs";
import { root } from "./peers/bundled.mjs";
import { reportOf } from "./peers/report_of.mjs";

const SCRIPTS = { heddle: "heddle.mjs", bias: "heddle.mjs", "jax-js": "jax.mjs", tfjs: "tfjs.mjs" };
const PASSES = ["forward", "both"];

function refuse(/** @type {string} */ why) {
  stderr.write(`${why}\n`);
  return exit(2);
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        masks: { type: "string", default: "causal,window,documents,prefix,images,scales" }, lengths: { type: "string", default: "256,512,1024,2048" },
        passes: { type: "string", default: "forward,both" }, only: { type: "string", default: "heddle,bias,jax-js,tfjs" },
        rounds: { type: "string", default: "2" }, seconds: { type: "string", default: "2" }, most: { type: "string", default: "60" }, clock: { type: "string", default: "wall" },
        json: { type: "string" }, markdown: { type: "string" }, docs: { type: "boolean", default: false },
        memory: { type: "boolean", default: false }, tokens: { type: "string", default: "8192" }, mask: { type: "string", default: "window" }, run: { type: "boolean", default: false },
      },
    });
    const list = (/** @type {string} */ text) => text.split(",");
    const lengths = list(values.lengths).map(Number).sort((a, b) => a - b);
    const numbers = { rounds: Number(values.rounds), seconds: Number(values.seconds), most: Number(values.most), tokens: Number(values.tokens) };
    if (!lengths.every((t) => Number.isInteger(t) && t > 0) || !Object.values(numbers).every((n) => n > 0)) throw new Error("--lengths, --rounds, --seconds, --most and --tokens are numbers above 0");
    if (!list(values.only).every((c) => c in SCRIPTS)) throw new Error(`--only names ${Object.keys(SCRIPTS).join(", ")}`);
    if (!list(values.passes).every((p) => PASSES.includes(p))) throw new Error(`--passes names ${PASSES.join(", ")}`);
    if (values.clock !== "wall" && values.clock !== "cpu") throw new Error("--clock is wall or cpu");
    return { ...values, ...numbers, lengths, masks: list(values.masks), passes: list(values.passes), only: list(values.only) };
  } catch (thrown) {
    return refuse(thrown.message);
  }
}

/** @returns {Promise<{ name: string, adapter: string, cells: import("./attention/problem.mjs").Cell[] } | undefined>} */
const runOne = (contender, asked) =>
  reportOf(join(import.meta.dirname, "attention", SCRIPTS[contender]), { BENCH_ATTENTION: JSON.stringify(asked), BENCH_BIAS: contender === "bias" ? "1" : "0" }, contender);

const o = options();
const heddle = await sources();
if (![...o.masks, o.mask].every((m) => m in heddle.masks)) refuse(`masks are ${Object.keys(heddle.masks).join(", ")}`);
if (o.memory) exit(await memory(heddle, { tokens: o.tokens, mask: o.mask, run: o.run }));

const names = new Map(), cells = [];
let adapter = "", failed = false;
/** Runs of a contender: ours gives everything back between measures; of others, pools outlive a measure, so each has a process. */
function* runsOf(contender) {
  const common = { seconds: o.seconds, most: o.most };
  if (contender === "heddle" || contender === "bias") return void (yield { ...common, masks: o.masks, lengths: o.lengths, passes: o.passes });
  const other = o.masks.filter((m) => m !== "causal").slice(-1);
  const kinds = contender === "jax-js" ? [...(o.masks.includes("causal") ? ["causal"] : []), ...other] : [other[0] ?? "causal"];
  for (const t of o.lengths) for (const mask of kinds) for (const pass of o.passes) yield { ...common, masks: [mask], lengths: [t], passes: [pass] };
}
for (let round = 1; round <= o.rounds; round++) for (const contender of o.only) {
  const last = new Map();
  for (const asked of runsOf(contender)) {
    const [mask, t, pass] = [asked.masks[0], asked.lengths[0], asked.passes[0]];
    const single = asked.lengths.length === 1 && asked.masks.length === 1;
    stderr.write(`round ${round} of ${o.rounds}: ${contender}${single ? ` ${mask} ${t} ${pass}` : ""}\n`);
    const before = single ? last.get(`${mask} ${pass}`) : undefined;
    if (before !== undefined && (before.ms * (t / before.t) ** 2) / 1000 > o.most) {
      cells.push({ contender, mask: contender === "jax-js" && mask === "causal" ? "causal" : "any", t, pass, why: `over ${o.most} s` });
      continue;
    }
    const report = await runOne(contender, asked);
    if (report === undefined) { failed = true; continue; }
    names.set(contender, report.name);
    adapter = report.adapter;
    cells.push(...report.cells);
    for (const c of report.cells) if (c.median !== undefined) last.set(`${mask} ${pass}`, { t, ms: c.median });
  }
}

const merged = mergedCells(cells);
const titles = Object.fromEntries(o.masks.map((m) => [m, heddle.masks[m].title]));
const tables = attentionTables({ cells: merged, masks: o.masks, titles, skipped: (m, t) => heddle.skipped(heddle.masks[m], t), clock: o.clock === "cpu" ? "cpu" : "median" });
const text = `Adapter: ${adapter}. ${[...new Set(names.values())].join(", ")}.\n\n${tables.text}`;
console.log(text);
if (o.json !== undefined) writeFileSync(o.json, `${JSON.stringify({ adapter, names: Object.fromEntries(names), cells: merged }, undefined, 2)}\n`);
if (o.markdown !== undefined) writeFileSync(o.markdown, text);
if (o.docs) {
  const page = join(root, "docs/benchmarks.md");
  const [open, close] = ["<!-- bench:attention -->", "<!-- /bench:attention -->"];
  const [head, rest] = readFileSync(page, "utf8").split(open);
  const tail = rest?.split(close)[1];
  if (tail === undefined) refuse(`${page} lacks the marks ${open} and ${close}`);
  writeFileSync(page, `${head}${open}\n\n${text}\n${close}${tail}`);
}
exit(failed || tables.wrong > 0 ? 1 : 0);
