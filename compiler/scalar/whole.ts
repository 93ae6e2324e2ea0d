// In: whole numbers of a mask, score or attribute. Out: `a / b` and `a % b` as the language means them: the quotient is rounded
// down and the remainder has the sign of b, so that -1 / 4 is -1 and -1 % 4 is 3. The ops `div` and `mod` truncate, and are
// asked only about dividends that are not negative. Where a cannot be negative the plain op is all there is.

import type { ScalarExpr } from "./expr.ts";
import { binary, div, i32, lt, mod, mul, select, sub } from "./expr.ts";

/** Attributes that are never below 0 where it matters: only padding has -1, and no mask of it counts. */
const counted: ReadonlySet<string> = new Set(["pos", "doc", "span", "index", "stream", "task", "role", "row", "col", "frame", "scale", "time"]);

/** Whether a value is at least 0 by its form alone. A task may set `frame` and `scale` below 0 only against E0238. */
export function neverNegative(e: ScalarExpr): boolean {
  switch (e.kind) {
    case "const": return e.value >= 0;
    case "length": case "builtin": return true;
    case "attr": return counted.has(e.name);
    case "name": return e.name === "head" || e.name === "layer";
    case "unary": return e.op === "abs";
    case "select": return neverNegative(e.a) && neverNegative(e.b);
    case "binary":
      if (e.op === "max") return neverNegative(e.a) || neverNegative(e.b);
      return (e.op === "add" || e.op === "mul" || e.op === "div" || e.op === "mod" || e.op === "min") && neverNegative(e.a) && neverNegative(e.b);
  }
}

const positive = (e: ScalarExpr): boolean => e.kind === "const" && e.value > 0;

/** a / b, rounded down. */
export function floorDiv(a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  if (neverNegative(a) && (positive(b) || neverNegative(b))) return div(a, b);
  // For a below 0 the distance from -1 is counted upwards: -1 - (-1 - a) / b.
  if (positive(b)) return select(lt(a, i32(0)), sub(i32(-1), div(sub(i32(-1), a), b)), div(a, b));
  const away = select(lt(b, i32(0)), sub(i32(0), a), a);
  const size = binary("max", b, sub(i32(0), b));
  return select(lt(away, i32(0)), sub(i32(-1), div(sub(i32(-1), away), size)), div(away, size));
}

/** a - b * (a / b), with the sign of b. */
export function floorMod(a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  if (neverNegative(a) && (positive(b) || neverNegative(b))) return mod(a, b);
  if (positive(b)) return select(lt(a, i32(0)), sub(sub(b, i32(1)), mod(sub(i32(-1), a), b)), mod(a, b));
  return sub(a, mul(b, floorDiv(a, b)));
}

/** A float's remainder, by the same rule. */
export const floorModFloat = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => sub(a, mul(b, { kind: "unary", type: "f32", op: "floor", a: div(a, b) }));

/** A condition as a whole number, 1 or 0. */
export const asWhole = (e: ScalarExpr): ScalarExpr => (e.type === "bool" ? select(e, i32(1), i32(0)) : e);
