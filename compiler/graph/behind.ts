// What a node follows from. In: a graph being built, a node, and which operands to go through. Out: every node on the way, once,
// the node itself first.

import type { GraphBuilder } from "./builder.ts";
import type { Node, NodeId } from "./graph.ts";

/** `through(n, i)` says whether operand i of n is followed; without it all are. */
export function* behind(b: GraphBuilder, from: NodeId, through: (n: Node, arg: number) => boolean = () => true): Iterable<Node> {
  const seen = new Set<NodeId>();
  const open = [from];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    const n = b.node(id);
    yield n;
    n.args.forEach((a, i) => {
      if (through(n, i)) open.push(a);
    });
  }
}
