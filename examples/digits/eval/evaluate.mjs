// The two numbers of the example: how often a description names the digit, how often a drawing is taken for the digit asked.
// In:  a model as two functions, the held-out images, and the judge (classifier.mjs). Out: counts, by digit too, and a text.
// It knows nothing of how the model works, and the model nothing of the judge.

import { WORDS, scoreCaption } from "./score.mjs";

/**
 * @typedef {object} Score
 * @property {number} right @property {number} total
 * @property {{ right: number, total: number }[]} byDigit
 * @property {{ index: number, label: number, text: string }[]} wrong the first few failures, for reading
 */

const KEEP = 12;

/** @returns {Score} */
const empty = () => ({ right: 0, total: 0, byDigit: Array.from({ length: 10 }, () => ({ right: 0, total: 0 })), wrong: [] });

/** @param {Score} score @param {boolean} right */
function add(score, right, index, label, text) {
  score.total++;
  score.byDigit[label].total++;
  if (right) {
    score.right++;
    score.byDigit[label].right++;
  } else if (score.wrong.length < KEEP) score.wrong.push({ index, label, text });
}

/**
 * Asks for a description of every image, in groups.
 * @param {(images: Float32Array[]) => Promise<string[]>} describe
 * @param {Float32Array} images n x 784 @param {Uint8Array} labels
 * @param {{ group?: number, progress?: (done: number, total: number, score: Score) => void }} [options]
 */
export async function scoreDescriptions(describe, images, labels, { group = 16, progress } = {}) {
  const score = empty();
  for (let at = 0; at < labels.length; at += group) {
    const asked = Array.from({ length: Math.min(group, labels.length - at) }, (_, i) => images.slice((at + i) * 784, (at + i + 1) * 784));
    const texts = await describe(asked);
    if (texts.length !== asked.length) throw new Error(`${asked.length} images gave ${texts.length} descriptions`);
    texts.forEach((text, i) => add(score, scoreCaption(text, labels[at + i]), at + i, labels[at + i], text));
    progress?.(score.total, labels.length, score);
  }
  return score;
}

/** The captions that drawings are asked for: every digit equally often, word and numeral in turn. @param {number} count */
export function captionsToDraw(count) {
  return Array.from({ length: count }, (_, i) => {
    const label = i % 10;
    const forms = [`a handwritten ${WORDS[label]}`, `digit ${label}`, `the number ${WORDS[label]}`];
    return { label, caption: forms[Math.floor(i / 10) % forms.length] };
  });
}

/**
 * Asks for `count` drawings and lets the judge name each.
 * @param {(captions: string[], first: number) => Promise<ArrayLike<number>[]>} draw images of 784 values; `first` numbers them
 * @param {import("./classifier.mjs").Classifier} judge
 * @param {{ count?: number, group?: number, progress?: (done: number, total: number, score: Score) => void }} [options]
 */
export async function scoreDrawings(draw, judge, { count = 500, group = 20, progress } = {}) {
  const score = empty();
  const wanted = captionsToDraw(count);
  for (let at = 0; at < count; at += group) {
    const asked = wanted.slice(at, at + group);
    const images = await draw(asked.map(({ caption }) => caption), at);
    if (images.length !== asked.length) throw new Error(`${asked.length} captions gave ${images.length} drawings`);
    images.forEach((image, i) => {
      const { label, confidence } = judge.predict(image);
      const text = `taken for ${label} (${Math.round(100 * confidence)}%)`;
      add(score, label === asked[i].label, at + i, asked[i].label, text);
    });
    progress?.(score.total, count, score);
  }
  return score;
}

const percent = (/** @type {{ right: number, total: number }} */ { right, total }) =>
  total === 0 ? "-" : `${((100 * right) / total).toFixed(1)}%`;

/** A score in words, one line and a line by digit. @param {string} what @param {Score} score */
export function report(what, score) {
  const digits = score.byDigit.map((digit, label) => `${label} ${percent(digit)}`).join("  ");
  return `${what}: ${score.right} of ${score.total} right (${percent(score)})\n  by digit: ${digits}`;
}
