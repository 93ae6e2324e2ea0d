// Products of rows with the matrix of their class, and sums by class, through several tiles of rows and columns, on every shape of
// routing: a mixture of experts with all its gradients, and products with odd operands.

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import type { Axis } from "../../compiler/graph/graph.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { runPasses } from "../../compiler/run_passes.ts";
import { check, dispatchesOf, targets } from "../fuse/check.ts";
import { closeGpu } from "../gpu/run_program.ts";
import "../seed.ts";
import type { Made } from "./harness.ts";
import { make, runs, sound } from "./harness.ts";

afterAll(closeGpu);

const axis = (name: string, size: number): Axis => ({ name, size: dimConst(size) });
const t: Axis = { name: "t", size: dimVar("t") };
const f32 = (...axes: Axis[]) => ({ dtype: "f32" as const, axes });
const i32 = (...axes: Axis[]) => ({ dtype: "i32" as const, axes });

interface Sizes {
  readonly tokens: number;
  readonly experts: number;
  readonly d: number;
  readonly h: number;
}

/** SwiGLU experts, two a token, weighted and added; with the gradients of everything. */
function mixture({ tokens, experts, d, h }: Sizes, expert: readonly number[]): Made {
  const [D, H, E, C] = [axis("d", d), axis("h", h), axis("experts", experts), axis("choice", 2)];
  return make((m, x) => {
    const g = m.groupBy(x("expert", i32(t, C)), dimConst(experts));
    const leaves = [x("x", f32(t, D)), x("gate", f32(E, D, H)), x("up", f32(E, D, H)), x("down", f32(E, H, D)), x("weight", f32(t, C))];
    const [v, gate, up, down, weight] = leaves as [number, number, number, number, number];
    const hidden = m.mul(m.silu(m.groupedDot(v, gate, g, "experts", "d")), m.groupedDot(v, up, g, "experts", "d"));
    const y = m.sum(m.mul(m.groupedDot(hidden, down, g, "experts", "h"), weight), "choice");
    m.builder.output("y", y);
    gradients(m.builder, m.sum(m.mul(y, x("dout", f32(t, D))), "t", "d"), leaves).forEach((id, i) => m.builder.output(`d${i}`, id));
  }, { t: tokens }, { expert });
}

/** [t, choice] experts of tokens. */
const routed = (tokens: number, f: (row: number) => number): number[] => Array.from({ length: 2 * tokens }, (_, i) => f(i));
const some: Sizes = { tokens: 13, experts: 4, d: 6, h: 9 };

describe("a mixture of experts and its gradients", () => {
  test.each<[string, Sizes, (row: number) => number]>([
    ["balanced", some, (i) => (i * 7) % 4],
    ["all to one expert", some, () => 2],
    ["none to some, some nowhere", some, (i) => [0, -1, 2, 9][i % 4] ?? 0],
    ["all nowhere", some, () => -1],
    ["no tokens", { ...some, tokens: 0 }, () => 0],
    ["one expert", { ...some, experts: 1 }, () => 0],
    ["one expert, half of the rows", { ...some, experts: 1 }, (i) => (i % 2) - 1],
    ["more experts than rows", { tokens: 4, experts: 11, d: 8, h: 8 }, (i) => i * 2],
    ["one row of a class more than a tile", { tokens: 37, experts: 2, d: 4, h: 65 }, (i) => (i < 65 ? 0 : 1)],
    ["one token", { tokens: 1, experts: 2, d: 3, h: 1 }, (i) => i],
  ])("%s", async (_, sizes, f) => {
    await sound(mixture(sizes, routed(sizes.tokens, f)));
  });

  test("on an adapter", async () => {
    await runs(mixture(some, routed(some.tokens, (i) => [3, 0, -1, 3, 1][i % 5] ?? 0)));
    await runs(mixture({ ...some, tokens: 0 }, []));
  });

  test("gate and up are one kernel, with the map that reads both", () => {
    for (const target of targets) {
      const m = make((b, x) => {
        const g = b.groupBy(x("e", i32(t)), dimConst(3));
        const of = (w: string): number => b.groupedDot(v, x(w, f32(axis("experts", 3), axis("d", 4), axis("h", 6))), g, "experts", "d");
        const v = x("x", f32(t, axis("d", 4)));
        b.builder.output("y", b.mul(b.silu(of("gate")), of("up")));
      }, { t: 5 }, { e: [0, 1, 2, 1, -1] });
      const names = dispatchesOf(scheduleGraph(m.graph, target, templates)).map((k) => k.kernel.name);
      expect(names.filter((n) => n.endsWith("rows by class"))).toHaveLength(1);
      expect(names.some((n) => n.endsWith(" map"))).toBe(false);
    }
  });

  test("takes as many kernels for 16 experts as for 256", () => {
    for (const target of targets) {
      const count = (experts: number): number =>
        dispatchesOf(runPasses(mixture({ ...some, experts }, []).graph, { target, remat: false })).length;
      expect(count(256)).toBe(count(16));
    }
  });
});

describe("odd operands", () => {
  const [E, D, H, A] = [axis("experts", 3), axis("d", 5), axis("h", 34), axis("a", 2)];
  const e = Array.from({ length: 70 }, (_, i) => (i % 7 === 0 ? -1 : (i * i) % 3));

  test("several contracted axes, an aligned one, a bias by class and a residual", async () => {
    await sound(make((m, x) => {
      const cls = x("e", i32(t));
      const g = m.groupBy(cls, dimConst(3));
      const y = m.groupedDot(x("x", f32(D, t, A, axis("k", 3))), x("w", f32(E, A, axis("k", 3), H, D)), g, "experts", "k", "d");
      const bias = m.gather(x("bias", f32(E, H)), "experts", m.max(cls, m.const(0, "i32")));
      m.builder.output("y", m.add(m.silu(m.add(y, bias)), x("residual", f32(t, A, H))));
    }, { t: 70 }, { e }), [software]);
  });

  test("a result beside the rows of the operand, and a column of one", async () => {
    await sound(make((m, x) => {
      const g = m.groupBy(x("e", i32(t)), dimConst(3));
      const v = x("x", f32(t, axis("head", 3), D));
      m.builder.output("y", m.groupedDot(v, x("w", f32(E, D, H)), g, "experts", "d"));
      m.builder.output("z", m.groupedDot(v, x("u", f32(E, D)), g, "experts", "d"));
      m.builder.output("gain", m.groupedDot(v, x("gains", f32(E, D)), g, "experts"));
    }, { t: 20 }, { e: e.slice(0, 20) }));
  });

  test("a normed operand, halves, a sum of two products of the same rows", async () => {
    await sound(make((m, x) => {
      const g = m.groupBy(x("e", i32(t)), dimConst(3));
      const v = x("x", f32(t, D));
      const normed = m.mul(m.rmsNorm(v, 1e-5, "d"), x("gain", f32(D)));
      const both = m.add(m.groupedDot(normed, x("w", f32(E, D, H)), g, "experts", "d"), m.groupedDot(x("v", f32(t, axis("k", 9))), x("u", f32(E, axis("k", 9), H)), g, "experts", "k"));
      m.builder.output("y", m.cast(m.cast(both, "f16"), "f32"));
    }, { t: 70 }, { e }));
  });

  test("sums over the rows of some classes, with a further axis", async () => {
    await sound(make((m, x) => {
      const g = m.groupBy(x("e", i32(t)), dimConst(3));
      const [v, dy] = [x("x", f32(t, A, D)), x("dy", f32(A, H, t))];
      const attrs = { rows: ["t"], axes: ["a"] };
      m.builder.output("all", m.op("grouped_dw", [v, dy, g.order, g.offset], { ...attrs, classes: E, first: 0 }));
      m.builder.output("last", m.op("grouped_dw", [v, dy, g.order, g.offset], { ...attrs, classes: axis("experts", 2), first: 1 }));
      m.builder.output("aligned", m.op("grouped_dw", [v, dy, g.order, g.offset], { rows: ["t"], axes: [], classes: axis("experts", 1), first: 2 }));
    }, { t: 70 }, { e }));
  });

  test("a long class beside empty ones: shares of it add up the same in every run", async () => {
    const made = make((m, x) => {
      const g = m.groupBy(x("e", i32(t)), dimConst(3));
      m.builder.output("dw", m.op("grouped_dw", [x("x", f32(t, D)), x("dy", f32(t, H)), g.order, g.offset], { rows: ["t"], axes: [], classes: E, first: 0 }));
    }, { t: 300 }, { e: Array.from({ length: 300 }, () => 1) });
    await sound(made);
    await runs(made);
  });
});

test("any routing of any sizes", () => {
  const sizes = fc.record({ tokens: fc.integer({ min: 0, max: 12 }), experts: fc.integer({ min: 1, max: 12 }), d: fc.integer({ min: 1, max: 9 }), h: fc.integer({ min: 1, max: 20 }) });
  fc.assert(fc.property(sizes, fc.infiniteStream(fc.nat({ max: 1000 })), (s, stream) => {
    const expert = routed(s.tokens, () => ((stream.next().value as number) % (s.experts + 2)) - 1);
    const made = mixture(s, expert);
    check(made.graph, made, 1e-4);
  }), { numRuns: Number(process.env["FUZZ_RUNS"] ?? 8) });
});
