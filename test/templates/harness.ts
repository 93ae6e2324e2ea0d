// In: a template's kernel over named tensors. Out: its results, after it passed the verifier, the bounds prover, the kernel
// interpreter with race checks, and Dawn's null backend. Every template test goes through here.

import { expect } from "vitest";
import type { Body, Point, SpaceAxis } from "../../compiler/kernel/body.ts";
import { elementIndex, KernelParts, spaceSize } from "../../compiler/kernel/body.ts";
import { unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import type { TensorData } from "../../compiler/kernel/interpret.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import type { Kernel, Program, StorageType, Target } from "../../compiler/kernel/kernel.ts";
import { evalSize } from "../../compiler/kernel/sizes.ts";
import type { KernelShape } from "../../compiler/kernel/templates.ts";
import { verifyKernel } from "../../compiler/kernel/verify.ts";
import { i32, length } from "../../compiler/scalar/expr.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { emitModule } from "../../compiler/wgsl/emit.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { runOnGpu } from "../gpu/run_program.ts";

export type Sizes = Readonly<Record<string, number>>;

/** Numbers in [-1, 1) that do not repeat soon and depend on the seed alone. */
export function randoms(n: number, seed: number): Float32Array {
  let x = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: n }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x >>> 8) / (1 << 23) - 1;
  });
}

/** An axis of constant size, or of run-time size when its name is among the run-time ones. */
export const axisOf = (name: string, sizes: Sizes, runtime: ReadonlySet<string>): SpaceAxis =>
  ({ name, size: runtime.has(name) ? length(name) : i32(sizes[name] ?? 1) });

export class Rig {
  readonly parts = new KernelParts();
  readonly #tensors = new Map<string, { axes: readonly SpaceAxis[]; dtype: StorageType; kind: "input" | "output" }>();

  /** A tensor read at points of the kernel. */
  input(name: string, axes: readonly SpaceAxis[], dtype: StorageType = "f32"): (b: Body, at: Point) => ScalarExpr {
    this.#tensors.set(name, { axes, dtype, kind: "input" });
    return (b, at) => b.load(this.parts.operand(name, dtype, spaceSize(axes), "read"), elementIndex(axes, at));
  }

  output(name: string, axes: readonly SpaceAxis[]): (b: Body, at: Point, value: ScalarExpr) => void {
    this.#tensors.set(name, { axes, dtype: "f32", kind: "output" });
    return (b, at, value) => b.store(this.parts.operand(name, "f32", spaceSize(axes), "write"), elementIndex(axes, at), value);
  }

  program(shape: KernelShape, runtime: ReadonlySet<string>): Program {
    const kernel: Kernel = {
      name: "template", operands: [...this.parts.operands.values()], lengths: [...runtime], ...shape,
      origins: [{ spans: [], path: "test", via: [] }],
    };
    const used = new Set(this.parts.bind.values());
    return {
      name: "template", lengths: [...runtime],
      tensors: [...this.#tensors].filter(([n]) => used.has(n)).map(([name, t]) => ({ name, dtype: t.dtype, size: spaceSize(t.axes), kind: t.kind, axes: t.axes })),
      steps: [{ kind: "dispatch", dispatch: { kernel, bind: Object.fromEntries(this.parts.bind) } }],
      outputs: Object.fromEntries([...this.#tensors].filter(([n, t]) => t.kind === "output" && used.has(n)).map(([n]) => [n, n])),
    };
  }

  /** Verifies, proves, compiles and runs; the outputs by name. */
  async run(shape: KernelShape, data: Readonly<Record<string, TensorData>>, sizes: Sizes, runtime: ReadonlySet<string>, target: Target, gpu = false): Promise<Record<string, TensorData>> {
    const program = this.program(shape, runtime);
    const step = program.steps[0];
    if (step?.kind !== "dispatch") throw new Error("no dispatch");
    const kernel = step.dispatch.kernel;
    expect(verifyKernel(kernel, target)).toEqual([]);
    // Software adapters pay most for bounds checks, so there the proof is part of the template's contract.
    if (target.products === "registers") expect(unprovenAccesses(kernel).map(unprovenText)).toEqual([]);
    const lengths = Object.fromEntries([...runtime].map((n) => [n, sizes[n] ?? 1]));
    // One arena for what is read and one for what is written, by type, as the memory plan would have it.
    const module = emitModule(kernel, (operand) => {
      const op = kernel.operands.find((o) => o.name === operand);
      const dtype = op?.dtype ?? "f32";
      return { arena: (op?.access === "read" ? 0 : 3) + ["f32", "i32", "u32"].indexOf(dtype), dtype };
    });
    expect(await explainProblems(module.wgsl)).toBe("");
    const given = Object.fromEntries(program.tensors.filter((t) => t.kind === "input").map((t) => {
      const d = data[t.name];
      if (!d || d.length !== evalSize(t.size, lengths)) throw new Error(`test data for ${t.name}: ${d?.length} of ${evalSize(t.size, lengths)}`);
      return [t.name, d];
    }));
    if (gpu) return (await runOnGpu(program, given, lengths, { target })).outputs;
    const result = runProgram(program, given, lengths);
    if (!result.ok) throw new Error(result.fault.message);
    return result.tensors;
  }
}

/** Largest difference, relative to 1 + |want|. */
export function distance(got: ArrayLike<number> | undefined, want: ArrayLike<number>): number {
  if (!got || got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Math.abs((got[i] ?? Number.NaN) - (want[i] ?? 0)) / (1 + Math.abs(want[i] ?? 0));
    if (!(d <= worst)) worst = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  }
  return worst;
}
