// In: an expression, and for its leaves a range or a small set of values. Out: a range or set that holds every value it can take;
// for a predicate: always true, always false, or unknown. Decides which tiles of an attention mask are skipped, so it must be
// sound: "unknown" is always allowed, a wrong answer never. Float results are widened, since devices round as they like.

import { evalBinary, evalUnary } from "./eval.ts";
import type { Leaf } from "./eval.ts";
import type { BinaryOp, ScalarExpr, ScalarType, UnaryOp } from "./expr.ts";
import { exprText } from "./print.ts";

/** Every value from lo to hi; `nan` when NaN is possible too. */
export interface Range {
  readonly kind: "range";
  readonly lo: number;
  readonly hi: number;
  readonly nan: boolean;
}
/** One of these values, ascending. */
export interface ValueSet {
  readonly kind: "set";
  readonly values: readonly number[];
}
export type Known = Range | ValueSet;
export type Truth = "true" | "false" | "unknown";

const MAX_SET = 64;

export const rangeOf = (lo: number, hi: number): Range => ({ kind: "range", lo, hi, nan: Number.isNaN(lo) || Number.isNaN(hi) });
export const setOf = (values: Iterable<number>): Known => {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  if (sorted.some(Number.isNaN)) return anything("f32");
  return sorted.length <= MAX_SET ? { kind: "set", values: sorted } : rangeOf(sorted[0] ?? 0, sorted[sorted.length - 1] ?? 0);
};

const limits: Readonly<Record<ScalarType, readonly [number, number]>> = {
  f32: [-Infinity, Infinity], i32: [-2147483648, 2147483647], u32: [0, 4294967295], bool: [0, 1],
};

/** What is known of a value of which nothing is known. */
export function anything(type: ScalarType): Known {
  if (type === "bool") return { kind: "set", values: [0, 1] };
  const [lo, hi] = limits[type];
  return { kind: "range", lo, hi, nan: type === "f32" };
}

const low = (k: Known): number => (k.kind === "set" ? (k.values[0] ?? 0) : k.lo);
const high = (k: Known): number => (k.kind === "set" ? (k.values[k.values.length - 1] ?? 0) : k.hi);
const mayBeNaN = (k: Known): boolean => k.kind === "range" && k.nan;

/** A result range: everything when an integer may wrap or a float may be infinite; floats a little wider than computed. */
function result(type: ScalarType, lo: number, hi: number, slack = 1e-6): Known {
  const [least, most] = limits[type];
  if (type === "f32") {
    if (!Number.isFinite(lo) || !Number.isFinite(hi) || Math.abs(lo) > 1e37 || Math.abs(hi) > 1e37) return anything(type);
    return rangeOf(lo - slack * Math.abs(lo) - 1e-30, hi + slack * Math.abs(hi) + 1e-30);
  }
  return lo < least || hi > most || Number.isNaN(lo) || Number.isNaN(hi) ? anything(type) : rangeOf(lo, hi);
}

const corners = (type: ScalarType, a: Known, b: Known, f: (x: number, y: number) => number): Known => {
  const all = [f(low(a), low(b)), f(low(a), high(b)), f(high(a), low(b)), f(high(a), high(b))];
  return all.some(Number.isNaN) ? anything(type) : result(type, Math.min(...all), Math.max(...all));
};

type Monotone = Partial<Record<UnaryOp, { up: boolean; from?: number; slack: number; clamp?: readonly [number, number] }>>;
const monotone: Monotone = {
  floor: { up: true, slack: 0 }, exp: { up: true, slack: 1e-3 }, log: { up: true, from: 1e-30, slack: 1e-3 },
  sqrt: { up: true, from: 0, slack: 1e-3 }, rsqrt: { up: false, from: 1e-30, slack: 1e-3 },
  tanh: { up: true, slack: 1e-3 }, sigmoid: { up: true, slack: 1e-3 },
};

function unaryRange(op: UnaryOp, from: ScalarType, to: ScalarType, a: Known): Known {
  const exact = from !== "f32" || op === "neg" || op === "abs" || op === "floor" || op === "to_i32" || op === "to_u32";
  if (a.kind === "set" && exact && to !== "f32") return setOf(a.values.map((x) => evalUnary(op, from, x)));
  if (a.kind === "set" && exact && (op !== "to_f32" || a.values.every((x) => Math.abs(x) <= 2 ** 24)) && !op.startsWith("bits"))
    return setOf(a.values.map((x) => evalUnary(op, from, x)));
  if (mayBeNaN(a)) return anything(to);
  const [lo, hi] = [low(a), high(a)];
  switch (op) {
    case "neg": return result(to, -hi, -lo, 0);
    case "abs": return result(to, lo <= 0 && hi >= 0 ? 0 : Math.min(Math.abs(lo), Math.abs(hi)), Math.max(Math.abs(lo), Math.abs(hi)), 0);
    case "sin":
    case "cos": return rangeOf(-1.001, 1.001);
    case "to_f32": return result(to, lo, hi);
    case "to_i32":
    case "to_u32":
      // Integers keep their bits; only values that both types have keep their order.
      if (from !== "f32" && (lo < limits[to][0] || hi > limits[to][1])) return anything(to);
      return result(to, evalUnary(op, from, lo), evalUnary(op, from, hi));
    default: {
      const m = monotone[op];
      if (!m || (m.from !== undefined && lo < m.from)) return anything(to);
      const [x, y] = [evalUnary(op, from, lo), evalUnary(op, from, hi)];
      return result(to, Math.min(x, y) - (m.slack > 0 ? m.slack * 1e-3 : 0), Math.max(x, y) + (m.slack > 0 ? m.slack * 1e-3 : 0), m.slack);
    }
  }
}

function binaryRange(op: BinaryOp, from: ScalarType, to: ScalarType, a: Known, b: Known): Known {
  if (a.kind === "set" && b.kind === "set" && to !== "f32" && a.values.length * b.values.length <= MAX_SET * MAX_SET)
    return setOf(a.values.flatMap((x) => b.values.map((y) => evalBinary(op, from, x, y))));
  if (mayBeNaN(a) || mayBeNaN(b)) return anything(to);
  const [al, ah, bl, bh] = [low(a), high(a), low(b), high(b)];
  const truth = (t: boolean | undefined): Known => (t === undefined ? anything("bool") : { kind: "set", values: [t ? 1 : 0] });
  const disjoint = ah < bl || bh < al || (a.kind === "set" && a.values.every((x) => !holds(b, x))) || (b.kind === "set" && b.values.every((x) => !holds(a, x)));
  const same = al === ah && bl === bh && al === bl;
  switch (op) {
    case "add": return result(to, al + bl, ah + bh);
    case "sub": return result(to, al - bh, ah - bl);
    case "mul": return corners(to, a, b, (x, y) => x * y);
    case "div":
      if (bl <= 0 && bh >= 0) return anything(to);
      return corners(to, a, b, (x, y) => (to === "f32" ? x / y : Math.trunc(x / y)));
    case "mod": {
      if (to === "f32" || bl <= 0) return anything(to);
      if (bl === bh && al >= 0 && Math.floor(al / bl) === Math.floor(ah / bl)) return result(to, al % bl, ah % bl);
      return result(to, al < 0 ? Math.max(al, 1 - bh) : 0, ah < 0 ? 0 : Math.min(ah, bh - 1));
    }
    case "min": return result(to, Math.min(al, bl), Math.min(ah, bh), 0);
    case "max": return result(to, Math.max(al, bl), Math.max(ah, bh), 0);
    case "eq": return truth(disjoint ? false : same ? true : undefined);
    case "ne": return truth(disjoint ? true : same ? false : undefined);
    case "lt": return truth(ah < bl ? true : al >= bh ? false : undefined);
    case "le": return truth(ah <= bl ? true : al > bh ? false : undefined);
    case "and": return to !== "bool" && al >= 0 && bl >= 0 ? result(to, 0, Math.min(ah, bh)) : anything(to);
    default: return anything(to);
  }
}

const holds = (k: Known, x: number): boolean => (k.kind === "set" ? k.values.includes(x) : x >= k.lo && x <= k.hi);

/** Joins what two branches may give. */
function either(type: ScalarType, a: Known, b: Known): Known {
  if (a.kind === "set" && b.kind === "set") return setOf([...a.values, ...b.values]);
  if (mayBeNaN(a) || mayBeNaN(b)) return anything(type);
  return rangeOf(Math.min(low(a), low(b)), Math.max(high(a), high(b)));
}

/** What `e` can be when each leaf is what `leaf` says; an unknown leaf (undefined) can be anything of its type. */
export function knownOf(e: ScalarExpr, leaf: (l: Leaf) => Known | undefined): Known {
  switch (e.kind) {
    case "const": return Number.isNaN(e.value) ? anything(e.type) : { kind: "set", values: [e.value] };
    case "unary": return unaryRange(e.op, e.a.type, e.type, knownOf(e.a, leaf));
    case "binary": {
      const [a, b] = [knownOf(e.a, leaf), knownOf(e.b, leaf)];
      if (e.a.type === "bool" && (e.op === "and" || e.op === "or")) return logic(e.op, a, b);
      // The same integer on both sides: the one correlation that ranges would lose and masks often have.
      if (e.a.type !== "f32" && exprText(e.a) === exprText(e.b)) {
        if (e.op === "eq" || e.op === "le") return { kind: "set", values: [1] };
        if (e.op === "ne" || e.op === "lt" || e.op === "sub" || e.op === "xor") return { kind: "set", values: [0] };
      }
      return binaryRange(e.op, e.a.type, e.type, a, b);
    }
    case "select": {
      const cond = truth(knownOf(e.cond, leaf));
      if (cond === "true") return knownOf(e.a, leaf);
      if (cond === "false") return knownOf(e.b, leaf);
      return either(e.type, knownOf(e.a, leaf), knownOf(e.b, leaf));
    }
    default: return leaf(e) ?? (e.kind === "length" ? rangeOf(0, limits.i32[1]) : anything(e.type));
  }
}

function logic(op: "and" | "or", a: Known, b: Known): Known {
  const [x, y] = [truth(a), truth(b)];
  const decides = op === "and" ? "false" : "true";
  if (x === decides || y === decides) return { kind: "set", values: [op === "and" ? 0 : 1] };
  return x !== "unknown" && y !== "unknown" ? { kind: "set", values: [op === "and" ? 1 : 0] } : anything("bool");
}

function truth(k: Known): Truth {
  if (k.kind !== "set") return k.lo > 0 ? "true" : "unknown";
  return k.values.every((v) => v !== 0) ? "true" : k.values.every((v) => v === 0) ? "false" : "unknown";
}

/** Three-valued evaluation of a predicate over ranges of its leaves. */
export const truthOf = (e: ScalarExpr, leaf: (l: Leaf) => Known | undefined): Truth => truth(knownOf(e, leaf));
