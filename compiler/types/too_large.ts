// Masks, scores and formulas that stand in each other, held to a size that can be checked and run.
// In: what a declaration was evaluated to. Out: the same, or poison after a report; what is too large once is not made again.

import type { Span } from "../../grammar/source.ts";
import { sizeOf } from "../scalar/size.ts";
import type { Context } from "./context.ts";
import type { Value } from "./values.ts";

/** Leaves and operations. Expressions are trees to the checker and the kernels, so that time and code grow with this. */
const MOST = 20_000;

/** The value of a declaration about tokens, unless masks within masks have made it larger than anything could run. */
export function notTooLarge(cx: Context, what: string, decl: object, v: Value, at: Span): Value {
  // What calls it has no value either, and would ask for it twice again.
  if (v.kind === "poison" && cx.outgrown.size > 0) cx.outgrown.add(decl);
  const size = v.kind === "scalar" || v.kind === "mask" || v.kind === "score" ? sizeOf(v.expr) : 0;
  if (size <= MOST) return v;
  cx.outgrown.add(decl);
  return cx.report("E0247", `${what} has ${size} parts once it is written out, and ${MOST} is the most`, at, {
    help: "what is called in two places stands in both: say it once, or give tokens an `attribute` that says it",
  });
}
