// Weights of branches that lie side by side in one buffer: read where they are, one load a value, never copied.

import { afterAll, describe, expect, test } from "vitest";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import type { Stmt } from "../../compiler/kernel/kernel.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import { printKernel, printProgram } from "../../compiler/kernel/print.ts";
import { readKernel, readProgram } from "../../compiler/kernel/read.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { verifyProgram } from "../../compiler/kernel/verify.ts";
import { eachStmt } from "../../compiler/kernel/walk.ts";
import { check, dispatchesOf, targets } from "../fuse/check.ts";
import { closeGpu, runOnGpu } from "../gpu/run_program.ts";
import { spread } from "../graph/cases.ts";

afterAll(closeGpu);

const [t, d, h] = [{ name: "t", size: dimVar("t") }, { name: "d", size: dimConst(4) }, { name: "h", size: dimConst(3) }];
const branch = (n: number): Axis => ({ name: "branch", size: dimConst(n) });

/** x by the matrix of its branch, each branch a state of its own; `per` matrices each. Inputs and states with it. */
function stacked(branches: number, per: number) {
  const builder = new GraphBuilder("stack");
  const m = new Make(builder, originAt("body"));
  const parts = Array.from({ length: branches }, (_, i) => (per === 1
    ? m.broadcast(m.state(`params/w${i}`, { dtype: "f32", axes: [d, h] }), branch(1))
    : m.state(`params/w${i}`, { dtype: "f32", axes: [branch(per), d, h] })));
  const bias = m.concat("branch", ...Array.from({ length: branches }, (_, i) => m.broadcast(m.state(`params/b${i}`, { dtype: "f32", axes: [h] }), branch(1))));
  const cls = m.input("e", { dtype: "i32", axes: [t] });
  const count = branches * per;
  const g = m.groupBy(cls, dimConst(count));
  const y = m.groupedDot(m.input("x", { dtype: "f32", axes: [t, d] }), m.concat("branch", ...parts), g, "branch", "d");
  builder.output("y", per === 1 ? m.add(y, m.gather(bias, "branch", m.max(cls, m.const(0, "i32")))) : y);
  const lengths = { t: 11 };
  return {
    graph: builder.finish(), lengths,
    inputs: { e: Array.from({ length: lengths.t }, (_, i) => ((i * 5) % (count + 1)) - 1), x: spread(lengths.t * 4, 1) },
    state: { ...Object.fromEntries(parts.map((_, i) => [`params/w${i}`, spread(per * 12, i + 2)])), ...(per === 1 ? Object.fromEntries(parts.map((_, i) => [`params/b${i}`, spread(3, i + 9)])) : {}) },
  };
}

const loads = (graph: Graph): (Stmt & { kind: "load" })[] => {
  const out: (Stmt & { kind: "load" })[] = [];
  for (const k of dispatchesOf(scheduleGraph(graph, software, templates))) eachStmt(k.kernel.body, (s) => { if (s.kind === "load") out.push(s); });
  return out;
};

describe.each([[2, 1], [3, 1], [8, 1], [2, 2]])("%i branches of %i", (branches, per) => {
  test("mean what they mean", () => {
    const { graph, inputs, state, lengths } = stacked(branches, per);
    check(graph, { inputs, state, lengths });
  });

  test("are loaded from one branch only", () => {
    const { graph } = stacked(branches, per);
    const all = loads(graph).filter((s) => s.from.includes("params_w"));
    expect(all.length).toBeGreaterThan(0);
    for (const s of all) expect(s.among?.or.length).toBe(branches - 1);
  });

  test("are copied nowhere, and a kernel says so in text", () => {
    const { graph } = stacked(branches, per);
    for (const target of targets) {
      const program = scheduleGraph(graph, target, templates);
      expect(program.tensors.filter((x) => x.kind === "temp" && x.axes.some((a) => a.name === "branch"))).toEqual([]);
      for (const { kernel } of dispatchesOf(program)) expect(printKernel(readKernel(printKernel(kernel)))).toBe(printKernel(kernel));
    }
  });
});

test("on an adapter, where the parts are fields of one buffer", async () => {
  const { graph, inputs, state, lengths } = stacked(3, 1);
  const want = interpret(graph, { inputs, state, lengths }).outputs["y"]?.data ?? [];
  const program = scheduleGraph(graph, software, templates);
  const fields = Object.entries(state).map(([n, values], i, all) => ({
    name: n.slice("params/".length), shape: [values.length], axes: ["n"], offset: all.slice(0, i).reduce((sum, [, v]) => sum + v.length, 0),
  }));
  const size = Object.values(state).reduce((n, v) => n + v.length, 0);
  const data = { e: Int32Array.from(inputs.e), x: Float32Array.from(inputs.x), ...Object.fromEntries(Object.entries(state).map(([n, v]) => [n, Float32Array.from(v)])) };
  const got = await runOnGpu(program, data, lengths, { target: software, states: [{ name: "params", dtype: "f32", size, fields }] });
  want.forEach((v, i) => expect(got.outputs["y"]?.[i]).toBeCloseTo(v, 4));
});

const chooser = `
program choose
length n
tensor a f32 state #n n #n
tensor b f32 state #n n #n
tensor c f32 state #n n #n
tensor out.y f32 output #n n #n
output y out.y
dispatch {
  bind A a
  bind B b
  bind C c
  bind Y out.y
  kernel choose {
    length n
    workgroup 4 1 1
    grid (div (add #n i32 3) i32 4) i32 1 i32 1
    operand A f32 read #n
    operand B f32 read #n
    operand C f32 read #n
    operand Y f32 write #n
    origin {"spans":[],"path":"choose","via":[]}
    let i (add (mul @group.x i32 4) @lane.x)
    if (lt $i:i32 #n) {
      load x f32 A $i:i32 among (mod $i:i32 i32 3) B C
      store Y $i:i32 $x:f32
    }
  }
}
`;

test("a load among operands of several buffers reads the one that is named", async () => {
  const program = readProgram(chooser);
  expect(verifyProgram(program, software)).toEqual([]);
  expect(printProgram(readProgram(printProgram(program)))).toBe(printProgram(program));
  const data = Object.fromEntries(["a", "b", "c"].map((n, k) => [n, Float32Array.from({ length: 6 }, (_, i) => 10 * k + i)]));
  const want = [0, 11, 22, 3, 14, 25];
  const ran = runProgram(program, data, { n: 6 });
  expect(ran.ok && Array.from(ran.tensors["out.y"] ?? [])).toEqual(want);
  expect(Array.from((await runOnGpu(program, data, { n: 6 }, { target: software })).outputs["y"] ?? [])).toEqual(want);
});
