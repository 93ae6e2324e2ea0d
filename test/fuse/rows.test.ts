// Rows sorted by class, sums by class and the largest along an axis, on every shape of routing: the kernels say what the graph says,
// in bounds, without races, on both targets; their text compiles on Dawn's null backend, and runs on an adapter.

import { afterAll, describe, expect, test } from "vitest";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId, TensorType } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { sumByClass } from "../../compiler/graph/sum_by_class.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import { digitsOf } from "../../compiler/kernel/group_by.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import { i32, length } from "../../compiler/scalar/expr.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { closeGpu, runOnGpu } from "../gpu/run_program.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import type { Lengths, Numbers } from "./check.ts";
import { array, check, dispatchesOf, namesOf, targets } from "./check.ts";

afterAll(closeGpu);

type Build = (m: Make, x: (name: string, type: TensorType) => NodeId) => void;

function build(make: Build): Graph {
  const builder = new GraphBuilder("rows");
  const m = new Make(builder, originAt("rows"));
  make(m, (name, type) => m.input(name, type));
  return sumByClass(builder.finish());
}

/** Checked, proven and compiled. */
async function sound(graph: Graph, inputs: Numbers, lengths: Lengths): Promise<void> {
  check(graph, { inputs, lengths });
  for (const target of targets) {
    const program = mergeDispatches(scheduleGraph(graph, target, templates), target);
    for (const d of dispatchesOf(program)) expect(unprovenAccesses(d.kernel).map(unprovenText), `${target.name} ${d.kernel.name}`).toEqual([]);
    for (const { wgsl } of assemble(program, { target, states: [] }).modules) expect(await explainProblems(wgsl)).toBe("");
  }
}

const [batch, t, d] = [ax("batch", "batch"), ax("t", "t"), ax("d", 6)];
/** `rows` rows as 2 x rows / 2. */
const lengthsOf = (rows: number): Lengths => ({ batch: rows === 0 ? 0 : 2, t: rows === 0 ? 3 : rows / 2, s: 5 });

/** All three results and a sum by class. */
const everything = (classes: number | string): Build => (m, x) => {
  const cls = x("cls", I(batch, t));
  const g = m.groupBy(cls, typeof classes === "number" ? dimConst(classes) : dimVar(classes));
  m.builder.output("order", g.order);
  m.builder.output("place", m.groupPlace(cls, g));
  m.builder.output("offset", g.offset);
  m.builder.output("sum", m.groupedSum(x("v", F(batch, t, d)), g, "c"));
};

const rng = (seed: number): ((n: number) => number) => {
  let s = seed;
  return (n) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
};

const routings: { title: string; rows: number; classes: number | string; of: (i: number, r: (n: number) => number) => number }[] = [
  { title: "any", rows: 300, classes: 5, of: (_, r) => r(5) },
  { title: "all to one", rows: 260, classes: 4, of: () => 2 },
  { title: "none to some, some nowhere", rows: 40, classes: 8, of: (_, r) => [0, 3, -1, 7, 8, 1000][r(6)] ?? 0 },
  { title: "all nowhere", rows: 140, classes: 3, of: (i) => (i % 2 === 0 ? -1 : 3) },
  { title: "no rows", rows: 0, classes: 3, of: () => 0 },
  { title: "one row in each chunk and one more", rows: 258, classes: 2, of: (i) => (i % 128 === 0 ? 1 : 0) },
  { title: "one class", rows: 20, classes: 1, of: () => 0 },
  { title: "one class, half of the rows", rows: 150, classes: 1, of: (i) => (i % 2) - 1 },
  { title: "300 classes", rows: 270, classes: 300, of: (_, r) => r(320) - 10 },
  { title: "3000 classes by digits", rows: 270, classes: 3000, of: (i, r) => (i % 7 === 0 ? -1 : r(8) * 400) },
  { title: "3000 classes, no rows", rows: 0, classes: 3000, of: () => 0 },
  { title: "classes of run-time number", rows: 150, classes: "s", of: (_, r) => r(7) - 1 },
];

describe("rows by class", () => {
  test.each(routings)("$title", async ({ rows, classes, of }) => {
    const r = rng(rows + 7);
    await sound(build(everything(classes)), { cls: Array.from({ length: rows }, (_, i) => of(i, r)), v: spread(rows * 6, 3) }, lengthsOf(rows));
  });

  test("on an adapter, as merged programs", async () => {
    for (const classes of [5, 3000]) {
      const rows = 300;
      const lengths = lengthsOf(rows);
      const graph = build(everything(classes));
      const r = rng(classes);
      const inputs = { cls: Array.from({ length: rows }, () => r(classes + 2) - 1), v: spread(rows * 6, 3) };
      const want = interpret(graph, { inputs, state: {}, lengths });
      for (const target of [software, guaranteed]) {
        const program = mergeDispatches(scheduleGraph(graph, target, templates), target);
        const got = await runOnGpu(program, { cls: array("i32", inputs.cls), v: array("f32", inputs.v) }, lengths, { target });
        for (const name of ["order", "place", "offset"]) expect([...(got.outputs[name] ?? [])], `${name} of ${classes} on ${target.name}`).toEqual([...(want.outputs[name]?.data ?? [])]);
        want.outputs["sum"]?.data.forEach((v, i) => expect(Math.abs((got.outputs["sum"]?.[i] ?? Number.NaN) - v)).toBeLessThan(1e-4));
      }
    }
  });

  test("the number of dispatches does not depend on the number of classes; one where dispatches and barriers are dear", () => {
    const count = (classes: number | string, target: typeof software): number =>
      namesOf(scheduleGraph(build((m, x) => m.builder.output("y", m.groupBy(x("c", I(t)), typeof classes === "number" ? dimConst(classes) : dimVar(classes)).order)), target, templates)).length;
    for (const classes of [1, 8, 300, 3000, 50000, "s"]) expect(count(classes, software)).toBe(1);
    for (const classes of [1, 8, 300]) expect(count(classes, guaranteed)).toBe(3);
    for (const classes of [3000, 50000]) expect(count(classes, guaranteed)).toBe(6);
  });

  test("order, place and offsets come out of the same dispatches, whoever asks for them and whatever their axes are called", () => {
    const graph = build((m, x) => {
      const cls = x("c", I(batch, t));
      const g = m.groupBy(cls, dimConst(4));
      m.builder.output("order", m.rename(g.order, "slot", "i"));
      m.builder.output("place", m.groupPlace(cls, g));
      m.builder.output("load", m.sub(m.slice(g.offset, "class", dimConst(1), dimConst(4)), m.slice(g.offset, "class", dimConst(0), dimConst(4))));
    });
    expect(namesOf(scheduleGraph(graph, software, templates))).toHaveLength(2);
    expect(namesOf(scheduleGraph(graph, guaranteed, templates))).toHaveLength(4);
    check(graph, { inputs: { c: [0, 3, 1, 1, -1, 3, 3, 3, 2, 9] }, lengths: { batch: 2, t: 5 } });
  });

  test("digits cover every key", () => {
    for (const n of [1, 1023, 1024, 65535, 65536, 2 ** 20]) {
      const digits = digitsOf(i32(n));
      expect(digits.reduce((p, x) => p * x.bins, 1)).toBeGreaterThan(n);
      digits.forEach((x, i) => expect(2 ** x.shift).toBe(digits.slice(0, i).reduce((p, y) => p * y.bins, 1)));
    }
    expect(digitsOf(length("s")).reduce((p, x) => p * x.bins, 1)).toBeGreaterThanOrEqual(2 ** 31);
  });
});

describe("sums by class", () => {
  const [u, experts] = [ax("u", "s"), ax("experts", 3)];
  test.each<{ title: string; value: readonly Axis[]; rows?: readonly string[] }>([
    { title: "no columns", value: [batch, t] },
    { title: "columns of run-time number", value: [batch, u, t] },
    { title: "one more column than a workgroup shares", value: [t, batch, ax("d", 33)] },
    { title: "two axes of columns", value: [experts, batch, ax("k", 5), t], rows: ["t", "batch"] },
  ])("$title", async ({ value, rows }) => {
    const lengths = lengthsOf(90);
    const graph = build((m, x) => m.builder.output("y", m.groupedSum(x("v", F(...value)), m.groupBy(x("cls", I(batch, t)), dimConst(7), rows ?? ["batch", "t"]), "c")));
    const r = rng(2);
    const size = product(shapeOf(F(...value), lengths));
    await sound(graph, { cls: Array.from({ length: 90 }, () => r(8)), v: spread(size, 1) }, lengths);
  });

  test("sums by index sort their index once", async () => {
    const lengths = lengthsOf(60);
    const graph = build((m, x) => {
      const index = x("i", I(batch, t));
      m.builder.output("a", m.scatterAdd(x("a", F(batch, t, d)), ax("vocab", 9), index));
      m.builder.output("b", m.scatterAdd(x("b", F(t, batch)), ax("vocab", 9), index));
    });
    const r = rng(4);
    expect(namesOf(scheduleGraph(graph, software, templates))).toHaveLength(3);
    await sound(graph, { i: Array.from({ length: 60 }, () => r(9)), a: spread(360, 1), b: spread(60, 2) }, lengths);
  });
});

describe("the largest along an axis", () => {
  test.each<{ title: string; axes: readonly Axis[]; axis: string; choice: Axis }>([
    { title: "8 of 64", axes: [batch, t, ax("e", 64)], axis: "e", choice: ax("k", 8) },
    { title: "20 of 24", axes: [t, ax("e", 24)], axis: "e", choice: ax("k", 20) },
    { title: "all of one", axes: [t, ax("e", 1)], axis: "e", choice: ax("e", 1) },
    { title: "tokens of run-time number", axes: [batch, t, ax("e", 3)], axis: "t", choice: ax("k", 2) },
    { title: "as many as a run-time number says", axes: [batch, t, ax("e", 3)], axis: "t", choice: ax("s", "s") },
  ])("$title", async ({ axes, axis, choice }) => {
    const lengths = lengthsOf(20);
    const size = product(shapeOf(F(...axes), lengths));
    const graph = build((m, x) => m.builder.output("y", m.topOrder(x("x", F(...axes)), axis, choice)));
    for (const values of [spread(size, 5), spread(size, 6).map((v) => Math.round(v)), new Array<number>(size).fill(-3e38)]) await sound(graph, { x: values }, lengths);
  });
});
