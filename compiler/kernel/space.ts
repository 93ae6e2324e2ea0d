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

/** Visits every point of the axes in order: nested loops, the last axis in straight-line runs of up to `unroll` points when
 *  its size is constant (one point a run otherwise). */
export function forEachRun(b: Body, axes: readonly SpaceAxis[], unroll: number, visit: (b: Body, run: readonly Point[]) => void, at: Point = {}): void {
  const [axis, ...rest] = axes;
  if (!axis) {
    visit(b, [at]);
    return;
  }
  const size = constantOf(axis.size);
  if (size === 1) {
    forEachRun(b, rest, unroll, visit, { ...at, [axis.name]: i32(0) });
    return;
  }
  if (size === undefined || rest.length > 0) {
    b.loop(i32(0), axis.size, 1, (body, i) => forEachRun(body, rest, unroll, visit, { ...at, [axis.name]: i }));
    return;
  }
  const run = (body: Body, from: ScalarExpr, count: number): void =>
    visit(body, Array.from({ length: count }, (_, j) => ({ ...at, [axis.name]: add(from, i32(j)) })));
  const runs = Math.floor(size / unroll);
  // The loop variable counts runs, not elements: step 1 and a constant bound spare the guard WGSL compilers add.
  if (runs > 1) b.loop(i32(0), i32(runs), 1, (body, r) => run(body, mul(r, i32(unroll)), unroll));
  else if (runs === 1) run(b, i32(0), unroll);
  if (size % unroll > 0) run(b, i32(runs * unroll), size % unroll);
}
