// In: WGSL text. Out: what Dawn's null backend has to say about it (type checks, uniformity, limits), with line numbers.
// Nothing is executed.

import { create } from "webgpu";

export interface ShaderProblem {
  readonly line: number;
  readonly message: string;
}

let devicePromise: Promise<GPUDevice> | undefined;
/** Kept: a device whose GPU object was collected takes the process down. */
let instance: GPU | undefined;

async function openDevice(): Promise<GPUDevice> {
  instance = create(["backend=null"]);
  const gpu = instance;
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("Dawn's null backend gave no adapter");
  const device = await adapter.requestDevice();
  device.addEventListener("uncapturederror", (event) => event.preventDefault());
  return device;
}

/** One null device a process, with WebGPU's guaranteed limits. */
export function nullDevice(): Promise<GPUDevice> {
  devicePromise ??= openDevice();
  return devicePromise;
}

/** Compiles the text and makes the compute pipeline; an empty list means that both are accepted. */
export async function compileProblems(wgsl: string): Promise<ShaderProblem[]> {
  const device = await nullDevice();
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
export async function explainProblems(wgsl: string): Promise<string> {
  const lines = wgsl.split("\n");
  return (await compileProblems(wgsl)).map((p) => `${p.line}: ${p.message}\n    ${lines[p.line - 1] ?? ""}`).join("\n");
}
