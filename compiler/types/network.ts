// What lowering needs to run a checked model's layers on its own graph builder.
// In: a Model, a builder, and leaves for what the spec leaves implicit (weights, token attributes, noise levels, caches).
// Out: embed, body and head as functions from node to node. Extra axes such as `batch` pass through by name.

import type { Span } from "../../grammar/source.ts";
import type { Dim } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Axis, NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Model } from "./model.ts";
import type { Parameter } from "./parameter.ts";

/** Keys and values to attend over, after a cache has had its say. Tokens lie on the key axis `s`. */
export interface AttendInputs {
  readonly k: NodeId;
  readonly v: NodeId;
  /** Attribute tensors of the key tokens by name, on [.., s]; asked for instead of `attribute("key", …)`. */
  readonly keyAttribute?: (name: string) => NodeId;
}

/** One routed layer as it was applied: what metrics, balancing and `explain routing` read. Rows are [.., t] and, for a router, a choice axis. */
export interface RoutingNote {
  /** The routed layer: `body[3].ffn`. */
  readonly path: string;
  /** Name of the route or router. */
  readonly route: string;
  /** How rows come to experts. */
  readonly dispatch: "route" | "top" | "pick" | "expert_choice" | "soft";
  readonly learned: boolean;
  readonly experts: number;
  /** Experts of each token; null where that is not one number (expert choice, soft mixtures). */
  readonly choices: number | null;
  /** In training an expert takes at most this many times its even share of rows. */
  readonly capacity?: number;
  /** Names of the branches of a route; empty for a router. */
  readonly branches: readonly string[];
  /** i32[rows]: expert of each row, -1 for none. */
  readonly expert: NodeId;
  /** i32[class: experts + 1]: offsets of the group-by, so that offset[e + 1] - offset[e] rows went to expert e. */
  readonly offset: NodeId;
  /** f32[rows]: what each expert's result is multiplied by; absent for routes. */
  readonly weights?: NodeId;
  /** f32[.., t, experts]: scores that the choice was made from; absent for routes. */
  readonly scores?: NodeId;
  /** i32 scalar: rows that wanted an expert; those that capacity sent nowhere are the difference to offset[experts]. */
  readonly wanted: NodeId;
  /** Terms that the router adds to the loss: f32 scalars, weighted. A router that is shared and asked the same thing twice says them once. */
  readonly losses: readonly { readonly name: string; readonly node: NodeId; readonly span: Span }[];
  /** Selection bias that is moved by load after each step, without gradient (DeepSeek-V3), at this rate. `offset`: of the group-by of where rows
   *  want to go; what capacity sends nowhere counts, or a crowded expert would look like a full one. */
  readonly bias?: { readonly parameter: Parameter; readonly rate: number; readonly offset: NodeId };
  /** True where which expert a token goes to depends on other tokens (expert choice, soft mixtures). */
  readonly couples: boolean;
  readonly span: Span;
  /** The router itself: the path of its parts, and where it is made. Absent for routes. */
  readonly router?: { readonly path: string; readonly span: Span };
  /** Inside a branch of a route: the tokens (side q) that come here. Absent: all. */
  readonly rows?: ScalarExpr;
}

export interface Leaves {
  /** True in programs that train: capacity drops and noise is drawn there alone. */
  readonly training?: boolean;
  /** The weight; by default a `state` node called `params/<path>`. */
  readonly parameter?: (p: Parameter) => NodeId;
  /** A token attribute, i32: on [.., t] for the query side, on [.., s] for the key side. `tokens` is the size of that axis: it says
   *  whether the sequence is meant (`t`) or a row beside it (types/streams.ts besideLength). */
  readonly attribute: (side: "query" | "key", name: string, tokens: Dim) => NodeId;
  /** The noise level of a process, f32, on [.., t] or fewer axes; 0 is clean, 1 is noise alone. */
  readonly level: (process: string, tokens: Dim) => NodeId;
  /**
   * Called at every attention of the sequence with k and v on the key axis `s`; `path` is that of the layer (`body[3].attn`).
   * `beside`: the stream whose row is looked at; absent where the sequence looks at itself.
   */
  readonly attendHook?: (path: string, k: NodeId, v: NodeId, beside?: string) => AttendInputs;
  /** Uniform numbers in 0..1 for dropout and jitter, new ones at each call; without it they pass their input on. */
  readonly uniform?: (axes: readonly Axis[], path: string) => NodeId;
  /** Normal numbers for noisy gates, new ones at each call; without it there is no noise. */
  readonly normal?: (axes: readonly Axis[], path: string) => NodeId;
}

export interface Network {
  /** `only`, i32[batch, t], is 0 for tokens that are wanted and -1 for others, whose products are left out; what comes out there is not to be used. */
  embed(stream: string, input: NodeId, only?: NodeId): NodeId;
  /** `beside`: embedded rows beside the sequence, in the order of the streams. */
  body(x: NodeId, beside?: readonly NodeId[]): NodeId;
  head(stream: string, h: NodeId, only?: NodeId): NodeId;
  /** Every routed layer applied so far, in order. */
  routings(): readonly RoutingNote[];
}

export type ElaborateNetwork = (model: Model, builder: GraphBuilder, leaves: Leaves) => Network;
