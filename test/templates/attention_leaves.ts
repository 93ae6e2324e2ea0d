// The leaves of masks and scores: which attributes and names they read. In: expressions. Out: names.

import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { children } from "../../compiler/scalar/expr.ts";

function each(exprs: readonly (ScalarExpr | undefined)[], see: (e: ScalarExpr) => void): void {
  for (const e of exprs) {
    if (!e) continue;
    see(e);
    each(children(e), see);
  }
}

/** Attributes read on one side, sorted. */
export function attrsIn(exprs: readonly (ScalarExpr | undefined)[], side: "q" | "k"): string[] {
  const out = new Set<string>();
  each(exprs, (e) => { if (e.kind === "attr" && e.side === side) out.add(e.name); });
  return [...out].sort();
}

export function namesIn(exprs: readonly (ScalarExpr | undefined)[]): Set<string> {
  const out = new Set<string>();
  each(exprs, (e) => { if (e.kind === "name") out.add(e.name); });
  return out;
}

/** Levels of an expression; a leaf is one. */
export const depthOf = (e: ScalarExpr): number => 1 + children(e).reduce((n, x) => Math.max(n, depthOf(x)), 0);
