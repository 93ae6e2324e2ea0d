// The emitter's text compiles on Dawn's null backend and says what the kernel says.

import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { Body, KernelParts } from "../../compiler/kernel/body.ts";
import type { BinaryOp, ScalarExpr, UnaryOp } from "../../compiler/scalar/expr.ts";
import { add, binary, bool, builtin, f32, i32, length, lt, mul, name, select, u32, unary } from "../../compiler/scalar/expr.ts";
import type { StorageType } from "../../compiler/kernel/kernel.ts";
import { emitModule } from "../../compiler/wgsl/emit.ts";
import { literal } from "../../compiler/wgsl/literal.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { finish, rowSumKernel, scaleKernel, tileProductKernel } from "../kernel_ir/samples.ts";

const oneArenaEach = () => {
  const seen = new Map<string, number>();
  return (op: string) => {
    if (!seen.has(op)) seen.set(op, seen.size);
    return { arena: seen.get(op) ?? 0, dtype: "f32" as const };
  };
};

describe("emitModule", () => {
  it.each([["scale", scaleKernel()], ["row sum", rowSumKernel()], ["tile product", tileProductKernel()]])("compiles: %s", async (_, { kernel }) => {
    const module = emitModule(kernel, oneArenaEach());
    expect(await explainProblems(module.wgsl)).toBe("");
    expect(module.bindings).toHaveLength(kernel.operands.length);
  });

  it("gives equal text to kernels that differ in tensor names only", () => {
    const a = emitModule(scaleKernel("layer0/x", "layer0/y").kernel, oneArenaEach());
    const b = emitModule(scaleKernel("layer1/other", "layer1/y").kernel, oneArenaEach());
    expect(a.wgsl).toBe(b.wgsl);
    expect(a.operands.map((o) => o.name)).not.toEqual(b.operands.map((o) => o.name));
  });

  it("binds an arena once, read_write when anything in it is written", async () => {
    const module = emitModule(scaleKernel().kernel, () => ({ arena: 3, dtype: "f32" }));
    expect(module.arenas).toEqual([3]);
    expect(module.bindings).toEqual([{ dtype: "f32", access: "read_write" }]);
    expect(module.operands.map((o) => o.binding)).toEqual([1, 1]);
    expect(await explainProblems(module.wgsl)).toBe("");
  });

  it("unrolls constant loops into scalars and maps every line to the kernel's origin", () => {
    const module = emitModule(tileProductKernel().kernel, oneArenaEach());
    expect(module.wgsl.match(/for \(/g)).toHaveLength(1);
    expect(module.wgsl).not.toContain("array<f32, 4>");
    expect(module.lines[0]).toEqual({ line: 1, source: "a.heddle", start: 10, end: 20, path: "tile_product" });
  });

  it("compiles every operation at every type it has, with uniform reads, else branches and an unused operand", async () => {
    const parts = new KernelParts();
    const b = new Body(parts);
    const out = { f32: parts.operand("f", "f32", i32(64), "readwrite"), i32: parts.operand("i", "i32", i32(64), "write"), u32: parts.operand("u", "u32", i32(64), "write") };
    parts.operand("idle", "i32", i32(1), "read");
    const shared = parts.array("flags", "bool", 8, "shared");
    const leaf = { f32: b.load(out.f32, i32(1)), i32: b.let(add(builtin("group.x"), length("n")), "q"), u32: b.let(unary("to_u32", builtin("lane.x")), "w") };
    const put = (e: ScalarExpr) => {
      const type = e.type === "bool" ? "u32" : e.type;
      b.store(out[type], i32(2), e);
    };
    const unaries: UnaryOp[] = ["neg", "abs", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos", "floor", "to_i32", "to_u32", "bits_u32"];
    for (const op of unaries) put(unary(op, leaf.f32));
    for (const op of ["neg", "abs", "not", "floor", "to_f32", "to_u32", "bits_f32"] as const) put(unary(op, leaf.i32));
    for (const op of ["neg", "not", "to_f32", "to_i32", "bits_f32"] as const) put(unary(op, leaf.u32));
    const condition = lt(leaf.i32, i32(3));
    for (const op of ["not", "to_f32", "to_i32", "to_u32"] as const) put(unary(op, condition));
    const arithmetic: BinaryOp[] = ["add", "sub", "mul", "div", "mod", "min", "max", "eq", "ne", "lt", "le"];
    const bits: BinaryOp[] = ["and", "or", "xor", "shl", "shr"];
    for (const op of [...arithmetic, "pow"] as const) put(binary(op, leaf.f32, f32(1.5)));
    for (const op of [...arithmetic, ...bits]) put(binary(op, leaf.i32, i32(-3 * (op === "shl" || op === "shr" ? -1 : 1))));
    for (const op of [...arithmetic, ...bits, "mulhi"] as const) put(binary(op, leaf.u32, u32(7)));
    for (const op of ["and", "or", "xor", "eq", "ne"] as const) put(binary(op, condition, lt(leaf.u32, u32(3))));
    put(select(binary("or", binary("and", condition, condition), condition), leaf.f32, f32(-0)));
    put(binary("lt", binary("and", leaf.i32, i32(7)), binary("shl", leaf.i32, i32(2))));
    b.loop(i32(0), binary("or", leaf.i32, i32(7)), 3, (l, i) => l.store(out.i32, binary("and", i, i32(7)), i32(-2147483648)));
    b.loop(i32(4), i32(20), 4, (l, i) => l.store(out.i32, i, i));
    b.astore(shared, builtin("lane.x"), bool(true));
    b.stmts.push({ kind: "aload", name: "flag_1", from: shared, index: i32(0), uniform: true });
    b.if(name("flag_1", "bool"), (t) => t.barrier(), (e) => e.store(out.u32, i32(5), u32(4294967295)));
    const { kernel } = finish("all", parts, b, { workgroup: [8, 1, 1], grid: [i32(1), i32(1), i32(1)], lengths: ["n"] });
    const arena: Record<string, { arena: number; dtype: StorageType }> = {};
    for (const op of kernel.operands) arena[op.name] = { arena: Object.keys(arena).length, dtype: op.dtype };
    const module = emitModule(kernel, (op) => arena[op] ?? { arena: 9, dtype: "f32" });
    expect(await explainProblems(module.wgsl)).toBe("");
    expect(module.wgsl).toContain("storageBarrier");
  });

  it("makes a lane reduction that steers a barrier uniform", async () => {
    const parts = new KernelParts();
    const b = new Body(parts);
    const x = parts.operand("x", "f32", i32(64), "readwrite");
    const scratch = parts.array("scratch", "f32", 64, "shared");
    const most = b.laneReduce("max", b.load(x, builtin("lane.x")), scratch);
    const positive = b.let(lt(f32(0), most), "positive");
    b.if(positive, (t) => {
      const total = t.laneReduce("sum", most, scratch);
      t.store(x, builtin("lane.x"), total);
    });
    const { kernel } = finish("steer", parts, b, { workgroup: [8, 4, 2], grid: [i32(1), i32(1), i32(1)], lengths: [] });
    expect(await explainProblems(emitModule(kernel, () => ({ arena: 0, dtype: "f32" })).wgsl)).toBe("");
  });

  it("reports problems that are there", async () => {
    expect(await explainProblems("fn main( {")).not.toBe("");
  });
});

describe("literal", () => {
  it("prints every finite f32 exactly", () => {
    fc.assert(fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
      const text = literal("f32", x);
      expect(Object.is(Math.fround(Number(text.replace(/[()f]/g, ""))), x)).toBe(true);
      expect(text).toMatch(/[.e]/);
    }), { numRuns: 500 });
  });

  it("prints i32 as WGSL reads it", () => {
    expect([5, -5, 0, -2147483648].map((v) => literal("i32", v))).toEqual(["5i", "(-5i)", "0i", "(-2147483647i - 1i)"]);
  });

  it("refuses what has no constant", () => {
    expect(() => literal("f32", Number.NaN)).toThrow();
    expect(() => literal("f32", 1e39)).toThrow();
    expect(() => literal("i32", 2147483648)).toThrow();
  });
});
