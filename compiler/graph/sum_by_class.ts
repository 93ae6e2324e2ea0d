// In: a graph. Out: the same graph with every scatter_add as a group-by of its index and a sum over the rows of each class: work
// goes with rows and classes, not with their product. Equal nodes are one node, so sums by one index share one group-by, also
// with layers that route by it. Refuses nothing. Rows of a class are added in a fixed order: two runs give the same bits.

import { dimValue } from "../dim/dim.ts";
import { GraphBuilder } from "./builder.ts";
import type { Graph, NodeId, NodeOf } from "./graph.ts";
import { findAxis } from "./infer_checks.ts";
import { Make } from "./make.ts";

const PASS = "sums";

export function sumByClass(graph: Graph): Graph {
  if (!graph.nodes.some((n) => n.op === "scatter_add")) return graph;
  const builder = new GraphBuilder(graph.name);
  const ids: NodeId[] = [];
  for (const n of graph.nodes) {
    const args = n.args.map((a) => ids[a] ?? -1);
    const m = new Make(builder, { ...n.origin, via: [...n.origin.via, PASS] });
    const part = n.op === "slice" ? someClasses(m, n, args) : undefined;
    ids.push(n.op === "scatter_add" ? summed(m, n, args) : (part ?? builder.add(n.op, args, n.attrs, n.origin, n.type.axes.map((a) => a.name))));
  }
  for (const o of graph.outputs) {
    const old = graph.nodes[o.node];
    const node = ids[o.node] ?? -1;
    builder.output(o.name, old ? builder.ordered(node, old.type.axes.map((a) => a.name), old.origin) : node, o.into);
  }
  return builder.finish();
}

/** A part of the places of a sum that was made here is summed alone: what the other places get may be wanted by nobody. */
function someClasses(m: Make, node: NodeOf<"slice">, [arg = -1]: readonly NodeId[]): NodeId | undefined {
  const x = m.builder.node(arg);
  const { axis, start, size } = node.attrs;
  const first = dimValue(start);
  if (x.op !== "grouped_sum" || x.attrs.classes.name !== axis || first === undefined) return undefined;
  return m.builder.add("grouped_sum", x.args, { ...x.attrs, classes: { name: axis, size }, first: x.attrs.first + first }, m.origin, node.type.axes.map((a) => a.name));
}

function summed(m: Make, node: NodeOf<"scatter_add">, [value = -1, index = -1]: readonly NodeId[]): NodeId {
  const { axis } = node.attrs;
  const order = node.type.axes.map((a) => a.name);
  const rows = m.type(index).axes;
  // One index is no group of rows: its value stands at its place.
  if (rows.length === 0) return m.builder.add("select", [m.eq(m.iota(axis), index), value, m.const(0, node.type.dtype)], {}, m.origin, order);
  const { order: slots, offset } = m.groupBy(index, axis.size);
  // The classes may have the name of an axis that is summed; the result has it only afterwards.
  let name = axis.name;
  while (findAxis(m.type(value), name)) name += "_";
  const sum = m.builder.add("grouped_sum", [value, slots, offset], { rows: rows.map((a) => a.name), classes: { name, size: axis.size }, first: 0 }, m.origin,
    order.map((n) => (n === axis.name ? name : n)));
  return m.rename(sum, name, axis.name);
}
