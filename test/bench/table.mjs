// The reports of all contenders as a table in Markdown. In: reports (contender.mjs), ours first if it is there. Out: text.
// Times are shown as ratios to the first contender too, since only ratios within one run on one adapter mean anything.

import { PARAMETERS, SHAPE } from "./reference/decoder_f64.mjs";
import { BOUNDS } from "./reference/compare.mjs";

/** @typedef {import("./peers/contender.mjs").Report} Report */

const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(2);
const seconds = (/** @type {number} */ milliseconds) => (milliseconds / 1000).toFixed(1);
const small = (/** @type {number} */ value) => (value === 0 ? "0" : value.toExponential(1));

/**
 * What the table must know of a model: bytes that no implementation can do without (weights and results forward, weights and
 * two moments in a step), and what a right implementation in single precision stays within.
 * @typedef {{ title: string, floor?: { forward: number, step: number }, bounds: typeof BOUNDS }} BenchModel
 * @type {{ decoder: BenchModel, digits: BenchModel }}
 */
export const MODELS = {
  decoder: {
    title: "The plain decoder",
    floor: { forward: 4 * (PARAMETERS + SHAPE.tokens * SHAPE.vocab), step: 4 * 3 * PARAMETERS },
    bounds: BOUNDS,
  },
  // Rotary positions and noise levels take sines and cosines, which WGSL lets an adapter have to 2^-11; SwiftShader's are off by 2e-4.
  digits: { title: "The digits model", bounds: { logits: 2e-3, loss: 2e-4, weights: BOUNDS.weights } },
};

/** @param {BenchModel} model @param {Report["errors"]} errors */
export const isRightIn = ({ bounds }, errors) =>
  errors.logits <= bounds.logits && errors.loss <= bounds.loss && errors.weights <= bounds.weights && errors.judged > 0.95;

/**
 * @param {Report[]} reports @param {BenchModel} model
 * @returns {string}
 */
export function table(reports, model = MODELS.decoder) {
  const [first] = reports;
  const { bounds } = model;
  if (first === undefined) return "";
  /** @type {string[][]} */
  const rows = [];
  for (const [key, title] of /** @type {const} */ ([["forward", "forward"], ["step", "training step"]])) {
    const row = (/** @type {string} */ name, /** @type {(report: Report) => string} */ cell) => rows.push([`${title}: ${name}`, ...reports.map(cell)]);
    row("dispatches", (report) => String(report[key].counts.dispatches));
    row("submits", (report) => String(report[key].counts.submits));
    row("buffers made / MB", ({ [key]: { counts } }) => `${counts.buffers} / ${megabytes(counts.allocated)}`);
    row(model.floor ? `peak MB (floor ${megabytes(model.floor[key])})` : "peak MB", (report) => megabytes(report[key].counts.peak));
    row("median ms", (report) => report[key].median.toFixed(1));
    row(`time, ${first.name} = 1`, (report) => (report[key].median / first[key].median).toFixed(2));
    row("first run, s", (report) => seconds(report[key].first));
  }
  rows.push([`error: logits (at most ${small(bounds.logits)})`, ...reports.map(({ errors }) => small(errors.logits))]);
  rows.push([`error: loss (at most ${small(bounds.loss)})`, ...reports.map(({ errors }) => small(errors.loss))]);
  rows.push([`error: weights after a step, in learning rates (at most ${small(bounds.weights)})`, ...reports.map(({ errors }) => small(errors.weights))]);
  rows.push(["right", ...reports.map(({ errors }) => (isRightIn(model, errors) ? "yes" : "**no**"))]);
  rows.push(["Dawn's bounds checks", ...reports.map(({ dawnFeatures }) => (dawnFeatures.includes("disable_robustness") ? "off" : "on"))]);

  const head = ["", ...reports.map(({ name }) => name)];
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  const adapters = [...new Set(reports.map(({ adapter }) => adapter))];
  return `Adapter: ${adapters.join("; ")}\n\n${lines.join("\n")}\n`;
}

/**
 * Several rounds of one contender as one: counts of the last, the median of the medians, the first run of the first.
 * @param {Report[]} rounds
 * @returns {Report}
 */
export function merged(rounds) {
  const last = rounds[rounds.length - 1];
  const part = (/** @type {"forward" | "step"} */ key) => {
    const medians = rounds.map((report) => report[key].median).sort((a, b) => a - b);
    return { ...last[key], first: rounds[0][key].first, median: medians[Math.floor((medians.length - 1) / 2)] };
  };
  return { ...last, forward: part("forward"), step: part("step") };
}
