// The pass that makes group-bys of scatter_add keeps meaning, types and memory order, and shares group-bys.

import { expect, it } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { sumByClass } from "../../compiler/graph/sum_by_class.ts";
import { sameType, verifyGraph } from "../../compiler/graph/verify.ts";
import { ax, buildCase, cases, F, graphOf, I } from "./cases.ts";

const [t, d, batch] = [ax("t", "t"), ax("d", 4), ax("batch", "batch")];
const count = (g: Graph, op: string): number => g.nodes.filter((n) => n.op === op).length;

it.each(cases.scatter_add.map((c) => [c.title, c] as const))("keeps %s", (_, c) => {
  const g = graphOf(c);
  const after = sumByClass(g);
  const { inputs, lengths } = buildCase(c);
  expect(verifyGraph(after)).toEqual([]);
  expect(count(after, "scatter_add")).toBe(0);
  const [a, b] = [g.nodes[g.outputs[0]!.node]!, after.nodes[after.outputs[0]!.node]!];
  expect(sameType(a.type, b.type)).toBe(true);
  expect([...interpret(after, { inputs, lengths }).outputs.y!.data]).toEqual([...interpret(g, { inputs, lengths }).outputs.y!.data]);
});

function build(f: (m: Make) => void): Graph {
  const b = new GraphBuilder("sums");
  f(new Make(b, originAt("embed")));
  return b.finish();
}

it("groups the rows of one index once, and with those who route by it", () => {
  const g = sumByClass(build((m) => {
    const index = m.input("i", I(batch, t));
    m.builder.output("a", m.scatterAdd(m.input("a", F(batch, t, d)), ax("v", 9), index));
    m.builder.output("b", m.scatterAdd(m.input("b", F(t, batch)), ax("v", 9), index));
    m.builder.output("c", m.groupedDot(m.input("x", F(batch, t, d)), m.input("w", F(ax("v", 9), d)), m.groupBy(index, ax("v", 9).size), "v", "d"));
    m.builder.output("other size", m.scatterAdd(m.input("a", F(batch, t, d)), ax("v", 8), index));
  }));
  expect([count(g, "group_order"), count(g, "group_offset"), count(g, "grouped_sum")]).toEqual([2, 2, 3]);
});

it("sums into an axis of run-time size, in the order that was asked for", () => {
  const g = build((m) => {
    const y = m.scatterAdd(m.input("a", F(batch, t, d)), { name: "s", size: dimVar("s") }, m.input("i", I(batch, t)));
    m.builder.output("y", m.builder.ordered(y, ["d", "s"], originAt("embed")));
  });
  const given = { inputs: { a: Array.from({ length: 16 }, (_, i) => i), i: [2, 0, 2, 2] }, lengths: { batch: 2, t: 2, s: 3 } };
  const [want, got] = [interpret(g, given).outputs.y!, interpret(sumByClass(g), given).outputs.y!];
  expect(got.type).toEqual(want.type);
  expect([...got.data]).toEqual([...want.data]);
});

it("leaves nothing of a gradient to scatter", () => {
  const g = sumByClass(build((m) => {
    const [table, x] = [m.state("table", F(ax("v", 9), d)), m.input("x", F(batch, t, d))];
    const [a, b] = [m.gather(table, "v", m.input("i", I(batch, t))), m.gather(x, "t", m.input("j", I(batch, ax("s", "s"))))];
    const loss = m.add(m.sum(m.square(a), "batch", "t", "d"), m.sum(m.square(b), "batch", "s", "d"));
    gradients(m.builder, loss, [table, x]).forEach((n, i) => m.builder.output(`g${i}`, n));
  }));
  expect(verifyGraph(g)).toEqual([]);
  expect([count(g, "scatter_add"), count(g, "grouped_sum")]).toEqual([0, 2]);
});

it("sums what somebody reads of the places, and no others", () => {
  const g = build((m) => {
    const y = m.scatterAdd(m.input("a", F(batch, t, d)), ax("v", 5), m.input("i", I(batch, t)));
    m.builder.output("y", m.slice(m.slice(y, "v", dimConst(1), dimConst(3)), "v", dimConst(1), dimConst(1)));
  });
  const after = sumByClass(g);
  expect(after.nodes.flatMap((n) => (n.op === "grouped_sum" || n.op === "slice" ? [n.attrs] : []))).toMatchObject([{ first: 2 }]);
  const given = { inputs: { a: Array.from({ length: 16 }, (_, i) => i), i: [2, 0, 2, 4] }, lengths: { batch: 2, t: 2 } };
  expect(interpret(after, given).outputs.y).toEqual(interpret(g, given).outputs.y);
});
