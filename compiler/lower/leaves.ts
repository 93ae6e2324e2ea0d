// The leaves that a spec leaves implicit: weights, token attributes, noise levels, and the embedding of a row of tokens.
// In: a Model and a builder. Out: nodes with axes [batch, t, ...]; inputs are made when first asked for, so a program has
// only the inputs it reads.

import { type Dim, dimConst, dimEqual, dimVar } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Axis, DType, NodeId } from "../graph/graph.ts";
import type { Model, Process, Stream } from "../types/model.ts";
import { besideLength } from "../types/streams.ts";
import type { Parameter } from "../types/parameter.ts";
import type { Leaves, Network } from "../types/network.ts";
import { axis, OpsOn } from "./ops_on.ts";

export const BATCH: Axis = axis("batch", dimVar("batch"));
export const TOKENS: Axis = axis("t", dimVar("t"));

/** Random streams of layers; those below are the noise of processes and what the host draws. */
const FIRST_DRAW = 4096;

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

  /** An attribute of the sequence's tokens, or of those of a stream beside it. */
  token(name: string, beside?: Stream): NodeId {
    return this.input(beside ? `${beside.name}.tok.${name}` : `tok.${name}`, "i32", [BATCH, rowOf(beside)]);
  }

  level(process: string): NodeId {
    return this.input(`${process}.level`, "f32", [BATCH, TOKENS]);
  }

  seed(): NodeId {
    return this.input("seed", "u32", []);
  }

  step(): NodeId {
    return this.input("step", "u32", []);
  }

  clean(stream: Stream): NodeId {
    return this.input(`${stream.name}.clean`, "f32", [BATCH, stream.beside ? rowOf(stream) : TOKENS, { name: stream.axis.name, size: stream.axis.size }]);
  }

  /** The stream whose row is so long; undefined for the sequence itself. */
  #beside(tokens: Dim): Stream | undefined {
    return this.model.streams.find((s) => s.beside && dimEqual(tokens, dimVar(besideLength(s.name))));
  }

  parameter(p: Parameter): NodeId {
    const old = this.parameters.get(p.path);
    if (old !== undefined) return old;
    const type = { dtype: "f32" as const, axes: p.axes.map((a) => axis(a.name, a.size)) };
    const id = this.builder.add("state", [], { name: `params/${p.path}`, type }, { spans: [p.span], path: p.path, via: [] });
    this.parameters.set(p.path, id);
    return id;
  }

  /** `training`: capacity, noise and dropout are in force; drawn from the inputs `seed` and `step`, by another stream at each place. */
  leaves(attendHook?: Leaves["attendHook"], training = false): Leaves {
    let stream = FIRST_DRAW;
    const draw = (kind: "uniform" | "normal") => (axes: readonly Axis[], path: string): NodeId =>
      this.ops.at(path).add("random", [this.seed(), this.step()], { kind, stream: stream++, axes });
    return {
      parameter: (p) => this.parameter(p),
      attribute: (side, name, tokens) => {
        const row = this.#beside(tokens);
        if (row) return side === "query" ? this.token(name, row) : this.ops.add("rename", [this.token(name, row)], { from: "t", to: "s" });
        return side === "query" ? this.token(name) : this.#keys(name);
      },
      // What stands beside the sequence is given, and what is given is clean.
      level: (process, tokens) => (this.#beside(tokens) ? this.ops.const(0) : this.level(process)),
      ...(attendHook ? { attendHook } : {}),
      ...(training ? { training, uniform: draw("uniform"), normal: draw("normal") } : {}),
    };
  }

  /** x[batch, t, d]: every token embedded by its stream; padding (stream -1) is zero. `features` overrides a stream's input; those of `alone` embed their own tokens and no others. */
  embed(network: Network, features: (stream: Stream) => NodeId, alone: (stream: Stream) => boolean = () => false): NodeId {
    const { ops } = this;
    let x: NodeId | undefined;
    for (const s of this.model.streams) {
      if (s.beside) continue;
      const o = new OpsOn(this.builder, { spans: [s.span], path: `embed.${s.name}`, via: [] });
      const input = s.kind === "continuous" ? features(s) : this.token("id");
      const here = o.num("eq", this.token("stream"), s.id);
      const e = network.embed(s.name, input, alone(s) ? onlyWhere(o, here) : undefined);
      x = o.select(here, e, x ?? o.zero(e));
    }
    return x ?? ops.const(0);
  }

  /** Every stream beside the sequence, embedded: [batch, <stream>.tokens, ...], in the order of the streams. */
  beside(network: Network): NodeId[] {
    return this.model.streams.flatMap((s) => {
      if (!s.beside) return [];
      const o = new OpsOn(this.builder, { spans: [s.span], path: `embed.${s.name}`, via: [] });
      return [o.add("rename", [network.embed(s.name, s.kind === "continuous" ? this.clean(s) : this.token("id", s))], { from: "t", to: `${s.name}.tokens` })];
    });
  }
}

/** The row of tokens of a stream beside the sequence; layers know it as `t` too. */
const rowOf = (beside: Stream | undefined): Axis => (beside ? axis("t", dimVar(besideLength(beside.name))) : TOKENS);

/** The one class of tokens where `wanted` is true. */
export const onlyWhere = (o: OpsOn, wanted: NodeId): NodeId => o.select(wanted, o.const(0, "i32"), o.const(-1, "i32"));

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
