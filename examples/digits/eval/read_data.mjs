// Reads the shipped digits for evaluation: grey images in [0, 1], labels and captions of one split.
// Refuses a file that is not IDX with as many rows as there are captions.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

/**
 * @param {string} folder examples/digits/data
 * @param {"train" | "test"} split
 * @returns {{ images: Float32Array, labels: Uint8Array, captions: string[][], indices: number[] }} images n x 784
 */
export function readDigits(folder, split) {
  const idx = gunzipSync(readFileSync(join(folder, "images.idx3-ubyte.gz")));
  const lines = gunzipSync(readFileSync(join(folder, "captions.jsonl.gz"))).toString("utf8").trimEnd().split("\n");
  const [magic, count, height, width] = [0, 4, 8, 12].map((at) => idx.readUInt32BE(at));
  if (magic !== 0x803 || count !== lines.length || idx.length !== 16 + count * height * width) {
    throw new Error(`${folder} does not hold ${lines.length} images in IDX form; make it anew with make_data.mjs`);
  }
  const rows = lines.map((line) => JSON.parse(line)).filter((row) => row.split === split);
  const pixels = height * width;
  const images = new Float32Array(rows.length * pixels);
  rows.forEach((row, i) => {
    const from = 16 + row.index * pixels;
    for (let p = 0; p < pixels; p++) images[i * pixels + p] = idx[from + p] / 255;
  });
  return {
    images,
    labels: Uint8Array.from(rows, (row) => row.label),
    captions: rows.map((row) => row.captions),
    indices: rows.map((row) => row.index),
  };
}
