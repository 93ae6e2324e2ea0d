// In: lists of named axes. Out: coordinates from merged indices and back, tile counts, and loops over contracted axes.
// Everything stays plain expressions (not lets), so that tidy.ts can undo a merge that an operand's layout undoes.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, div, i32, mod, mul } from "../scalar/expr.ts";
import type { Body, Point, SpaceAxis } from "./body.ts";
import { spaceSize } from "./body.ts";

export const constantOf = (e: ScalarExpr): number | undefined => (e.kind === "const" ? e.value : undefined);

/** Size of the merged axes, when constant. */
export const constantSize = (axes: readonly SpaceAxis[]): number | undefined => constantOf(spaceSize(axes));

export const min = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("min", a, b);
export const max = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("max", a, b);

/** Rounded-up quotient by a positive constant. */
export const ceilDiv = (a: ScalarExpr, by: number): ScalarExpr => (by === 1 ? a : div(add(a, i32(by - 1)), i32(by)));

/** Coordinates of a merged row-major index. */
export function coordinates(axes: readonly SpaceAxis[], merged: ScalarExpr): Point {
  const at: Record<string, ScalarExpr> = {};
  let rest = merged;
  for (let i = axes.length - 1; i >= 0; i--) {
    const axis = axes[i] as SpaceAxis;
    if (constantOf(axis.size) === 1) at[axis.name] = i32(0);
    else if (axes.slice(0, i).every((a) => constantOf(a.size) === 1)) {
      at[axis.name] = rest;
      rest = i32(0);
    } else {
      at[axis.name] = mod(rest, axis.size);
      rest = div(rest, axis.size);
    }
  }
  return at;
}

/** Visits every point of the axes in order: nested loops, the last axis in straight-line runs of `unroll` when constant. */
export function forEachPoint(b: Body, axes: readonly SpaceAxis[], unroll: number, visit: (b: Body, at: Point) => void, at: Point = {}): void {
  const [axis, ...rest] = axes;
  if (!axis) {
    visit(b, at);
    return;
  }
  const inner = (body: Body, i: ScalarExpr): void => forEachPoint(body, rest, unroll, visit, { ...at, [axis.name]: i });
  const size = constantOf(axis.size);
  if (size === undefined || rest.length > 0) {
    if (size === 1) inner(b, i32(0));
    else b.loop(i32(0), axis.size, 1, inner);
    return;
  }
  const runs = size <= unroll ? 0 : Math.floor(size / unroll);
  // The loop variable counts runs, not elements: step 1 and a constant bound spare the guard WGSL compilers add.
  if (runs > 0) b.loop(i32(0), i32(runs), 1, (body, r) => {
    for (let j = 0; j < unroll; j++) inner(body, add(mul(r, i32(unroll)), i32(j)));
  });
  for (let k = runs * unroll; k < size; k++) inner(b, i32(k));
}
