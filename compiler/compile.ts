// A checked Model to everything the runtime needs: ModelSpec, state buffers and one Plan a program.
// Programs are derived, not written: loss, grad, optimizer, generation steps all come from the one Model.
// Refuses a model with parts that are not built yet; those diagnostics are the caller's to show.

import type { Diagnostic } from "../grammar/diagnostic.ts";
import { placeAt, type Source } from "../grammar/source.ts";
import type { Graph } from "./graph/graph.ts";
import type { Target } from "./kernel/kernel.ts";
import { lowerForward } from "./lower/forward.ts";
import { layoutParameters, modelSpec, parameterStates } from "./lower/model_spec.ts";
import { lowerAccumulate, lowerApply, lowerFinish } from "./lower/optimizer.ts";
import { lowerRouting } from "./lower/routing.ts";
import { lowerBeside, lowerStep } from "./lower/step.ts";
import { lowerTraining } from "./lower/train.ts";
import { cacheSoundness } from "./mask/soundness.ts";
import { assemble } from "./plan/assemble.ts";
import type { ModelSpec, ProgramName } from "./plan/manifest.ts";
import type { Plan, PlanStep, StateBuffer } from "./plan/plan.ts";
import type { Precision } from "./passes.ts";
import { type Observer, runPasses } from "./run_passes.ts";
import type { Model } from "./types/model.ts";

export interface CompileOptions {
  readonly target: Target;
  readonly remat?: boolean;
  /** Storage of attention's operands and of the cache; default f32. */
  readonly precision?: Precision;
  readonly programs: readonly ProgramName[];
  readonly observer?: Observer;
  /** Texts by path: errors at run time then name lines, not offsets. */
  readonly sources?: (path: string) => Source | undefined;
  readonly progress?: (program: ProgramName, done: number, total: number) => void;
}

export interface CompiledModel {
  readonly spec: ModelSpec;
  readonly states: readonly StateBuffer[];
  readonly plans: Readonly<Partial<Record<ProgramName, Plan>>>;
}

export const INFERENCE: readonly ProgramName[] = ["step", "denoise", "beside"];

/** Programs that training needs, for a model and its settings. */
export const trainingPrograms = (model: Model): ProgramName[] => ["grad", "apply", ...(model.train.accumulate > 1 ? (["accumulate", "finish"] as const) : [])];

export type CompileResult = { readonly ok: true; readonly compiled: CompiledModel } | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

export function compileModel(model: Model, options: CompileOptions): CompileResult {
  if (model.notBuilt.length > 0) return { ok: false, diagnostics: model.notBuilt };
  const layout = layoutParameters(model);
  const soundness = cacheSoundness(model);
  const states = new Map<string, StateBuffer>(parameterStates(model, layout).map((s) => [s.name, s]));
  const plans: Partial<Record<ProgramName, Plan>> = {};
  const wanted = options.programs.filter((p) => (p === "denoise" ? model.processes.length > 0 : p !== "beside" || lowerBeside(model).paths.size > 0));
  wanted.forEach((name, i) => {
    options.progress?.(name, i, wanted.length);
    const graph = graphOf(model, name, layout, states, options.precision);
    const program = runPasses(graph, { target: options.target, remat: options.remat ?? false, precision: options.precision ?? "f32" }, options.observer);
    plans[name] = withRows(assemble(program, { target: options.target, states: [...states.values()] }), options.sources);
  });
  options.progress?.(wanted[wanted.length - 1] ?? "step", wanted.length, wanted.length);
  const cache = soundness.sound ? ({ sound: true } as const) : ({ sound: false, reason: soundness.reason, keep: soundness.keep } as const);
  return { ok: true, compiled: { spec: modelSpec(model, layout, cache), states: [...states.values()], plans } };
}

/** Adds to each line of WGSL, and to each dispatch, the line of the spec it comes from. */
function withRows(plan: Plan, sources: CompileOptions["sources"]): Plan {
  if (!sources) return plan;
  const modules = plan.modules.map((m) => ({
    ...m,
    lines: m.lines.map((l) => {
      const source = sources(l.source);
      return source ? { ...l, row: placeAt(source, l.start).line } : l;
    }),
  }));
  const step = (s: PlanStep): PlanStep => {
    if (s.kind === "repeat") return { ...s, steps: s.steps.map(step) };
    const source = s.place && sources(s.place.source);
    return s.place && source ? { ...s, place: { ...s.place, row: placeAt(source, s.place.start).line } } : s;
  };
  return { ...plan, modules, steps: plan.steps.map(step) };
}

/** The graph of one program; generation adds its caches to the states. */
export function graphOf(model: Model, name: ProgramName, layout: ReturnType<typeof layoutParameters>, states: Map<string, StateBuffer>, precision: Precision = "f32"): Graph {
  switch (name) {
    case "forward":
      return lowerForward(model);
    case "routing":
      return lowerRouting(model);
    case "loss":
    case "grad":
      return lowerTraining(model, name);
    case "apply":
      return lowerApply(model.train, layout);
    case "accumulate":
      return lowerAccumulate(layout);
    case "finish":
      return lowerFinish(layout);
    case "step":
    case "denoise":
    case "beside": {
      const { graph, caches } = name === "beside" ? lowerBeside(model, precision) : lowerStep(model, name, precision);
      for (const c of caches) states.set(c.name, c);
      return graph;
    }
  }
}
