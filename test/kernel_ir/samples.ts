// Small kernels and programs that several test files share.

import { Body, KernelParts, flatInvocation } from "../../compiler/kernel/body.ts";
import type { Kernel, Program, ProgramTensor } from "../../compiler/kernel/kernel.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, binary, builtin, div, f32, i32, length, lt, mul, unary } from "../../compiler/scalar/expr.ts";

export const ceilDiv = (a: ScalarExpr, b: number): ScalarExpr => div(add(a, i32(b - 1)), i32(b));

export const origin = (path: string) => ({ spans: [{ source: "a.heddle", start: 10, end: 20 }], path, via: [] });

/** Finishes a kernel from its parts. */
export function finish(
  name: string, parts: KernelParts, body: Body, shape: { workgroup: readonly [number, number, number]; grid: Kernel["grid"]; lengths: readonly string[] },
): { kernel: Kernel; bind: Record<string, string> } {
  return {
    kernel: { name, operands: [...parts.operands.values()], arrays: parts.arrays, body: body.stmts, origins: [origin(name)], ...shape },
    bind: Object.fromEntries(parts.bind),
  };
}

/** y[i] = x[i] * scale + y0, one invocation an element. */
export function scaleKernel(x = "x", y = "y", scale = 2): { kernel: Kernel; bind: Record<string, string> } {
  const parts = new KernelParts();
  const b = new Body(parts);
  const n = length("n");
  const i = b.let(flatInvocation(64), "at");
  const from = parts.operand(x, "f32", n, "read");
  const to = parts.operand(y, "f32", n, "write");
  b.if(lt(i, n), (then) => {
    then.store(to, i, add(mul(then.load(from, i), f32(scale)), f32(0.5)));
  });
  return finish(`scale_${y}`, parts, b, { workgroup: [64, 1, 1], grid: [ceilDiv(n, 64), i32(1), i32(1)], lengths: ["n"] });
}

/** y[r] = sum over d of x[r, d], one workgroup a row. */
export function rowSumKernel(x = "x", y = "y", lanes = 16, width = 40): { kernel: Kernel; bind: Record<string, string> } {
  const parts = new KernelParts();
  const b = new Body(parts);
  const n = length("n");
  const from = parts.operand(x, "f32", mul(n, i32(width)), "read");
  const to = parts.operand(y, "f32", n, "write");
  const scratch = parts.array("scratch", "f32", lanes, "shared");
  const acc = b.var(f32(0));
  b.loop(builtin("lane.x"), i32(width), lanes, (l, d) => {
    l.assign(acc, add(acc, l.load(from, add(mul(builtin("group.x"), i32(width)), d))));
  });
  const total = b.laneReduce("sum", acc, scratch);
  b.if(binary("eq", builtin("lane.x"), i32(0)), (then) => then.store(to, builtin("group.x"), total));
  return finish(`row_sum_${y}`, parts, b, { workgroup: [lanes, 1, 1], grid: [n, i32(1), i32(1)], lengths: ["n"] });
}

/** out[i, j] = sum over k of a[i, k] * b[k, j], 2x2 register tiles, private array, unrolled. */
export function tileProductKernel(): { kernel: Kernel; bind: Record<string, string> } {
  const parts = new KernelParts();
  const b = new Body(parts);
  const [m, n, k] = [length("m"), length("n"), i32(12)];
  const a = parts.operand("a", "f32", mul(m, k), "read");
  const w = parts.operand("w", "f32", mul(k, n), "read");
  const out = parts.operand("out", "f32", mul(m, n), "write");
  const acc = parts.array("acc", "f32", 4, "private");
  const row = b.let(mul(add(mul(builtin("group.y"), i32(4)), builtin("lane.y")), i32(2)), "row");
  const col = b.let(mul(add(mul(builtin("group.x"), i32(4)), builtin("lane.x")), i32(2)), "col");
  b.loop(i32(0), i32(4), 1, (l, e) => l.astore(acc, e, f32(0)), true);
  const clamp = (e: ScalarExpr, size: ScalarExpr) => binary("min", e, add(size, i32(-1)));
  b.loop(i32(0), k, 1, (l, kk) => {
    l.loop(i32(0), i32(2), 1, (r, i) => {
      const av = r.load(a, add(mul(clamp(add(row, i), m), k), kk));
      r.loop(i32(0), i32(2), 1, (c, j) => {
        const bv = c.load(w, add(mul(kk, n), clamp(add(col, j), n)));
        const at = add(mul(i, i32(2)), j);
        c.astore(acc, at, add(c.aload(acc, at), mul(av, bv)));
      }, true);
    }, true);
  });
  b.loop(i32(0), i32(2), 1, (r, i) => {
    r.loop(i32(0), i32(2), 1, (c, j) => {
      const y = c.let(add(row, i), "y");
      const x = c.let(add(col, j), "x");
      c.if(binary("and", lt(y, m), lt(x, n)), (then) => {
        then.store(out, add(mul(y, n), x), unary("tanh", then.aload(acc, add(mul(i, i32(2)), j))));
      });
    }, true);
  }, true);
  return finish("tile_product", parts, b, { workgroup: [4, 4, 1], grid: [ceilDiv(n, 8), ceilDiv(m, 8), i32(1)], lengths: ["m", "n"] });
}

export const tensor = (name: string, kind: ProgramTensor["kind"], size: ScalarExpr, dtype: ProgramTensor["dtype"] = "f32"): ProgramTensor =>
  ({ name, dtype, size, kind, axes: [{ name: "n", size }] });

/** x -> h -> g -> y, and a row sum on the side. */
export function chainProgram(): Program {
  const n = length("n");
  const steps = [scaleKernel("x", "h", 2), scaleKernel("h", "g", 3), scaleKernel("g", "y", 4), scaleKernel("x", "z", 5)];
  return {
    name: "chain", lengths: ["n"],
    tensors: [tensor("x", "input", n), tensor("h", "temp", n), tensor("g", "temp", n), tensor("y", "output", n), tensor("z", "output", n), tensor("unused", "temp", n)],
    steps: steps.map((dispatch) => ({ kind: "dispatch", dispatch })),
    outputs: { y: "y", z: "z" },
  };
}
