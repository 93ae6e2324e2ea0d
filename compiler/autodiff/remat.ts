// In: a graph with a forward and a backward part. Out: the same values, but inside each block of the model the backward part
// recomputes what it needs from what enters the block, so that a block's inner values need not outlive the forward part.
// A block is the path of an origin up to its first index (`body[3]`). The last block is left alone: its inner values are needed
// at once, and its boundary would be kept anyway. Also puts forward nodes first, and `attend_lse` right after its `attend`.

import { BACKWARD, GraphBuilder, REMAT } from "../graph/builder.ts";
import type { Graph, Node, NodeId } from "../graph/graph.ts";
import type { OpName } from "../graph/ops.ts";

export interface RematOptions {
  /** The block a path belongs to; undefined for what is outside every block. */
  readonly blockOf?: (path: string) => string | undefined;
  /** Ops whose results are kept: small for what it costs to make them again. */
  readonly keep?: ReadonlySet<OpName>;
}

/** `encoder.body[3].attn.wq` belongs to `encoder.body[3]`. */
export const blockOfPath = (path: string): string | undefined => /^[^[\]]*\[[0-9]+\]/.exec(path)?.[0];

const keptOps: ReadonlySet<OpName> = new Set<OpName>(["attend", "attend_lse", "top", "group_order", "group_place", "group_offset"]);
const leaves: ReadonlySet<OpName> = new Set<OpName>(["input", "state", "const", "iota"]);

/** For each node, whether it belongs to the backward part: marked so, or made from such a node. */
export function backwardNodes(graph: Graph): ReadonlySet<NodeId> {
  const out = new Set<NodeId>();
  for (const n of graph.nodes) if (n.origin.via.includes(BACKWARD) || n.args.some((a) => out.has(a))) out.add(n.id);
  return out;
}

/** Forward nodes that something other than the forward part of their own block needs: they are kept in any case. */
function boundary(graph: Graph, back: ReadonlySet<NodeId>, block: (n: Node) => string | undefined): Set<NodeId> {
  const out = new Set<NodeId>(graph.outputs.map((o) => o.node));
  for (const n of graph.nodes) {
    if (back.has(n.id)) continue;
    for (const a of n.args) {
      const arg = graph.nodes[a];
      if (arg && block(arg) !== block(n)) out.add(a);
    }
  }
  return out;
}

/** Forward nodes first; the rest keeps its order. */
function schedule(graph: Graph, back: ReadonlySet<NodeId>): readonly Node[] {
  const key = (n: Node): string => `${n.args.join(",")} ${n.origin.path}`;
  const lse = new Map<string, Node>();
  for (const n of graph.nodes) if (n.op === "attend_lse" && !back.has(n.id)) lse.set(key(n), n);
  const out: Node[] = [];
  const done = new Set<NodeId>();
  const put = (n: Node): void => {
    if (done.has(n.id)) return;
    done.add(n.id);
    out.push(n);
  };
  for (const n of graph.nodes) {
    if (back.has(n.id)) continue;
    put(n);
    // Its operands are those of the attend, so they stand before it already.
    const partner = n.op === "attend" ? lse.get(key(n)) : undefined;
    if (partner) put(partner);
  }
  for (const n of graph.nodes) put(n);
  return out;
}

/** The same graph with forward nodes first and each log-sum next to its attention: the order in which kernels run. */
export function forwardFirst(graph: Graph): Graph {
  const back = backwardNodes(graph);
  return back.size === 0 ? graph : rematerialise(graph, { blockOf: () => undefined });
}

export function rematerialise(graph: Graph, options: RematOptions = {}): Graph {
  const back = backwardNodes(graph);
  if (back.size === 0) return graph;
  const blockOf = options.blockOf ?? blockOfPath;
  const keep = options.keep ?? keptOps;
  const block = (n: Node): string | undefined => blockOf(n.origin.path);
  const kept = boundary(graph, back, block);
  const order = schedule(graph, back);
  const last = [...order].reverse().find((n) => !back.has(n.id) && !leaves.has(n.op) && block(n) !== undefined);
  const recomputed = (n: Node): boolean =>
    !back.has(n.id) && !kept.has(n.id) && !keep.has(n.op) && !leaves.has(n.op) && block(n) !== undefined && block(n) !== (last && block(last));

  const builder = new GraphBuilder(graph.name);
  const ids = new Map<NodeId, NodeId>();
  const clones = new Map<NodeId, NodeId>();
  const node = (id: NodeId): Node => graph.nodes[id] ?? lost(id);
  const put = (n: Node, via: readonly string[], args: readonly NodeId[]): NodeId =>
    builder.add(n.op, args, n.attrs, { ...n.origin, via }, n.type.axes.map((a) => a.name));

  /** The value of a forward node for a reader in the backward part: a copy made here, operands first, or the kept node. */
  const forBackward = (wanted: NodeId): NodeId => {
    const stack = [wanted];
    while (stack.length > 0) {
      const n = node(stack[stack.length - 1] ?? -1);
      const missing = recomputed(n) && !clones.has(n.id) ? n.args.filter((a) => recomputed(node(a)) && !clones.has(a)) : [];
      stack.push(...missing);
      if (missing.length > 0) continue;
      stack.pop();
      if (!recomputed(n) || clones.has(n.id)) continue;
      const args = n.args.map((a) => clones.get(a) ?? ids.get(a) ?? lost(a));
      clones.set(n.id, put(n, [...n.origin.via, REMAT], args));
    }
    return clones.get(wanted) ?? ids.get(wanted) ?? lost(wanted);
  };

  for (const n of order) {
    const args = n.args.map((a) => (back.has(n.id) ? forBackward(a) : (ids.get(a) ?? lost(a))));
    ids.set(n.id, put(n, n.origin.via, args));
  }
  for (const o of graph.outputs) builder.output(o.name, ids.get(o.node) ?? lost(o.node), o.into);
  return builder.finish();
}

const lost = (id: NodeId): never => {
  throw new Error(`node ${id} is read before it is made`);
};
