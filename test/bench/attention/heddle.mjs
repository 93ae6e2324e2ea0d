// Heddle's attention: with each mask as a predicate, with none ("none"), or with a bias table ("bias": BENCH_BIAS=1).
// One program a mask and pass for all lengths. Run alone: node test/bench/attention/heddle.mjs. Prints cells (see problem.mjs).

import { env } from "node:process";
import { problemOf, runAttention, sources } from "./problem.mjs";

const heddle = await sources();
const bias = env.BENCH_BIAS === "1";

await runAttention(bias ? "bias" : "heddle", heddle, async () => {
  const target = heddle.targetOf(await heddle.describeNodeAdapter());
  const kinds = (masks) => (bias ? ["bias"] : ["none", ...masks]);
  const plans = new Map();
  const planOf = (kind, pass) => {
    const key = `${kind} ${pass}`;
    if (!plans.has(key)) plans.set(key, heddle.planOf(heddle.benchGraph(heddle.masks[kind] ? { mask: heddle.masks[kind].expr } : kind, pass === "both"), target));
    return plans.get(key);
  };
  // Bounds checks are off where every access is proven, as in the command.
  const proven = kinds(Object.keys(heddle.masks)).every((kind) => ["forward", "both"].every((pass) => planOf(kind, pass).modules.every((m) => m.proven)));
  const host = await heddle.openNodeDevice({ trusted: proven && env.BENCH_CHECKED !== "1" });
  const cache = new heddle.PipelineCache(host);
  const states = new heddle.StateStore(host);

  const open = async (kind, pass, t, judged) => {
    const [pool, stager] = [new heddle.ArenaPool(host), new heddle.Stager(host)];
    const program = await heddle.LoadedProgram.load(planOf(kind, pass), states, pool, cache);
    const lengths = { t, s: t, cell: t * t };
    const bound = program.bind(lengths);
    const { q, k, v, dout, visible } = problemOf(heddle, judged, t);
    const columns = kind === "bias" || kind === "none" ? { query: {}, key: {} } : heddle.columnsOf(heddle.masks[kind], t);
    const all = {
      q, k, v, dout,
      ...(kind === "bias" ? { bias: Float32Array.from(visible, (x) => (x === 1 ? 0 : -1e9)), "q.from": Int32Array.from({ length: t }, (_, i) => i * t), "k.pos": Int32Array.from({ length: t }, (_, i) => i) } : {}),
      ...Object.fromEntries([["q", columns.query], ["k", columns.key]].flatMap(([side, values]) => Object.entries(values).map(([n, x]) => [`${side}.${n}`, x]))),
    };
    bound.write(Object.fromEntries(Object.keys(program.plan.inputs).map((n) => [n, all[n]])));
    const wanted = Object.keys(program.plan.outputs);
    return {
      run: () => heddle.runPrograms(host, stager, [bound], wanted),
      free() {
        program.destroy();
        pool.destroy();
        stager.destroy();
      },
    };
  };
  return {
    name: `Heddle ${heddle.version}`,
    worksAt: (t, masks, passes) => kinds(masks).flatMap((kind) => passes.map((pass) => {
      const judged = kind === "bias" ? masks[masks.length - 1] : kind === "none" ? "full" : kind;
      return { mask: kind === "bias" ? "any" : kind, pass, judged, open: () => open(kind, pass, t, judged) };
    })),
  };
});
