// Branches of a route: their weights are one stack, and each branch's gradient is summed straight into its own place.

import { expect, it } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { rewrite } from "../../compiler/graph/rewrite.ts";
import { allRules } from "../../compiler/graph/rules/all.ts";
import { sumByClass } from "../../compiler/graph/sum_by_class.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import { check, dispatchesOf, namesOf, targets } from "./check.ts";

const [t, d, h, batch] = [ax("t", "t"), ax("d", 6), ax("h", 5), ax("batch", "batch")];
const branches = ["left", "middle", "right"];

/** Three branches of which the middle one is not trained; each with a matrix and a bias. */
function routed(): { graph: Graph; state: Record<string, number[]> } {
  const b = new GraphBuilder("grad");
  const m = new Make(b, originAt("body[0].ffn"));
  const own = (name: string, ...axes: typeof d[]): NodeId => m.state(name, F(...axes));
  const stack = (ids: readonly NodeId[]): NodeId => m.concat("branch", ...ids.map((w) => m.broadcast(w, ax("branch", 1))));
  const [w, bias] = [branches.map((n) => own(`${n}.w`, d, h)), branches.map((n) => own(`${n}.b`, h))];
  const cls = m.input("class", I(batch, t));
  const g = m.groupBy(cls, dimConst(3));
  const y = m.groupedDot(m.input("x", F(batch, t, d)), stack(w), g, "branch", "d");
  const shifted = m.add(y, m.gather(stack(bias), "branch", m.max(cls, m.const(0, "i32"))));
  const somewhere = m.cast(m.le(m.const(0, "i32"), cls), "f32");
  const loss = m.sum(m.mul(m.square(shifted), somewhere), "batch", "t", "h");
  const trained = [0, 2];
  const wrt = trained.flatMap((i) => [w[i] as NodeId, bias[i] as NodeId]);
  const grads = gradients(b, loss, wrt);
  trained.forEach((i, k) => {
    for (const [j, [what, ...axes]] of ([["w", d, h], ["b", h]] as const).entries()) {
      const name = `d.${branches[i] as string}.${what}`;
      m.state(name, F(...axes));
      b.output(name, b.ordered(grads[2 * k + j] as NodeId, axes.map((a) => a.name), originAt(name)), name);
    }
  });
  const state: Record<string, number[]> = {};
  branches.forEach((n, i) => {
    state[`${n}.w`] = spread(30, i);
    state[`${n}.b`] = spread(5, 7 + i);
    state[`d.${n}.w`] = spread(30, 20);
    state[`d.${n}.b`] = spread(5, 20);
  });
  return { graph: sumByClass(rewrite(b.finish(), allRules)), state };
}

const inputs = { x: spread(48, 3), class: [0, 2, 2, -1, 1, 0, 0, 2] };

it("sums the gradients of the trained branches, and of no other", () => {
  const { graph, state } = routed();
  const sums = graph.nodes.flatMap((n) => (n.op === "grouped_dw" ? [n.attrs.first] : []));
  expect(sums.sort()).toEqual([0, 2]);
  check(graph, { inputs, state, lengths: { batch: 2, t: 4 } });
  check(graph, { inputs: { ...inputs, class: [1, 1, 1, 1, 1, 1, 1, 1] }, state, lengths: { batch: 2, t: 4 } });
});

it("writes each where it belongs, without a copy", () => {
  const { graph } = routed();
  for (const target of targets) {
    const program = scheduleGraph(graph, target, templates);
    for (const n of ["left", "right"])
      for (const [what, kernel] of [["w", "sums by class"], ["b", "sum by class"]]) {
        const by = dispatchesOf(program).filter((x) => x.kernel.operands.some((o) => o.access !== "read" && x.bind[o.name] === `d.${n}.${what as string}`));
        expect(by.map((x) => x.kernel.name)).toEqual([expect.stringContaining(kernel as string)]);
      }
  }
});

it("sums the experts of one branch together", () => {
  const b = new GraphBuilder("nested");
  const m = new Make(b, originAt("body[0].ffn"));
  const experts = ax("experts", 3);
  const stacks = ["left", "right"].map((n) => m.state(n, F(experts, d, h)));
  const w = m.merge(m.concat("branch", ...stacks.map((s) => m.broadcast(s, ax("branch", 1)))), ["branch", "experts"], "class");
  const y = m.groupedDot(m.input("x", F(batch, t, d)), w, m.groupBy(m.input("class", I(batch, t)), dimConst(6)), "class", "d");
  const [grad] = gradients(b, m.sum(m.square(y), "batch", "t", "h"), [stacks[1] as NodeId]);
  b.output("y", y);
  b.output("d", b.ordered(grad as NodeId, ["experts", "d", "h"], originAt("d")));
  const graph = rewrite(b.finish(), allRules);
  expect(graph.nodes.flatMap((n) => (n.op === "grouped_dw" ? [n.attrs.first] : []))).toEqual([3]);
  check(graph, { inputs: { x: spread(48, 3), class: [0, 5, 3, -1, 1, 3, 4, 4] }, state: { left: spread(90, 1), right: spread(90, 2) }, lengths: { batch: 2, t: 4 } });
});

it("gives tokens back what experts took, and their gradients", () => {
  // Each of two experts takes three tokens of the batch, some of them twice.
  const b = new GraphBuilder("back");
  const m = new Make(b, originAt("body[0].ffn"));
  const [experts, slot] = [ax("experts", 2), ax("slot", "s")];
  const x = m.input("x", F(batch, t, d));
  const flat = m.merge(x, ["batch", "t"], "token");
  const index = m.input("index", I(experts, slot));
  const y = m.dot(m.gather(flat, "token", index), m.state("w", F(experts, d, h)), "d");
  const out = m.scatterAdd(y, m.axis(flat, "token"), index);
  const [gx, gw] = gradients(b, m.sum(m.square(out), "token", "h"), [x, m.state("w", F(experts, d, h))]);
  [out, gx, gw].forEach((n, i) => b.output(`y${i}`, n as NodeId));
  const graph = sumByClass(rewrite(b.finish(), allRules));
  expect(graph.nodes.filter((n) => n.op === "group_order")).toHaveLength(1);
  check(graph, { inputs: { x: spread(36, 3), index: [5, 0, 2, 2, 5, 1] }, state: { w: spread(60, 1) }, lengths: { batch: 2, t: 3, s: 3 } });
});
