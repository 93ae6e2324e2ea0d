// The text form reads back to the same graph, verification accepts what the builder makes, and both refuse what is broken.

import { describe, expect, it } from "vitest";
import { dimAdd, dimConst, dimDiv, dimMul, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph } from "../../compiler/graph/graph.ts";
import { opNames } from "../../compiler/graph/infer.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { printGraph } from "../../compiler/graph/print.ts";
import { readGraph } from "../../compiler/graph/read.ts";
import { rewrite } from "../../compiler/graph/rewrite.ts";
import { allRules } from "../../compiler/graph/rules/all.ts";
import { verifyGraph } from "../../compiler/graph/verify.ts";
import { allCases, ax, buildCase, cases, F, graphOf } from "./cases.ts";

it("has a case for every op", () => expect(Object.keys(cases).sort()).toEqual([...opNames].sort()));

describe.each(allCases)("%s: %s", (_, __, c) => {
  it("prints, reads back and verifies", () => {
    const g = graphOf(c);
    expect(verifyGraph(g)).toEqual([]);
    const text = printGraph(g);
    expect(readGraph(text)).toEqual(g);
    expect(printGraph(readGraph(text))).toBe(text);
  });
  it("rounds to f32 near the float64 result", () => {
    const { inputs, lengths } = buildCase(c);
    const rounded = Object.fromEntries(Object.entries(inputs).map(([n, x]) => [n, x.map(Math.fround)]));
    const g = graphOf(c);
    const [a, b] = [interpret(g, { inputs: rounded, lengths }).outputs.y!, interpret(g, { inputs: rounded, lengths, f32: true }).outputs.y!];
    expect(a.data.length).toBeGreaterThan(0);
    a.data.forEach((x, i) => expect(Math.abs(b.data[i]! - x)).toBeLessThanOrEqual(3e-6 * (1 + Math.abs(x))));
  });
});

describe("text", () => {
  it("keeps odd names, sizes, origins and states", () => {
    const b = new GraphBuilder("a step");
    const origin = { spans: [{ source: "my specs/a.heddle", start: 3, end: 9 }, { source: "b.heddle", start: 1, end: 2 }], path: "body[3].attn.\"w\"", via: ["backward", "remat body[3]"] };
    const m = new Make(b, origin);
    const width = dimDiv(dimAdd(dimMul(dimVar("n"), dimVar("n")), dimConst(1)), dimVar("k"));
    const x = m.input("body[0].w", F({ name: "image.features", size: width! }, { name: "of two", size: dimConst(-0 + 2) }, ax("t", "t")));
    b.output("new value", m.mul(x, m.const(-0)), "body[0].w");
    const g = b.finish();
    expect(g.lengths).toEqual(["k", "n", "t"]);
    expect(readGraph(printGraph(g))).toEqual(g);
  });
  it("reads hand-written text without origins", () => {
    const g = readGraph("graph f (t)\n%0 = input() name=x type=f32[t] : f32[t]\n\n// a comment\n%1 = exp(%0) : f32[t]\noutput y = %1\n");
    expect(verifyGraph(g)).toEqual([]);
    expect([...interpret(g, { inputs: { x: [0, 1] }, lengths: { t: 2 } }).outputs.y!.data]).toEqual([1, Math.E]);
  });
  it("says where text is wrong", () => {
    expect(() => readGraph("graph f ()\n%0 = frobnicate() : f32[]")).toThrow("line 2, column 16: expected an op");
    expect(() => readGraph("graph f ()\n%0 = const() value=1 : f32[]")).toThrow("expected `dtype=`");
  });
});

describe("verification finds", () => {
  const good = readGraph("graph f (t)\n%0 = input() name=x type=f32[t] : f32[t]\n%1 = exp(%0) : f32[t]\noutput y = %1\n");
  const broken: [string, (g: Graph) => Graph, string][] = [
    ["a wrong type", (g) => ({ ...g, nodes: g.nodes.map((n) => (n.op === "exp" ? { ...n, type: F() } : n)) }), "its operands make f32[t]"],
    ["a late operand", (g) => ({ ...g, nodes: g.nodes.map((n) => (n.op === "exp" ? { ...n, args: [1] } : n)) }), "does not come before it"],
    ["a lost output", (g) => ({ ...g, outputs: [{ name: "y", node: 7 }] }), "has no node"],
    ["a missing origin", (g) => ({ ...g, nodes: g.nodes.map((n) => ({ ...n, origin: { spans: [], path: "", via: [] } })) }), "has no origin"],
    ["an unknown length", (g) => ({ ...g, lengths: [] }), "length `t` is not declared"],
    ["a state written twice", (g) => ({ ...g, outputs: [{ name: "a", node: 1, into: "s" }, { name: "b", node: 1, into: "s" }] }), "written twice"],
  ];
  it.each(broken)("%s", (_, breakIt, message) => {
    expect(verifyGraph(good)).toEqual([]);
    expect(verifyGraph(breakIt(good)).map((p) => p.message).join("; ")).toContain(message);
  });
});

describe("the builder", () => {
  it("shares equal nodes and joins their origins, but not random ones", () => {
    const b = new GraphBuilder("share");
    const at = (start: number) => new Make(b, { spans: [{ source: "a", start, end: start + 1 }], path: "p", via: [] });
    const x = at(0).input("x", F(ax("t", "t")));
    expect(at(1).exp(x)).toBe(at(2).exp(x));
    expect(b.node(at(1).exp(x)).origin.spans.map((s) => s.start)).toEqual([1, 2]);
    const r = () => at(3).random("normal", 1, [ax("t", "t")], at(3).const(1, "u32"), at(3).const(1, "u32"));
    expect(r()).not.toBe(r());
    expect(at(1).at({ ...originAt("p"), via: ["remat p"] }).exp(x)).not.toBe(at(1).exp(x));
  });
  it("drops what no output needs", () => {
    const b = new GraphBuilder("dead");
    const m = new Make(b, originAt("p"));
    m.exp(m.const(1));
    b.output("y", m.const(2));
    expect(b.finish().nodes.length).toBe(1);
  });
});

describe("memory order", () => {
  const [t, d] = [ax("t", "t"), ax("d", 2)];
  const order = (g: Graph, name: string): string[] => g.nodes[g.outputs.find((o) => o.name === name)!.node]!.type.axes.map((a) => a.name);
  it("is chosen freely where an op can, copied where it cannot, and survives rewriting", () => {
    const b = new GraphBuilder("order");
    const m = new Make(b, originAt("p"));
    const x = m.input("x", F(t, d));
    const y = m.add(m.exp(x), m.const(0));
    b.output("free", b.ordered(y, ["d", "t"], originAt("p")));
    b.output("copy", b.ordered(x, ["d", "t"], originAt("p")));
    b.output("plain", x);
    for (const g of [b.finish(), rewrite(b.finish(), allRules)]) {
      expect(verifyGraph(g)).toEqual([]);
      expect(readGraph(printGraph(g))).toEqual(g);
      expect([order(g, "free"), order(g, "copy"), order(g, "plain")]).toEqual([["d", "t"], ["d", "t"], ["t", "d"]]);
      const out = interpret(g, { inputs: { x: [0, 1, 2, 3] }, lengths: { t: 2 } }).outputs;
      expect([...out.copy!.data]).toEqual([0, 2, 1, 3]);
      expect([...out.free!.data]).toEqual([0, 2, 1, 3].map(Math.exp));
    }
  });
});
