// In: a scheduled Program, the target and the state buffers of the bundle. Out: the Plan the runtime runs.
// Every tensor gets an arena and temps their live range; kernels become modules, and equal texts become one module.
// Places are not decided here: layout.ts does that when the lengths are known. Throws for a program that breaks the
// contracts of kernel.ts or needs more storage bindings than the target has (fusion must split before).

import type { Dispatch, Kernel, Program, ProgramStep, ProgramTensor, Target } from "../kernel/kernel.ts";
import { liveRanges, touched } from "../kernel/memory.ts";
import { kernelProven } from "../kernel/bounds.ts";
import { exprText } from "../scalar/print.ts";
import { emitModule } from "../wgsl/emit.ts";
import { planCost } from "./cost.ts";
import { contentHash } from "./hash.ts";
import type { Plan, PlanArena, PlanDispatch, PlanModule, PlanStep, PlanTensor, StateBuffer } from "./plan.ts";
import { planVersion } from "./plan.ts";
import { toIntExpr } from "./sizes.ts";

export interface AssembleOptions {
  readonly target: Target;
  readonly states: readonly StateBuffer[];
}

export function assemble(program: Program, opts: AssembleOptions): Plan {
  const used = touched(program);
  const kept = program.tensors.filter((t) => t.kind !== "temp" || used.has(t.name));
  const arenas: PlanArena[] = [];
  const tensors = placeTensors(program, kept, opts.states, arenas);
  const index = new Map(kept.map((t, i) => [t.name, i]));
  const indexOf = (name: string): number => {
    const i = index.get(name);
    if (i === undefined) throw new Error(`program ${program.name} has no tensor ${name}`);
    return i;
  };

  const modules = new ModuleTable(opts.target);
  const stepOf = (s: ProgramStep): PlanStep =>
    s.kind === "repeat"
      ? { kind: "repeat", name: s.name, count: toIntExpr(s.count), steps: s.steps.map(stepOf) }
      : dispatchStep(s.dispatch, modules, indexOf, tensors, opts.target.f16);
  const steps = program.steps.map(stepOf);

  const inputs = Object.fromEntries(kept.flatMap((t, i) => (t.kind === "input" ? [[t.name, i] as const] : [])));
  const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, tensor]) => [name, indexOf(tensor)]));
  const body = {
    version: planVersion,
    name: program.name,
    target: opts.target.name,
    requires: { limits: modules.limits(), features: modules.features(), subgroupSize: 0 },
    lengths: program.lengths,
    arenas,
    tensors,
    modules: modules.all,
    steps,
    inputs,
    outputs,
    cost: planCost(program),
  };
  return { ...body, hash: contentHash(body) };
}

function placeTensors(program: Program, kept: readonly ProgramTensor[], states: readonly StateBuffer[], arenas: PlanArena[]): PlanTensor[] {
  const live = liveRanges(program);
  const arenaOf = (name: string, dtype: PlanArena["dtype"], kind: PlanArena["class"]): number => {
    const at = arenas.findIndex((a) => a.name === name && a.class === kind);
    return at >= 0 ? at : arenas.push({ name, dtype, class: kind }) - 1;
  };
  return kept.map((t): PlanTensor => {
    const base = {
      name: t.name, dtype: t.dtype, kind: t.kind, size: toIntExpr(t.size),
      axes: t.axes.map((a) => ({ name: a.name, size: toIntExpr(a.size) })),
    };
    if (t.kind === "state") {
      const state = stateView(t, states);
      return { ...base, arena: arenaOf(state.buffer, t.dtype, "state"), state };
    }
    const range = t.kind === "temp" ? live.get(t.name) : undefined;
    return { ...base, arena: arenaOf(`${t.kind}.${t.dtype}`, t.dtype, t.kind), ...(range ? { live: range } : {}) };
  });
}

/** A state tensor is `<buffer>` or `<buffer>/<field>`. */
function stateView(t: ProgramTensor, states: readonly StateBuffer[]): { buffer: string; offset: number } {
  for (const b of states) {
    if (b.name !== t.name && !t.name.startsWith(`${b.name}/`)) continue;
    if (b.dtype !== t.dtype) throw new Error(`state ${t.name} is ${t.dtype}, its buffer ${b.dtype}`);
    if (b.name === t.name) return { buffer: b.name, offset: 0 };
    const field = b.fields.find((f) => f.name === t.name.slice(b.name.length + 1));
    if (field) return { buffer: b.name, offset: field.offset };
  }
  throw new Error(`no state buffer holds ${t.name}`);
}

class ModuleTable {
  readonly #modules: Omit<PlanModule, "proven">[] = [];
  readonly #proven: boolean[] = [];
  /** Proofs depend on the sizes of operands, too, which the text does not show. */
  readonly #proofs = new Map<string, boolean>();
  readonly #byText = new Map<string, number>();
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
  }

  get all(): PlanModule[] {
    return this.#modules.map((m, i) => ({ ...m, proven: this.#proven[i] ?? false }));
  }

  add(module: Omit<PlanModule, "proven">, kernel: Kernel): number {
    const t = this.#target;
    if (module.bindings.length > t.storageBuffers)
      throw new Error(`kernel ${kernel.name} binds ${module.bindings.length} storage buffers; ${t.name} has ${t.storageBuffers}`);
    let at = this.#byText.get(module.wgsl);
    if (at === undefined) {
      at = this.#modules.push(module) - 1;
      this.#byText.set(module.wgsl, at);
      this.#proven.push(true);
    }
    const key = [module.wgsl, ...kernel.operands.map((o) => o.size), ...kernel.grid].map((x) => (typeof x === "string" ? x : exprText(x))).join("\n");
    let proof = this.#proofs.get(key);
    if (proof === undefined) this.#proofs.set(key, (proof = kernelProven(kernel)));
    this.#proven[at] &&= proof;
    return at;
  }

  features(): string[] {
    return this.#target.f16 && this.#modules.some((m) => m.bindings.some((b) => b.dtype === "f16")) ? ["shader-f16"] : [];
  }

  limits(): Record<string, number> {
    const most = (f: (m: Omit<PlanModule, "proven">) => number): number => this.#modules.reduce((n, m) => Math.max(n, f(m)), 0);
    return {
      maxStorageBuffersPerShaderStage: most((m) => m.bindings.length),
      maxComputeWorkgroupStorageSize: most((m) => m.workgroupBytes),
      maxComputeInvocationsPerWorkgroup: most((m) => m.workgroup[0] * m.workgroup[1] * m.workgroup[2]),
    };
  }
}

function dispatchStep(d: Dispatch, modules: ModuleTable, indexOf: (name: string) => number, tensors: readonly PlanTensor[], f16: boolean): PlanDispatch {
  const { kernel } = d;
  const operands = kernel.operands.map((op) => {
    const tensor = d.bind[op.name];
    if (tensor === undefined) throw new Error(`kernel ${kernel.name}: operand ${op.name} is bound to nothing`);
    return indexOf(tensor);
  });
  const { arenas, ...module } = emitModule(kernel, (name) => {
    const t = tensors[operands[kernel.operands.findIndex((op) => op.name === name)] ?? -1];
    if (!t) throw new Error(`kernel ${kernel.name}: no operand ${name}`);
    return { arena: t.arena, dtype: t.dtype };
  }, f16);
  const paths = [...new Set(kernel.origins.map((o) => o.path).filter((p) => p !== ""))];
  const span = kernel.origins.find((o) => o.spans.length > 0)?.spans[0];
  return {
    kind: "dispatch",
    name: kernel.name,
    module: modules.add(module, kernel),
    grid: [toIntExpr(kernel.grid[0]), toIntExpr(kernel.grid[1]), toIntExpr(kernel.grid[2])],
    arenas,
    operands,
    path: paths.length > 3 ? `${paths.slice(0, 3).join(", ")}, ...` : paths.join(", "),
    ...(span ? { place: { source: span.source, start: span.start, end: span.end } } : {}),
  };
}
