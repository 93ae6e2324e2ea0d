// The verifier accepts sound kernels and names what is wrong with others.

import { describe, expect, it } from "vitest";
import { Body, KernelParts } from "../../compiler/kernel/body.ts";
import type { Kernel, Program, Stmt } from "../../compiler/kernel/kernel.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { expandLaneReduce } from "../../compiler/kernel/lane_reduce.ts";
import { unrollKernel } from "../../compiler/kernel/unroll.ts";
import { verifyKernel, verifyProgram } from "../../compiler/kernel/verify.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { builtin, f32, i32, length, lt, name, u32 } from "../../compiler/scalar/expr.ts";
import { chainProgram, finish, rowSumKernel, scaleKernel, tensor, tileProductKernel } from "./samples.ts";

const problems = (k: Kernel) => verifyKernel(k, guaranteed).join("\n");

function kernel(fill: (b: Body, y: string, s: string) => void): Kernel {
  const parts = new KernelParts();
  const b = new Body(parts);
  const y = parts.operand("y", "f32", i32(64), "write");
  fill(b, y, parts.array("shared", "f32", 16, "shared"));
  return finish("k", parts, b, { workgroup: [8, 1, 1], grid: [i32(1), i32(1), i32(1)], lengths: ["n"] }).kernel;
}
const withStmt = (s: Stmt) => kernel((b) => b.stmts.push(s));

describe("verifyKernel", () => {
  it("accepts the samples, also expanded and unrolled", () => {
    for (const { kernel: k } of [scaleKernel(), rowSumKernel(), tileProductKernel()]) {
      expect(problems(k)).toBe("");
      expect(problems(unrollKernel(expandLaneReduce(k)))).toBe("");
    }
  });

  it.each<[string, Stmt, string]>([
    ["a name nobody bound", { kind: "let", name: "a", value: name("ghost", "f32") }, "ghost is not bound"],
    ["a value of the wrong type", { kind: "store", to: "b0_y", index: i32(0), value: i32(1) }, "b0_y is f32, the value i32"],
    ["a float index", { kind: "store", to: "b0_y", index: f32(0), value: f32(1) }, "f32 where i32 is needed"],
    ["a load from what is only written", { kind: "load", name: "x", type: "f32", from: "b0_y", index: i32(0) }, "may only be written"],
    ["an unknown operand", { kind: "store", to: "z", index: i32(0), value: f32(1) }, "no operand z"],
    ["an operation its type lacks", { kind: "let", name: "a", value: { kind: "unary", op: "exp", type: "i32", a: i32(1) } }, "exp of i32"],
    ["an infinite constant", { kind: "let", name: "a", value: f32(Number.POSITIVE_INFINITY) }, "Infinity is not a f32"],
    ["an assignment to a let", { kind: "assign", name: "nothing", value: f32(0) }, "nothing is not a var"],
    ["an unknown length", { kind: "let", name: "a", value: length("t") }, "does not list the length t"],
    ["a step of zero", { kind: "loop", name: "i", from: i32(0), to: i32(4), step: 0, body: [] }, "a step of 0"],
    ["a barrier some lanes miss", { kind: "if", cond: lt(builtin("lane.x"), i32(3)), then: [{ kind: "barrier" }] }, "not all invocations"],
  ])("finds %s", (_, s, text) => {
    expect(problems(withStmt(s))).toContain(text);
  });

  it("finds barriers under values that only later become different between lanes", () => {
    const ragged = kernel((b) => {
      const v = b.var(i32(4), "v");
      b.loop(i32(0), i32(3), 1, (l) => {
        l.if(lt(v, i32(2)), (t) => t.barrier());
        l.assign(v, builtin("lane.x"));
      });
    });
    expect(problems(ragged)).toContain("not all invocations");
    const even = kernel((b, _, s) => {
      const most = b.laneReduce("max", f32(1), s);
      b.if(lt(most, f32(2)), (t) => t.barrier());
      b.if(lt(builtin("group.x"), length("n")), (t) => t.barrier());
    });
    expect(problems(even)).toBe("");
  });

  it("holds kernels to the target's limits", () => {
    const k = scaleKernel().kernel;
    expect(problems({ ...k, workgroup: [32, 16, 1] })).toContain("512 invocations");
    expect(problems({ ...k, arrays: [{ name: "s", dtype: "f32", size: 5000, space: "shared" }] })).toContain("20000 bytes");
    expect(problems({ ...k, grid: [i32(70000), i32(1), i32(1)] })).toContain("70000 workgroups");
    expect(problems({ ...k, grid: [builtin("group.x"), i32(1), i32(1)] as [ScalarExpr, ScalarExpr, ScalarExpr] })).toContain("not an expression over lengths");
    expect(problems({ ...k, lengths: [] })).toContain("which the kernel does not list");
    expect(problems({ ...k, origins: [] })).toContain("no origin");
    expect(problems({ ...k, body: [{ kind: "let", name: "a", value: u32(1) }] })).toBe("");
  });
});

describe("verifyProgram", () => {
  const found = (p: Program) => verifyProgram(p, guaranteed).join("\n");
  const p = chainProgram();

  it("accepts a sound program", () => expect(found(p)).toBe(""));
  it("finds reads before writes", () => expect(found({ ...p, steps: p.steps.slice(1) })).toContain("h is read before anything writes it"));
  it("finds outputs nobody writes", () => expect(found({ ...p, steps: p.steps.slice(0, 2) })).toContain("y is never written"));
  it("finds tensors of another type and written inputs", () => {
    expect(found({ ...p, tensors: p.tensors.map((t) => (t.name === "g" ? { ...t, dtype: "i32" } : t)) })).toContain("its tensor g is i32");
    expect(found({ ...p, tensors: p.tensors.map((t) => (t.name === "g" ? { ...t, kind: "input" } : t)) })).toContain("the input g is written");
  });
  it("counts arenas, not tensors", () => {
    const tight = { ...guaranteed, storageBuffers: 1 };
    expect(verifyProgram(p, tight).join("\n")).toContain("2 arenas (input.f32, temp.f32)");
    const inTemps: Program = { ...p, tensors: [tensor("h", "temp", length("n")), tensor("x", "input", length("n")), tensor("g", "temp", length("n"))], steps: p.steps.slice(1, 2), outputs: {} };
    expect(verifyProgram(inTemps, tight).join("\n")).not.toContain("arenas");
  });
});
