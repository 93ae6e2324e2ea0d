// `top` with options drawn at random, on rows with padding and ties, against its definition in plain TypeScript: who is chosen, what is
// dropped, weights, loads and the balance loss.

import fc from "fast-check";
import { expect, test } from "vitest";
import "../seed.ts";
import { close } from "./apply.ts";
import { route } from "./routing.ts";

const at = (xs: readonly number[], i: number): number => xs[i] ?? NaN;
const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
const best = (xs: readonly number[], k: number): number[] => xs.map((s, e) => ({ s, e })).sort((a, b) => b.s - a.s || a.e - b.e).slice(0, k).map((x) => x.e);
const softmax = (xs: readonly number[]): number[] => {
  const e = xs.map((x) => Math.exp(x - Math.max(...xs)));
  return e.map((x) => x / sum(e));
};

const options = fc.record({ groups: fc.integer({ min: 1, max: 4 }), size: fc.integer({ min: 1, max: 4 }), keep: fc.integer({ min: 1, max: 4 }), best: fc.integer({ min: 1, max: 3 }), k: fc.integer({ min: 1, max: 5 }) })
  .map((o) => {
    const keep = Math.min(o.keep, o.groups);
    return { ...o, keep, best: Math.min(o.best, o.size), experts: o.groups * o.size, k: Math.min(o.k, keep * o.size) };
  });

const cases = fc.record({
  o: options, sigmoid: fc.boolean(), biased: fc.boolean(), renormalise: fc.boolean(), training: fc.boolean(), scale: fc.constantFrom(1, 2.5), capacity: fc.constantFrom(0, 0.5, 1, 1.5),
  batch: fc.integer({ min: 1, max: 3 }), t: fc.integer({ min: 1, max: 5 }),
  numbers: fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 150, maxLength: 150 }), padding: fc.array(fc.integer({ min: -1, max: 2 }), { minLength: 15, maxLength: 15 }),
});

test("top with any options", () => {
  fc.assert(fc.property(cases, ({ o, sigmoid, biased, renormalise, training, scale, capacity, batch, t, numbers, padding }) => {
    const [D, E, rows] = [2, o.experts, batch * t];
    // Whole numbers make ties; sums of groups are compared, so there the numbers differ.
    const fine = (x: number, i: number): number => (o.groups > 1 ? x + Math.sin(i * 7.3) * 0.3 : x);
    const [x, gate] = [numbers.slice(0, rows * D).map(fine), numbers.slice(50, 50 + D * E).map((v, i) => fine(v, i + 40))];
    const bias = numbers.slice(100, 100 + E).map((v) => (biased ? v * 0.1 : 0));
    const doc = padding.slice(0, rows);
    const r = route({
      layer: "routed(mine(d), plain(d))", sizes: { d: D }, batch, t, x, attributes: { doc }, training, weights: { "net.router.gate.w": gate, "net.router.bias": bias },
      text: `layer plain(d: axis) {
  param a[d]
  forward x[t, d] = x * a
}
router mine(d: axis) {
  axis experts = ${E}
  gate = linear(d, experts)
  param bias[experts] ~ zeros
  choose x[t, d] = top(${o.k}, ${sigmoid ? "sigmoid(gate(x))" : "softmax[experts](gate(x))"}, balance: bias, groups: ${o.groups}, keep: ${o.keep}, best: ${o.best}, renormalise: ${renormalise}, scale: ${scale.toFixed(1)}, capacity: ${capacity.toFixed(1)})
  loss load_balance(choose)
}
`,
    });
    const scores = Array.from({ length: rows }, (_, i) => {
      const logits = Array.from({ length: E }, (_, e) => at(x, i * D) * at(gate, e) + at(x, i * D + 1) * at(gate, E + e));
      return sigmoid ? logits.map((l) => 1 / (1 + Math.exp(-l))) : softmax(logits);
    });
    const wanted = scores.map((s, i) => {
      if (at(doc, i) < 0) return Array.from({ length: o.k }, () => -1);
      const b = s.map((v, e) => v + at(bias, e));
      const sums = Array.from({ length: o.groups }, (_, g) => { const own = b.slice(g * o.size, (g + 1) * o.size); return sum(best(own, o.best).map((e) => at(own, e))); });
      const kept = best(sums, o.keep);
      return best(b.map((v, e) => (kept.includes(Math.floor(e / o.size)) ? v : -Infinity)), o.k);
    });
    const live = doc.filter((v) => v >= 0).length;
    const most = training && capacity > 0 ? Math.ceil((capacity * o.k * live) / E - 1e-9) : Infinity;
    const got = Array.from({ length: E }, () => 0);
    const expert = wanted.flat().map((e) => (e < 0 || (got[e] = at(got, e) + 1) > most ? -1 : e));
    const weights = wanted.flatMap((chosen, i) => {
      const w = chosen.map((e) => (e < 0 ? 0 : at(scores[i] ?? [], e)));
      return w.map((v) => (scale * v) / (renormalise ? Math.max(sum(w), 1e-20) : 1));
    }).map((w, row) => (at(expert, row) < 0 ? 0 : w));
    const [note] = r.notes;
    expect(note?.expert.data).toEqual(expert);
    close(note?.weights.data ?? [], weights);
    const load = Array.from({ length: E }, (_, e) => expert.filter((v) => v === e).length);
    expect(note?.offset.data).toEqual([0, ...load.map((_, e) => sum(load.slice(0, e + 1)))]);
    expect(note?.wanted).toBe(live * o.k);
    const p = scores.filter((_, i) => at(doc, i) >= 0).map((s) => s.map((v) => v / sum(s)));
    const asked = Array.from({ length: E }, (_, e) => wanted.flat().filter((v) => v === e).length);
    expect(note?.losses["balance"]).toBeCloseTo(live === 0 ? 0 : E * sum(asked.map((f, e) => (f / (live * o.k)) * (sum(p.map((s) => at(s, e))) / live))), 9);
    const a = r.weights["net.a"] ?? [];
    close(r.out.data, x.map((v, n) => {
      const i = Math.floor(n / D);
      return sum(expert.slice(i * o.k, (i + 1) * o.k).map((e, j) => (e < 0 ? 0 : at(weights, i * o.k + j) * v * at(a, e * D + (n % D)))));
    }));
  }), { numRuns: Number(process.env["FUZZ_RUNS"] ?? 60) });
});
