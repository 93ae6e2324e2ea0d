// How many dispatches common pieces of a model may take. More is a regression of fusion; the meaning is checked alongside.

import { describe, expect, test } from "vitest";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId, TensorType } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { lowerAccumulate, lowerApply } from "../../compiler/lower/optimizer.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { check, dispatchesOf, namesOf, targets } from "./check.ts";

type Build = (m: Make, x: (name: string, type: TensorType) => NodeId) => void;

const lengths = { batch: 2, t: 5, s: 5 };
const [batch, t, d, e, h, f] = [ax("batch", "batch"), ax("t", "t"), ax("d", 8), ax("e", 8), ax("h", 2), ax("f", 12)];

function build(make: Build): Graph {
  const builder = new GraphBuilder("budget");
  const m = new Make(builder, originAt("budget"));
  make(m, (name, type) => m.input(name, type));
  return builder.finish();
}

function numbers(graph: Graph): Record<string, number[]> {
  const out: Record<string, number[]> = {};
  for (const n of graph.nodes)
    if (n.op === "input") {
      const size = product(shapeOf(n.type, lengths));
      out[n.attrs.name] = n.type.dtype === "f32" ? spread(size, n.id) : Array.from({ length: size }, (_, i) => (i * 5 + 1) % 4);
    }
  return out;
}

const pieces: { title: string; most: number; build: Build }[] = [
  { title: "RMSNorm with gain", most: 1, build: (m, x) => m.builder.output("y", m.mul(m.rmsNorm(x("x", F(batch, t, d)), 1e-6, "d"), x("g", F(d)))) },
  { title: "LayerNorm with gain and bias", most: 1, build: (m, x) => m.builder.output("y", m.add(m.mul(m.layerNorm(x("x", F(batch, t, d)), 1e-5, "d"), x("g", F(d))), x("b", F(d)))) },
  { title: "softmax", most: 1, build: (m, x) => m.builder.output("y", m.softmax(x("x", F(batch, t, d)), "d")) },
  { title: "softmax over a run-time axis", most: 1, build: (m, x) => m.builder.output("y", m.softmax(x("x", F(d, t)), "t")) },
  {
    title: "residual, then norm: both results", most: 1,
    build: (m, x) => {
      const r = m.add(x("x", F(batch, t, d)), m.tanh(x("y", F(batch, t, d))));
      m.builder.output("r", r);
      m.builder.output("n", m.rmsNorm(r, 1e-6, "d"));
    },
  },
  {
    title: "norms of heads on split axes", most: 1,
    build: (m, x) => m.builder.output("y", m.rmsNorm(m.split(x("x", F(batch, t, d)), "d", [h, ax("k", 4)]), 1e-6, "k")),
  },
  { title: "a loss row: log-softmax at the target", most: 1, build: (m, x) => m.builder.output("y", m.sum(m.mul(m.logSoftmax(x("x", F(t, d)), "d"), m.oneHot(x("i", I(t)), d)), "d")) },
  { title: "masked mean of squares", most: 2, build: (m, x) => m.builder.output("y", m.div(m.sum(m.mul(m.square(x("x", F(t, d))), x("w", F(t))), "t", "d"), m.sum(x("w", F(t)), "t"))) },
  { title: "a product with bias, activation and residual", most: 1, build: (m, x) => m.builder.output("y", m.add(x("r", F(batch, t, f)), m.gelu(m.add(m.dot(x("x", F(batch, t, d)), x("w", F(d, f)), "d"), x("b", F(f)))))) },
  {
    title: "MLP block: norm, up, GELU, down, residual", most: 3,
    build: (m, x) => {
      const y = x("x", F(batch, t, d));
      const z = m.rmsNorm(y, 1e-6, "d");
      m.builder.output("y", m.add(y, m.dot(m.gelu(m.dot(z, x("up", F(d, f)), "d")), x("down", F(f, d)), "f")));
    },
  },
  {
    title: "gated MLP: gate, up with the gate, down", most: 3,
    build: (m, x) => {
      const y = x("x", F(batch, t, d));
      const a = m.mul(m.silu(m.dot(y, x("gate", F(d, f)), "d")), m.dot(y, x("up", F(d, f)), "d"));
      m.builder.output("y", m.dot(a, x("down", F(f, d)), "f"));
    },
  },
  {
    title: "a sum of three products with renamed rows", most: 1,
    build: (m, x) => {
      const one = (n: string, row: string): NodeId => m.rename(m.dot(x(`x${n}`, F(batch, ax(row, "t"), e)), x(`w${n}`, F(d, e)), "e"), row, "t");
      m.builder.output("y", m.add(m.add(one("a", "t"), one("b", "s")), m.add(x("r", F(batch, t, d)), one("c", "t"))));
    },
  },
  {
    title: "the two column sums of a norm's gradient", most: 1,
    build: (m, x) => {
      const [y, dy] = [x("x", F(batch, t, d)), x("dy", F(batch, t, d))];
      m.builder.output("bias", m.sum(dy, "batch", "t"));
      m.builder.output("gain", m.sum(m.mul(dy, y), "batch", "t"));
    },
  },
  {
    title: "rotary positions on queries and keys", most: 1,
    build: (m, x) => {
      const p = x("p", F(t));
      m.builder.output("q", m.rope(x("q", F(batch, t, h, e)), "e", p));
      m.builder.output("k", m.rope(x("k", F(batch, t, h, e)), "e", p));
    },
  },
  { title: "dropout", most: 1, build: (m, x) => {
    const keep = m.lt(m.random("uniform", 1, [batch, t, d], m.const(3, "u32"), m.const(4, "u32")), m.const(0.9));
    m.builder.output("y", m.select(keep, m.scale(x("x", F(batch, t, d)), 1 / 0.9), m.const(0)));
  } },
];

describe("dispatch budgets", () => {
  for (const p of pieces)
    test(`${p.title}: ${p.most}`, () => {
      const graph = build(p.build);
      for (const target of targets) expect(namesOf(scheduleGraph(graph, target, templates)).length, `${target.name}`).toBeLessThanOrEqual(p.most);
      check(graph, { inputs: numbers(graph), lengths });
    });

  test("backward of an RMSNorm: one row kernel, one of columns", () => {
    const graph = build((m, x) => {
      const [y, g] = [x("x", F(batch, t, d)), x("g", F(d))];
      const loss = m.sum(m.mul(m.mul(m.rmsNorm(y, 1e-6, "d"), g), x("dy", F(batch, t, d))), "batch", "t", "d");
      const [dx, dg] = gradients(m.builder, loss, [y, g]);
      m.builder.output("dx", dx as NodeId);
      m.builder.output("dg", dg as NodeId);
    });
    expect(namesOf(scheduleGraph(graph, software, templates)).length).toBeLessThanOrEqual(2);
    check(graph, { inputs: numbers(graph), lengths });
  });

  test("the optimizer: two dispatches for all parameters, with clipping, average and the norm as an output", () => {
    const train = { betas: [0.9, 0.95] as const, clip: 1, decay: 0.1, eps: 1e-8, ema: 0.99 };
    const graph = lowerApply(train as unknown as Parameters<typeof lowerApply>[0], { count: 33000, decayed: 20000 } as Parameters<typeof lowerApply>[1]);
    const state = Object.fromEntries(["params", "grads", "adam.m", "adam.v", "ema"].map((n, i) => [n, spread(33000, i, n === "adam.v" ? [0, 1] : [-0.02, 0.03])]));
    for (const target of targets) {
      const p = scheduleGraph(graph, target, templates);
      expect(dispatchesOf(p).length).toBe(2);
    }
    check(graph, { state, inputs: { lr: [0.01], correct1: [0.1], correct2: [0.05], ema_decay: [0.99] } }, 1e-4);
  });

  test("accumulation of gradients is one dispatch in place", () => {
    const graph = lowerAccumulate({ count: 1000, decayed: 0 } as Parameters<typeof lowerAccumulate>[0]);
    expect(dispatchesOf(scheduleGraph(graph, software, templates)).length).toBe(1);
    for (const first of [0, 1]) check(graph, { state: { grads: spread(1000, 1), accum: spread(1000, 2) }, inputs: { first: [first] } });
  });
});
