// The tensor graph: what a program computes, with named axes and no memory, tiles or kernels.
// Nodes are immutable, operands come before users, ids are positions. Built through graph/builder.ts, which infers types.

import type { Span } from "../../grammar/source.ts";
import type { OpAttrs, OpName } from "./ops.ts";
import type { TensorType } from "./tensor.ts";

export type { Axis, DType, TensorType } from "./tensor.ts";

/** Where a node came from: places in the spec, the model path (`body[3].attn.wq`) and the passes it went through. */
export interface Origin {
  readonly spans: readonly Span[];
  readonly path: string;
  readonly via: readonly string[];
}

export type NodeId = number;

export type Node = { [K in OpName]: NodeOf<K> }[OpName];

export interface NodeOf<K extends OpName> {
  readonly id: NodeId;
  readonly op: K;
  readonly args: readonly NodeId[];
  readonly attrs: OpAttrs[K];
  readonly type: TensorType;
  readonly origin: Origin;
}

/** A result. With `into`, the value is stored in the named state after every reader of its old value has run. */
export interface Output {
  readonly name: string;
  readonly node: NodeId;
  readonly into?: string;
}

export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly outputs: readonly Output[];
  /** Run-time lengths that sizes may mention (`batch`, `t`, `s`); everything else in a size is a constant. */
  readonly lengths: readonly string[];
}
