// Expert choice and soft mixtures against definitions in plain TypeScript: quotas of each sample, ties, padding, slots, gradients;
// and that nothing of experts x tokens x width is made.

import { describe, expect, test } from "vitest";
import { close } from "./apply.ts";
import type { Case, Routed } from "./routing.ts";
import { route } from "./routing.ts";

const [B, T, D, H] = [2, 6, 4, 3];
const EXPERT = `layer expert(d: axis, h: axis) {
  param a[d, h], b[h], c[h, d]
  forward x[t, d] = dot[h](tanh(dot[d](x, a) + b), c)
}
`;
const run = (router: string, more: Partial<Case> = {}): Routed =>
  route({ layer: `routed(${router}, expert(d, h))`, sizes: { d: D, h: H }, batch: B, t: T, ...more, text: `use std.routers { expert_choice_experts, soft_experts, top_experts }\n${EXPERT}${more.text ?? ""}` });

const at = (xs: readonly number[], i: number): number => xs[i] ?? NaN;
const row = (xs: readonly number[], i: number, n: number): number[] => xs.slice(i * n, (i + 1) * n);
const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const times = (x: readonly number[], w: readonly number[]): number[] => range(w.length / x.length).map((j) => sum(x.map((v, i) => v * at(w, (i * w.length) / x.length + j))));
const softmax = (xs: readonly number[]): number[] => {
  const e = xs.map((x) => Math.exp(x - Math.max(...xs)));
  return e.map((x) => x / sum(e));
};
function expertOf(r: Routed, e: number, x: readonly number[]): number[] {
  const [a, b, c] = ["a", "b", "c"].map((n) => r.weights[`net.${n}`] ?? []);
  return times(times(x, row(a ?? [], e, D * H)).map((v, j) => Math.tanh(v + at(b ?? [], e * H + j))), row(c ?? [], e, H * D));
}
const input = (i: number): number[] => row(range(B * T * D).map((n) => Math.sin((n + 1) * 12.9898 + 7 * 78.233) * 0.9), i, D);

describe("expert choice", () => {
  const EXPERTS = 3;
  /** Tokens of each expert, by sample. */
  function chosen(r: Routed, doc: readonly number[], k: number): { i: number; e: number; w: number }[] {
    const gate = r.weights["net.router.gate.w"] ?? [];
    return range(B).flatMap((b) => {
      const live = range(T).map((t) => b * T + t).filter((i) => at(doc, i) >= 0);
      const quota = Math.floor((k * live.length) / EXPERTS);
      return range(EXPERTS).flatMap((e) => live.map((i) => ({ i, e, w: at(softmax(times(input(i), gate)), e) })).sort((x, y) => y.w - x.w || x.i - y.i).slice(0, quota));
    });
  }
  function expectChosen(r: Routed, doc: readonly number[], k: number): void {
    const pairs = chosen(r, doc, k);
    const [note] = r.notes;
    const expert = range(B * T).flatMap((i) => range(EXPERTS).map((e) => (pairs.some((p) => p.i === i && p.e === e) ? e : -1)));
    expect(note?.expert.axes).toEqual(["batch", "t", "choice"]);
    expect(note?.expert.data).toEqual(expert);
    expect(note?.wanted).toBe(pairs.length);
    expect(note?.offset.data).toEqual([0, 1, 2, 3].map((n) => pairs.filter((p) => p.e < n).length));
    close(r.out.data, range(B * T).flatMap((i) => pairs.filter((p) => p.i === i).reduce((y, { e, w }) => expertOf(r, e, input(i)).map((v, d) => at(y, d) + w * v), range(D).map(() => 0))));
  }

  test("each expert takes its best tokens of each sample", () => {
    const all = range(B * T).map(() => 0);
    for (const k of [1, 2, 3]) {
      const r = run(`expert_choice_experts(d, 3, k: ${k})`);
      expectChosen(r, all, k);
      expect(r.notes[0]).toMatchObject({ dispatch: "expert_choice", couples: true, choices: null, experts: 3 });
      expect(r.slopeError()).toBeLessThan(1e-6);
    }
  });

  test("padding is no candidate, and shrinks the quota", () => {
    const doc = [0, 0, -1, 0, 0, 0, -1, -1, -1, 1, -1, -1];
    const r = run("expert_choice_experts(d, 3)", { attributes: { doc } });
    expectChosen(r, doc, 2);
    expect(r.slopeError()).toBeLessThan(1e-6);
    const none = run("expert_choice_experts(d, 3)", { attributes: { doc: doc.map(() => -1) } });
    expect(none.out.data.every((x) => x === 0)).toBe(true);
    expect(none.notes[0]?.wanted).toBe(0);
  });

  test("nothing of experts x tokens x width is made", () => {
    const r = run("expert_choice_experts(d, 8, k: 2)", { sizes: { d: 32, h: 2 } });
    // Rows that experts take, twice the tokens, and the weights themselves.
    expect(r.largest).toBe(2 * B * T * 32);
    expect(r.largest).toBeLessThan(8 * B * T * 32);
  });

  test("of equal tokens the earlier ones are taken", () => {
    const r = run("expert_choice_experts(d, 3, k: 1)", { weights: { "net.router.gate.w": range(12).map(() => 0) } });
    expect(r.notes[0]?.expert.data).toEqual(range(B * T).flatMap((i) => (i % T < 2 ? [0, 1, 2] : [-1, -1, -1])));
  });

  test("in a branch of a route, tokens of the branch compete", () => {
    const role = [0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1];
    const r = run("", { layer: "routed(sides, a: expert(d, h), b: routed(expert_choice_experts(d, 3), expert(d, h)))", text: "route sides = by role { given -> a; predicted -> b }\n", attributes: { role } });
    const note = r.notes.find((n) => n.learned);
    expect(note?.offset.data).toEqual([0, 5, 10, 15]);
    expect(range(B * T).every((i) => at(role, i) === 1 || row(note?.expert.data ?? [], i, 3).every((e) => e === -1))).toBe(true);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });
});

test.each(["expert_choice_experts(d, 3)", "soft_experts(d, 3, slots: 2)"])("in a branch, experts of %s may share a layer", (router) => {
  const text = `route sides = by role { given -> a; predicted -> b }
layer plain(d: axis) {
  axis e = d
  param w[d, e]
  forward x[t, d] = rename[e -> d](dot[d](x, w))
}
layer with_shared(d: axis, experts: router) {
  shared = plain(d)
  ffn    = routed(experts, both(d, shared))
  forward x[t, d] = ffn(x)
}
layer both(d: axis, inner: layer) {
  own = plain(d)
  forward x[t, d] = inner(x) + own(tanh(inner(x)))
}
`;
  const r = run("", { layer: `routed(sides, a: expert(d, h), b: with_shared(d, ${router}))`, text, attributes: { role: [0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1] } });
  expect(r.parameters.map((p) => p.path)).toContain("net.b.shared.w");
  expect(r.slopeError()).toBeLessThan(1e-6);
});

describe("soft mixtures", () => {
  const [EXPERTS, SLOTS] = [3, 2];
  function expected(r: Routed, doc: readonly number[]): number[] {
    const slot = r.weights["net.router.slot"] ?? [];
    const gain = at(r.weights["net.router.gain"] ?? [], 0);
    const unit = (x: readonly number[]): number[] => x.map((v) => v / Math.sqrt(sum(x.map((y) => y * y)) + 1e-6));
    const logits = range(B * T).map((i) => range(EXPERTS * SLOTS).map((s) => gain * sum(unit(input(i)).map((v, d) => v * at(unit(range(D).map((q) => at(slot, q * EXPERTS * SLOTS + s))), d)))));
    return range(B).flatMap((b) => {
      const tokens = range(T).map((t) => b * T + t);
      const live = tokens.filter((i) => at(doc, i) >= 0);
      const results = range(EXPERTS * SLOTS).map((s) => {
        const w = softmax(live.map((i) => at(logits[i] ?? [], s)));
        return expertOf(r, Math.floor(s / SLOTS), range(D).map((d) => sum(live.map((i, n) => at(w, n) * at(input(i), d)))));
      });
      return tokens.flatMap((i) => {
        if (at(doc, i) < 0) return range(D).map(() => 0);
        const c = softmax(logits[i] ?? []);
        return range(D).map((d) => sum(results.map((y, s) => at(c, s) * at(y, d))));
      });
    });
  }

  test("slots are means of tokens, tokens are means of slots", () => {
    const doc = range(B * T).map(() => 0);
    const r = run("soft_experts(d, 3, slots: 2)");
    close(r.out.data, expected(r, doc));
    expect(r.notes[0]).toMatchObject({ dispatch: "soft", couples: true, choices: null, experts: 3 });
    expect(r.notes[0]?.scores.axes).toEqual(["batch", "t", "experts"]);
    for (const b of range(B)) for (const e of range(EXPERTS)) expect(sum(range(T).map((t) => at(r.notes[0]?.scores.data ?? [], (b * T + t) * EXPERTS + e)))).toBeCloseTo(SLOTS, 12);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("padding is in no slot", () => {
    const doc = [0, 0, -1, 0, 0, 0, -1, -1, -1, 1, -1, -1];
    const r = run("soft_experts(d, 3, slots: 2)", { attributes: { doc } });
    close(r.out.data, expected(r, doc));
    expect(r.slopeError()).toBeLessThan(1e-6);
    const none = run("soft_experts(d, 3, slots: 2)", { attributes: { doc: doc.map(() => -1) } });
    expect(none.out.data.every((x) => x === 0)).toBe(true);
  });
});
