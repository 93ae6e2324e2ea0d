// One attention's mask as one predicate a head. In: an attention of a Model. Out: the distinct predicates, each with the heads
// that have it; a mask that does not read `head` is one predicate for all. `layer` was put in when the attention was found.

import { exprText } from "../scalar/print.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { i32, mapExpr } from "../scalar/expr.ts";
import type { Attention } from "../types/model.ts";

export interface HeadMask {
  readonly heads: readonly number[];
  /** Undefined: everything is seen. */
  readonly expr: ScalarExpr | undefined;
}

/** `e` for one head: the name `head` becomes its number, and what that decides is folded. */
export const forHead = (e: ScalarExpr, head: number): ScalarExpr => mapExpr(e, (x) => (x.kind === "name" && x.name === "head" ? i32(head) : x));

export function headMasks(a: Attention): HeadMask[] {
  const all = Array.from({ length: Math.max(1, a.heads) }, (_, h) => h);
  const { mask } = a;
  if (!mask) return [{ heads: all, expr: undefined }];
  const groups = new Map<string, { heads: number[]; expr: ScalarExpr }>();
  for (const h of all) {
    const expr = forHead(mask.expr, h);
    const key = exprText(expr);
    const known = groups.get(key);
    if (known) known.heads.push(h);
    else groups.set(key, { heads: [h], expr });
  }
  return [...groups.values()];
}
