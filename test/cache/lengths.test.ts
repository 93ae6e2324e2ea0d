// A new length makes no new pipeline: shaders and pipelines made on the device are counted while batches, samples and generations of
// many sizes run. On Dawn's null backend, which checks and counts everything and computes nothing.

import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkSpec } from "../../cli/spec.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import type { Machine } from "../../runtime/exec/machine.ts";
import { generate, type StepRunner } from "../../runtime/generate/engine.ts";
import { stepRunner } from "../../runtime/generate/runner.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { type FieldValue, layoutSample, type Sequence } from "../../runtime/sequence/layout.ts";
import { pick, trainingInputs } from "../../runtime/train/inputs.ts";
import { applyInputs } from "../../runtime/train/loop.ts";
import { randomRequests } from "./compare.ts";
import { GENERATION, machineOf } from "./machine.ts";

let host: GpuHost;
let machine: Machine;
const made = { shaders: 0, pipelines: 0 };

beforeAll(async () => {
  host = await openDevice({ adapter: "null" });
  const { device } = host;
  const [shader, later, now] = [device.createShaderModule.bind(device), device.createComputePipelineAsync.bind(device), device.createComputePipeline.bind(device)];
  device.createShaderModule = (d) => (made.shaders++, shader(d));
  device.createComputePipelineAsync = (d) => (made.pipelines++, later(d));
  device.createComputePipeline = (d) => (made.pipelines++, now(d));
  const model = checkSpec(path.resolve(import.meta.dirname, "../../examples/digits/digits.heddle")).models.find((m) => m.name === "tiny");
  if (!model) throw new Error("digits has no variant tiny");
  machine = machineOf(host, model, { target: guaranteed, programs: [...GENERATION, "loss", "grad", "apply"] });
  machine.allocateTraining();
});
afterAll(async () => {
  await machine.destroy();
  await host.destroy();
});

const fieldsOf = (spec: ModelSpec, n: number): Record<string, FieldValue> => ({ ...randomRequests(spec, "draw", [n])[0], ...randomRequests(spec, "describe", [n])[0] });

/** Samples with captions of these lengths, of both tasks in turn. */
const samples = (spec: ModelSpec, captions: readonly number[]): Sequence[] => captions.map((n, i) => layoutSample(spec, i % 2 === 0 ? "draw" : "describe", fieldsOf(spec, n)));

async function trainStep(captions: readonly number[], tokens: number): Promise<void> {
  const { spec } = machine;
  const inputs = trainingInputs(spec, packSequences(spec, samples(spec, captions), { tokens }), { step: 0, seed: 1, uniform: () => 0.5 });
  const [grad, apply] = [await machine.bind("grad", inputs.lengths), await machine.bind("apply", {})];
  grad.write(pick(inputs.values, grad.program.plan.inputs));
  apply.write(pick(applyInputs(spec.train, 0), apply.program.plan.inputs));
  await machine.submit([grad, apply], ["loss"]);
  for (const name of ["forward", "loss"] as const) {
    const bound = await machine.bind(name, inputs.lengths);
    bound.write(pick(inputs.values, bound.program.plan.inputs));
    await machine.submit([bound], []);
  }
}

async function generation(captions: readonly number[], most: number): Promise<number> {
  const { spec } = machine;
  let calls = 0;
  const inner = stepRunner(machine);
  // The null backend reads back whatever lay there; the engine is given zeros.
  const runner: StepRunner = {
    ...inner,
    async run(...args) {
      calls++;
      return Object.fromEntries(Object.entries(await inner.run(...args)).map(([name, x]) => [name, new Float32Array(x.length)]));
    },
  };
  const samplers = { text: { args: { max: most } }, image: { args: { steps: 2 } } };
  for (const task of ["draw", "describe"]) await generate(spec, runner, task, captions.map((n) => fieldsOf(spec, n)), { seed: 1, samplers, random: { uniform: () => 0.5, normal: () => 0.1 } });
  return calls;
}

test("training, forward, prefill, decode and denoising at lengths never seen before compile nothing", async () => {
  await trainStep([4], 24);
  await generation([4], 2);
  const first = { ...made };
  expect(first.pipelines).toBeGreaterThan(20);
  expect(first.shaders).toBe(first.pipelines);
  for (const [captions, tokens] of [[[1], 0], [[0, 9], 0], [[3, 30, 17], 0], [[5, 2, 2, 11, 7, 1, 13], 0], [[40], 97], [[2, 64], 128]] as const) await trainStep(captions, tokens);
  let calls = 0;
  for (const [captions, most] of [[[1], 3], [[0, 9], 20], [[3, 30, 17], 1], [[5, 2, 2, 11, 7, 1, 13], 5], [[70], 40]] as const) calls += await generation(captions, most);
  expect(calls).toBeGreaterThan(70);
  expect(made).toEqual(first);
});
