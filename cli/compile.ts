// A checked model to plans for the adapter at hand, with progress. Shared by train, generate, build and run.

import { type CompiledModel, compileModel } from "../compiler/compile.ts";
import type { Precision } from "../compiler/passes.ts";
import { guaranteed, software, type Target } from "../compiler/kernel/kernel.ts";
import type { ProgramName } from "../compiler/plan/manifest.ts";
import type { Sources } from "../compiler/report/render.ts";
import type { Model } from "../compiler/types/model.ts";
import type { AdapterReport } from "../runtime/device/device.ts";
import { openDevice, type GpuHost } from "../runtime/device/device.ts";
import { HeddleError } from "../runtime/error.ts";
import { describeAdapter } from "./device.ts";
import { startProgress } from "./progress.ts";

export const TARGETS: Readonly<Record<string, Target>> = { guaranteed, software };

/** Kernels for an adapter: software adapters pay dearly for barriers, so products stay in registers there. */
export const targetOf = (adapter: Pick<AdapterReport, "fallback">): Target => (adapter.fallback ? software : guaranteed);

/** `auto` asks the adapter of this machine. */
export function targetNamed(name: string): Target {
  const target = TARGETS[name];
  if (!target) throw new HeddleError({ code: "E0582", message: `there is no target \`${name}\``, help: `use auto, ${Object.keys(TARGETS).join(" or ")}`, exit: 2 });
  return target;
}

export interface KernelFlags {
  readonly target: string;
  readonly precision: string;
}

export function precisionNamed(name: string): Precision {
  if (name === "f32" || name === "f16") return name;
  throw new HeddleError({ code: "E0582", message: `there is no precision \`${name}\``, help: "use f32 or f16", exit: 2 });
}

/** The kernels asked for. Halves get elements of their own only on an adapter that is known to have them; else they share words. */
export async function kernelsFor(flags: KernelFlags): Promise<{ target: Target; precision: Precision }> {
  const precision = precisionNamed(flags.precision);
  if (flags.target !== "auto") return { target: targetNamed(flags.target), precision };
  const adapter = await describeAdapter();
  return { target: { ...targetOf(adapter), f16: precision === "f16" && adapter.features.includes("shader-f16") }, precision };
}

export function compileFor(model: Model, target: Target, programs: readonly ProgramName[], options: { remat?: boolean; precision?: Precision; quiet?: boolean; sources?: Sources } = {}): CompiledModel {
  const bar = options.quiet ? undefined : startProgress("compiling", 30);
  const result = compileModel(model, { target, programs, remat: options.remat ?? false, precision: options.precision ?? "f32", sources: options.sources, progress: (p, done, total) => bar?.update(done, total, p) });
  bar?.stop();
  if (!result.ok) throw new Error("a model with parts that are not built reached the compiler");
  return result.compiled;
}

/** Open the device for plans; bounds checks are off only where every access is proven. */
export function openFor(compiled: CompiledModel): Promise<GpuHost> {
  const proven = Object.values(compiled.plans).every((p) => p.modules.every((m) => m.proven));
  return openDevice({ trusted: proven });
}
