// The bundle as the two functions that evaluation asks for. In: a bundle folder. Out: describe and draw.

import { pathToFileURL } from "node:url";
import path from "node:path";

/** @param {string} bundle folder made by `heddle build` @param {{ seed?: number }} [options] */
export async function openDigits(bundle, { seed = 1 } = {}) {
  const { open } = await import(pathToFileURL(path.resolve(bundle, "index.js")).href);
  const model = await open();
  const image = (pixels) => ({ height: 28, width: 28, channels: 1, data: pixels });
  return {
    /** @param {Float32Array[]} images 784 values each @param {(done: number, total: number) => void} [progress] */
    async describe(images, progress) {
      const found = await model.describeMany(images.map((data) => ({ picture: image(data) })), { seed, samplers: { text: { kind: "greedy" } }, progress: (_, done, total) => progress?.(done, total) });
      return found.map(({ caption }) => caption);
    },
    /** @param {string[]} captions @param {number} first number of the first drawing @param {(done: number, total: number) => void} [progress] */
    async draw(captions, first = 0, progress) {
      const drawn = await model.drawMany(captions.map((caption) => ({ caption })), { seed: seed + first, progress: (_, done, total) => progress?.(done, total) });
      return drawn.map(({ picture }) => picture.data);
    },
    close: () => model.destroy(),
  };
}
