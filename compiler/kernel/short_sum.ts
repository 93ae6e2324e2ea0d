// The sum over the few choices of a token of what its experts give: computed where it is read, as any map is, so that it joins the
// residual and needs no kernel. In: a graph. Out: whether a node is such a sum, and over which places. Refuses (says no to) sums that
// are not of rows in classes: statistics of short rows are read at many points, and are made once.

import { dimValue } from "../dim/dim.ts";
import type { Graph, Node, NodeId, NodeOf } from "../graph/graph.ts";

const most = 4;
/** How many maps may stand between the product and the sum. */
const farthest = 6;

/** Every place of the summed axes, as coordinates by name, the last axis fastest; undefined when they are many, or nobody knows how many. */
export function placesOf(graph: Graph, n: NodeOf<"sum">): readonly Readonly<Record<string, number>>[] | undefined {
  let places: Readonly<Record<string, number>>[] = [{}];
  for (const axis of graph.nodes[n.args[0] ?? -1]?.type.axes ?? []) {
    if (!n.attrs.axes.includes(axis.name)) continue;
    const size = dimValue(axis.size);
    if (size === undefined || size === 0 || size * places.length > most) return undefined;
    places = places.flatMap((p) => Array.from({ length: size }, (_, i) => ({ ...p, [axis.name]: i })));
  }
  return places;
}

export function sumOfChoices(graph: Graph, n: Node): n is NodeOf<"sum"> {
  if (n.op !== "sum" || n.attrs.axes.length === 0 || placesOf(graph, n) === undefined) return false;
  const { axes } = n.attrs;
  const wide = graph.nodes[n.args[0] ?? -1]?.type.axes.length;
  const made = (id: NodeId, depth: number): boolean => {
    const at = graph.nodes[id];
    if (!at || depth === 0 || at.type.axes.length !== wide) return false;
    if (at.op === "grouped_dot") return axes.every((a) => at.attrs.rows.includes(a));
    return (at.op === "mul" || at.op === "add" || at.op === "cast" || at.op === "select") && at.args.some((a) => made(a, depth - 1));
  };
  return made(n.args[0] ?? -1, farthest);
}
