// What every rule of types asks of its operands: how many there are, their dtypes, axes and sizes. In: operand types.
// Out: nothing, or a Refusal that infer.ts turns into an `InferError` as data. Knows no op.

import type { Dim } from "../dim/dim.ts";
import { dimEqual, dimText } from "../dim/dim.ts";
import type { Axis, DType, TensorType } from "./graph.ts";
import type { OpName } from "./ops.ts";

export type InferErrorKind = "axis_size" | "missing_axis" | "duplicate_axis" | "dtype" | "arity" | "size";

/** One side of a disagreement: the operand's position among the arguments (-1: the op itself) and the size there. */
export interface InferPlace {
  readonly arg: number;
  readonly dim?: Dim;
}

export interface InferError {
  readonly kind: InferErrorKind;
  readonly op: OpName;
  readonly axis?: string;
  readonly a?: InferPlace;
  readonly b?: InferPlace;
  /** One sentence in the language's words, without places. */
  readonly message: string;
}

export type Inferred = TensorType | InferError;
export const isInferError = (x: Inferred): x is InferError => "message" in x;

export type Args = readonly TensorType[];

/** Thrown by these checks, and turned into the returned `InferError` by `inferType`. */
export class Refusal extends Error {
  readonly error: Omit<InferError, "op">;
  constructor(error: Omit<InferError, "op">) {
    super(error.message);
    this.error = error;
  }
}
export const refuse = (error: Omit<InferError, "op">): never => {
  throw new Refusal(error);
};

export const findAxis = (t: TensorType, name: string): Axis | undefined => t.axes.find((a) => a.name === name);
export const without = (axes: readonly Axis[], names: readonly string[]): Axis[] => axes.filter((a) => !names.includes(a.name));

export const at = (args: Args, i: number): TensorType =>
  args[i] ?? refuse({ kind: "arity", message: `operand ${i + 1} is missing` });

/** The axis `name` of operand `arg`, which must exist. */
export function need(args: Args, arg: number, name: string): Axis {
  const found = findAxis(at(args, arg), name);
  if (found) return found;
  const has = at(args, arg).axes.map((a) => `\`${a.name}\``).join(", ");
  return refuse({
    kind: "missing_axis", axis: name, a: { arg },
    message: `there is no axis \`${name}\` here${has ? `; the axes are ${has}` : "; the value has no axes"}`,
  });
}

export function sameSize(name: string, argA: number, a: Dim, argB: number, b: Dim): void {
  if (dimEqual(a, b)) return;
  refuse({
    kind: "axis_size", axis: name, a: { arg: argA, dim: a }, b: { arg: argB, dim: b },
    message: `axis \`${name}\` is ${dimText(a)} here and ${dimText(b)} there`,
  });
}

export function needDtype(args: Args, arg: number, ...allowed: readonly DType[]): DType {
  const t = at(args, arg);
  if (allowed.includes(t.dtype)) return t.dtype;
  return refuse({ kind: "dtype", a: { arg }, message: `${t.dtype === "bool" || t.dtype === "u32" ? "a" : "an"} ${t.dtype} value where ${allowed.join(" or ")} is needed` });
}

export function needSameDtype(args: Args, i: number, j: number): void {
  const [a, b] = [at(args, i).dtype, at(args, j).dtype];
  if (a !== b) refuse({ kind: "dtype", a: { arg: i }, b: { arg: j }, message: `${a} and ${b} do not mix; cast one of them` });
}

export function needCount(args: Args, min: number, max = min): void {
  if (args.length >= min && args.length <= max) return;
  refuse({ kind: "arity", message: `${args.length} operands where ${min === max ? min : `${min} or more`} are needed` });
}

export function unique(axes: readonly Axis[]): readonly Axis[] {
  const seen = new Set<string>();
  for (const a of axes) {
    if (seen.has(a.name)) refuse({ kind: "duplicate_axis", axis: a.name, a: { arg: -1, dim: a.size }, message: `axis \`${a.name}\` occurs twice` });
    seen.add(a.name);
  }
  return axes;
}

/** Operand `i` has exactly the axes `want`, in any order. */
export function exactAxes(args: Args, i: number, want: readonly Axis[], wantArg: number): void {
  for (const w of want) sameSize(w.name, wantArg, w.size, i, need(args, i, w.name).size);
  for (const a of at(args, i).axes)
    if (!want.some((w) => w.name === a.name))
      refuse({ kind: "missing_axis", axis: a.name, a: { arg: wantArg }, b: { arg: i, dim: a.size }, message: `axis \`${a.name}\` is there on one side only` });
}

/** Operand `i` has no axes beyond `room`. */
export function axesWithin(args: Args, i: number, room: readonly Axis[], roomArg: number): void {
  for (const a of at(args, i).axes) {
    const r = room.find((x) => x.name === a.name);
    if (!r) refuse({ kind: "missing_axis", axis: a.name, a: { arg: roomArg }, b: { arg: i, dim: a.size }, message: `axis \`${a.name}\` is not an axis of the value it goes with` });
    else sameSize(a.name, roomArg, r.size, i, a.size);
  }
}
