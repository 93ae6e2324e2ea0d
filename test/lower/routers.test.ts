// What training programs say of routed layers, from notes made by hand: terms of the loss, counts, and how biases that balance move.
// By the meaning of the graphs and by the kernels of both targets.

import { describe, expect, test } from "vitest";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { lowerForward } from "../../compiler/lower/forward.ts";
import { layoutParameters } from "../../compiler/lower/model_spec.ts";
import { lowerApply } from "../../compiler/lower/optimizer.ts";
import { balanceOutputs, routerLosses, routerSpecs, routingOutput } from "../../compiler/lower/routers.ts";
import { lowerStep } from "../../compiler/lower/step.ts";
import { lowerTraining } from "../../compiler/lower/train.ts";
import type { TrainSpec } from "../../compiler/plan/manifest.ts";
import type { RoutingNote } from "../../compiler/types/network.ts";
import type { Parameter } from "../../compiler/types/parameter.ts";
import { textModel } from "../cache/routed_specs.ts";
import { compileKernels, modelOf } from "../fixtures/numbers.ts";
import { tinySpec } from "../sequence/tiny_spec.ts";

const span = { source: "spec.heddle", start: 0, end: 1 };
const E = 3;
const bias: Parameter = { path: "ffn.router.bias", axes: [{ name: "experts", size: dimConst(E), span }], init: { kind: "zeros" }, decay: false, frozen: false, balance: 0.01, span };

/** A note of a layer whose rows go where an input says, and want to go where another does if `drops`. */
function note(b: GraphBuilder, path: string, { balances, drops, ...over }: Partial<RoutingNote> & { readonly balances?: Parameter; readonly drops?: boolean } = {}): RoutingNote {
  const m = new Make(b, originAt(path));
  const rows = (name: string) => m.input(`${path}.${name}`, { dtype: "i32", axes: [{ name: "batch", size: dimVar("batch") }, { name: "t", size: dimVar("t") }] });
  const expert = rows("expert");
  const { offset } = m.groupBy(expert, dimConst(E));
  return {
    ...(balances ? { bias: { parameter: balances, rate: 0.01, offset: drops ? m.groupBy(rows("wants"), dimConst(E)).offset : offset } } : {}),
    path, route: "r", learned: true, dispatch: "top", experts: E, branches: [], expert, offset, wanted: m.input(`${path}.wanted`, { dtype: "i32", axes: [] }), losses: [], couples: false, span, ...over,
  } as RoutingNote;
}

const lengths = { batch: 2, t: 4 };
const first = [0, 1, 1, 2, 1, -1, 1, -1];
const second = [2, 2, 2, 2, 2, 2, 2, 0];

describe("counts and terms", () => {
  test("rows of each expert and rows that wanted one, layer after layer", () => {
    const b = new GraphBuilder("grad");
    const notes = [note(b, "a"), note(b, "b")];
    routingOutput(b, notes);
    const { outputs } = interpret(b.finish(), { inputs: { "a.expert": first, "a.wanted": [7], "b.expert": second, "b.wanted": [8] }, state: {}, lengths });
    expect(Array.from(outputs["routing"]?.data ?? [])).toEqual([1, 4, 1, 7, 1, 0, 7, 8]);
    expect(outputs["routing"]?.type.dtype).toBe("i32");
    expect(routerSpecs(notes).map((r) => [r.path, r.experts, r.offset])).toEqual([["a", 3, 0], ["b", 3, 4]]);
  });

  test("no routed layer, no output", () => {
    const b = new GraphBuilder("grad");
    routingOutput(b, []);
    expect(b.outputs).toEqual([]);
    expect(routerLosses(b, [], () => b.add("const", [], { value: 1, dtype: "f32" }, originAt("x")))).toEqual([]);
  });

  test("a layer that is applied twice, and two terms of one name, have outputs of their own", () => {
    const b = new GraphBuilder("grad");
    const m = new Make(b, originAt("x"));
    const losses = [{ name: "balance", node: m.const(2), span }, { name: "balance", node: m.const(3), span }];
    const notes = [note(b, "a", { losses }), note(b, "a", { losses: losses.slice(0, 1) })];
    const terms = routerLosses(b, notes, () => m.const(0.5));
    expect(terms).toHaveLength(3);
    expect(routerSpecs(notes).flatMap((r) => r.losses.map((l) => l.output))).toEqual(["loss.a.balance", "loss.a.balance#2", "loss.a.balance#3"]);
    const { outputs } = interpret(b.finish(), { inputs: {}, state: {}, lengths });
    expect(["loss.a.balance", "loss.a.balance#2", "loss.a.balance#3"].map((n) => outputs[n]?.data[0])).toEqual([1, 1.5, 1]);
  });

  test("a bias is told how far each load lies from the mean, by all layers that share it", () => {
    const b = new GraphBuilder("grad");
    const with_ = { balances: bias };
    balanceOutputs(b, [note(b, "a", with_), note(b, "b", with_), note(b, "c")]);
    expect(b.outputs.map((o) => [o.name, o.into])).toEqual([["grads/ffn.router.bias", "grads/ffn.router.bias"]]);
    const { outputs } = interpret(b.finish(), { inputs: { "a.expert": first, "b.expert": second }, state: {}, lengths });
    // 3 * [1, 4, 1] - 6 and 3 * [1, 0, 7] - 8
    expect(Array.from(outputs["grads/ffn.router.bias"]?.data ?? [])).toEqual([-3 - 5, 6 - 8, -3 + 13]);
  });

  test("what capacity drops was wanted all the same", () => {
    const b = new GraphBuilder("grad");
    const n = note(b, "a", { balances: bias, drops: true });
    routingOutput(b, [n]);
    balanceOutputs(b, [n]);
    const { outputs } = interpret(b.finish(), { inputs: { "a.expert": first, "a.wants": second, "a.wanted": [8] }, state: {}, lengths });
    expect(Array.from(outputs["routing"]?.data ?? [])).toEqual([1, 4, 1, 8]);
    expect(Array.from(outputs["grads/ffn.router.bias"]?.data ?? [])).toEqual([3 - 8, -8, 21 - 8]);
  });

  test("a rate of 0 moves nothing, and is no slope of the others", () => {
    const layout = layoutParameters(modelOf(textModel("routed(deepseek_experts(d, 4, 2, rate: 0.0), swiglu(d, 6))")));
    const p = layout.parameters.find((x) => x.balance === 0);
    expect(layout.balanced).toEqual([{ start: p?.offset, end: layout.count, rate: 0 }]);
  });

  test("a frozen bias stays where it is", () => {
    const b = new GraphBuilder("grad");
    balanceOutputs(b, [note(b, "a", { balances: { ...bias, frozen: true } })]);
    expect(b.outputs).toEqual([]);
    const frozen = modelOf(textModel("frozen(routed(deepseek_experts(d, 4, 2), swiglu(d, 6)))"));
    expect(layoutParameters(frozen).balanced).toBeUndefined();
    expect(lowerTraining(frozen, "grad").outputs.filter((o) => o.name.includes("router"))).toEqual([]);
  });
});

test.each([guaranteed, software])("many layers by the kernels for $name", (target) => {
  const b = new GraphBuilder("grad");
  const paths = Array.from({ length: 25 }, (_, i) => `body[${i}].ffn`);
  const notes = paths.map((p) => note(b, p, { balances: { ...bias, path: `${p}.bias` } }));
  routingOutput(b, notes);
  balanceOutputs(b, notes);
  const expert = (i: number) => first.map((e) => (e < 0 ? e : (e + i) % E));
  const inputs = Object.fromEntries(paths.flatMap((p, i) => [[`${p}.expert`, expert(i)], [`${p}.wanted`, [i]]]));
  const got = compileKernels(b.finish(), target)(inputs, {}, lengths);
  const load = (i: number) => [0, 1, 2].map((e) => expert(i).filter((x) => x === e).length);
  expect(Array.from(got("routing") ?? [])).toEqual(paths.flatMap((_, i) => [...load(i), i]));
  expect(Array.from(got("grads/body[7].ffn.bias") ?? [])).toEqual(load(7).map((n) => 3 * n - 6));
});

describe("the optimizer", () => {
  const train: TrainSpec = { ...tinySpec.train, ema: 0.5, clip: 1, decay: 0.1 };
  const step = (balanced: Parameters<typeof lowerApply>[1]["balanced"], params: number[], grads: number[], m = params.map(() => 0)) => {
    const graph = lowerApply(train, { count: params.length, decayed: 2, ...(balanced ? { balanced } : {}) });
    const { outputs } = interpret(graph, { inputs: { lr: [0.1], correct1: [0.1], correct2: [0.05], ema_decay: [0.5] }, state: { params, grads, "adam.m": m, "adam.v": m, ema: params }, lengths: {} });
    return (name: string): number[] => Array.from(outputs[name]?.data ?? []);
  };

  test("moves what balances by its rate against the sign, outside norm, clipping, moments and decay", () => {
    const plain = step(undefined, [1, 2, 3], [3, 4, 0]);
    const got = step([{ start: 3, end: 5, rate: 0.01 }, { start: 5, end: 8, rate: 0.5 }], [1, 2, 3, 0.2, 0.2, 0.3, 0.3, 0.3], [3, 4, 0, -700, 900, 0, 1, -1]);
    expect(got("grad_norm")).toEqual([5]);
    expect(got("params").slice(0, 3)).toEqual(plain("params"));
    [0.21, 0.19, 0.3, -0.2, 0.8].forEach((want, i) => expect(got("params")[3 + i]).toBeCloseTo(want, 7));
    expect(got("adam.m").slice(3)).toEqual([0, 0, 0, 0, 0]);
    expect(got("adam.v").slice(3)).toEqual([0, 0, 0, 0, 0]);
    expect(got("ema")[3]).toBeCloseTo(0.205, 7);
  });

  test("without any the graph is what it was", () => {
    const text = (balanced: boolean) => lowerApply(train, { count: 8, decayed: 2, ...(balanced ? { balanced: [{ start: 4, end: 8, rate: 1 }] } : {}) }).nodes.length;
    expect(text(false)).toBeLessThan(text(true));
  });
});

describe("dropout", () => {
  const model = modelOf(`use std.layers { linear }
use std.norms { rms_norm }
layer dropped(d: axis, p: float) {
  forward(x[t, d]) = dropout(x, p)
}
model m {
  axis d = 4
  tokens text = bytes()
  task say(words: text) = <bos> predict text(words) <eos>
  body = [dropped(d, 0.25), rms_norm(d), dropped(d, 0.5)]
  head text = linear(d, text.vocab)
  loss = next_token(text)
  sample text = greedy()
}`);
  const draws = (g: Graph): number[] => g.nodes.flatMap((n) => (n.op === "random" ? [n.attrs.stream] : []));

  test("draws in loss and grad, at each place from a stream of its own, and nowhere else", () => {
    for (const name of ["loss", "grad"] as const) {
      const streams = draws(lowerTraining(model, name));
      expect(streams).toHaveLength(2);
      expect(new Set(streams).size).toBe(2);
    }
    expect(draws(lowerForward(model))).toEqual([]);
    expect(draws(lowerStep(model, "step").graph)).toEqual([]);
  });

  test("is a function of seed and step", () => {
    const graph = lowerTraining(model, "loss");
    const [batch, t] = [1, 6];
    const weights = Object.fromEntries(graph.nodes.flatMap((n) => (n.op === "state" ? [[n.attrs.name, Float64Array.from({ length: n.type.axes.reduce((k, a) => k * (a.size.terms[0]?.coef ?? 1), 1) }, (_, i) => Math.sin(i + 1))]] : [])));
    const loss = (seed: number, step: number) => {
      const given: Record<string, number[]> = { seed: [seed], step: [step], "next_token(text).target": [1, 2, 3, 4, 5, 6], "next_token(text).weight": Array(6).fill(1 / 6) as number[] };
      const inputs = Object.fromEntries(graph.nodes.flatMap((n) => (n.op === "input" ? [[n.attrs.name, given[n.attrs.name] ?? [0, 0, 0, 0, 0, 0].map((_, i) => (n.attrs.name === "tok.id" ? i : 0))]] : [])));
      return interpret(graph, { inputs, state: weights, lengths: { batch, t } }).outputs["loss"]?.data[0];
    };
    expect(loss(1, 2)).toBe(loss(1, 2));
    expect(new Set([loss(1, 2), loss(1, 3), loss(2, 2)]).size).toBe(3);
  });
});
