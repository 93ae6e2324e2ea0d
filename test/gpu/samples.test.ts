// The sample kernels on a real adapter give what the interpreter gives.

import { afterAll, describe, expect, it } from "vitest";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import type { Program } from "../../compiler/kernel/kernel.ts";
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
