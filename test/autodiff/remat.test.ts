// Recomputing inside blocks changes no bit of any result, and fewer forward values live on into the backward part.

import { describe, expect, it } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { backwardNodes, blockOfPath, rematerialise } from "../../compiler/autodiff/remat.ts";
import { dimConst } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { printGraph } from "../../compiler/graph/print.ts";
import { readGraph } from "../../compiler/graph/read.ts";
import { rewrite } from "../../compiler/graph/rewrite.ts";
import { allRules } from "../../compiler/graph/rules/all.ts";
import { verifyGraph } from "../../compiler/graph/verify.ts";
import { attr, binary } from "../../compiler/scalar/expr.ts";
import { ax, F, I, spread } from "../graph/cases.ts";

const [t, s, d, h, e, f] = [ax("t", "t"), ax("s", "t"), ax("d", 4), ax("h", 2), ax("e", 2), ax("f", 6)];

/** Three transformer blocks, a mean square loss, and the gradient of every weight. */
function model(blocks: number): { graph: Graph; inputs: Record<string, number[]> } {
  const b = new GraphBuilder("train");
  const inputs: Record<string, number[]> = { x: spread(12, 1), pos: [0, 1, 2] };
  const wrt: [string, NodeId][] = [];
  const root = new Make(b, originAt("root"));
  let x = root.input("x", F(t, d));
  const pos = root.input("pos", I(t));
  const keyPos = root.rename(pos, "t", "s");
  for (let i = 0; i < blocks; i++) {
    const m = new Make(b, originAt(`body[${i}]`));
    const weight = (name: string, ...axes: Parameters<typeof F>): NodeId => {
      const id = m.state(`body[${i}].${name}`, F(...axes));
      inputs[`body[${i}].${name}`] = spread(axes.reduce((p, a) => p * Number(a.size.terms[0]!.coef), 1), i * 7 + name.length, [-0.8, 0.8]);
      wrt.push([`body[${i}].${name}`, id]);
      return id;
    };
    const y = m.mul(m.rmsNorm(x, 1e-5, "d"), weight("gain", d));
    const wq = m.dot(y, weight("wq", d, h, e), "d");
    const q = m.rope(wq, "e", m.cast(pos, "f32"));
    const k = m.rename(m.rope(m.dot(y, weight("wkey", d, h, e), "d"), "e", m.cast(pos, "f32")), "t", "s");
    const v = m.rename(m.dot(y, weight("wvalu", d, h, e), "d"), "t", "s");
    const o = m.attend(q, k, v, { query: "t", key: "s", width: "e", mask: binary("le", attr("k", "pos"), attr("q", "pos")), queryAttrs: { pos }, keyAttrs: { pos: keyPos } });
    x = m.add(x, m.dot(o, weight("wo", h, e, d), "h", "e"));
    const seed = m.const(i, "u32");
    const keep = m.cast(m.lt(m.random("uniform", i, [t, d], seed, seed), m.const(0.8)), "f32");
    x = m.add(x, m.mul(keep, m.dot(m.silu(m.dot(m.rmsNorm(x, 1e-5, "d"), weight("up", d, f), "d")), weight("down__", f, d), "f")));
  }
  const loss = root.mean(root.square(x), "t", "d");
  b.output("loss", loss);
  const grads = gradients(b, loss, wrt.map(([, id]) => id));
  wrt.forEach(([n, id], i) => b.output(`d ${n}`, b.ordered(grads[i]!, b.type(id).axes.map((a) => a.name), originAt(n))));
  return { graph: b.finish(), inputs };
}

/** Elements of forward values that the backward part reads. */
function held(g: Graph): number {
  const back = backwardNodes(g);
  const kept = new Set(g.nodes.filter((n) => back.has(n.id)).flatMap((n) => n.args.filter((a) => !back.has(a) && !g.nodes[a]!.origin.via.includes("remat"))));
  return [...kept].filter((a) => !["state", "input", "const", "iota"].includes(g.nodes[a]!.op)).length;
}

const run = (g: Graph, inputs: Record<string, number[]>) => interpret(g, { inputs, state: inputs, lengths: { t: 3, s: 3 } }).outputs;

describe("rematerialisation", () => {
  const { graph, inputs } = model(3);
  const after = rematerialise(graph);
  it("changes no bit", () => {
    expect(verifyGraph(after)).toEqual([]);
    const [a, b] = [run(graph, inputs), run(after, inputs)];
    expect(Object.keys(b)).toEqual(Object.keys(a));
    for (const [name, v] of Object.entries(a)) {
      expect(v.data.some((x) => x !== 0)).toBe(true);
      expect([...b[name]!.data]).toEqual([...v.data]);
    }
  });
  it("holds fewer forward values, and only recomputes blocks before the last", () => {
    expect(held(after)).toBeLessThan(held(graph) * 0.6);
    const copies = after.nodes.filter((n) => n.origin.via.includes("remat"));
    expect(new Set(copies.map((n) => blockOfPath(n.origin.path)))).toEqual(new Set(["body[0]", "body[1]"]));
    expect(copies.some((n) => n.op === "attend")).toBe(false);
  });
  it("keeps its copies apart through rewriting and through text", () => {
    const rewritten = rewrite(after, allRules);
    expect(rewritten.nodes.filter((n) => n.origin.via.includes("remat")).length).toBeGreaterThan(10);
    expect(held(rewritten)).toBeLessThan(held(rewrite(graph, allRules)) * 0.7);
    const [a, b] = [run(graph, inputs), run(rewritten, inputs)];
    for (const [name, v] of Object.entries(a)) b[name]!.data.forEach((x, i) => expect(x).toBeCloseTo(v.data[i]!, 10));
    expect(readGraph(printGraph(after))).toEqual(after);
  });
  it("puts the log-sum next to its attention", () => {
    after.nodes.forEach((n, i) => { if (n.op === "attend") expect(after.nodes[i + 1]!.op).toBe("attend_lse"); });
    expect(after.nodes.filter((n) => n.op === "attend_lse").length).toBe(3);
  });
  it("makes every copy late: after the gradient that enters its block", () => {
    const first = after.nodes.findIndex((n) => n.origin.via.includes("backward"));
    const copy = after.nodes.findIndex((n) => n.origin.via.includes("remat"));
    expect(copy).toBeGreaterThan(first);
    const block0 = after.nodes.findIndex((n) => n.origin.via.includes("remat") && n.origin.path.startsWith("body[0]"));
    const backward1 = after.nodes.findIndex((n) => n.origin.via.includes("backward") && n.origin.path.startsWith("body[1]"));
    expect(block0).toBeGreaterThan(backward1);
  });
  it("leaves a graph without a backward part alone", () => {
    const b = new GraphBuilder("forward");
    b.output("y", new Make(b, originAt("body[0]")).const(1));
    const g = b.finish();
    expect(rematerialise(g)).toBe(g);
  });
  it("matches differences on the whole model", () => {
    const out = run(graph, inputs);
    for (const name of ["body[0].wq", "body[1].gain", "body[2].down__"]) {
      const moved = (by: number): number => run({ ...graph, outputs: graph.outputs.slice(0, 1) }, { ...inputs, [name]: inputs[name]!.map((x, i) => (i === 1 ? x + by : x)) }).loss!.data[0]!;
      expect(out[`d ${name}`]!.data[1]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 7);
    }
  });
});

it("chooses and groups rows once", () => {
  const b = new GraphBuilder("routed");
  const experts = ax("experts", 3);
  const inputs: Record<string, number[]> = { x: spread(12, 1) };
  let x = new Make(b, originAt("root")).input("x", F(t, d));
  const wrt: NodeId[] = [];
  for (let i = 0; i < 3; i++) {
    const m = new Make(b, originAt(`body[${i}]`));
    const weight = (name: string, ...axes: Parameters<typeof F>): NodeId => {
      inputs[`${name}${i}`] = spread(axes.reduce((p, a) => p * Number(a.size.terms[0]!.coef), 1), i * 7 + name.length, [-0.8, 0.8]);
      wrt.push(m.state(`${name}${i}`, F(...axes)));
      return wrt[wrt.length - 1]!;
    };
    const scores = m.softmax(m.dot(x, weight("gate", d, experts), "d"), "experts");
    const cls = m.topOrder(scores, "experts", ax("choice", 2));
    const g = m.groupBy(cls, dimConst(3));
    const y = m.groupedDot(m.silu(m.groupedDot(x, weight("up", experts, d, f), g, "experts", "d")), weight("down", experts, f, d), g, "experts", "f");
    x = m.add(x, m.sum(m.mul(m.gather(scores, "experts", cls), y), "choice"));
  }
  const m = new Make(b, originAt("root"));
  gradients(b, m.mean(m.square(x), "t", "d"), wrt).forEach((g, i) => b.output(`d${i}`, g));
  const graph = b.finish();
  const after = rematerialise(graph);
  const count = (op: string): number => after.nodes.filter((n) => n.op === op).length;
  expect([count("top"), count("group_order"), count("group_offset")]).toEqual([3, 3, 3]);
  expect(count("grouped_dot")).toBeGreaterThan(graph.nodes.filter((n) => n.op === "grouped_dot").length);
  const [want, got] = [run(graph, inputs), run(after, inputs)];
  for (const [name, v] of Object.entries(want)) expect([...got[name]!.data]).toEqual([...v.data]);
});

it("names the block of a path", () => {
  expect(blockOfPath("body[3].attn[1].wq")).toBe("body[3]");
  expect(blockOfPath("encoder.body[12]")).toBe("encoder.body[12]");
  expect(blockOfPath("head.text")).toBeUndefined();
});
