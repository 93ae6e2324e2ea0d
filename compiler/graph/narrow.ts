// In: a graph. Out: the same graph with what attention reads many times stored as f16: queries, keys and values, and the result
// where a backward pass reads it again. Each is cast to f16 and back: arithmetic, softmax, log-sum-exp and gradients stay f32.
// Leaves alone what is stored by somebody else (inputs, states), and cotangents, which would underflow.

import type { Graph, Node, NodeId, Origin } from "./graph.ts";
import { GraphBuilder } from "./builder.ts";
import type { OpName } from "./ops.ts";

export interface NarrowOptions {
  /** Store results as f16, too, where a gradient reads them. */
  readonly results: boolean;
}

const attention: ReadonlySet<OpName> = new Set<OpName>(["attend", "attend_lse", "attend_dq", "attend_dk", "attend_dv", "attend_dtable"]);
const views: ReadonlySet<OpName> = new Set<OpName>(["rename", "split", "merge", "slice", "broadcast"]);

export function narrowAttention(graph: Graph, options: NarrowOptions): Graph {
  const kept = new Set<NodeId>();
  for (const n of graph.nodes) if (attention.has(n.op) && n.op !== "attend" && n.op !== "attend_lse") kept.add(n.args[3] ?? -1);
  const builder = new GraphBuilder(graph.name);
  const ids: NodeId[] = [];
  const halved = (id: NodeId, origin: Origin): NodeId => {
    const half = builder.add("cast", [id], { dtype: "f16" }, origin);
    return builder.add("cast", [half], { dtype: "f32" }, origin);
  };
  /** Whether storing it is this graph's choice, and not made as f16 already. */
  const free = (id: NodeId): boolean => {
    let n: Node = builder.node(id);
    while (views.has(n.op)) n = builder.node(n.args[0] ?? -1);
    const from = n.op === "cast" ? builder.node(n.args[0] ?? -1) : undefined;
    return n.type.dtype === "f32" && n.op !== "input" && n.op !== "state" && n.op !== "const" && from?.type.dtype !== "f16";
  };
  for (const n of graph.nodes) {
    const args = n.args.map((a) => ids[a] ?? -1);
    const origin: Origin = { ...n.origin, via: [...n.origin.via, "narrow"] };
    if (attention.has(n.op)) for (let i = 0; i < 3; i++) if (free(args[i] ?? -1)) args[i] = halved(args[i] ?? -1, origin);
    const id = builder.add(n.op, args, n.attrs, n.origin, n.type.axes.map((a) => a.name));
    ids.push(n.op === "attend" && options.results && kept.has(n.id) ? halved(id, origin) : id);
  }
  for (const o of graph.outputs) {
    const old = graph.nodes[o.node];
    builder.output(o.name, old ? builder.ordered(ids[o.node] ?? -1, old.type.axes.map((a) => a.name), old.origin) : (ids[o.node] ?? -1), o.into);
  }
  return builder.finish();
}
