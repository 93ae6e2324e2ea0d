// WGSL text to compute pipelines, each text once, created asynchronously with progress.
// A WGSL error is reported at the place of the spec that the line map names.

import type { PlanModule } from "../../compiler/plan/plan.ts";
import type { GpuHost } from "../device/device.ts";
import { HeddleError } from "../error.ts";

export type Progress = (done: number, total: number) => void;

export class PipelineCache {
  readonly #host: GpuHost;
  readonly #made = new Map<string, Promise<GPUComputePipeline>>();

  constructor(host: GpuHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#made.size;
  }

  async all(modules: readonly PlanModule[], progress?: Progress): Promise<GPUComputePipeline[]> {
    let done = 0;
    return Promise.all(
      modules.map(async (m) => {
        const p = await this.#one(m);
        progress?.(++done, modules.length);
        return p;
      }),
    );
  }

  #one(module: PlanModule): Promise<GPUComputePipeline> {
    const old = this.#made.get(module.wgsl);
    if (old) return old;
    const made = this.#create(module);
    this.#made.set(module.wgsl, made);
    return made;
  }

  async #create(module: PlanModule): Promise<GPUComputePipeline> {
    const { device } = this.#host;
    const entry = (binding: number, type: GPUBufferBindingType): GPUBindGroupLayoutEntry => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type },
    });
    const layout = device.createBindGroupLayout({
      entries: [
        entry(0, "uniform"),
        ...module.bindings.map((b, i) => entry(i + 1, b.access === "read" ? "read-only-storage" : "storage")),
      ],
    });
    const shader = device.createShaderModule({ code: module.wgsl });
    try {
      return await this.#host.settle(
        device.createComputePipelineAsync({
          layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module: shader, entryPoint: "main" },
        }),
      );
    } catch (cause) {
      const info = await this.#host.settle(shader.getCompilationInfo());
      const first = info.messages.find((m) => m.type === "error");
      const place = first && [...module.lines].reverse().find((l) => l.line <= first.lineNum);
      throw new HeddleError({
        code: "E0550",
        message: `a kernel${place ? ` of \`${place.path}\`` : ""} does not compile on this device: ${first?.message ?? String(cause)}`,
        place: place ? `${place.source}${place.row === undefined ? "" : `:${place.row}`}` : undefined,
        help: "this is a defect of Heddle: please report it with the spec and the output of `heddle doctor`",
      });
    }
  }
}
