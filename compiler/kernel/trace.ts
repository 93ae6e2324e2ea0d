// In: an analysis and a unit. Out: every stored value the unit reads, and at which points, with the unit's own coordinates as
// symbols; and the same reads again at coordinates of a group's space. Emits into a scratch kernel that is thrown away.
// Refuses nothing.

import { dimConst, dimMul, dimText } from "../dim/dim.ts";
import type { Axis, Node, NodeId } from "../graph/graph.ts";
import { scalarOf } from "../graph/tensor.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { name } from "../scalar/expr.ts";
import type { Analysis, Unit } from "./analysis.ts";
import { isLeaf } from "./analysis.ts";
import { Body, KernelParts } from "./body.ts";
import type { Point } from "./body.ts";
import { Evaluator } from "./evaluate.ts";

export interface Read {
  readonly id: NodeId;
  readonly at: Point;
}

/** A unit with the space it runs over. */
export interface Work {
  readonly unit: Unit;
  readonly node: Node;
  /** The result's axes, with the reduced ones of a reduction where its operand has them. */
  readonly axes: readonly Axis[];
  readonly reduced: readonly string[];
}

export const symbol = (space: string, axis: string): ScalarExpr => name(`${space}:${axis}`, "i32");
export const symbols = (space: string, axes: readonly Axis[]): Point => Object.fromEntries(axes.map((a) => [a.name, symbol(space, a.name)]));
export const elementsOf = (axes: readonly Axis[]): string => dimText(axes.reduce((p, a) => dimMul(p, a.size), dimConst(1)));

/** Axes of the operands of a reduction, and which of them it sums. */
function reductionSpace(a: Analysis, node: Node): { axes: readonly Axis[]; reduced: readonly string[] } {
  const types = node.args.map((id) => (a.graph.nodes[id] as Node).type.axes);
  const axes = types.reduce<Axis[]>((all, t) => [...all, ...t.filter((x) => !all.some((y) => y.name === x.name))], []);
  const reduced = node.op === "argmax" ? [node.attrs.axis] : node.op === "sum" || node.op === "amax" || node.op === "dot" ? node.attrs.axes : [];
  return { axes, reduced };
}

export function workOf(a: Analysis, unit: Unit): Work {
  const node = a.graph.nodes[unit.node] as Node;
  if (unit.kind === "reduce" || unit.kind === "partial") return { unit, node, ...reductionSpace(a, node) };
  // An update runs over what it writes.
  if (unit.kind === "update") return { unit, node, axes: (a.graph.nodes[node.args[1] as NodeId] as Node).type.axes, reduced: [] };
  return { unit, node, axes: node.type.axes, reduced: [] };
}

/** Whether all of a unit's operands are read at the points of its own space. */
export const isPointwise = (u: Unit): boolean => ["map", "reduce", "partial", "copy", "update"].includes(u.kind);

/** Units and leaves that a node's value at a point reads. `own` is computed rather than read. */
export function readsAt(a: Analysis, roots: readonly { readonly id: NodeId; readonly at: Point }[], own?: NodeId, through?: (id: NodeId) => boolean): Read[] {
  const reads: Read[] = [];
  const parts = new KernelParts();
  const evaluator = new Evaluator({ graph: a.graph, storage: () => undefined, absent: a.absent, shared: () => false }, parts, (id, at) => {
    if (id === own || through?.(id)) return undefined;
    const n = a.graph.nodes[id] as Node;
    if (!isLeaf(n) && !a.unitOf.has(id)) return undefined;
    reads.push({ id, at: Object.fromEntries(n.type.axes.map((x) => [x.name, at[x.name] as ScalarExpr])) });
    return name(`read:${id}`, scalarOf(n.type.dtype));
  });
  const b = new Body(parts);
  for (const r of roots) evaluator.value(b, r.id, r.at);
  return reads;
}

/** What a unit reads when it runs over its space at `at`. */
export function unitReads(a: Analysis, w: Work, at: Point): Read[] {
  if (w.unit.kind === "map") return readsAt(a, [{ id: w.node.id, at }], w.node.id);
  if (w.unit.kind === "copy") return readsAt(a, [{ id: w.node.id, at }]);
  if (w.unit.kind === "update") return readsAt(a, w.node.args.slice(1).map((id) => ({ id, at })));
  if (isPointwise(w.unit)) return readsAt(a, w.node.args.map((id) => ({ id, at })));
  // Anchors read their operands everywhere: which ones is all that counts.
  return readsAt(a, w.node.args.map((id) => ({ id, at: symbols("x", (a.graph.nodes[id] as Node).type.axes) })));
}

/** The value at a point with some units computed on the way: their reads instead of themselves. */
export const deepReads = (a: Analysis, roots: readonly { readonly id: NodeId; readonly at: Point }[], through: (id: NodeId) => boolean): Read[] => readsAt(a, roots, undefined, through);
