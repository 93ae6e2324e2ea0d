// In: a graph and rules. Out: the graph after the rules have fired until none does. A rule sees one node whose operands are
// already rewritten and gives a node in its place. Rules are data with a numeric contract; the engine knows no op.

import { GraphBuilder } from "./builder.ts";
import type { Graph, Node, NodeId, NodeOf } from "./graph.ts";
import { Make } from "./make.ts";
import type { OpName } from "./ops.ts";

/**
 * `exact`: the same numbers, up to the sign of zero. `reassociates`: the same in exact arithmetic, other rounding.
 * `assumes-finite`: the same unless an infinity or a NaN is involved.
 */
export type Contract = "exact" | "reassociates" | "assumes-finite";

/** One node to be rewritten. Its operands are ids of `m.builder`; `arg(i)` is the node of operand i. */
export interface Match<K extends OpName> {
  readonly m: Make;
  readonly node: NodeOf<K>;
  readonly arg: (i: number) => Node;
}

export interface RewriteRule {
  readonly name: string;
  readonly contract: Contract;
  readonly ops: readonly OpName[];
  /** The replacement: the same dtype and set of axes; undefined when the rule does not apply. */
  readonly apply: (match: Match<OpName>) => NodeId | undefined;
}

/** Builds a rule whose `apply` sees the attributes of its ops. */
export function rule<K extends OpName>(name: string, contract: Contract, ops: readonly K[], apply: (match: Match<K>) => NodeId | undefined): RewriteRule {
  return { name, contract, ops, apply: (match) => apply(match as unknown as Match<K>) };
}

export interface RewriteOptions {
  /** Hears of every rule that fires. */
  readonly fired?: (rule: string, node: Node) => void;
  /** Rounds before the engine calls a set of rules circular; a bug of the rules. */
  readonly rounds?: number;
}

export function rewrite(graph: Graph, rules: readonly RewriteRule[], options: RewriteOptions = {}): Graph {
  const byOp = new Map<OpName, RewriteRule[]>();
  for (const r of rules) for (const op of r.ops) byOp.set(op, [...(byOp.get(op) ?? []), r]);
  let current = graph;
  for (let left = options.rounds ?? 64; left > 0; left--) {
    const next = round(current, byOp, options.fired);
    if (!next) return current;
    current = next;
  }
  throw new Error(`graph ${graph.name}: the rewrite rules do not come to rest`);
}

/** One pass over the nodes; undefined when no rule fired. */
function round(graph: Graph, byOp: ReadonlyMap<OpName, readonly RewriteRule[]>, fired?: RewriteOptions["fired"]): Graph | undefined {
  const builder = new GraphBuilder(graph.name);
  const renamed: NodeId[] = [];
  let changed = false;
  for (const old of graph.nodes) {
    const args = old.args.map((a) => renamed[a] ?? -1);
    const node = { ...old, args } as Node;
    let replaced: NodeId | undefined;
    for (const r of byOp.get(old.op) ?? []) {
      const origin = old.origin.via.includes(r.name) ? old.origin : { ...old.origin, via: [...old.origin.via, r.name] };
      const m = new Make(builder, origin);
      replaced = r.apply({ m, node: node as NodeOf<OpName>, arg: (i) => builder.node(args[i] ?? -1) });
      if (replaced === undefined) continue;
      changed = true;
      fired?.(r.name, old);
      break;
    }
    renamed.push(replaced ?? builder.add(old.op, args, old.attrs, old.origin, old.type.axes.map((a) => a.name)));
  }
  if (!changed) return undefined;
  for (const o of graph.outputs) {
    const old = graph.nodes[o.node];
    const node = renamed[o.node] ?? -1;
    // Whoever reads a result relies on its memory order.
    builder.output(o.name, old ? builder.ordered(node, old.type.axes.map((a) => a.name), old.origin) : node, o.into);
  }
  return builder.finish();
}
