// The backend that users have: a compiled model on a GPU, with random weights.

import { compileModel } from "../../compiler/compile.ts";
import type { Precision } from "../../compiler/passes.ts";
import { software, type Target } from "../../compiler/kernel/kernel.ts";
import type { ProgramName } from "../../compiler/plan/manifest.ts";
import type { Model } from "../../compiler/types/model.ts";
import type { GpuHost } from "../../runtime/device/device.ts";
import { Machine } from "../../runtime/exec/machine.ts";
import { stepRunner } from "../../runtime/generate/runner.ts";
import { pick } from "../../runtime/train/inputs.ts";
import { type Backend, randomWeights } from "./compare.ts";

export const GENERATION: readonly ProgramName[] = ["forward", "step", "denoise", "beside"];

export function machineOf(host: GpuHost, model: Model, options: { programs?: readonly ProgramName[]; target?: Target; precision?: Precision } = {}): Machine {
  const result = compileModel(model, { target: options.target ?? software, precision: options.precision ?? "f32", programs: options.programs ?? GENERATION });
  if (!result.ok) throw new Error(result.diagnostics.map((d) => d.message).join("\n"));
  const machine = new Machine(host, result.compiled);
  machine.states.write("params", randomWeights(result.compiled.spec));
  return machine;
}

export const backendOf = (machine: Machine): Backend => ({
  runner: stepRunner(machine),
  async forward({ lengths, values }, wanted) {
    const { plan } = await machine.program("forward");
    return machine.run("forward", lengths, pick(values, plan.inputs), wanted);
  },
});

/** Rounding of the element type, over the longest sum of a layer and as many layers: relative to the largest number compared. */
export function tolerance(machine: Machine, precision: Precision = "f32"): number {
  const longest = machine.spec.parameters.reduce((n, p) => Math.max(n, ...p.axes.slice(0, -1).map((a) => a.size)), 64);
  const layers = new Set(machine.spec.parameters.map((p) => /^body\[(\d+)\]/.exec(p.path)?.[1])).size;
  return (precision === "f16" ? 2 ** -11 : 2 ** -24) * Math.sqrt(longest) * 8 * (layers + 1);
}
