// In: a builder, a loss in it and the nodes whose gradient is wanted. Out: one node each, appended to the builder.
// A reverse sweep over the nodes before the loss; only nodes between `wrt` and the loss get a cotangent.
// Refuses (GradientFailure) an op without a rule on such a path; the front end shows its reason at the op's place.

import type { GraphBuilder } from "../graph/builder.ts";
import { BACKWARD } from "../graph/builder.ts";
import type { NodeId, NodeOf, Origin } from "../graph/graph.ts";
import { Make } from "../graph/make.ts";
import type { OpName } from "../graph/ops.ts";
import type { Sweep, VjpRule } from "./sweep.ts";
import { MissingRule, zerosLike } from "./sweep.ts";
import { vjpRules } from "./vjp.ts";

export class GradientFailure extends Error {
  /** The node that has no gradient. */
  readonly origin: Origin;
  constructor(reason: string, origin: Origin) {
    super(reason);
    this.origin = origin;
  }
}

/** Which nodes up to `last` depend on one of `wrt` through slopes that exist. */
function reached(b: GraphBuilder, wrt: readonly NodeId[], last: NodeId): Set<NodeId> {
  const out = new Set<NodeId>(wrt);
  for (let id = 0; id <= last; id++) {
    const n = b.node(id);
    if (n.type.dtype !== "f32" || !n.args.some((a) => out.has(a))) continue;
    const rule = vjpRules[n.op];
    if (typeof rule === "function" || rule.kind === "none") out.add(id);
  }
  return out;
}

/** For each of `wrt`: whether the loss depends on it through slopes that exist. */
export function reachesLoss(b: GraphBuilder, loss: NodeId, wrt: readonly NodeId[]): readonly boolean[] {
  // Backwards from the loss, over operands that carry a slope.
  const live = new Set<NodeId>([loss]);
  for (let id = loss; id >= 0; id--) {
    if (!live.has(id)) continue;
    const n = b.node(id);
    const rule = vjpRules[n.op];
    if (n.type.dtype !== "f32" || (typeof rule !== "function" && rule.kind === "flat")) continue;
    for (const a of n.args) if (b.type(a).dtype === "f32") live.add(a);
  }
  return wrt.map((w) => live.has(w));
}

const backward = (origin: Origin): Origin => (origin.via.includes(BACKWARD) ? origin : { ...origin, via: [...origin.via, BACKWARD] });

/**
 * d loss / d each of `wrt`, as f32 nodes with the axes of the node they belong to (in any memory order). A loss with axes counts
 * as its sum. What the loss does not depend on gets zeros; `reachesLoss` tells which.
 */
export function gradients(b: GraphBuilder, loss: NodeId, wrt: readonly NodeId[]): readonly NodeId[] {
  const needed = reached(b, wrt, loss);
  const cotangents = new Map<NodeId, NodeId>();
  const start = new Make(b, backward(b.node(loss).origin));
  if (b.type(loss).dtype !== "f32") throw new GradientFailure("a loss must be an f32 value", b.node(loss).origin);
  cotangents.set(loss, start.expand(start.const(1), b.type(loss)));
  for (let id = loss; id >= 0; id--) {
    const g = cotangents.get(id);
    const node = b.node(id);
    if (g === undefined || !needed.has(id) || !node.args.some((a) => needed.has(a))) continue;
    const rule = vjpRules[node.op];
    if (typeof rule !== "function") {
      if (rule.kind === "none") throw new GradientFailure(rule.reason, node.origin);
      continue;
    }
    const m = new Make(b, backward(node.origin));
    for (const [i, c] of applied(rule as VjpRule<OpName>, { m, node: node as NodeOf<OpName>, g, needs: (i) => needed.has(node.args[i] ?? -1) })) {
      const arg = node.args[i] ?? -1;
      const old = cotangents.get(arg);
      cotangents.set(arg, old === undefined ? c : m.add(old, c));
    }
  }
  return wrt.map((w) => cotangents.get(w) ?? zerosLike(new Make(b, backward(b.node(w).origin)), b.type(w)));
}

function applied(rule: VjpRule<OpName>, s: Sweep<OpName>): [number, NodeId][] {
  try {
    return rule(s).flatMap((c, i): [number, NodeId][] => (c === undefined || !s.needs(i) ? [] : [[i, c]]));
  } catch (e) {
    if (e instanceof MissingRule) throw new GradientFailure(e.message, s.node.origin);
    throw e;
  }
}
