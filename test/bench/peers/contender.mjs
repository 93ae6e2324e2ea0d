// What every contender does, in the same order, and how it is measured and checked. In: a contender's `setup`. Out: one line
// of JSON on standard output (see `Report`). A contender may take `navigator.gpu` or open a device of its own: the counters sit
// on the prototypes. Forward runs from tokens on the device to logits on the host; a step from tokens on the device to the
// loss on the host, with the new weights left on the device. Both are warmed up first. Optimizer state is made by the first
// step, so that forward is charged for weights alone.

import { env, exit, stdout } from "node:process";
import { OPTIMIZER, SHAPE, decoderLayout, decoderTokens, decoderWeights } from "../reference/decoder_f64.mjs";
import { compare } from "../reference/compare.mjs";
import { installGpu } from "./adapter.mjs";
import { installCounters } from "./counters.mjs";

/**
 * @typedef {import("./counters.mjs").Counts} Counts
 *
 * @typedef {object} Contender what `setup` returns
 * @property {string} name with version @property {string} [dawnFeatures] of a device of its own
 * @property {() => Promise<Float32Array>} forward logits [tokens, vocab]
 * @property {() => Promise<number>} step one training step; the loss before it
 * @property {() => Promise<Record<string, Float32Array>>} weights as they are now, by the names of the layout
 *
 * @typedef {object} Setup what `setup` is given
 * @property {typeof SHAPE} shape @property {typeof OPTIMIZER} optimizer @property {ReturnType<typeof decoderLayout>} layout
 * @property {Record<string, Float32Array>} weights @property {Int32Array} tokens tokens + 1 ids
 *
 * @typedef {object} Timed
 * @property {Counts} counts of one run after warm-up
 * @property {number} first milliseconds of the first run, compilation included
 * @property {number} median milliseconds of the later runs @property {number} runs how many those were
 *
 * @typedef {object} Report
 * @property {string} name @property {string} adapter @property {string} dawnFeatures
 * @property {Timed} forward @property {Timed} step
 * @property {import("../reference/compare.mjs").Errors} errors against the double-precision decoder
 */

const SEED = 7;

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/**
 * First run apart, then enough runs for a median within the budget, then one counted.
 * @param {{ measure: (work: () => Promise<unknown>) => Promise<{ counts: Counts }> }} counters
 * @param {() => Promise<unknown>} work
 */
async function time(counters, work, first) {
  const budget = Number(env.BENCH_SECONDS ?? 6) * 1000;
  await work(); // pools and caches fill here
  const { counts } = await counters.measure(work);
  const times = [];
  const until = performance.now() + budget;
  do {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  } while (times.length < 5 || (performance.now() < until && times.length < 40));
  return { counts, first, median: median(times), runs: times.length };
}

/** The plain decoder: what contenders are given, and how they are judged. */
async function decoderProblem() {
  const weights = decoderWeights(SEED), tokens = decoderTokens(SEED);
  return {
    given: { shape: SHAPE, optimizer: OPTIMIZER, layout: decoderLayout(), weights, tokens },
    judge: (logits, loss, after) => compare({ weights, tokens, logits, loss, after }),
  };
}

/**
 * Runs one contender and prints its report. The contender is imported by `setup` itself, after the adapter stands.
 * @param {(given: Setup) => Promise<Contender>} setup
 * @param {() => Promise<{ given: object, judge: (forward: unknown, loss: number, weights: unknown) => import("../reference/compare.mjs").Errors }>} problem
 *   another model than the decoder: what `setup` is given, and a judge of what the contender returns
 */
export async function runContender(setup, problem = decoderProblem) {
  try {
    const { adapter } = await installGpu();
    const counters = installCounters();
    const { given, judge } = await problem();
    const contender = await setup(given);

    const start = performance.now();
    const logits = await contender.forward();
    const firstForward = performance.now() - start;
    const forward = await time(counters, () => contender.forward(), firstForward);

    const startStep = performance.now();
    const loss = await contender.step();
    const firstStep = performance.now() - startStep;
    const errors = judge(logits, loss, await contender.weights());
    const step = await time(counters, () => contender.step(), firstStep);

    const report = { name: contender.name, adapter, dawnFeatures: contender.dawnFeatures ?? env.BENCH_DAWN_FEATURES ?? "", forward, step, errors };
    stdout.write(`${JSON.stringify(report)}\n`, () => exit(0));
  } catch (thrown) {
    console.error(thrown);
    exit(1);
  }
}
