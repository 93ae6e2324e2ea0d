// In: WGSL text. Out: what Dawn's null backend has to say about it (type checks, uniformity, limits), with line numbers.
// Nothing is executed.

import { create } from "webgpu";

export interface ShaderProblem {
  readonly line: number;
  readonly message: string;
}

const devices = new Map<string, Promise<GPUDevice>>();
/** Kept: a device whose GPU object was collected takes the process down. */
let instance: GPU | undefined;

async function openDevice(features: readonly GPUFeatureName[]): Promise<GPUDevice> {
  instance ??= create(["backend=null"]);
  const gpu = instance;
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("Dawn's null backend gave no adapter");
  const device = await adapter.requestDevice({ requiredFeatures: [...features] });
  device.addEventListener("uncapturederror", (event) => event.preventDefault());
  return device;
}

/** One null device a process and set of features, with WebGPU's guaranteed limits. */
export function nullDevice(features: readonly GPUFeatureName[] = []): Promise<GPUDevice> {
  const key = features.join();
  const device = devices.get(key) ?? openDevice(features);
  devices.set(key, device);
  return device;
}

/** Compiles the text and makes the compute pipeline; an empty list means that both are accepted. */
export async function compileProblems(wgsl: string, features: readonly GPUFeatureName[] = []): Promise<ShaderProblem[]> {
  const device = await nullDevice(features);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: wgsl });
  const info = await module.getCompilationInfo();
  const problems: ShaderProblem[] = info.messages
    .filter((m) => m.type === "error")
    .map((m) => ({ line: m.lineNum, message: m.message }));
  if (problems.length === 0) device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  const error = await device.popErrorScope();
  if (error && problems.length === 0) problems.push({ line: 0, message: error.message });
  return problems;
}

/** Problems as text with the offending lines, for assertion messages. */
export async function explainProblems(wgsl: string, features: readonly GPUFeatureName[] = []): Promise<string> {
  const lines = wgsl.split("\n");
  return (await compileProblems(wgsl, features)).map((p) => `${p.line}: ${p.message}\n    ${lines[p.line - 1] ?? ""}`).join("\n");
}
