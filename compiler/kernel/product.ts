// In: a contraction (or a sum of several over one output) as point functions of named axes. Out: one kernel that computes
// it in register tiles without workgroup memory ("registers"), or by shared tiles (product_tiles.ts).
// Refuses nothing: several axes merge, run-time sizes clamp loads and guard stores.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, builtin, f32, i32, lt, mul } from "../scalar/expr.ts";
import type { KernelParts, Point } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import { productTiles } from "./product_tiles.ts";
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

/** The tile with the least estimated work for an m x n output (undefined: a run-time length, taken as long). */
export function chooseRegisterTile(m: number | undefined, n: number | undefined): RegisterTile {
  let best: { tile: RegisterTile; cost: number } | undefined;
  const rowsLong = m ?? 4096;
  const colsLong = n ?? 4096;
  for (const rows of [1, 2, 4, 8])
    for (const cols of [1, 2, 4, 8])
      for (const lanes of [4, 8, 16, 32]) {
        if (rows * cols > mostOutputs) continue;
        const points = Math.ceil(rowsLong / rows) * Math.ceil(colsLong / (cols * lanes)) * lanes;
        const cost = points * (rows * cols + loadCost * (rows + cols) + 2) + 64 * (points / lanes);
        if (!best || cost < best.cost) best = { tile: { rows, cols, lanes, unroll: 2 }, cost };
      }
  if (!best) throw new Error("no register tile");
  return best.tile;
}

export function product(parts: KernelParts, spec: ProductSpec, target: Target): KernelShape {
  if (target.products === "tiles") return productTiles(parts, spec, target);
  return productRegisters(parts, spec, chooseRegisterTile(constantSize(spec.m), constantSize(spec.n)));
}

/** One invocation, rows x cols outputs; column j of an invocation stands `lanes` columns after column j - 1. */
export function productRegisters(parts: KernelParts, spec: ProductSpec, tile: RegisterTile): KernelShape {
  const b = new Body(parts);
  const mSize = spaceSize(spec.m);
  const nSize = spaceSize(spec.n);
  const batch = coordinates(spec.batch, builtin("group.z"));
  const row0 = b.let(mul(builtin("group.y"), i32(tile.rows)), "row");
  const col0 = b.let(add(mul(builtin("group.x"), i32(tile.cols * tile.lanes)), builtin("lane.x")), "col");
  const rows = Array.from({ length: tile.rows }, (_, i) => add(row0, i32(i)));
  const cols = Array.from({ length: tile.cols }, (_, j) => add(col0, i32(j * tile.lanes)));
  const rowsFit = fits(mSize, tile.rows);
  const colsFit = fits(nSize, tile.cols * tile.lanes);
  const inside = (i: ScalarExpr, size: ScalarExpr, fit: boolean): ScalarExpr =>
    fit ? i : b.let(min(i, add(size, i32(-1))), "edge");
  const rowPoints = rows.map((r) => coordinates(spec.m, inside(r, mSize, rowsFit)));
  const colPoints = cols.map((c) => coordinates(spec.n, inside(c, nSize, colsFit)));
  const acc = rows.map(() => cols.map(() => b.var(f32(0))));
  for (const term of spec.terms)
    forEachRun(b, term.k, tile.unroll, (body, run) => {
      const right = run.map((k) => colPoints.map((n) => body.let(term.b(body, { ...batch, ...n, ...k }))));
      rowPoints.forEach((m, i) => {
        const left = run.map((k) => body.let(term.a(body, { ...batch, ...m, ...k })));
        colPoints.forEach((_, j) => {
          // One addition to the accumulator a run: accumulators outnumber registers, so each touch of one is memory traffic.
          const sum = acc[i]?.[j] as ScalarExpr;
          const products = left.map((l, u) => mul(l, right[u]?.[j] as ScalarExpr));
          body.assign(sum, add(sum, products.reduce((x, y) => add(x, y))));
        });
      });
    });
  const guard = (body: Body, fit: boolean, i: ScalarExpr, size: ScalarExpr, then: (body: Body) => void): void =>
    fit ? then(body) : body.if(lt(i, size), then);
  const store = (body: Body, r: ScalarExpr, sums: readonly ScalarExpr[]): void => guard(body, rowsFit, r, mSize, (inRow) => {
    const m: Point = coordinates(spec.m, r);
    cols.forEach((c, j) => guard(inRow, colsFit, c, nSize, (inside) =>
      spec.sink(inside, { ...batch, ...m, ...coordinates(spec.n, c) }, sums[j] as ScalarExpr)));
  });
  if (tile.rows <= 2) rows.forEach((r, i) => store(b, r, acc[i] as ScalarExpr[]));
  else {
    // The epilogue is written once for all rows: unrolled it would be most of the kernel, and compiling is not free.
    const array = parts.array("sums", "f32", tile.rows * tile.cols, "private");
    acc.flat().forEach((sum, n) => b.astore(array, i32(n), sum));
    b.loop(i32(0), i32(tile.rows), 1, (body, i) => {
      const sums = cols.map((_, j) => body.aload(array, add(mul(i, i32(tile.cols)), i32(j))));
      store(body, body.let(add(row0, i), "row"), sums);
    });
  }
  return {
    workgroup: [tile.lanes, 1, 1],
    grid: [ceilDiv(nSize, tile.cols * tile.lanes), ceilDiv(mSize, tile.rows), spaceSize(spec.batch)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}

/** A constant size that whole tiles cover exactly: neither clamp nor guard is needed. */
function fits(size: ScalarExpr, tile: number): boolean {
  const n = constantOf(size);
  return n !== undefined && n % tile === 0;
}
