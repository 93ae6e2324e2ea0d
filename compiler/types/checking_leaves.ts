// What stands for token attributes, levels and noise on graphs that are made to be checked and thrown away.
// In: a builder. Out: Leaves whose nodes are inputs, named by what they stand for.

import { dimText } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { originAt } from "../graph/builder.ts";
import type { Leaves } from "./network.ts";

/** Leaves of a graph that only exists to be checked. */
export function checkingLeaves(builder: GraphBuilder): Leaves {
  const origin = originAt("token");
  let draws = 0;
  return {
    attribute: (side, name, tokens) =>
      builder.add("input", [], { name: `${dimText(tokens) === "t" ? "" : `${dimText(tokens)}.`}${side}.${name}`, type: { dtype: "i32", axes: [{ name: side === "query" ? "t" : "s", size: tokens }] } }, origin),
    level: (process, tokens) => builder.add("input", [], { name: `level.${process}.${dimText(tokens)}`, type: { dtype: "f32", axes: [{ name: "t", size: tokens }] } }, origin),
    // Noise is drawn in training, where the weights that say how much of it get their gradients.
    normal: (axes) => builder.add("input", [], { name: `noise.${draws++}`, type: { dtype: "f32", axes } }, origin),
  };
}
