// Model -> the `loss` and `grad` graphs. In: a checked Model. Out: one graph that embeds, corrupts, runs the body, takes every
// loss term, those of routers too, and, for `grad`, appends the gradients of all parameters that are not frozen.
// Both are programs of training: capacity and noise are in force in `loss` too, so that it says what `grad` goes down on.
// Where a stream is wide and its embed or head works token by token, it is applied to the tokens that need it and to no others.
// Weights of tokens arrive normalised, so a loss is a plain weighted sum and a term of no token is zero.

import { gradients } from "../autodiff/backward.ts";
import { dimValue } from "../dim/dim.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { elaborateNetwork } from "../types/elaborate_network.ts";
import type { LossTerm, Model, Process, Stream } from "../types/model.ts";
import type { Network, RoutingNote } from "../types/network.ts";
import { BATCH, corrupt, ModelLeaves, onlyWhere, TOKENS } from "./leaves.ts";
import { OpsOn } from "./ops_on.ts";
import { isTokenwise } from "./tokenwise.ts";
import { balanceOutputs, routerLosses, routingOutput } from "./routers.ts";

/** Numbers of a stream's matrix from which sorting tokens costs less than it saves (docs/decisions/0007-embeds-and-heads-by-stream.md). */
export const WIDE = 2 ** 16;

/** `wide` is for tests. */
export function lowerTraining(model: Model, name: "loss" | "grad", wide = WIDE): Graph {
  const builder = new GraphBuilder(name);
  const { leaves, network, loss } = applied(model, builder, wide);
  const notes = network.routings();
  routingOutput(builder, notes);
  if (name === "grad") {
    appendGradients(model, leaves, loss);
    balanceOutputs(builder, notes);
  }
  return builder.finish();
}

/** What the training programs of a model route, in the order in which they say it. */
export const routingsOf = (model: Model): readonly RoutingNote[] => applied(model, new GraphBuilder("routings"), WIDE).network.routings();

/** The network under its losses; each term and their sum are outputs. */
function applied(model: Model, builder: GraphBuilder, wide: number): { leaves: ModelLeaves; network: Network; loss: NodeId } {
  const leaves = new ModelLeaves(model, builder);
  const network = elaborateNetwork(model, builder, leaves.leaves(undefined, true));
  const alone = (s: Stream, part: "embed" | "head"): boolean => (dimValue(s.axis.size) ?? 0) * (dimValue(model.network.width.size) ?? 0) >= wide && isTokenwise(model, s, part);
  const { h, corrupted } = bodyOf(leaves, network, (s) => s.kind === "continuous" && alone(s, "embed"));
  const head: Head = (stream, weight, o) => network.head(stream, h, model.streams.some((s) => s.name === stream && alone(s, "head")) ? onlyWhere(o, o.num("ne", weight, 0)) : undefined);
  const terms = model.losses.map((term) => {
    const o = new OpsOn(builder, { spans: [term.span], path: `loss.${term.name}`, via: [] });
    const value = term.kind === "next_token" ? nextToken(leaves, head, term, h, o) : denoise(leaves, head, model.processes, term, corrupted, o);
    builder.output(`loss.${term.name}`, value);
    return o.bin("mul", value, stepWeight(o, term.weight, () => leaves.step()));
  });
  terms.push(...routerLosses(builder, network.routings(), () => leaves.input("share", "f32", [])));
  const loss = terms.length === 0 ? leaves.ops.const(0) : terms.reduce((a, b) => leaves.ops.at("loss").bin("add", a, b));
  builder.output("loss", loss);
  return { leaves, network, loss };
}

/** What the body says of every token of a batch whose predicted numbers are noised, and how they were. */
export function bodyOf(leaves: ModelLeaves, network: Network, alone?: (stream: Stream) => boolean): { h: NodeId; corrupted: ReadonlyMap<string, { noisy: NodeId; target: NodeId }> } {
  const { model, builder } = leaves;
  const corrupted = new Map<string, { noisy: NodeId; target: NodeId }>();
  model.processes.forEach((process, index) => {
    const stream = model.streams.find((s) => s.name === process.stream);
    if (!stream) return;
    const o = new OpsOn(builder, { spans: [process.span], path: process.name, via: [] });
    const axes = [BATCH, TOKENS, { name: stream.axis.name, size: stream.axis.size }];
    const noise = o.add("random", [leaves.seed(), leaves.step()], { kind: "normal", stream: index + 1, axes });
    corrupted.set(stream.name, corrupt(o, process, leaves.clean(stream), noise, leaves.level(process.name)));
  });
  const x = leaves.embed(network, (s) => corrupted.get(s.name)?.noisy ?? leaves.clean(s), alone);
  return { h: network.body(x, leaves.beside(network)), corrupted };
}

/** grads/<path> in the memory order of the parameter. */
function appendGradients(model: Model, leaves: ModelLeaves, loss: NodeId): void {
  const { builder } = leaves;
  // What balances experts is moved by their load, not by a slope.
  const wanted = model.parameters.filter((p) => !p.frozen && p.balance === undefined && leaves.parameters.has(p.path));
  const grads = gradients(builder, loss, wanted.map((p) => leaves.parameter(p)));
  wanted.forEach((p, i) => {
    const grad = grads[i];
    if (grad === undefined) return;
    const node = builder.ordered(grad, p.axes.map((a) => a.name), { spans: [p.span], path: p.path, via: [] });
    builder.output(`grads/${p.path}`, node, `grads/${p.path}`);
  });
}

/** What a stream's head says of the tokens whose weight is not 0. */
type Head = (stream: string, weight: NodeId, o: OpsOn) => NodeId;

function nextToken(leaves: ModelLeaves, head: Head, term: LossTerm, h: NodeId, o: OpsOn): NodeId {
  const { model, builder } = leaves;
  const target = leaves.input(`${term.name}.target`, "i32", [BATCH, TOKENS]);
  const weight = leaves.input(`${term.name}.weight`, "f32", [BATCH, TOKENS]);
  const plain = model.network.plainHeads.get(term.stream);
  const parameter = plain && model.parameters.find((p) => p.path === plain.parameter);
  if (plain && parameter) {
    const w = leaves.parameter(parameter);
    return o.sum(o.add("linear_ce", [h, w, target, weight], { from: plain.from, vocab: plain.vocab }), ["batch", "t"]);
  }
  const logits = head(term.stream, weight, o);
  const vocab = model.streams.find((s) => s.name === term.stream)?.axis;
  const axis = builder.type(logits).axes.find((a) => a.name === vocab?.name);
  if (!axis) throw new Error(`head of ${term.stream} has no vocabulary axis`);
  const top = o.add("amax", [logits], { axes: [axis.name] });
  const lse = o.bin("add", o.un("log", o.sum(o.un("exp", o.bin("sub", logits, top)), [axis.name])), top);
  const hit = o.bin("eq", o.add("iota", [], { axis }), target);
  const picked = o.sum(o.select(hit, logits, o.zero(logits)), [axis.name]);
  return o.sum(o.bin("mul", o.bin("sub", lse, picked), weight), ["batch", "t"]);
}

function denoise(leaves: ModelLeaves, head: Head, processes: readonly Process[], term: LossTerm, corrupted: ReadonlyMap<string, { target: NodeId }>, o: OpsOn): NodeId {
  const stream = leaves.model.streams.find((s) => s.name === term.stream);
  const target = corrupted.get(term.stream)?.target;
  if (!stream || target === undefined || !processes.some((p) => p.stream === term.stream)) throw new Error(`denoise(${term.stream}) without a process`);
  const weight = leaves.input(`${term.name}.weight`, "f32", [BATCH, TOKENS]);
  const diff = o.bin("sub", head(term.stream, weight, o), target);
  const each = o.sum(o.bin("mul", diff, diff), [stream.axis.name]);
  return o.sum(o.bin("mul", each, weight), ["batch", "t"]);
}

/** A weight over the training step, as a scalar node. */
function stepWeight(o: OpsOn, e: ScalarExpr, step: () => NodeId): NodeId {
  switch (e.kind) {
    case "const": return o.const(e.value, e.type === "bool" ? "bool" : e.type);
    case "name": return o.cast(step(), "f32");
    case "unary": {
      const a = stepWeight(o, e.a, step);
      if (e.op === "to_f32") return o.cast(a, "f32");
      if (e.op === "to_i32") return o.cast(a, "i32");
      if (e.op === "to_u32" || e.op === "to_f16" || e.op === "bits_f32" || e.op === "bits_u32") throw new Error(`loss weight: ${e.op}`);
      return o.un(e.op, a);
    }
    case "binary":
      if (e.op === "xor" || e.op === "shl" || e.op === "shr" || e.op === "mulhi") throw new Error(`loss weight: ${e.op}`);
      return o.bin(e.op, stepWeight(o, e.a, step), stepWeight(o, e.b, step));
    case "select": return o.select(stepWeight(o, e.cond, step), stepWeight(o, e.a, step), stepWeight(o, e.b, step));
    default: throw new Error(`loss weight: ${e.kind}`);
  }
}
