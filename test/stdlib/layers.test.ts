// Every layer of the library against a formula written here without it.

import { expect, test } from "vitest";
import { apply, close, noise } from "../types/apply.ts";

const [T, D] = [3, 4];
const x = noise(T * D, 5);
const rows = (data: readonly number[], width: number): number[][] => Array.from({ length: data.length / width }, (_, i) => [...data.slice(i * width, (i + 1) * width)]);
const input = { axes: { t: T, d: D }, data: x };
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((s, v, i) => s + v * (b[i] ?? 0), 0);
/** x [n] times w [n, m]. */
const times = (v: readonly number[], w: readonly number[], m: number): number[] => Array.from({ length: m }, (_, j) => v.reduce((s, a, i) => s + a * (w[i * m + j] ?? 0), 0));
const silu = (v: number): number => v / (1 + Math.exp(-v));
const gelu = (v: number): number => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));

test("linear, with and without bias", () => {
  const w = noise(D * 2, 9);
  const b = [0.5, -1];
  const sizes = { d: D, e: 2 };
  close(apply("linear(d, e)", [input], { sizes, weights: { "net.w": w } }).data, rows(x, D).flatMap((r) => times(r, w, 2)));
  close(apply("linear(d, e, bias: true)", [input], { sizes, weights: { "net.w": w, "net.b": b } }).data, rows(x, D).flatMap((r) => times(r, w, 2).map((v, i) => v + (b[i] ?? 0))));
  expect(apply("zero_linear(d, e)", [input], { sizes, weights: { "net.w": w, "net.b": b } }).axes).toEqual(["t", "e"]);
});

test("one axis for both ends of a linear map", () => {
  const w = noise(D * D, 9);
  const out = apply("linear(d, d)", [input], { sizes: { d: D }, weights: { "net.w": w } });
  expect(out.axes).toEqual(["t", "d"]);
  close(out.data, rows(x, D).flatMap((r) => times(r, w, D)));
});

test("norms", () => {
  const gain = noise(D, 3);
  const rms = rows(x, D).flatMap((r) => r.map((v, i) => (v / Math.sqrt(dot(r, r) / D + 1e-5)) * (gain[i] ?? 0)));
  close(apply("rms_norm(d)", [input], { sizes: { d: D }, weights: { "net.gain": gain } }).data, rms);
  const normed = rows(x, D).map((r) => {
    const mean = r.reduce((s, v) => s + v, 0) / D;
    const centred = r.map((v) => v - mean);
    return centred.map((v) => v / Math.sqrt(dot(centred, centred) / D + 1e-5));
  });
  close(apply("plain_norm(d)", [input], { sizes: { d: D } }).data, normed.flat());
  const b = noise(D, 4);
  close(apply("layer_norm(d)", [input], { sizes: { d: D }, weights: { "net.gain": gain, "net.b": b } }).data, normed.flatMap((r) => r.map((v, i) => v * (gain[i] ?? 0) + (b[i] ?? 0))));
  expect(apply("layer_norm(d, bias: false)", [input], { sizes: { d: D } }).parameters.map((p) => p.path)).toEqual(["net.gain"]);
});

test("embedding and its rows as a head", () => {
  const w = noise(5 * D, 2);
  const ids = { axes: { t: 3 }, dtype: "i32" as const, data: [4, 0, 2] };
  close(apply("embedding(n, d)", [ids], { sizes: { n: 5, d: D }, weights: { "net.w": w } }).data, [4, 0, 2].flatMap((i) => w.slice(i * D, (i + 1) * D)));
  const text = "layer both(n: axis, d: axis) {\n  table = embedding(n, d)\n  head = unembed(table, n, d)\n  forward x[d] = head(x)\n}";
  const out = apply("both(n, d)", [input], { text, sizes: { n: 5, d: D }, weights: { "net.table.w": w } });
  expect(out.parameters.map((p) => p.path)).toEqual(["net.table.w"]);
  close(out.data, rows(x, D).flatMap((r) => rows(w, D).map((row) => dot(r, row))));
});

test("mlp and swiglu", () => {
  const [up, down, gate] = [noise(D * 6, 1), noise(6 * D, 2), noise(D * 6, 3)];
  const [bu, bd] = [noise(6, 4), noise(D, 5)];
  const sizes = { d: D };
  close(
    apply("mlp(d, 6)", [input], { sizes, weights: { "net.up.w": up, "net.up.b": bu, "net.down.w": down, "net.down.b": bd } }).data,
    rows(x, D).flatMap((r) => times(times(r, up, 6).map((v, i) => gelu(v + (bu[i] ?? 0))), down, D).map((v, i) => v + (bd[i] ?? 0))),
  );
  close(
    apply("swiglu(d, 6)", [input], { sizes, weights: { "net.gate.w": gate, "net.up.w": up, "net.down.w": down } }).data,
    rows(x, D).flatMap((r) => {
      const u = times(r, up, 6);
      return times(times(r, gate, 6).map((v, i) => silu(v) * (u[i] ?? 0)), down, D);
    }),
  );
});

/** Attention of one head at a time, by its definition. q, k, v: [head][token][width]. */
function attend(q: number[][][], k: number[][][], v: number[][][], sees: (i: number, j: number) => boolean): number[][][] {
  return q.map((head, h) => head.map((qi, i) => {
    const logits = (k[h] ?? []).map((kj, j) => (sees(i, j) ? dot(qi, kj) / Math.sqrt(qi.length) : -Infinity));
    const top = Math.max(...logits);
    const e = logits.map((l) => Math.exp(l - top));
    const total = e.reduce((a, b) => a + b, 0);
    return qi.map((_, c) => e.reduce((s, p, j) => s + (p / total) * (v[h]?.[j]?.[c] ?? 0), 0));
  }));
}

/** x times w[d, h, e] (and g = 1): [head][token][e]. */
const heads = (w: readonly number[], H: number, E: number): number[][][] =>
  Array.from({ length: H }, (_, h) => rows(x, D).map((r) => Array.from({ length: E }, (_, e) => r.reduce((s, a, i) => s + a * (w[(i * H + h) * E + e] ?? 0), 0))));
const rotate = (v: number[], pos: number): number[] => {
  const half = v.length / 2;
  return v.map((_, i) => {
    const angle = pos * 10000 ** (-(2 * (i % half)) / v.length);
    const [a, b] = [v[i % half] ?? 0, v[(i % half) + half] ?? 0];
    return i < half ? a * Math.cos(angle) - b * Math.sin(angle) : a * Math.sin(angle) + b * Math.cos(angle);
  });
};
const joined = (o: number[][][], wo: readonly number[], H: number, E: number): number[] =>
  rows(x, D).flatMap((_, t) => Array.from({ length: D }, (_, d) => {
    let s = 0;
    for (let h = 0; h < H; h++) for (let e = 0; e < E; e++) s += (o[h]?.[t]?.[e] ?? 0) * (wo[(h * E + e) * D + d] ?? 0);
    return s;
  }));

test("attention with rotary positions, and without", () => {
  const [wq, wk, wv, wo] = [noise(D * 4, 1), noise(D * 4, 2), noise(D * 4, 3), noise(4 * D, 4)];
  const weights = { "net.wq": wq, "net.wk": wk, "net.wv": wv, "net.wo": wo };
  const turned = (w: readonly number[]): number[][][] => heads(w, 2, 2).map((head) => head.map((v, t) => rotate(v, t)));
  close(apply("attention(d, 2, causal)", [input], { sizes: { d: D }, weights }).data, joined(attend(turned(wq), turned(wk), heads(wv, 2, 2), (i, j) => j <= i), wo, 2, 2));
  close(apply("plain_attention(d, 2, full, bias: false)", [input], { sizes: { d: D }, weights }).data, joined(attend(heads(wq, 2, 2), heads(wk, 2, 2), heads(wv, 2, 2), () => true), wo, 2, 2));
});

test("groups of query heads share keys and values", () => {
  const [wq, wk, wv, wo] = [noise(D * 4, 1), noise(D * 2, 2), noise(D * 2, 3), noise(4 * D, 4)];
  const turned = (w: readonly number[], H: number): number[][][] => heads(w, H, 2).map((head) => head.map((v, t) => rotate(v, t)));
  const one = (all: number[][][]): number[][][] => [all[0] ?? [], all[0] ?? []];
  const out = apply("attention(d, 2, causal, kv: 1)", [input], { sizes: { d: D }, weights: { "net.wq": wq, "net.wk": wk, "net.wv": wv, "net.wo": wo } });
  close(out.data, joined(attend(turned(wq, 2), one(turned(wk, 1)), one(heads(wv, 1, 2)), (i, j) => j <= i), wo, 2, 2));
});

test("positions: learned, on a grid, sinusoidal", () => {
  const w = noise(8 * D, 6);
  close(apply("learned_positions(n, d)", [], { sizes: { n: 8, d: D }, weights: { "net.w": w }, attributes: { pos: [2, 7] } }).data, [2, 7].flatMap((p) => w.slice(p * D, (p + 1) * D)));
  const [row, col] = [noise(2 * D, 7), noise(3 * D, 8)];
  const out = apply("grid_positions(r, c, d)", [], { sizes: { r: 2, c: 3, d: D }, weights: { "net.row": row, "net.col": col }, attributes: { pos: [0, 1], row: [0, 1], col: [2, 1] } });
  close(out.data, [[0, 2], [1, 1]].flatMap(([r, c]) => Array.from({ length: D }, (_, i) => (row[(r ?? 0) * D + i] ?? 0) + (col[(c ?? 0) * D + i] ?? 0))));
  const angles = (p: number): number[] => [Math.cos(p), Math.cos(p * 10000 ** -0.5), Math.sin(p), Math.sin(p * 10000 ** -0.5)];
  close(apply("sinusoid_positions(d)", [], { sizes: { d: D }, attributes: { pos: [0, 3] } }).data, [0, 3].flatMap(angles));
});

test("the noise level as a vector", () => {
  const text = "layer noised(p: process, d: axis) {\n  inner = time(p, d, 4)\n  forward() = inner()\n}";
  const [up, bu, down, bd] = [noise(4 * D, 1), noise(D, 2), noise(D * D, 3), noise(D, 4)];
  const expected = [0, 0.25].flatMap((l) => {
    const p = 1000 * l;
    const f = [Math.cos(p), Math.cos(p * 10000 ** -0.5), Math.sin(p), Math.sin(p * 10000 ** -0.5)];
    return times(times(f, up, D).map((v, i) => silu(v + (bu[i] ?? 0))), down, D).map((v, i) => v + (bd[i] ?? 0));
  });
  const weights = { "net.inner.up.w": up, "net.inner.up.b": bu, "net.inner.down.w": down, "net.inner.down.b": bd };
  close(apply("noised(steps(), d)", [], { text: `${text}\nprocess steps() = diffusion()`, sizes: { d: D }, weights, level: [0, 0.25] }).data, expected, 1e-8);
});

test("blocks: a pre-norm block is its parts; an adaptive one starts as the identity", () => {
  const uses = "use std.blocks { decoder_block, mlp_block, adaln_block }";
  const text = "layer parts(d: axis) {\n  norm1 = rms_norm(d)\n  attn = attention(d, 2, causal)\n  norm2 = rms_norm(d)\n  ffn = swiglu(d, 4 * d)\n  forward x[t, d] = x + attn(norm1(x)) + ffn(norm2(x + attn(norm1(x))))\n}";
  const block = apply("decoder_block(d, 2, causal)", [input], { uses, sizes: { d: D } });
  close(block.data, apply("parts(d)", [input], { text, sizes: { d: D } }).data);
  expect(block.parameters.map((p) => p.path)).toEqual(["net.norm1.gain", "net.attn.wq", "net.attn.wk", "net.attn.wv", "net.attn.wo", "net.norm2.gain", "net.ffn.gate.w", "net.ffn.up.w", "net.ffn.down.w"]);
  expect(apply("mlp_block(d, 2, causal)", [input], { uses, sizes: { d: D } }).shape).toEqual([T, D]);
  const zero = Object.fromEntries(["shift1", "scale1", "gate1", "shift2", "scale2", "gate2"].flatMap((n) => [[`net.${n}.w`, Array<number>(D * D).fill(0)], [`net.${n}.b`, Array<number>(D).fill(0)]]));
  const adaptive = apply("adaln_block(d, 2, causal, steps())", [input], { uses, text: "process steps() = diffusion()", sizes: { d: D }, weights: zero, level: [0.1, 0.5, 0.9] });
  close(adaptive.data, x);
});

test("a score changes the logits", () => {
  const weights = { "net.gq": [1, 1], "net.gk": [1, 1] };
  const capped = apply("qk_norm_attention(d, 2, full, soft_cap(0.001))", [input], { sizes: { d: D }, weights });
  // Logits within a thousandth of each other: every token gets nearly the mean of all values.
  const firsts = [0, 1, 2].map((t) => capped.data[t * D] ?? NaN);
  close(firsts, [firsts[0] ?? 0, firsts[0] ?? 0, firsts[0] ?? 0], 1e-2);
  expect(Math.abs((apply("qk_norm_attention(d, 2, full, soft_cap(50.0))", [input], { sizes: { d: D }, weights }).data[0] ?? 0) - (firsts[0] ?? 0))).toBeGreaterThan(1e-4);
});
