// The types of ops on rows in classes: group-by, products of rows with the matrix of their class, sums over the rows of a class.
// In: attributes and operand types. Out: the type of the result. Refuses rows that are not there, an order or offsets that do
// not belong to these rows and classes, and axes that mean two things.

import type { Dim } from "../dim/dim.ts";
import { dimAdd, dimConst, dimDiv, dimEqual, dimMul, dimSub, dimText, dimValue } from "../dim/dim.ts";
import type { Axis, TensorType } from "./graph.ts";
import { alignAxes } from "./infer_align.ts";
import { type Args, at, exactAxes, findAxis, type Inferred, need, needCount, needDtype, refuse, sameSize, unique, without } from "./infer_checks.ts";
import type { GroupAttrs, OpAttrs } from "./ops.ts";

const sizeOf = (axes: readonly Axis[]): Dim => axes.reduce((p, a) => dimMul(p, a.size), dimConst(1));

/** Each of `names` once, and none of them one of `taken`. */
function distinct(names: readonly string[], taken: readonly string[], what: string): void {
  names.forEach((n, i) => {
    if (names.indexOf(n) !== i || taken.includes(n)) refuse({ kind: "duplicate_axis", axis: n, a: { arg: -1 }, message: `${what} \`${n}\` occurs twice` });
  });
}

/** The classes of the rows: exactly the row axes, in any memory order. */
function rowAxes(a: GroupAttrs, args: Args): readonly Axis[] {
  needCount(args, 1);
  needDtype(args, 0, "i32");
  distinct(a.rows, [], "the axis of rows");
  const rows = a.rows.map((n) => need(args, 0, n));
  exactAxes([{ dtype: "i32", axes: rows }, at(args, 0)], 1, rows, 0);
  return rows;
}

export const groupOrder = (a: OpAttrs["group_order"], args: Args): Inferred => ({ dtype: "i32", axes: [{ name: a.slot, size: sizeOf(rowAxes(a, args)) }] });
export const groupPlace = (a: OpAttrs["group_place"], args: Args): Inferred => (rowAxes(a, args), at(args, 0));
export const groupOffset = (a: OpAttrs["group_offset"], args: Args): Inferred => {
  rowAxes(a, args);
  return { dtype: "i32", axes: [{ name: a.axis, size: dimAdd(a.classes, dimConst(1)) }] };
};

/** The one axis of an order or of offsets. */
function only(args: Args, i: number): Axis {
  needDtype(args, i, "i32");
  const [axis, more] = at(args, i).axes;
  return axis && !more ? axis : refuse({ kind: "arity", a: { arg: i }, message: "an order of rows, and the offsets of classes, have one axis each" });
}

/** How many classes the offsets tell apart. */
const classesOf = (args: Args, offset: number): Dim => dimSub(only(args, offset).size, dimConst(1));

/** `whole / part` where the quotient is one product; sums are divided by their first terms, and the result is multiplied back. */
function quotient(whole: Dim, part: Dim): Dim | undefined {
  const [w, p] = [whole.terms[0], part.terms[0]];
  if (dimEqual(whole, part)) return dimConst(1);
  for (const t of w && p ? whole.terms : []) {
    const q = dimDiv({ terms: [t] }, { terms: part.terms.slice(0, 1) });
    if (q && dimEqual(dimMul(part, q), whole)) return q;
  }
  return undefined;
}

/** The axes `rows` with their sizes: those some operand has, and at most `spare` more, which the number of slots gives. */
function rowsOf(names: readonly string[], operands: readonly number[], order: number, spare: 0 | 1, args: Args): readonly Axis[] {
  distinct(names, [], "the axis of rows");
  const slots = only(args, order).size;
  const found = names.map((n) => operands.map((i) => findAxis(at(args, i), n)).find((a) => a !== undefined));
  const known = found.filter((a) => a !== undefined);
  const lacking = names.filter((_, i) => found[i] === undefined);
  if (lacking.length > spare) need(args, operands[0] ?? 0, lacking[0] ?? "");
  const rest = quotient(slots, sizeOf(known));
  const rows = names.map((name, i) => found[i] ?? { name, size: rest ?? dimConst(0) });
  if (!rest || !dimEqual(sizeOf(rows), slots)) {
    refuse({
      kind: "size", a: { arg: order, dim: slots }, b: { arg: operands[0] ?? 0, dim: sizeOf(known) },
      message: `${dimText(slots)} rows were grouped, and \`${names.join(", ")}\` has ${dimText(sizeOf(known))} here`,
    });
  }
  return rows;
}

export function groupedDot(a: OpAttrs["grouped_dot"], args: Args): Inferred {
  needCount(args, 4);
  for (const i of [0, 1]) needDtype(args, i, "f32");
  const [x, w] = [at(args, 0), at(args, 1)];
  const classes = need(args, 1, a.classes);
  sameSize(a.classes, 1, classes.size, 3, classesOf(args, 3));
  distinct([a.classes, ...a.axes], a.rows, "the axis");
  for (const n of [...a.rows, ...x.axes.map((y) => y.name)])
    if (n === a.classes || (a.rows.includes(n) && findAxis(w, n)))
      refuse({ kind: "duplicate_axis", axis: n, a: { arg: 0 }, b: { arg: 1 }, message: `axis \`${n}\` belongs to the rows on one side and to the matrices on the other; rename one of them` });
  const rows = rowsOf(a.rows, [0], 2, 1, args);
  for (const n of a.axes) sameSize(n, 0, need(args, 0, n).size, 1, need(args, 1, n).size);
  alignAxes([x, w]);
  const left = without(x.axes, [...a.axes, ...a.rows]);
  const right = without(w.axes, [a.classes, ...a.axes, ...left.map((y) => y.name)]);
  return { dtype: "f32", axes: unique([...rows, ...left, ...right]) };
}

/** The classes from `first` on are among those that the offsets tell apart. */
function someClasses(a: { readonly classes: Axis; readonly first: number }, offset: number, args: Args): void {
  const [all, end] = [classesOf(args, offset), dimAdd(a.classes.size, dimConst(a.first))];
  const [n, m] = [dimValue(all), dimValue(end)];
  if (!dimEqual(all, end) && (a.first < 0 || n === undefined || m === undefined || m > n))
    refuse({ kind: "size", axis: a.classes.name, a: { arg: offset, dim: all }, b: { arg: -1, dim: end }, message: `the classes ${a.first} to ${dimText(end)} are not among ${dimText(all)}` });
}

export function groupedDw(a: OpAttrs["grouped_dw"], args: Args): Inferred {
  needCount(args, 4);
  for (const i of [0, 1]) needDtype(args, i, "f32");
  const [x, dy] = [at(args, 0), at(args, 1)];
  someClasses(a, 3, args);
  distinct(a.axes, a.rows, "the axis");
  rowsOf(a.rows, [0, 1], 2, 0, args);
  for (const n of a.axes) sameSize(n, 0, need(args, 0, n).size, 1, need(args, 1, n).size);
  alignAxes([x, dy]);
  const left = without(x.axes, [...a.axes, ...a.rows]);
  const right = without(dy.axes, [...a.axes, ...a.rows, ...left.map((y) => y.name)]);
  return { dtype: "f32", axes: unique([a.classes, ...left, ...right]) };
}

export function groupedSum(a: OpAttrs["grouped_sum"], args: Args): Inferred {
  needCount(args, 3);
  const dtype = needDtype(args, 0, "f32", "i32", "u32");
  someClasses(a, 2, args);
  rowsOf(a.rows, [0], 1, 0, args);
  return { dtype, axes: unique([a.classes, ...without(at(args, 0).axes, a.rows)]) };
}

export function top(a: OpAttrs["top"], args: Args): Inferred {
  needCount(args, 1);
  needDtype(args, 0, "f32", "i32", "u32");
  const axis = need(args, 0, a.axis);
  const [all, n] = [dimValue(axis.size), dimValue(a.choice.size)];
  if (all !== undefined && n !== undefined && n > all)
    refuse({ kind: "size", axis: a.axis, a: { arg: 0, dim: axis.size }, b: { arg: -1, dim: a.choice.size }, message: `the largest ${n} of axis \`${a.axis}\` are asked for, and it is ${all}` });
  return { dtype: "i32", axes: unique([...without(at(args, 0).axes, [a.axis]), a.choice]) };
}
