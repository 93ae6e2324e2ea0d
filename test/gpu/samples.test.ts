// The sample kernels on a real adapter give what the interpreter gives.

import { afterAll, describe, expect, it } from "vitest";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import type { Program } from "../../compiler/kernel/kernel.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { i32, length, mul } from "../../compiler/scalar/expr.ts";
import { chainProgram, rowSumKernel, tensor, tileProductKernel } from "../kernel_ir/samples.ts";
import { closeGpu, runOnGpu } from "./run_program.ts";

afterAll(closeGpu);

const floats = (n: number, f: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => f(i));

async function compare(program: Program, inputs: Record<string, Float32Array>, lengths: Record<string, number>, tolerance: number): Promise<void> {
  const expected = runProgram(program, inputs, lengths);
  if (!expected.ok) throw new Error(expected.fault.message);
  const { outputs } = await runOnGpu(program, inputs, lengths);
  for (const [name, tensorName] of Object.entries(program.outputs)) {
    const want = expected.tensors[tensorName] ?? [];
    expect(outputs[name]).toHaveLength(want.length);
    want.forEach((v: number, i: number) => expect(Math.abs((outputs[name]?.[i] ?? Number.NaN) - v), `${name}[${i}]`).toBeLessThanOrEqual(tolerance * (1 + Math.abs(v))));
  }
}

describe("on the adapter", () => {
  it("chains elementwise kernels through reused temps", () => compare(chainProgram(), { x: floats(1000, (i) => i * 0.25) }, { n: 1000 }, 0));

  it("runs merged kernels, reductions with barriers among them", async () => {
    const n = length("n");
    const chain = chainProgram();
    const program: Program = {
      ...chain,
      tensors: [...chain.tensors, tensor("rows", "input", mul(n, i32(40))), tensor("s1", "output", n), tensor("s2", "output", n)],
      steps: [...chain.steps, { kind: "dispatch", dispatch: rowSumKernel("rows", "s1") }, { kind: "dispatch", dispatch: rowSumKernel("rows", "s2") }],
      outputs: { ...chain.outputs, s1: "s1", s2: "s2" },
    };
    const merged = mergeDispatches(program, guaranteed);
    expect(merged.steps.length).toBe(program.steps.length - 2);
    await compare(merged, { x: floats(70, (i) => i), rows: floats(70 * 40, (i) => i % 5) }, { n: 70 }, 1e-6);
  });

  it("reduces rows", () => {
    const program: Program = {
      name: "sums", lengths: ["n"], tensors: [tensor("x", "input", mul(length("n"), i32(40))), tensor("y", "output", length("n"))],
      steps: [{ kind: "dispatch", dispatch: rowSumKernel() }], outputs: { y: "y" },
    };
    return compare(program, { x: floats(40 * 9, (i) => Math.sin(i)) }, { n: 9 }, 1e-5);
  });

  it("multiplies with unrolled register tiles", () => {
    const [m, n] = [length("m"), length("n")];
    const program: Program = {
      name: "product", lengths: ["m", "n"],
      tensors: [tensor("a", "input", mul(m, i32(12))), tensor("w", "input", mul(i32(12), n)), tensor("out", "output", mul(m, n))],
      steps: [{ kind: "dispatch", dispatch: tileProductKernel() }], outputs: { out: "out" },
    };
    return compare(program, { a: floats(13 * 12, (i) => Math.sin(i)), w: floats(12 * 11, (i) => Math.cos(i)) }, { m: 13, n: 11 }, 1e-5);
  });
});
