// In: names and integers. Out: `Dim`, a canonical symbolic size: a sum of integer-weighted products of variables.
// An exact quotient such as `d / heads` is an atom "(d/heads)" that cancels against its divisor.
// Refuses nothing: an inexact constant quotient returns undefined, so that the caller can name both places.

export interface Term {
  readonly coef: number;
  /** Sorted variable names; a name may repeat for a power. */
  readonly vars: readonly string[];
}

/** A size: the sum of its terms. Canonical: terms sorted by their variables, no zero coefficients. */
export interface Dim {
  readonly terms: readonly Term[];
}

/** What a quotient atom stands for, so that `(d/heads) * heads` becomes `d` again. */
const quotients = new Map<string, { num: string; den: Dim }>();

function build(terms: Iterable<Term>): Dim {
  const byKey = new Map<string, Term>();
  for (const t of terms) {
    const vars = [...t.vars].sort();
    const key = vars.join("*");
    const old = byKey.get(key);
    byKey.set(key, { coef: (old?.coef ?? 0) + t.coef, vars });
  }
  return {
    terms: [...byKey.entries()]
      .filter(([, t]) => t.coef !== 0)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([, t]) => t),
  };
}

export const dimConst = (value: number): Dim => build([{ coef: value, vars: [] }]);
export const dimVar = (name: string): Dim => ({ terms: [{ coef: 1, vars: [name] }] });
export const dimOf = (x: number | string | Dim): Dim =>
  typeof x === "number" ? dimConst(x) : typeof x === "string" ? dimVar(x) : x;

export const dimAdd = (a: Dim, b: Dim): Dim => build([...a.terms, ...b.terms]);
export const dimSub = (a: Dim, b: Dim): Dim => dimAdd(a, dimScale(b, -1));
export const dimScale = (a: Dim, k: number): Dim => build(a.terms.map((t) => ({ coef: t.coef * k, vars: t.vars })));

export function dimMul(a: Dim, b: Dim): Dim {
  const out: Term[] = [];
  for (const x of a.terms)
    for (const y of b.terms) out.push(...cancel({ coef: x.coef * y.coef, vars: [...x.vars, ...y.vars] }).terms);
  return build(out);
}

/** Replace `(num/den) * den` by `num` inside one product. */
function cancel(term: Term): Dim {
  for (const v of term.vars) {
    const q = quotients.get(v);
    const only = q && q.den.terms.length === 1 ? q.den.terms[0] : undefined;
    if (!q || !only) continue;
    const rest = [...term.vars];
    rest.splice(rest.indexOf(v), 1);
    const missing = only.vars.some((d) => {
      const at = rest.indexOf(d);
      if (at >= 0) rest.splice(at, 1);
      return at < 0;
    });
    if (missing || term.coef % only.coef !== 0) continue;
    const num = numerators.get(v);
    if (num) return dimMul({ terms: [{ coef: term.coef / only.coef, vars: rest }] }, num);
  }
  return build([term]);
}

const numerators = new Map<string, Dim>();

/** `a / b`, exact; undefined when both are constants and the division leaves a remainder, or `b` is zero. */
export function dimDiv(a: Dim, b: Dim): Dim | undefined {
  const ca = dimValue(a);
  const cb = dimValue(b);
  if (cb === 0) return undefined;
  if (cb === 1) return a;
  if (ca !== undefined && cb !== undefined) return ca % cb === 0 ? dimConst(ca / cb) : undefined;
  if (dimEqual(a, b)) return dimConst(1);
  const single = b.terms.length === 1 ? b.terms[0] : undefined;
  if (single) {
    const out: Term[] = [];
    for (const t of a.terms) {
      const rest = [...t.vars];
      const fits = single.vars.every((v) => {
        const at = rest.indexOf(v);
        if (at >= 0) rest.splice(at, 1);
        return at >= 0;
      });
      if (!fits || t.coef % single.coef !== 0) break;
      out.push({ coef: t.coef / single.coef, vars: rest });
    }
    if (out.length === a.terms.length) return build(out);
  }
  const name = `(${dimText(a)}/${dimText(b)})`;
  quotients.set(name, { num: dimText(a), den: b });
  numerators.set(name, a);
  return dimVar(name);
}

/** What a quotient atom such as "(d/heads)" divides, or undefined for an ordinary variable. */
export function dimQuotient(name: string): { readonly num: Dim; readonly den: Dim } | undefined {
  const q = quotients.get(name);
  const num = numerators.get(name);
  return q && num ? { num, den: q.den } : undefined;
}

export const dimEqual = (a: Dim, b: Dim): boolean => dimText(a) === dimText(b);

/** The constant value, or undefined when a variable occurs. */
export function dimValue(a: Dim): number | undefined {
  if (a.terms.length === 0) return 0;
  const t = a.terms[0];
  return a.terms.length === 1 && t && t.vars.length === 0 ? t.coef : undefined;
}

/** Every variable that occurs, sorted. */
export const dimVars = (a: Dim): string[] => [...new Set(a.terms.flatMap((t) => t.vars))].sort();

/** Substitute variables by sizes; quotient atoms are divided out again. */
export function dimSubst(a: Dim, env: (name: string) => Dim | undefined): Dim {
  let sum = dimConst(0);
  for (const t of a.terms) {
    let prod = dimConst(t.coef);
    for (const v of t.vars) {
      const q = quotients.get(v);
      const num = numerators.get(v);
      const direct = env(v);
      const value =
        direct ?? (q && num ? (dimDiv(dimSubst(num, env), dimSubst(q.den, env)) ?? dimVar(v)) : dimVar(v));
      prod = dimMul(prod, value);
    }
    sum = dimAdd(sum, prod);
  }
  return sum;
}

/** The number a size has under an assignment of its variables; undefined when one is missing. */
export function dimEval(a: Dim, env: Readonly<Record<string, number>>): number | undefined {
  return dimValue(dimSubst(a, (n) => (env[n] === undefined ? undefined : dimConst(env[n]))));
}

/** Canonical text, also the equality key: `4*d + 1`. */
export function dimText(a: Dim): string {
  if (a.terms.length === 0) return "0";
  return a.terms
    .map((t) => (t.vars.length === 0 ? `${t.coef}` : t.coef === 1 ? t.vars.join("*") : `${t.coef}*${t.vars.join("*")}`))
    .join(" + ");
}
