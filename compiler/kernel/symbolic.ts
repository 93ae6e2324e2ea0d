// In: i32 expressions of a kernel. Out: polynomials over atoms, with the facts that hold for each atom: the reading of
// lengths, ids, loops, divisions, min, max and select that bounds.ts proves with. Keeps the guards in force.

import type { BinaryOp, ScalarExpr } from "../scalar/expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";
import type { Poly } from "./polynomial.ts";
import { atom, atomsOf, constant, plus, polyText, scaled, times, valueOf, without } from "./polynomial.ts";
import type { AtomFacts, Case } from "./prove.ts";
import { Prover, consequences } from "./prove.ts";

/** Facts where a condition holds, and where it fails. */
export interface Guard {
  readonly holds: readonly Poly[];
  readonly fails: readonly Poly[];
}

const noGuard: Guard = { holds: [], fails: [] };
const one = constant(1);
const below = (a: Poly, b: Poly): Poly => plus(plus(b, a, -1), one, -1);
const atMost = (a: Poly, b: Poly): Poly => plus(b, a, -1);

export class Symbolic {
  readonly #kernel: Kernel;
  readonly #atoms = new Map<string, AtomFacts>();
  readonly #dividends = new Map<string, Poly>();
  readonly #quotients: (Quotient & { readonly scope: number })[] = [];
  /** i32 lets as written. */
  readonly #lets = new Map<string, ScalarExpr>();
  readonly #values = new Map<string, Poly>();
  readonly #guards = new Map<string, Guard>();
  readonly #prover = new Prover(this.#atoms);
  #facts: Poly[] = [];
  #scopes = 0;
  #stack: readonly number[] = [0];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    for (const n of kernel.lengths) this.#atoms.set(`#${n}`, { nonneg: true, facts: [] });
    for (const g of kernel.grid) this.#facts.push(...this.#closure(this.#neverEmpty(g)));
    (["x", "y", "z"] as const).forEach((axis, i) => {
      const lanes = constant((kernel.workgroup[i] ?? 1) - 1);
      const lane = atom(`lane.${axis}`);
      this.#atoms.set(`lane.${axis}`, { nonneg: true, facts: [atMost(lane, lanes)] });
      const count = this.poly(kernel.grid[i] ?? { kind: "const", type: "i32", value: 1 });
      this.#atoms.set(`group.${axis}`, { nonneg: true, facts: [below(atom(`group.${axis}`), count)] });
      // Somebody runs this, so no dimension of the grid is empty.
      this.#facts.push(...this.#closure([plus(count, one, -1)]));
    });
  }

  /** Number of the guards in force: what is proven in one scope holds there and in the scopes inside it. */
  get scope(): number {
    return this.#stack.at(-1) ?? 0;
  }

  /** A grid or a loop of ceil(a / c) turns that runs at all has a >= 1: said of the dividend, whose sign may be unknown. */
  #neverEmpty(grid: ScalarExpr): Poly[] {
    if (grid.kind === "name") {
      const value = this.#lets.get(grid.name);
      return value ? this.#neverEmpty(value) : [];
    }
    const factors = factorsOf(grid);
    return factors.flatMap((f, i) => {
      if (f.kind !== "binary" || f.op !== "div" || f.b.kind !== "const" || f.b.value < 1) return [];
      const others = factors.filter((_, j) => j !== i).reduce((n, x) => times(n, this.poly(x)), one);
      return this.#quick(others) ? [plus(this.poly(f.a), constant(-f.b.value))] : [];
    });
  }

  /** For questions asked on the way, where a missed proof costs little. */
  #quick(goal: Poly): boolean {
    return this.#prover.prove(goal, this.#facts, 20, false);
  }

  prove(goal: Poly): boolean {
    return this.#prover.prove(goal, this.#facts);
  }

  operandSize(name: string): Poly {
    const op = this.#kernel.operands.find((o) => o.name === name);
    return op ? this.poly(op.size) : constant(0);
  }

  arraySize(name: string): Poly {
    return constant(this.#kernel.arrays.find((a) => a.name === name)?.size ?? 0);
  }

  /** Runs `body` with more facts in force. */
  within(facts: readonly Poly[], body: () => void): void {
    const before = this.#facts;
    const stack = this.#stack;
    this.#stack = [...stack, ++this.#scopes];
    this.#facts = [...before, ...this.#closure(facts)];
    body();
    this.#facts = before;
    this.#stack = stack;
  }

  /** The facts with what follows from each alone, and from its sum with a fact that is known already: g < n1 + n2 and
   *  n1 <= g leave n2 >= 1. */
  #closure(facts: readonly Poly[]): Poly[] {
    const follow = (f: Poly): Poly[] => consequences(f, this.#atoms, (q) => this.#dividends.get(q));
    const all = [...this.#facts, ...facts];
    if (facts.every((f) => valueOf(f) !== undefined)) return facts.filter((f) => (valueOf(f) ?? 0) < 0);
    const sums = facts.flatMap((f, i) => all.slice(0, this.#facts.length + i).map((h) => plus(f, h)).filter((sum) => sum.size < f.size));
    const bounded = facts.flatMap((f) => this.#quotients.filter((q) => this.#stack.includes(q.scope)).flatMap((q) => quotientBound(q, f)));
    return [...facts.flatMap((f) => [f, ...follow(f)]), ...sums.flatMap(follow), ...bounded];
  }

  bind(name: string, value: ScalarExpr): void {
    if (value.type === "i32") {
      this.#values.set(name, this.#named(name, value));
      this.#lets.set(name, value);
    }
    if (value.type === "bool") this.#guards.set(name, this.guard(value));
  }

  /** A workgroup's number put together from two ids, and a non-negative difference, get a name of their own: what is
   *  divided and bounded later is that name, not a sum that comes apart. */
  #named(name: string, e: ScalarExpr): Poly {
    const value = this.poly(e);
    const folded = value.size > 1 && [...value.values()].every((m) => m.atoms.length === 1 && m.atoms[0]?.startsWith("group."));
    const difference = e.kind === "binary" && e.op === "sub" && value.size > 1;
    if (!(folded || difference) || !this.#quick(value)) return value;
    const id = `${name}'${this.#atoms.size}`;
    this.#atoms.set(id, { nonneg: true, facts: [plus(value, atom(id), -1), plus(atom(id), value, -1)] });
    return atom(id);
  }

  bindOpaque(name: string, as: string): void {
    if (!this.#atoms.has(as)) this.#atoms.set(as, { nonneg: false, facts: [] });
    this.#values.set(name, atom(as));
    this.#lets.delete(name);
    this.#guards.delete(name);
  }

  /** Binds the loop's name as from + step * (trip number); returns what holds inside. */
  bindLoop(s: Stmt & { kind: "loop" }): Poly[] {
    const from = this.poly(s.from);
    const to = this.poly(s.to);
    const trip = `${s.name}'trip${this.#atoms.size}`;
    const last = below(from, to);
    const constantSpan = valueOf(last);
    // from + step * trip < to; with a constant span the last trip is known exactly.
    const whole = constantSpan === undefined ? wholeTrips(plus(to, from, -1), s.step) : constant(Math.floor(constantSpan / s.step) + 1);
    const end = whole ? below(atom(trip), whole) : plus(last, scaled(atom(trip), s.step), -1);
    this.#atoms.set(trip, { nonneg: true, facts: [end] });
    this.#values.set(s.name, plus(from, scaled(atom(trip), s.step)));
    return this.#quick(from) ? [last, ...this.#neverEmpty(s.to)] : [last];
  }

  guard(e: ScalarExpr): Guard {
    if (e.kind === "name") return this.#guards.get(e.name) ?? noGuard;
    if (e.kind === "unary" && e.op === "not") {
      const g = this.guard(e.a);
      return { holds: g.fails, fails: g.holds };
    }
    if (e.kind !== "binary") return noGuard;
    if (e.type === "bool" && e.a.type === "bool" && (e.op === "and" || e.op === "or")) {
      const a = this.guard(e.a);
      const b = this.guard(e.b);
      return e.op === "and" ? { holds: [...a.holds, ...b.holds], fails: [] } : { holds: [], fails: [...a.fails, ...b.fails] };
    }
    if (e.a.type !== "i32") return noGuard;
    const a = this.poly(e.a);
    const b = this.poly(e.b);
    switch (e.op) {
      case "lt": return { holds: this.#quick(a) ? [below(a, b), ...this.#neverEmpty(e.b)] : [below(a, b)], fails: [atMost(b, a)] };
      case "le": return { holds: [atMost(a, b)], fails: [below(b, a)] };
      case "eq": return { holds: [atMost(a, b), atMost(b, a)], fails: [] };
      case "ne": return { holds: [], fails: [atMost(a, b), atMost(b, a)] };
      default: return noGuard;
    }
  }

  poly(e: ScalarExpr): Poly {
    switch (e.kind) {
      case "const": return constant(e.value);
      case "length": return atom(`#${e.name}`);
      case "builtin": return this.#laneOrGroup(e.name);
      case "name": return this.#values.get(e.name) ?? this.#unknown(e.name);
      case "select": {
        const [a, b, g] = [this.poly(e.a), this.poly(e.b), this.guard(e.cond)];
        return this.#oneOf(`select(${polyText(a)}; ${polyText(b)}; ${g.holds.map(polyText).join()}; ${g.fails.map(polyText).join()})`, [{ value: a, facts: g.holds }, { value: b, facts: g.fails }], []);
      }
      case "unary": return e.op === "neg" ? scaled(this.poly(e.a), -1) : this.#unknown(`u${this.#atoms.size}`);
      case "binary": return this.#binary(e.op, e.a, e.b);
      case "attr": return this.#unknown(`${e.side}.${e.name}`);
    }
  }

  #laneOrGroup(name: string): Poly {
    const [what, axis] = name.split(".");
    const size = this.#kernel.workgroup["xyz".indexOf(axis ?? "x")];
    return what === "lane" && size === 1 ? constant(0) : atom(name);
  }

  #unknown(name: string): Poly {
    if (!this.#atoms.has(name)) this.#atoms.set(name, { nonneg: false, facts: [] });
    return atom(name);
  }

  #binary(op: BinaryOp, left: ScalarExpr, right: ScalarExpr): Poly {
    if (left.type !== "i32") return this.#unknown(`u${this.#atoms.size}`);
    const a = this.poly(left);
    const b = this.poly(right);
    const amount = valueOf(b);
    switch (op) {
      case "add": return plus(a, b);
      case "sub": return plus(a, b, -1);
      case "mul": return times(a, b);
      case "shl": if (amount !== undefined && amount >= 0 && amount < 31) return scaled(a, 2 ** amount); break;
      case "shr": if (amount !== undefined && amount >= 0 && amount < 31) return this.#quotient(a, constant(2 ** amount)) ?? this.#unknown(`u${this.#atoms.size}`); break;
      case "div": return this.#quotient(a, b) ?? this.#unknown(`u${this.#atoms.size}`);
      case "mod": {
        const q = this.#quotient(a, b);
        if (q) return plus(a, times(b, q), -1);
        break;
      }
      case "and": {
        const mask = amount ?? valueOf(a);
        if (mask === undefined || mask < 0) break;
        const m = `${polyText(a)}&${polyText(b)}`;
        this.#atoms.set(m, { nonneg: true, facts: [atMost(atom(m), constant(mask))] });
        return atom(m);
      }
      case "min": case "max": {
        const better = (x: Poly, y: Poly): Poly => (op === "min" ? atMost(x, y) : atMost(y, x));
        if (this.#quick(better(a, b))) return a;
        if (this.#quick(better(b, a))) return b;
        return this.#oneOf(`${op}(${polyText(a)}; ${polyText(b)})`, [{ value: a, facts: [better(a, b)] }, { value: b, facts: [better(b, a)] }], (m) => [better(m, a), better(m, b)]);
      }
      default: break;
    }
    return this.#unknown(`u${this.#atoms.size}`);
  }

  /** Keeps a quotient for guards to come, and gives the bounds that the facts so far set it. */
  #known(q: Quotient): Poly[] {
    if (!this.#quotients.some((x) => polyText(x.q) === polyText(q.q) && this.#stack.includes(x.scope))) this.#quotients.push({ ...q, scope: this.scope });
    const facts = [...this.#facts, ...[...atomsOf(q.a)].flatMap((n) => this.#atoms.get(n)?.facts ?? [])];
    return facts.flatMap((f) => quotientBound(q, f));
  }

  /** The atom of this key in the present scope, or the one an enclosing scope already has. */
  #scoped(key: string): string {
    const known = this.#stack.find((s) => this.#atoms.has(`${key}@${s}`));
    return `${key}@${known ?? this.scope}`;
  }

  #oneOf(key: string, cases: readonly Case[], facts: readonly Poly[] | ((m: Poly) => readonly Poly[])): Poly {
    // Named by scope: what was shown about it may rest on the guards in force.
    const id = this.#scoped(key);
    if (!this.#atoms.has(id)) {
      const own = typeof facts === "function" ? facts(atom(id)) : facts;
      const nonneg =
        cases.every((c) => this.#prover.prove(c.value, [...this.#facts, ...c.facts], 20, false)) ||
        (key.startsWith("max") && cases.some((c) => this.#quick(c.value)));
      this.#atoms.set(id, { nonneg, facts: own, cases });
    }
    return atom(id);
  }

  /** (x / c) / b is x / (c * b), and knows its place between the two: axes peeled off one by one meet axes taken at once. */
  #ofQuotient(a: Poly, b: Poly): Poly | undefined {
    const inner = soleAtom(a);
    const dividend = inner === undefined ? undefined : this.#dividends.get(inner);
    const divisor = inner === undefined ? undefined : this.#atoms.get(inner)?.divisor;
    if (!dividend || !divisor || !this.#quick(plus(b, one, -1))) return undefined;
    const q = this.#quotient(dividend, times(divisor, b));
    const name = q && soleAtom(q);
    const info = name === undefined ? undefined : this.#atoms.get(name);
    if (!q || name === undefined || !info) return q;
    const near = [atMost(times(q, b), a), below(a, plus(times(q, b), b))];
    const known = new Set(info.facts.map(polyText));
    const facts = near.filter((f) => !known.has(polyText(f)));
    if (facts.length > 0) this.#atoms.set(name, { ...info, facts: [...info.facts, ...facts] });
    return q;
  }

  /** (c * x + y) / c = x for 0 <= y < c; and (y + k * c) / c = y / c + k for y >= 0. */
  #wholePart(a: Poly, c: number): Poly | undefined {
    const whole: Poly = new Map([...a].filter(([, m]) => m.coef % c === 0));
    const part = plus(a, whole, -1);
    const small = (this.#prover.least(part) ?? -1) >= 0 && (this.#prover.least(plus(constant(c - 1), part, -1)) ?? -1) >= 0;
    if (whole.size > 0 && small && this.#quick(a)) {
      const q = wholeTrips(whole, c);
      if (q && part.size > 0) this.#facts.push(...this.#known({ q, a, c: constant(c) }));
      return q;
    }
    const k = Math.floor((a.get("")?.coef ?? 0) / c);
    if (k === 0) return undefined;
    const rest = plus(a, constant(-k * c));
    if (!this.#quick(rest) || !this.#quick(a)) return undefined;
    const q = this.#quotient(rest, constant(c));
    return q && plus(q, constant(k));
  }

  /** x - c * (x / c) by its own name, where it has one. */
  #asRemainder(a: Poly): Poly {
    if (a.size !== 2) return a;
    for (const name of atomsOf(a)) {
      const info = this.#atoms.get(name);
      if (!info?.parts || !info.divisor) continue;
      if (polyText(plus(atom(info.parts.of), times(atom(name), info.divisor), -1)) === polyText(a)) return atom(info.parts.remainder);
    }
    return a;
  }

  /** a / b for a >= 0 and b >= 1, else undefined. */
  #quotient(dividend: Poly, b: Poly): Poly | undefined {
    const a = this.#asRemainder(dividend);
    const [x, y] = [valueOf(a), valueOf(b)];
    if (x !== undefined && y !== undefined && y !== 0) return constant(Math.trunc(x / y));
    if (y === 1) return a;
    const exact = y === undefined ? undefined : wholeTrips(a, y);
    if (exact) return exact;
    const nested = this.#ofQuotient(a, b) ?? (y === undefined ? undefined : this.#wholePart(a, y));
    if (nested) return nested;
    const id = this.#scoped(`(${polyText(a)} / ${polyText(b)})`);
    if (!this.#atoms.has(id)) {
      if (!this.#quick(a) || !this.#quick(plus(b, one, -1))) return undefined;
      const q = times(atom(id), b);
      this.#dividends.set(id, a);
      this.#atoms.set(id, { nonneg: true, facts: [atMost(q, a), below(a, plus(q, b))], divisor: b });
      const bounds = this.#known({ q: atom(id), a, c: b });
      const of = soleAtom(a);
      const remainder = `${id}'rest`;
      if (of !== undefined) this.#atoms.set(remainder, { nonneg: true, facts: [below(atom(remainder), b)] });
      this.#atoms.set(id, { nonneg: true, facts: [atMost(q, a), below(a, plus(q, b)), ...bounds], divisor: b, ...(of === undefined ? {} : { parts: { of, remainder } }) });
    }
    return atom(id);
  }
}

interface Quotient {
  /** a / c, as it is written elsewhere. */
  readonly q: Poly;
  readonly a: Poly;
  readonly c: Poly;
}

/** From a < c * x, said by the fact, follows a / c < x. */
function quotientBound({ q, a, c }: Quotient, fact: Poly): Poly[] {
  const end = plus(plus(fact, a), one);
  if (end.size > 2) return [];
  const [n, d] = [valueOf(end), valueOf(c)];
  const x = n !== undefined && d !== undefined ? constant(Math.floor((n - 1) / d) + 1) : exactQuotient(end, c);
  return x ? [below(q, x)] : [];
}

const factorsOf = (e: ScalarExpr): ScalarExpr[] => (e.kind === "binary" && e.op === "mul" ? [...factorsOf(e.a), ...factorsOf(e.b)] : [e]);

/** The name of a polynomial that is just one atom. */
function soleAtom(a: Poly): string | undefined {
  const [m] = a.values();
  return a.size === 1 && m?.coef === 1 && m.atoms.length === 1 ? m.atoms[0] : undefined;
}

/** a / c when c is one term that divides every term of a. */
function exactQuotient(a: Poly, c: Poly): Poly | undefined {
  const [by] = c.values();
  if (c.size !== 1 || !by) return undefined;
  let out: Poly = new Map();
  for (const m of a.values()) {
    const rest = without(m.atoms, by.atoms);
    if (!rest || m.coef % by.coef !== 0) return undefined;
    out = plus(out, new Map([[rest.join("*"), { coef: m.coef / by.coef, atoms: rest }]]));
  }
  return out;
}

/** a / step when every coefficient is a multiple of it. */
function wholeTrips(a: Poly, step: number): Poly | undefined {
  if (step < 1 || [...a.values()].some((m) => m.coef % step !== 0)) return undefined;
  return new Map([...a].map(([k, m]) => [k, { coef: m.coef / step, atoms: m.atoms }]));
}
