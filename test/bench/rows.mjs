// Rows sorted by class and what is made of them: group-bys, the largest along an axis, sums by index (the gradient of an embedding),
// and linear + cross-entropy where only some rows count, each as a program of its own.
// Usage: node test/bench/rows.mjs [--tokens 4096] [--width 64] [--seconds 3] [--only group,top,sum,loss]
//   --seconds  time for the median of each measure, at least three runs each
// HEDDLE_ADAPTER chooses the adapter. Exit code 0; 2 for a wrong option. Prints a table in Markdown.

import { exit, stderr } from "node:process";
import { parseArgs } from "node:util";
import { installGpu } from "./peers/adapter.mjs";
import { bundled, root } from "./peers/bundled.mjs";

const ENTRY = `
export { targetOf } from "./cli/compile.ts";
export { dimConst, dimVar } from "./compiler/dim/dim.ts";
export { GraphBuilder, originAt } from "./compiler/graph/builder.ts";
export { Make } from "./compiler/graph/make.ts";
export { sumByClass } from "./compiler/graph/sum_by_class.ts";
export { templates } from "./compiler/kernel/all_templates.ts";
export { mergeDispatches } from "./compiler/kernel/merge.ts";
export { scheduleGraph } from "./compiler/kernel/schedule.ts";
export { assemble } from "./compiler/plan/assemble.ts";
export { describeNodeAdapter, openNodeDevice } from "./runtime/device/node.ts";
export { ArenaPool, LoadedProgram, Stager, runPrograms } from "./runtime/exec/executor.ts";
export { PipelineCache } from "./runtime/exec/pipelines.ts";
export { StateStore } from "./runtime/exec/states.ts";
export { numbers } from "./test/templates/attention_graph.ts";
`;
const KINDS = ["group", "top", "sum", "loss"];

function options() {
  try {
    const { values } = parseArgs({
      options: { tokens: { type: "string", default: "4096" }, width: { type: "string", default: "64" }, seconds: { type: "string", default: "3" }, only: { type: "string", default: KINDS.join() } },
    });
    const o = { tokens: Number(values.tokens), width: Number(values.width), seconds: Number(values.seconds), only: values.only.split(",") };
    if (![o.tokens, o.width].every((n) => Number.isInteger(n) && n > 0) || !(o.seconds > 0)) throw new Error("--tokens and --width are whole numbers above 0, --seconds is a number above 0");
    if (!o.only.every((k) => KINDS.includes(k))) throw new Error(`--only names ${KINDS.join(", ")}`);
    return o;
  } catch (thrown) {
    stderr.write(`${thrown.message}\n`);
    return exit(2);
  }
}

const o = options();
const { adapter } = await installGpu();
const h = await bundled("rows", { stdin: { contents: ENTRY, resolveDir: root } });
const target = h.targetOf(await h.describeNodeAdapter());
const ax = (name, size) => ({ name, size: typeof size === "number" ? h.dimConst(size) : h.dimVar(size) });
const F = (...axes) => ({ dtype: "f32", axes }), I = (...axes) => ({ dtype: "i32", axes });
const [t, d] = [ax("t", "t"), ax("d", o.width)];
const n = o.tokens;
let seed = 7;
const below = (m) => { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return Math.floor((seed / 2 ** 32) * m); };
const ints = (m) => Int32Array.from({ length: n }, () => below(m));
/** A result of one number, so that little is read back. */
const one = (m, x, axes) => m.builder.output("one", m.sum(m.cast(axes.reduce((y, a) => m.slice(y, a, h.dimConst(0), h.dimConst(1)), x), "f32"), ...axes));

const cases = [
  ...[8, 64, 50000].map((classes) => ({ kind: "group", title: `group-by, ${classes} classes`, given: { c: ints(classes) }, make: (m) => {
    const cls = m.input("c", I(t));
    const g = m.groupBy(cls, h.dimConst(classes));
    m.builder.output("order", g.order);
    m.builder.output("place", m.groupPlace(cls, g));
    m.builder.output("offset", g.offset);
    one(m, g.offset, ["class"]);
  } })),
  ...[[8, 2], [64, 8], [256, 8]].map(([e, k]) => ({ kind: "top", title: `the ${k} largest of ${e}`, given: { x: h.numbers(n * e, 1) }, make: (m) => {
    const y = m.topOrder(m.input("x", F(t, ax("e", e))), "e", ax("k", k));
    m.builder.output("y", y);
    one(m, y, ["t", "k"]);
  } })),
  ...[[256, "any"], [256, "all one"], [8192, "any"]].map(([vocab, which]) => ({ kind: "sum", title: `sum by index, ${vocab} classes, ${which}`, given: { v: h.numbers(n * o.width, 2), i: which === "any" ? ints(vocab) : new Int32Array(n).fill(3) }, make: (m) => {
    const y = m.scatterAdd(m.input("v", F(t, d)), ax("vocab", vocab), m.input("i", I(t)));
    m.builder.output("y", y);
    one(m, y, ["vocab", "d"]);
  } })),
  ...[256, 8192].flatMap((vocab) => [1, 0.25].map((live) => ({ kind: "loss", title: `loss and gradients, vocabulary ${vocab}, ${100 * live} % of the tokens`, given: {
    x: h.numbers(n * o.width, 3), w: h.numbers(o.width * vocab, 4), goal: ints(vocab), weight: Float32Array.from({ length: n }, () => (below(100) < 100 * live ? 1 : 0)), dloss: new Float32Array(n).fill(1),
  }, make: (m) => {
    const attrs = { from: "d", vocab: "c" };
    const args = [m.input("x", F(t, d)), m.input("w", F(d, ax("c", vocab))), m.input("goal", I(t)), m.input("weight", F(t))];
    const dloss = m.input("dloss", F(t));
    const loss = m.op("linear_ce", args, attrs);
    for (const g of ["dx", "dw"]) m.builder.output(g, m.op(`linear_ce_${g}`, [...args, dloss], attrs));
    m.builder.output("one", m.sum(loss, "t"));
  } }))),
].filter((c) => o.only.includes(c.kind));

const plans = cases.map((c) => {
  const builder = new h.GraphBuilder("rows");
  c.make(new h.Make(builder, h.originAt(c.title)));
  return h.assemble(h.mergeDispatches(h.scheduleGraph(h.sumByClass(builder.finish()), target, h.templates), target), { target, states: [] });
});
const host = await h.openNodeDevice({ trusted: plans.every((p) => p.modules.every((m) => m.proven)) });
const cache = new h.PipelineCache(host);
const cpuNow = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
console.log(`Adapter: ${adapter}. ${n} rows, width ${o.width}.\n\n| | dispatches | ms | processor ms | least processor ms | runs |\n|---|---|---|---|---|---|`);
for (const [i, c] of cases.entries()) {
  const states = new h.StateStore(host), pool = new h.ArenaPool(host), stager = new h.Stager(host);
  states.allocate([], { t: n });
  const bound = (await h.LoadedProgram.load(plans[i], states, pool, cache)).bind({ t: n });
  bound.write(c.given);
  const run = () => h.runPrograms(host, stager, [bound], ["one"]);
  await run();
  const [walls, cpus] = [[], []];
  const until = performance.now() + 1000 * o.seconds;
  do {
    const [wall, cpu] = [performance.now(), cpuNow()];
    await run();
    walls.push(performance.now() - wall);
    cpus.push(cpuNow() - cpu);
  } while (walls.length < 3 || (performance.now() < until && walls.length < 400));
  console.log(`| ${c.title} | ${plans[i].cost.dispatches} | ${median(walls).toFixed(1)} | ${median(cpus).toFixed(1)} | ${Math.min(...cpus).toFixed(1)} | ${walls.length} |`);
  bound.destroy();
  states.destroy();
  pool.destroy();
  stager.destroy();
}
exit(0);
