// Losses by stream: rows of weight 0 cost nothing and change nothing, whatever stands in them. All three results of linear +
// cross-entropy, in one chunk and in several, on both targets; in bounds; compiled on the null backend and run on an adapter.

import { afterAll, describe, expect, test } from "vitest";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { closeGpu, runOnGpu } from "../gpu/run_program.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import { array, check, dispatchesOf, namesOf, targets } from "./check.ts";

afterAll(closeGpu);

const [batch, t, d, c] = [ax("batch", "batch"), ax("t", "t"), ax("d", 8), ax("c", 20)];

interface Options {
  readonly vocabLast?: boolean;
  readonly constant?: number;
  readonly twice?: boolean;
}

function losses({ vocabLast = true, constant, twice = false }: Options = {}): Graph {
  const builder = new GraphBuilder("losses");
  const m = new Make(builder, originAt("losses"));
  const x = m.input("x", F(batch, t, d));
  const goal = m.input("goal", I(batch, t));
  const weight = constant === undefined ? m.input("weight", F(batch, t)) : m.broadcast(m.const(constant), batch, t);
  for (const n of twice ? ["", "2"] : [""]) {
    const w = m.input(`w${n}`, vocabLast ? F(d, c) : F(c, d));
    const dloss = m.input(`dloss${n}`, F(batch, t));
    const attrs = { from: "d", vocab: "c" };
    builder.output(`loss${n}`, m.op("linear_ce", [x, w, goal, weight], attrs));
    builder.output(`dx${n}`, m.op("linear_ce_dx", [x, w, goal, weight, dloss], attrs));
    builder.output(`dw${n}`, m.op("linear_ce_dw", [x, w, goal, weight, dloss], attrs));
  }
  return builder.finish();
}

const rows = 42;
const lengths = { batch: 2, t: rows / 2 };
const patterns: readonly { title: string; live: (i: number) => boolean }[] = [
  { title: "all", live: () => true },
  { title: "none", live: () => false },
  { title: "one in four", live: (i) => i % 4 === 1 },
  { title: "the last alone", live: (i) => i === rows - 1 },
  { title: "all but the first", live: (i) => i > 0 },
];

function inputsFor(live: (i: number) => boolean, n = rows): Record<string, number[]> {
  const each = Array.from({ length: n }, (_, i) => i);
  return {
    x: spread(n * 8, 1), w: spread(160, 2), w2: spread(160, 3), dloss: spread(n, 4), dloss2: spread(n, 5),
    // A row without weight may name a class that is not there.
    goal: each.map((i) => (live(i) ? (i * 7) % 20 : -1)), weight: each.map((i) => (live(i) ? 0.5 + i : 0)),
  };
}

/** One chunk; three. */
const chunkings = [undefined, 1280] as const;

describe("rows of weight 0", () => {
  for (const p of patterns)
    test(`${p.title} of the rows count`, () => {
      for (const chunkBytes of chunkings) {
        const graph = losses({ vocabLast: chunkBytes === undefined });
        const inputs = inputsFor(p.live);
        check(graph, { inputs, lengths }, 2e-5, chunkBytes === undefined ? {} : { chunkBytes });
      }
    });

  test("no rows", () => check(losses(), { inputs: inputsFor(() => true, 0), lengths: { batch: 0, t: 3 } }));

  test("what stands in them is never read into a result", () => {
    const live = (i: number): boolean => i % 3 === 0;
    const graph = losses();
    const inputs = inputsFor(live);
    const clean = interpret(graph, { inputs, state: {}, lengths }).outputs;
    for (const target of targets)
      for (const chunkBytes of chunkings) {
        const program = scheduleGraph(graph, target, templates, chunkBytes === undefined ? {} : { chunkBytes });
        const x = inputs["x"]?.map((v, i) => (live(Math.floor(i / 8)) ? v : Number.NaN)) ?? [];
        const dloss = inputs["dloss"]?.map((v, i) => (live(i) ? v : Number.NaN)) ?? [];
        const tensors = Object.fromEntries(program.tensors.filter((y) => y.kind === "input").map((y) => [y.name, array(y.dtype, { ...inputs, x, dloss }[y.name] ?? [])]));
        const ran = runProgram(program, tensors, lengths);
        if (!ran.ok) throw new Error(ran.fault.message);
        for (const name of ["loss", "dx", "dw"])
          clean[name]?.data.forEach((v, i) => expect(Math.abs((ran.tensors[program.outputs[name] ?? ""]?.[i] ?? Number.NaN) - v), `${target.name}: ${name}[${i}]`).toBeLessThan(1e-3));
      }
  });

  test("losses of one weight group their rows once; a weight that is never 0 groups nothing", () => {
    for (const target of targets) {
      const grouped = (o: Options): number => namesOf(scheduleGraph(losses(o), target, templates)).filter((n) => n.includes("place rows") || n.includes("group rows")).length;
      expect(grouped({})).toBe(1);
      expect(grouped({ twice: true })).toBe(1);
      expect(grouped({ constant: 2 })).toBe(0);
    }
  });

  test("every access is proven, every kernel compiles, and an adapter agrees", async () => {
    const graph = losses({ twice: true });
    const inputs = inputsFor((i) => i % 4 === 1);
    const want = interpret(graph, { inputs, state: {}, lengths }).outputs;
    for (const target of targets) {
      const program = mergeDispatches(scheduleGraph(graph, target, templates, { chunkBytes: 1280 }), target);
      for (const k of dispatchesOf(program)) expect(unprovenAccesses(k.kernel).map(unprovenText), `${target.name} ${k.kernel.name}`).toEqual([]);
      for (const { wgsl } of assemble(program, { target, states: [] }).modules) expect(await explainProblems(wgsl)).toBe("");
      const tensors = Object.fromEntries(program.tensors.filter((y) => y.kind === "input").map((y) => [y.name, array(y.dtype, inputs[y.name] ?? [])]));
      // Barriers are slow on software adapters.
      if (target.products === "tiles") continue;
      const got = await runOnGpu(program, tensors, lengths, { target });
      for (const [name, value] of Object.entries(want)) value.data.forEach((v, i) => expect(Math.abs((got.outputs[name]?.[i] ?? Number.NaN) - v), `${target.name}: ${name}[${i}]`).toBeLessThan(1e-3));
    }
  });
});
