// In: a Program, its tensors and lengths. Out: its outputs and written state, computed by a real adapter (SwiftShader when
// there is nothing better) through assemble and the runtime's executor. For differential tests against the interpreter.

import type { TensorData } from "../../compiler/kernel/interpret.ts";
import type { Program, Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { evalSize } from "../../compiler/kernel/sizes.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import type { StateBuffer } from "../../compiler/plan/plan.ts";
import { openDevice } from "../../runtime/device/device.ts";
import type { GpuHost } from "../../runtime/device/device.ts";
import { ArenaPool, LoadedProgram, Stager, runPrograms } from "../../runtime/exec/executor.ts";
import { PipelineCache } from "../../runtime/exec/pipelines.ts";
import { StateStore } from "../../runtime/exec/states.ts";

interface Gpu {
  readonly host: GpuHost;
  readonly cache: PipelineCache;
  readonly pool: ArenaPool;
  readonly stager: Stager;
}

let opened: Promise<Gpu> | undefined;

async function open(): Promise<Gpu> {
  const host = await openDevice();
  return { host, cache: new PipelineCache(host), pool: new ArenaPool(host), stager: new Stager(host) };
}

/** One device a process; closed by `closeGpu`. */
export function gpu(): Promise<Gpu> {
  opened ??= open();
  return opened;
}

export async function closeGpu(): Promise<void> {
  if (!opened) return;
  const g = await opened;
  opened = undefined;
  g.pool.destroy();
  g.stager.destroy();
  await g.host.destroy();
}

/** One state buffer a tensor, unless `states` says how they are laid out. */
function buffersOf(program: Program, lengths: Readonly<Record<string, number>>): StateBuffer[] {
  return program.tensors
    .filter((t) => t.kind === "state")
    .map((t) => ({ name: t.name, dtype: t.dtype, size: evalSize(t.size, lengths), fields: [] }));
}

export interface GpuRun {
  readonly outputs: Record<string, TensorData>;
  /** State tensors after the run, by tensor name. */
  readonly states: Record<string, Float32Array>;
}

export async function runOnGpu(
  program: Program,
  tensors: Readonly<Record<string, TensorData>>,
  lengths: Readonly<Record<string, number>>,
  opts: { readonly target?: Target; readonly states?: readonly StateBuffer[] } = {},
): Promise<GpuRun> {
  const { host, cache, pool, stager } = await gpu();
  const specs = opts.states ?? buffersOf(program, lengths);
  const plan = assemble(program, { target: opts.target ?? guaranteed, states: specs });
  const store = new StateStore(host);
  store.allocate(specs, lengths);
  const kind = (k: string): string[] => program.tensors.filter((t) => t.kind === k).map((t) => t.name);
  for (const name of kind("state")) {
    const data = tensors[name];
    if (data) store.write(name, data);
  }
  const loaded = await LoadedProgram.load(plan, store, pool, cache);
  const bound = loaded.bind(lengths);
  bound.write(Object.fromEntries(kind("input").map((n) => [n, tensors[n] ?? new Float32Array(0)])));
  const outputs = await runPrograms(host, stager, [bound], Object.keys(program.outputs));
  const states: Record<string, Float32Array> = {};
  for (const name of kind("state")) states[name] = await store.read(name);
  bound.destroy();
  store.destroy();
  return { outputs, states };
}
