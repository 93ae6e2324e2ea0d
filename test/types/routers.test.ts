// Routers against definitions in plain TypeScript: who is chosen, with which weight, what capacity drops, what losses say, and gradients
// through gates against differences. Shapes are small; experts have a bias, so that rows that are nowhere would show.

import { describe, expect, test } from "vitest";
import { close } from "./apply.ts";
import type { Case, Routed } from "./routing.ts";
import { route } from "./routing.ts";

const D = 4;
const H = 3;
const EXPERT = `layer expert(d: axis, h: axis) {
  param a[d, h], b[h], c[h, d]
  forward x[t, d] = dot[h](tanh(dot[d](x, a) + b), c)
}
`;
const USE = "use std.routers { top_experts, switch_experts, mixtral_experts, deepseek_experts, noisy_experts, hash_experts, expert_choice_experts, soft_experts, modality_experts }\n";

const run = (router: string, more: Partial<Case> = {}): Routed =>
  route({ layer: `routed(${router}, expert(d, h))`, sizes: { d: D, h: H }, batch: 2, t: 5, ...more, text: `${USE}${EXPERT}${more.text ?? ""}` });

const at = (xs: readonly number[], i: number): number => xs[i] ?? NaN;
const row = (xs: readonly number[], i: number, n: number): number[] => xs.slice(i * n, (i + 1) * n);
const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
const softmax = (xs: readonly number[]): number[] => {
  const e = xs.map((x) => Math.exp(x - Math.max(...xs)));
  return e.map((x) => x / sum(e));
};
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
/** x[d] times w[d, n]. */
const times = (x: readonly number[], w: readonly number[]): number[] => {
  const n = w.length / x.length;
  return Array.from({ length: n }, (_, j) => sum(x.map((v, i) => v * at(w, i * n + j))));
};
/** What expert e makes of x. */
function expertOf(r: Routed, e: number, x: readonly number[]): number[] {
  const [a, b, c] = ["a", "b", "c"].map((n) => r.weights[`net.${n}`] ?? []);
  const hidden = times(x, row(a ?? [], e, D * H)).map((v, j) => Math.tanh(v + at(b ?? [], e * H + j)));
  return times(hidden, row(c ?? [], e, H * D));
}
const input = (i: number, seed = 7): number[] => row(Array.from({ length: 200 }, (_, n) => Math.sin((n + 1) * 12.9898 + seed * 78.233) * 0.9), i, D);

/** For each token its experts, best first, and their weights. */
type Chosen = readonly (readonly { readonly e: number; readonly w: number }[])[];

const logitsOf = (r: Routed, i: number): number[] => times(input(i), r.weights["net.router.gate.w"] ?? []);
const best = (scores: readonly number[], k: number): number[] => scores.map((s, e) => ({ s, e })).sort((a, b) => b.s - a.s || a.e - b.e).slice(0, k).map((x) => x.e);

function expectChoice(r: Routed, chosen: Chosen, k: number): void {
  const [note] = r.notes;
  expect(note?.expert.axes).toEqual(["batch", "t", "choice"]);
  const experts = chosen.flatMap((c) => Array.from({ length: k }, (_, j) => c[j]?.e ?? -1));
  expect(note?.expert.data).toEqual(experts);
  if (note && note.weights.data.length > 0) close(note.weights.data, chosen.flatMap((c) => Array.from({ length: k }, (_, j) => c[j]?.w ?? 0)));
  close(r.out.data, chosen.flatMap((c, i) => c.reduce((y, { e, w }) => expertOf(r, e, input(i)).map((v, d) => at(y, d) + w * v), Array.from({ length: D }, () => 0))));
  const load = Array.from({ length: note?.experts ?? 0 }, (_, e) => experts.filter((x) => x === e).length);
  expect(note?.offset.data).toEqual([0, ...load.map((_, e) => sum(load.slice(0, e + 1)))]);
}

const tokens = 10;
const all = Array.from({ length: tokens }, (_, i) => i);

describe("top", () => {
  test("softmax over all experts, the weights as they are", () => {
    const r = run("top_experts(d, 5, 2)");
    expectChoice(r, all.map((i) => {
      const p = softmax(logitsOf(r, i));
      return best(p, 2).map((e) => ({ e, w: at(p, e) }));
    }), 2);
    expect(r.notes[0]).toMatchObject({ path: "net", route: "top_experts", dispatch: "top", learned: true, experts: 5, choices: 2, branches: [], wanted: 20, couples: false });
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("a softmax over the chosen ones", () => {
    const r = run("mixtral_experts(d, 5, k: 3)");
    expectChoice(r, all.map((i) => {
      const l = logitsOf(r, i);
      const chosen = best(l, 3);
      const w = softmax(chosen.map((e) => at(l, e)));
      return chosen.map((e, j) => ({ e, w: at(w, j) }));
    }), 3);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("sigmoid scores, a bias that selects and does not weigh, groups of experts, a scale", () => {
    const bias = [0.3, -0.2, 0.1, 0, -0.4, 0.25, 0.05, -0.1];
    const r = run("deepseek_experts(d, 8, 3, groups: 4, keep: 2, scale: 2.5)", { weights: { "net.router.bias": bias } });
    const chosen = all.map((i) => {
      const s = logitsOf(r, i).map(sigmoid);
      const b = s.map((x, e) => x + at(bias, e));
      const groups = best([0, 1, 2, 3].map((g) => at(b, 2 * g) + at(b, 2 * g + 1)), 2);
      const open = b.map((x, e) => (groups.includes(Math.floor(e / 2)) ? x : -Infinity));
      const experts = best(open, 3);
      const total = sum(experts.map((e) => at(s, e)));
      return experts.map((e) => ({ e, w: (2.5 * at(s, e)) / total }));
    });
    expectChoice(r, chosen, 3);
    expect(r.notes[0]?.bias).toMatchObject({ rate: 0.001, parameter: { path: "net.router.bias", balance: 0.001, frozen: false } });
    expect(r.parameters.filter((p) => p.router).map((p) => p.path)).toEqual(["net.router.gate.w", "net.router.bias"]);
    expect(r.notes[0]?.losses).toEqual({});
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("groups ranked by one and by three of their experts", () => {
    for (const n of [1, 3]) {
      const r = run(`mine(d)`, { text: `router mine(d: axis) { gate = linear(d, axis experts = 6); choose x[t, d] = top(2, softmax[experts](gate(x)), groups: 2, keep: 1, best: ${n}) }` });
      expectChoice(r, all.map((i) => {
        const p = softmax(logitsOf(r, i));
        const rank = (g: number): number => sum(best(row(p, g, 3), n).map((e) => at(p, 3 * g + e)));
        const g = rank(1) > rank(0) ? 1 : 0;
        return best(row(p, g, 3), 2).map((e) => ({ e: 3 * g + e, w: at(p, 3 * g + e) }));
      }), 2);
    }
  });

  test("scores for selection alone have no gradient and no weight", () => {
    const r = run("mine(d)", {
      text: `router mine(d: axis) {
        axis experts = 4
        gate = linear(d, experts)
        frozen param pick[d, experts]
        choose x[t, d] = top(2, softmax[experts](gate(x)), by: dot[d](x, pick))
      }`,
    });
    expectChoice(r, all.map((i) => {
      const p = softmax(logitsOf(r, i));
      return best(times(input(i), r.weights["net.router.pick"] ?? []), 2).map((e) => ({ e, w: at(p, e) }));
    }), 2);
    expect(sum((r.slopes()["net.router.pick"] ?? [NaN]).map(Math.abs))).toBe(0);
  });

  test("equal scores go to the first experts", () => {
    const r = run("top_experts(d, 4, 2)", { weights: { "net.router.gate.w": Array.from({ length: 16 }, () => 0) } });
    expectChoice(r, all.map(() => [{ e: 0, w: 0.25 }, { e: 1, w: 0.25 }]), 2);
  });

  test("all tokens to one expert, and all experts for every token", () => {
    const one = run("top_experts(d, 3, 1)", { x: all.flatMap(() => [1, 0, 0, 0]), weights: { "net.router.gate.w": [0, 5, 0, ...Array.from({ length: 9 }, () => 0)] } });
    expect(one.notes[0]?.offset.data).toEqual([0, 0, 10, 10]);
    expect(one.slopeError()).toBeLessThan(1e-6);
    const every = run("top_experts(d, 3, 3)");
    expect(every.notes[0]?.offset.data).toEqual([0, 10, 20, 30]);
    expect(every.slopeError()).toBeLessThan(1e-6);
  });
});

describe("who is there", () => {
  test("padding goes nowhere, counts nowhere and comes back as zero", () => {
    const doc = [0, 0, 0, -1, -1, 0, 1, 1, 1, -1];
    const r = run("top_experts(d, 5, 2)", { attributes: { doc } });
    expectChoice(r, all.map((i) => {
      const p = softmax(logitsOf(r, i));
      return at(doc, i) < 0 ? [] : best(p, 2).map((e) => ({ e, w: at(p, e) }));
    }), 2);
    expect(r.notes[0]?.wanted).toBe(14);
    const without = run("top_experts(d, 5, 2)");
    expect(r.notes[0]?.losses["balance"]).not.toBe(without.notes[0]?.losses["balance"]);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("a batch of padding alone", () => {
    const r = run("top_experts(d, 5, 2)", { attributes: { doc: all.map(() => -1) } });
    expect(r.out.data.every((x) => x === 0)).toBe(true);
    expect(r.notes[0]?.wanted).toBe(0);
    expect(r.notes[0]?.offset.data).toEqual([0, 0, 0, 0, 0, 0]);
    expect(Object.values(r.notes[0]?.losses ?? {})).toEqual([0, 0]);
    expect(Object.values(r.slopes()).flat().every((x) => x === 0)).toBe(true);
  });

  test("tokens of another branch are nowhere: a router in one branch of a route", () => {
    const text = "route sides = by role { given -> a; predicted -> b }\n";
    const role = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0];
    const r = run("", { text, attributes: { role }, layer: "routed(sides, a: expert(d, h), b: routed(top_experts(d, 4, 2), expert(d, h)))" });
    const note = r.notes.find((n) => n.learned);
    expect(note?.path).toBe("net.b");
    expect(note?.wanted).toBe(10);
    expect(note?.expert.data.map((e) => e >= 0)).toEqual(role.flatMap((x) => [x === 1, x === 1]));
    expect(r.slopeError()).toBeLessThan(1e-6);
  });
});

describe("capacity", () => {
  const doc = [0, 0, 0, 0, -1, 1, 1, 1, 1, 1];
  const wantedOf = (r: Routed): number[] => all.flatMap((i) => (at(doc, i) < 0 ? [-1, -1] : best(logitsOf(r, i), 2)));

  test("drops later rows in training, and nothing elsewhere", () => {
    for (const [c, training] of [[1, true], [0.5, true], [1.25, true], [1, false]] as const) {
      const r = run(`top_experts(d, 4, 2, capacity: ${c.toFixed(2)})`, { attributes: { doc }, training });
      const wanted = wantedOf(r);
      const most = Math.ceil((c * 18) / 4 - 1e-9);
      const got = [0, 0, 0, 0];
      const kept = wanted.map((e) => (e < 0 || (training && (got[e] = at(got, e) + 1) > most) ? -1 : e));
      expect(r.notes[0]?.expert.data).toEqual(kept);
      expect(r.notes[0]?.wanted).toBe(18);
      expect(at(r.notes[0]?.offset.data ?? [], 4)).toBe(kept.filter((e) => e >= 0).length);
      expect(r.notes[0]?.weights.data.map((w) => w === 0)).toEqual(kept.map((e) => e < 0));
      expect(r.notes[0]?.capacity).toBe(c);
      expect(r.slopeError()).toBeLessThan(1e-6);
    }
  });

  test("an even share that is whole is not exceeded", () => {
    const x = all.flatMap(() => [1, 0, 0, 0]);
    const r = run("top_experts(d, 2, 1, capacity: 1.2)", { x, training: true });
    expect(r.notes[0]?.offset.data).toEqual([0, ...(r.notes[0]?.expert.data[0] === 0 ? [6, 6] : [0, 6])]);
  });
});

describe("losses", () => {
  const doc = [0, 0, 0, -1, -1, 0, 1, 1, 1, -1];
  const there = all.filter((i) => at(doc, i) >= 0);

  test("load balance and z-loss", () => {
    const r = run("top_experts(d, 4, 2, balance: 0.5, z: 0.25)", { attributes: { doc } });
    const p = there.map((i) => softmax(logitsOf(r, i)));
    const f = [0, 1, 2, 3].map((e) => p.filter((s) => best(s, 2).includes(e)).length / (2 * there.length));
    const mean = [0, 1, 2, 3].map((e) => sum(p.map((s) => at(s, e))) / there.length);
    const z = sum(there.map((i) => Math.log(sum(logitsOf(r, i).map(Math.exp))) ** 2)) / there.length;
    expect(r.notes[0]?.losses["balance"]).toBeCloseTo(0.5 * 4 * sum(f.map((x, e) => x * at(mean, e))), 12);
    expect(r.notes[0]?.losses["z"]).toBeCloseTo(0.25 * z, 12);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("load balance is 1 where experts share evenly", () => {
    const r = run("mine(d)", { text: "router mine(d: axis) { gate = linear(d, axis experts = 4); choose x[t, d] = top(4, softmax[experts](gate(x))); loss load_balance(choose) }" });
    expect(r.notes[0]?.losses["balance"]).toBeCloseTo(1, 12);
  });

  test("load balance within each sample of the batch", () => {
    const r = run("deepseek_experts(d, 4, 2, balance: 2.0)", { attributes: { doc } });
    const each = [0, 1].map((b) => {
      const s = there.filter((i) => Math.floor(i / 5) === b).map((i) => logitsOf(r, i).map(sigmoid));
      const p = [0, 1, 2, 3].map((e) => sum(s.map((x) => at(x, e) / sum(x))) / s.length);
      const bias = r.weights["net.router.bias"] ?? [];
      const f = [0, 1, 2, 3].map((e) => s.filter((x) => best(x.map((v, j) => v + at(bias, j)), 2).includes(e)).length / (2 * s.length));
      return 4 * sum(f.map((x, e) => x * at(p, e)));
    });
    expect(r.notes[0]?.losses["balance"]).toBeCloseTo(sum(each), 12);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("importance and entropy", () => {
    const text = `router mine(d: axis) {
      gate = linear(d, axis experts = 4)
      choose x[t, d] = top(2, softmax[experts](gate(x)), renormalise: true)
      loss 3.0 * importance(choose) - 0.5 * entropy(choose)
      loss entropy(choose, mean: true) * 2.0
    }`;
    const r = run("mine(d)", { text, attributes: { doc } });
    const p = there.map((i) => softmax(logitsOf(r, i)));
    const given = [0, 1, 2, 3].map((e) => sum(p.map((s) => (best(s, 2).includes(e) ? at(s, e) / sum(best(s, 2).map((x) => at(s, x))) : 0))));
    const mean = sum(given) / 4;
    const entropy = (s: readonly number[]): number => -sum(s.map((x) => x * Math.log(x)));
    expect(r.notes[0]?.losses["importance"]).toBeCloseTo((3 * sum(given.map((g) => (g - mean) ** 2))) / 4 / mean ** 2, 8);
    expect(r.notes[0]?.losses["entropy"]).toBeCloseTo((-0.5 * sum(p.map(entropy))) / there.length, 12);
    expect(r.notes[0]?.losses["entropy2"]).toBeCloseTo(2 * entropy([0, 1, 2, 3].map((e) => sum(p.map((s) => at(s, e))) / there.length)), 12);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("a factor of 0 makes no nodes", () => {
    const off = run("top_experts(d, 4, 2, balance: 0.0, z: 0.0)");
    const none = run("mine(d)", { text: "router mine(d: axis) { gate = linear(d, axis experts = 4); choose x[t, d] = top(2, softmax[experts](gate(x))) }" });
    expect(off.notes[0]?.losses).toEqual({});
    expect(off.nodes).toBe(none.nodes);
    expect(run("top_experts(d, 4, 2, balance: 0.0)").notes[0]?.losses).toHaveProperty("z");
  });
});

describe("noise", () => {
  test("jitter multiplies what the gate sees, in training alone", () => {
    const drawn = (n: number): number[] => Array.from({ length: n }, (_, i) => (i * 7 % 10) / 10);
    const calm = run("switch_experts(d, 4, capacity: 0.0)");
    const r = run("switch_experts(d, 4, capacity: 0.0, noise: 0.5)", { training: true, drawn });
    const logits = (i: number): number[] => times(input(i).map((v, d) => v * (0.5 + ((i * D + d) * 7 % 10) / 10)), r.weights["net.router.gate.w"] ?? []);
    expectChoice(r, all.map((i) => best(logits(i), 1).map((e) => ({ e, w: at(softmax(logits(i)), e) }))), 1);
    expectChoice(calm, all.map((i) => best(logitsOf(calm, i), 1).map((e) => ({ e, w: at(softmax(logitsOf(calm, i)), e) }))), 1);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("noisy gates: the spread has a gradient in training", () => {
    const r = run("noisy_experts(d, 5)", { training: true });
    const normal = Array.from({ length: 50 }, (_, i) => Math.sin((i + 1) * 12.9898 + 50 * 78.233) * 0.9);
    const logits = (i: number): number[] => {
      const spread = times(input(i), r.weights["net.router.spread.w"] ?? []).map((v, e) => Math.log1p(Math.exp(v + at(r.weights["net.router.spread.b"] ?? [], e))));
      return logitsOf(r, i).map((l, e) => l + at(spread, e) * at(normal, i * 5 + e));
    };
    expectChoice(r, all.map((i) => {
      const l = logits(i);
      const chosen = best(l, 2);
      const w = softmax(chosen.map((e) => at(l, e)));
      return chosen.map((e, j) => ({ e, w: at(w, j) }));
    }), 2);
    expect(Math.max(...(r.slopes()["net.router.spread.w"] ?? []).map(Math.abs))).toBeGreaterThan(1e-4);
    expect(r.slopeError()).toBeLessThan(1e-6);
    const calm = run("noisy_experts(d, 5)");
    expect(calm.notes[0]?.expert.data).toEqual(all.flatMap((i) => best(logitsOf(calm, i), 2)));
  });
});

describe("pick", () => {
  test("words by a hash, patches by their place, weight 1", () => {
    const id = [3, 99, 3, 0, 0, 7, 250, 99, 0, 1];
    const r = run("hash_experts(d, 4)", { attributes: { id } });
    const expected = all.map((i) => ((at(id, i) === 0 ? (i % 5) * 31 : at(id, i) * 7919) % 65521) % 4);
    expectChoice(r, expected.map((e) => [{ e, w: 1 }]), 1);
    expect(r.notes[0]).toMatchObject({ dispatch: "pick", learned: false, choices: 1 });
    expect(r.slopeError()).toBeLessThan(1e-6);
  });

  test("a number that no expert has sends a token nowhere", () => {
    const text = "router mine(experts: int) { choose x[t, d] = pick[experts](token.turn) }";
    const turn = [0, 1, 2, 3, -1, 5, 1, 1, 0, 2];
    const r = run("mine(3)", { text: text.replace("turn", "span"), attributes: { span: turn } });
    expectChoice(r, turn.map((e) => (e >= 0 && e < 3 ? [{ e, w: 1 }] : [])), 1);
  });
});

describe("a gate of each branch", () => {
  test("modalities share experts and have gates of their own", () => {
    const role = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0];
    const r = run("modality_experts(d, 4, 2, sides)", { text: "route sides = by role { given -> a; predicted -> b }\n", attributes: { role } });
    const logits = (i: number): number[] => times(input(i), r.weights[`net.router.gate.${at(role, i) === 0 ? "a" : "b"}.w`] ?? []);
    expectChoice(Object.assign(r, { notes: r.notes.filter((n) => n.learned) }), all.map((i) => {
      const l = logits(i);
      const chosen = best(l, 2);
      const w = softmax(chosen.map((e) => at(l, e)));
      return chosen.map((e, j) => ({ e, w: at(w, j) }));
    }), 2);
    const z = sum(all.map((i) => Math.log(sum(logits(i).map(Math.exp))) ** 2)) / tokens;
    expect(r.notes[0]?.losses["z"]).toBeCloseTo(0.001 * z, 12);
    expect(r.slopeError()).toBeLessThan(1e-6);
  });
});

describe("a router with a name", () => {
  const text = `layer two(d: axis, h: axis) {
    shared = top_experts(d, 4, 2)
    first  = routed(shared, expert(d, h))
    second = routed(shared, expert(d, h))
    forward x[t, d] = first(x) + second(x)
  }
  layer chain(d: axis, h: axis) {
    shared = top_experts(d, 4, 2)
    first  = routed(shared, expert(d, h))
    second = routed(shared, expert(d, h))
    forward x[t, d] = second(first(x))
  }
  `;
  test("shares its weights, and its choice where the input is the same", () => {
    const r = run("", { layer: "two(d, h)", text });
    expect(r.parameters.filter((p) => p.router).map((p) => p.path)).toEqual(["net.shared.gate.w"]);
    expect(r.notes.map((n) => n.path)).toEqual(["net.first", "net.second"]);
    expect(r.notes[0]?.expert.data).toEqual(r.notes[1]?.expert.data);
    expect(r.notes.map((n) => Object.keys(n.losses))).toEqual([["balance", "z"], []]);
    expect(r.slopeError()).toBeLessThan(1e-6);
    const c = run("", { layer: "chain(d, h)", text });
    expect(c.parameters.filter((p) => p.router)).toHaveLength(1);
    expect(c.notes.map((n) => Object.keys(n.losses))).toEqual([["balance", "z"], ["balance", "z"]]);
    expect(c.slopeError()).toBeLessThan(1e-6);
  });

  test("is a parameter of layers", () => {
    const r = run("", { layer: "mine(d, h, mixtral_experts(d, 4))", text: "layer mine(d: axis, h: axis, experts: router) { ffn = routed(experts, expert(d, h)); forward x[t, d] = ffn(x) }" });
    expect(r.parameters.map((p) => p.path)).toEqual(["net.experts.gate.w", "net.ffn.a", "net.ffn.b", "net.ffn.c"]);
    expect(r.notes[0]?.path).toBe("net.ffn");
    expect(r.slopeError()).toBeLessThan(1e-6);
  });
});

describe("experts inside experts", () => {
  test("a router in an expert of another chooses for each row of it", () => {
    const r = run("", { layer: "routed(top_experts(d, 2, 1), routed(top_experts(d, 3, 2), expert(d, h)))" });
    const [outer, inner] = [r.notes.find((n) => n.path === "net" && n.experts === 2), r.notes.find((n) => n.experts === 3)];
    expect(inner?.expert.axes.length).toBe(4);
    const gate = r.weights["net.router2.gate.w"] ?? r.weights[r.parameters.find((p) => p.router && p.axes.length === 3)?.path ?? ""] ?? [];
    expect(inner?.expert.data).toEqual(all.flatMap((i) => best(times(input(i), row(gate, at(outer?.expert.data ?? [], i), D * 3)), 2)));
    expect(r.slopeError()).toBeLessThan(1e-6);
  });
});
