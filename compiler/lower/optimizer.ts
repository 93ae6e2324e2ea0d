// The optimizer as graphs over flat state buffers: AdamW (Loshchilov & Hutter 2019) with global-norm clipping and EMA,
// and the two that accumulate gradients. One axis `n` runs over every parameter, so a step is at most two dispatches.
// Parameters subject to weight decay come first and those that balance experts last: two counts and the rates are the whole group table.

import { dimConst } from "../dim/dim.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, NodeId, Origin, TensorType } from "../graph/graph.ts";
import type { TrainSpec } from "../plan/manifest.ts";
import { axis, OpsOn } from "./ops_on.ts";

export interface FlatParameters {
  /** Numbers in the buffer. */
  readonly count: number;
  /** The first so many are decayed. */
  readonly decayed: number;
  /** Numbers at the end that are moved by the load of experts, at a rate each, instead of by a gradient; they end at `count`. */
  readonly balanced?: readonly Balanced[];
}

/** Numbers from `start` to `end` of the flat parameters. */
export interface Balanced {
  readonly start: number;
  readonly end: number;
  readonly rate: number;
}

const origin: Origin = { spans: [], path: "train", via: [] };

function start(name: string, flat: FlatParameters): { o: OpsOn; type: TensorType } {
  const builder = new GraphBuilder(name);
  return { o: new OpsOn(builder, origin), type: { dtype: "f32", axes: [axis("n", dimConst(flat.count))] } };
}

/**
 * One AdamW step, and for what balances experts p -= rate * sign(g) (Wang et al. 2024, DeepSeek-V3). Inputs, all scalars: `lr`, `correct1` and `correct2` (1 - beta^step), `ema` (decay of the average).
 * Outputs: `grad_norm`. States: params, grads, adam.m, adam.v and, with EMA, ema.
 */
export function lowerApply(train: TrainSpec, flat: FlatParameters): Graph {
  const { o, type } = start("apply", flat);
  const p = o.state("params", type);
  const g = o.state("grads", type);
  const m = o.state("adam.m", type);
  const v = o.state("adam.v", type);
  const lr = o.input("lr", "f32", []);
  const correct1 = o.input("correct1", "f32", []);
  const correct2 = o.input("correct2", "f32", []);
  const [beta1, beta2] = train.betas;
  const index = o.add("iota", [], { axis: axis("n", dimConst(flat.count)) });
  // How far a load lies from the mean is no slope: it is outside the norm, the clipping, the moments and the decay.
  const learned = flat.balanced?.[0]?.start;
  const slope = learned === undefined ? g : o.select(o.num("lt", index, learned), g, o.const(0));
  const norm = o.un("sqrt", o.sum(o.bin("mul", slope, slope), ["n"]));
  const scale = train.clip > 0 ? o.num("min", o.bin("div", o.const(train.clip), o.num("add", norm, 1e-6)), 1) : o.const(1);
  const grad = o.bin("mul", slope, scale);
  const m2 = o.bin("add", o.num("mul", m, beta1), o.num("mul", grad, 1 - beta1));
  const v2 = o.bin("add", o.num("mul", v, beta2), o.num("mul", o.bin("mul", grad, grad), 1 - beta2));
  const update = o.bin("div", o.bin("div", m2, correct1), o.num("add", o.un("sqrt", o.bin("div", v2, correct2)), train.eps));
  const decay = o.select(o.num("lt", index, flat.decayed), o.num("mul", p, train.decay), o.const(0));
  const stepped = o.bin("sub", p, o.bin("mul", o.bin("add", update, decay), lr));
  const p2 = (flat.balanced ?? []).reduce((before, { start, rate }) => o.select(o.num("lt", index, start), before, o.bin("sub", p, o.num("mul", sign(o, g), rate))), stepped);
  o.builder.output("params", p2, "params");
  o.builder.output("adam.m", m2, "adam.m");
  o.builder.output("adam.v", v2, "adam.v");
  if (train.ema > 0) {
    const e = o.state("ema", type);
    const keep = o.input("ema_decay", "f32", []);
    o.builder.output("ema", o.bin("add", o.bin("mul", e, keep), o.bin("mul", p2, o.bin("sub", o.const(1), keep))), "ema");
  }
  o.builder.output("grad_norm", norm);
  return o.builder.finish();
}

/** -1, 0 or 1. */
const sign = (o: OpsOn, x: NodeId): NodeId => o.bin("sub", o.cast(o.bin("lt", o.const(0), x), "f32"), o.cast(o.num("lt", x, 0), "f32"));

/** accum = grads on the first micro-batch (`first` = 1), accum + grads on the later ones. */
export function lowerAccumulate(flat: FlatParameters): Graph {
  const { o, type } = start("accumulate", flat);
  const first = o.num("eq", o.input("first", "i32", []), 1);
  const grads = o.state("grads", type);
  o.builder.output("accum", o.select(first, grads, o.bin("add", o.state("accum", type), grads)), "accum");
  return o.builder.finish();
}

/** grads = accum + grads, on the last micro-batch and before the optimizer step. */
export function lowerFinish(flat: FlatParameters): Graph {
  const { o, type } = start("finish", flat);
  o.builder.output("grads", o.bin("add", o.state("accum", type), o.state("grads", type)), "grads");
  return o.builder.finish();
}
