// What the attention kernels share: visibility and score of a pair, the register tile of logits, row accumulators.
// In: an AttendSpec and accessors for blocks of queries and keys. Out: statements and values; nothing about grids.

import { derive } from "../scalar/derive.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, f32, i32, lt, mapExpr, mul, select, unary } from "../scalar/expr.ts";
import type { Body, KernelParts, Point, PointFn, SpaceAxis } from "./body.ts";
import { mergePoint } from "./coords.ts";
import { constantOf, forEachRun, max, min } from "./space.ts";
import type { AttendSpec, ScoreTable } from "./templates.ts";

/** Stands for "no logit yet": finite, since WGSL may assume that infinities do not occur. */
export const floor = f32(-1e30);

/** One query or key of a block: its coordinates for loads (clamped), and whether it exists. */
export interface Token {
  readonly at: Point;
  readonly exists: ScalarExpr | undefined;
  readonly attrs: Readonly<Record<string, ScalarExpr>>;
}

/** Value of a token of a block along width or value: (body, token, coordinate). */
export type TokenFn = (b: Body, token: number, at: ScalarExpr) => ScalarExpr;

/** Clamped coordinate, and the test that it was not clamped; neither when a constant size holds whole blocks. */
export function clampToken(b: Body, index: ScalarExpr, axis: SpaceAxis, block: number): { index: ScalarExpr; exists: ScalarExpr | undefined } {
  const size = constantOf(axis.size);
  if (size !== undefined && size % block === 0) return { index: b.let(index), exists: undefined };
  return { index: b.let(min(index, add(axis.size, i32(-1))), "edge"), exists: b.let(lt(index, axis.size), "exists") };
}

/** The tokens of a block that starts at `from`, which a loop keeps inside the axis: the first one always exists. Attributes
 *  that only the mask reads are not loaded where tiles may do without them, unless the block is the invocation's own. */
export function blockTokens(b: Body, spec: AttendSpec, side: "q" | "k", count: number, from: ScalarExpr, around: Point, own = !spec.tiles): Token[] {
  const axis = side === "q" ? spec.query : spec.key;
  return Array.from({ length: count }, (_, i) => {
    const { index, exists } = i === 0 ? { index: from, exists: undefined } : clampToken(b, add(from, i32(i)), axis, count);
    const at = { ...around, [axis.name]: index };
    return { at, exists, attrs: loadAttrs(b, spec, side, at, own ? undefined : scoreExprs(spec)) };
  });
}

const scoreExprs = (spec: AttendSpec): readonly (ScalarExpr | undefined)[] => [spec.score, ...(spec.tables ?? []).map((t) => t.index)];

/** Loads the attributes that mask and score read on one side, or those of other expressions. */
export function loadAttrs(
  b: Body, spec: AttendSpec, side: "q" | "k", at: Point, of: readonly (ScalarExpr | undefined)[] = [spec.mask, ...scoreExprs(spec)],
): Record<string, ScalarExpr> {
  const source: Readonly<Record<string, PointFn>> = side === "q" ? spec.qAttr : spec.kAttr;
  const out: Record<string, ScalarExpr> = {};
  for (const n of attrNames(of, side)) {
    const f = source[n];
    if (!f) throw new Error(`attend: no value for attribute ${side}.${n}`);
    out[n] = b.let(f(b, at), `${side}_${n}`);
  }
  return out;
}

/** Attributes that expressions read on one side, sorted. */
function attrNames(of: readonly (ScalarExpr | undefined)[], side: "q" | "k"): string[] {
  const names = new Set<string>();
  for (const e of of)
    if (e) mapExpr(e, (x) => {
      if (x.kind === "attr" && x.side === side) names.add(x.name);
      return x;
    });
  return [...names].sort();
}

/** What the name `head` says at these coordinates. */
export const headAt = (spec: AttendSpec, at: Point): ScalarExpr => mergePoint(spec.heads ?? [], at);

/** `e` at a pair: its attributes, its head, what the tables hold there, and the logit `s` if it has one. */
function bind(b: Body, spec: AttendSpec, e: ScalarExpr, q: Token, k: Token, s?: ScalarExpr): ScalarExpr {
  return mapExpr(e, (x) => {
    if (x.kind === "name") {
      if (x.name === "s" && s) return s;
      if (x.name === "head") return headAt(spec, q.at);
      const table = spec.tables?.find((t) => t.name === x.name);
      return table ? table.value(b, { ...q.at, ...tablePlace(b, spec, table, q, k) }) : x;
    }
    if (x.kind !== "attr") return x;
    const value = (x.side === "q" ? q : k).attrs[x.name];
    if (!value) throw new Error(`attend: attribute ${x.side}.${x.name} was not loaded`);
    return value;
  });
}

/** The coordinate of a pair along the table's own axis; none where it has no axis. */
export function tablePlace(b: Body, spec: AttendSpec, table: ScoreTable, q: Token, k: Token): Point {
  if (!table.axis || !table.index) return {};
  return { [table.axis.name]: max(i32(0), min(bind(b, spec, table.index, q, k), add(table.axis.size, i32(-1)))) };
}

/** Whether the query sees the key; undefined when every pair of the block does. */
export function visible(b: Body, spec: AttendSpec, q: Token, k: Token): ScalarExpr | undefined {
  const parts = [k.exists, q.exists, spec.mask && bind(b, spec, spec.mask, q, k)].filter((x) => x !== undefined);
  if (parts.length === 0) return undefined;
  return b.let(parts.reduce(and), "see");
}

/** Runs `then` only if some pair of the block is visible (always, when nothing masks). */
export function ifAny(b: Body, see: readonly (readonly (ScalarExpr | undefined)[])[], then: (b: Body) => void): void {
  const flat = see.flat();
  if (flat.some((v) => v === undefined)) then(b);
  else b.if((flat as ScalarExpr[]).reduce((x, y) => binary("or", x, y)), then);
}

/** The score of a scaled logit, named. */
export function scored(b: Body, spec: AttendSpec, q: Token, k: Token, dot: ScalarExpr): ScalarExpr {
  const s = b.let(mul(dot, f32(spec.scale)), "s");
  return spec.score ? b.let(bind(b, spec, spec.score, q, k, s), "score") : s;
}

/** d score / d dot: the score's derivative by its logit times the scale. */
export function scoreSlope(b: Body, spec: AttendSpec, q: Token, k: Token, dot: ScalarExpr): ScalarExpr {
  if (!spec.score) return f32(spec.scale);
  const s = b.let(mul(dot, f32(spec.scale)), "s");
  return mul(bind(b, spec, derive(spec.score, "s"), q, k, s), f32(spec.scale));
}

/** d score / d what the score reads from a table. */
export function tableSlope(b: Body, spec: AttendSpec, table: ScoreTable, q: Token, k: Token, dot: ScalarExpr): ScalarExpr {
  if (!spec.score) return f32(0);
  const s = b.let(mul(dot, f32(spec.scale)), "s");
  return bind(b, spec, derive(spec.score, table.name), q, k, s);
}

export const orElse = (see: ScalarExpr | undefined, value: ScalarExpr, otherwise: ScalarExpr): ScalarExpr =>
  see ? select(see, value, otherwise) : value;

/** Register tile of dot products along `axis`: rows x cols vars. */
export function dots(b: Body, axis: SpaceAxis, rows: number, cols: number, left: TokenFn, right: TokenFn, unroll: number): ScalarExpr[][] {
  const sums = Array.from({ length: rows }, () => Array.from({ length: cols }, () => b.var(f32(0), "dot")));
  forEachRun(b, [axis], unroll, (body, run) => {
    const at = run.map((p) => p[axis.name] as ScalarExpr);
    const rights = Array.from({ length: cols }, (_, c) => at.map((w) => body.let(right(body, c, w))));
    sums.forEach((row, r) => {
      const lefts = at.map((w) => body.let(left(body, r, w)));
      row.forEach((sum, c) => {
        const products = lefts.map((l, u) => mul(l, rights[c]?.[u] as ScalarExpr));
        body.assign(sum, add(sum, products.reduce((x, y) => add(x, y))));
      });
    });
  });
  return sums;
}

/** Rows of running sums along a constant axis: named vars when they are few enough for registers, else a private array. */
export class RowSums {
  readonly #vars: ScalarExpr[][] | undefined;
  readonly #array: string = "";
  readonly #rows: number;
  readonly #size: number;
  readonly #parts: KernelParts;
  #settled: string | undefined;

  constructor(b: Body, parts: KernelParts, rows: number, axis: SpaceAxis) {
    const size = constantOf(axis.size);
    if (size === undefined) throw new Error(`attend: axis ${axis.name} must have a constant size`);
    this.#rows = rows;
    this.#size = size;
    this.#parts = parts;
    if (rows * size <= 256) this.#vars = Array.from({ length: rows }, () => Array.from({ length: size }, () => b.var(f32(0), "sum")));
    else {
      this.#array = parts.array("sums", "f32", rows * size, "private");
      b.loop(i32(0), i32(rows * size), 1, (body, i) => body.astore(this.#array, i, f32(0)));
    }
  }

  /** Replaces every sum: `next(body, coordinate)` loads what all rows share and gives the new value of a row from its old. */
  update(b: Body, next: (b: Body, at: ScalarExpr) => (row: number, old: ScalarExpr) => ScalarExpr): void {
    this.#each(b, (body, at, sums) => {
      const value = next(body, at);
      sums.forEach((sum, r) => {
        if (this.#vars) body.assign(sum, value(r, sum));
        else body.astore(this.#array, this.#index(r, at), value(r, sum));
      });
    });
  }

  /** Visits the finished sums of one row, in a loop: its body is written once, however many sums there are. */
  row(b: Body, r: number, visit: (b: Body, at: ScalarExpr, sum: ScalarExpr) => void): void {
    const vars = this.#vars?.[r];
    if (!vars) {
      b.loop(i32(0), i32(this.#size), 1, (body, at) => visit(body, at, body.aload(this.#array, this.#index(r, at))));
      return;
    }
    this.#settled ??= this.#parts.array("settled", "f32", this.#size, "private");
    const array = this.#settled;
    vars.forEach((sum, i) => b.astore(array, i32(i), sum));
    b.loop(i32(0), i32(this.#size), 1, (body, at) => visit(body, at, body.aload(array, at)));
  }

  #index(r: number, at: ScalarExpr): ScalarExpr {
    return add(i32(r * this.#size), at);
  }

  #each(b: Body, f: (b: Body, at: ScalarExpr, sums: ScalarExpr[]) => void): void {
    const rows = Array.from({ length: this.#rows }, (_, r) => r);
    const vars = this.#vars;
    if (vars) for (let v = 0; v < this.#size; v++) f(b, i32(v), rows.map((r) => vars[r]?.[v] as ScalarExpr));
    else b.loop(i32(0), i32(this.#size), 1, (body, at) => f(body, at, rows.map((r) => body.aload(this.#array, this.#index(r, at)))));
  }
}

/** exp(x - top) for a visible pair, 0 for another; x - top is at most 0 but for rounding, and is held there. */
export const weight = (see: ScalarExpr | undefined, x: ScalarExpr, top: ScalarExpr): ScalarExpr =>
  orElse(see, unary("exp", min(binary("sub", x, top), f32(0))), f32(0));

export const largest = (values: readonly ScalarExpr[]): ScalarExpr => values.reduce(max);
export const total = (values: readonly ScalarExpr[]): ScalarExpr => values.reduce((x, y) => add(x, y));
