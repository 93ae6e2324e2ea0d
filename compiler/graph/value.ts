// A tensor as numbers: type, sizes and elements in the type's axis order, last axis contiguous. Used by the interpreter and by tests.
// f32 elements are kept in float64, so that one array type serves both roundings; f16 elements too, already rounded.

import { dimEval, dimText } from "../dim/dim.ts";
import type { DType, TensorType } from "./graph.ts";

export type Data = Float64Array | Int32Array | Uint32Array | Uint8Array;

export interface Value {
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly data: Data;
}

export type Lengths = Readonly<Record<string, number>>;

export const product = (xs: readonly number[]): number => xs.reduce((p, x) => p * x, 1);

export function allocate(dtype: DType, size: number): Data {
  return dtype === "f32" || dtype === "f16" ? new Float64Array(size) : dtype === "i32" ? new Int32Array(size) : dtype === "u32" ? new Uint32Array(size) : new Uint8Array(size);
}

/** The sizes of a type under run-time lengths; a length without a value is a bug of the caller. */
export function shapeOf(type: TensorType, lengths: Lengths): number[] {
  return type.axes.map((a) => {
    const n = dimEval(a.size, lengths);
    if (n === undefined || n < 0 || !Number.isInteger(n)) throw new RangeError(`axis ${a.name}: ${dimText(a.size)} is no size under the lengths given`);
    return n;
  });
}

/** A value from elements in row-major order of the type's axes. */
export function valueOf(type: TensorType, lengths: Lengths, elements: ArrayLike<number>): Value {
  const shape = shapeOf(type, lengths);
  const data = allocate(type.dtype, product(shape));
  if (elements.length !== data.length) throw new RangeError(`${elements.length} elements for ${type.axes.map((a, i) => `${a.name} = ${shape[i]}`).join(", ")}`);
  data.set(elements);
  return { type, shape, data };
}

/** Element step along each named axis; 0 along an axis that the value lacks. */
export function stridesOf(v: Pick<Value, "type" | "shape">, axes: readonly string[]): number[] {
  const own = new Map<string, number>();
  let step = 1;
  for (let i = v.shape.length - 1; i >= 0; i--) {
    own.set(v.type.axes[i]?.name ?? "", step);
    step *= v.shape[i] ?? 1;
  }
  return axes.map((n) => own.get(n) ?? 0);
}

/** Offsets at every point of `shape` in row-major order, with these steps. */
export function offsets(shape: readonly number[], strides: readonly number[]): Int32Array {
  let out = new Int32Array(1);
  shape.forEach((n, axis) => {
    const step = strides[axis] ?? 0;
    const next = new Int32Array(out.length * n);
    for (let i = 0; i < out.length; i++) for (let j = 0; j < n; j++) next[i * n + j] = (out[i] ?? 0) + j * step;
    out = next;
  });
  return out;
}

/** Offsets of `v` at every point of the axes of `space`. */
export const offsetsIn = (v: Pick<Value, "type" | "shape">, space: Pick<Value, "type" | "shape">): Int32Array =>
  offsets(space.shape, stridesOf(v, space.type.axes.map((a) => a.name)));

/** The same value in the axis order of `type`, whose axes are the same set. */
export function inOrder(v: Value, type: TensorType): Value {
  const same = type.axes.every((a, i) => v.type.axes[i]?.name === a.name);
  if (same) return { ...v, type };
  const sizes = new Map(v.type.axes.map((a, i) => [a.name, v.shape[i] ?? 0]));
  const shape = type.axes.map((a) => sizes.get(a.name) ?? 0);
  const from = offsetsIn(v, { type, shape });
  const data = allocate(type.dtype, from.length);
  for (let n = 0; n < from.length; n++) data[n] = v.data[from[n] ?? 0] ?? 0;
  return { type, shape, data };
}
