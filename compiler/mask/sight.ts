// Who sees whom in one step of the network: its mask, split by heads where they differ.
// In: the flow of a Model. Out: the distinct predicates, numbered, and for each step which of them its heads have.
// `Sight` evaluates them on the tokens of one Sample and remembers what it found.

import { compileExpr } from "../scalar/eval.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { children } from "../scalar/expr.ts";
import { exprText } from "../scalar/print.ts";
import type { Model, Step } from "../types/model.ts";
import { forHead } from "./heads.ts";
import type { Sample } from "./sample.ts";

export interface Group {
  /** Undefined: everything is seen. */
  readonly expr: ScalarExpr | undefined;
  /** Tokens (side q) whose result is used; absent: all. */
  readonly rows?: ScalarExpr;
}

export interface View {
  readonly step: Step;
  /** Number of the step. */
  readonly at: number;
  readonly parts: readonly { readonly group: number; readonly heads: readonly number[] }[];
}

export interface Views {
  readonly groups: readonly Group[];
  readonly steps: readonly View[];
  /** Steps that none reads: what the heads of the network are given. */
  readonly last: readonly number[];
}

const readsHead = (e: ScalarExpr): boolean => (e.kind === "name" ? e.name === "head" : children(e).some(readsHead));

export function viewsOf(model: Model): Views {
  const numbers = new Map<string, number>();
  const groups: Group[] = [];
  const groupOf = (expr: ScalarExpr | undefined, rows: ScalarExpr | undefined): number => {
    const key = `${expr ? exprText(expr) : ""}${rows ? ` of ${exprText(rows)}` : ""}`;
    const old = numbers.get(key);
    if (old !== undefined) return old;
    numbers.set(key, groups.length);
    return groups.push({ expr, ...(rows ? { rows } : {}) }) - 1;
  };
  const steps = model.flow.map((step, at): View => {
    const heads = Array.from({ length: Math.max(1, step.heads) }, (_, h) => h);
    const { mask } = step;
    const rows = step.attention?.rows ?? step.router?.rows;
    if (!mask || !readsHead(mask)) return { step, at, parts: [{ group: groupOf(mask, rows), heads }] };
    const byGroup = new Map<number, number[]>();
    for (const h of heads) {
      const g = groupOf(forHead(mask, h), rows);
      byGroup.set(g, [...(byGroup.get(g) ?? []), h]);
    }
    return { step, at, parts: [...byGroup].map(([group, of]) => ({ group, heads: of })) };
  });
  const read = new Set(model.flow.flatMap((s) => s.after));
  return { groups, steps, last: steps.map((s) => s.at).filter((s) => !read.has(s)) };
}

export class Sight {
  readonly views: Views;
  readonly sample: Sample;
  readonly #tests: ((q: number, k: number) => boolean)[];
  readonly #counts: ((q: number) => boolean)[];
  readonly #rows = new Map<number, readonly number[]>();

  constructor(views: Views, sample: Sample) {
    this.views = views;
    this.sample = sample;
    this.#counts = views.groups.map(({ rows }) => {
      const test = rows && testOf(rows, sample.columns);
      return test ? (q) => test(q, q) : () => true;
    });
    this.#tests = views.groups.map(({ expr }) => (expr ? testOf(expr, sample.columns) : () => true));
  }

  /** Whether tokens q and k of the sample see each other under a predicate. */
  sees(group: number, q: number, k: number): boolean {
    return this.#tests[group]?.(q, k) ?? false;
  }

  /** Kept tokens that kept token number q sees, both as numbers among the kept. */
  row(group: number, q: number): readonly number[] {
    const { kept } = this.sample;
    const key = group * kept.length + q;
    const old = this.#rows.get(key);
    if (old) return old;
    const at = kept[q] ?? 0;
    const out: number[] = [];
    for (let k = 0; k < kept.length; k++) if (this.sees(group, at, kept[k] ?? 0)) out.push(k);
    this.#rows.set(key, out);
    return out;
  }

  /** Whether a token sees any of the whole sample, or nobody reads what it sees. */
  seesAny(group: number, q: number): boolean {
    if (!(this.#counts[group]?.(q) ?? true)) return true;
    // Most see themselves.
    if (this.sees(group, q, q)) return true;
    for (let k = 0; k < this.sample.count; k++) if (this.sees(group, q, k)) return true;
    return false;
  }
}

/** A predicate over the tokens of columns. `names` are values of free names, such as `head`. */
export function testOf(expr: ScalarExpr, columns: Sample["columns"], names: Readonly<Record<string, number>> = {}): (q: number, k: number) => boolean {
  let [q, k] = [0, 0];
  const run = compileExpr(expr, (l) => {
    if (l.kind === "name") {
      const v = names[l.name] ?? 0;
      return () => v;
    }
    const column = l.kind === "attr" ? columns[l.name] : undefined;
    if (l.kind !== "attr" || !column) throw new Error(`a mask reads ${l.kind} ${l.name}, which samples do not have`);
    return l.side === "q" ? () => column[q] ?? 0 : () => column[k] ?? 0;
  });
  return (a, b) => {
    q = a;
    k = b;
    return run() !== 0;
  };
}
