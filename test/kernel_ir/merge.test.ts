// Merging keeps what programs compute, whatever the shapes, and merges what it should.

import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { Body, KernelParts } from "../../compiler/kernel/body.ts";
import { unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import type { Dispatch, Program, ProgramStep } from "../../compiler/kernel/kernel.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { verifyProgram } from "../../compiler/kernel/verify.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import { add, builtin, i32, length, lt, mul } from "../../compiler/scalar/expr.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { ceilDiv, chainProgram, finish, rowSumKernel, scaleKernel, tensor, tileProductKernel } from "./samples.ts";

const n = length("n");
const floats = (size: number, f: (i: number) => number) => Float32Array.from({ length: size }, (_, i) => f(i));
const dispatches = (steps: readonly ProgramStep[]): Dispatch[] => steps.flatMap((s) => (s.kind === "dispatch" ? [s.dispatch] : dispatches(s.steps)));
const step = (dispatch: Dispatch): ProgramStep => ({ kind: "dispatch", dispatch });

/** y[z, y, x] = x + 100 y + 10000 z over a grid of three dimensions, four lanes along x. */
function cube(name: string, lanes = 4): Dispatch {
  const parts = new KernelParts();
  const b = new Body(parts);
  const [nx, ny] = [n, i32(3)];
  const y = parts.operand(name, "f32", mul(mul(n, i32(3)), i32(2)), "write");
  const x = b.let(add(mul(builtin("group.x"), i32(lanes)), builtin("lane.x")), "x");
  b.if(lt(x, nx), (t) => {
    const at = add(mul(add(mul(builtin("group.z"), ny), builtin("group.y")), nx), x);
    const value = add(x, add(mul(builtin("group.y"), i32(100)), mul(builtin("group.z"), i32(10000))));
    t.store(y, at, { kind: "unary", type: "f32", op: "to_f32", a: value });
  });
  return finish(name, parts, b, { workgroup: [lanes, 1, 1], grid: [ceilDiv(nx, lanes), ny, i32(2)], lengths: ["n"] });
}

/** Same outputs before and after, and the merged program is sound, proven and compiles. */
async function agrees(p: Program, inputs: Record<string, Float32Array>, lengths: Record<string, number>, target = guaranteed): Promise<Program> {
  const merged = mergeDispatches(p, target);
  expect(verifyProgram(merged, target)).toEqual([]);
  for (const d of dispatches(merged.steps)) expect(unprovenAccesses(d.kernel).map(unprovenText)).toEqual([]);
  const copy = () => Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, v.slice()]));
  const [a, b] = [runProgram(p, copy(), lengths), runProgram(merged, copy(), lengths)];
  if (!a.ok) throw new Error(a.fault.message);
  if (!b.ok) throw new Error(b.fault.message);
  for (const t of p.tensors) if (t.kind !== "temp") expect(b.tensors[t.name], t.name).toEqual(a.tensors[t.name]);
  return merged;
}

describe("mergeDispatches", () => {
  it("joins independent dispatches, and lets later ones move up", async () => {
    const merged = await agrees(chainProgram(), { x: floats(70, (i) => i) }, { n: 70 });
    expect(dispatches(merged.steps).map((d) => d.kernel.name)).toEqual(["scale_h+scale_z", "scale_g", "scale_y"]);
    expect(dispatches(merged.steps)[0]?.kernel.origins.map((o) => o.path)).toEqual(["scale_h", "scale_z"]);
  });

  it("joins grids of one, two and three dimensions and workgroups of several sizes", async () => {
    const size = mul(mul(n, i32(3)), i32(2));
    const [m, k] = [length("m"), i32(12)];
    const program: Program = {
      name: "mix", lengths: ["n", "m"], outputs: { c1: "c1", c2: "c2", y: "y", out: "out" },
      tensors: [
        tensor("x", "input", n), tensor("a", "input", mul(m, k)), tensor("w", "input", mul(k, n)), tensor("c1", "output", size), tensor("c2", "output", size),
        tensor("y", "output", n), tensor("out", "output", mul(m, n)),
      ],
      steps: [cube("c1", 16), tileProductKernel(), cube("c2", 32), scaleKernel("x", "y")].map(step),
    };
    const inputs = (nn: number, mm: number) => ({ x: floats(nn, (i) => i), a: floats(mm * 12, Math.sin), w: floats(nn * 12, Math.cos) });
    for (const [nn, mm] of [[1, 1], [9, 7], [40, 3], [0, 4]] as const) {
      const merged = await agrees(program, inputs(nn, mm), { n: nn, m: mm });
      expect(dispatches(merged.steps)).toHaveLength(1);
      expect(dispatches(merged.steps)[0]?.kernel.workgroup).toEqual([64, 1, 1]);
    }
    const plan = assemble(mergeDispatches(program, guaranteed), { target: guaranteed, states: [] });
    for (const m of plan.modules) expect(await explainProblems(m.wgsl)).toBe("");
    expect(plan.modules[0]?.lines.map((l) => l.path)).toEqual(["c1", "c1", "tile_product", "c2", "scale_y"]);
  });

  it("reuses shared arrays and keeps barriers legal", async () => {
    const program: Program = {
      name: "sums", lengths: ["n"], outputs: { y: "y", z: "z" },
      tensors: [tensor("x", "input", mul(n, i32(40))), tensor("y", "output", n), tensor("z", "output", n)],
      steps: [rowSumKernel("x", "y", 16, 40), rowSumKernel("x", "z", 16, 40)].map(step),
    };
    const merged = await agrees(program, { x: floats(5 * 40, (i) => i % 13) }, { n: 5 });
    const [only] = dispatches(merged.steps);
    expect(only?.kernel.arrays).toHaveLength(1);
    for (const m of assemble(merged, { target: guaranteed, states: [] }).modules) expect(await explainProblems(m.wgsl)).toBe("");
    const uneven = { ...program, steps: [rowSumKernel("x", "y", 16, 40), rowSumKernel("x", "z", 32, 40)].map(step) };
    expect(dispatches(mergeDispatches(uneven, guaranteed).steps)).toHaveLength(2);
  });

  it("folds long grids into two dimensions", async () => {
    const program: Program = {
      name: "long", lengths: ["n"], outputs: { y: "y", z: "z" },
      tensors: [tensor("x", "input", n), tensor("y", "output", n), tensor("z", "output", n)],
      steps: [scaleKernel("x", "y", 2), scaleKernel("x", "z", 3)].map(step),
    };
    // A device of 3 workgroups a dimension stands in for 65535.
    const merged = await agrees(program, { x: floats(64 * 4, (i) => i) }, { n: 64 * 4 }, { ...guaranteed, gridPerDimension: 3 });
    expect(dispatches(merged.steps)).toHaveLength(1);
  });

  it("keeps the order of state writes, also through whole buffers, and stays out of repeats", async () => {
    const twenty = i32(20);
    const program: Program = {
      name: "state", lengths: ["n", "chunk"], outputs: {},
      tensors: [tensor("p/a", "state", n), tensor("p/b", "state", n), tensor("p", "state", n), tensor("q", "state", twenty), tensor("x", "input", n)],
      steps: [
        step(scaleKernel("x", "p/a", 2)), step(scaleKernel("p", "p/b", 3)),
        { kind: "repeat", name: "chunk", count: i32(2), steps: [step(scaleKernel("p/b", "p/a", 5)), step(scaleKernel("p/a", "p/b", 2))] },
        step(scaleKernel("x", "p", 1)),
      ],
    };
    const merged = mergeDispatches(program, guaranteed);
    expect(merged.steps).toEqual(program.steps);
  });

  it("holds to the target's bindings", () => {
    const program: Program = { ...chainProgram(), steps: [step(scaleKernel("x", "h")), step(scaleKernel("x", "z"))] };
    expect(dispatches(mergeDispatches(program, { ...guaranteed, storageBuffers: 2 }).steps)).toHaveLength(2);
    expect(dispatches(mergeDispatches(program, { ...guaranteed, storageBuffers: 3 }).steps)).toHaveLength(1);
  });

  it("keeps what random programs compute", () => {
    const name = fc.constantFrom("a", "b", "c", "d", "e");
    fc.assert(fc.property(fc.array(fc.tuple(name, name, fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 10 }), (ops) => {
      const steps = ops.filter(([f, t]) => f !== t).map(([f, t, k]) => step(scaleKernel(f, t, k)));
      const tensors = ["a", "b", "c", "d", "e"].map((t) => tensor(t, "state", n));
      const program: Program = { name: "r", lengths: ["n"], tensors, steps, outputs: {} };
      const merged = mergeDispatches(program, guaranteed);
      const state = () => Object.fromEntries(tensors.map((t, i) => [t.name, floats(5, (j) => i + j * 0.125)]));
      const [a, b] = [runProgram(program, state(), { n: 5 }), runProgram(merged, state(), { n: 5 })];
      if (!a.ok || !b.ok) throw new Error(b.ok ? "before" : b.fault.message);
      expect(b.tensors).toEqual(a.tensors);
    }), { numRuns: 60 });
  });

});
