// A checked model to plans for the adapter at hand, with progress. Shared by train, generate, build and run.

import { type CompiledModel, compileModel } from "../compiler/compile.ts";
import { guaranteed, software, type Target } from "../compiler/kernel/kernel.ts";
import type { ProgramName } from "../compiler/plan/manifest.ts";
import type { Sources } from "../compiler/report/render.ts";
import type { Model } from "../compiler/types/model.ts";
import type { AdapterReport } from "../runtime/device/device.ts";
import { openDevice, type GpuHost } from "../runtime/device/device.ts";
import { HeddleError } from "../runtime/error.ts";
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

export function compileFor(model: Model, target: Target, programs: readonly ProgramName[], options: { remat?: boolean; quiet?: boolean; sources?: Sources } = {}): CompiledModel {
  const bar = options.quiet ? undefined : startProgress("compiling", 30);
  const result = compileModel(model, { target, programs, remat: options.remat ?? false, sources: options.sources, progress: (p, done, total) => bar?.update(done, total, p) });
  bar?.stop();
  if (!result.ok) throw new Error("a model with parts that are not built reached the compiler");
  return result.compiled;
}

/** Open the device for plans; bounds checks are off only where every access is proven. */
export function openFor(compiled: CompiledModel): Promise<GpuHost> {
  const proven = Object.values(compiled.plans).every((p) => p.modules.every((m) => m.proven));
  return openDevice({ trusted: proven });
}
