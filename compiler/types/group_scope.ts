// What layers are applied under inside `routed`: which expert each row goes to, and how rows get there and back.
// In: a router's choice or a route's branch. Out: types alone; routed.ts and routers.ts make them, tensors.ts reads weights by them.

import type { Axis, NodeId } from "../graph/graph.ts";
import type { Grouping } from "../graph/make.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Parameter } from "./parameter.ts";

/** Rows in classes, while a routed layer's experts are applied to them. */
export interface GroupScope {
  /** i32[rows]: expert of each row, -1 for rows that go nowhere. */
  readonly expert: NodeId;
  readonly grouping: Grouping;
  /** The axis of the experts, as stacked weights have it. */
  readonly axis: Axis;
  /** Routes: the number of the branch over attributes, so that attention inside sees tokens of its own branch alone. Absent for routers. */
  readonly key?: ScalarExpr;
  /** Routes whose branches are alike: by the path of the first branch's weight, the weights of all branches. */
  readonly variants?: ReadonlyMap<string, readonly Parameter[]>;
}

/** How a router sends tokens to experts and takes their results back. */
export interface Dispatch {
  /** What the experts are applied to: x itself, or rows picked from it. */
  readonly input: NodeId;
  /** Absent where experts are an axis of `input` (soft mixtures): weights then align with it by name. */
  readonly scope?: GroupScope;
  /** The experts' result, weighted and brought back to the rows of x. */
  readonly back: (y: NodeId) => NodeId;
}
