// In: an i32 ScalarExpr over lengths and constants (sizes, grids, counts). Out: its value, or the names it mentions.
// Refuses names, builtins and loads: such an expression has no value before a dispatch runs (a bug of the builder).

import type { ScalarExpr } from "../scalar/expr.ts";
import { children } from "../scalar/expr.ts";

export type Lengths = Readonly<Record<string, number>>;

/** Value under the lengths; division truncates, as sizes are never negative. Throws RangeError for a missing length. */
export function evalSize(e: ScalarExpr, lengths: Lengths): number {
  switch (e.kind) {
    case "const": return e.value;
    case "length": {
      const v = lengths[e.name];
      if (v === undefined) throw new RangeError(`length \`${e.name}\` is not given`);
      return v;
    }
    case "select": return evalSize(e.cond, lengths) !== 0 ? evalSize(e.a, lengths) : evalSize(e.b, lengths);
    case "unary":
      if (e.op === "neg") return -evalSize(e.a, lengths);
      break;
    case "binary": {
      const a = evalSize(e.a, lengths);
      const b = evalSize(e.b, lengths);
      switch (e.op) {
        case "add": return a + b;
        case "sub": return a - b;
        case "mul": return a * b;
        case "div": return b === 0 ? 0 : Math.trunc(a / b);
        case "mod": return b === 0 ? 0 : a % b;
        case "min": return Math.min(a, b);
        case "max": return Math.max(a, b);
        case "eq": return a === b ? 1 : 0;
        case "ne": return a !== b ? 1 : 0;
        case "lt": return a < b ? 1 : 0;
        case "le": return a <= b ? 1 : 0;
        default: break;
      }
    }
  }
  throw new Error(`not a size: ${e.kind}${"op" in e ? ` ${e.op}` : ""}`);
}

/** Names of the lengths an expression mentions, in order of first mention. */
export function lengthsOf(e: ScalarExpr, into = new Set<string>()): Set<string> {
  if (e.kind === "length") into.add(e.name);
  for (const c of children(e)) lengthsOf(c, into);
  return into;
}
