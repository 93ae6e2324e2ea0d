// Every rule keeps its numeric contract on random values, fires on its example, and the engine hands origins over.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dimConst } from "../../compiler/dim/dim.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import type { Contract } from "../../compiler/graph/rewrite.ts";
import { rewrite } from "../../compiler/graph/rewrite.ts";
import { allRules } from "../../compiler/graph/rules/all.ts";
import { inOrder } from "../../compiler/graph/value.ts";
import { sameAxes, verifyGraph } from "../../compiler/graph/verify.ts";
import { allCases, ax, B, buildCase, F, graphOf, I } from "./cases.ts";

const [t, d, e, h] = [ax("t", "t"), ax("d", 3), ax("e", 2), ax("h", 2)];
const lengths = { t: 2 };
const n = (k: number) => dimConst(k);

type Ex = (m: Make) => NodeId;
const x = (m: Make): NodeId => m.input("x", F(t, d));
const y = (m: Make): NodeId => m.input("y", F(d, e));
const c = (m: Make): NodeId => m.input("c", B(t, d));

/** Graphs on which each rule fires; a rule without one fails. */
const examples: Record<string, readonly Ex[]> = {
  add_zero: [(m) => m.add(x(m), m.const(0)), (m) => m.add(m.const(0), x(m)), (m) => m.add(x(m), m.broadcast(m.const(0), e))],
  sub_zero: [(m) => m.sub(x(m), m.const(0))],
  mul_one: [(m) => m.mul(m.const(1), x(m)), (m) => m.mul(m.iota(t), m.const(1, "i32"))],
  div_one: [(m) => m.div(x(m), m.const(1))],
  mul_zero: [(m) => m.mul(x(m), m.const(0))],
  neg_of_neg: [(m) => m.neg(m.neg(x(m)))],
  not_of_not: [(m) => m.not(m.not(c(m)))],
  add_of_neg: [(m) => m.add(x(m), m.neg(y(m))), (m) => m.add(m.neg(y(m)), x(m))],
  sub_of_neg: [(m) => m.sub(x(m), m.neg(y(m)))],
  mul_of_scale: [(m) => m.mul(m.mul(x(m), m.const(3)), m.const(0.7)), (m) => m.mul(m.const(0.7), m.mul(m.const(3), x(m)))],
  div_by_constant: [(m) => m.div(x(m), m.const(3))],
  fold_constants: [(m) => m.mul(x(m), m.add(m.const(2), m.exp(m.const(1)))), (m) => m.cast(m.lt(m.const(1, "i32"), m.const(2, "i32")), "f32")],
  select_constant: [(m) => m.select(m.const(1, "bool"), x(m), y(m)), (m) => m.select(m.const(0, "bool"), x(m), y(m))],
  select_same: [(m) => m.select(m.input("cond", B(h)), x(m), x(m))],
  same_operands: [(m) => m.max(x(m), x(m)), (m) => m.and(c(m), c(m))],
  logic_constant: [(m) => m.and(c(m), m.const(1, "bool")), (m) => m.or(m.const(1, "bool"), c(m)), (m) => m.and(c(m), m.const(0, "bool"))],
  cast_same: [(m) => m.op("cast", [x(m)], { dtype: "f32" })],
  cast_of_cast: [(m) => m.cast(m.cast(c(m), "i32"), "f32")],
  rename_same: [(m) => m.op("rename", [x(m)], { from: "d", to: "d" })],
  rename_of_rename: [(m) => m.rename(m.rename(x(m), "d", "a"), "a", "b"), (m) => m.rename(m.rename(x(m), "d", "a"), "a", "d")],
  rename_of_broadcast: [(m) => m.rename(m.broadcast(x(m), h), "h", "g"), (m) => m.rename(m.broadcast(x(m), h), "d", "g")],
  rename_of_iota: [(m) => m.rename(m.iota(t), "t", "s")],
  slice_whole: [(m) => m.slice(x(m), "d", n(0), n(3))],
  slice_of_slice: [(m) => m.slice(m.slice(x(m), "d", n(1), n(2)), "d", n(1), n(1))],
  slice_of_broadcast: [(m) => m.slice(m.broadcast(x(m), ax("h", 5)), "h", n(1), n(2))],
  slice_of_concat: [(m) => m.slice(m.concat("d", x(m), m.exp(x(m))), "d", n(3), n(2)), (m) => m.slice(m.concat("d", x(m), m.exp(x(m))), "d", n(4), n(2))],
  concat_one: [(m) => m.op("concat", [x(m)], { axis: "d" })],
  merge_of_split: [(m) => m.merge(m.split(m.input("z", F(ax("n", 6))), "n", [d, e]), ["d", "e"], "k")],
  split_of_merge: [(m) => m.split(m.merge(y(m), ["d", "e"], "k"), "k", [d, e])],
  broadcast_in_elementwise: [(m) => m.add(m.broadcast(m.input("b", F(d)), t), x(m)), (m) => m.mul(x(m), m.broadcast(m.broadcast(m.input("b", F(d)), t), e))],
  elementwise_of_broadcast: [(m) => m.exp(m.broadcast(x(m), h)), (m) => m.mul(m.broadcast(x(m), h), m.broadcast(y(m), h)), (m) => m.select(m.broadcast(c(m), h), x(m), m.const(0))],
  sum_of_broadcast: [(m) => m.sum(m.broadcast(x(m), h), "h", "d"), (m) => m.sum(m.broadcast(y(m), t), "t")],
  amax_of_broadcast: [(m) => m.amax(m.broadcast(x(m), h), "h", "d")],
  sum_of_sum: [(m) => m.sum(m.sum(x(m), "d"), "t")],
  amax_of_amax: [(m) => m.amax(m.amax(x(m), "d"), "t")],
  reduce_nothing: [(m) => m.op("sum", [x(m)], { axes: [] })],
  dot_of_nothing: [(m) => m.op("dot", [x(m), y(m)], { axes: [] })],
  dot_of_broadcast: [
    (m) => m.dot(m.broadcast(m.input("b", F(d)), t), x(m), "d", "t"),
    (m) => m.dot(x(m), m.broadcast(y(m), t), "d"),
    (m) => m.dot(m.broadcast(x(m), h), y(m), "d"),
  ],
  slice_of_split: [(m) => m.slice(m.split(m.input("z", F(ax("n", 6))), "n", [d, e]), "d", n(1), n(2))],
  concat_of_slices: [
    (m) => m.concat("d", m.slice(x(m), "d", n(0), n(1)), m.slice(x(m), "d", n(1), n(2))),
    (m) => m.concat("d", m.exp(x(m)), m.slice(x(m), "d", n(0), n(2)), m.slice(x(m), "d", n(2), n(1)), x(m)),
  ],
  reduce_one: [
    (m) => m.sum(m.slice(x(m), "d", n(1), n(1)), "d"),
    (m) => m.amax(m.exp(m.slice(y(m), "d", n(1), n(1))), "d", "e"),
  ],
  slice_of_classes: [
    (m) => {
      const g = m.groupBy(m.iota(ax("d", 3)), n(3));
      return m.slice(m.op("grouped_dw", [x(m), y(m), g.order, g.offset], { rows: g.rows, classes: ax("c", 3), first: 0, axes: [] }), "c", n(1), n(2));
    },
    (m) => m.slice(m.groupedSum(x(m), m.groupBy(m.iota(ax("d", 3)), n(3)), "c"), "c", n(2), n(1)),
  ],
  add_of_sums: [(m) => {
    const g = m.groupBy(m.iota(ax("d", 3)), n(3));
    const w = m.input("w", F(d, e, h));
    const of = (a: NodeId): NodeId => m.groupedDot(a, m.rename(w, "d", "c"), g, "c", "e");
    return m.add(m.sum(of(m.sin(y(m))), "d"), m.sum(of(m.cos(y(m))), "d"));
  }],
  add_of_merges: [(m) => m.add(m.merge(y(m), ["e", "d"], "k"), m.merge(m.exp(y(m)), ["e", "d"], "k"))],
  sum_of_product: [(m) => m.sum(m.mul(x(m), y(m)), "d")],
};

function graph(f: Ex): Graph {
  const b = new GraphBuilder("example");
  b.output("y", f(new Make(b, originAt("body[0]"))));
  return b.finish();
}

function inputsFor(g: Graph, floats: fc.Arbitrary<number>): fc.Arbitrary<Record<string, number[]>> {
  const sizes: Record<string, number> = { t: 2, s: 2, d: 3, e: 2, h: 2, n: 6, k: 6 };
  const parts: Record<string, fc.Arbitrary<number[]>> = {};
  for (const node of g.nodes)
    if (node.op === "input") {
      const size = node.type.axes.reduce((p, a) => p * sizes[a.name]!, 1);
      parts[node.attrs.name] = fc.array(node.type.dtype === "bool" ? fc.nat(1) : floats, { minLength: size, maxLength: size });
    }
  return fc.record(parts);
}

const tame = fc.double({ min: -1e3, max: 1e3, noNaN: true });
const wild = fc.oneof(tame, fc.constantFrom(0, -0, 1e300, -1e300, 1e-320, Infinity, -Infinity, NaN));

function agree(contract: Contract, a: number, b: number): boolean {
  if (contract === "reassociates") return Math.abs(a - b) <= 1e-9 * (1 + Math.abs(a));
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}

describe("each rule", () => {
  it.each(allRules.map((r) => [r.name, r] as const))("%s", (name, r) => {
    const list = examples[name];
    expect(list, "has an example").toBeDefined();
    for (const f of list!) {
      const g = graph(f);
      let fired = 0;
      const after = rewrite(g, [r], { fired: () => fired++ });
      expect(fired).toBeGreaterThan(0);
      expect(verifyGraph(after)).toEqual([]);
      const [before, now] = [g.nodes[g.outputs[0]!.node]!, after.nodes[after.outputs[0]!.node]!];
      expect(sameAxes(before.type, now.type)).toBe(true);
      expect(after.nodes.every((m) => m.origin.path === "body[0]")).toBe(true);
      // Sums of wild values overflow at different places, so only the exact rules meet infinities and NaNs.
      fc.assert(fc.property(inputsFor(g, r.contract === "exact" ? wild : tame), (inputs) => {
        const [p, q] = [interpret(g, { inputs, lengths }).outputs.y!, inOrder(interpret(after, { inputs, lengths }).outputs.y!, before.type)];
        return p.data.length === q.data.length && p.data.every((v, i) => agree(r.contract, v, q.data[i]!));
      }), { numRuns: 40 });
    }
  });
  it("has no example without a rule", () => expect(Object.keys(examples).sort()).toEqual(allRules.map((r) => r.name).sort()));
});

describe("all rules together", () => {
  it.each(allCases)("keep the meaning of %s: %s", (_, __, k) => {
    const g = graphOf(k);
    const { inputs, lengths: l } = buildCase(k);
    const after = rewrite(g, allRules);
    expect(verifyGraph(after)).toEqual([]);
    const [p, q] = [interpret(g, { inputs, lengths: l }).outputs.y!, interpret(after, { inputs, lengths: l }).outputs.y!];
    inOrder(q, p.type).data.forEach((v, i) => expect(v).toBeCloseTo(p.data[i]!, 9));
  });
  it("bring a chain of them to rest", () => {
    const after = rewrite(graph((m) => m.sum(m.mul(m.broadcast(m.neg(m.neg(x(m))), h), m.const(1)), "h")), allRules);
    expect(after.nodes.map((k) => k.op)).toEqual(["input", "const", "mul"]);
    expect(after.nodes.at(-1)!.origin.via).toContain("sum_of_broadcast");
  });
  it("keep the count over a run-time length, once", () => {
    const after = rewrite(graph((m) => m.mean(m.broadcast(m.input("b", F(d)), t), "t")), allRules);
    expect(after.nodes.filter((k) => k.op === "sum").length).toBe(1);
  });
  it("keep integers out of float rules", () => {
    const g = graph((m) => m.div(m.input("i", I(t)), m.const(2, "i32")));
    expect([...interpret(rewrite(g, allRules), { inputs: { i: [7, -7] }, lengths }).outputs.y!.data]).toEqual([3, -3]);
  });
});
