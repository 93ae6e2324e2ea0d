// A compiled model on a device: its states and programs behind one handle, for training, generation and bundles alike.
// In: ModelSpec, state buffers, plans. Out: named runs. Programs load when first asked for; states when first allocated.

import type { ModelSpec, ProgramName } from "../../compiler/plan/manifest.ts";
import { evalInt } from "../../compiler/plan/expr.ts";
import { elementBytes, type Plan, type StateBuffer } from "../../compiler/plan/plan.ts";
import type { GpuHost } from "../device/device.ts";
import { HeddleError } from "../error.ts";
import { ArenaPool, type BoundProgram, type Lengths, LoadedProgram, runPrograms, Stager, type Values } from "./executor.ts";
import { PipelineCache, type Progress } from "./pipelines.ts";
import { type HostArray, StateStore } from "./states.ts";

export interface Compiled {
  readonly spec: ModelSpec;
  readonly states: readonly StateBuffer[];
  readonly plans: Readonly<Partial<Record<ProgramName, Plan>>>;
}

/** States that only training needs. */
export const TRAINING_STATES = ["grads", "adam.m", "adam.v", "ema", "accum"];

export class Machine {
  readonly host: GpuHost;
  readonly spec: ModelSpec;
  readonly states: StateStore;
  readonly #compiled: Compiled;
  readonly #pool: ArenaPool;
  readonly #cache: PipelineCache;
  readonly #stager: Stager;
  readonly #programs = new Map<ProgramName, Promise<LoadedProgram>>();

  constructor(host: GpuHost, compiled: Compiled) {
    this.host = host;
    this.spec = compiled.spec;
    this.#compiled = compiled;
    this.states = new StateStore(host);
    this.#pool = new ArenaPool(host);
    this.#cache = new PipelineCache(host);
    this.#stager = new Stager(host);
    this.states.allocate(compiled.states.filter((s) => s.name === "params"));
  }

  /** Buffers for gradients, moments, EMA. */
  allocateTraining(): void {
    this.states.allocate(this.#compiled.states.filter((s) => TRAINING_STATES.includes(s.name)));
  }

  get #caches(): readonly StateBuffer[] {
    return this.#compiled.states.filter((s) => s.name.startsWith("cache."));
  }

  /** Room for keys and values of the rows beside so many sequences. */
  allocateBeside(lengths: Lengths): void {
    this.states.allocate(this.#compiled.states.filter((s) => s.name.startsWith("beside.")), lengths);
  }

  /** Empty caches for so many rows and slots. Larger ones that exist serve; what they held is gone, also what was not a number. */
  allocateCaches(batch: number, slots: number): void {
    this.states.allocate(this.#caches, { batch, s: slots, spare: 0 });
    const encoder = this.host.device.createCommandEncoder();
    for (const c of this.#caches) encoder.clearBuffer(this.states.buffer(c.name));
    this.host.device.queue.submit([encoder.finish()]);
  }

  /** Moves rows of the caches up: row i becomes what row rows[i] was. `rows` ascend, so none is overwritten before it moved. */
  keepCacheRows(rows: readonly number[], slots: number): void {
    const { device } = this.host;
    const sized = this.#caches.map((c) => ({ buffer: this.states.buffer(c.name), bytes: evalInt(c.size, { batch: 1, s: slots, spare: 0 }) * elementBytes(c.dtype) }));
    const moved = rows.flatMap((from, to) => (from === to ? [] : [{ from, to }]));
    if (moved.length === 0 || sized.length === 0) return;
    // A buffer is not copied onto itself.
    const through = device.createBuffer({ size: sized.reduce((n, c) => Math.max(n, c.bytes), 0), usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    for (const { buffer, bytes } of sized)
      for (const { from, to } of moved) {
        encoder.copyBufferToBuffer(buffer, from * bytes, through, 0, bytes);
        encoder.copyBufferToBuffer(through, 0, buffer, to * bytes, bytes);
      }
    device.queue.submit([encoder.finish()]);
    through.destroy();
  }

  has(name: ProgramName): boolean {
    return this.#compiled.plans[name] !== undefined;
  }

  /** Compile a program's pipelines, with progress. */
  program(name: ProgramName, progress?: Progress): Promise<LoadedProgram> {
    const old = this.#programs.get(name);
    if (old) return old;
    const plan = this.#compiled.plans[name];
    if (!plan)
      throw new HeddleError({ code: "E0553", message: `this bundle has no \`${name}\` program`, help: "build it with `heddle build --train` to train from the bundle" });
    const made = LoadedProgram.load(plan, this.states, this.#pool, this.#cache, progress);
    this.#programs.set(name, made);
    return made;
  }

  async bind(name: ProgramName, lengths: Lengths): Promise<BoundProgram> {
    return (await this.program(name)).bind(lengths);
  }

  /** Run one program: write its inputs, submit, read the wanted outputs. */
  async run(name: ProgramName, lengths: Lengths, values: Values, wanted: readonly string[]): Promise<Record<string, HostArray>> {
    const bound = await this.bind(name, lengths);
    bound.write(values);
    return this.submit([bound], wanted);
  }

  /** Several bound programs, whose inputs are written, in one submit. */
  submit(programs: readonly BoundProgram[], wanted: readonly string[]): Promise<Record<string, HostArray>> {
    return runPrograms(this.host, this.#stager, programs, wanted);
  }

  /** Bytes of all buffers this machine holds. */
  get bytes(): { states: number; arenas: number } {
    return { states: this.states.bytes, arenas: this.#pool.bytes };
  }

  async destroy(): Promise<void> {
    for (const p of this.#programs.values()) (await p.catch(() => undefined))?.destroy();
    this.#programs.clear();
    this.#pool.destroy();
    this.#stager.destroy();
    this.states.destroy();
  }
}
