// In: a device and a model. Out: nothing; fails where generation with its cache says something else than whole rows, on the GPU.

import { expect } from "vitest";
import type { Model } from "../../compiler/types/model.ts";
import type { GpuHost } from "../../runtime/device/device.ts";
import { compareTask } from "./compare.ts";
import { backendOf, machineOf, tolerance } from "./machine.ts";

export async function sameOnGpu(host: GpuHost, model: Model): Promise<void> {
  const machine = machineOf(host, model);
  for (const task of machine.spec.tasks) {
    const { worst, where, logits, denoised } = await compareTask(machine.spec, backendOf(machine), task.name);
    expect(worst, where).toBeLessThan(tolerance(machine));
    expect(logits + denoised).toBeGreaterThan(0);
  }
  await machine.destroy();
}
