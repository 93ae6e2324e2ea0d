// What a tensor is: a dtype and named axes. Apart from graph.ts, so that the op vocabulary can speak of types.

import type { Dim } from "../dim/dim.ts";
import type { ScalarType } from "../scalar/expr.ts";

/** f16 is a storage type: what is read from it is an f32, and arithmetic needs a cast to f32 first. */
export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/** The type of an element once it has been read. */
export const scalarOf = (dtype: DType): ScalarType => (dtype === "f16" ? "f32" : dtype);

export interface Axis {
  readonly name: string;
  readonly size: Dim;
}

/** Axes are a set in meaning; their order is the memory order (row-major, last contiguous). Names are unique. */
export interface TensorType {
  readonly dtype: DType;
  readonly axes: readonly Axis[];
}
