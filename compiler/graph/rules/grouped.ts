// Rules about rows in classes.

import { dimValue } from "../../dim/dim.ts";
import type { RewriteRule } from "../rewrite.ts";
import { rule } from "../rewrite.ts";
import { sameAxes } from "../verify.ts";

export const grouped: readonly RewriteRule[] = [
  rule("slice_of_classes", "exact", ["slice"], ({ m, node, arg }) => {
    // Gradients of a part of the classes are summed over the rows of those alone: a branch that is not trained costs nothing.
    const x = arg(0);
    const { axis, start, size } = node.attrs;
    const from = dimValue(start);
    if ((x.op !== "grouped_dw" && x.op !== "grouped_sum") || x.attrs.classes.name !== axis || from === undefined) return undefined;
    return m.op(x.op, x.args, { ...x.attrs, classes: { name: axis, size }, first: x.attrs.first + from });
  }),
  rule("add_of_sums", "reassociates", ["add"], ({ m, node, arg }) => {
    // What two products bring to the same rows is added before the choices of a token are: both are one product then.
    const [a, b] = [arg(0), arg(1)];
    if (a.op !== "sum" || b.op !== "sum" || a.id === b.id || a.attrs.axes.length !== b.attrs.axes.length || !a.attrs.axes.every((n) => b.attrs.axes.includes(n))) return undefined;
    const [x, y] = [m.builder.node(a.args[0] ?? -1), m.builder.node(b.args[0] ?? -1)];
    const alike = x.op === "grouped_dot" && y.op === "grouped_dot" && sameAxes(x.type, y.type);
    return alike ? m.sum(m.add(x.id, y.id), ...a.attrs.axes) : undefined;
  }),
  rule("add_of_merges", "exact", ["add"], ({ m, arg }) => {
    const [a, b] = [arg(0), arg(1)];
    if (a.op !== "merge" || b.op !== "merge" || a.attrs.into !== b.attrs.into || a.attrs.axes.join() !== b.attrs.axes.join()) return undefined;
    const [x, y] = [m.builder.node(a.args[0] ?? -1), m.builder.node(b.args[0] ?? -1)];
    return sameAxes(x.type, y.type) ? m.merge(m.add(x.id, y.id), a.attrs.axes, a.attrs.into) : undefined;
  }),
];
