// In: a contraction (or a sum of several over one output) as point functions of named axes; its rows, or what it contracts, may be
// rows in classes (row_classes.ts). Out: one kernel that computes it in register tiles without workgroup memory ("registers"), or
// by shared tiles (product_tiles.ts). Refuses nothing: several axes merge, run-time sizes clamp loads and guard stores.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, builtin, f32, i32, lt, mul } from "../scalar/expr.ts";
import type { KernelParts, Point, SpaceAxis } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import { productTiles, resultsOf, rowsExpected } from "./product_tiles.ts";
import type { Extent } from "./row_classes.ts";
import { classOfTile, classPoint, extentOf, pointsOfTile, slotPoint, slotsOfClass, someRows, tileCount } from "./row_classes.ts";
import { ceilDiv, constantOf, constantSize, coordinates, forEachRun, min } from "./space.ts";
import type { KernelShape, ProductSpec } from "./templates.ts";
import { tidy } from "./tidy.ts";

export interface RegisterTile {
  /** Rows and columns of outputs an invocation. */
  readonly rows: number;
  readonly cols: number;
  /** Invocations a workgroup, along the columns; rows come from the workgroup id alone, so that loads of `a` are uniform. */
  readonly lanes: number;
  readonly unroll: number;
}

/** Cost of a load in multiply-adds, and the widest tile; from docs/decisions/0003-product-schedules.md. */
const loadCost = 4;
const mostOutputs = 64;

/** The tile with the least estimated work for an m x n output (undefined: a run-time length, taken as long), `results` of them at once. */
export function chooseRegisterTile(m: number | undefined, n: number | undefined, results = 1): RegisterTile {
  let best: { tile: RegisterTile; cost: number } | undefined;
  const rowsLong = m ?? 4096;
  const colsLong = n ?? 4096;
  for (const rows of [1, 2, 4, 8])
    for (const cols of [1, 2, 4, 8])
      for (const lanes of [4, 8, 16, 32]) {
        if (rows * cols * results > mostOutputs) continue;
        const points = Math.ceil(rowsLong / rows) * Math.ceil(colsLong / (cols * lanes)) * lanes;
        const cost = points * (rows * cols * results + loadCost * (rows + cols * results) + 2) + 64 * (points / lanes);
        if (!best || cost < best.cost) best = { tile: { rows, cols, lanes, unroll: 2 }, cost };
      }
  if (!best) throw new Error("no register tile");
  return best.tile;
}

export function product(parts: KernelParts, spec: ProductSpec, target: Target): KernelShape {
  if (target.products === "tiles") return productTiles(parts, spec, target);
  return productRegisters(parts, spec, chooseRegisterTile(rowsExpected(spec), constantSize(spec.n), resultsOf(spec)));
}

/** The rows of one tile. */
interface TileRows {
  readonly rows: Extent;
  readonly first: ScalarExpr;
  /** Every row is inside. */
  readonly fit: boolean;
  /** Batch coordinates, and the class of the rows if they have one. */
  readonly around: Point;
  /** What rows in no class lack: a contraction. */
  readonly contracted?: ScalarExpr;
}

/** One invocation, rows x cols outputs; column j of an invocation stands `lanes` columns after column j - 1. */
export function productRegisters(parts: KernelParts, spec: ProductSpec, tile: RegisterTile): KernelShape {
  const b = new Body(parts);
  const nSize = spaceSize(spec.n);
  const batch = coordinates(spec.batch, builtin("group.z"));
  const { rows: classes } = spec;
  if (!classes) {
    const rows = extentOf(spec.m);
    const first = b.let(mul(builtin("group.y"), i32(tile.rows)), "row");
    registerTile(b, spec, tile, { rows, first, fit: fits(rows.size, tile.rows), around: batch });
  } else b.if(someRows(classes, spec.m), (some) => {
    const y = builtin("group.y");
    const cls = classOfTile(some, classes, spec.m, tile.rows, y);
    const { first, end } = pointsOfTile(some, classes, spec.m, tile.rows, y, cls);
    // Tiles past the last row of their class have nothing to do.
    const somewhere = lt(cls, classes.classes.size);
    some.if(spec.leaveNowhere ? and(somewhere, lt(first, end)) : lt(first, end), (inside) => registerTile(inside, spec, tile, {
      rows: { size: end, point: (body, i) => slotPoint(body, classes, spec.m, i) }, first, fit: false,
      around: { ...batch, ...classPoint(classes, cls) }, ...(spec.leaveNowhere ? {} : { contracted: somewhere }),
    }));
  });
  return {
    workgroup: [tile.lanes, 1, 1],
    grid: [ceilDiv(nSize, tile.cols * tile.lanes), classes ? tileCount(classes, spec.m, tile.rows) : ceilDiv(spaceSize(spec.m), tile.rows), spaceSize(spec.batch)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}

function registerTile(b: Body, spec: ProductSpec, tile: RegisterTile, { rows: extent, first: row0, fit: rowsFit, around, contracted }: TileRows): void {
  const { parts } = b;
  const [mSize, nSize] = [extent.size, spaceSize(spec.n)];
  const col0 = b.let(add(mul(builtin("group.x"), i32(tile.cols * tile.lanes)), builtin("lane.x")), "col");
  const rows = Array.from({ length: tile.rows }, (_, i) => add(row0, i32(i)));
  const cols = Array.from({ length: tile.cols }, (_, j) => add(col0, i32(j * tile.lanes)));
  const colsFit = fits(nSize, tile.cols * tile.lanes);
  const inside = (i: ScalarExpr, size: ScalarExpr, fit: boolean): ScalarExpr =>
    fit ? i : b.let(min(i, add(size, i32(-1))), "edge");
  const rowPoints = rows.map((r) => extent.point(b, inside(r, mSize, rowsFit)));
  const colPoints = cols.map((c) => coordinates(spec.n, inside(c, nSize, colsFit)));
  const results = resultsOf(spec);
  /** By row, then by result, then by column. */
  const acc = rows.map(() => Array.from({ length: results }, () => cols.map(() => b.var(f32(0)))));
  const contract = (to: Body): void => {
    for (const term of spec.terms)
      eachRun(to, spec, term.k, tile.unroll, around, (body, run) => {
        const operands = [term.b, ...(term.also ?? []).map((x) => x.b)];
        const right = run.map((k) => operands.map((f) => colPoints.map((n) => body.let(f(body, { ...around, ...n, ...k })))));
        rowPoints.forEach((m, i) => {
          const left = run.map((k) => body.let(term.a(body, { ...around, ...m, ...k })));
          operands.forEach((_, o) => colPoints.forEach((_c, j) => {
            // One addition to the accumulator a run: accumulators outnumber registers, so each touch of one is memory traffic.
            const sum = acc[i]?.[o]?.[j] as ScalarExpr;
            const products = left.map((l, u) => mul(l, right[u]?.[o]?.[j] as ScalarExpr));
            body.assign(sum, add(sum, products.reduce((x, y) => add(x, y))));
          }));
        });
      });
  };
  if (contracted) b.if(contracted, contract);
  else contract(b);
  const guard = (body: Body, fit: boolean, i: ScalarExpr, size: ScalarExpr, then: (body: Body) => void): void =>
    fit ? then(body) : body.if(lt(i, size), then);
  const store = (body: Body, r: ScalarExpr, sums: readonly (readonly ScalarExpr[])[]): void => guard(body, rowsFit, r, mSize, (inRow) => {
    const m: Point = extent.point(inRow, r);
    cols.forEach((c, j) => guard(inRow, colsFit, c, nSize, (within) => {
      const [value, ...more] = sums.map((s) => s[j] as ScalarExpr);
      spec.sink(within, { ...around, ...m, ...coordinates(spec.n, c) }, value as ScalarExpr, ...more);
    }));
  });
  if (tile.rows <= 2) rows.forEach((r, i) => store(b, r, acc[i] ?? []));
  else {
    // The epilogue is written once for all rows: unrolled it would be most of the kernel, and compiling is not free.
    const array = parts.array("sums", "f32", tile.rows * tile.cols * results, "private");
    acc.flat(2).forEach((sum, n) => b.astore(array, i32(n), sum));
    b.loop(i32(0), i32(tile.rows), 1, (body, i) => {
      const sums = Array.from({ length: results }, (_, o) => cols.map((_c, j) => body.aload(array, add(mul(i, i32(tile.cols * results)), i32(o * tile.cols + j)))));
      store(body, body.let(add(row0, i), "row"), sums);
    });
  }
}

/** Runs of the contraction: over the rows of the class first, where there are classes to sum over. */
function eachRun(b: Body, spec: ProductSpec, k: readonly SpaceAxis[], unroll: number, around: Point, visit: (b: Body, run: readonly Point[]) => void): void {
  const { sum } = spec;
  if (!sum) return forEachRun(b, k, unroll, visit);
  const { from, to } = slotsOfClass(b, sum, around[sum.classes.name] ?? i32(0));
  b.if(someRows(sum, []), (some) => some.loop(from, to, 1, (body, slot) => {
    const row = slotPoint(body, sum, [], slot);
    forEachRun(body, k, unroll, (inner, run) => visit(inner, run.map((at) => ({ ...row, ...at }))));
  }));
}

/** A constant size that whole tiles cover exactly: neither clamp nor guard is needed. */
function fits(size: ScalarExpr, tile: number): boolean {
  const n = constantOf(size);
  return n !== undefined && n % tile === 0;
}
