// What every contender is given and how it is measured. In: BENCH_ATTENTION, a JSON of masks, lengths, passes, seconds, most seconds.
// Out: one line of JSON, a list of `Cell`s. Both measures start with q, k, v and what masks them on the device; forward ends with
// `out` on the host, forward and backward with dq, dk and dv there.

import { env, exit, stdout } from "node:process";
import { bundled, root } from "../peers/bundled.mjs";
import { installGpu } from "../peers/adapter.mjs";
import { installCounters } from "../peers/counters.mjs";

const ENTRY = `
export { masks, columnsOf, visibility, skipped } from "./test/bench/attention/masks.ts";
export { judge } from "./test/bench/attention/judge.ts";
export { benchGraph, planOf, stepGraph, stepStates, HEADS, WIDTH } from "./test/bench/attention/graphs.ts";
export { targetOf } from "./cli/compile.ts";
export { describeNodeAdapter, openNodeDevice } from "./runtime/device/node.ts";
export { ArenaPool, LoadedProgram, Stager, runPrograms } from "./runtime/exec/executor.ts";
export { PipelineCache } from "./runtime/exec/pipelines.ts";
export { StateStore } from "./runtime/exec/states.ts";
export { layoutPlan } from "./compiler/plan/layout.ts";
export { numbers } from "./test/templates/attention_graph.ts";
export { version } from "./cli/package_root.ts";
`;

export const sources = () => bundled("attention", { stdin: { contents: ENTRY, resolveDir: root } });

/**
 * @typedef {object} Cell one measure of one contender
 * @property {string} contender @property {string} mask a mask's name, or `any` where the mask does not change the work
 * @property {number} t @property {"forward" | "both"} pass
 * @property {number} [median] milliseconds @property {number} [runs]
 * @property {number} [cpu] milliseconds of processor time, all threads together: what a software adapter works, whatever else the machine does
 * @property {string} [why] instead of a time: why there is none
 * @property {number} peak most bytes that lived at once @property {number} buffers made in a run @property {number} dispatches
 * @property {number} error against double precision
 *
 * @typedef {object} Work one thing to measure
 * @property {string} mask @property {"forward" | "both"} pass
 * @property {string} judged the mask that its results are judged by; `full` for none
 * @property {() => Promise<{ run: () => Promise<Record<string, Float32Array>>, free?: () => void }>} open makes what it needs
 */

/** What is asked for. */
export const asked = () => {
  const { masks, lengths, passes, seconds, most } = JSON.parse(env.BENCH_ATTENTION ?? "{}");
  return { masks: masks ?? ["causal"], lengths: lengths ?? [256], passes: passes ?? ["forward", "both"], seconds: seconds ?? 2, most: most ?? 60 };
};

/** q, k, v, dout, the same for all. */
export function problemOf(heddle, maskName, t) {
  const { HEADS: heads, WIDTH: width, numbers } = heddle;
  const [q, k, v, dout] = [1, 2, 3, 4].map((seed) => numbers(t * heads * width, seed));
  return { t, heads, width, q, k, v, dout, visible: heddle.visibility(heddle.masks[maskName], t) };
}

const cpuNow = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const median = (/** @type {number[]} */ values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

/**
 * Each work alone, for its bytes and its errors; then all works of one length in turn, for their times, so that a busy moment
 * does not hit one alone.
 * @param {() => Promise<{ name: string, worksAt: (t: number, masks: string[], passes: string[]) => Work[] }>} setup
 */
export async function runAttention(contender, heddle, setup) {
  try {
    const { adapter } = await installGpu();
    const counters = installCounters();
    const { masks, lengths, passes, seconds, most } = asked();
    const { name, worksAt } = await setup();
    /** @type {Cell[]} */
    const cells = [];
    /** Last time of a work, by mask and pass: twice the length takes four times that. */
    const before = new Map();
    for (const t of lengths) {
      const running = [];
      for (const work of worksAt(t, masks, passes)) {
        const { mask, pass, judged } = work;
        const cell = { contender, mask, t, pass };
        const last = before.get(`${mask} ${pass}`);
        if (last !== undefined && (last.ms * (t / last.t) ** 2) / 1000 > most) {
          cells.push({ ...cell, why: `over ${most} s` });
          continue;
        }
        let open;
        try {
          open = await work.open();
          const result = await open.run();
          const { counts } = await counters.measure(open.run);
          const error = heddle.judge(problemOf(heddle, judged, t), result);
          running.push({ work, open, walls: [], cpus: [], cell: { ...cell, peak: counts.peak, buffers: counts.allocated, dispatches: counts.dispatches, error } });
        } catch (thrown) {
          cells.push({ ...cell, why: String(thrown?.message ?? thrown).split("\n")[0] });
        }
        open?.free?.();
      }
      for (const entry of running) {
        entry.open = await entry.work.open();
        await entry.open.run();
      }
      const started = performance.now(), until = started + seconds * 1000 * running.length;
      const enough = (runs) => runs >= 40 || (performance.now() > until && (runs >= 3 || performance.now() > started + most * 1000 * running.length));
      while (running.length > 0) {
        for (const { open, walls, cpus } of running) {
          const [wall, cpu] = [performance.now(), cpuNow()];
          await open.run();
          walls.push(performance.now() - wall);
          cpus.push(cpuNow() - cpu);
        }
        if (enough(running[0].walls.length)) break;
      }
      for (const { open, walls, cpus, cell } of running) {
        open.free?.();
        cells.push({ ...cell, median: median(walls), cpu: median(cpus), runs: walls.length });
        before.set(`${cell.mask} ${cell.pass}`, { t, ms: median(walls) });
      }
    }
    stdout.write(`${JSON.stringify({ name, adapter, cells })}\n`, () => exit(0));
  } catch (thrown) {
    console.error(thrown);
    exit(1);
  }
}
