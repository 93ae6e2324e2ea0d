// In: an op's attributes and the types of its operands. Out: the type of the result, or an `InferError` as data.
// The order of result axes is the memory order; meaning never depends on it. The rules for it stand in infer_align.ts and docs/ir.md.
// Refuses disagreeing sizes, missing or repeated axes and wrong dtypes; the front end turns the error into a diagnostic with places.

import type { Dim } from "../dim/dim.ts";
import { dimAdd, dimConst, dimEqual, dimMul, dimText, dimValue } from "../dim/dim.ts";
import type { Axis, DType, TensorType } from "./graph.ts";
import { alignAxes } from "./infer_align.ts";
import { attendGrad, attendResult, attendTableGrad } from "./infer_attend.ts";
import { type Args, at, axesWithin, exactAxes, type Inferred, type InferError, need, needCount, needDtype, needSameDtype, Refusal, refuse, sameSize, unique, without } from "./infer_checks.ts";
import { groupedDot, groupedDw, groupedSum, groupOffset, groupOrder, groupPlace, top } from "./infer_group.ts";
import type { OpAttrs, OpName } from "./ops.ts";

type Rule<K extends OpName> = (attrs: OpAttrs[K], args: Args) => Inferred;

const unaryOf = (...allowed: readonly DType[]) => (_: unknown, args: Args): Inferred => {
  needCount(args, 1);
  needDtype(args, 0, ...allowed);
  return at(args, 0);
};

const binaryOf = (result: DType | undefined, ...allowed: readonly DType[]) => (_: unknown, args: Args): Inferred => {
  needCount(args, 2);
  const dtype = needDtype(args, 0, ...allowed);
  needDtype(args, 1, ...allowed);
  needSameDtype(args, 0, 1);
  return { dtype: result ?? dtype, axes: alignAxes(args) };
};

const float = unaryOf("f32");
const arithmetic = binaryOf(undefined, "f32", "i32", "u32");
const ordering = binaryOf("bool", "f32", "i32", "u32");
const equality = binaryOf("bool", "f32", "i32", "u32", "bool");
const logic = binaryOf("bool", "bool");

function reduceAxes(args: Args, names: readonly string[], dtypes: readonly DType[]): TensorType {
  needCount(args, 1);
  const dtype = needDtype(args, 0, ...dtypes);
  if (new Set(names).size !== names.length)
    refuse({ kind: "duplicate_axis", axis: names.find((n, i) => names.indexOf(n) !== i) ?? "", a: { arg: -1 }, message: "an axis is named twice" });
  for (const n of names) need(args, 0, n);
  return { dtype, axes: without(at(args, 0).axes, names) };
}

function linearCe(attrs: OpAttrs["linear_ce"], args: Args, count: number): readonly Axis[] {
  needCount(args, count);
  needDtype(args, 0, "f32");
  needDtype(args, 1, "f32");
  needDtype(args, 2, "i32");
  needDtype(args, 3, "f32");
  sameSize(attrs.from, 0, need(args, 0, attrs.from).size, 1, need(args, 1, attrs.from).size);
  exactAxes(args, 1, [need(args, 1, attrs.from), need(args, 1, attrs.vocab)], 0);
  const rows = without(at(args, 0).axes, [attrs.from]);
  exactAxes(args, 2, rows, 0);
  exactAxes(args, 3, rows, 0);
  if (count > 4) exactAxes(args, 4, rows, 0);
  return rows;
}

const leaf = (type: TensorType, args: Args): Inferred => {
  needCount(args, 0);
  unique(type.axes);
  return type;
};

/** One rule an op. A missing rule does not compile. */
export const inferRules: { readonly [K in OpName]: Rule<K> } = {
  input: (a, args) => leaf(a.type, args),
  state: (a, args) => leaf(a.type, args),
  const: (a, args) => leaf({ dtype: a.dtype, axes: [] }, args),
  iota: (a, args) => leaf({ dtype: "i32", axes: [a.axis] }, args),
  random: (a, args) => {
    needCount(args, 2);
    for (const i of [0, 1]) {
      needDtype(args, i, "u32");
      exactAxes(args, i, [], -1);
    }
    return { dtype: "f32", axes: unique(a.axes) };
  },
  neg: unaryOf("f32", "i32"), abs: unaryOf("f32", "i32"),
  exp: float, log: float, sqrt: float, rsqrt: float, tanh: float, sigmoid: float, sin: float, cos: float, floor: float,
  not: unaryOf("bool"),
  cast: (a, args) => {
    needCount(args, 1);
    return { dtype: a.dtype, axes: at(args, 0).axes };
  },
  add: arithmetic, sub: arithmetic, mul: arithmetic, div: arithmetic, max: arithmetic, min: arithmetic, mod: arithmetic,
  pow: binaryOf(undefined, "f32"),
  eq: equality, ne: equality, lt: ordering, le: ordering, and: logic, or: logic,
  select: (_, args) => {
    needCount(args, 3);
    needDtype(args, 0, "bool");
    needSameDtype(args, 1, 2);
    return { dtype: at(args, 1).dtype, axes: alignAxes(args) };
  },
  sum: (a, args) => reduceAxes(args, a.axes, ["f32", "i32", "u32"]),
  amax: (a, args) => reduceAxes(args, a.axes, ["f32", "i32", "u32"]),
  argmax: (a, args) => ({ ...reduceAxes(args, [a.axis], ["f32", "i32", "u32"]), dtype: "i32" }),
  dot: (a, args) => {
    needCount(args, 2);
    const dtype = needDtype(args, 0, "f32", "i32");
    needSameDtype(args, 0, 1);
    reduceAxes([at(args, 0)], a.axes, [dtype]);
    for (const n of a.axes) need(args, 1, n);
    alignAxes(args);
    const left = without(at(args, 0).axes, a.axes);
    return { dtype, axes: [...left, ...without(at(args, 1).axes, [...a.axes, ...left.map((x) => x.name)])] };
  },
  rename: (a, args) => {
    needCount(args, 1);
    need(args, 0, a.from);
    const t = at(args, 0);
    return { dtype: t.dtype, axes: unique(t.axes.map((x) => (x.name === a.from ? { name: a.to, size: x.size } : x))) };
  },
  split: (a, args) => {
    needCount(args, 1);
    const whole = need(args, 0, a.axis);
    const product = a.into.reduce((p, x) => dimMul(p, x.size), dimConst(1));
    if (!dimEqual(product, whole.size))
      refuse({
        kind: "size", axis: a.axis, a: { arg: 0, dim: whole.size }, b: { arg: -1, dim: product },
        message: `axis \`${a.axis}\` is ${dimText(whole.size)}, but ${a.into.map((x) => `\`${x.name}\` = ${dimText(x.size)}`).join(" times ")} makes ${dimText(product)}`,
      });
    const t = at(args, 0);
    return { dtype: t.dtype, axes: unique(t.axes.flatMap((x) => (x.name === a.axis ? a.into : [x]))) };
  },
  merge: (a, args) => {
    needCount(args, 1);
    const parts = a.axes.map((n) => need(args, 0, n));
    unique(parts);
    const t = at(args, 0);
    const last = Math.max(...a.axes.map((n) => t.axes.findIndex((x) => x.name === n)));
    const size = parts.reduce((p, x) => dimMul(p, x.size), dimConst(1));
    const axes = t.axes.flatMap((x, i) => (i === last ? [{ name: a.into, size }] : a.axes.includes(x.name) ? [] : [x]));
    return { dtype: t.dtype, axes: unique(axes) };
  },
  broadcast: (a, args) => {
    needCount(args, 1);
    const t = at(args, 0);
    // A run-time length goes outside, a constant width goes inside: the memory order stays "tokens, then features".
    const axes = dimValue(a.axis.size) === undefined ? [a.axis, ...t.axes] : [...t.axes, a.axis];
    return { dtype: t.dtype, axes: unique(axes) };
  },
  slice: (a, args) => {
    needCount(args, 1);
    const whole = need(args, 0, a.axis);
    const [start, size, all] = [dimValue(a.start), dimValue(a.size), dimValue(whole.size)];
    const end = start !== undefined && size !== undefined ? start + size : undefined;
    if ((start ?? 0) < 0 || (size ?? 0) < 0 || (end !== undefined && all !== undefined && end > all))
      refuse({
        kind: "size", axis: a.axis, a: { arg: 0, dim: whole.size }, b: { arg: -1, dim: dimAdd(a.start, a.size) },
        message: `the part ${dimText(a.start)} to ${dimText(dimAdd(a.start, a.size))} does not fit in axis \`${a.axis}\` of ${dimText(whole.size)}`,
      });
    const t = at(args, 0);
    return { dtype: t.dtype, axes: t.axes.map((x) => (x.name === a.axis ? { name: x.name, size: a.size } : x)) };
  },
  concat: (a, args) => {
    needCount(args, 1, Infinity);
    const t = at(args, 0);
    let size = dimConst(0);
    args.forEach((u, i) => {
      needSameDtype(args, 0, i);
      size = dimAdd(size, need(args, i, a.axis).size);
      exactAxes([t, { ...u, axes: without(u.axes, [a.axis]) }], 1, without(t.axes, [a.axis]), 0);
    });
    return { dtype: t.dtype, axes: t.axes.map((x) => (x.name === a.axis ? { name: x.name, size } : x)) };
  },
  gather: (a, args) => {
    needCount(args, 2);
    need(args, 0, a.axis);
    needDtype(args, 1, "i32");
    const rest = without(at(args, 0).axes, [a.axis]);
    const index = at(args, 1).axes;
    alignAxes([{ dtype: "i32", axes: rest }, { dtype: "i32", axes: index }]);
    return { dtype: at(args, 0).dtype, axes: [...index, ...without(rest, index.map((x) => x.name))] };
  },
  scatter_add: (a, args) => {
    needCount(args, 2);
    needDtype(args, 0, "f32", "i32", "u32");
    needDtype(args, 1, "i32");
    const index = at(args, 1).axes;
    for (const x of index) sameSize(x.name, 1, x.size, 0, need(args, 0, x.name).size);
    const t = at(args, 0);
    return { dtype: t.dtype, axes: unique([a.axis, ...without(t.axes, index.map((x) => x.name))]) };
  },
  update: (a, args) => {
    needCount(args, 3);
    needSameDtype(args, 0, 1);
    needDtype(args, 2, "i32");
    need(args, 0, a.axis);
    need(args, 1, a.axis);
    const t = at(args, 0);
    const rest = without(t.axes, [a.axis]);
    const v = at(args, 1);
    exactAxes([t, { ...v, axes: without(v.axes, [a.axis]) }], 1, rest, 0);
    axesWithin(args, 2, rest, 0);
    return t;
  },
  top,
  group_order: groupOrder, group_place: groupPlace, group_offset: groupOffset,
  grouped_dot: groupedDot, grouped_dw: groupedDw, grouped_sum: groupedSum,
  rope: (a, args) => {
    needCount(args, 2);
    needDtype(args, 0, "f32");
    needDtype(args, 1, "f32");
    const width = need(args, 0, a.axis);
    const n = dimValue(width.size);
    if (n !== undefined && n % 2 !== 0)
      refuse({ kind: "size", axis: a.axis, a: { arg: 0, dim: width.size }, message: `rotary positions turn pairs, so axis \`${a.axis}\` must be even, and it is ${n}` });
    const t = at(args, 0);
    axesWithin(args, 1, without(t.axes, [a.axis]), 0);
    return t;
  },
  attend: (a, args) => attendResult(a, args, 0).out,
  attend_lse: (a, args) => attendResult(a, args, 0).lse,
  attend_dq: attendGrad(0),
  attend_dk: attendGrad(1),
  attend_dv: attendGrad(2),
  attend_dtable: attendTableGrad,
  linear_ce: (a, args) => ({ dtype: "f32", axes: linearCe(a, args, 4) }),
  linear_ce_dx: (a, args) => (linearCe(a, args, 5), at(args, 0)),
  linear_ce_dw: (a, args) => (linearCe(a, args, 5), at(args, 1)),
};

/** Every op name, in the order of the vocabulary. */
export const opNames = Object.keys(inferRules) as readonly OpName[];

/** The type of `op` applied to operands of these types. */
export function inferType<K extends OpName>(op: K, attrs: OpAttrs[K], args: Args): Inferred {
  try {
    return (inferRules[op] as Rule<K>)(attrs, args);
  } catch (e) {
    if (e instanceof Refusal) return { ...e.error, op };
    throw e;
  }
}
