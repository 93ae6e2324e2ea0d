// Integer polynomials over named atoms, for bounds proofs. In the manner of dim/dim.ts, but without its exact quotients:
// here a truncated division is an atom of its own, with facts about it kept elsewhere.

export interface Monomial {
  readonly coef: number;
  /** Sorted atom names; a name may repeat. */
  readonly atoms: readonly string[];
}

/** Canonical: keyed by the atoms' text, no zero coefficients. */
export type Poly = ReadonlyMap<string, Monomial>;

/** A coefficient passed what doubles hold exactly: whoever asked gets no proof. */
export class TooLarge extends Error {}

const keyOf = (atoms: readonly string[]): string => atoms.join("*");

function put(into: Map<string, Monomial>, coef: number, atoms: readonly string[]): void {
  const key = keyOf(atoms);
  const sum = (into.get(key)?.coef ?? 0) + coef;
  // Beyond this, sums are no longer exact, and a proof with rounded numbers is none.
  if (!(Math.abs(sum) < 2 ** 52)) throw new TooLarge();
  if (sum === 0) into.delete(key);
  else into.set(key, { coef: sum, atoms });
}

export const constant = (value: number): Poly => (value === 0 ? new Map() : new Map([["", { coef: value, atoms: [] }]]));
export const atom = (name: string): Poly => new Map([[name, { coef: 1, atoms: [name] }]]);

/** a + k * b */
export function plus(a: Poly, b: Poly, k = 1): Poly {
  const out = new Map(a);
  for (const m of b.values()) put(out, k * m.coef, m.atoms);
  return out;
}

export function times(a: Poly, b: Poly): Poly {
  const out = new Map<string, Monomial>();
  for (const x of a.values()) for (const y of b.values()) put(out, x.coef * y.coef, [...x.atoms, ...y.atoms].sort());
  return out;
}

export const scaled = (a: Poly, k: number): Poly => times(a, constant(k));

/** The number, when no atom occurs. */
export function valueOf(a: Poly): number | undefined {
  if (a.size === 0) return 0;
  return a.size === 1 ? a.get("")?.coef : undefined;
}

/** Canonical text; equal texts are equal polynomials. */
export const polyText = (a: Poly): string =>
  a.size === 0 ? "0" : [...a.entries()].sort(([x], [y]) => (x < y ? -1 : 1)).map(([k, m]) => (k === "" ? `${m.coef}` : `${m.coef}*${k}`)).join(" + ");

export const atomsOf = (a: Poly): Set<string> => new Set([...a.values()].flatMap((m) => m.atoms));

/** The atoms of `m` without those of `by`, or undefined when `by` does not divide `m`. */
export function without(m: readonly string[], by: readonly string[]): string[] | undefined {
  const rest = [...m];
  for (const a of by) {
    const at = rest.indexOf(a);
    if (at < 0) return undefined;
    rest.splice(at, 1);
  }
  return rest;
}

/** Replaces every power of an atom by a polynomial. */
export function replaced(a: Poly, name: string, by: Poly): Poly {
  let out: Poly = new Map();
  for (const m of a.values()) {
    let term: Poly = new Map([["", { coef: m.coef, atoms: [] }]]);
    for (const x of m.atoms) term = times(term, x === name ? by : atom(x));
    out = plus(out, term);
  }
  return out;
}

/** Divides out the greatest common factor and the atoms that every term has, if `divisible` lets them go. `tight`: the factor of all
 *  but the constant term, which is rounded down (a sum of whole numbers that is at least -c / f is at least the next whole number). */
export function primitive(a: Poly, divisible: (name: string) => boolean, tight = false): Poly {
  const terms = [...a.values()];
  const first = terms[0];
  if (!first) return a;
  let common = first.atoms.filter(divisible);
  let factor = 0;
  for (const m of terms) {
    if (!tight || m.atoms.length > 0 || terms.length === 1) factor = gcd(factor, Math.abs(m.coef));
    const kept: string[] = [];
    const left = [...m.atoms];
    for (const x of common) {
      const at = left.indexOf(x);
      if (at < 0) continue;
      left.splice(at, 1);
      kept.push(x);
    }
    common = kept;
  }
  if (common.length === 0 && factor <= 1) return a;
  const out = new Map<string, Monomial>();
  for (const m of terms) put(out, Math.floor(m.coef / (factor || 1)), without(m.atoms, common) ?? m.atoms);
  return out;
}

export function gcd(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b];
  return a;
}
