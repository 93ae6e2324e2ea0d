// The types of attention and its gradients. In: AttendAttrs and the types of q, k, v, attributes, tables and sink.
// Out: the types of the result and of the log-sum. Refuses axes that do not meet, and tables that are not at the heads.

import type { Axis, TensorType } from "./graph.ts";
import { type Args, at, axesWithin, exactAxes, findAxis, type Inferred, need, needCount, needDtype, refuse, sameSize, unique, without } from "./infer_checks.ts";
import type { AttendAttrs, OpAttrs } from "./ops.ts";

export function attendResult(attrs: AttendAttrs, args: Args, extra: number): { out: TensorType; lse: TensorType } {
  const first = 3 + extra;
  const tables = attrs.tables ?? [];
  const firstTable = firstTableOf(attrs, first);
  needCount(args, firstTable + tables.length + (attrs.sink ? 1 : 0));
  for (let i = 0; i < 3; i++) needDtype(args, i, "f32");
  const [q, k, v] = [at(args, 0), at(args, 1), at(args, 2)];
  need(args, 0, attrs.query);
  sameSize(attrs.width, 0, need(args, 0, attrs.width).size, 1, need(args, 1, attrs.width).size);
  const key = need(args, 1, attrs.key);
  sameSize(attrs.key, 1, key.size, 2, need(args, 2, attrs.key).size);
  const value = need(args, 2, attrs.value);
  if (findAxis(q, attrs.key)) refuse({ kind: "duplicate_axis", axis: attrs.key, a: { arg: 0 }, message: `the query must not have the key axis \`${attrs.key}\`; rename one of them` });
  const outer = without(q.axes, [attrs.width]);
  const kOuter = without(k.axes, [attrs.width, attrs.key]);
  axesWithin([...args.slice(0, 1), { ...k, axes: kOuter }], 1, without(outer, [attrs.query]), 0);
  exactAxes([args[0] ?? q, k, { ...v, axes: without(v.axes, [attrs.key, attrs.value]) }], 2, kOuter, 1);
  attrs.queryAttrs.forEach((_, i) => axesWithin(args, first + i, outer, 0));
  attrs.keyAttrs.forEach((_, i) => axesWithin(args, first + attrs.queryAttrs.length + i, [...without(outer, [attrs.query]), key], 1));
  const heads = without(outer, [attrs.query]);
  attrs.heads?.forEach((n) => need([{ dtype: "f32", axes: heads }], 0, n));
  tables.forEach((table, i) => {
    const arg = firstTable + i;
    needDtype(args, arg, "f32");
    const t = at(args, arg);
    if ((table.axis === undefined) !== (table.index === undefined)) refuse({ kind: "arity", message: "a table has an axis and an index along it, or neither" });
    if (table.axis === undefined) return axesWithin(args, arg, heads, 0);
    need(args, arg, table.axis);
    if (findAxis(q, table.axis)) refuse({ kind: "duplicate_axis", axis: table.axis, a: { arg: 0 }, b: { arg }, message: `the query must not have the axis \`${table.axis}\` that a table is looked up along; rename one of them` });
    if (table.index?.type !== "i32") refuse({ kind: "dtype", a: { arg }, message: "an f32 value where i32 is needed" });
    const rest = without(t.axes, [table.axis]);
    axesWithin(args.map((a, j) => (j === arg ? { ...a, axes: rest } : a)), arg, heads, 0);
  });
  if (attrs.sink) {
    const arg = firstTable + tables.length;
    needDtype(args, arg, "f32");
    axesWithin(args, arg, heads, 0);
  }
  return { out: { dtype: "f32", axes: unique([...outer, value]) }, lse: { dtype: "f32", axes: outer } };
}

/** Where the tables stand among the args of an attention whose attributes start at `first`. */
export const firstTableOf = (attrs: AttendAttrs, first: number): number => first + attrs.queryAttrs.length + attrs.keyAttrs.length;

/** Which operand a gradient of `attend` has the type of. */
export const attendGrad = (of: 0 | 1 | 2) => (attrs: AttendAttrs, args: Args): Inferred => {
  const { out, lse } = attendResult(attrs, args, 3);
  exactAxes(args, 3, out.axes, 0);
  exactAxes(args, 4, lse.axes, 0);
  exactAxes(args, 5, out.axes, 0);
  for (let i = 3; i < 6; i++) needDtype(args, i, "f32");
  return at(args, of);
};

/** A gradient of `attend` checks its operands alike; `of` says which one it has the type of. */
export const attendTableGrad = (attrs: OpAttrs["attend_dtable"], args: Args): Inferred => {
  attendGrad(0)(attrs, args);
  if (!attrs.tables?.[attrs.table]) return refuse({ kind: "arity", message: `there is no table ${attrs.table}` });
  return at(args, firstTableOf(attrs, 6) + attrs.table);
};
