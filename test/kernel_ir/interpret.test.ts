// The kernel interpreter computes what kernels say, and finds the mistakes it promises to find.

import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { Body, KernelParts, flatInvocation } from "../../compiler/kernel/body.ts";
import { runKernel, runProgram } from "../../compiler/kernel/interpret.ts";
import type { Kernel, Program } from "../../compiler/kernel/kernel.ts";
import { unrollKernel } from "../../compiler/kernel/unroll.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, binary, builtin, f32, i32, length, lt, mod, mul, u32, unary } from "../../compiler/scalar/expr.ts";
import { chainProgram, finish, rowSumKernel, scaleKernel, tensor, tileProductKernel } from "./samples.ts";

const floats = (n: number, f: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => f(i));

/** A one-workgroup kernel over y[64] (readwrite) with 8 lanes and a shared array. */
function tiny(fill: (b: Body, y: string, shared: string) => void, lanes = 8, groups = 1): { kernel: Kernel; run: () => ReturnType<typeof runKernel> } {
  const parts = new KernelParts();
  const b = new Body(parts);
  const y = parts.operand("y", "f32", i32(64), "write");
  parts.operand("y", "f32", i32(64), "read");
  fill(b, y, parts.array("shared", "f32", 16, "shared"));
  const { kernel } = finish("tiny", parts, b, { workgroup: [lanes, 1, 1], grid: [i32(groups), i32(1), i32(1)], lengths: [] });
  return { kernel, run: () => runKernel(kernel, { [y]: floats(64, (i) => i) }, {}) };
}

const faultOf = (r: ReturnType<typeof runKernel>) => (r.ok ? undefined : r.fault);
const lane = builtin("lane.x");

describe("runKernel", () => {
  it("runs a chain of elementwise steps at any length", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 200 }), (n) => {
      const r = runProgram(chainProgram(), { x: floats(n, (i) => i * 0.25) }, { n });
      if (!r.ok) throw new Error(r.fault.message);
      expect([...(r.tensors["y"] ?? [])]).toEqual(Array.from({ length: n }, (_, i) => ((i * 0.25 * 2 + 0.5) * 3 + 0.5) * 4 + 0.5));
    }), { numRuns: 20 });
  });

  it.each([1, 6, 8, 9, 16, 33, 64])("reduces over %i lanes", (lanes) => {
    const { kernel, bind } = rowSumKernel("x", "y", lanes);
    const program: Program = {
      name: "p", lengths: ["n"], tensors: [tensor("x", "input", mul(length("n"), i32(40))), tensor("y", "output", length("n"))],
      steps: [{ kind: "dispatch", dispatch: { kernel, bind } }], outputs: { y: "y" },
    };
    const r = runProgram(program, { x: floats(120, (i) => i % 7) }, { n: 3 });
    if (!r.ok) throw new Error(r.fault.message);
    expect([...(r.tensors["y"] ?? [])]).toEqual([0, 1, 2].map((row) => floats(40, (d) => (row * 40 + d) % 7).reduce((a, b) => a + b, 0)));
  });

  it("computes a product, unrolled or not", () => {
    const { kernel } = tileProductKernel();
    fc.assert(fc.property(fc.integer({ min: 1, max: 19 }), fc.integer({ min: 1, max: 19 }), (m, n) => {
      const [a, w] = [floats(m * 12, (i) => ((i * 7) % 5) * 0.1 - 0.2), floats(n * 12, (i) => ((i * 3) % 11) * 0.05 - 0.2)];
      const names = kernel.operands.map((op) => op.name);
      for (const k of [kernel, unrollKernel(kernel)]) {
        const out = new Float32Array(m * n);
        const r = runKernel(k, { [names[0] ?? ""]: a, [names[1] ?? ""]: w, [names[2] ?? ""]: out }, { m, n });
        if (!r.ok) throw new Error(r.fault.message);
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let x = 0; x < 12; x++) sum += (a[i * 12 + x] ?? 0) * (w[x * n + j] ?? 0);
            expect(out[i * n + j]).toBeCloseTo(Math.tanh(sum), 5);
          }
      }
    }), { numRuns: 15 });
  });

  it("wraps integers as a device does", () => {
    const parts = new KernelParts();
    const b = new Body(parts);
    const y = parts.operand("y", "u32", i32(6), "write");
    const big = b.let(add(unary("to_u32", lane), u32(0xffffffff)), "big");
    const values: ScalarExpr[] = [
      mul(big, big), binary("mulhi", big, u32(0xdeadbeef)), binary("shl", big, u32(4)), binary("sub", u32(0), u32(1)),
      unary("to_u32", binary("add", unary("to_i32", u32(0x7fffffff)), add(lane, i32(1)))), unary("bits_u32", unary("to_f32", add(lane, i32(1)))),
    ];
    values.forEach((v, i) => b.store(y, i32(i), v));
    const { kernel } = finish("wrap", parts, b, { workgroup: [1, 1, 1], grid: [i32(1), i32(1), i32(1)], lengths: [] });
    const out = new Uint32Array(6);
    expect(runKernel(kernel, { [y]: out }, {}).ok).toBe(true);
    expect([...out]).toEqual([1, 0xdeadbeee, 0xfffffff0, 0xffffffff, 0x80000000, 0x3f800000]);
  });

  it("runs repeats with the chunk as a length, and keeps state", () => {
    const parts = new KernelParts();
    const b = new Body(parts);
    const s = parts.operand("s", "f32", i32(4), "write");
    parts.operand("s", "f32", i32(4), "read");
    b.store(s, length("chunk"), add(b.load(s, length("chunk")), unary("to_f32", length("chunk"))));
    const { kernel, bind } = finish("count", parts, b, { workgroup: [1, 1, 1], grid: [i32(1), i32(1), i32(1)], lengths: ["chunk"] });
    const program: Program = {
      name: "p", lengths: [], tensors: [tensor("s", "state", i32(4))], outputs: {},
      steps: [{ kind: "repeat", name: "chunk", count: i32(4), steps: [{ kind: "dispatch", dispatch: { kernel, bind } }] }],
    };
    const state = floats(4, () => 10);
    expect(runProgram(program, { s: state }, {}).ok).toBe(true);
    expect([...state]).toEqual([10, 11, 12, 13]);
  });
});

describe("faults", () => {
  it("accesses out of bounds, with the place", () => {
    const { run } = tiny((b, y) => b.store(y, mul(lane, i32(10)), f32(1)));
    const fault = faultOf(run());
    expect(fault).toMatchObject({ kind: "bounds", index: 70, size: 64, lane: [7, 0, 0] });
    expect(fault?.message).toContain("lane.x * 10");
    expect(faultOf(tiny((b, y) => void b.load(y, i32(-1))).run())?.kind).toBe("bounds");
    expect(faultOf(tiny((b, _, s) => b.astore(s, i32(16), f32(1))).run())?.kind).toBe("bounds");
  });

  it("two lanes that write one element", () => {
    expect(faultOf(tiny((b, y) => b.store(y, mod(lane, i32(4)), f32(1))).run())?.kind).toBe("race");
  });

  it("two workgroups that write one element", () => {
    expect(faultOf(tiny((b, y) => b.store(y, lane, f32(1)), 8, 2).run())?.kind).toBe("race");
    expect(tiny((b, y) => b.store(y, flatInvocation(8), f32(1)), 8, 2).run().ok).toBe(true);
  });

  it("a read of what another workgroup writes, in either order", () => {
    const neighbour = (shift: number) => tiny((b, y) => {
      b.store(y, flatInvocation(8), b.load(y, add(flatInvocation(8), i32(shift))));
    }, 8, 2).run();
    expect(faultOf(neighbour(1))?.kind).toBe("race");
    expect(neighbour(16).ok).toBe(true);
    expect(neighbour(0).ok).toBe(true);
  });

  it("shared memory without a barrier, and none with one", () => {
    const rotate = (barrier: boolean) => tiny((b, y, s) => {
      b.astore(s, lane, f32(1));
      if (barrier) b.barrier();
      b.store(y, lane, b.aload(s, mod(add(lane, i32(1)), i32(8))));
    }).run();
    expect(faultOf(rotate(false))?.kind).toMatch(/race|uninitialised/);
    expect(rotate(true).ok).toBe(true);
  });

  it("a write after a read of another lane, two readers between", () => {
    const result = tiny((b, y, s) => {
      b.astore(s, lane, f32(1));
      b.barrier();
      const x = b.aload(s, i32(0));
      b.if(lt(i32(6), lane), (t) => t.astore(s, i32(0), x));
      b.store(y, lane, x);
    }).run();
    expect(faultOf(result)?.kind).toBe("race");
  });

  it("reads of what nobody wrote", () => {
    expect(faultOf(tiny((b, y, s) => b.store(y, lane, b.aload(s, lane))).run())?.kind).toBe("uninitialised");
    const p = chainProgram();
    const r = runProgram({ ...p, steps: p.steps.slice(1) }, { x: floats(5, () => 1) }, { n: 5 });
    expect(faultOf(r)).toMatchObject({ kind: "uninitialised", tensor: "h", kernel: "scale_g" });
  });

  it("barriers that some lanes miss", () => {
    expect(faultOf(tiny((b) => b.if(lt(lane, i32(3)), (t) => t.barrier())).run())?.kind).toBe("divergence");
    expect(faultOf(tiny((b) => b.if(lt(lane, i32(3)), (t) => t.barrier(), (e) => e.barrier())).run())?.kind).toBe("divergence");
    expect(faultOf(tiny((b) => b.loop(i32(0), lane, 1, (l) => l.barrier())).run())?.kind).toBe("divergence");
  });

  it("tensors of another size, type or not given", () => {
    const { kernel } = scaleKernel();
    const [x = "", y = ""] = kernel.operands.map((op) => op.name);
    expect(faultOf(runKernel(kernel, { [x]: floats(3, () => 0), [y]: floats(4, () => 0) }, { n: 4 }))?.kind).toBe("binding");
    expect(faultOf(runKernel(kernel, { [x]: new Int32Array(4), [y]: floats(4, () => 0) }, { n: 4 }))?.kind).toBe("binding");
    expect(faultOf(runProgram(chainProgram(), {}, { n: 4 }))?.message).toContain("input x is not given");
  });
});
