// Every shader that the shipped specs emit, for both targets and every program: accepted by Dawn under WebGPU's guaranteed
// limits, proven in bounds, and traced to a line of a spec. Dispatch counts are held to a budget.

import path from "node:path";
import { describe, expect, test } from "vitest";
import { compileModel, INFERENCE, trainingPrograms } from "../../compiler/compile.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import type { PlanDispatch, PlanStep, Plan } from "../../compiler/plan/plan.ts";
import { checkSpec } from "../../cli/spec.ts";
import { explainProblems } from "./null_device.ts";

const root = path.resolve(import.meta.dirname, "../..");

/** spec, model, target -> most dispatches of a training step (grad and apply) and of a generation step. */
const budgets = [
  { spec: "examples/digits/digits.heddle", model: "digits", target: software, step: 80, generate: 34 },
  { spec: "examples/digits/digits.heddle", model: "digits", target: guaranteed, step: 100, generate: 34 },
  { spec: "examples/moe-text/moe_text.heddle", model: "moe_text", target: software, step: 135, generate: 66 },
  { spec: "examples/moe-text/moe_text.heddle", model: "moe_text", target: guaranteed, step: 175, generate: 74 },
  { spec: "examples/mot/mot.heddle", model: "mot", target: guaranteed, step: 110, generate: 36 },
  { spec: "examples/decoder/decoder.heddle", model: undefined, target: software, step: 60, generate: 20 },
  { spec: "examples/decoder/decoder.heddle", model: undefined, target: guaranteed, step: 60, generate: 20 },
];

const flat = (steps: readonly PlanStep[]): PlanDispatch[] => steps.flatMap((s) => (s.kind === "dispatch" ? [s] : flat(s.steps)));

describe.each(budgets)("$spec for $target.name", ({ spec, model: name, target, step, generate }) => {
  const checked = checkSpec(path.join(root, spec));
  const model = checked.models.find((m) => name === undefined || m.name === name);
  if (!model) throw new Error(`${spec} has no model`);
  const result = compileModel(model, { target, programs: ["loss", "forward", ...trainingPrograms(model), ...INFERENCE], sources: checked.sources });
  if (!result.ok) throw new Error("not built");
  const plans = Object.entries(result.compiled.plans) as [string, Plan][];

  test("compiles on a device with the guaranteed limits", async () => {
    for (const [program, plan] of plans) for (const m of plan.modules) expect(await explainProblems(m.wgsl), `${program}: ${m.lines[0]?.path ?? ""}`).toBe("");
  });

  test("is proven in bounds, so that Node may run it without robustness checks", () => {
    const open = plans.flatMap(([program, plan]) => flat(plan.steps).filter((d) => !plan.modules[d.module]?.proven).map((d) => `${program}: ${d.name}`));
    expect(open).toEqual([]);
  });

  test("knows the line of the spec of every dispatch", () => {
    const lost = plans.flatMap(([program, plan]) =>
      flat(plan.steps)
        // the optimizer and its sums belong to no line
        .filter((d) => program !== "apply" && d.place?.row === undefined)
        .map((d) => `${program}: ${d.name}`),
    );
    expect(lost).toEqual([]);
  });

  test("keeps its dispatch budget", () => {
    const { grad, apply, step: tokens } = result.compiled.plans;
    expect((grad?.cost.dispatches ?? Infinity) + (apply?.cost.dispatches ?? Infinity)).toBeLessThanOrEqual(step);
    expect(tokens?.cost.dispatches ?? Infinity).toBeLessThanOrEqual(generate);
  });
});
