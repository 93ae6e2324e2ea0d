// In: a group around a dot (or a sum of dots) with the maps that follow it. Out: one dispatch through the product template:
// axes sorted into batch, rows and columns with the result's contiguous axis among the columns, operands as point functions,
// and a sink that runs the maps and stores what is wanted. Refuses nothing.

import type { Axis, Node, NodeId, NodeOf } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { SummedDot } from "./analysis.ts";
import type { Point, PointFn, SpaceAxis } from "./body.ts";
import { KernelParts } from "./body.ts";
import { coordinate, mergedParts, spaceAxis } from "./coords.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { dispatchOf, groupEvaluator, storeMembers } from "./lowering.ts";
import type { ProductTerm } from "./templates.ts";
import { readsAt, symbols } from "./trace.ts";

/** Contracted axes get names that cannot meet the result's. */
const inner = (name: string): string => `k:${name}`;

export function lowerProduct(low: Lowering, g: Group): ProgramStep[] {
  const a = low.analysis;
  const dot = g.members[0]?.work.node as NodeOf<"dot">;
  const dots: readonly SummedDot[] = a.sums.get(dot.id) ?? [{ node: dot, names: Object.fromEntries(dot.type.axes.map((x) => [x.name, x.name])) }];
  const typeOf = (id: NodeId): readonly Axis[] => (a.graph.nodes[id] as Node).type.axes;
  const has = (id: NodeId, axis: string): boolean => typeOf(id).some((x) => x.name === axis);

  // Memory order of the result: that of the first thing stored at its points.
  const order = resultOrder(low, g, dot.type.axes);
  const [x, y] = dot.args as [NodeId, NodeId];
  const last = [...order].reverse().find((n) => has(x, n) !== has(y, n));
  const b = last !== undefined && has(x, last) ? x : y;
  const ax = b === x ? y : x;
  const axes = order.map((n) => spaceAxis(dot.type.axes.find((t) => t.name === n) as Axis));
  const batch = axes.filter((t) => has(x, t.name) && has(y, t.name));
  const m = axes.filter((t) => has(ax, t.name) && !has(b, t.name));
  const n = axes.filter((t) => has(b, t.name) && !has(ax, t.name));

  const parts = new KernelParts();
  let current: ScalarExpr | undefined;
  const evaluator = groupEvaluator(low, g, parts, (id) => (id === dot.id ? current : undefined));
  const operand = (id: NodeId, d: SummedDot): PointFn => (body, at) => evaluator.value(body, id, termPoint(d, at));
  const terms = dots.map((d): ProductTerm => {
    const [p, q] = d.node.args as [NodeId, NodeId];
    const own = (id: NodeId, axis: SpaceAxis | undefined): boolean => axis !== undefined && typeOf(id).some((t) => t.name === d.names[axis.name]);
    const right = own(p, n[0]) && !own(q, n[0]) ? p : q;
    const left = right === p ? q : p;
    // The contracted axes in the order of b's memory: its rows are then read one after the other.
    const k = typeOf(right).filter((t) => d.node.attrs.axes.includes(t.name)).map((t) => ({ ...spaceAxis(t), name: inner(t.name) }));
    return { k, a: operand(left, d), b: operand(right, d), aContiguous: contiguous(low, left, d), bContiguous: contiguous(low, right, d) };
  });
  const shape = low.templates.product(parts, {
    batch, m, n, terms,
    sink: (body, at, value) => {
      current = body.let(value, "dot");
      storeMembers(low, evaluator, body, g.members, at);
      current = undefined;
    },
  }, low.target);
  return [dispatchOf(low, g, "product", parts, shape, [...g.members.map((s) => s.work.node.id), ...dots.map((d) => d.node.id)])];
}

/** The result's axes as the memory of what is stored has them. */
function resultOrder(low: Lowering, g: Group, axes: readonly Axis[]): string[] {
  const names = axes.map((x) => x.name);
  for (const s of g.members) {
    const to = low.stores(s)[0];
    const own = to?.axes.map((x) => s.coords[x.name]).map((e) => (e?.kind === "name" ? e.name.slice(2) : ""));
    if (own && own.length === names.length && names.every((x) => own.includes(x))) return own;
  }
  return names;
}

/** Coordinates of one dot: the carrier's names turned into its own. */
function termPoint(d: SummedDot, at: Point): Point {
  const own: Record<string, ScalarExpr> = {};
  for (const [carrier, mine] of Object.entries(d.names)) if (at[carrier]) own[mine] = at[carrier] as ScalarExpr;
  for (const k of d.node.attrs.axes) own[k] = coordinate(at, inner(k));
  return own;
}

/** The axis, by the product's names, along which an operand's largest load is contiguous. */
function contiguous(low: Lowering, id: NodeId, d: SummedDot): string | undefined {
  const node = low.analysis.graph.nodes[id] as Node;
  const reads = readsAt(low.analysis, [{ id, at: symbols("u", node.type.axes) }]);
  const main = reads.reduce<(typeof reads)[number] | undefined>((best, r) => (!best || Object.keys(r.at).length > Object.keys(best.at).length ? r : best), undefined);
  const storage = main && low.storage(main.id);
  const lastAxis = storage?.axes[storage.axes.length - 1]?.name;
  let e = lastAxis === undefined ? undefined : main?.at[lastAxis];
  for (let parts = e && mergedParts(e); e && parts; parts = mergedParts(e)) e = parts.low;
  if (e?.kind === "binary" && e.op === "mod") e = e.a;
  if (e?.kind !== "name" || !e.name.startsWith("u:")) return undefined;
  const own = e.name.slice(2);
  return Object.entries(d.names).find(([, mine]) => mine === own)?.[0] ?? (d.node.attrs.axes.includes(own) ? inner(own) : undefined);
}
