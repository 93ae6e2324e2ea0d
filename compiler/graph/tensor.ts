// What a tensor is: a dtype and named axes. Apart from graph.ts, so that the op vocabulary can speak of types.

import type { Dim } from "../dim/dim.ts";

export type DType = "f32" | "i32" | "u32" | "bool";

export interface Axis {
  readonly name: string;
  readonly size: Dim;
}

/** Axes are a set in meaning; their order is the memory order (row-major, last contiguous). Names are unique. */
export interface TensorType {
  readonly dtype: DType;
  readonly axes: readonly Axis[];
}
