// What lowering needs to run a checked model's layers on its own graph builder.
// In: a Model, a builder, and leaves for what the spec leaves implicit (weights, token attributes, noise levels, caches).
// Out: embed, body and head as functions from node to node. Extra axes such as `batch` pass through by name.

import type { Dim } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Axis, NodeId } from "../graph/graph.ts";
import type { Model } from "./model.ts";
import type { Parameter } from "./parameter.ts";

/** Keys and values to attend over, after a cache has had its say. Tokens lie on the key axis `s`. */
export interface AttendInputs {
  readonly k: NodeId;
  readonly v: NodeId;
  /** Attribute tensors of the key tokens by name, on [.., s]; asked for instead of `attribute("key", …)`. */
  readonly keyAttribute?: (name: string) => NodeId;
}

export interface Leaves {
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
  /** Uniform numbers in 0..1 for dropout; without it dropout passes its input on. */
  readonly uniform?: (axes: readonly Axis[], path: string) => NodeId;
}

export interface Network {
  embed(stream: string, input: NodeId): NodeId;
  /** `beside`: embedded rows beside the sequence, in the order of the streams. */
  body(x: NodeId, beside?: readonly NodeId[]): NodeId;
  head(stream: string, h: NodeId): NodeId;
}

export type ElaborateNetwork = (model: Model, builder: GraphBuilder, leaves: Leaves) => Network;
