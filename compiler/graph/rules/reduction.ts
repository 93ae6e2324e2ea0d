// Rules about sums, maxima and contractions: over repeated axes, over each other, and products that are contractions in disguise.

import { dimValue } from "../../dim/dim.ts";
import type { Node, NodeId } from "../graph.ts";
import { findAxis } from "../infer_checks.ts";
import type { RewriteRule } from "../rewrite.ts";
import { rule } from "../rewrite.ts";
import { constantOf } from "./algebra.ts";
import { repeatedAxes, unbroadcast } from "./movement.ts";

const hasOwn = (x: Node, y: Node, except: readonly string[]): boolean => x.type.axes.some((a) => !except.includes(a.name) && !findAxis(y.type, a.name));

export const reduction: readonly RewriteRule[] = [
  rule("sum_of_broadcast", "reassociates", ["sum"], ({ m, node, arg }) => {
    // The count of ones over a run-time length is itself such a sum, and stays.
    if (constantOf(m.builder, arg(0)) !== undefined && node.attrs.axes.some((n) => m.axis(arg(0).id, n).size.terms.some((t) => t.vars.length > 0))) return undefined;
    const a = repeatedAxes(m, arg(0)).find((x) => node.attrs.axes.includes(x.name));
    const below = a && unbroadcast(m, arg(0), a.name);
    if (!a || below === undefined || node.type.dtype !== "f32") return undefined;
    return m.mul(m.sum(below, ...node.attrs.axes.filter((n) => n !== a.name)), m.count([a]));
  }),
  rule("amax_of_broadcast", "exact", ["amax"], ({ m, node, arg }) => {
    const a = repeatedAxes(m, arg(0)).find((x) => node.attrs.axes.includes(x.name));
    const below = a && unbroadcast(m, arg(0), a.name);
    return !a || below === undefined ? undefined : m.amax(below, ...node.attrs.axes.filter((n) => n !== a.name));
  }),
  rule("reduce_one", "exact", ["sum", "amax"], ({ m, node, arg }) => {
    // An axis of one place is no sum: a neighbour takes it in, in the same memory.
    const x = arg(0);
    const one = x.type.axes.find((a) => dimValue(a.size) === 1 && node.attrs.axes.includes(a.name));
    const i = x.type.axes.findIndex((a) => a === one);
    const next = x.type.axes[i + 1] ?? x.type.axes[i - 1];
    if (!one || !next) return undefined;
    return m.op(node.op, [m.merge(x.id, [one.name, next.name], next.name)], { axes: node.attrs.axes.filter((n) => n !== one.name) });
  }),
  rule("sum_of_sum", "reassociates", ["sum"], ({ m, node, arg }) => {
    const x = arg(0);
    return x.op === "sum" ? m.sum(x.args[0] ?? -1, ...x.attrs.axes, ...node.attrs.axes) : undefined;
  }),
  rule("amax_of_amax", "exact", ["amax"], ({ m, node, arg }) => {
    const x = arg(0);
    return x.op === "amax" ? m.amax(x.args[0] ?? -1, ...x.attrs.axes, ...node.attrs.axes) : undefined;
  }),
  rule("reduce_nothing", "exact", ["sum", "amax"], ({ node, arg }) => (node.attrs.axes.length === 0 ? arg(0).id : undefined)),
  rule("dot_of_nothing", "exact", ["dot"], ({ m, node, arg }) => (node.attrs.axes.length === 0 ? m.mul(arg(0).id, arg(1).id) : undefined)),
  rule("dot_of_broadcast", "reassociates", ["dot"], ({ m, node, arg }): NodeId | undefined => {
    const { axes } = node.attrs;
    for (const i of [0, 1])
      for (const a of repeatedAxes(m, arg(i))) {
        const [x, y] = [unbroadcast(m, arg(i), a.name), arg(1 - i)];
        if (x === undefined) continue;
        const product = (p: NodeId, q: NodeId, over: readonly string[]): NodeId => (i === 0 ? m.dot(p, q, ...over) : m.dot(q, p, ...over));
        // Summed: only the other side varies, so it is summed first. Kept: by name it is repeated anyway, now or after.
        if (axes.includes(a.name)) return product(x, m.sum(y.id, a.name), axes.filter((n) => n !== a.name));
        const out = product(x, y.id, axes);
        return m.expand(out, node.type);
      }
    return undefined;
  }),
  rule("sum_of_product", "reassociates", ["sum"], ({ m, node, arg }) => {
    const x = arg(0);
    if (x.op !== "mul" || x.type.dtype !== "f32") return undefined;
    const [a, b] = [m.builder.node(x.args[0] ?? -1), m.builder.node(x.args[1] ?? -1)];
    const { axes } = node.attrs;
    // Only when both sides bring axes of their own: otherwise it is a row reduction, which fuses better as it stands.
    const contracts = axes.every((n) => findAxis(a.type, n) && findAxis(b.type, n)) && hasOwn(a, b, axes) && hasOwn(b, a, axes);
    return contracts ? m.dot(a.id, b.id, ...axes) : undefined;
  }),
];
