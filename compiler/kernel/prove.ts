// In: a polynomial and facts (polynomials known to be at least 0). Out: whether it is at least 0 wherever the facts hold.
// Looks for a sum of facts, each times a product of non-negative atoms, that leaves only non-negative terms; splits cases
// at min, max and select; multiplies by divisors of truncated divisions. Sound, not complete: "no" means "not found".

import type { Monomial, Poly } from "./polynomial.ts";
import { TooLarge, atom, atomsOf, constant, gcd, plus, polyText, primitive, replaced, scaled, times, valueOf, without } from "./polynomial.ts";

export interface Case {
  readonly value: Poly;
  readonly facts: readonly Poly[];
}

export interface AtomFacts {
  readonly nonneg: boolean;
  /** At least 0, whatever the guards. */
  readonly facts: readonly Poly[];
  /** The atom equals one of these. */
  readonly cases?: readonly Case[];
  /** For the truncated quotient a / c: c, known to be at least 1. */
  readonly divisor?: Poly;
  /** For the quotient of a single atom: that atom, and the atom of the remainder. Goals with both are proven in their terms. */
  readonly parts?: { readonly of: string; readonly remainder: string };
}

const depthLimit = 14;
const widest = 5;

export class Prover {
  readonly #atoms: ReadonlyMap<string, AtomFacts>;
  readonly #ranks = new Map<string, number>();
  #tight = false;
  #budget = 0;
  /** Atoms that the guards make at least 1. */
  #positive: string[] = [];

  constructor(atoms: ReadonlyMap<string, AtomFacts>) {
    this.#atoms = atoms;
  }

  nonneg(name: string): boolean {
    return this.#positive.includes(name) || (this.#atoms.get(name)?.nonneg ?? false);
  }

  prove(goal: Poly, guards: readonly Poly[], budget = 250, detours = true): boolean {
    this.#positive = [];
    for (const g of guards) {
      const [only] = g.size === 2 && g.get("")?.coef === -1 ? [...g.values()].filter((m) => m.coef === 1 && m.atoms.length === 1) : [];
      if (only?.atoms[0] !== undefined && !this.#positive.includes(only.atoms[0])) this.#positive.push(only.atoms[0]);
    }
    const [p, facts] = this.#byParts(goal, guards);
    const proven = this.#proveOne(p, facts, budget, detours) || (p !== goal && this.#proveOne(goal, guards, budget, detours));
    this.#positive = [];
    return proven;
  }

  /** Writes x as c * (x / c) + x % c where the goal holds both x and x / c: tiles are indexed by these two. */
  #byParts(goal: Poly, guards: readonly Poly[]): [Poly, readonly Poly[]] {
    let [p, facts] = [goal, guards];
    for (let turn = 0; turn < 4; turn++) {
      const here = atomsOf(p);
      const q = [...here].find((a) => here.has(this.#atoms.get(a)?.parts?.of ?? ""));
      const info = q === undefined ? undefined : this.#atoms.get(q);
      if (q === undefined || !info?.parts || !info.divisor) break;
      const { of, remainder } = info.parts;
      const whole = plus(times(atom(q), info.divisor), atom(remainder));
      p = replaced(p, of, whole);
      facts = [...facts, ...(this.#atoms.get(of)?.facts ?? [])].map((f) => replaced(f, of, whole));
    }
    return [p, facts];
  }

  #proveOne(goal: Poly, guards: readonly Poly[], budget: number, detours: boolean): boolean {
    // First only along steps that make the goal simpler: most goals fall at once, and detours cost the whole budget. A goal that is
    // rounded to whole numbers says more, but meets other facts: both forms are tried.
    for (const tight of [false, true]) {
      this.#tight = tight;
      this.#budget = budget;
      if (this.#search(goal, guards, depthLimit, new Set(), false)) return true;
    }
    this.#budget = budget / 5;
    return detours && this.#search(goal, guards, depthLimit, new Set(), true);
  }

  /** The greatest number an atom can be by its own facts. */
  #upper(name: string): number | undefined {
    let most: number | undefined;
    for (const f of this.#atoms.get(name)?.facts ?? []) {
      const coef = f.get(name)?.coef ?? 0;
      if (coef >= 0 || f.size > 2 || (f.size === 2 && !f.has(""))) continue;
      const end = Math.floor((f.get("")?.coef ?? 0) / -coef);
      most = most === undefined ? end : Math.min(most, end);
    }
    return most;
  }

  /** A number that p is never below, from the greatest values of its atoms. */
  least(p: Poly): number | undefined {
    let sum = 0;
    for (const m of p.values()) {
      if (!m.atoms.every((a) => this.nonneg(a))) return undefined;
      if (m.atoms.length === 0) sum += m.coef;
      if (m.coef > 0 || m.atoms.length === 0) continue;
      let most = m.coef;
      for (const a of m.atoms) {
        const upper = this.#upper(a);
        if (upper === undefined) return undefined;
        most *= upper;
      }
      sum += most;
    }
    return sum;
  }

  #bad(m: Monomial): boolean {
    return m.coef < 0 || !m.atoms.every((a) => this.nonneg(a));
  }

  /** A branch whose numbers grow too large is a dead end; the others go on. */
  #search(raw: Poly, guards: readonly Poly[], depth: number, seen: Set<string>, detours: boolean): boolean {
    try {
      return this.#searchFrom(raw, guards, depth, seen, detours);
    } catch (e) {
      if (e instanceof TooLarge) return false;
      throw e;
    }
  }

  #searchFrom(raw: Poly, guards: readonly Poly[], depth: number, seen: Set<string>, detours: boolean): boolean {
    const p = primitive(raw, (a) => this.nonneg(a), this.#tight);
    const value = valueOf(p);
    // -x is no simpler goal than -1: a guard that leaves x only zero says it as it stands.
    if (value !== undefined) return value >= 0 || (valueOf(raw) === undefined && this.#facts(raw, guards).some((f) => polyText(smallest(f)) === polyText(smallest(raw))));
    const bad = [...p.values()].filter((m) => this.#bad(m));
    if (bad.length === 0 || this.#plain(p) || (this.least(p) ?? -1) >= 0) return true;
    // Nothing positive is left to pay with, unless a fact itself says that only zero is left.
    if (bad.length === p.size && allNegative(p, bad, (a) => this.nonneg(a)) && !this.#facts(p, guards).some((g) => allNegative(g, [...g.values()], (a) => this.nonneg(a)))) return false;
    if (depth === 0 || this.#budget-- <= 0) return false;
    const key = polyText(p);
    if (seen.has(key)) return false;
    seen.add(key);
    // Where no fact can take a min, max or select away, both of its cases are needed.
    const stuck = bad.flatMap((m) => m.atoms).find((a) => this.#stuck(a, bad, guards));
    if (stuck !== undefined) return this.#split(p, [stuck], guards, depth, seen, detours);
    const steps = this.#steps(p, bad, guards);
    const now = this.#cost(p);
    for (const next of steps) if (next.cost < now && this.#search(next.p, guards, depth - 1, seen, detours)) return true;
    // A quotient that stands without its divisor, and that nothing else bounds, must be multiplied by it.
    const bare = bad.filter((m) => m.coef < 0 && m.atoms.some((a) => this.#atoms.get(a)?.divisor) && !this.#facts(p, guards).some((f) => this.#takes(f, m)));
    if (bare.length > 0) return this.#multiply(p, bare, guards, depth, seen, detours);
    if (detours) for (const next of steps) if (next.cost >= now && this.#search(next.p, guards, depth - 1, seen, detours)) return true;
    return this.#split(p, atomsOf(p), guards, depth, seen, detours) || this.#multiply(p, bad, guards, depth, seen, detours);
  }

  /** Whether only non-negative terms are left when every atom that is at least 1 is written as 1 + itself. */
  #plain(p: Poly): boolean {
    let q = p;
    for (const a of this.#positive) if (atomsOf(q).has(a)) q = replaced(q, a, plus(atom(a), constant(1)));
    return q !== p && [...q.values()].every((m) => !this.#bad(m));
  }

  #stuck(a: string, bad: readonly Monomial[], guards: readonly Poly[]): boolean {
    const info = this.#atoms.get(a);
    if (!info?.cases) return false;
    const sign = bad.find((m) => m.atoms.includes(a))?.coef ?? 0;
    return ![...guards, ...info.facts].some((f) => [...f.values()].some((m) => m.atoms.includes(a) && m.coef < 0 === sign < 0));
  }

  #facts(p: Poly, guards: readonly Poly[]): Poly[] {
    return [...guards, ...[...atomsOf(p)].flatMap((a) => this.#atoms.get(a)?.facts ?? [])];
  }

  /** Whether a whole multiple of the fact can take the negative term away. */
  #takes(fact: Poly, t: Monomial): boolean {
    return [...fact.values()].some((s) => s.coef < 0 && s.atoms.length > 0 && t.coef % s.coef === 0 && without(t.atoms, s.atoms) !== undefined);
  }

  /** p minus a multiple of a fact, such that a bad term goes; the most promising first. */
  #steps(p: Poly, bad: readonly Monomial[], guards: readonly Poly[]): { p: Poly; cost: number }[] {
    const facts = this.#facts(p, guards);
    let all = new Map<string, { p: Poly; cost: number }>();
    for (const t of bad) {
      const found = this.#stepsAt(p, t, facts);
      // A term that one fact alone can take must be taken by it, whatever else is tried.
      if (found.size === 1 && t.atoms.length > 0) {
        all = found;
        break;
      }
      for (const [key, next] of found) all.set(key, next);
    }
    return [...all.values()].sort((x, y) => x.cost - y.cost).slice(0, widest);
  }

  #stepsAt(p: Poly, t: Monomial, facts: readonly Poly[]): Map<string, { p: Poly; cost: number }> {
    const found = new Map<string, { p: Poly; cost: number }>();
    for (const f of facts)
      for (const s of f.values()) {
        if (s.coef < 0 !== t.coef < 0) continue;
        if (s.atoms.length === 0 && t.atoms.length > 0) continue;
        const rest = without(t.atoms, s.atoms);
        if (!rest || !rest.every((a) => this.nonneg(a))) continue;
        const g = gcd(Math.abs(t.coef), Math.abs(s.coef));
        const factor: Poly = new Map([[rest.join("*"), { coef: Math.abs(t.coef) / g, atoms: rest }]]);
        const next = plus(scaled(p, Math.abs(s.coef) / g), times(factor, f), -1);
        // Multiplying the goal up to meet a fact seldom helps, and never ends by itself.
        const growth = Math.abs(s.coef) > g ? 2 : 0;
        found.set(polyText(next), { p: next, cost: this.#cost(next) + growth });
      }
    return found;
  }

  /** How far a goal is from being plain. Atoms made later are explained by facts about earlier ones, so they count more. */
  #cost(p: Poly): number {
    let cost = 0;
    for (const m of p.values()) {
      cost += this.#bad(m) ? 4 + m.atoms.length : 1;
      if (this.#bad(m)) for (const a of m.atoms) cost += 0.5 * (1 - 1 / (1 + this.#rank(a)));
    }
    return cost;
  }

  #rank(name: string): number {
    let rank = this.#ranks.get(name);
    if (rank === undefined) {
      // Atoms are only ever added, so a rank once given stays right.
      let i = 0;
      for (const a of this.#atoms.keys()) this.#ranks.set(a, i++);
      rank = this.#ranks.get(name) ?? i;
    }
    return rank;
  }

  #split(p: Poly, among: Iterable<string>, guards: readonly Poly[], depth: number, seen: ReadonlySet<string>, detours: boolean): boolean {
    for (const a of among) {
      const cases = this.#atoms.get(a)?.cases;
      if (!cases) continue;
      if (cases.every((c) => this.#search(replaced(p, a, c.value), [...guards, ...c.facts], depth - 1, new Set(seen), detours))) return true;
    }
    return false;
  }

  /** p >= 0 follows from (p + 1) * c >= 1 for whole numbers and c >= 1. */
  #multiply(p: Poly, bad: readonly Monomial[], guards: readonly Poly[], depth: number, seen: Set<string>, detours: boolean): boolean {
    for (const a of new Set(bad.flatMap((m) => m.atoms))) {
      const c = this.#atoms.get(a)?.divisor;
      if (c && this.#search(plus(times(plus(p, constant(1)), c), constant(-1)), guards, depth - 1, seen, detours)) return true;
    }
    return false;
  }
}

/** The polynomial of which this one is a whole multiple. */
const smallest = (p: Poly): Poly => {
  const by = [...p.values()].reduce((n, m) => gcd(n, Math.abs(m.coef)), 0);
  return by <= 1 ? p : new Map([...p].map(([k, m]) => [k, { ...m, coef: m.coef / by }]));
};

const allNegative = (p: Poly, terms: readonly Monomial[], nonneg: (a: string) => boolean): boolean =>
  p.size > 0 && terms.every((m) => m.coef < 0 && m.atoms.every(nonneg));

/** What else follows from `fact >= 0`: if one product of non-negative atoms is all that is positive in it and must be at
 *  least 1, each of its atoms is at least 1; and a quotient a / c that is at least 1 means a >= c. */
export function consequences(fact: Poly, atoms: ReadonlyMap<string, AtomFacts>, dividend: (quotient: string) => Poly | undefined): Poly[] {
  const nonneg = (m: Monomial): boolean => m.atoms.every((a) => atoms.get(a)?.nonneg ?? false);
  const positive = [...fact.values()].filter((m) => m.coef > 0 || !nonneg(m));
  const only = positive[0];
  if (positive.length !== 1 || !only || !nonneg(only) || (fact.get("")?.coef ?? 0) >= 0) return [];
  const out: Poly[] = [];
  for (const a of new Set(only.atoms)) {
    out.push(plus(atom(a), constant(-1)));
    const whole = dividend(a);
    const by = atoms.get(a)?.divisor;
    if (!whole || !by) continue;
    const more = plus(whole, by, -1);
    out.push(more, ...consequences(more, atoms, dividend));
  }
  return out;
}
