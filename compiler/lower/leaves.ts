// The leaves that a spec leaves implicit: weights, token attributes, noise levels, and the embedding of a row of tokens.
// In: a Model and a builder. Out: nodes with axes [batch, t, ...]; inputs are made when first asked for, so a program has
// only the inputs it reads.

import { type Dim, dimConst, dimVar } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Axis, DType, NodeId } from "../graph/graph.ts";
import type { Model, Process, Stream } from "../types/model.ts";
import type { Parameter } from "../types/parameter.ts";
import type { Leaves, Network } from "../types/network.ts";
import { axis, OpsOn } from "./ops_on.ts";

export const BATCH: Axis = axis("batch", dimVar("batch"));
export const TOKENS: Axis = axis("t", dimVar("t"));

export class ModelLeaves {
  readonly model: Model;
  readonly builder: GraphBuilder;
  readonly ops: OpsOn;
  readonly parameters = new Map<string, NodeId>();
  readonly #keys: (name: string) => NodeId;

  /** `keyAttribute` gives the attributes of key tokens; the default is the query tokens themselves, renamed to axis s. */
  constructor(model: Model, builder: GraphBuilder, keyAttribute?: (name: string) => NodeId) {
    this.model = model;
    this.builder = builder;
    this.ops = new OpsOn(builder, { spans: [model.span], path: model.name, via: [] });
    this.#keys = keyAttribute ?? ((name) => this.ops.add("rename", [this.token(name)], { from: "t", to: "s" }));
  }

  input(name: string, dtype: DType, axes: readonly Axis[]): NodeId {
    return this.ops.at(name).input(name, dtype, axes);
  }

  token(name: string): NodeId {
    return this.input(`tok.${name}`, "i32", [BATCH, TOKENS]);
  }

  level(process: string): NodeId {
    return this.input(`${process}.level`, "f32", [BATCH, TOKENS]);
  }

  clean(stream: Stream): NodeId {
    return this.input(`${stream.name}.clean`, "f32", [BATCH, TOKENS, { name: stream.axis.name, size: stream.axis.size }]);
  }

  parameter(p: Parameter): NodeId {
    const old = this.parameters.get(p.path);
    if (old !== undefined) return old;
    const type = { dtype: "f32" as const, axes: p.axes.map((a) => axis(a.name, a.size)) };
    const id = this.builder.add("state", [], { name: `params/${p.path}`, type }, { spans: [p.span], path: p.path, via: [] });
    this.parameters.set(p.path, id);
    return id;
  }

  leaves(attendHook?: Leaves["attendHook"]): Leaves {
    return {
      parameter: (p) => this.parameter(p),
      attribute: (side, name) => (side === "query" ? this.token(name) : this.#keys(name)),
      level: (process) => this.level(process),
      ...(attendHook ? { attendHook } : {}),
    };
  }

  /** x[batch, t, d]: every token embedded by its stream; padding (stream -1) is zero. `features` overrides a stream's input. */
  embed(network: Network, features: (stream: Stream) => NodeId): NodeId {
    const { ops } = this;
    let x: NodeId | undefined;
    for (const s of this.model.streams) {
      const o = new OpsOn(this.builder, { spans: [s.span], path: `embed.${s.name}`, via: [] });
      const input = s.kind === "continuous" ? features(s) : this.token("id");
      const e = network.embed(s.name, input);
      x = o.select(o.num("eq", this.token("stream"), s.id), e, x ?? o.zero(e));
    }
    return x ?? ops.const(0);
  }
}

/** noisy = a * clean + b * noise and what the network must say of it, by the process's formulas (runtime/generate/process.ts). */
export function corrupt(o: OpsOn, process: Process, clean: NodeId, noise: NodeId, level: NodeId): { noisy: NodeId; target: NodeId } {
  const angle = o.num("mul", level, Math.PI / 2);
  const cosine = process.schedule === "cosine";
  const a = cosine ? o.un("cos", angle) : o.bin("sub", o.const(1), level);
  const b = cosine ? o.un("sin", angle) : level;
  const noisy = o.bin("add", o.bin("mul", clean, a), o.bin("mul", noise, b));
  const velocity = (): NodeId => (process.kind === "flow" ? o.bin("sub", noise, clean) : o.bin("sub", o.bin("mul", noise, a), o.bin("mul", clean, b)));
  const target = process.predict === "noise" ? noise : process.predict === "clean" ? clean : velocity();
  return { noisy, target };
}

export const sizeOf = (n: number): Dim => dimConst(n);
