// In: coordinates as i32 expressions. Out: coordinates of another view of the same points (split, merge), simplified so that
// taking apart and putting together cancel, and the key by which two coordinates are compared. Refuses nothing.

import type { Dim } from "../dim/dim.ts";
import { dimQuotient } from "../dim/dim.ts";
import type { Axis } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, children, div, i32, length, mod, mul } from "../scalar/expr.ts";
import type { Point, SpaceAxis } from "./body.ts";

/** A symbolic size as an i32 expression over lengths. */
export function dimExpr(d: Dim): ScalarExpr {
  let sum: ScalarExpr = i32(0);
  for (const t of d.terms) {
    let product: ScalarExpr = i32(t.coef);
    for (const v of t.vars) {
      const q = dimQuotient(v);
      product = mul(product, q ? div(dimExpr(q.num), dimExpr(q.den)) : length(v));
    }
    sum = add(sum, product);
  }
  return sum;
}

export const spaceAxis = (a: Axis): SpaceAxis => ({ name: a.name, size: dimExpr(a.size) });

const keys = new WeakMap<ScalarExpr, string>();

/** Structural identity of an expression. */
export function exprKey(e: ScalarExpr): string {
  const known = keys.get(e);
  if (known !== undefined) return known;
  const own = e.kind === "const" ? `${e.value}${e.type}`
    : e.kind === "unary" || e.kind === "binary" ? e.op
    : e.kind === "select" ? "select"
    : e.kind === "attr" ? `${e.side}.${e.name}`
    : `${e.kind[0]}:${e.name}`;
  const inner = children(e);
  const key = inner.length === 0 ? own : `${own}(${inner.map(exprKey).join(",")})`;
  keys.set(e, key);
  return key;
}

export const sameExpr = (a: ScalarExpr, b: ScalarExpr): boolean => a === b || exprKey(a) === exprKey(b);

/** Merged coordinates remember their parts, so that taking them apart again is free. */
const merged = new WeakMap<ScalarExpr, { high: ScalarExpr; size: ScalarExpr; low: ScalarExpr }>();

/** `high * size + low`, with low below size. */
export function combine(high: ScalarExpr, size: ScalarExpr, low: ScalarExpr): ScalarExpr {
  if (size.kind === "const" && size.value === 1) return high;
  if (high.kind === "binary" && low.kind === "binary" && high.op === "div" && low.op === "mod"
    && sameExpr(high.a, low.a) && sameExpr(high.b, size) && sameExpr(low.b, size)) return high.a;
  const e = add(mul(high, size), low);
  if (e !== low && e !== high) merged.set(e, { high, size, low });
  return e;
}

/** The parts of a coordinate made by `combine`. */
export const mergedParts = (e: ScalarExpr): { readonly high: ScalarExpr; readonly size: ScalarExpr; readonly low: ScalarExpr } | undefined => merged.get(e);

export function quot(e: ScalarExpr, size: ScalarExpr): ScalarExpr {
  const m = merged.get(e);
  return m && sameExpr(m.size, size) ? m.high : div(e, size);
}

export function rem(e: ScalarExpr, size: ScalarExpr): ScalarExpr {
  const m = merged.get(e);
  return m && sameExpr(m.size, size) ? m.low : mod(e, size);
}

/** An axis of one place adds nothing to a coordinate. */
const isOne = (a: SpaceAxis): boolean => a.size.kind === "const" && a.size.value === 1;

/** The coordinate of several axes merged, major first. */
export const mergePoint = (axes: readonly SpaceAxis[], at: Point): ScalarExpr =>
  axes.filter((a) => !isOne(a)).reduce<ScalarExpr | undefined>((sum, a) => (sum ? combine(sum, a.size, coordinate(at, a.name)) : coordinate(at, a.name)), undefined) ?? i32(0);

/** The coordinates of the axes that one coordinate merges, major first. */
export function splitPoint(axes: readonly SpaceAxis[], whole: ScalarExpr): Point {
  const at: Record<string, ScalarExpr> = {};
  for (const a of axes) at[a.name] = i32(0);
  const long = axes.filter((a) => !isOne(a));
  let rest = whole;
  for (let i = long.length - 1; i >= 0; i--) {
    const axis = long[i] as SpaceAxis;
    at[axis.name] = i === 0 ? rest : rem(rest, axis.size);
    if (i > 0) rest = quot(rest, axis.size);
  }
  return at;
}

export function coordinate(at: Point, axis: string): ScalarExpr {
  const c = at[axis];
  if (!c) throw new Error(`no coordinate for axis ${axis}, only ${Object.keys(at).join(", ")}`);
  return c;
}

export const pointKey = (axes: readonly { readonly name: string }[], at: Point): string => axes.map((a) => exprKey(coordinate(at, a.name))).join(";");
