// In: a graph. Out: which products one kernel makes together: two with one left operand, the same contraction and the same result
// space, read by a common map at their own points (silu(gate) * up). The left operand is then loaded once and the map joins the
// kernel; without a common reader two kernels side by side do as well. Refuses nothing.

import { dimEqual } from "../dim/dim.ts";
import type { Axis, Graph, Node, NodeId, NodeOf } from "../graph/graph.ts";

export type ProductNode = NodeOf<"dot"> | NodeOf<"grouped_dot">;

/** Most nodes that are looked at behind a product for a reader in common. */
const farthest = 16;

const sameAxes = (a: readonly Axis[], b: readonly Axis[]): boolean =>
  a.length === b.length && a.every((x) => b.some((y) => y.name === x.name && dimEqual(x.size, y.size)));
const sameNames = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((x) => b.includes(x));

/** Whether the two differ in their right operands alone, and those in their values alone. Rights stand second, or second in both. */
function alike(graph: Graph, a: ProductNode, b: ProductNode): boolean {
  if (a.op !== b.op || !sameNames(a.attrs.axes, b.attrs.axes) || !sameAxes(a.type.axes, b.type.axes)) return false;
  if (a.op === "grouped_dot" && b.op === "grouped_dot") {
    if (a.args[2] !== b.args[2] || a.args[3] !== b.args[3] || a.attrs.classes !== b.attrs.classes || a.attrs.rows.join() !== b.attrs.rows.join()) return false;
  }
  const [left, right] = [sharedOf(a, b), rightOf(a, b)];
  if (left === undefined || !right) return false;
  const axes = right.map((id) => graph.nodes[id]?.type.axes ?? []);
  return right[0] !== right[1] && sameAxes(axes[0] ?? [], axes[1] ?? []);
}

/** The operand that both have. Rows in classes are always the first. */
export const sharedOf = (a: ProductNode, b: ProductNode): NodeId | undefined =>
  a.args[0] === b.args[0] || (a.op === "dot" && a.args[0] === b.args[1]) ? a.args[0] : a.op === "dot" && (a.args[1] === b.args[1] || a.args[1] === b.args[0]) ? a.args[1] : undefined;

function rightOf(a: ProductNode, b: ProductNode): readonly [NodeId, NodeId] | undefined {
  const left = sharedOf(a, b);
  const other = (n: ProductNode): NodeId | undefined => n.args.slice(0, 2).find((x) => x !== left);
  const [x, y] = [other(a), other(b)];
  return x === undefined || y === undefined ? undefined : [x, y];
}

/** Second product -> the first one, whose kernel makes both. */
export function siblingProducts(
  graph: Graph, products: readonly ProductNode[], usersOf: (id: NodeId) => readonly NodeId[], isMap: (n: Node) => boolean, samePoints: (a: Node, b: Node) => boolean,
): Map<NodeId, NodeId> {
  /** Maps that read the product, through others, at its own points. */
  const readers = (id: NodeId): Set<NodeId> => {
    const self = graph.nodes[id] as Node;
    const found = new Set<NodeId>();
    const queue = [id];
    for (let at = queue.shift(); at !== undefined && found.size < farthest; at = queue.shift())
      for (const u of usersOf(at)) {
        const n = graph.nodes[u];
        if (!n || found.has(u) || !isMap(n) || !samePoints(self, n)) continue;
        found.add(u);
        queue.push(u);
      }
    return found;
  };
  const out = new Map<NodeId, NodeId>();
  const byOperand = new Map<NodeId, ProductNode[]>();
  for (const p of products) for (const id of new Set(p.args.slice(0, 2))) byOperand.set(id, [...(byOperand.get(id) ?? []), p]);
  const taken = new Set<NodeId>();
  for (const list of byOperand.values())
    for (const [i, a] of list.entries()) {
      if (taken.has(a.id)) continue;
      const mine = readers(a.id);
      const b = list.slice(i + 1).find((x) => !taken.has(x.id) && alike(graph, a, x) && [...readers(x.id)].some((r) => mine.has(r)));
      if (!b) continue;
      taken.add(a.id);
      taken.add(b.id);
      out.set(b.id, a.id);
    }
  return out;
}
