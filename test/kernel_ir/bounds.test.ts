// The bounds prover: what kernels of every template shape rely on is proven; what is wrong or unknown is not.

import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { Body, KernelParts, elementIndex, flatInvocation, spaceSize } from "../../compiler/kernel/body.ts";
import { kernelProven, unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import { runKernel } from "../../compiler/kernel/interpret.ts";
import type { Kernel } from "../../compiler/kernel/kernel.ts";
import { readKernel } from "../../compiler/kernel/read.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, and, binary, builtin, div, f32, i32, length, lt, mod, mul, select, sub, unary } from "../../compiler/scalar/expr.ts";
import { ceilDiv, finish, rowSumKernel, scaleKernel, tileProductKernel } from "./samples.ts";

const [B, T, D] = [length("b"), length("t"), length("d")];
const min = (a: ScalarExpr, b: ScalarExpr) => binary("min", a, b);
const max = (a: ScalarExpr, b: ScalarExpr) => binary("max", a, b);
const group = builtin("group.x");
const lane = builtin("lane.x");

function kernel(grid: readonly ScalarExpr[], size: ScalarExpr, fill: (b: Body, x: string, ids: string) => void, lanes = 64): Kernel {
  const parts = new KernelParts();
  const b = new Body(parts);
  const x = parts.operand("x", "f32", size, "write");
  parts.operand("x", "f32", size, "read");
  fill(b, x, parts.operand("ids", "i32", i32(64), "read"));
  const [gx = i32(1), gy = i32(1), gz = i32(1)] = grid;
  return finish("k", parts, b, { workgroup: [lanes, 1, 1], grid: [gx, gy, gz], lengths: ["b", "t", "d"] }).kernel;
}
const report = (k: Kernel) => unprovenAccesses(k).map(unprovenText).join("\n");

describe("proven", () => {
  it("the samples", () => {
    for (const { kernel: k } of [scaleKernel(), rowSumKernel(), tileProductKernel()]) expect(report(k)).toBe("");
  });

  it("coordinates of a flat index over three lengths, every axis of which is used alone", () => {
    const axes = [{ name: "b", size: B }, { name: "t", size: T }, { name: "d", size: D }];
    const size = spaceSize(axes);
    const k = (used: readonly string[], named: boolean) => {
      const kept = axes.filter((a) => used.includes(a.name));
      return kernel([ceilDiv(size, 64)], spaceSize(kept), (b, x) => {
        const i = named ? b.let(flatInvocation(64)) : flatInvocation(64);
        b.if(lt(i, size), (then) => {
          const at = { d: mod(i, D), t: mod(div(i, D), T), b: div(i, mul(T, D)) };
          then.store(x, elementIndex(kept, at), f32(0));
        });
      });
    };
    for (const used of [["b", "t", "d"], ["d"], ["t"], ["b"], ["b", "d"], ["t", "d"], ["b", "t"]])
      for (const named of [true, false]) expect(`${used.join()}: ${report(k(used, named))}`).toBe(`${used.join()}: `);
  });

  it("nested quotients, as axes peel off one by one", () => {
    const k = kernel([ceilDiv(mul(mul(B, T), i32(48)), 64)], mul(B, i32(48)), (b, x) => {
      const i = b.let(flatInvocation(64));
      b.if(lt(i, mul(mul(B, T), i32(48))), (then) => {
        const d = then.let(mod(i, i32(48)));
        const rest = then.let(div(i, i32(48)));
        then.store(x, add(mul(div(rest, T), i32(48)), d), f32(0));
      });
    });
    expect(report(k)).toBe("");
  });

  it("the one lane that a guard leaves, and not the next", () => {
    const k = (end: number) => kernel([i32(1)], i32(49), (b, x) => b.if(lt(add(lane, i32(48)), i32(end)), (then) => then.store(x, add(lane, i32(48)), f32(0))), 8);
    expect(report(k(49))).toBe("");
    expect(report(k(50))).toContain("above");
  });

  it("strided and stepped loops", () => {
    const k = kernel([B], mul(B, i32(256)), (b, x) => {
      b.loop(lane, i32(256), 64, (l, i) => l.store(x, add(mul(group, i32(256)), i), f32(0)));
      b.loop(i32(0), i32(256), 4, (l, i) => {
        for (let u = 0; u < 4; u++) l.store(x, add(mul(group, i32(256)), add(i, i32(u))), f32(0));
      });
    });
    expect(report(k)).toBe("");
    const symbolic = kernel([B], mul(B, mul(D, i32(4))), (b, x) => {
      b.loop(i32(0), mul(D, i32(4)), 4, (l, i) => l.store(x, add(mul(group, mul(D, i32(4))), add(i, i32(3))), f32(0)));
      b.loop(i32(0), T, 1, (l, i) => l.store(x, mod(i, D), f32(0)));
    });
    expect(report(symbolic)).toContain("x"); // d may be 0 where only b and t are known to be positive
  });

  it("clamped loads of gathered indices and of edges", () => {
    const k = kernel([ceilDiv(T, 64), D], mul(T, D), (b, x, ids) => {
      const id = b.load(ids, lane);
      b.load(x, add(mul(max(i32(0), min(id, add(T, i32(-1)))), D), builtin("group.y")));
      b.load(x, add(mul(min(flatInvocation(64), sub(T, i32(1))), D), builtin("group.y")));
      b.if(and(binary("le", i32(0), id), lt(id, T)), (t) => t.load(x, mul(id, D)));
      const inside = b.let(and(binary("le", i32(0), id), lt(id, T)), "inside");
      b.load(x, mul(select(inside, id, i32(0)), D));
      b.if(inside, (t) => t.load(x, add(mul(id, D), i32(0))));
      b.if(unary("not", lt(id, T)), () => undefined, (t) => t.load(x, mul(max(id, i32(0)), D)));
    });
    expect(report(k)).toBe("");
  });

  it("masks, shifts and vars that only move inside one loop turn", () => {
    const k = kernel([B], i32(64), (b, x, ids) => {
      const id = b.load(ids, lane);
      b.store(x, binary("and", id, i32(63)), f32(0));
      b.store(x, binary("shr", lane, i32(1)), f32(0));
      b.store(x, add(binary("shl", binary("shr", lane, i32(1)), i32(1)), i32(1)), f32(0));
      const v = b.var(i32(0));
      b.store(x, v, f32(0));
      b.assign(v, lane);
      b.store(x, v, f32(0));
    });
    expect(report(k)).toBe("");
  });
});

describe("not proven", () => {
  it.each<[string, (b: Body, x: string, ids: string) => void]>([
    ["one past the end", (b, x) => b.store(x, add(lane, i32(1)), f32(0))],
    ["before the start", (b, x) => b.store(x, sub(lane, i32(1)), f32(0))],
    ["a gathered index", (b, x, ids) => b.load(x, b.load(ids, lane))],
    ["a guard on another value", (b, x, ids) => {
      const [p, q] = [b.load(ids, lane), b.load(ids, i32(0))];
      b.if(and(lt(p, i32(64)), binary("le", i32(0), p)), (t) => t.load(x, q));
    }],
    ["a guard that failed", (b, x, ids) => {
      const p = max(i32(0), b.load(ids, lane));
      b.if(lt(p, i32(64)), () => undefined, (t) => t.load(x, p));
    }],
    ["either of two guards", (b, x, ids) => {
      const p = b.load(ids, lane);
      b.if(binary("or", lt(p, i32(64)), binary("le", i32(0), p)), (t) => t.load(x, p));
    }],
    ["a var that a loop moves on", (b, x) => {
      const v = b.var(i32(0));
      b.loop(i32(0), i32(3), 1, (l) => {
        l.store(x, v, f32(0));
        l.assign(v, add(v, i32(60)));
      });
    }],
    ["a var one branch changed", (b, x) => {
      const v = b.var(i32(0));
      b.if(lt(lane, i32(3)), (t) => t.assign(v, i32(64)));
      b.store(x, v, f32(0));
    }],
    ["a remainder by what may be zero", (b, x) => b.store(x, mod(lane, T), f32(0))],
    ["a quotient of what may be negative", (b, x, ids) => b.store(x, add(div(b.load(ids, lane), i32(1000000000)), i32(1)), f32(0))],
    ["a shared array passed", (b) => b.astore(b.parts.array("s", "f32", 8, "shared"), lane, f32(0))],
  ])("%s", (_, fill) => {
    expect(report(kernel([B], i32(64), fill))).not.toBe("");
  });

  it("says what it could not show", () => {
    const [u] = unprovenAccesses(kernel([B], i32(64), (b, x) => b.store(x, mul(lane, i32(2)), f32(0))));
    expect(u).toMatchObject({ bound: "above", place: "b0_x", goal: "63 + -2*lane.x" });
  });

  it("never says proven where the interpreter finds a fault", () => {
    const term = fc.constantFrom<ScalarExpr>(lane, group, B, T, i32(1), i32(3), i32(-1), i32(7));
    const op = fc.constantFrom("add" as const, "sub" as const, "mul" as const, "div" as const, "mod" as const, "min" as const, "max" as const);
    const expr: fc.Arbitrary<ScalarExpr> = fc.letrec<{ e: ScalarExpr }>((tie) => ({
      e: fc.oneof({ maxDepth: 3 }, term, fc.tuple(op, tie("e"), tie("e")).map(([o, a, b]) => binary(o, a, b))),
    })).e;
    let proven = 0;
    fc.assert(fc.property(expr, expr, expr, (index, size, bound) => {
      const sized = max(i32(0), size);
      const plain = JSON.stringify(size).includes("builtin") ? B : sized;
      const k = kernel([B], plain, (b, x) => b.if(lt(index, bound), (t) => void t.load(x, index)), 4);
      if (!kernelProven(k)) return;
      proven++;
      for (const [b, t] of [[0, 0], [1, 0], [1, 1], [2, 5], [3, 2]] as const) {
        const elements = new Float32Array(Math.max(0, evaluate(plain, { b, t, d: 1 })));
        const [x = "", ids = ""] = k.operands.map((o) => o.name);
        const r = runKernel(k, { [x]: elements, [ids]: new Int32Array(64) }, { b, t, d: 1 });
        if (!r.ok && r.fault.kind === "bounds") throw new Error(r.fault.message);
      }
    }), { numRuns: 300 });
    expect(proven).toBeGreaterThan(15);
  });
});

function evaluate(e: ScalarExpr, at: Record<string, number>): number {
  if (e.kind === "const") return e.value;
  if (e.kind === "length") return at[e.name] ?? 0;
  if (e.kind !== "binary") return 0;
  const [a, b] = [evaluate(e.a, at), evaluate(e.b, at)];
  switch (e.op) {
    case "add": return a + b;
    case "sub": return a - b;
    case "mul": return a * b;
    case "div": return b === 0 ? 0 : Math.trunc(a / b);
    case "mod": return b === 0 ? 0 : a % b;
    case "min": return Math.min(a, b);
    default: return Math.max(a, b);
  }
}

it("a workgroup's number that a guard leaves only zero is zero, however often it is taken", () => {
  const kernel = readKernel(`kernel first {
  length n
  workgroup 8 1 1
  grid (min (add i32 1 #n) i32 65535) (div (add (add i32 1 #n) i32 65534) i32 65535) i32 1
  operand y f32 write i32 8
  origin {"spans":[],"path":"first","via":[]}
  let at (add (mul @group.y i32 65535) @group.x)
  if (lt $at:i32 i32 1) {
    store y (add (mul $at:i32 i32 8) @lane.x) f32 1
  }
}
`);
  expect(unprovenAccesses(kernel).map(unprovenText)).toEqual([]);
});
