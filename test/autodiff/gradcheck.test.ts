// Every entry of the gradient table against central differences in float64, on every case of every op. Walks the table: a new op
// without a case or without an entry fails here.

import { describe, expect, it } from "vitest";
import { gradients, GradientFailure, reachesLoss } from "../../compiler/autodiff/backward.ts";
import { vjpRules } from "../../compiler/autodiff/vjp.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { inOrder } from "../../compiler/graph/value.ts";
import { sameAxes, verifyGraph } from "../../compiler/graph/verify.ts";
import { allCases, ax, buildCase, F, spread } from "../graph/cases.ts";
import type { Case } from "../graph/cases.ts";

/** Compares gradients of sum(result * fixed numbers) with central differences; returns how many elements were compared. */
function check(c: Case): number {
  const { builder: b, result, inputs, nodes, lengths } = buildCase(c);
  const m = new Make(b, originAt("loss"));
  const type = m.type(result);
  const values = interpret({ ...bare(b, result) }, { inputs, lengths }).outputs.y!;
  const mix = m.input("mix", { dtype: "f32", axes: type.axes });
  const given = { ...inputs, mix: spread(values.data.length, 99, [0.5, 1.5]) };
  const loss = m.sum(m.mul(m.cast(result, "f32"), mix), ...type.axes.map((a) => a.name));
  const wrt = Object.entries(nodes).filter(([n, id]) => m.type(id).dtype === "f32" && !c.still?.includes(n));
  const reach = reachesLoss(b, loss, wrt.map(([, id]) => id));
  const grads = gradients(b, loss, wrt.map(([, id]) => id));
  b.output("loss", loss);
  wrt.forEach(([n], i) => b.output(`d ${n}`, grads[i]!));
  const g = b.finish();
  expect(verifyGraph(g)).toEqual([]);
  const out = interpret(g, { inputs: given, lengths }).outputs;
  const forward = { ...g, outputs: g.outputs.filter((o) => o.name === "loss") };
  const lossAt = (x: typeof given): number => interpret(forward, { inputs: x, lengths }).outputs.loss!.data[0]!;
  let compared = 0;
  wrt.forEach(([n, id], k) => {
    expect(sameAxes(m.type(grads[k]!), m.type(id))).toBe(true);
    const grad = inOrder(out[`d ${n}`]!, m.type(id)).data;
    const x = inputs[n]!;
    expect(grad.length).toBe(x.length);
    x.forEach((x0, i) => {
      const h = 1e-5;
      const moved = (by: number): number => lossAt({ ...given, [n]: x.map((v, j) => (j === i ? x0 + by : v)) });
      const expected = (moved(h) - moved(-h)) / (2 * h);
      expect(Math.abs(grad[i]! - expected), `d ${n}[${i}] = ${grad[i]}, differences say ${expected}`).toBeLessThan(2e-7 * (1 + Math.abs(expected)));
      if (!reach[k]) expect(grad[i]).toBe(0);
      compared++;
    });
  });
  return compared;
}

function bare(b: GraphBuilder, result: number) {
  const copy = GraphBuilder.from({ name: "bare", nodes: Array.from({ length: b.size }, (_, i) => b.node(i)), outputs: [], lengths: [] });
  copy.output("y", result);
  return copy.finish();
}

for (const [op, title, c] of allCases) {
  const rule = vjpRules[op];
  const differentiable = typeof rule === "function";
  if (differentiable)
    it(`${op}: ${title}`, () => {
      const { builder, nodes } = buildCase(c);
      const compared = check(c);
      if (Object.values(nodes).some((id) => builder.type(id).dtype === "f32")) expect(compared).toBeGreaterThan(0);
    });
  else
    it(`${op}: ${title} (${rule.kind === "flat" ? "flat" : "no gradient"})`, () => {
      expect(rule.reason.length).toBeGreaterThan(10);
      const { builder: b, result, nodes } = buildCase(c);
      const wrt = Object.values(nodes).filter((id) => b.type(id).dtype === "f32");
      const m = new Make(b, originAt("loss"));
      const scalar = m.cast(result, "f32");
      const loss = m.sum(scalar, ...m.type(scalar).axes.map((a) => a.name));
      if (rule.kind === "none") expect(() => gradients(b, loss, wrt)).toThrow(GradientFailure);
      else if (op !== "input" && op !== "state") {
        expect(reachesLoss(b, loss, wrt).some((r) => r)).toBe(false);
        gradients(b, loss, wrt);
      }
    });
}

describe("composed functions", () => {
  const [t, d] = [ax("t", "t"), ax("d", 4)];
  const composed: Record<string, Case["build"]> = {
    softmax: (m, x) => m.softmax(x("x", F(t, d)), "d"),
    "log softmax over two axes": (m, x) => m.logSoftmax(x("x", F(t, d)), "t", "d"),
    "rms norm": (m, x) => m.rmsNorm(x("x", F(t, d)), 1e-3, "d"),
    "layer norm over a run-time length": (m, x) => m.layerNorm(x("x", F(t, d)), 1e-3, "t"),
    gelu: (m, x) => m.gelu(x("x", F(t, d))),
    silu: (m, x) => m.silu(x("x", F(t, d))),
    softplus: (m, x) => m.softplus(x("x", F(t, d))),
    clamp: (m, x) => m.clamp(x("x", F(t, d)), -0.5, 0.7),
    "top values": (m, x) => m.add(...(m.top(x("x", F(t, d)), "d", 2).map((y) => m.square(y.value)) as [number, number])),
    "one value used many ways": (m, x) => {
      const a = x("x", F(t, d));
      return m.add(m.mul(a, m.sum(a, "d")), m.dot(m.exp(a), m.rename(a, "t", "s"), "d"));
    },
  };
  it.each(Object.entries(composed))("%s", (title, build) => expect(check({ title, build })).toBeGreaterThan(0));
});

it("shares the gradient of amax among equals", () => {
  const b = new GraphBuilder("ties");
  const m = new Make(b, originAt("ties"));
  const x = m.input("x", F(ax("d", 4)));
  b.output("g", gradients(b, m.amax(x, "d"), [x])[0]!);
  expect([...interpret(b.finish(), { inputs: { x: [1, 3, 3, 0] } }).outputs.g!.data]).toEqual([0, 0.5, 0.5, 0]);
});

it("leaves alone what is not on a path, and says so", () => {
  const b = new GraphBuilder("unused");
  const m = new Make(b, originAt("unused"));
  const [x, y] = [m.input("x", F(ax("d", 2))), m.input("y", F(ax("d", 2)))];
  const loss = m.sum(m.mul(x, m.cast(m.lt(y, x), "f32")), "d");
  expect(reachesLoss(b, loss, [x, y])).toEqual([true, false]);
  const before = b.size;
  const [gx, gy] = gradients(b, loss, [x, y]);
  expect(b.size - before).toBeLessThan(8);
  b.output("gx", gx!);
  b.output("gy", gy!);
  const out = interpret(b.finish(), { inputs: { x: [1, 2], y: [0, 5] } }).outputs;
  expect([...out.gx!.data, ...out.gy!.data]).toEqual([1, 0, 0, 0]);
});

it("refuses a learned attribute in words", () => {
  const b = new GraphBuilder("attr");
  const m = new Make(b, originAt("body[0].attn"));
  const [t, s, e] = [ax("t", "t"), ax("s", "s"), ax("e", 2)];
  const bias = m.input("bias", F(t));
  const y = m.attend(m.input("q", F(t, e)), m.input("k", F(s, e)), m.input("v", F(s, e)), { query: "t", key: "s", width: "e", queryAttrs: { bias } });
  expect(() => gradients(b, m.sum(y, "t", "e"), [bias])).toThrow("cannot be learned yet");
});
