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
  /** Routes: whether two tokens are of one branch here, so that attention inside sees tokens of its own branch alone. Absent for routers. */
  readonly sees?: ScalarExpr;
  /** Routes: whether a token (side q) is of a branch that is applied here; what comes out for the others is not used. */
  readonly rows?: ScalarExpr;
  /** Routes: by the path of a weight of the first branch, the weights of all branches applied here. One branch alone is one class. */
  readonly variants?: ReadonlyMap<string, readonly Parameter[]>;
  /** One class for every weight there is: a layer that is applied to some of the tokens. Attention inside is left alone. */
  readonly every?: boolean;
  /** True where every token that is no padding has a class. */
  readonly total?: boolean;
  /** The scope around this one. Its rows that are nowhere are nowhere here. */
  readonly outer?: GroupScope;
}

/** How a router sends tokens to experts and takes their results back. */
export interface Dispatch {
  /** What the experts are applied to: x itself, or rows picked from it. */
  readonly input: NodeId;
  /** True where rows of `input` are slots and no tokens, though their axis is called `t`. */
  readonly slots?: boolean;
  /** Absent where experts are an axis of `input` (soft mixtures): weights then align with it by name. */
  readonly scope?: GroupScope;
  /** The experts' result, weighted and brought back to the rows of x. */
  readonly back: (y: NodeId) => NodeId;
}

/** What a router chose: `top`, `pick`, `expert_choice` or `soft`. Rows are the points of the router's input without its features, times a choice. */
export interface Choice {
  readonly how: "top" | "pick" | "expert_choice" | "soft";
  readonly experts: Axis;
  /** The axis that counts the experts of one token. */
  readonly choice: string;
  /** bool[.., t]: tokens that are no padding, and not outside the branch that the router is in. */
  readonly live: NodeId;
  /** i32[.., t, choice]: where rows want to go and where they go, -1 for nowhere. They differ by what capacity drops. */
  readonly wanted: NodeId;
  readonly expert: NodeId;
  /** Group-bys of both. */
  readonly wantedOffset: NodeId;
  readonly grouping: Grouping;
  /** f32[.., t, choice], 0 for rows nowhere; absent where every weight is 1. */
  readonly weights?: NodeId;
  /** f32[.., t, experts] */
  readonly scores?: NodeId;
  /** Experts of each token; null where that is not one number. */
  readonly choices: number | null;
  readonly capacity?: number;
  readonly bias?: { readonly parameter: Parameter; readonly rate: number };
  readonly couples: boolean;
  readonly dispatch: (x: NodeId) => Dispatch;
}
