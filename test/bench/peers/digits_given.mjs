// What someone who writes the digits model by hand would prepare once on the host: plain matrices, the mask as a table, rotary
// angles, frequencies. In: a DigitsProblem. Out: arrays with shapes. The contenders by hand share it; Heddle takes none of it.

import { readFileSync } from "node:fs";
import { digitsProblem, judge } from "../digits_problem.mjs";

/** Problem and judge for `runContender`. */
export async function digitsByHand() {
  const problem = await digitsProblem();
  return { given: byHand(problem), judge: (forward, loss, after) => judge(problem, { ...forward, loss, after }) };
}

/** @param {import("../digits_problem.mjs").DigitsProblem} problem */
function byHand({ parameters, values, noise, noisy, aim, mask, sizes, train, streams }) {
  const { t, d, heads, features } = sizes;
  const find = (start, end) => values[Object.keys(values).find((name) => name.startsWith(start) && name.endsWith(end))];
  const column = (data) => ({ data: Float32Array.from(data), shape: [t, 1] });
  const matrix = (data) => ({ data: Float32Array.from(data), shape: [t, features] });
  const half = d / heads / 2;
  const rope = (of) => ({ data: Float32Array.from({ length: t * half }, (_, i) => of(values["tok.pos"][Math.floor(i / half)] * 10000 ** (-(i % half) / half))), shape: [t, 1, half] });
  return {
    sizes, train,
    // Attention's weights as matrices: [d, heads x width] and [heads x width, d].
    parameters: parameters.map(({ path, shape, decay, data }) => {
      const all = data.length;
      const flat = shape.length <= 2 ? shape : path.endsWith(".wo") ? [all / d, d] : [d, all / d];
      return { path, shape: flat, decay, data: Float32Array.from(data) };
    }),
    arrays: {
      cos: rope(Math.cos), sin: rope(Math.sin),
      bias: { data: Float32Array.from(mask, (sees) => (sees ? 0 : -1e9)), shape: [1, t, t] },
      isText: column(values["tok.stream"].map((s) => (s === streams.text ? 1 : 0))),
      isImage: column(values["tok.stream"].map((s) => (s === streams.image ? 1 : 0))),
      level: column(find("", ".level")),
      frequency: { data: Float32Array.from({ length: 32 }, (_, i) => 10000 ** (-i / 32)), shape: [1, 32] },
      clean: matrix(find("image", ".clean")), noise: matrix(noise), noisy: matrix(noisy), aim: matrix(aim),
      textWeight: column(find("next_token(", ".weight")), imageWeight: column(find("denoise(", ".weight")),
    },
    ids: { id: Int32Array.from(values["tok.id"]), row: Int32Array.from(values["tok.row"]), col: Int32Array.from(values["tok.col"]), target: Int32Array.from(find("next_token(", ".target")) },
  };
}

export const versionOf = (file) => JSON.parse(readFileSync(file, "utf8")).version;
