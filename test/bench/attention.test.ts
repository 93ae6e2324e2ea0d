// What the attention benchmark claims that needs no clock: the bytes of a long row, from the plan, and a short row that really
// runs; and its ruler: masks twice, the judge, the table.

import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { layoutPlan } from "../../compiler/plan/layout.ts";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import { ArenaPool, LoadedProgram, runPrograms, Stager } from "../../runtime/exec/executor.ts";
import { PipelineCache } from "../../runtime/exec/pipelines.ts";
import { StateStore } from "../../runtime/exec/states.ts";
import { closeGpu, gpu } from "../gpu/run_program.ts";
import { numbers } from "../templates/attention_graph.ts";
import { HEADS, planOf, stepGraph, stepStates, WIDTH } from "./attention/graphs.ts";
import { judge } from "./attention/judge.ts";
import { columnsOf, masks, skipped, visibility } from "./attention/masks.ts";

afterAll(closeGpu);

const names = Object.keys(masks);

describe("memory of attention: 4 heads of 64, forward and backward", () => {
  it.each([software, guaranteed])("8192 tokens within 64 MiB for $name, whatever the mask", (target) => {
    for (const name of names) {
      const plan = planOf(stepGraph(masks[name]!.expr, 1), target, stepStates(8192));
      const { peakBytes, stateBytes } = layoutPlan(plan, { t: 8192, s: 8192 });
      // q, k, v, dout and three gradients alone are 56 MiB.
      expect(peakBytes + stateBytes, name).toBeGreaterThan(56 * 2 ** 20);
      expect(peakBytes + stateBytes, name).toBeLessThan(57 * 2 ** 20);
      expect(plan.modules.every((m) => m.proven), name).toBe(true);
    }
  });

  it("a step that really runs holds what was planned and is right", async () => {
    const t = 192, { host } = await gpu(), mask = masks["window"]!;
    const plan = planOf(stepGraph(mask.expr, 1), software, stepStates(t));
    const [states, pool, stager] = [new StateStore(host), new ArenaPool(host), new Stager(host)];
    states.allocate(stepStates(t));
    const [q, k, v, dout] = [1, 2, 3, 4].map((seed) => numbers(t * HEADS * WIDTH, seed)) as [Float32Array, Float32Array, Float32Array, Float32Array];
    Object.entries({ q, k, v }).forEach(([n, x]) => states.write(n, x));
    const program = await LoadedProgram.load(plan, states, pool, new PipelineCache(host));
    const bound = program.bind({ t, s: t });
    const { query, key } = columnsOf(mask, t);
    bound.write({ dout, ...Object.fromEntries([...Object.entries(query).map(([n, x]) => [`q.${n}`, x] as const), ...Object.entries(key).map(([n, x]) => [`k.${n}`, x] as const)]) });
    await runPrograms(host, stager, [bound], []);
    const { peakBytes, stateBytes } = layoutPlan(plan, { t, s: t });
    expect(pool.bytes + states.bytes).toBeLessThanOrEqual(peakBytes + stateBytes + 256);
    const moved = async (n: string, from: Float32Array): Promise<Float32Array> => (await states.read(n)).map((x, i) => from[i]! - x);
    const got = { dq: await moved("q", q), dk: await moved("k", k), dv: await moved("v", v) };
    expect(judge({ t, heads: HEADS, width: WIDTH, q, k, v, dout, visible: visibility(mask, t) }, got)).toBeLessThan(1e-5);
    program.destroy();
    pool.destroy();
    states.destroy();
    stager.destroy();
  }, 300_000);
});

describe("the ruler", () => {
  it.each(names)("%s: the predicate is the plain condition, and tiles called empty hold no visible pair", (name) => {
    const mask = masks[name]!, t = 160;
    const { query, key } = columnsOf(mask, t);
    const rows = (columns: typeof query): Record<string, number>[] => Array.from({ length: t }, (_, i) => Object.fromEntries(Object.entries(columns).map(([n, x]) => [n, x[i]!])));
    const [qs, ks] = [rows(query), rows(key)];
    const seen = visibility(mask, t);
    let hidden = 0;
    qs.forEach((q, i) => ks.forEach((k, j) => {
      expect(evalExpr(mask.expr, { q, k })).toBe(seen[i * t + j]);
      hidden += 1 - seen[i * t + j]!;
    }));
    const { pairs, tiles, full } = skipped(mask, t);
    expect(pairs).toBeCloseTo(hidden / (t * t));
    expect(tiles).toBeGreaterThan(0);
    expect(tiles).toBeLessThanOrEqual(pairs);
    expect(tiles + full).toBeLessThanOrEqual(1);
  });

  it("the judge accepts what is right and refuses one wrong number, also where it looks at some rows only", () => {
    const heads = 1, width = 4;
    for (const t of [6, 520]) {
      const [q, k, v] = [1, 2, 3].map((s) => numbers(t * width, s)) as [Float32Array, Float32Array, Float32Array];
      const problem = { t, heads, width, q, k, v, dout: new Float32Array(t * width), visible: visibility(masks["window"], t) };
      // Every query sees itself alone: out is v, and nothing moves.
      for (let i = 0; i < t; i++) for (let j = 0; j < t; j++) problem.visible[i * t + j] = i === j ? 1 : 0;
      const none = new Float32Array(t * width);
      expect(judge(problem, { out: v, dq: none, dk: none, dv: none })).toBeLessThan(1e-7);
      const off = (x: Float32Array): Float32Array => x.map((n, i) => (i === 1 ? n + 0.5 : n));
      expect(judge(problem, { out: off(v) })).toBeGreaterThan(0.1);
      expect(judge(problem, { dq: off(none) })).toBeGreaterThan(0.1);
      for (const wrong of ["dk", "dv"]) expect(judge(problem, { dq: none, dk: none, dv: none, [wrong]: off(none) })).toBeGreaterThan(1e-4);
      expect(judge(problem, { out: v.map((x, i) => (i === 2 ? Number.NaN : x)) })).toBeNaN();
      expect(judge(problem, { out: new Float32Array(3) })).toBeNaN();
    }
  });
});

interface Cell { contender: string; mask: string; t: number; pass: string; median?: number; cpu?: number; runs?: number; peak?: number; error?: number; why?: string }
const { attentionTables, mergedCells } = (await import(join(import.meta.dirname, "attention/table.mjs"))) as {
  mergedCells(cells: Cell[]): Cell[];
  attentionTables(given: object): { text: string; wrong: number };
};

describe("the table", () => {
  const cell = (contender: string, mask: string, median: number, error = 1e-7): Cell => ({ contender, mask, t: 256, pass: "forward", median, cpu: 2 * median, runs: 3, peak: 1e6, error });
  const given = { masks: ["causal"], titles: { causal: "causal" }, skipped: () => ({ pairs: 0.5, tiles: 0.4, full: 0.3 }), clock: "median" };

  it("compares with ours, and says what was not measured and who is wrong", () => {
    const cells = [cell("heddle", "causal", 60), cell("heddle", "none", 100), cell("bias", "any", 120), { contender: "tfjs", mask: "any", t: 256, pass: "forward", why: "over 60 s" }];
    const { text, wrong } = attentionTables({ ...given, cells });
    expect(text).toContain("| causal | 256 | 50% | 40% | 60.0 | 1.67 | 1.00 | 2.0 |  | over 60 s |");
    expect(wrong).toBe(0);
    expect(attentionTables({ ...given, cells: [...cells, cell("jax-js", "any", 1, 0.1)] }).wrong).toBe(1);
    expect(attentionTables({ ...given, cells: [cell("heddle", "causal", 60, Number.NaN)] }).wrong).toBe(1);
  });

  it("merges rounds", () => {
    const [one] = mergedCells([cell("x", "any", 30), cell("x", "any", 10), cell("x", "any", 20, 0.5)]);
    expect([one!.median, one!.cpu, one!.runs, one!.error]).toEqual([20, 40, 9, 0.5]);
  });
});
