// Attention cases on the adapter. In: cases and a target. Out: what is wrong with each, or undefined. Pipelines of a batch of
// cases are made at the same time, since making them takes longer than running them.

import type { Target } from "../../compiler/kernel/kernel.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import type { GpuHost } from "../../runtime/device/host.ts";
import { ArenaPool, LoadedProgram, runPrograms, Stager } from "../../runtime/exec/executor.ts";
import { PipelineCache } from "../../runtime/exec/pipelines.ts";
import { StateStore } from "../../runtime/exec/states.ts";
import type { AttentionCase } from "./attention_graph.ts";
import { attentionGraph, attentionInputs, attentionProgram, attentionTruth, firstWrong, lengthsOf } from "./attention_graph.ts";

export const attentionPlan = (c: AttentionCase, target: Target, backward = true): Plan =>
  assemble(attentionProgram(attentionGraph(c, backward), target), { target, states: [] });

type Numbers = Record<string, Float32Array | Int32Array | Uint32Array>;

/** A plan with its pipelines and buffers of its own. */
export class AttentionRun {
  readonly #program: LoadedProgram;
  readonly #stager: Stager;
  readonly cache: PipelineCache;

  private constructor(program: LoadedProgram, cache: PipelineCache) {
    this.#program = program;
    this.#stager = new Stager(program.pool.host);
    this.cache = cache;
  }

  static async load(plan: Plan, host: GpuHost): Promise<AttentionRun> {
    const cache = new PipelineCache(host);
    return new AttentionRun(await LoadedProgram.load(plan, new StateStore(host), new ArenaPool(host), cache), cache);
  }

  async run(inputs: Numbers, lengths: Readonly<Record<string, number>>): Promise<Numbers> {
    const bound = this.#program.bind(lengths);
    bound.write(inputs);
    return runPrograms(this.#program.pool.host, this.#stager, [bound], Object.keys(this.#program.plan.outputs));
  }

  destroy(): void {
    this.#program.destroy();
    this.#stager.destroy();
    this.#program.pool.destroy();
  }
}

/** The first wrong number of a case, forward and gradients; undefined when all are right. */
export async function wrongOnGpu(c: AttentionCase, target: Target, host: GpuHost, { backward = true, tolerance = 2e-4 } = {}): Promise<string | undefined> {
  const graph = attentionGraph(c, backward);
  const run = await AttentionRun.load(assemble(attentionProgram(graph, target), { target, states: [] }), host);
  const inputs = attentionInputs(c, graph);
  const got = await run.run(inputs, lengthsOf(c));
  run.destroy();
  return firstWrong(attentionTruth(c, graph, inputs), got, tolerance);
}
