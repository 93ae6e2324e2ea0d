// In: an attention as point functions, with mask and score as expressions. Out: one kernel with online softmax: no buffer
// of queries x keys. An invocation owns a few query rows; keys pass in blocks, as attention_tiles.ts finds them worth it.
// A row that sees nothing gives 0, and lse = -1e30 (its sink, where there is one), by test.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, builtin, div, f32, i32, lt, mul, select, unary } from "../scalar/expr.ts";
import type { KernelParts, Point } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import type { Token, TokenFn } from "./attention_pairs.ts";
import { clampToken, dots, floor, largest, loadAttrs, orElse, RowSums, scored, total, weight } from "./attention_pairs.ts";
import { StagedWalk } from "./attention_staged.ts";
import type { See, Walk } from "./attention_tiles.ts";
import { ListWalk, TileTest } from "./attention_tiles.ts";
import { ceilDiv, constantOf, coordinates, max } from "./space.ts";
import type { AttendForwardSpec, AttendSpec, KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

export interface AttendTile {
  /** Rows an invocation owns, columns (the other side) it passes at a time, invocations a workgroup. */
  readonly rows: number;
  readonly cols: number;
  readonly lanes: number;
  readonly unroll: number;
}

/** Rows so that their sums stay near the register file; from docs/decisions/0003-product-schedules.md. */
export function chooseAttendTile(sumsPerRow: number, target: Target): AttendTile {
  if (target.products === "tiles") return { rows: 1, cols: 4, lanes: 64, unroll: 4 };
  const rows = sumsPerRow <= 64 ? 4 : sumsPerRow <= 128 ? 2 : 1;
  // Four lanes run side by side on software adapters, and a workgroup without a barrier is free to have more.
  return { rows, cols: 4, lanes: 16 / rows, unroll: 2 };
}

export function attendForward(parts: KernelParts, spec: AttendForwardSpec, target: Target): KernelShape {
  const tile = chooseAttendTile(constantOf(spec.value.size) ?? 1, target);
  return forwardKernel(parts, spec, tile, chooseWalk(parts, spec, tile, target));
}

export const chooseWalk = (parts: KernelParts, spec: AttendSpec, tile: AttendTile, target: Target): Walk =>
  (target.products === "tiles" ? StagedWalk.make(parts, spec, target, tile.lanes, tile.cols) : undefined) ?? new ListWalk(spec);

/** The query rows of this invocation, with their attributes. */
export function ownRows(b: Body, spec: AttendSpec, tile: AttendTile, outer: Point, attrs = true): Token[] {
  const first = b.let(mul(add(mul(builtin("group.x"), i32(tile.lanes)), builtin("lane.x")), i32(tile.rows)), "row");
  return Array.from({ length: tile.rows }, (_, r) => {
    const { index, exists } = clampToken(b, add(first, i32(r)), spec.query, tile.rows * tile.lanes);
    const at = { ...outer, [spec.query.name]: index };
    return { at, exists, attrs: attrs ? loadAttrs(b, spec, "q", at) : {} };
  });
}

/** What a row keeps between blocks. */
interface RowState {
  readonly top: ScalarExpr[];
  readonly mass: ScalarExpr[];
  readonly out: RowSums;
}

function forwardKernel(parts: KernelParts, spec: AttendForwardSpec, tile: AttendTile, walk: Walk): KernelShape {
  const b = new Body(parts);
  const outer = coordinates(spec.outer, builtin("group.z"));
  const group = coordinates(spec.group, builtin("group.y"));
  const rows = ownRows(b, spec, tile, { ...outer, ...group });
  const own = rows.map((r) => ({ ...r, exists: undefined }));
  const q = walk.own(b, spec.q, rows, spec.width);
  const state: RowState = {
    top: rows.map(() => b.var(floor, "top")),
    mass: rows.map(() => b.var(f32(0), "mass")),
    out: new RowSums(b, parts, tile.rows, spec.value),
  };
  const test = new TileTest(b, spec, "q", { ...outer, ...group }, mul(builtin("group.x"), i32(tile.rows * tile.lanes)), tile.rows * tile.lanes);
  walk.pass(b, "k", { ...outer, ...group }, test, own, tile.cols, (body, keys, see, k, v) => forwardBlock(body, spec, tile.unroll, own, keys, see, q, k, v, state));
  finishRows(b, spec, rows, state);
  return {
    workgroup: [tile.lanes, 1, 1],
    grid: [ceilDiv(spec.query.size, tile.rows * tile.lanes), spaceSize(spec.group), spaceSize(spec.outer)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}

/** One block of keys against the rows: logits, one rescale a row, weighted values. */
export function forwardBlock(
  b: Body, spec: AttendSpec, unroll: number, rows: readonly Token[], keys: readonly Token[],
  see: See, q: TokenFn, k: TokenFn, v: TokenFn, state: RowState,
): void {
  const dot = dots(b, spec.width, rows.length, keys.length, q, k, unroll);
  const faded: ScalarExpr[] = [];
  const weights: ScalarExpr[][] = [];
  rows.forEach((row, r) => {
    const top = state.top[r] as ScalarExpr;
    const mass = state.mass[r] as ScalarExpr;
    const scores = keys.map((key, c) =>
      b.let(orElse(see[r]?.[c], scored(b, spec, row, key, dot[r]?.[c] as ScalarExpr), floor), "score"));
    const next = b.let(largest([top, ...scores]), "top");
    const fade = b.let(unary("exp", binary("sub", top, next)), "fade");
    const w = scores.map((x, c) => b.let(weight(see[r]?.[c], x, next), "w"));
    b.assign(mass, add(mul(mass, fade), total(w)));
    b.assign(top, next);
    faded.push(fade);
    weights.push(w);
  });
  state.out.update(b, (inner, at) => {
    const values = keys.map((_, c) => inner.let(v(inner, c, at)));
    return (r, old) => total([
      mul(old, faded[r] as ScalarExpr), ...values.map((x, c) => mul(weights[r]?.[c] as ScalarExpr, x)),
    ]);
  });
}

/** Divides by the mass and hands the rows to the sinks. */
export function finishRows(b: Body, spec: AttendForwardSpec, rows: readonly Token[], state: RowState): void {
  rows.forEach((row, r) => {
    const store = (body: Body): void => {
      const { lse, share } = spec.sink ? withSink(body, spec.sink(body, row.at), state, r) : alone(body, state, r);
      spec.lse?.(body, row.at, lse);
      if (spec.out) state.out.row(body, r, (inner, at, sum) => spec.out?.(inner, { ...row.at, [spec.value.name]: at }, inner.let(mul(sum, share))));
    };
    if (row.exists) b.if(row.exists, store);
    else store(b);
  });
}

interface Ending {
  readonly lse: ScalarExpr;
  /** What the sums of values are multiplied by. */
  readonly share: ScalarExpr;
}

function alone(b: Body, state: RowState, r: number): Ending {
  const mass = state.mass[r] as ScalarExpr;
  // The largest logit adds 1, so any row that saw a key has a mass of at least 1.
  const saw = b.let(lt(f32(0), mass), "saw");
  const safe = b.let(select(saw, mass, f32(1)), "mass");
  const share = b.let(select(saw, div(f32(1), safe), f32(0)), "share");
  return { share, lse: b.let(select(saw, add(state.top[r] as ScalarExpr, unary("log", safe)), floor)) };
}

/** One more logit without a value. The mass is at least 1 then, whatever the row saw. */
function withSink(b: Body, sink: ScalarExpr, state: RowState, r: number): Ending {
  const top = b.let(max(state.top[r] as ScalarExpr, sink), "top");
  const fade = b.let(unary("exp", binary("sub", state.top[r] as ScalarExpr, top)), "fade");
  const mass = b.let(add(mul(state.mass[r] as ScalarExpr, fade), unary("exp", binary("sub", sink, top))), "mass");
  return { share: b.let(div(fade, mass), "share"), lse: b.let(add(top, unary("log", mass))) };
}
