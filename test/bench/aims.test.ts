// What the benchmark claims of Heddle that needs no clock and no adapter: sizes, dispatches, proofs; and the judge of the digits model.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkSpec } from "../../cli/spec.ts";
import { compileModel } from "../../compiler/compile.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { evalInt } from "../../compiler/plan/expr.ts";
import { layoutPlan } from "../../compiler/plan/layout.ts";
import type { Plan, PlanStep } from "../../compiler/plan/plan.ts";

const spec = (name: string) => checkSpec(join(import.meta.dirname, "../../examples", name, `${name}.heddle`)).models[0]!;
const dispatches = (steps: readonly PlanStep[], lengths: Record<string, number>): number =>
  steps.reduce((n, s) => n + (s.kind === "repeat" ? evalInt(s.count, lengths) * dispatches(s.steps, lengths) : 1), 0);

describe("aims", () => {
  const lengths = { batch: 1, t: 128 };
  for (const target of [software, guaranteed])
    it(`the decoder for ${target.name}: 544,256 parameters, forward in 16 dispatches, a step in 60, every access proven`, () => {
      const result = compileModel(spec("decoder"), { target, programs: ["forward", "grad", "apply"] });
      if (!result.ok) throw new Error("the decoder does not compile");
      const { plans, spec: model } = result.compiled;
      const of = (name: "forward" | "grad" | "apply"): Plan => plans[name]!;
      expect(model.parameters.reduce((n, p) => n + p.axes.reduce((k, a) => k * a.size, 1), 0)).toBe(544_256);
      expect(dispatches(of("forward").steps, lengths)).toBeLessThanOrEqual(16);
      expect(dispatches(of("grad").steps, lengths) + dispatches(of("apply").steps, lengths)).toBeLessThanOrEqual(60);
      for (const plan of Object.values(plans)) expect(plan.modules.filter((m) => !m.proven), plan.name).toEqual([]);
      // No n x n buffer and no logits of all tokens: the temps of a step stay below the activations that backward needs.
      expect(layoutPlan(of("grad"), lengths).tempBytes).toBeLessThan(4 * 2 ** 20);
    });

  it("the digits model: every access of a forward pass and of a step proven", () => {
    const result = compileModel(spec("digits"), { target: software, programs: ["forward", "grad", "apply"] });
    if (!result.ok) throw new Error("the digits model does not compile");
    for (const plan of Object.values(result.compiled.plans)) expect(plan.modules.filter((m) => !m.proven).length, plan.name).toBe(0);
  });
});

interface Run { text: number[]; image: number[]; loss: number; after: number[][] }
interface Errors { logits: number; loss: number; weights: number; judged: number }
const { judge } = (await import(join(import.meta.dirname, "digits_problem.mjs"))) as { judge(problem: object, run: Run): Errors };

describe("the judge of the digits model", () => {
  const truth = { text: [1, 2], image: [3], loss: 4, gradients: [[0.5, -0.5, 1e-7, 0]], after: [[1, 2, 3, 4]] };
  const problem = { truth, parameters: [{ path: "w", data: [1, 1, 1, 1] }], train: { lr: 0.1 } };
  const run = (change: Partial<Run> = {}): Errors => judge(problem, { text: [1, 2], image: [3], loss: 4, after: [[1, 2, 3, 4]], ...change });

  it("looks at every result, but not at the sign of a gradient that is noise", () => {
    expect(run()).toEqual({ logits: 0, loss: 0, weights: 0, judged: 0.75 });
    expect(run({ text: [1, 2.5] }).logits).toBe(0.5);
    expect(run({ image: [Number.NaN] }).logits).toBeNaN();
    expect(run({ loss: 5 }).loss).toBe(1);
    expect(run({ after: [[1, 2, 9, 4]] }).weights).toBe(0);
    expect(run({ after: [[1, 2, 3, 4.1]] }).weights).toBeCloseTo(1);
    expect(run({ after: [[Number.NaN, 2, 3, 4]] }).weights).toBeNaN();
    expect(() => run({ after: [[1]] })).toThrow("w has 1 values where 4 are right");
  });
});
