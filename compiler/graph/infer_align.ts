// Axes of several operands aligned by name. In: operand types. Out: the union of their axes in a sensible memory order.
// Refuses sizes that disagree.

import { dimValue } from "../dim/dim.ts";
import type { Axis } from "./graph.ts";
import { type Args, findAxis, sameSize } from "./infer_checks.ts";

const hasLength = (axes: readonly Axis[]): boolean => axes.some((a) => dimValue(a.size) === undefined);

/**
 * Union of two axis lists, in a sensible memory order. The longer list leads (the first of two equals). A missing axis goes
 * right after the axis that precedes it in its own list, or to the front. Lists that share nothing are put one after the
 * other, the one with a run-time length first.
 */
function combine(a: readonly Axis[], b: readonly Axis[]): Axis[] {
  const shared = a.some((x) => b.some((y) => y.name === x.name));
  if (!shared) return hasLength(b) && !hasLength(a) ? [...b, ...a] : [...a, ...b];
  const [base, other] = b.length > a.length ? [b, a] : [a, b];
  const out = [...base];
  let place = 0;
  for (const x of other) {
    const there = out.findIndex((y) => y.name === x.name);
    if (there >= 0) place = there + 1;
    else out.splice(place++, 0, x);
  }
  return out;
}

/** Axes of an elementwise result: aligned by name, sizes checked. */
export function alignAxes(args: Args): Axis[] {
  let out: Axis[] = [];
  args.forEach((t, j) => {
    for (const x of t.axes)
      args.slice(0, j).forEach((u, i) => {
        const y = findAxis(u, x.name);
        if (y) sameSize(x.name, i, y.size, j, x.size);
      });
    out = combine(out, t.axes);
  });
  return out;
}
