// Attention forward and backward on both targets against the definition written out in double precision.

import { afterAll, describe, expect, it } from "vitest";
import { attendBackward, attendDelta } from "../../compiler/kernel/attention_backward.ts";
import { attendForward } from "../../compiler/kernel/attention_forward.ts";
import { tileTokens } from "../../compiler/kernel/attention_ranges.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { ceilDiv } from "../../compiler/kernel/space.ts";
import type { AttendSpec } from "../../compiler/kernel/templates.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, and, attr, binary, div, f32, i32, mul, name, sub, unary } from "../../compiler/scalar/expr.ts";
import { tileFacts, tileTruth } from "../../compiler/scalar/tile_truth.ts";
import { closeGpu } from "../gpu/run_program.ts";
import type { Sizes } from "./harness.ts";
import { axisOf, distance, randoms, Rig } from "./harness.ts";

afterAll(closeGpu);

interface Mask {
  readonly expr: ScalarExpr;
  readonly see: (q: number, k: number, qSeg: number, kSeg: number) => boolean;
}

interface Score {
  readonly expr: ScalarExpr;
  readonly value: (s: number, q: number, k: number) => number;
  readonly slope: (s: number) => number;
}

const [qPos, kPos, qSeg, kSeg] = [attr("q", "pos"), attr("k", "pos"), attr("q", "seg"), attr("k", "seg")];
const causal: Mask = { expr: binary("le", kPos, qPos), see: (q, k) => k <= q };
const causalInSegment: Mask = {
  expr: and(binary("le", kPos, qPos), binary("eq", kSeg, qSeg)),
  see: (q, k, a, b) => k <= q && a === b,
};
const longCausal: Mask = { expr: binary("le", kPos, add(qPos, i32(20))), see: (q, k) => k <= q + 20 };
/** The first queries see nothing at all. */
const strictlyBefore: Mask = { expr: binary("lt", add(kPos, i32(3)), qPos), see: (q, k) => k + 3 < q };
const nothing: Mask = { expr: binary("lt", kPos, i32(0)), see: () => false };
const s = name("s", "f32");
/** Soft cap at 2 and a penalty of the distance. */
const capped: Score = {
  expr: sub(mul(f32(2), unary("tanh", div(s, f32(2)))), mul(f32(0.1), unary("to_f32", unary("abs", sub(qPos, kPos))))),
  value: (x, q, k) => 2 * Math.tanh(x / 2) - 0.1 * Math.abs(q - k),
  slope: (x) => 1 - Math.tanh(x / 2) ** 2,
};

interface Case {
  readonly what: string;
  readonly sizes: Sizes;
  readonly outer?: readonly string[];
  readonly group?: readonly string[];
  readonly runtime?: readonly string[];
  readonly mask?: Mask;
  readonly score?: Score;
}

const cases: readonly Case[] = [
  { what: "no mask, whole blocks", sizes: { q: 32, k: 8, w: 4, v: 4 } },
  { what: "causal, run-time lengths", sizes: { batch: 2, h: 3, q: 13, k: 13, w: 5, v: 7 }, outer: ["batch", "h"], runtime: ["batch", "q", "k"], mask: causal },
  { what: "one query, one key", sizes: { q: 1, k: 1, w: 3, v: 3 }, runtime: ["q", "k"] },
  { what: "one query, many keys", sizes: { q: 1, k: 37, w: 4, v: 6 }, runtime: ["q", "k"] },
  { what: "no keys", sizes: { q: 5, k: 0, w: 4, v: 4 }, runtime: ["q", "k"] },
  { what: "no queries", sizes: { q: 0, k: 6, w: 4, v: 4 }, runtime: ["q", "k"] },
  { what: "grouped queries", sizes: { batch: 2, h: 2, g: 3, q: 9, k: 11, w: 4, v: 5 }, outer: ["batch", "h"], group: ["g"], runtime: ["batch", "q", "k"], mask: causal },
  { what: "queries that see nothing", sizes: { h: 2, q: 11, k: 10, w: 4, v: 4 }, outer: ["h"], runtime: ["q", "k"], mask: strictlyBefore },
  { what: "nobody sees anything", sizes: { q: 6, k: 9, w: 4, v: 4 }, runtime: ["q", "k"], mask: nothing },
  { what: "segments and a score", sizes: { h: 2, q: 19, k: 19, w: 6, v: 6 }, outer: ["h"], runtime: ["q", "k"], mask: causalInSegment, score: capped },
  { what: "a score without a mask", sizes: { q: 10, k: 12, w: 6, v: 4 }, runtime: ["q", "k"], score: capped },
  { what: "segments over several tiles", sizes: { h: 2, q: 70, k: 52, w: 4, v: 3 }, outer: ["h"], runtime: ["q", "k"], mask: causalInSegment },
  { what: "keys in whole tiles", sizes: { q: 20, k: 48, w: 4, v: 3 }, runtime: ["q"], mask: longCausal },
  { what: "rows too wide for registers", sizes: { q: 5, k: 7, w: 300, v: 260 }, runtime: ["q", "k"], mask: causal },
];

const list = (names: readonly string[], sizes: Sizes): number => names.reduce((p, a) => p * (sizes[a] ?? 1), 1);

interface Data {
  readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array; readonly dout: Float32Array;
  readonly qPos: Int32Array; readonly kPos: Int32Array; readonly qSeg: Int32Array; readonly kSeg: Int32Array;
}

function dataOf(c: Case): Data {
  const [outer, group] = [list(c.outer ?? [], c.sizes), list(c.group ?? [], c.sizes)];
  const { q = 1, k = 1, w = 1, v = 1 } = c.sizes;
  const ints = (n: number, f: (i: number) => number): Int32Array => Int32Array.from({ length: n }, (_, i) => f(i));
  return {
    q: randoms(outer * group * q * w, 1).map((x) => 3 * x), k: randoms(outer * k * w, 2).map((x) => 3 * x), v: randoms(outer * k * v, 3), dout: randoms(outer * group * q * v, 4),
    qPos: ints(q, (i) => i), kPos: ints(k, (i) => i), qSeg: ints(q, (i) => Math.floor(i / 5)), kSeg: ints(k, (i) => Math.floor(i / 5)),
  };
}

function reference(c: Case, d: Data) {
  const [outer, group] = [list(c.outer ?? [], c.sizes), list(c.group ?? [], c.sizes)];
  const { q: nq = 1, k: nk = 1, w: nw = 1, v: nv = 1 } = c.sizes;
  const scale = 1 / Math.sqrt(nw);
  const at = (a: ArrayLike<number>, i: number): number => a[i] ?? 0;
  const out = new Float64Array(outer * group * nq * nv);
  const lse = new Float64Array(outer * group * nq).fill(-1e30);
  const [dq, dk, dv] = [new Float64Array(d.q.length), new Float64Array(d.k.length), new Float64Array(d.v.length)];
  const plus = (a: Float64Array, i: number, x: number): void => { a[i] = at(a, i) + x; };
  for (let o = 0; o < outer; o++) for (let g = 0; g < group; g++) for (let i = 0; i < nq; i++) {
    const row = (o * group + g) * nq + i;
    const dots = Array.from({ length: nk }, (_, j) => {
      let sum = 0;
      for (let w = 0; w < nw; w++) sum += at(d.q, row * nw + w) * at(d.k, (o * nk + j) * nw + w);
      return sum * scale;
    });
    const seen = dots.map((_, j) => (c.mask ? c.mask.see(i, j, at(d.qSeg, i), at(d.kSeg, j)) : true));
    const scores = dots.map((x, j) => (c.score ? c.score.value(x, i, j) : x));
    const top = Math.max(...scores.filter((_, j) => seen[j]));
    const mass = scores.reduce((sum, x, j) => sum + (seen[j] ? Math.exp(x - top) : 0), 0);
    if (mass > 0) lse[row] = top + Math.log(mass);
    const p = scores.map((x, j) => (seen[j] ? Math.exp(x - top) / mass : 0));
    for (let v = 0; v < nv; v++) for (let j = 0; j < nk; j++) plus(out, row * nv + v, at(p, j) * at(d.v, (o * nk + j) * nv + v));
    let delta = 0;
    for (let v = 0; v < nv; v++) delta += at(out, row * nv + v) * at(d.dout, row * nv + v);
    for (let j = 0; j < nk; j++) {
      let gain = 0;
      for (let v = 0; v < nv; v++) {
        gain += at(d.dout, row * nv + v) * at(d.v, (o * nk + j) * nv + v);
        plus(dv, (o * nk + j) * nv + v, at(p, j) * at(d.dout, row * nv + v));
      }
      const slope = at(p, j) * (gain - delta) * scale * (c.score ? c.score.slope(at(dots, j)) : 1);
      for (let w = 0; w < nw; w++) {
        plus(dq, row * nw + w, slope * at(d.k, (o * nk + j) * nw + w));
        plus(dk, (o * nk + j) * nw + w, slope * at(d.q, row * nw + w));
      }
    }
  }
  return { out, lse, dq, dk, dv };
}

/** The facts of tiles of one attribute, as the small dispatch before the attention makes them. */
function ranges(values: Int32Array): Int32Array {
  const n = tileTokens;
  const tiles = Array.from({ length: Math.ceil(values.length / n) }, (_, i) => tileFacts({ x: values.subarray(i * n, (i + 1) * n) }));
  return Int32Array.from(tiles.flatMap((f) => ["x.lo", "x.hi", "x.bits"].map((n) => f[n] ?? 0)));
}

const factsOf = (d: Data) => ({ "q.pos": ranges(d.qPos), "k.pos": ranges(d.kPos), "q.seg": ranges(d.qSeg), "k.seg": ranges(d.kSeg) });

/** A rig with the tensors of an attention, and the spec over them. */
function setUp(c: Case, target: Target, tiled: boolean) {
  const rig = new Rig();
  const runtime = new Set(c.runtime ?? []);
  const axis = (n: string) => axisOf(n, c.sizes, runtime);
  const outer = (c.outer ?? []).map(axis);
  const group = (c.group ?? []).map(axis);
  const [query, key, width, value] = [axis("q"), axis("k"), axis("w"), axis("v")];
  const rows = [...outer, ...group, query];
  const spec: AttendSpec = {
    outer, group, query, key, width, value, scale: 1 / Math.sqrt(c.sizes["w"] ?? 1),
    q: rig.input("q", [...rows, width]), k: rig.input("k", [...outer, key, width]), v: rig.input("v", [...outer, key, value]),
    ...(c.mask ? { mask: c.mask.expr } : {}), ...(c.score ? { score: c.score.expr } : {}),
    qAttr: { pos: rig.input("qPos", [query], "i32"), seg: rig.input("qSeg", [query], "i32") },
    kAttr: { pos: rig.input("kPos", [key], "i32"), seg: rig.input("kSeg", [key], "i32") },
    ...(tiled && c.mask ? { tiles: { truth: tileTruth(c.mask.expr), fact: (b, side, fact, _, tile) => {
      const [name = "", what = ""] = fact.split(".");
      const axes = [{ name: "tile", size: ceilDiv((side === "q" ? query : key).size, tileTokens) }, { name: "fact", size: i32(3) }];
      return rig.input(`${side}.${name}`, axes, "i32")(b, { tile, fact: i32(["lo", "hi", "bits"].indexOf(what)) });
    } } } : {}),
  };
  return { rig, runtime, spec, rows, target };
}

async function checkForward(c: Case, target: Target, tiled: boolean, gpu = false): Promise<void> {
  const { rig, runtime, spec, rows } = setUp(c, target, tiled);
  const shape = attendForward(rig.parts, { ...spec, out: rig.output("out", [...rows, spec.value]), lse: rig.output("lse", rows) }, target);
  const d = dataOf(c);
  const got = await rig.run(shape, { ...d, ...factsOf(d) }, c.sizes, runtime, target, gpu);
  const want = reference(c, d);
  expect(distance(got["out"], want.out)).toBeLessThan(3e-5);
  expect(distance(got["lse"], want.lse)).toBeLessThan(3e-5);
}

async function checkBackward(c: Case, target: Target, tiled: boolean, gpu = false): Promise<void> {
  const d = dataOf(c);
  const want = reference(c, d);
  const data = { ...d, ...factsOf(d), out: Float32Array.from(want.out), lse: Float32Array.from(want.lse) };
  const sums = setUp(c, target, tiled);
  const deltaShape = attendDelta(sums.rig.parts, {
    rows: sums.rows, value: sums.spec.value, out: sums.rig.input("out", [...sums.rows, sums.spec.value]), dout: sums.rig.input("dout", [...sums.rows, sums.spec.value]),
    delta: sums.rig.output("delta", sums.rows),
  }, target);
  const { delta = new Float32Array() } = await sums.rig.run(deltaShape, data, c.sizes, sums.runtime, target, gpu);
  const given = (s: ReturnType<typeof setUp>) => ({
    ...s.spec, lse: s.rig.input("lse", s.rows), dout: s.rig.input("dout", [...s.rows, s.spec.value]), delta: s.rig.input("delta", s.rows),
  });
  const queries = setUp(c, target, tiled);
  const querySide = attendBackward(queries.rig.parts, { ...given(queries), dq: queries.rig.output("dq", [...queries.rows, queries.spec.width]) }, target);
  const first = await queries.rig.run(querySide, { ...data, delta }, c.sizes, queries.runtime, target, gpu);
  expect(distance(first["dq"], want.dq)).toBeLessThan(1e-4);
  const keys = setUp(c, target, tiled);
  const keySide = attendBackward(keys.rig.parts, {
    ...given(keys),
    dk: keys.rig.output("dk", [...keys.spec.outer, keys.spec.key, keys.spec.width]),
    dv: keys.rig.output("dv", [...keys.spec.outer, keys.spec.key, keys.spec.value]),
  }, target);
  const second = await keys.rig.run(keySide, { ...data, delta }, c.sizes, keys.runtime, target, gpu);
  expect(distance(second["dk"], want.dk)).toBeLessThan(1e-4);
  expect(distance(second["dv"], want.dv)).toBeLessThan(1e-4);
}

const masked = cases.filter((c) => c.mask);

describe.each([software, guaranteed])("attention on the $name target", (target) => {
  it.each(cases)("forward, pair by pair: $what", (c) => checkForward(c, target, false));
  it.each(cases)("backward, pair by pair: $what", (c) => checkBackward(c, target, false));
  it.each(masked)("forward, by tiles: $what", (c) => checkForward(c, target, true));
  it.each(masked)("backward, by tiles: $what", (c) => checkBackward(c, target, true));
});

describe("attention on the adapter", () => {
  const small = cases[1] as Case;
  const segments = cases.find((c) => c.mask === causalInSegment) as Case;
  it.each([software, guaranteed])("forward for $name", (target) => checkForward(small, target, false, true));
  it.each([software, guaranteed])("backward for $name", (target) => checkBackward(small, target, false, true));
  it.each([software, guaranteed])("forward by tiles for $name", (target) => checkForward(segments, target, true, true));
  it.each([software, guaranteed])("backward by tiles for $name", (target) => checkBackward(segments, target, true, true));
});
