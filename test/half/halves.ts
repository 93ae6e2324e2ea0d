// Graphs around f16 storage for the tests here, and one way to run them everywhere: graph interpreter, kernel interpreter, Dawn's
// null backend in both spellings, and an adapter.

import { expect } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import type { TensorData } from "../../compiler/kernel/interpret.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import { dataOf } from "../../compiler/kernel/interpret.ts";
import type { Program, Target } from "../../compiler/kernel/kernel.ts";
import { evalSize } from "../../compiler/kernel/sizes.ts";
import type { Precision } from "../../compiler/passes.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import type { Plan, StateBuffer } from "../../compiler/plan/plan.ts";
import { runPasses } from "../../compiler/run_passes.ts";
import { attr, binary } from "../../compiler/scalar/expr.ts";
import { explainProblems } from "../gpu/null_device.ts";

export const ax = (name: string, size: number | string = name): Axis => ({ name, size: typeof size === "number" ? dimConst(size) : dimVar(size) });

export function graph(name: string, make: (m: Make, b: GraphBuilder) => void): Graph {
  const b = new GraphBuilder(name);
  make(new Make(b, originAt("half")), b);
  return b.finish();
}

export interface AttentionSizes {
  readonly h: number;
  readonly g: number;
  readonly w: number;
  readonly v: number;
}

/** Causal attention of computed q, k and v (the inputs with their signs turned, which is exact), with its gradients. */
export const attention = (sizes: AttentionSizes): Graph =>
  graph("attention", (m, b) => {
    const [h, g, w, v] = [ax("h", sizes.h), ax("g", sizes.g), ax("w", sizes.w), ax("v", sizes.v)];
    const [t, s] = [ax("t"), ax("s")];
    const input = (name: string, axes: Axis[]): NodeId => m.input(name, { dtype: "f32", axes });
    const [q, k, value] = [m.neg(input("q", [t, h, g, w])), m.neg(input("k", [s, h, w])), m.neg(input("v", [s, h, v]))];
    const out = m.attend(q, k, value, {
      query: "t", key: "s", width: "w", value: "v", mask: binary("le", attr("k", "pos"), attr("q", "pos")), queryAttrs: { pos: m.iota(t) }, keyAttrs: { pos: m.iota(s) },
    });
    b.output("out", m.scale(out, 1));
    const loss = m.sum(m.mul(out, input("dout", [t, h, g, v])), "t", "h", "g", "v");
    gradients(b, loss, [q, k, value]).forEach((node, i) => b.output(["dq", "dk", "dv"][i] ?? "", node));
  });

export const scheduled = (g: Graph, target: Target, precision: Precision): Program => runPasses(g, { target, remat: false, precision });

/** States of one name before the `/` are fields of one buffer. */
export function planOf(program: Program, target: Target): Plan {
  const buffers = new Map<string, StateBuffer>();
  for (const t of program.tensors) {
    if (t.kind !== "state") continue;
    const [name = "", ...rest] = t.name.split("/");
    const size = evalSize(t.size, { batch: 1, t: 7, s: 7 });
    const old = buffers.get(name) ?? { name, dtype: t.dtype, size: 0, fields: [] };
    const offset = old.size as number;
    buffers.set(name, { ...old, size: offset + size, fields: rest.length === 0 ? [] : [...old.fields, { name: rest.join("/"), shape: [size], axes: ["n"], offset }] });
  }
  return assemble(program, { target, states: [...buffers.values()] });
}

/** Every module through Dawn, as the target spells it. */
export async function compiles(program: Program, target: Target): Promise<void> {
  const plan = planOf(program, target);
  for (const m of plan.modules) expect(await explainProblems(m.wgsl, target.f16 ? ["shader-f16"] : []), m.wgsl).toBe("");
}

export type Values = Readonly<Record<string, ArrayLike<number>>>;

export function tensorsOf(program: Program, values: Values): Record<string, TensorData> {
  return Object.fromEntries(program.tensors.flatMap((t) => (t.kind !== "temp" && values[t.name] ? [[t.name, dataOf(t.dtype, values[t.name] as ArrayLike<number>)]] : [])));
}

/** Outputs by name, from the kernel interpreter with its race checks on. */
export function interpreted(program: Program, values: Values, lengths: Readonly<Record<string, number>>): Record<string, TensorData> {
  const ran = runProgram(program, tensorsOf(program, values), lengths);
  if (!ran.ok) throw new Error(ran.fault.message);
  return Object.fromEntries(Object.entries(program.outputs).map(([name, tensor]) => [name, ran.tensors[tensor] as TensorData]));
}

export function farthest(got: ArrayLike<number> | undefined, want: ArrayLike<number> | undefined): number {
  if (!got || !want || got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Math.abs((got[i] ?? Number.NaN) - (want[i] ?? 0));
    if (!(d <= worst)) worst = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  }
  return worst;
}
