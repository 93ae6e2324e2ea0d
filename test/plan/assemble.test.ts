// Assembly and layout: arenas, live ranges, sharing, hashes.

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import type { Program } from "../../compiler/kernel/kernel.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import { canonical, contentHash, sha256 } from "../../compiler/plan/hash.ts";
import { layoutPlan, originOfLine } from "../../compiler/plan/layout.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { i32, length, mul } from "../../compiler/scalar/expr.ts";
import { chainProgram, scaleKernel, tensor } from "../kernel_ir/samples.ts";

const opts = { target: guaranteed, states: [] };

describe("assemble", () => {
  const plan = assemble(chainProgram(), opts);

  it("drops temps nobody touches and gives the rest a live range", () => {
    expect(plan.tensors.map((t) => [t.name, t.live])).toEqual([["x", undefined], ["h", [0, 1]], ["g", [1, 2]], ["y", undefined], ["z", undefined]]);
    expect(plan.arenas.map((a) => a.name)).toEqual(["input.f32", "temp.f32", "output.f32"]);
  });

  it("shares modules of equal text", () => {
    expect(plan.steps).toHaveLength(4);
    const bindings = plan.steps.map((s) => (s.kind === "dispatch" ? s.arenas : []));
    expect(bindings).toEqual([[0, 1], [1], [1, 2], [0, 2]]);
    const again = assemble({ ...chainProgram(), steps: [...chainProgram().steps, ...chainProgram().steps] }, opts);
    expect(again.modules).toHaveLength(plan.modules.length);
  });

  it("is plain JSON with a stable hash", () => {
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
    expect(assemble(chainProgram(), opts).hash).toBe(plan.hash);
    expect(assemble({ ...chainProgram(), name: "other" }, opts).hash).not.toBe(plan.hash);
  });

  it("keeps what a repeat touches alive through all of it", () => {
    const p = chainProgram();
    const inner = p.steps.slice(0, 2);
    const repeated: Program = { ...p, steps: [{ kind: "repeat", name: "chunk", count: i32(3), steps: inner }, ...p.steps.slice(2)] };
    const live = assemble(repeated, opts).tensors.map((t) => t.live);
    expect(live.slice(1, 3)).toEqual([[0, 1], [0, 2]]);
  });

  it("views state buffers by field", () => {
    const states = [{ name: "params", dtype: "f32" as const, size: 30, fields: [{ name: "a", shape: [10], axes: ["n"], offset: 0 }, { name: "b", shape: [20], axes: ["n"], offset: 10 }] }];
    const program: Program = {
      name: "p", lengths: ["n"], outputs: {},
      tensors: [tensor("params/b", "state", i32(20)), tensor("params", "state", i32(30))],
      steps: [{ kind: "dispatch", dispatch: scaleKernel("params", "params/b") }],
    };
    const made = assemble(program, { ...opts, states });
    expect(made.tensors.map((t) => t.state)).toEqual([{ buffer: "params", offset: 10 }, { buffer: "params", offset: 0 }]);
    expect(made.arenas).toEqual([{ name: "params", dtype: "f32", class: "state" }]);
    expect(layoutPlan(made, { n: 20 }).offsets).toEqual([10, 0]);
    expect(() => assemble({ ...program, tensors: [tensor("grads/b", "state", i32(20))] }, { ...opts, states })).toThrow("no state buffer");
  });

  it("marks a module proven only if every use of its text is", () => {
    expect(plan.modules.map((m) => m.proven)).toEqual(plan.modules.map(() => true));
    const p = chainProgram();
    const first = p.steps[0];
    if (first?.kind !== "dispatch") throw new Error("a dispatch");
    const { kernel, bind } = first.dispatch;
    // The same text over a shorter operand: its last elements are no longer inside.
    const short = { ...kernel, operands: kernel.operands.map((o) => ({ ...o, size: i32(7) })) };
    const made = assemble({ ...p, steps: [...p.steps, { kind: "dispatch", dispatch: { kernel: short, bind } }] }, opts);
    expect(made.modules).toHaveLength(plan.modules.length);
    expect(made.modules.filter((m) => !m.proven)).toHaveLength(1);
  });

  it("counts cost over lengths", () => {
    expect(plan.cost.dispatches).toBe(4);
    expect(layoutPlan(plan, { n: 100 }).inputBytes).toBe(512);
  });

  it("finds the origin of a line", () => {
    expect(originOfLine(plan.modules[0] ?? ({ lines: [] } as never), 7)?.path).toBe("scale_h");
  });
});

describe("layoutPlan", () => {
  it("never overlaps temps that are alive together, and never needs more than their sum", () => {
    const range = fc.tuple(fc.nat(12), fc.nat(6), fc.integer({ min: 0, max: 5000 }));
    fc.assert(fc.property(fc.array(range, { maxLength: 24 }), (ranges) => {
      const plan: Plan = {
        ...assemble(chainProgram(), opts),
        arenas: [{ name: "temp.f32", dtype: "f32", class: "temp" }],
        tensors: ranges.map(([from, more, size], i) => ({ name: `t${i}`, dtype: "f32", kind: "temp", arena: 0, axes: [], size, live: [from, from + more] })),
      };
      const layout = layoutPlan(plan, {});
      ranges.forEach(([f1, m1, s1], i) => ranges.forEach(([f2, m2, s2], j) => {
        if (i >= j || s1 === 0 || s2 === 0 || f1 + m1 < f2 || f2 + m2 < f1) return;
        const [a, b] = [layout.offsets[i] ?? 0, layout.offsets[j] ?? 0];
        expect(a + s1 <= b || b + s2 <= a).toBe(true);
      }));
      expect(layout.offsets.every((o) => o % 64 === 0)).toBe(true);
      expect(layout.tempBytes).toBeGreaterThanOrEqual(layout.liveBytes);
      expect(layout.tempBytes / 4).toBeLessThanOrEqual(ranges.reduce((n, [, , s]) => n + Math.ceil(s / 64) * 64, 0));
    }), { numRuns: 100 });
  });

  it("reuses the space of dead temps", () => {
    const p = chainProgram();
    const n = length("n");
    const long: Program = {
      ...p,
      tensors: [tensor("x", "input", n), tensor("y", "output", n), ...["a", "b", "c", "d"].map((t) => tensor(t, "temp", mul(n, i32(1))))],
      steps: [["x", "a"], ["a", "b"], ["b", "c"], ["c", "d"], ["d", "y"]].map(([f, t]) => ({ kind: "dispatch", dispatch: scaleKernel(f, t) })),
      outputs: { y: "y" },
    };
    expect(layoutPlan(assemble(long, opts), { n: 640 }).tempBytes).toBe(2 * 640 * 4);
  });
});

describe("hash", () => {
  it("is SHA-256", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(sha256(bytes)).toBe(createHash("sha256").update(bytes).digest("hex"));
    }));
  });
  it("does not depend on the order of keys", () => {
    expect(contentHash({ a: 1, b: [2, { d: 1, c: undefined }] })).toBe(contentHash({ b: [2, { d: 1 }], a: 1 }));
    expect(canonical({ b: 1, a: "x" })).toBe('{"a":"x","b":1}');
  });
});
