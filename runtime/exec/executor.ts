// Runs plans. In: a Plan, a StateStore, lengths and input arrays. Out: output arrays.
// Everything is prepared when lengths are bound: places in the arenas, uniform blocks, bind groups. A run is then one write
// of the inputs, one submit for any number of programs, and at most one read-back. Lengths that were seen before cost nothing.
// Refuses inputs that are missing, unknown or of another size, naming the axis.

import { evalInt } from "../../compiler/plan/expr.ts";
import { layoutPlan, type PlanLayout } from "../../compiler/plan/layout.ts";
import { packHalves, unpackHalves } from "../../compiler/plan/half.ts";
import { elementBytes } from "../../compiler/plan/plan.ts";
import type { Plan, PlanDispatch, PlanStep, StorageType } from "../../compiler/plan/plan.ts";
import type { GpuHost } from "../device/device.ts";
import { HeddleError } from "../error.ts";
import { PipelineCache, type Progress } from "./pipelines.ts";
import type { HostArray, StateStore } from "./states.ts";

export type Lengths = Readonly<Record<string, number>>;
export type Values = Readonly<Record<string, HostArray>>;

interface Ready {
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly step: PlanDispatch;
}

/** f16 crosses the border as f32. */
const ARRAYS = { f32: Float32Array, f16: Float32Array, i32: Int32Array, u32: Uint32Array } as const;
const wholeWords = (bytes: number): number => Math.ceil(bytes / 4) * 4;
const USAGE = (): number => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;

/** Temp, input and output arenas, shared by every program of one device: grown, never shrunk. */
export class ArenaPool {
  readonly host: GpuHost;
  version = 0;
  readonly #buffers = new Map<string, GPUBuffer>();

  constructor(host: GpuHost) {
    this.host = host;
  }

  ensure(key: string, least: number): void {
    const bytes = Math.max(16, Math.ceil(least / 16) * 16);
    const old = this.#buffers.get(key);
    if (old && old.size >= bytes) return;
    const limit = this.host.device.limits.maxStorageBufferBindingSize;
    if (bytes > limit)
      throw new HeddleError({
        code: "E0551",
        message: `the \`${key}\` arena needs ${mib(bytes)}, but this device binds at most ${mib(limit)} at once`,
        help: "use a smaller batch or shorter sequences, or an adapter with a higher limit (`heddle doctor`)",
      });
    old?.destroy();
    this.#buffers.set(key, this.host.device.createBuffer({ label: key, size: bytes, usage: USAGE() }));
    this.version++;
  }

  buffer(key: string): GPUBuffer {
    const b = this.#buffers.get(key);
    if (!b) throw new Error(`no arena ${key}`);
    return b;
  }

  get bytes(): number {
    let n = 0;
    for (const b of this.#buffers.values()) n += b.size;
    return n;
  }

  destroy(): void {
    for (const b of this.#buffers.values()) b.destroy();
    this.#buffers.clear();
  }
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** A plan with its pipelines. */
export class LoadedProgram {
  readonly plan: Plan;
  readonly states: StateStore;
  readonly pool: ArenaPool;
  readonly #pipelines: readonly GPUComputePipeline[];
  readonly #bound = new Map<string, BoundProgram>();

  private constructor(plan: Plan, states: StateStore, pool: ArenaPool, pipelines: readonly GPUComputePipeline[]) {
    this.plan = plan;
    this.states = states;
    this.pool = pool;
    this.#pipelines = pipelines;
  }

  static async load(plan: Plan, states: StateStore, pool: ArenaPool, cache: PipelineCache, progress?: Progress): Promise<LoadedProgram> {
    const lacking = plan.requires.features.filter((f) => !pool.host.info.features.includes(f));
    if (lacking.length > 0)
      throw new HeddleError({
        code: "E0543",
        message: `program \`${plan.name}\` was compiled for a device with ${lacking.map((f) => `\`${f}\``).join(", ")}, which this one lacks`,
        place: pool.host.info.name,
        help: "compile it again with `--target guaranteed`: halves then share words, which every device can do",
      });
    const pipelines = await cache.all(plan.modules, progress);
    pool.host.check();
    return new LoadedProgram(plan, states, pool, pipelines);
  }

  /** Prepare for these lengths; the same lengths give the same object. Keeps the 16 newest. */
  bind(lengths: Lengths): BoundProgram {
    const key = this.plan.lengths.map((n) => `${n}=${lengths[n]}`).join(" ");
    let bound = this.#bound.get(key);
    if (bound) this.#bound.delete(key);
    else bound = new BoundProgram(this, this.#pipelines, lengths);
    this.#bound.set(key, bound);
    for (const [old, b] of this.#bound) {
      if (this.#bound.size <= 16) break;
      this.#bound.delete(old);
      b.destroy();
    }
    return bound;
  }

  destroy(): void {
    for (const b of this.#bound.values()) b.destroy();
    this.#bound.clear();
  }
}

/** A program at fixed lengths. */
export class BoundProgram {
  readonly program: LoadedProgram;
  readonly lengths: Lengths;
  readonly layout: PlanLayout;
  readonly #pipelines: readonly GPUComputePipeline[];
  #ready: Ready[] = [];
  #uniforms: GPUBuffer | undefined;
  #versions = "";

  constructor(program: LoadedProgram, pipelines: readonly GPUComputePipeline[], lengths: Lengths) {
    this.program = program;
    this.#pipelines = pipelines;
    this.lengths = lengths;
    for (const n of program.plan.lengths)
      if (lengths[n] === undefined) throw new HeddleError({ code: "E0552", message: `program \`${program.plan.name}\` needs the length \`${n}\`` });
    this.layout = layoutPlan(program.plan, lengths);
    this.#reserve();
  }

  get dispatches(): number {
    this.prepare();
    return this.#ready.length;
  }

  #key(arena: number): string {
    const a = this.program.plan.arenas[arena];
    if (!a) throw new Error(`no arena ${arena}`);
    // Programs run one after another, so temps are shared; inputs and outputs outlive their program within a submit.
    return a.class === "temp" ? a.name : `${this.program.plan.name}.${a.class}.${a.dtype}`;
  }

  #reserve(): void {
    const { plan, pool } = this.program;
    plan.arenas.forEach((a, i) => {
      if (a.class !== "state") pool.ensure(this.#key(i), elementBytes(a.dtype) * (this.layout.arenaElements[i] ?? 0));
    });
  }

  /** Make bind groups, or remake them after a buffer they name was replaced. */
  prepare(): void {
    const { plan, pool, states } = this.program;
    this.#reserve();
    const versions = `${pool.version}.${states.version}`;
    if (versions === this.#versions) return;
    this.#versions = versions;
    const flat = flatten(plan.steps, this.lengths);
    const { device } = pool.host;
    const align = Math.max(256, device.limits.minUniformBufferOffsetAlignment);
    const blockBytes = flat.map(({ step }) => {
      const m = plan.modules[step.module];
      return Math.ceil(((m?.lengths.length ?? 0) + step.operands.length) / 4) * 16 || 16;
    });
    const starts: number[] = [];
    let total = 0;
    for (const b of blockBytes) {
      starts.push(total);
      total += Math.ceil(b / align) * align;
    }
    const words = new Int32Array(Math.max(4, total / 4));
    this.#uniforms?.destroy();
    const uniforms = device.createBuffer({ label: `${plan.name} uniforms`, size: words.byteLength, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.#uniforms = uniforms;
    this.#ready = [];
    flat.forEach(({ step, lengths }, i) => {
      const module = plan.modules[step.module];
      const pipeline = this.#pipelines[step.module];
      if (!module || !pipeline) throw new Error(`step ${i} names module ${step.module}`);
      const start = starts[i] ?? 0;
      let w = start / 4;
      for (const n of module.lengths) words[w++] = evalInt(n, lengths);
      for (const t of step.operands) words[w++] = this.layout.offsets[t] ?? 0;
      const grid = step.grid.map((g) => evalInt(g, lengths)) as [number, number, number];
      if (grid.some((g) => g === 0)) return;
      const buffers = step.arenas.map((a) => {
        const arena = plan.arenas[a];
        return arena?.class === "state" ? states.buffer(arena.name) : pool.buffer(this.#key(a));
      });
      const group = device.createBindGroup({
        label: labelOf(step),
        layout: pipeline.getBindGroupLayout(0),
        entries: [
          { binding: 0, resource: { buffer: uniforms, offset: start, size: blockBytes[i] ?? 16 } },
          ...buffers.map((buffer, b) => ({ binding: b + 1, resource: { buffer } })),
        ],
      });
      this.#ready.push({ name: step.name, pipeline, group, grid, step });
    });
    device.queue.writeBuffer(uniforms, 0, words);
  }

  /** Copy inputs into the input arena. */
  write(values: Values): void {
    const { plan, pool } = this.program;
    for (const [name, data] of Object.entries(values)) {
      const t = plan.inputs[name];
      const tensor = t === undefined ? undefined : plan.tensors[t];
      if (!tensor || t === undefined)
        throw new HeddleError({ code: "E0555", message: `program \`${plan.name}\` has no input \`${name}\`; it has ${Object.keys(plan.inputs).join(", ")}` });
      const size = evalInt(tensor.size, this.lengths);
      if (data.length !== size)
        throw new HeddleError({
          code: "E0554",
          message: `input \`${name}\` has ${data.length} numbers, but ${tensor.axes.map((a) => `${a.name} = ${evalInt(a.size, this.lengths)}`).join(", ")} make ${size}`,
        });
      if (size === 0) continue;
      const plain = data.buffer instanceof ArrayBuffer ? data : data.slice();
      const typed = tensor.dtype === "f16" ? packHalves(plain) : plain instanceof ARRAYS[tensor.dtype] ? plain : new ARRAYS[tensor.dtype](plain);
      pool.host.device.queue.writeBuffer(pool.buffer(this.#key(tensor.arena)), (this.layout.offsets[t] ?? 0) * elementBytes(tensor.dtype), typed as Float32Array<ArrayBuffer>);
    }
    for (const name of Object.keys(plan.inputs))
      if (!(name in values)) throw new HeddleError({ code: "E0555", message: `program \`${plan.name}\` needs the input \`${name}\`` });
  }

  encode(pass: GPUComputePassEncoder): void {
    for (const r of this.#ready) {
      pass.setPipeline(r.pipeline);
      pass.setBindGroup(0, r.group);
      pass.dispatchWorkgroups(...r.grid);
    }
  }

  /** The prepared dispatches, for a profile. */
  get steps(): readonly { readonly name: string; readonly path: string; encode(pass: GPUComputePassEncoder): void }[] {
    return this.#ready.map((r) => ({
      name: r.name,
      path: r.step.path,
      encode: (pass) => {
        pass.setPipeline(r.pipeline);
        pass.setBindGroup(0, r.group);
        pass.dispatchWorkgroups(...r.grid);
      },
    }));
  }

  /** Where an output lies. */
  output(name: string): { buffer: GPUBuffer; offset: number; elements: number; dtype: StorageType } {
    const { plan, pool, states } = this.program;
    const t = plan.outputs[name];
    const tensor = t === undefined ? undefined : plan.tensors[t];
    if (!tensor || t === undefined) throw new HeddleError({ code: "E0555", message: `program \`${plan.name}\` has no output \`${name}\`` });
    const arena = plan.arenas[tensor.arena];
    const buffer = arena?.class === "state" ? states.buffer(arena.name) : pool.buffer(this.#key(tensor.arena));
    return { buffer, offset: (this.layout.offsets[t] ?? 0) * elementBytes(tensor.dtype), elements: evalInt(tensor.size, this.lengths), dtype: tensor.dtype };
  }

  destroy(): void {
    this.#uniforms?.destroy();
    this.#uniforms = undefined;
    this.#ready = [];
    this.#versions = "";
  }
}

function flatten(steps: readonly PlanStep[], lengths: Lengths): { step: PlanDispatch; lengths: Lengths }[] {
  return steps.flatMap((s) =>
    s.kind === "dispatch"
      ? [{ step: s, lengths }]
      : Array.from({ length: evalInt(s.count, lengths) }, (_, i) => flatten(s.steps, { ...lengths, [s.name]: i })).flat(),
  );
}

/** Dawn repeats labels in its messages: this one says which part of the model and which line of the spec a dispatch is. */
const labelOf = (step: PlanDispatch): string => `${step.name}${step.place ? ` (${step.place.source}${step.place.row === undefined ? "" : `:${step.place.row}`})` : ""}`;

/** Runs `act`; what the GPU reports gets the programs that ran and, where the message names a dispatch, its line of the spec. */
function atSpec(programs: readonly BoundProgram[], act: () => void): void {
  try {
    act();
  } catch (thrown) {
    if (!(thrown instanceof HeddleError)) throw thrown;
    const names = programs.map((p) => `\`${p.program.plan.name}\``).join(", ");
    const line = /\(([^()]+\.heddle:\d+)\)/.exec(thrown.message)?.[1] ?? placeOf(programs);
    throw new HeddleError({ code: thrown.code, message: `${thrown.message} (while running ${names})`, place: [line, thrown.place].filter((x) => x !== undefined).join(", on ") || undefined, help: thrown.help, exit: thrown.exit, cause: thrown });
  }
}

/** The spec that the programs come from, where no single dispatch is named. */
function placeOf(programs: readonly BoundProgram[]): string | undefined {
  for (const p of programs) for (const s of p.program.plan.steps) if (s.kind === "dispatch" && s.place && !s.place.source.startsWith("stdlib/")) return s.place.source;
  return undefined;
}

/** Staging buffers for read-back, kept between runs. */
export class Stager {
  readonly host: GpuHost;
  readonly #free: GPUBuffer[] = [];

  constructor(host: GpuHost) {
    this.host = host;
  }

  take(bytes: number): GPUBuffer {
    const at = this.#free.findIndex((b) => b.size >= bytes);
    const found = at >= 0 ? this.#free.splice(at, 1)[0] : undefined;
    return found ?? this.host.device.createBuffer({ size: Math.max(256, bytes), usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  }

  give(buffer: GPUBuffer): void {
    this.#free.push(buffer);
  }

  destroy(): void {
    for (const b of this.#free) b.destroy();
    this.#free.length = 0;
  }
}

/** Run bound programs, in order, in one submit; returns the wanted outputs of the last that has them. */
export async function runPrograms(
  host: GpuHost,
  stager: Stager,
  programs: readonly BoundProgram[],
  wanted: readonly string[],
): Promise<Record<string, HostArray>> {
  for (const p of programs) p.prepare();
  for (const p of programs) p.prepare(); // a later program may have grown a shared arena
  const { device } = host;
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const p of programs) p.encode(pass);
  pass.end();
  const sources = wanted.map((name) => {
    const owner = [...programs].reverse().find((p) => name in p.program.plan.outputs);
    if (!owner) throw new HeddleError({ code: "E0555", message: `no program has the output \`${name}\`` });
    const place = owner.output(name);
    return { name, ...place, bytes: wholeWords(place.elements * elementBytes(place.dtype)) };
  });
  const total = sources.reduce((n, s) => n + s.bytes, 0);
  const staging = total > 0 ? stager.take(total) : undefined;
  let at = 0;
  for (const s of sources) {
    if (staging && s.bytes > 0) encoder.copyBufferToBuffer(s.buffer, s.offset, staging, at, s.bytes);
    at += s.bytes;
  }
  device.queue.submit([encoder.finish()]);
  const out: Record<string, HostArray> = {};
  if (!staging) {
    for (const s of sources) out[s.name] = new ARRAYS[s.dtype](0);
    atSpec(programs, () => host.check());
    return out;
  }
  await host.settle(staging.mapAsync(GPUMapMode.READ, 0, total)).catch((thrown: unknown) => atSpec(programs, () => { throw thrown; }));
  atSpec(programs, () => host.check());
  const bytes = staging.getMappedRange(0, total);
  at = 0;
  for (const s of sources) {
    const own = bytes.slice(at, at + s.bytes);
    out[s.name] = s.dtype === "f16" ? unpackHalves(own, s.elements) : new ARRAYS[s.dtype](own);
    at += s.bytes;
  }
  staging.unmap();
  stager.give(staging);
  return out;
}
