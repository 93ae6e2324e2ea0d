// A short spelling for building graphs in lowering: every call carries the origin of the part being lowered.
// In: a GraphBuilder and an origin. Out: node ids. Decides nothing.

import type { Dim } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Axis, DType, NodeId, Origin, TensorType } from "../graph/graph.ts";
import type { OpAttrs, OpName } from "../graph/ops.ts";

type Elementwise1 = "neg" | "abs" | "exp" | "log" | "sqrt" | "rsqrt" | "tanh" | "sigmoid" | "sin" | "cos" | "floor" | "not";
type Elementwise2 = "add" | "sub" | "mul" | "div" | "max" | "min" | "pow" | "mod" | "eq" | "ne" | "lt" | "le" | "and" | "or";

export class OpsOn {
  readonly builder: GraphBuilder;
  readonly origin: Origin;

  constructor(builder: GraphBuilder, origin: Origin) {
    this.builder = builder;
    this.origin = origin;
  }

  at(path: string): OpsOn {
    return new OpsOn(this.builder, { ...this.origin, path });
  }

  add<K extends OpName>(op: K, args: readonly NodeId[], attrs: OpAttrs[K]): NodeId {
    return this.builder.add(op, args, attrs, this.origin);
  }

  input(name: string, dtype: DType, axes: readonly Axis[]): NodeId {
    return this.add("input", [], { name, type: { dtype, axes } });
  }

  state(name: string, type: TensorType): NodeId {
    return this.add("state", [], { name, type });
  }

  const(value: number, dtype: DType = "f32"): NodeId {
    return this.add("const", [], { value, dtype });
  }

  un(op: Elementwise1, a: NodeId): NodeId {
    return this.add(op, [a], {});
  }

  bin(op: Elementwise2, a: NodeId, b: NodeId): NodeId {
    return this.add(op, [a, b], {});
  }

  /** `a op value`, the value in the dtype of `a`. Apart from `bin`, since node ids are numbers too. */
  num(op: Elementwise2, a: NodeId, value: number): NodeId {
    return this.add(op, [a, this.const(value, this.builder.type(a).dtype)], {});
  }

  select(cond: NodeId, a: NodeId, b: NodeId): NodeId {
    return this.add("select", [cond, a, b], {});
  }

  zero(like: NodeId): NodeId {
    return this.const(0, this.builder.type(like).dtype);
  }

  sum(a: NodeId, axes: readonly string[]): NodeId {
    return this.add("sum", [a], { axes });
  }

  cast(a: NodeId, dtype: DType): NodeId {
    return this.builder.type(a).dtype === dtype ? a : this.add("cast", [a], { dtype });
  }
}

export const axis = (name: string, size: Dim): Axis => ({ name, size });
