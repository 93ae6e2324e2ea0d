// One graph, three readings: the graph interpreter says what it means, the kernel interpreter runs what fusion made of it.
// Helpers for the tests of fusion; every program is verified before it runs.

import { expect } from "vitest";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { shapeOf, product } from "../../compiler/graph/value.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import type { TensorData } from "../../compiler/kernel/interpret.ts";
import type { Dispatch, Program, ProgramStep, Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { printProgram } from "../../compiler/kernel/print.ts";
import type { ScheduleOptions } from "../../compiler/kernel/schedule.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { verifyProgram } from "../../compiler/kernel/verify.ts";

export const targets: readonly Target[] = [guaranteed, software];
export type Numbers = Readonly<Record<string, readonly number[]>>;
export type Lengths = Readonly<Record<string, number>>;

export const dispatchesOf = (p: Program): Dispatch[] => {
  const of = (s: ProgramStep): Dispatch[] => (s.kind === "dispatch" ? [s.dispatch] : s.steps.flatMap(of));
  return p.steps.flatMap(of);
};
export const namesOf = (p: Program): string[] => dispatchesOf(p).map((d) => d.kernel.name);

export const array = (dtype: string, values: readonly number[]): TensorData =>
  dtype === "f32" || dtype === "f16" ? Float32Array.from(values) : dtype === "i32" ? Int32Array.from(values) : Uint32Array.from(values);

/** Runs both and compares every output and state; `tolerance` is relative to the largest element of a tensor. */
export function check(graph: Graph, given: { inputs?: Numbers; state?: Numbers; lengths?: Lengths }, tolerance = 2e-5, options: ScheduleOptions & { readonly on?: readonly Target[] } = {}): void {
  const lengths = given.lengths ?? {};
  const want = interpret(graph, { inputs: given.inputs ?? {}, state: given.state ?? {}, lengths });
  for (const target of options.on ?? targets) {
    const program = scheduleGraph(graph, target, templates, options);
    expect(verifyProgram(program, target), `${target.name}\n${printProgram(program)}`).toEqual([]);
    const tensors: Record<string, TensorData> = {};
    for (const t of program.tensors) {
      const values = t.kind === "input" ? given.inputs?.[t.name] : t.kind === "state" ? given.state?.[t.name] : undefined;
      if (values) tensors[t.name] = array(t.dtype, values);
    }
    const ran = runProgram(program, tensors, lengths);
    if (!ran.ok) throw new Error(`${target.name}: ${ran.fault.message}\n${printProgram(program)}`);
    for (const o of graph.outputs) {
      const got = ran.tensors[program.outputs[o.name] ?? ""];
      const value = o.into === undefined ? want.outputs[o.name] : want.state[o.into];
      if (!got || !value) throw new Error(`no output ${o.name}`);
      expect(got.length).toBe(product(shapeOf(value.type, lengths)));
      const scale = Math.max(1e-3, ...Array.from(value.data, Math.abs).filter((v) => v < 1e20));
      value.data.forEach((v, i) => {
        const x = got[i] as number;
        if (!(Math.abs(x - v) <= tolerance * scale + 1e-7 * Math.abs(v)))
          throw new Error(`${target.name}: ${o.name}[${i}] is ${x}, not ${v}\n${printProgram(program)}`);
      });
    }
  }
}
