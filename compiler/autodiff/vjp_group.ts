// Gradients of products of rows with the matrix of their class. In: the cotangent. Out: cotangents of rows and matrices.
// Everything is again a product by the same group-by: what flows to the rows contracts the axes that only the matrices have, and
// what flows to the matrices sums over the rows of each class. Order and offsets are whole numbers and carry no slope.

import { dimAdd, dimConst, dimSub } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import { without } from "../graph/infer_checks.ts";
import type { Sweep } from "./sweep.ts";
import { argOf, names, reduceTo, zerosLike } from "./sweep.ts";

/** Names of the axes of `x` that neither `y` nor `others` have. */
const lackedBy = (s: Sweep<"grouped_dot" | "grouped_dw">, x: NodeId, y: NodeId, others: readonly string[]): string[] =>
  names(without(s.m.type(x).axes, [...names(s.m.type(y).axes), ...others]));

export function groupedDotVjp(s: Sweep<"grouped_dot">): readonly (NodeId | undefined)[] {
  const { m, g } = s;
  const { rows, classes } = s.node.attrs;
  const [x, w, order, offset] = [argOf(s, 0), argOf(s, 1), argOf(s, 2), argOf(s, 3)];
  return [
    s.needs(0) ? reduceTo(m, m.op("grouped_dot", [g, w, order, offset], { rows, classes, axes: lackedBy(s, w, x, [classes]) }), m.type(x)) : undefined,
    s.needs(1) ? m.op("grouped_dw", [x, g, order, offset], { rows, classes: m.axis(w, classes), first: 0, axes: lackedBy(s, x, w, rows) }) : undefined,
  ];
}

/** The cotangent of some classes, with zeros for those that were left out: offsets and matrices then count the same ones. */
function ofAllClasses({ m, g, node }: Sweep<"grouped_dw"> | Sweep<"grouped_sum">, offset: NodeId): NodeId {
  const { classes, first } = node.attrs;
  const total = dimSub(m.type(offset).axes[0]?.size ?? dimConst(1), dimConst(1));
  const rest = dimSub(total, dimAdd(classes.size, dimConst(first)));
  const zeros = [dimConst(first), rest].map((size): NodeId[] =>
    size.terms.length === 0 ? [] : [zerosLike(m, { dtype: "f32", axes: m.type(g).axes.map((a) => (a.name === classes.name ? { name: a.name, size } : a)) })]);
  return m.concat(classes.name, ...(zeros[0] ?? []), g, ...(zeros[1] ?? []));
}

export function groupedDwVjp(s: Sweep<"grouped_dw">): readonly (NodeId | undefined)[] {
  const { m } = s;
  const { rows, classes } = s.node.attrs;
  const [x, dy, order, offset] = [argOf(s, 0), argOf(s, 1), argOf(s, 2), argOf(s, 3)];
  const w = ofAllClasses(s, offset);
  const to = (self: NodeId, other: NodeId): NodeId => {
    // A product knows the size of one axis of rows that its operand lacks, not of two.
    const lacking = rows.filter((n) => !m.hasAxis(other, n)).slice(1);
    const full = m.broadcast(other, ...lacking.map((n) => m.axis(self, n)));
    return reduceTo(m, m.op("grouped_dot", [full, w, order, offset], { rows, classes: classes.name, axes: lackedBy(s, other, self, rows) }), m.type(self));
  };
  return [s.needs(0) ? to(x, dy) : undefined, s.needs(1) ? to(dy, x) : undefined];
}

/** Every row gets the cotangent of its class: the product with one, over no axis. */
export function groupedSumVjp(s: Sweep<"grouped_sum">): readonly (NodeId | undefined)[] {
  const { m } = s;
  const { rows, classes } = s.node.attrs;
  const [value, order, offset] = [argOf(s, 0), argOf(s, 1), argOf(s, 2)];
  const ones = m.broadcast(m.const(1), ...rows.map((n) => m.axis(value, n)));
  return [m.op("grouped_dot", [ones, ofAllClasses(s, offset), order, offset], { rows, classes: classes.name, axes: [] })];
}
