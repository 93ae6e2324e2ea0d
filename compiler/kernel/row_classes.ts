// Rows sorted by class: which rows a tile of a grouped product has, and which slots a class. In: order (the row in each slot) and
// offset (first slot of each class) as functions. Out: coordinates of rows by slot. A tile has rows of one class only: tile y
// belongs to the class e with start(e) <= y < start(e + 1), where start(e) = offset[e] / tile + e. That is at least as many tiles
// as the class fills, so no table is needed: the class is found by bisection, and no more than `classes` tiles have no work.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, bool, div, i32, lt, mod, mul, name as ref, select, sub } from "../scalar/expr.ts";
import type { Body, Point, SpaceAxis } from "./body.ts";
import { spaceSize } from "./body.ts";
import { constantOf, coordinates, max, min } from "./space.ts";

export interface RowClasses {
  /** Axes whose points are the rows, major first. */
  readonly rows: readonly SpaceAxis[];
  /** The axis by which operands know the class; its size is the number of classes that rows are sorted into. */
  readonly classes: SpaceAxis;
  /** Class of coordinate 0, in sums by class, whose result may have some of the classes only. */
  readonly first: number;
  /** The row in a slot. */
  readonly order: (b: Body, slot: ScalarExpr) => ScalarExpr;
  /** First slot of a class; of the class after the last one: how many rows are in any class. */
  readonly offset: (b: Body, cls: ScalarExpr) => ScalarExpr;
}

/** How many points there are, and which. */
export interface Extent {
  readonly size: ScalarExpr;
  readonly point: (b: Body, index: ScalarExpr) => Point;
}

export const extentOf = (axes: readonly SpaceAxis[]): Extent => ({ size: spaceSize(axes), point: (_, i) => coordinates(axes, i) });

/** Held to 0 .. size - 1: what is loaded has no bounds of its own. */
const held = (e: ScalarExpr, size: ScalarExpr): ScalarExpr => min(max(e, i32(0)), add(size, i32(-1)));

/** Coordinates of the row in a slot, and of `rest` beside it; `index` counts slots major, rest minor. */
export function slotPoint(b: Body, c: RowClasses, rest: readonly SpaceAxis[], index: ScalarExpr): Point {
  const size = spaceSize(c.rows);
  const inner = spaceSize(rest);
  const one = constantOf(inner) === 1;
  const at = b.let(held(index, mul(size, inner)), "slot");
  const row = b.let(held(c.order(b, one ? at : b.let(div(at, inner), "slot")), size), "row");
  return { ...coordinates(c.rows, row), ...(one ? {} : coordinates(rest, b.let(mod(at, inner), "rest"))) };
}

/** Tiles that are enough for any routing of all rows: one more a class, and the rows that are in none. */
export const tileCount = (c: RowClasses, rest: readonly SpaceAxis[], tile: number): ScalarExpr =>
  add(div(mul(spaceSize(c.rows), spaceSize(rest)), i32(tile)), add(c.classes.size, i32(1)));

export interface TileOfRows {
  /** The number of classes for rows that are in none. */
  readonly cls: ScalarExpr;
  /** Points (slots times rest) of the tile: from `first`, below `end`; none when `first` is not below `end`. */
  readonly first: ScalarExpr;
  readonly end: ScalarExpr;
}

/** The class of a tile, by bisection; `b` runs in as many lanes as it likes. */
export function classOfTile(b: Body, c: RowClasses, rest: readonly SpaceAxis[], tile: number, y: ScalarExpr): ScalarExpr {
  const count = c.classes.size;
  const cls = b.var(i32(0), "cls");
  const step = (body: Body, by: ScalarExpr): void => {
    const probe = body.let(add(cls, by), "probe");
    body.if(binary("le", probe, count), (inside) =>
      inside.if(binary("le", startOf(inside, c, rest, tile, probe).start, y), (hit) => hit.assign(cls, probe)));
  };
  const most = constantOf(count);
  if (most === undefined) b.loop(i32(0), i32(24), 1, (body, i) => step(body, body.let(binary("shl", i32(1), sub(i32(23), i)), "by")));
  else for (let by = 2 ** Math.floor(Math.log2(Math.max(1, most))); by >= 1; by /= 2) step(b, i32(by));
  // What the var holds now, under a name of its own.
  const found = b.parts.fresh("class");
  b.parts.home.set(found, b);
  b.stmts.push({ kind: "let", name: found, value: cls });
  return ref(found, "i32");
}

function startOf(b: Body, c: RowClasses, rest: readonly SpaceAxis[], tile: number, cls: ScalarExpr): { readonly start: ScalarExpr; readonly from: ScalarExpr } {
  const from = mul(c.offset(b, held(cls, add(c.classes.size, i32(1)))), spaceSize(rest));
  return { start: add(div(from, i32(tile)), cls), from };
}

/** The points of a tile whose class is known. */
export function pointsOfTile(b: Body, c: RowClasses, rest: readonly SpaceAxis[], tile: number, y: ScalarExpr, cls: ScalarExpr): TileOfRows {
  const inner = spaceSize(rest);
  const { start, from } = startOf(b, c, rest, tile, cls);
  const first = b.let(add(from, mul(sub(y, start), i32(tile))), "first");
  const next = b.let(mul(c.offset(b, held(add(cls, i32(1)), add(c.classes.size, i32(1)))), inner), "next");
  const end = b.let(select(lt(cls, c.classes.size), next, mul(spaceSize(c.rows), inner)), "end");
  return { cls, first, end };
}

/** The coordinate of a class, inside the classes whatever it is. */
export const classPoint = (c: RowClasses, cls: ScalarExpr): Point => ({ [c.classes.name]: held(cls, c.classes.size) });

/** Slots of a class, by its coordinate. */
export function slotsOfClass(b: Body, c: RowClasses, at: ScalarExpr): { readonly from: ScalarExpr; readonly to: ScalarExpr } {
  const rows = spaceSize(c.rows);
  const cls = add(at, i32(c.first));
  const load = (e: ScalarExpr): ScalarExpr => c.offset(b, held(e, add(c.classes.size, i32(1))));
  return { from: b.let(max(i32(0), load(cls)), "from"), to: b.let(min(load(add(cls, i32(1))), rows), "to") };
}

/** True unless the rows may be none: then an access to them needs this guard. */
export function someRows(c: RowClasses, rest: readonly SpaceAxis[]): ScalarExpr {
  const size = mul(spaceSize(c.rows), spaceSize(rest));
  const n = constantOf(size);
  return n === undefined ? lt(i32(0), size) : bool(n > 0);
}
