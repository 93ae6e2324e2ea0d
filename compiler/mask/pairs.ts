// Whether a mask can let a query see a key, when only this is known of them: the item each lies in, and which comes first.
// In: a predicate and what is known of each attribute of the two sides. Out: true, false or unknown, over all such pairs.
// Comparisons of sums are decided on the difference, so that `k.pos <= q.pos` is false when k comes later, wherever both are.

import { binary } from "../scalar/expr.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { knownOf, rangeOf } from "../scalar/interval.ts";
import type { Known, Truth } from "../scalar/interval.ts";

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

const key = (e: ScalarExpr): string => (e.kind === "attr" ? `${e.side}.${e.name}` : JSON.stringify(e));

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

/** The least and the most that a - b can be. */
function spread(a: ScalarExpr, b: ScalarExpr, facts: Facts): { lo: number; hi: number } {
  const d = sum(linear(a), scale(linear(b), -1));
  let [lo, hi] = [d.constant, d.constant];
  const terms = new Map(d.terms);
  const add = (coef: number, known: Known): void => {
    const ends = [coef * low(known), coef * high(known)];
    lo += Math.min(...ends);
    hi += Math.max(...ends);
  };
  for (const [k, t] of d.terms) {
    if (!k.startsWith("k.")) continue;
    const other = `q.${k.slice(2)}`;
    const q = terms.get(other);
    const { difference } = facts(k.slice(2));
    // c * k.x - c * q.x is c times the difference, which may be known better than either side.
    if (!q || !difference || q.coef !== -t.coef) continue;
    terms.delete(k);
    terms.delete(other);
    add(t.coef, difference);
  }
  for (const t of terms.values()) add(t.coef, knownOf(t.leaf, leafOf(facts)));
  return { lo, hi };
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

export const someNumber: Known = rangeOf(0, 1_000_000);
export const exactly = (n: number): Known => ({ kind: "set", values: [n] });
