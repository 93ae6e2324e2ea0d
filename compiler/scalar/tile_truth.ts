// In: a mask predicate over q.* and k.* attributes. Out: two predicates over *facts* of a tile of query tokens and a tile of
// key tokens: `may` is false only where no pair of the two tiles is visible, `must` is true only where every pair is.
// Facts are attr leaves: `x.lo` and `x.hi` (least and greatest value of attribute x in the tile, i32) and `x.bits` (i32: bit v
// for each value 0..30 that occurs, bit 31 for any other). Imprecise is allowed, wrong never.
// Sums and products of bounds must not wrap: attributes and names are taken to lie within +-2^20, tested where it matters
// (`may` holds and `must` fails for a tile with a wilder one); what could pass 2^31 even so counts as unknown.

import { evalExpr } from "./eval.ts";
import type { BinaryOp, ScalarExpr } from "./expr.ts";
import { add, and, attr, binary, bool, children, div, i32, lt, mod, mul, select, sub, unary } from "./expr.ts";
import { exprText } from "./print.ts";
import { simplify } from "./simplify.ts";

export interface TileTruth {
  readonly may: ScalarExpr;
  readonly must: ScalarExpr;
  /** Names of the facts that either of them reads: `pos.lo`, `doc.bits`, … */
  readonly q: readonly string[];
  readonly k: readonly string[];
}

/** Attributes and names beyond this make a tile mixed wherever they are calculated with. */
export const tame = 2 ** 20;
/** Values with a bit of their own in `bits`. */
export const bitValues = 31;
const other = -(2 ** 31);
const most = 2 ** 31 - 1;

interface Truth {
  readonly may: ScalarExpr;
  readonly must: ScalarExpr;
}

/** The bounds of a value that is not taken apart any further. */
interface Part {
  readonly lo: ScalarExpr;
  readonly hi: ScalarExpr;
  /** Greatest magnitude, were all leaves tame. */
  readonly size: number;
  /** The leaf itself, whose bounds hold however wild it is. */
  readonly leaf?: ScalarExpr;
}

/** plus + the sum of coef * part. No partial sum passes `size`. */
interface Linear {
  readonly terms: ReadonlyMap<string, { readonly coef: number; readonly part: Part }>;
  readonly plus: number;
  readonly size: number;
}

const min = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("min", a, b);
const max = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("max", a, b);
const or = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("or", a, b);
const le = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("le", a, b);
const eq = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("eq", a, b);
const not = (a: ScalarExpr): ScalarExpr => unary("not", a);
const some = (bits: ScalarExpr): ScalarExpr => binary("ne", bits, i32(0));

const unknown: Truth = { may: bool(true), must: bool(false) };
const exactly = (e: ScalarExpr): Truth => ({ may: e, must: e });
const both = (a: Truth, b: Truth): Truth => ({ may: and(a.may, b.may), must: and(a.must, b.must) });
const either = (a: Truth, b: Truth): Truth => ({ may: or(a.may, b.may), must: or(a.must, b.must) });
const opposite = (a: Truth): Truth => ({ may: not(a.must), must: not(a.may) });

/** `may` and `must` of a mask over facts of two tiles. */
export function tileTruth(mask: ScalarExpr): TileTruth {
  const reader = new Reader();
  const { may, must } = reader.truth(mask);
  const wild = reader.wild();
  const out = wild ? { may: or(may, wild), must: and(must, not(wild)) } : { may, must };
  const done = { may: simplify(out.may), must: simplify(out.must) };
  const facts = (side: "q" | "k"): string[] => {
    const names = new Set<string>();
    const see = (e: ScalarExpr): void => {
      if (e.kind === "attr" && e.side === side) names.add(e.name);
      children(e).forEach(see);
    };
    see(done.may);
    see(done.must);
    return [...names].sort();
  };
  return { ...done, q: facts("q"), k: facts("k") };
}

class Reader {
  /** Leaves whose bounds were calculated with. */
  readonly #reckoned = new Map<string, ScalarExpr>();

  truth(e: ScalarExpr, inTable = false): Truth {
    const plain = this.#truth(e, inTable || tableLeaf(e) !== undefined);
    const leaf = inTable ? undefined : tableLeaf(e);
    if (!leaf) return plain;
    // One attribute against constants: what it says of each small value is known beforehand.
    const bits = attr(leaf.side, `${leaf.name}.bits`);
    let holds = 0;
    for (let v = 0; v < bitValues; v++) if (evalExpr(e, { [leaf.side]: { [leaf.name]: v } }) !== 0) holds |= 1 << v;
    return {
      may: and(plain.may, some(binary("and", bits, i32(holds | other)))),
      must: or(plain.must, binary("eq", binary("and", bits, i32(~holds)), i32(0))),
    };
  }

  #truth(e: ScalarExpr, inTable: boolean): Truth {
    if (e.type !== "bool") throw new Error(`a mask is a predicate, and this is ${exprText(e)}`);
    switch (e.kind) {
      case "const": case "name": return exactly(e);
      case "attr": return { may: lt(i32(0), attr(e.side, `${e.name}.hi`)), must: lt(i32(0), attr(e.side, `${e.name}.lo`)) };
      case "unary": return e.op === "not" ? opposite(this.truth(e.a, inTable)) : unknown;
      case "select": {
        const [c, a, b] = [this.truth(e.cond, inTable), this.truth(e.a, inTable), this.truth(e.b, inTable)];
        return {
          may: or(and(c.may, a.may), and(not(c.must), b.may)),
          must: or(or(and(c.must, a.must), and(not(c.may), b.must)), and(a.must, b.must)),
        };
      }
      case "binary": return e.a.type === "bool" ? this.#logic(e.op, this.truth(e.a, inTable), this.truth(e.b, inTable)) : this.#compare(e.op, e.a, e.b, inTable);
      default: return unknown;
    }
  }

  #logic(op: BinaryOp, a: Truth, b: Truth): Truth {
    const same = (): Truth => either(both(a, b), both(opposite(a), opposite(b)));
    switch (op) {
      case "and": return both(a, b);
      case "or": return either(a, b);
      case "eq": return same();
      case "ne": case "xor": return opposite(same());
      default: return unknown;
    }
  }

  #compare(op: BinaryOp, a: ScalarExpr, b: ScalarExpr, inTable: boolean): Truth {
    if (op !== "eq" && op !== "ne" && op !== "lt" && op !== "le") return unknown;
    if (a.type !== "i32") return unknown;
    const [x, y] = [this.#linear(a), this.#linear(b)];
    const truth = x && y ? this.#ordered(op === "ne" ? "eq" : op, x, y) : unknown;
    const sets = (op === "eq" || op === "ne") && !inTable && a.kind === "attr" && b.kind === "attr" && (a.side !== b.side || a.name !== b.name);
    const met: Truth = sets ? { may: and(truth.may, some(binary("and", attr(a.side, `${a.name}.bits`), attr(b.side, `${b.name}.bits`)))), must: truth.must } : truth;
    return op === "ne" ? opposite(met) : met;
  }

  /** Compares two sums: what both have goes, the rest is put where it counts positive, so that little is calculated. */
  #ordered(op: "eq" | "lt" | "le", x: Linear, y: Linear): Truth {
    // A value that is only compared may be anything; one that is calculated with must not have wrapped, even if it cancels.
    if (!bare(x) || !bare(y)) for (const side of [x, y]) for (const { part } of side.terms.values()) this.#reckon(part);
    const d = sum(x, y, -1);
    let [l, r] = [x, y];
    if (d) {
      l = positive(d, 1);
      r = positive(d, -1);
    }
    const [a, b] = [this.#bounds(l), this.#bounds(r)];
    switch (op) {
      case "lt": return { may: lt(a.lo, b.hi), must: lt(a.hi, b.lo) };
      case "le": return { may: le(a.lo, b.hi), must: le(a.hi, b.lo) };
      case "eq": return { may: and(le(a.lo, b.hi), le(b.lo, a.hi)), must: and(eq(a.lo, b.hi), eq(a.hi, b.lo)) };
    }
  }

  #bounds(x: Linear): { lo: ScalarExpr; hi: ScalarExpr } {
    let [lo, hi]: [ScalarExpr | undefined, ScalarExpr | undefined] = [undefined, undefined];
    for (const { coef, part } of x.terms.values()) {
      const [a, b] = coef > 0 ? [part.lo, part.hi] : [part.hi, part.lo];
      const scaled = (e: ScalarExpr): ScalarExpr => (Math.abs(coef) === 1 ? e : mul(e, i32(Math.abs(coef))));
      const join = (to: ScalarExpr | undefined, e: ScalarExpr): ScalarExpr => (to ? binary(coef > 0 ? "add" : "sub", to, scaled(e)) : coef > 0 ? scaled(e) : unary("neg", scaled(e)));
      [lo, hi] = [join(lo, a), join(hi, b)];
    }
    return { lo: lo ? add(lo, i32(x.plus)) : i32(x.plus), hi: hi ? add(hi, i32(x.plus)) : i32(x.plus) };
  }

  /** Undefined: nothing is known of it. */
  #linear(e: ScalarExpr): Linear | undefined {
    if (e.type !== "i32") return undefined;
    switch (e.kind) {
      case "const": return { terms: new Map(), plus: e.value, size: Math.abs(e.value) };
      case "attr": return this.#part(e, { lo: attr(e.side, `${e.name}.lo`), hi: attr(e.side, `${e.name}.hi`), size: tame, leaf: e });
      case "name": case "length": return this.#part(e, { lo: e, hi: e, size: tame, leaf: e });
      case "builtin": return undefined;
      case "unary": {
        const x = e.op === "neg" || e.op === "abs" ? this.#linear(e.a) : undefined;
        if (!x) return undefined;
        if (e.op === "neg") return scale(x, -1);
        const { lo, hi } = this.#value(x);
        return this.#part(e, { lo: max(max(lo, unary("neg", hi)), i32(0)), hi: max(hi, unary("neg", lo)), size: x.size });
      }
      case "binary": return this.#operation(e, e.op, e.a, e.b);
      case "select": {
        const [c, a, b] = [this.truth(e.cond), this.#linear(e.a), this.#linear(e.b)];
        if (!a || !b) return undefined;
        const [x, y] = [this.#value(a), this.#value(b)];
        const choose = (f: "lo" | "hi"): ScalarExpr => select(c.must, x[f], select(c.may, (f === "lo" ? min : max)(x[f], y[f]), y[f]));
        return this.#part(e, { lo: choose("lo"), hi: choose("hi"), size: Math.max(a.size, b.size) });
      }
    }
  }

  #operation(e: ScalarExpr, op: BinaryOp, left: ScalarExpr, right: ScalarExpr): Linear | undefined {
    const [a, b] = [this.#linear(left), this.#linear(right)];
    if (!a || !b) return undefined;
    const by = b.terms.size === 0 ? b.plus : undefined;
    switch (op) {
      case "add": return sum(a, b, 1);
      case "sub": return sum(a, b, -1);
      case "mul": {
        if (by !== undefined) return scale(a, by);
        if (a.terms.size === 0) return scale(b, a.plus);
        const size = a.size * b.size;
        if (size > most) return undefined;
        const [x, y] = [this.#value(a), this.#value(b)];
        const corners = [mul(x.lo, y.lo), mul(x.lo, y.hi), mul(x.hi, y.lo), mul(x.hi, y.hi)];
        return this.#part(e, { lo: corners.reduce(min), hi: corners.reduce(max), size });
      }
      case "div": {
        if (by === undefined || by === 0) return undefined;
        const { lo, hi } = this.#value(a);
        const [x, y] = by > 0 ? [lo, hi] : [hi, lo];
        return this.#part(e, { lo: div(x, i32(by)), hi: div(y, i32(by)), size: Math.floor(a.size / Math.abs(by)) });
      }
      case "mod": {
        if (by === undefined || by < 1) return undefined;
        const { lo, hi } = this.#value(a);
        // Within one run of `by` values the remainder grows with the value.
        const run = and(le(i32(0), lo), eq(div(lo, i32(by)), div(hi, i32(by))));
        return this.#part(e, {
          lo: select(run, mod(lo, i32(by)), select(le(i32(0), lo), i32(0), i32(1 - by))),
          hi: select(run, mod(hi, i32(by)), max(i32(0), min(hi, i32(by - 1)))), size: Math.min(by - 1, a.size),
        });
      }
      case "min": case "max": {
        const [x, y] = [this.#value(a), this.#value(b)];
        return this.#part(e, { lo: binary(op, x.lo, y.lo), hi: binary(op, x.hi, y.hi), size: Math.max(a.size, b.size) });
      }
      default: return undefined;
    }
  }

  /** A value met more than once is one term: it cancels against itself. */
  #part(e: ScalarExpr, part: Part): Linear {
    return { terms: new Map([[exprText(e), { coef: 1, part }]]), plus: 0, size: part.size };
  }

  /** Bounds that go into further calculation. */
  #value(x: Linear): { lo: ScalarExpr; hi: ScalarExpr } {
    for (const { part } of x.terms.values()) this.#reckon(part);
    return this.#bounds(x);
  }

  #reckon(part: Part): void {
    if (part.leaf) this.#reckoned.set(exprText(part.leaf), part.leaf);
  }

  /** True where a leaf that was calculated with may be beyond its assumed bounds. */
  wild(): ScalarExpr | undefined {
    const tests = [...this.#reckoned.values()].map((e) => {
      const [lo, hi] = e.kind === "attr" ? [attr(e.side, `${e.name}.lo`), attr(e.side, `${e.name}.hi`)] : [e, e];
      return or(lt(lo, i32(-tame)), lt(i32(tame), hi));
    });
    return tests.length === 0 ? undefined : tests.reduce(or);
  }
}

/** A constant, or one value as it is. */
const bare = (x: Linear): boolean => x.terms.size === 0 || (x.plus === 0 && x.terms.size === 1 && [...x.terms.values()].every((t) => t.coef === 1));

/** The half of a sum with positive (or, for sign -1, negative) terms, as it stands on its own side of a comparison. */
function positive(x: Linear, sign: 1 | -1): Linear {
  const terms = new Map([...x.terms].filter(([, t]) => t.coef * sign > 0).map(([key, t]) => [key, { ...t, coef: t.coef * sign }]));
  return { terms, plus: x.plus * sign > 0 ? x.plus * sign : 0, size: x.size };
}

function sum(a: Linear, b: Linear, sign: 1 | -1): Linear | undefined {
  const terms = new Map(a.terms);
  for (const [key, t] of b.terms) {
    const coef = (terms.get(key)?.coef ?? 0) + sign * t.coef;
    if (coef === 0) terms.delete(key);
    else terms.set(key, { ...t, coef });
  }
  return sized({ terms, plus: a.plus + sign * b.plus });
}

const scale = (x: Linear, by: number): Linear | undefined =>
  sized({ terms: by === 0 ? new Map() : new Map([...x.terms].map(([key, t]) => [key, { ...t, coef: t.coef * by }])), plus: x.plus * by });

function sized(x: Omit<Linear, "size">): Linear | undefined {
  let size = Math.abs(x.plus);
  for (const t of x.terms.values()) size += Math.abs(t.coef) * t.part.size;
  return size <= most ? { ...x, plus: x.plus + 0, size } : undefined;
}

/** The one attribute that a predicate reads, where it compares it for equality: then its values in the tile are worth knowing. */
function tableLeaf(e: ScalarExpr): (ScalarExpr & { kind: "attr" }) | undefined {
  let found: (ScalarExpr & { kind: "attr" }) | undefined;
  let one = true;
  let equality = false;
  const see = (x: ScalarExpr): void => {
    if (x.kind === "attr") {
      one &&= x.type === "i32" && (found === undefined || (found.side === x.side && found.name === x.name));
      found = x;
    } else if (x.kind === "name" || x.kind === "length" || x.kind === "builtin") one = false;
    if (x.kind === "binary" && (x.op === "eq" || x.op === "ne") && x.a.type === "i32") equality = true;
    children(x).forEach(see);
  };
  see(e);
  return one && equality ? found : undefined;
}

/** Least, greatest and small values of each attribute of a tile. */
export type TileFacts = Readonly<Record<string, number>>;
export type TileClass = "empty" | "full" | "mixed";

/** The facts of a tile whose tokens have these values. */
export function tileFacts(values: Readonly<Record<string, ArrayLike<number>>>): TileFacts {
  const out: Record<string, number> = {};
  for (const [name, list] of Object.entries(values)) {
    let [lo, hi, bits] = [most, other, 0];
    for (let i = 0; i < list.length; i++) {
      const v = list[i] ?? 0;
      lo = Math.min(lo, v);
      hi = Math.max(hi, v);
      bits |= v >= 0 && v < bitValues ? 1 << v : other;
    }
    out[`${name}.lo`] = lo;
    out[`${name}.hi`] = hi;
    out[`${name}.bits`] = bits;
  }
  return out;
}

/** What is known of the pairs of two tiles; `names` gives `head` and lengths that the mask reads. */
export function classify(mask: ScalarExpr | TileTruth, q: TileFacts, k: TileFacts, names: Readonly<Record<string, number>> = {}): TileClass {
  const truth = "may" in mask ? mask : tileTruth(mask);
  const env = { q, k, names, lengths: names };
  if (evalExpr(truth.may, env) === 0) return "empty";
  return evalExpr(truth.must, env) !== 0 ? "full" : "mixed";
}
