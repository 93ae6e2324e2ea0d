// A mixture of experts (SwiGLU, top 2, its router included) beside a dense network of the same active work, on the same adapter in
// the same run: times, dispatches, bytes against the least that must move, and all rows on two of the experts.
// Usage: node test/bench/moe.mjs [--experts 8,64] [--tokens 2048] [--width 128] [--hidden 128] [--seconds 40] [--json FILE] [--docs]
//   --seconds  time for all measures together, taken in turn, so that a busy moment does not hit one alone
//   --docs     puts the table into docs/benchmarks.md, between its bench:moe marks
// HEDDLE_ADAPTER chooses the adapter. Exit code 0; 1 if a result is wrong; 2 for a wrong option.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exit, stderr } from "node:process";
import { parseArgs } from "node:util";
import { moeTable } from "./moe/table.mjs";
import { installGpu } from "./peers/adapter.mjs";
import { bundled, root } from "./peers/bundled.mjs";

const ENTRY = `
export { planOf, statesOf, weightElements } from "./test/bench/moe/graphs.ts";
export { judge } from "./test/bench/moe/judge.ts";
export { targetOf } from "./cli/compile.ts";
export { evalInt } from "./compiler/plan/expr.ts";
export { describeNodeAdapter, openNodeDevice } from "./runtime/device/node.ts";
export { ArenaPool, LoadedProgram, Stager, runPrograms } from "./runtime/exec/executor.ts";
export { PipelineCache } from "./runtime/exec/pipelines.ts";
export { StateStore } from "./runtime/exec/states.ts";
export { numbers } from "./test/templates/attention_graph.ts";
export { version } from "./cli/package_root.ts";
`;

const BOUND = 1e-4;
const CHOICES = 2;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        experts: { type: "string", default: "8,64" }, tokens: { type: "string", default: "2048" }, width: { type: "string", default: "128" }, hidden: { type: "string", default: "128" },
        seconds: { type: "string", default: "40" }, json: { type: "string" }, docs: { type: "boolean", default: false },
      },
    });
    const numbers = Object.fromEntries(["tokens", "width", "hidden", "seconds"].map((n) => [n, Number(values[n])]));
    const experts = values.experts.split(",").map(Number);
    if (![...experts, numbers.tokens, numbers.width, numbers.hidden].every((n) => Number.isInteger(n) && n > 0) || !experts.every((e) => e >= CHOICES) || !(numbers.seconds > 0))
      throw new Error(`--experts (at least ${CHOICES}), --tokens, --width and --hidden are whole numbers above 0, --seconds is a number above 0`);
    return { ...values, ...numbers, experts };
  } catch (thrown) {
    stderr.write(`${thrown.message}\n`);
    return exit(2);
  }
}

const o = options();
const { adapter } = await installGpu();
const heddle = await bundled("moe", { stdin: { contents: ENTRY, resolveDir: root } });
const target = heddle.targetOf(await heddle.describeNodeAdapter());
const lengths = { t: o.tokens };
const shapes = [0, ...o.experts].map((experts) => ({ width: o.width, hidden: o.hidden, experts, choices: CHOICES }));
const plans = shapes.map((s) => [heddle.planOf(s, false, target), heddle.planOf(s, true, target)]);
// Bounds checks are off where every access is proven, as in the command.
const host = await heddle.openNodeDevice({ trusted: plans.flat().every((p) => p.modules.every((m) => m.proven)) });
const cache = new heddle.PipelineCache(host);

const x = heddle.numbers(o.tokens * o.width, 1), dout = heddle.numbers(o.tokens * o.width, 2);
/** Least bytes: weights and activations once; backward also dout, and a gradient for each of them. */
function least(s, backward) {
  const [weights, tokens] = [4 * heddle.weightElements(s), 4 * o.tokens * o.width];
  return backward ? 2 * weights + 4 * tokens : weights + 2 * tokens;
}

const works = [];
let wrong = false;
for (const [i, s] of shapes.entries()) for (const skewed of s.experts === 0 ? [false] : [false, true]) for (const backward of [false, true]) {
  stderr.write(`${s.experts === 0 ? "dense" : `${s.experts} experts`}${skewed ? ", all rows on two" : ""}, ${backward ? "forward and backward" : "forward"}\n`);
  const states = new heddle.StateStore(host), pool = new heddle.ArenaPool(host), stager = new heddle.Stager(host);
  states.allocate(heddle.statesOf(s), lengths);
  const params = heddle.numbers(heddle.weightElements(s), 3).map((v) => v / Math.sqrt(s.width));
  states.write("params", params);
  const skew = Float32Array.from({ length: s.experts }, (_, e) => (skewed && e < CHOICES ? 1000 : 0));
  const plan = plans[i][backward ? 1 : 0];
  const program = await heddle.LoadedProgram.load(plan, states, pool, cache);
  const bound = program.bind(lengths);
  const given = { x, dout, skew };
  bound.write(Object.fromEntries(Object.keys(program.plan.inputs).map((n) => [n, given[n]])));
  const wanted = [backward ? "d_x" : "y"];
  const run = () => heddle.runPrograms(host, stager, [bound], wanted);
  const first = performance.now();
  const result = await run();
  const compile = performance.now() - first;
  const error = backward ? undefined : heddle.judge(s, params, x, skew, result.y, 29);
  wrong ||= error !== undefined && !(error <= BOUND);
  works.push({
    run, walls: [], cpus: [],
    cell: {
      experts: s.experts, skewed, backward, compile, error, dispatches: plan.cost.dispatches,
      bytes: heddle.evalInt(plan.cost.bytesMoved, lengths), least: least(s, backward),
    },
  });
}

const cpuNow = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
const until = performance.now() + o.seconds * 1000;
do {
  for (const w of works) {
    const [wall, cpu] = [performance.now(), cpuNow()];
    await w.run();
    w.walls.push(performance.now() - wall);
    w.cpus.push(cpuNow() - cpu);
  }
} while (works[0].walls.length < 3 || (performance.now() < until && works[0].walls.length < 60));

const cells = works.map(({ cell, walls, cpus }) => ({ ...cell, median: median(walls), cpu: median(cpus), runs: walls.length }));
const text = moeTable({ cells, adapter, version: heddle.version, shape: o, choices: CHOICES, bound: BOUND });
console.log(text);
if (o.json !== undefined) writeFileSync(o.json, `${JSON.stringify({ adapter, cells }, undefined, 2)}\n`);
if (o.docs) {
  const page = join(root, "docs/benchmarks.md");
  const [open, close] = ["<!-- bench:moe -->", "<!-- /bench:moe -->"];
  const [head, rest] = readFileSync(page, "utf8").split(open);
  const tail = rest?.split(close)[1];
  if (tail === undefined) {
    stderr.write(`${page} lacks the marks ${open} and ${close}\n`);
    exit(2);
  }
  writeFileSync(page, `${head}${open}\n\n${text}\n${close}${tail}`);
}
exit(wrong ? 1 : 0);
