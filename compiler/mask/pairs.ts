// Whether a mask can let a query see a key, when only this is known of them: the item each lies in, and which comes first.
// In: a predicate and what is known of each attribute of the two sides. Out: true, false or unknown, over all such pairs.
// Comparisons of sums are decided on the difference, so that `k.pos <= q.pos` is false when k comes later, wherever both are.

import { binary, children, mapExpr } from "../scalar/expr.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { knownOf, rangeOf } from "../scalar/interval.ts";
import type { Known, Truth } from "../scalar/interval.ts";
import { exprText } from "../scalar/print.ts";

/** What is known of one attribute: on each side, and of key minus query. */
export interface Fact {
  readonly q: Known;
  readonly k: Known;
  readonly difference?: Known;
}
export type Facts = (attribute: string) => Fact;

interface Linear {
  readonly constant: number;
  /** `q.pos` -> 1 */
  readonly terms: ReadonlyMap<string, { readonly coef: number; readonly leaf: ScalarExpr }>;
}

function linear(e: ScalarExpr): Linear {
  if (e.kind === "const") return { constant: e.value, terms: new Map() };
  if (e.kind === "unary" && e.op === "neg") return scale(linear(e.a), -1);
  if (e.kind === "binary" && e.type === "i32") {
    const [a, b] = [e.a, e.b];
    if (e.op === "add") return sum(linear(a), linear(b));
    if (e.op === "sub") return sum(linear(a), scale(linear(b), -1));
    if (e.op === "mul" && b.kind === "const") return scale(linear(a), b.value);
    if (e.op === "mul" && a.kind === "const") return scale(linear(b), a.value);
  }
  return { constant: 0, terms: new Map([[key(e), { coef: 1, leaf: e }]]) };
}

const key = (e: ScalarExpr): string => (e.kind === "attr" ? `${e.side}.${e.name}` : exprText(e));

function scale(a: Linear, by: number): Linear {
  return { constant: a.constant * by, terms: new Map([...a.terms].map(([k, t]) => [k, { ...t, coef: t.coef * by }])) };
}

function sum(a: Linear, b: Linear): Linear {
  const terms = new Map(a.terms);
  for (const [k, t] of b.terms) {
    const coef = (terms.get(k)?.coef ?? 0) + t.coef;
    if (coef === 0) terms.delete(k);
    else terms.set(k, { ...t, coef });
  }
  return { constant: a.constant + b.constant, terms };
}

const low = (k: Known): number => (k.kind === "set" ? (k.values[0] ?? 0) : k.lo);
const high = (k: Known): number => (k.kind === "set" ? (k.values[k.values.length - 1] ?? 0) : k.hi);

/** No partial sum is larger than this, either way. */
function size(l: Linear, facts: Facts): number {
  let out = Math.abs(l.constant);
  for (const t of l.terms.values()) {
    const known = knownOf(t.leaf, leafOf(facts));
    out += Math.abs(t.coef) * Math.max(Math.abs(low(known)), Math.abs(high(known)));
  }
  return out;
}

/** The least and the most that a - b can be. */
function spread(a: ScalarExpr, b: ScalarExpr, facts: Facts): { lo: number; hi: number } {
  const [left, right] = [linear(a), linear(b)];
  // Beyond 32 bits whole numbers wrap, and nothing is known of their order.
  if (size(left, facts) > 2147483647 || size(right, facts) > 2147483647) return { lo: -Infinity, hi: Infinity };
  const d = sum(left, scale(right, -1));
  let [lo, hi] = [d.constant, d.constant];
  const terms = new Map(d.terms);
  const add = (coef: number, known: Known): void => {
    const ends = [coef * low(known), coef * high(known)];
    lo += Math.min(...ends);
    hi += Math.max(...ends);
  };
  for (const [k, t] of d.terms) {
    if (!terms.has(k) || !readsKey(t.leaf)) continue;
    const mirrored = key(onQuery(t.leaf));
    const q = terms.get(mirrored);
    if (!q || q.coef !== -t.coef || mirrored === k) continue;
    const difference = differenceOf(t.leaf, q.leaf, facts);
    // c * k.x - c * q.x is c times the difference, which may be known better than either side.
    if (!difference) continue;
    terms.delete(k);
    terms.delete(mirrored);
    const [kk, qq] = [knownOf(t.leaf, leafOf(facts)), knownOf(q.leaf, leafOf(facts))];
    add(t.coef, rangeOf(Math.max(low(difference), low(kk) - high(qq)), Math.min(high(difference), high(kk) - low(qq))));
  }
  for (const t of terms.values()) add(t.coef, knownOf(t.leaf, leafOf(facts)));
  return { lo, hi };
}

const readsKey = (e: ScalarExpr): boolean => (e.kind === "attr" ? e.side === "k" : children(e).some(readsKey));
/** The predicate of a token on itself. */
export const onQuery = (e: ScalarExpr): ScalarExpr => mapExpr(e, (x) => (x.kind === "attr" ? { ...x, side: "q" } : x));

/** How far the same term of both sides can lie apart: that of the key minus that of the query. */
function differenceOf(k: ScalarExpr, q: ScalarExpr, facts: Facts): Known | undefined {
  if (k.kind === "attr") return facts(k.name).difference;
  if (k.kind === "binary" && q.kind === "binary" && k.op === "div" && k.b.kind === "const" && k.b.value > 0) {
    const least = [k.a, q.a].map((x) => low(knownOf(x, leafOf(facts))));
    const { lo, hi } = spread(k.a, q.a, facts);
    // Quotients of numbers from 0 that lie d apart are at least floor(d / c) and at most ceil(d / c) apart.
    if (least.every((x) => x >= 0)) return rangeOf(Math.floor(lo / k.b.value), Math.ceil(hi / k.b.value));
  }
  return [...attributes(k)].every((name) => same(facts(name).difference)) ? exactly(0) : undefined;
}

const same = (d: Known | undefined): boolean => d !== undefined && low(d) === 0 && high(d) === 0;

function attributes(e: ScalarExpr, out = new Set<string>()): ReadonlySet<string> {
  if (e.kind === "attr") out.add(e.name);
  for (const c of children(e)) attributes(c, out);
  return out;
}

const leafOf = (facts: Facts) => (l: ScalarExpr): Known | undefined => (l.kind === "attr" ? facts(l.name)[l.side] : undefined);

const not = (t: Truth): Truth => (t === "true" ? "false" : t === "false" ? "true" : "unknown");

export function pairTruth(e: ScalarExpr, facts: Facts): Truth {
  if (e.kind === "const") return e.value !== 0 ? "true" : "false";
  if (e.kind === "unary" && e.op === "not") return not(pairTruth(e.a, facts));
  if (e.kind === "select" && e.type === "bool") {
    const c = pairTruth(e.cond, facts);
    const [a, b] = [pairTruth(e.a, facts), pairTruth(e.b, facts)];
    return c === "true" ? a : c === "false" ? b : a === b ? a : "unknown";
  }
  if (e.kind !== "binary") return "unknown";
  if (e.op === "and" || e.op === "or") {
    const [a, b] = [pairTruth(e.a, facts), pairTruth(e.b, facts)];
    const strong: Truth = e.op === "and" ? "false" : "true";
    if (a === strong || b === strong) return strong;
    return a === not(strong) && b === not(strong) ? not(strong) : "unknown";
  }
  if (e.a.type !== "i32") {
    const known = knownOf(e, leafOf(facts));
    return known.kind === "set" && known.values.length === 1 ? (known.values[0] ? "true" : "false") : "unknown";
  }
  const { lo, hi } = spread(e.a, e.b, facts);
  switch (e.op) {
    case "lt": return hi < 0 ? "true" : lo >= 0 ? "false" : "unknown";
    case "le": return hi <= 0 ? "true" : lo > 0 ? "false" : "unknown";
    case "eq": return lo === 0 && hi === 0 ? "true" : lo > 0 || hi < 0 ? "false" : sets(e.a, e.b, facts);
    case "ne": return not(pairTruth(binary("eq", e.a, e.b), facts));
    default: return "unknown";
  }
}

/** Equality of value sets that do not meet: stream 0 or 2 is never stream 1. */
function sets(a: ScalarExpr, b: ScalarExpr, facts: Facts): Truth {
  const known = knownOf(binary("eq", a, b), leafOf(facts));
  return known.kind === "set" && known.values.length === 1 ? (known.values[0] ? "true" : "false") : "unknown";
}

export const exactly = (n: number): Known => ({ kind: "set", values: [n] });
