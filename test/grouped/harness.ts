// A graph of rows in classes, checked in every way there is: the graph interpreter against the kernel interpreter (bounds, races) on both
// targets, the verifier, the prover, Dawn's null backend, and where asked a real adapter.

import { expect } from "vitest";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId, TensorType } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { printGraph } from "../../compiler/graph/print.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import type { Lengths, Numbers } from "../fuse/check.ts";
import { array, check, dispatchesOf, targets } from "../fuse/check.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { runOnGpu } from "../gpu/run_program.ts";
import { spread } from "../graph/cases.ts";

export interface Made {
  readonly graph: Graph;
  readonly inputs: Numbers;
  readonly lengths: Lengths;
}

type Input = (name: string, type: TensorType) => NodeId;

/** f32 inputs get numbers of their own; the others come with `values`. */
export function make(build: (m: Make, x: Input) => void, lengths: Lengths, values: Numbers = {}): Made {
  const builder = new GraphBuilder("rows");
  const m = new Make(builder, originAt("rows"));
  const inputs: Record<string, readonly number[]> = {};
  build(m, (name, type) => {
    inputs[name] = values[name] ?? spread(product(shapeOf(type, lengths)), Object.keys(inputs).length + 1);
    return m.input(name, type);
  });
  return { graph: builder.finish(), inputs, lengths };
}

/** Kernels depend on the graph alone: what was proven and compiled once is so for every routing. */
const seen = new Set<string>();

/** `proven`: the targets for which every access must have its proof; memory in an odd order may lack it where tiles are staged. */
export async function sound(made: Made, proven: readonly Target[] = targets): Promise<void> {
  check(made.graph, made, 1e-4);
  const text = printGraph(made.graph);
  if (seen.has(text)) return;
  seen.add(text);
  for (const target of targets) {
    const program = mergeDispatches(scheduleGraph(made.graph, target, templates), target);
    if (proven.includes(target)) for (const d of dispatchesOf(program)) expect(unprovenAccesses(d.kernel).map(unprovenText), `${target.name} ${d.kernel.name}`).toEqual([]);
    for (const { wgsl } of assemble(program, { target, states: [] }).modules) expect(await explainProblems(wgsl)).toBe("");
  }
}

/** Software kernels on the adapter there is; `guaranteed` ones, whose barriers are slow there, are left to the interpreter. */
export async function runs(made: Made): Promise<void> {
  const want = interpret(made.graph, { inputs: made.inputs, state: {}, lengths: made.lengths });
  const program = mergeDispatches(scheduleGraph(made.graph, software, templates), software);
  const data = Object.fromEntries(program.tensors.filter((t) => t.kind === "input").map((t) => [t.name, array(t.dtype, made.inputs[t.name] ?? [])]));
  const got = await runOnGpu(program, data, made.lengths, { target: software });
  for (const o of made.graph.outputs) {
    const value = want.outputs[o.name]?.data ?? [];
    const scale = Math.max(1e-3, ...Array.from(value, Math.abs));
    value.forEach((v, i) => {
      const x = got.outputs[o.name]?.[i] as number;
      if (!(Math.abs(x - v) <= 1e-4 * scale)) throw new Error(`${o.name}[${i}] is ${x}, not ${v}`);
    });
  }
}
