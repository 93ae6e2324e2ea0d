// The reports of all contenders as a table in Markdown. In: reports (contender.mjs), ours first if it is there. Out: text.
// Times are shown as ratios to the first contender too, since only ratios within one run on one adapter mean anything.

import { PARAMETERS, SHAPE } from "./reference/decoder_f64.mjs";
import { BOUNDS, isRight } from "./reference/compare.mjs";

/** @typedef {import("./peers/contender.mjs").Report} Report */

const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(2);
const seconds = (/** @type {number} */ milliseconds) => (milliseconds / 1000).toFixed(1);
const small = (/** @type {number} */ value) => (value === 0 ? "0" : value.toExponential(1));

/** Bytes that no implementation can do without: weights and logits forward, weights and two moments in a step. */
export const FLOOR = {
  forward: 4 * (PARAMETERS + SHAPE.tokens * SHAPE.vocab),
  step: 4 * 3 * PARAMETERS,
};

/**
 * @param {Report[]} reports
 * @returns {string}
 */
export function table(reports) {
  const [first] = reports;
  if (first === undefined) return "";
  /** @type {string[][]} */
  const rows = [];
  for (const [key, title] of /** @type {const} */ ([["forward", "forward"], ["step", "training step"]])) {
    const row = (/** @type {string} */ name, /** @type {(report: Report) => string} */ cell) => rows.push([`${title}: ${name}`, ...reports.map(cell)]);
    row("dispatches", (report) => String(report[key].counts.dispatches));
    row("submits", (report) => String(report[key].counts.submits));
    row("buffers made / MB", ({ [key]: { counts } }) => `${counts.buffers} / ${megabytes(counts.allocated)}`);
    row(`peak MB (floor ${megabytes(FLOOR[key])})`, (report) => megabytes(report[key].counts.peak));
    row("median ms", (report) => report[key].median.toFixed(1));
    row(`time, ${first.name} = 1`, (report) => (report[key].median / first[key].median).toFixed(2));
    row("first run, s", (report) => seconds(report[key].first));
  }
  rows.push([`error: logits (at most ${small(BOUNDS.logits)})`, ...reports.map(({ errors }) => small(errors.logits))]);
  rows.push([`error: loss (at most ${small(BOUNDS.loss)})`, ...reports.map(({ errors }) => small(errors.loss))]);
  rows.push([`error: weights after a step, in learning rates (at most ${small(BOUNDS.weights)})`, ...reports.map(({ errors }) => small(errors.weights))]);
  rows.push(["right", ...reports.map(({ errors }) => (isRight(errors) ? "yes" : "**no**"))]);
  if (reports.some(({ dawnFeatures }) => dawnFeatures !== "")) rows.push(["Dawn features", ...reports.map(({ dawnFeatures }) => dawnFeatures || "default")]);

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
