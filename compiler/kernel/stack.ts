// Weights of several branches, side by side along one axis without being copied there: a concat of states of one buffer, each
// through views that only name or repeat. In: a graph. Out: whether a node is such a stack; reading it then takes one load, whose
// operand the coordinate chooses. Refuses (says no to) parts of unequal sizes and parts that are computed.

import { dimEqual } from "../dim/dim.ts";
import type { Graph, Node, NodeOf } from "../graph/graph.ts";

const views: ReadonlySet<Node["op"]> = new Set<Node["op"]>(["rename", "broadcast", "split", "merge"]);

/** The state behind a part. */
function stateOf(graph: Graph, n: Node): NodeOf<"state"> | undefined {
  let at: Node | undefined = n;
  while (at && views.has(at.op)) at = graph.nodes[at.args[0] ?? -1];
  return at?.op === "state" ? at : undefined;
}

export function isStack(graph: Graph, n: Node): n is NodeOf<"concat"> {
  if (n.op !== "concat" || n.args.length < 2) return false;
  const parts = n.args.map((id) => graph.nodes[id] as Node);
  const states = parts.map((p) => stateOf(graph, p));
  const size = (p: Node) => p.type.axes.find((a) => a.name === n.attrs.axis)?.size;
  const [first] = parts;
  const own = first && size(first);
  const buffer = states[0]?.attrs.name.split("/")[0];
  return own !== undefined
    && states.every((s) => s !== undefined && s.attrs.name.split("/")[0] === buffer && s.type.dtype === states[0]?.type.dtype)
    && parts.every((p) => { const mine = size(p); return mine !== undefined && dimEqual(mine, own); });
}
