// The scalar language by brute force: evaluation against 64-bit integers, text, simplification, ranges and derivatives.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { derive } from "../../compiler/scalar/derive.ts";
import { evalBinary, evalExpr, evalUnary, mulhi } from "../../compiler/scalar/eval.ts";
import type { Leaf } from "../../compiler/scalar/eval.ts";
import type { BinaryOp, ScalarExpr, UnaryOp } from "../../compiler/scalar/expr.ts";
import { add, and, attr, binary, bool, f32, i32, lt, name, select, sub, unary } from "../../compiler/scalar/expr.ts";
import type { Known } from "../../compiler/scalar/interval.ts";
import { knownOf, rangeOf, setOf, truthOf } from "../../compiler/scalar/interval.ts";
import { exprText, printExpr } from "../../compiler/scalar/print.ts";
import { readExpr } from "../../compiler/scalar/read.ts";
import { simplify } from "../../compiler/scalar/simplify.ts";
import { depthOf, envOf } from "./arbitrary.ts";

const anyExpr = fc.constantFrom("bool" as const, "i32" as const, "u32" as const, "f32" as const).chain((t) => depthOf(t, 4));
const value = (e: ScalarExpr, names: Record<string, number>): number => evalExpr(e, { names });

describe("evaluation", () => {
  it("wraps integers as 32-bit machines do", () => {
    fc.assert(fc.property(fc.integer(), fc.integer(), (a, b) => {
      const [x, y] = [BigInt(a), BigInt(b)];
      expect(evalBinary("add", "i32", a, b)).toBe(Number(BigInt.asIntN(32, x + y)));
      expect(evalBinary("mul", "i32", a, b)).toBe(Number(BigInt.asIntN(32, x * y)));
      expect(evalBinary("sub", "u32", a >>> 0, b >>> 0)).toBe(Number(BigInt.asUintN(32, x - y)));
      expect(evalBinary("mul", "u32", a >>> 0, b >>> 0)).toBe(Number(BigInt.asUintN(32, x * y)));
      expect(mulhi(a >>> 0, b >>> 0)).toBe(Number((BigInt(a >>> 0) * BigInt(b >>> 0)) >> 32n));
      if (b !== 0) expect(evalBinary("div", "i32", a, b)).toBe(Number(BigInt.asIntN(32, x / y)));
    }));
  });
  it("moves bits and saturates casts", () => {
    expect(evalUnary("bits_u32", "f32", 1)).toBe(0x3f800000);
    expect(evalUnary("bits_f32", "u32", 0x40490fdb)).toBeCloseTo(Math.PI, 6);
    expect(evalUnary("to_i32", "f32", 3e9)).toBe(2147483647);
    expect(evalUnary("to_u32", "f32", -5)).toBe(0);
    expect(evalUnary("to_i32", "u32", 4294967295)).toBe(-1);
    expect(evalBinary("shr", "u32", 0x80000000, 31)).toBe(1);
    expect(evalBinary("shr", "i32", -8, 1)).toBe(-4);
  });
  it("rounds to f32 when asked, and reads every kind of leaf", () => {
    const third = binary("div", f32(1), f32(3));
    expect(evalExpr(third, {})).toBe(1 / 3);
    expect(evalExpr(third, {}, { f32: true })).toBe(Math.fround(1 / 3));
    const e = add(add(attr("q", "pos"), attr("k", "pos")), { kind: "length", type: "i32", name: "t" });
    expect(evalExpr(e, { q: { pos: 1 }, k: { pos: 20 }, lengths: { t: 300 } })).toBe(321);
    expect(() => evalExpr(e, {})).toThrow("no value for attr pos");
  });
});

describe("text", () => {
  it("reads back to the same expression", () => {
    fc.assert(fc.property(anyExpr, (e) => { expect(readExpr(exprText(e))).toEqual(e); }));
    const all = and(lt(attr("k", "span id", "i32"), name("a.b", "i32")), binary("eq", { kind: "length", type: "i32", name: "t" }, { kind: "builtin", type: "i32", name: "lane.x" }));
    expect(readExpr(exprText(all))).toEqual(all);
  });
  it("is infix for people, with the parentheses it needs", () => {
    const [q, k] = [attr("q", "pos"), attr("k", "pos")];
    expect(printExpr(and(binary("le", k, q), lt(sub(q, sub(k, i32(3))), i32(9))))).toBe("k.pos <= q.pos & q.pos - (k.pos - 3) < 9");
    expect(printExpr(unary("not", binary("or", name("p", "bool"), name("r", "bool"))))).toBe("!(p | r)");
    expect(printExpr(binary("mul", f32(2), unary("tanh", name("s", "f32"))))).toBe("2.0 * tanh(s)");
  });
});

const sameNumber = (a: number, b: number): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));

describe("simplification", () => {
  it("never changes a value, never grows, and comes to rest", () => {
    fc.assert(fc.property(anyExpr, fc.array(envOf, { minLength: 4, maxLength: 4 }), (e, envs) => {
      const s = simplify(e);
      for (const env of envs) expect(sameNumber(value(e, env), value(s, env)), `${printExpr(e)} -> ${printExpr(s)} at ${JSON.stringify(env)}`).toBe(true);
      expect(exprText(simplify(s))).toBe(exprText(s));
    }), { numRuns: 400 });
  });
  it("leaves WGSL no constant to refuse: a division by zero it can see, or one that overflows", () => {
    const [x, least] = [name("x", "i32"), i32(-(2 ** 31))];
    expect([binary("div", x, i32(0)), binary("mod", x, i32(0)), binary("div", x, unary("abs", i32(0)))]).toEqual([x, i32(0), x]);
    expect([binary("div", i32(7), i32(0)), binary("mod", i32(7), i32(0)), binary("div", least, i32(-1)), unary("neg", least), unary("abs", least)]).toEqual([i32(7), i32(0), least, least, least]);
  });

  it("does what masks need", () => {
    const [a, b, p] = [name("i", "i32"), name("j", "i32"), name("p", "bool")];
    const becomes = (e: ScalarExpr, text: string) => expect(printExpr(simplify(e))).toBe(text);
    becomes(unary("not", lt(a, b)), "j <= i");
    becomes(and(p, and(lt(a, b), p)), "p & i < j");
    becomes(and(p, unary("not", p)), "false");
    becomes(binary("or", p, and(p, lt(a, b))), "p");
    becomes(binary("le", sub(a, a), i32(0)), "true");
    becomes(add(add(a, i32(3)), i32(-5)), "i + -2");
    becomes(select(p, bool(true), bool(false)), "p");
    becomes(unary("not", binary("lt", name("x", "f32"), name("y", "f32"))), "!(x < y)");
  });
});

describe("ranges", () => {
  const known = fc.oneof(
    fc.tuple(fc.integer({ min: -9, max: 9 }), fc.nat(6)).map(([lo, n]): Known => rangeOf(lo, lo + n)),
    fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 1, maxLength: 4 }).map(setOf),
  );
  const nonNegative = fc.tuple(fc.nat(9), fc.nat(6)).map(([lo, n]): Known => rangeOf(lo, lo + n));
  const members = (k: Known): number[] => (k.kind === "set" ? [...k.values] : [k.lo, k.hi, (k.lo + k.hi) / 2]);
  const integers = (k: Known): number[] => members(k).filter(Number.isInteger);
  const inside = (k: Known, v: number): boolean => (Number.isNaN(v) ? k.kind === "range" && k.nan : k.kind === "set" ? k.values.includes(v) : v >= k.lo && v <= k.hi);

  it("hold every value that brute force finds", () => {
    let decided = 0;
    fc.assert(fc.property(anyExpr, known, known, nonNegative, known, known, (e, i, j, m, x, y) => {
      const env: Record<string, Known> = { i, j, m, x, y, p: setOf([0, 1]) };
      const leaf = (l: Leaf): Known | undefined => env[l.name];
      const k = knownOf(e, leaf);
      const t = e.type === "bool" ? truthOf(e, leaf) : "unknown";
      if (t !== "unknown") decided++;
      for (const vi of integers(i)) for (const vj of integers(j)) for (const vx of members(x)) for (const p of [0, 1]) {
        const v = value(e, { i: vi, j: vj, x: vx, y: members(y)[0]!, m: integers(m)[0]!, p });
        expect(inside(k, v), `${printExpr(e)} = ${v} is not in ${JSON.stringify(k)}`).toBe(true);
        if (t !== "unknown") expect(v !== 0).toBe(t === "true");
      }
    }), { numRuns: 600 });
    expect(decided).toBeGreaterThan(10);
  });
  it("class the tiles of a causal window over documents", () => {
    const [q, k] = [(n: string) => attr("q", n), (n: string) => attr("k", n)];
    const mask = and(and(binary("le", k("pos"), q("pos")), lt(sub(q("pos"), k("pos")), i32(32))), binary("eq", q("doc"), k("doc")));
    const tile = (qp: number, kp: number, qd: number[], kd: number[]) =>
      truthOf(mask, (l) => (l.kind !== "attr" ? undefined : l.name === "pos" ? (l.side === "q" ? rangeOf(qp, qp + 15) : rangeOf(kp, kp + 15)) : setOf(l.side === "q" ? qd : kd)));
    expect(tile(16, 0, [1], [1])).toBe("true");
    expect(tile(16, 16, [1], [1])).toBe("unknown");
    expect(tile(0, 16, [1], [1])).toBe("false");
    expect(tile(64, 0, [1], [1])).toBe("false");
    expect(tile(16, 0, [1, 2], [3])).toBe("false");
    expect(tile(16, 0, [1, 2], [1])).toBe("unknown");
  });
});

describe("derivatives", () => {
  const [s, y] = [name("s", "f32"), name("y", "f32")];
  const smooth: UnaryOp[] = ["neg", "abs", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos", "floor"];
  const pairs: BinaryOp[] = ["add", "sub", "mul", "div", "min", "max", "pow", "mod"];
  const inner = binary("mul", s, f32(1.3));
  const exprs: [string, ScalarExpr][] = [
    ...smooth.map((op): [string, ScalarExpr] => [op, unary(op, inner)]),
    ...pairs.flatMap((op): [string, ScalarExpr][] => [[`${op} left`, binary(op, inner, y)], [`${op} right`, binary(op, y, inner)], [`${op} both`, binary(op, inner, binary("add", s, y))]]),
    ["soft cap", binary("mul", f32(20), unary("tanh", binary("div", s, f32(20))))],
    ["select", select(binary("lt", y, s), binary("mul", s, s), unary("exp", s))],
    ["no s", binary("mul", y, y)],
    ["through an integer", unary("to_f32", unary("to_i32", s))],
  ];
  it.each(exprs)("%s", (_, e) => {
    const d = derive(e, "s");
    for (const [at, other] of [[0.7, 1.9], [1.6, 0.45], [2.3, 0.8]] as const) {
      const h = 1e-5;
      const slope = (value(e, { s: at + h, y: other }) - value(e, { s: at - h, y: other })) / (2 * h);
      expect(value(d, { s: at, y: other })).toBeCloseTo(slope, 5);
    }
  });
});
