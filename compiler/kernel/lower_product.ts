// In: a group around a product (a dot, a product of rows in classes, a sum of such, or two of one left operand) with the maps that
// follow it. Out: one dispatch through the product template: axes sorted into batch, rows and columns with the result's contiguous
// axis among the columns, operands as point functions, and a sink that runs the maps and stores what is wanted. Refuses nothing.

import type { Axis, Node, NodeId, NodeOf } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, i32 } from "../scalar/expr.ts";
import type { Body, Point, PointFn, SpaceAxis } from "./body.ts";
import { KernelParts } from "./body.ts";
import { coordinate, mergedParts, spaceAxis } from "./coords.ts";
import type { Evaluator } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { dispatchOf, groupEvaluator, storeMembers } from "./lowering.ts";
import type { RowClasses } from "./row_classes.ts";
import { sharedOf } from "./siblings.ts";
import type { ProductSpec, ProductTerm } from "./templates.ts";
import { readsAt, symbols } from "./trace.ts";

type Made = NodeOf<"dot"> | NodeOf<"grouped_dot"> | NodeOf<"grouped_dw">;

/** One product that the kernel makes, or adds up: its axes by the names that the kernel gives them. */
interface Product {
  readonly node: Made;
  readonly left: NodeId;
  readonly right: NodeId;
  readonly names: Readonly<Record<string, string>>;
}

/** Contracted axes get names that cannot meet the result's, and so does the class of a row. */
const inner = (name: string): string => `k:${name}`;
const rowClass = "class of row";

/** Axes that a product contracts: those it names, and the rows of a sum by class. */
const contracted = (n: Made): readonly string[] => (n.op === "grouped_dw" ? [...n.attrs.rows, ...n.attrs.axes] : n.attrs.axes);

export function lowerProduct(low: Lowering, g: Group): ProgramStep[] {
  const a = low.analysis;
  const made = g.members.filter((m) => m.work.unit.kind === "product").map((m) => m.work.node as Made);
  const [dot, ...more] = made as [Made, ...Made[]];
  const typeOf = (id: NodeId): readonly Axis[] => (a.graph.nodes[id] as Node).type.axes;
  const has = (id: NodeId, axis: string): boolean => typeOf(id).some((x) => x.name === axis);

  // Memory order of the result: that of the first thing stored at its points.
  const order = resultOrder(low, g, dot.type.axes);
  const [x, y] = dot.args as [NodeId, NodeId];
  const last = [...order].reverse().find((n) => has(x, n) !== has(y, n));
  const shared = more[0] && dot.op !== "grouped_dw" && more[0].op !== "grouped_dw" ? sharedOf(dot, more[0]) : undefined;
  const right = dot.op === "grouped_dot" ? y : shared !== undefined ? (shared === x ? y : x) : last !== undefined && has(x, last) ? x : y;
  const left = right === x ? y : x;
  const rows = dot.op === "grouped_dot" ? dot.attrs.rows : [];
  const axes = order.map((n) => spaceAxis(dot.type.axes.find((t) => t.name === n) as Axis)).filter((t) => !rows.includes(t.name));
  const own = (id: NodeId, t: SpaceAxis): boolean => has(id, t.name);
  const batch = axes.filter((t) => own(left, t) === own(right, t));
  const m = axes.filter((t) => own(left, t) && !own(right, t));
  const n = axes.filter((t) => own(right, t) && !own(left, t));

  const parts = new KernelParts();
  const current = new Map<NodeId, ScalarExpr>();
  const evaluator = groupEvaluator(low, g, parts, (id) => current.get(id));
  const alone = (node: Made): Product => {
    const mine = shared ?? (node === dot ? left : (node.args[0] as NodeId));
    return { node, left: mine, right: node.args.slice(0, 2).find((id) => id !== mine) ?? mine, names: Object.fromEntries(node.type.axes.map((t) => [t.name, t.name])) };
  };
  /** A dot of a sum: its operands by the sides they take in the kernel. */
  const sided = (node: Made, names: Product["names"]): Product => {
    const [p, q] = node.args as [NodeId, NodeId];
    const on = (id: NodeId): boolean => n[0] !== undefined && has(id, names[n[0].name] ?? "");
    const second = node.op !== "grouped_dot" && on(p) && !on(q) ? p : q;
    return { node, left: second === p ? q : p, right: second, names };
  };
  const summed = a.sums.get(dot.id)?.map((d) => sided(d.node, d.names));
  const products = summed ?? [alone(dot)];
  const operand = (id: NodeId, d: Product): PointFn => (body, at) => evaluator.value(body, id, termPoint(d, at));
  const spec: ProductSpec = {
    batch, m, n,
    terms: products.map((d): ProductTerm => {
      // The contracted axes in the order of b's memory: its rows are then read one after the other.
      const k = typeOf(d.right).filter((t) => d.node.attrs.axes.includes(t.name)).map((t) => ({ ...spaceAxis(t), name: inner(t.name) }));
      const also = more.map(alone).map((s) => ({ b: operand(s.right, s), bContiguous: contiguous(low, s.right, s) }));
      return { k, a: operand(d.left, d), b: operand(d.right, d), aContiguous: contiguous(low, d.left, d), bContiguous: contiguous(low, d.right, d), also };
    }),
    ...classesOf(low, evaluator, dot),
    sink: (body, at, ...values) => {
      made.forEach((node, i) => current.set(node.id, body.let(values[i] as ScalarExpr, "dot")));
      storeMembers(low, evaluator, body, g.members, at);
      current.clear();
    },
  };
  const shape = low.templates.product(parts, spec, low.target);
  return [dispatchOf(low, g, nameOf(dot), parts, shape, [...g.members.map((s) => s.work.node.id), ...products.map((d) => d.node.id)])];
}

const nameOf = (n: Made): string => (n.op === "dot" ? "product" : n.op === "grouped_dot" ? "rows by class" : "sums by class");

/** The rows in classes of a product, by the kernel's names. */
function classesOf(low: Lowering, evaluator: Evaluator, n: Made): Pick<ProductSpec, "rows" | "sum"> {
  if (n.op === "dot") return {};
  const [order, offset] = [n.args[2] as NodeId, n.args[3] as NodeId];
  const only = (id: NodeId): SpaceAxis => spaceAxis((low.analysis.graph.nodes[id] as Node).type.axes[0] as Axis);
  const at = (id: NodeId) => (b: Body, place: ScalarExpr): ScalarExpr => evaluator.value(b, id, { [only(id).name]: place });
  const common = { order: at(order), offset: at(offset) };
  const size = add(only(offset).size, i32(-1));
  if (n.op === "grouped_dot") {
    const rows = n.attrs.rows.map((r) => spaceAxis(n.type.axes.find((t) => t.name === r) as Axis));
    return { rows: { ...common, rows, classes: { name: rowClass, size }, first: 0 } };
  }
  const types = n.args.slice(0, 2).flatMap((id) => (low.analysis.graph.nodes[id] as Node).type.axes);
  const rows = n.attrs.rows.map((r) => ({ ...spaceAxis(types.find((t) => t.name === r) as Axis), name: inner(r) }));
  return { sum: { ...common, rows, classes: { name: n.attrs.classes.name, size }, first: n.attrs.first } satisfies RowClasses };
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

/** Coordinates of one product: the kernel's names turned into its own. */
function termPoint(d: Product, at: Point): Point {
  const own: Record<string, ScalarExpr> = {};
  for (const [carrier, mine] of Object.entries(d.names)) if (at[carrier]) own[mine] = at[carrier] as ScalarExpr;
  for (const k of contracted(d.node)) own[k] = coordinate(at, inner(k));
  if (d.node.op === "grouped_dot") own[d.node.attrs.classes] = coordinate(at, rowClass);
  return own;
}

/** The axis, by the product's names, along which an operand's largest load is contiguous. */
function contiguous(low: Lowering, id: NodeId, d: Product): string | undefined {
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
  return Object.entries(d.names).find(([, mine]) => mine === own)?.[0] ?? (contracted(d.node).includes(own) ? inner(own) : undefined);
}
