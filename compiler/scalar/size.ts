// How large a scalar is once it is written out: a part that stands in two places counts twice, as it will in a kernel.
// In: a ScalarExpr. Out: how many leaves and operations it has. A part is counted once however often it is shared.

import type { ScalarExpr } from "./expr.ts";
import { children } from "./expr.ts";

const known = new WeakMap<ScalarExpr, number>();

export function sizeOf(e: ScalarExpr): number {
  const old = known.get(e);
  if (old !== undefined) return old;
  let size = 1;
  for (const c of children(e)) size += sizeOf(c);
  known.set(e, size);
  return size;
}
