// Rules about names and places: renames, slices, splits, repeated axes. All exact; most remove a node that would copy.

import { dimAdd, dimConst, dimEqual, dimMul, dimValue } from "../../dim/dim.ts";
import type { Axis, Node, NodeId } from "../graph.ts";
import { findAxis } from "../infer_checks.ts";
import type { Make } from "../make.ts";
import type { OpName } from "../ops.ts";
import type { RewriteRule } from "../rewrite.ts";
import { rule } from "../rewrite.ts";
import { binaryNames, unaryNames } from "./algebra.ts";

const elementwise = [...unaryNames, ...binaryNames, "cast", "select"] as const satisfies readonly OpName[];

/** When `x` is the repetition of something along `axis`, that something. Looks through repetitions along other axes. */
export function unbroadcast(m: Make, x: Node, axis: string): NodeId | undefined {
  if (x.op !== "broadcast") return undefined;
  const below = m.builder.node(x.args[0] ?? -1);
  if (x.attrs.axis.name === axis) return below.id;
  const deeper = unbroadcast(m, below, axis);
  return deeper === undefined ? undefined : m.broadcast(deeper, x.attrs.axis);
}

/** The axes along which `x` is a repetition, outermost repetition first. */
export function repeatedAxes(m: Make, x: Node): Axis[] {
  return x.op === "broadcast" ? [x.attrs.axis, ...repeatedAxes(m, m.builder.node(x.args[0] ?? -1))] : [];
}

export const movement: readonly RewriteRule[] = [
  rule("rename_same", "exact", ["rename"], ({ node, arg }) => (node.attrs.from === node.attrs.to ? arg(0).id : undefined)),
  rule("rename_of_rename", "exact", ["rename"], ({ m, node, arg }) => {
    const x = arg(0);
    return x.op === "rename" && x.attrs.to === node.attrs.from ? m.rename(x.args[0] ?? -1, x.attrs.from, node.attrs.to) : undefined;
  }),
  rule("rename_of_broadcast", "exact", ["rename"], ({ m, node, arg }) => {
    const x = arg(0);
    if (x.op !== "broadcast") return undefined;
    const { from, to } = node.attrs;
    const below = x.args[0] ?? -1;
    return x.attrs.axis.name === from ? m.broadcast(below, { name: to, size: x.attrs.axis.size }) : m.broadcast(m.rename(below, from, to), x.attrs.axis);
  }),
  rule("rename_of_iota", "exact", ["rename"], ({ m, node, arg }) => {
    const x = arg(0);
    return x.op === "iota" ? m.iota({ name: node.attrs.to, size: x.attrs.axis.size }) : undefined;
  }),
  rule("slice_whole", "exact", ["slice"], ({ node, arg }) => {
    const a = findAxis(arg(0).type, node.attrs.axis);
    return a && dimValue(node.attrs.start) === 0 && dimEqual(a.size, node.attrs.size) ? arg(0).id : undefined;
  }),
  rule("slice_of_slice", "exact", ["slice"], ({ m, node, arg }) => {
    const x = arg(0);
    if (x.op !== "slice" || x.attrs.axis !== node.attrs.axis) return undefined;
    return m.slice(x.args[0] ?? -1, node.attrs.axis, dimAdd(x.attrs.start, node.attrs.start), node.attrs.size);
  }),
  rule("slice_of_broadcast", "exact", ["slice"], ({ m, node, arg }) => {
    const below = unbroadcast(m, arg(0), node.attrs.axis);
    return below === undefined ? undefined : m.broadcast(below, { name: node.attrs.axis, size: node.attrs.size });
  }),
  rule("slice_of_concat", "exact", ["slice"], ({ m, node, arg }) => {
    const x = arg(0);
    const { axis, start, size } = node.attrs;
    if (x.op !== "concat" || x.attrs.axis !== axis) return undefined;
    const [from, n] = [dimValue(start), dimValue(size)];
    let at = 0;
    for (const part of x.args) {
      const whole = dimValue(m.axis(part, axis).size);
      if (whole === undefined || from === undefined || n === undefined) return undefined;
      if (from >= at && from + n <= at + whole) return m.slice(part, axis, { terms: from === at ? [] : [{ coef: from - at, vars: [] }] }, size);
      at += whole;
    }
    return undefined;
  }),
  rule("slice_of_split", "exact", ["slice"], ({ m, node, arg }) => {
    // Places of the major part lie together in the whole.
    const x = arg(0);
    const { axis, start, size } = node.attrs;
    if (x.op !== "split" || x.attrs.into[0]?.name !== axis) return undefined;
    const [, ...rest] = x.attrs.into;
    const under = rest.reduce((p, a) => dimMul(p, a.size), dimConst(1));
    return m.split(m.slice(x.args[0] ?? -1, x.attrs.axis, dimMul(start, under), dimMul(size, under)), x.attrs.axis, [{ name: axis, size }, ...rest]);
  }),
  rule("concat_of_slices", "exact", ["concat"], ({ m, node }) => {
    // Parts of one value that lie side by side are one part of it.
    const { axis } = node.attrs;
    const parts = node.args.map((a) => m.builder.node(a));
    for (let i = 0; i + 1 < parts.length; i++) {
      const [x, y] = [parts[i], parts[i + 1]];
      if (x?.op !== "slice" || y?.op !== "slice" || x.args[0] !== y.args[0] || x.attrs.axis !== axis || y.attrs.axis !== axis) continue;
      if (!dimEqual(dimAdd(x.attrs.start, x.attrs.size), y.attrs.start)) continue;
      const both = m.slice(x.args[0] ?? -1, axis, x.attrs.start, dimAdd(x.attrs.size, y.attrs.size));
      return m.op("concat", [...node.args.slice(0, i), both, ...node.args.slice(i + 2)], { axis });
    }
    return undefined;
  }),
  rule("concat_one", "exact", ["concat"], ({ node, arg }) => (node.args.length === 1 ? arg(0).id : undefined)),
  rule("merge_of_split", "exact", ["merge"], ({ m, node, arg }) => {
    const x = arg(0);
    if (x.op !== "split") return undefined;
    const parts = x.attrs.into.map((a) => a.name);
    const same = parts.length === node.attrs.axes.length && parts.every((n, i) => n === node.attrs.axes[i]);
    return same ? m.rename(x.args[0] ?? -1, x.attrs.axis, node.attrs.into) : undefined;
  }),
  rule("split_of_merge", "exact", ["split"], ({ m, node, arg }) => {
    const x = arg(0);
    if (x.op !== "merge" || x.attrs.into !== node.attrs.axis || x.attrs.axes.length !== node.attrs.into.length) return undefined;
    const below = x.args[0] ?? -1;
    const same = node.attrs.into.every((a, i) => a.name === x.attrs.axes[i] && dimEqual(a.size, m.axis(below, a.name).size));
    return same ? below : undefined;
  }),
  rule("broadcast_in_elementwise", "exact", elementwise, ({ m, node, arg }) => {
    // Elementwise ops repeat by name, so an operand need not be repeated along an axis that another operand has.
    for (let i = 0; i < node.args.length; i++)
      for (const a of repeatedAxes(m, arg(i))) {
        if (!node.args.some((_, j) => j !== i && findAxis(arg(j).type, a.name))) continue;
        const below = unbroadcast(m, arg(i), a.name);
        if (below === undefined || allRepeat(m, node.args.map((_, j) => arg(j)), a.name)) continue;
        return m.op(node.op, node.args.map((x, j) => (j === i ? below : x)), node.attrs);
      }
    return undefined;
  }),
  rule("elementwise_of_broadcast", "exact", elementwise, ({ m, node, arg }) => {
    // What is repeated in every operand that has the axis is computed once, then repeated.
    const args = node.args.map((_, i) => arg(i));
    for (const a of args.flatMap((x) => repeatedAxes(m, x))) {
      if (!allRepeat(m, args, a.name)) continue;
      const below = args.map((x) => (findAxis(x.type, a.name) ? (unbroadcast(m, x, a.name) ?? x.id) : x.id));
      return m.broadcast(m.op(node.op, below, node.attrs), a);
    }
    return undefined;
  }),
];

const allRepeat = (m: Make, args: readonly Node[], axis: string): boolean =>
  args.every((x) => !findAxis(x.type, axis) || repeatedAxes(m, x).some((a) => a.name === axis));
