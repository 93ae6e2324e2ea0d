// Kernels and programs survive their text form.

import { describe, expect, it } from "vitest";
import fc from "fast-check";
import type { Kernel, Program, Stmt } from "../../compiler/kernel/kernel.ts";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { printKernel, printProgram } from "../../compiler/kernel/print.ts";
import { readKernel, readProgram } from "../../compiler/kernel/read.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { binary, bool, builtin, f32, i32, length, name, select, u32, unary } from "../../compiler/scalar/expr.ts";
import { chainProgram, rowSumKernel, tensor, tileProductKernel } from "./samples.ts";

const word = fc.constantFrom("a", "b_1", "out.x", "with space", "q\"uote", "params/body[0].w");
const leaf: fc.Arbitrary<ScalarExpr> = fc.oneof(
  fc.integer({ min: -9, max: 9 }).map(i32), word.map((n) => name(n, "i32")), word.map(length), fc.constant(builtin("lane.y")),
);
const index: fc.Arbitrary<ScalarExpr> = fc.oneof(leaf, fc.tuple(leaf, leaf).map(([a, b]): ScalarExpr => ({ kind: "binary", type: "i32", op: "mod", a, b })));
const value: fc.Arbitrary<ScalarExpr> = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true }).map(f32), fc.nat().map(u32), fc.boolean().map(bool),
  word.map((n) => unary("tanh", name(n, "f32"))), word.map((n) => select(name(n, "bool"), f32(-0), unary("exp", name(n, "f32")))),
);
const stmt: fc.Arbitrary<Stmt> = fc.letrec<{ s: Stmt; body: Stmt[] }>((tie) => ({
  body: fc.array(tie("s"), { maxLength: 3 }),
  s: fc.oneof(
    { maxDepth: 3 },
    fc.record({ kind: fc.constantFrom("let" as const, "var" as const, "assign" as const), name: word, value }),
    fc.record({ kind: fc.constant("load" as const), name: word, type: fc.constantFrom("f32" as const, "bool" as const), from: word, index }),
    fc.record({ kind: fc.constantFrom("store" as const, "astore" as const), to: word, index, value }),
    fc.record({ kind: fc.constant("aload" as const), name: word, from: word, index, uniform: fc.constant(true as const) }, { requiredKeys: ["kind", "name", "from", "index"] }),
    fc.record({ kind: fc.constant("lane_reduce" as const), name: word, op: fc.constantFrom("sum" as const, "max" as const, "min" as const), value, scratch: word }),
    fc.record({ kind: fc.constant("comment" as const), text: fc.string() }),
    fc.constant<Stmt>({ kind: "barrier" }),
    fc.record({ kind: fc.constant("loop" as const), name: word, from: index, to: index, step: fc.integer({ min: 1, max: 64 }), unroll: fc.constant(true as const), body: tie("body") }, { requiredKeys: ["kind", "name", "from", "to", "step", "body"] }),
    fc.record({ kind: fc.constant("if" as const), cond: fc.boolean().map(bool), then: tie("body"), else: tie("body") }, { requiredKeys: ["kind", "cond", "then"] }),
  ),
})).s;

/** Builders write `unroll: false`; the text leaves it out. */
const plain = <T>(x: T): T => JSON.parse(JSON.stringify(x, (k, v: unknown) => (k === "unroll" && v === false ? undefined : Object.is(v, -0) ? "-0" : v))) as T;

describe("kernel text", () => {
  it.each([["row sum", rowSumKernel()], ["tile product", tileProductKernel()]])("reads back %s", (_, { kernel }) => {
    expect(plain(readKernel(printKernel(kernel)))).toEqual(plain(kernel));
  });

  it("reads back programs with repeats and merged kernels", () => {
    const p = chainProgram();
    const program: Program = { ...mergeDispatches(p, guaranteed), tensors: [...p.tensors, tensor("params/a b", "state", binary("mul", length("n"), i32(4)), "u32")] };
    const repeated: Program = { ...program, steps: [{ kind: "repeat", name: "chunk", count: length("n"), steps: program.steps }, ...program.steps] };
    expect(plain(readProgram(printProgram(repeated)))).toEqual(plain(repeated));
  });

  it("reads back any statements", () => {
    fc.assert(fc.property(fc.array(stmt, { maxLength: 6 }), (body) => {
      const kernel: Kernel = { ...rowSumKernel().kernel, body };
      expect(plain(readKernel(printKernel(kernel)))).toEqual(plain(kernel));
    }), { numRuns: 200 });
  });

  it("names the line that is wrong", () => {
    expect(() => readKernel(printKernel(rowSumKernel().kernel).replace("barrier", "barrierr").replace("lane_sum", "lane_product"))).toThrow(/line \d+, column \d+: expected a statement/);
  });
});
