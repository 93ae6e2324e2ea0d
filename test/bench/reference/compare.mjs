// Is a contender right? In: its logits, its loss and its weights after one step, with the weights and tokens it began from.
// Out: its errors against the double-precision decoder, relative to what single precision allows a reader to judge.

import { OPTIMIZER, decoderLayout, forward, isDecayed, train } from "./decoder_f64.mjs";

/**
 * @typedef {object} Errors
 * @property {number} logits greatest difference of a logit (logits are of order one)
 * @property {number} loss difference of the loss
 * @property {number} weights greatest difference of a weight after one step, as a share of the learning rate
 * @property {number} judged share of the weights that this looks at, see below
 */

/** What a right implementation in single precision stays within. */
export const BOUNDS = { logits: 1e-4, loss: 1e-5, weights: 0.05 };

// AdamW's first step is the learning rate times the gradient's sign, however small the gradient. Where the true gradient is
// nearly nothing (the bias of the keys, which softmax cannot see), single precision leaves only noise, and its sign says nothing:
// those weights are not judged. A gradient of exactly nothing (a token that does not occur) is.
const NOISE = 1e-6;

/**
 * @param {{ weights: Record<string, Float32Array>, tokens: Int32Array, logits: Float32Array, loss: number,
 *   after: Record<string, ArrayLike<number>>, optimizer?: typeof OPTIMIZER, decayed?: (name: string) => boolean }} run
 * @returns {Errors}
 */
export function compare({ weights, tokens, logits, loss, after, optimizer = OPTIMIZER, decayed = isDecayed }) {
  const truth = forward(weights, tokens).logits;
  if (logits.length !== truth.length) throw new Error(`${logits.length} logits where ${truth.length} are right`);
  const expected = train(weights, tokens, 1, { optimizer, decayed });
  let logitsError = 0, weightsError = 0, judged = 0, all = 0;
  truth.forEach((value, i) => (logitsError = worse(logitsError, Math.abs(value - logits[i]))));
  for (const { name, size } of decoderLayout()) {
    const values = after[name];
    if (values?.length !== size) throw new Error(`${name} has ${values?.length} values where ${size} are right`);
    for (let i = 0; i < size; i++) {
      all++;
      const gradient = Math.abs(expected.gradients[name][i]);
      if (gradient < NOISE && gradient !== 0) continue;
      judged++;
      weightsError = worse(weightsError, Math.abs(values[i] - expected.weights[name][i]) / optimizer.rate);
    }
  }
  return { logits: logitsError, loss: Math.abs(loss - expected.losses[0]), weights: weightsError, judged: judged / all };
}

/** The greater; what is not a number is worst of all. */
export const worse = (/** @type {number} */ a, /** @type {number} */ b) => (b > a || Number.isNaN(b) ? b : a);

/** Whether all errors are within bounds. @param {Errors} errors */
export function isRight(errors) {
  return errors.logits <= BOUNDS.logits && errors.loss <= BOUNDS.loss && errors.weights <= BOUNDS.weights && errors.judged > 0.95;
}
