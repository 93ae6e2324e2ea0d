// In: a contraction as point functions. Out: the kernel for GPUs: workgroup tiles staged in shared memory, 4 x 4 outputs an
// invocation, barriers in uniform flow only. A long contraction over a small output is split between slices of the
// workgroup, which add up at the end (no second dispatch, no atomics: the order of additions is fixed).

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, div, f32, i32, lt, mod, mul, select, sub } from "../scalar/expr.ts";
import type { KernelParts, Point } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import type { Extent } from "./row_classes.ts";
import { classOfTile, classPoint, extentOf, pointsOfTile, slotPoint, slotsOfClass, someRows, tileCount } from "./row_classes.ts";
import { ceilDiv, constantOf, constantSize, coordinates, min } from "./space.ts";
import type { KernelShape, ProductSpec, ProductTerm } from "./templates.ts";
import { tidy } from "./tidy.ts";

export interface WorkgroupTile {
  readonly rows: number;
  readonly cols: number;
  /** Contracted elements staged at a time. */
  readonly depth: number;
  /** Slices of the contraction within the workgroup. */
  readonly slices: number;
}

/** How many results the product makes at once. */
export const resultsOf = (spec: ProductSpec): number => 1 + (spec.terms[0]?.also?.length ?? 0);

/** Rows of the output that a tile may expect, when constant: a class has its share of them. */
export function rowsExpected(spec: ProductSpec): number | undefined {
  const m = constantSize(spec.m);
  if (!spec.rows || m === undefined) return m;
  const [rows, classes] = [constantSize(spec.rows.rows), constantOf(spec.rows.classes.size)];
  return rows === undefined || classes === undefined ? undefined : Math.max(1, Math.ceil((rows * m) / Math.max(1, classes)));
}

/** Outputs an invocation along either side. */
const side = 4;

/** Smallest tile of the table that covers a constant size; the widest for long or run-time ones. */
function cover(size: number | undefined, widest: number): number {
  for (const s of [16, 32]) if (s <= widest && size !== undefined && size <= s) return s;
  return widest;
}

/** Sizes undefined are run-time lengths, taken as long. */
export function chooseWorkgroupTile(m: number | undefined, n: number | undefined, k: number | undefined, batch: number | undefined): WorkgroupTile {
  const tiles = (t: number): number => Math.ceil((m ?? 4096) / t) * Math.ceil((n ?? 4096) / t) * (batch ?? 64);
  if (m !== undefined && n !== undefined && tiles(32) < 128 && (k ?? 4096) >= 512)
    return { rows: cover(m, 32), cols: cover(n, 32), depth: 8, slices: 4 };
  const widest = tiles(64) >= 128 ? 64 : 32;
  return { rows: cover(m, widest), cols: cover(n, widest), depth: 16, slices: 1 };
}

/** With classes, rows are those that a class may expect; short classes would waste most of a wide tile. */
function chooseTile(spec: ProductSpec): WorkgroupTile {
  const results = resultsOf(spec);
  const k = spec.sum ? undefined : spec.terms.reduce<number | undefined>((sum, t) => {
    const size = constantSize(t.k);
    return sum === undefined || size === undefined ? undefined : sum + size;
  }, 0);
  const [m, n] = [rowsExpected(spec), constantSize(spec.n)];
  // All rows may be of one class: then the others keep nobody busy.
  const tile = chooseWorkgroupTile(m, n, k, spec.sum ? 1 : constantSize(spec.batch));
  if (spec.rows) {
    const many = (constantOf(spec.rows.classes.size) ?? 64) > 8;
    return { ...tile, rows: many ? Math.min(tile.rows, 32) : tile.rows, depth: 16, slices: 1 };
  }
  return results > 1 && tile.slices > 1 ? { ...tile, depth: 16, slices: 1 } : tile;
}

export function productTiles(parts: KernelParts, spec: ProductSpec, target: Target): KernelShape {
  const tile = chooseTile(spec);
  const bytes = 4 * (tile.slices * tile.depth * (tile.rows + 1 + resultsOf(spec) * (tile.cols + 1)) + (tile.slices > 1 ? tile.rows * tile.cols : 0) + 1);
  if (bytes > target.workgroupBytes) throw new Error(`product tile of ${bytes} bytes`);
  return productWorkgroups(parts, spec, tile);
}

export function productWorkgroups(parts: KernelParts, spec: ProductSpec, tile: WorkgroupTile): KernelShape {
  const b = new Body(parts);
  const across = tile.cols / side;
  const perSlice = (tile.rows / side) * across;
  const lane = builtin("lane.x");
  const slice = tile.slices === 1 ? i32(0) : b.let(div(lane, i32(perSlice)), "slice");
  const within = tile.slices === 1 ? lane : b.let(mod(lane, i32(perSlice)), "within");
  const [tx, ty] = [b.let(mod(within, i32(across)), "tx"), b.let(div(within, i32(across)), "ty")];
  const lanes: Lanes = { tile, slice, within, perSlice, tx, ty, across };
  const batch = coordinates(spec.batch, builtin("group.z"));
  const y = builtin("group.y");
  const { rows: classes } = spec;
  if (!classes) {
    const rows = extentOf(spec.m);
    workgroupTile(b, spec, lanes, { rows, first: b.let(mul(y, i32(tile.rows)), "row"), end: rows.size, around: batch });
  } else b.if(someRows(classes, spec.m), (some) => {
    // One lane looks for the class; read together it is the same for all, and may steer barriers.
    const found = parts.array("class", "i32", 1, "shared");
    const none = add(classes.classes.size, i32(1));
    some.if(binary("eq", lane, i32(0)), (one) => {
      const cls = classOfTile(one, classes, spec.m, tile.rows, y);
      const { first, end } = pointsOfTile(one, classes, spec.m, tile.rows, y, cls);
      const wanted = spec.leaveNowhere ? and(lt(cls, classes.classes.size), lt(first, end)) : lt(first, end);
      one.astore(found, i32(0), select(wanted, cls, none));
    });
    const cls = some.aload(found, i32(0), true);
    some.if(lt(cls, none), (inside) => {
      const { first, end } = pointsOfTile(inside, classes, spec.m, tile.rows, y, cls);
      workgroupTile(inside, spec, lanes, {
        rows: { size: end, point: (body, i) => slotPoint(body, classes, spec.m, i) }, first, end,
        around: { ...batch, ...classPoint(classes, cls) }, ...(spec.leaveNowhere ? {} : { contracted: lt(cls, classes.classes.size) }),
      });
    });
  });
  return {
    workgroup: [perSlice * tile.slices, 1, 1],
    grid: [ceilDiv(spaceSize(spec.n), tile.cols), classes ? tileCount(classes, spec.m, tile.rows) : ceilDiv(spaceSize(spec.m), tile.rows), spaceSize(spec.batch)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}

/** Where an invocation stands in its workgroup. */
interface Lanes {
  readonly tile: WorkgroupTile;
  readonly slice: ScalarExpr;
  readonly within: ScalarExpr;
  readonly perSlice: number;
  readonly tx: ScalarExpr;
  readonly ty: ScalarExpr;
  readonly across: number;
}

interface TileRows {
  readonly rows: Extent;
  readonly first: ScalarExpr;
  readonly end: ScalarExpr;
  readonly around: Point;
  /** Uniform: rows in no class have nothing to contract. */
  readonly contracted?: ScalarExpr;
}

function workgroupTile(b: Body, spec: ProductSpec, lanes: Lanes, { rows, first: row0, end, around, contracted }: TileRows): void {
  const { tile, slice, within, perSlice, tx, ty, across } = lanes;
  const { parts } = b;
  const col0 = b.let(mul(builtin("group.x"), i32(tile.cols)), "col");
  const columns = extentOf(spec.n);
  const left = new Stage(parts, tile, tile.rows, slice, within, perSlice, { extent: rows, first: row0, around });
  const rights = times(resultsOf(spec), () => new Stage(parts, tile, tile.cols, slice, within, perSlice, { extent: columns, first: col0, around }));
  const acc = rights.map(() => times(side, () => times(side, () => b.var(f32(0)))));
  const contract = (body: Body): void => {
    for (const term of spec.terms) addTerm(body, term, contractionOf(body, spec, term, lanes, around), lanes, left, rights, acc);
  };
  const guard = contracted ?? (spec.sum ? someRows(spec.sum, []) : undefined);
  if (guard) b.if(guard, contract);
  else contract(b);
  if (tile.slices > 1) for (const sums of acc) addSlices(b, parts, tile, slice, within, perSlice, sums);
  const store = (body: Body): void => times(side, (i) => i).forEach((i) => {
    const r = add(row0, add(mul(ty, i32(side)), i32(i)));
    whenInside(body, r, end, tile.rows, (inRow) => {
      const m = rows.point(inRow, r);
      times(side, (j) => {
        const c = add(col0, add(tx, i32(j * across)));
        whenInside(inRow, c, columns.size, tile.cols, (x) => {
          const [value, ...more] = acc.map((sums) => sums[i]?.[j] as ScalarExpr);
          spec.sink(x, { ...around, ...m, ...columns.point(x, c) }, value as ScalarExpr, ...more);
        });
      });
    });
  });
  if (tile.slices > 1) b.if(binary("eq", slice, i32(0)), store);
  else store(b);
}

/** What is contracted: the axes k, or the slots of the class and k. `uniform`: how many turns of a tile's depth, alike in all lanes. */
interface Contraction {
  readonly extent: Extent;
  readonly turns: ScalarExpr;
}

function contractionOf(b: Body, spec: ProductSpec, term: ProductTerm, lanes: Lanes, around: Point): Contraction {
  const { depth, slices } = lanes.tile;
  const { sum } = spec;
  if (!sum) return { extent: extentOf(term.k), turns: ceilDiv(spaceSize(term.k), depth * slices) };
  const { from, to } = slotsOfClass(b, sum, around[sum.classes.name] ?? i32(0));
  const size = b.let(mul(sub(to, from), spaceSize(term.k)), "size");
  const shared = b.parts.array("count", "i32", 1, "shared");
  b.if(binary("eq", builtin("lane.x"), i32(0)), (one) => one.astore(shared, i32(0), size));
  const count = b.aload(shared, i32(0), true);
  const start = b.let(mul(from, spaceSize(term.k)), "start");
  return {
    extent: { size: count, point: (body, i) => slotPoint(body, sum, term.k, add(start, i)) },
    turns: ceilDiv(count, depth * slices),
  };
}

const times = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i));

function whenInside(b: Body, i: ScalarExpr, size: ScalarExpr, tile: number, then: (b: Body) => void): void {
  const n = constantOf(size);
  if (n !== undefined && n % tile === 0) then(b);
  else b.if(lt(i, size), then);
}

/** One operand's tile in shared memory: [slice][depth][extent], rows of the contraction padded by one against bank conflicts. */
class Stage {
  readonly array: string;
  readonly #stride: number;
  readonly #tile: WorkgroupTile;
  readonly #extent: number;
  readonly #slice: ScalarExpr;
  readonly #within: ScalarExpr;
  readonly #perSlice: number;
  readonly #side: { extent: Extent; first: ScalarExpr; around: Point };

  constructor(
    parts: KernelParts, tile: WorkgroupTile, extent: number, slice: ScalarExpr, within: ScalarExpr, perSlice: number,
    side: { extent: Extent; first: ScalarExpr; around: Point },
  ) {
    this.#stride = extent + 1;
    this.array = parts.array("tile", "f32", tile.slices * tile.depth * this.#stride, "shared");
    this.#tile = tile;
    this.#extent = extent;
    this.#slice = slice;
    this.#within = within;
    this.#perSlice = perSlice;
    this.#side = side;
  }

  index(kk: ScalarExpr, i: ScalarExpr): ScalarExpr {
    const row = add(mul(this.#slice, i32(this.#tile.depth)), kk);
    return add(mul(row, i32(this.#stride)), i);
  }

  /** Every invocation of the slice brings its share; adjacent ones read along the contiguous axis. */
  fill(b: Body, k: Extent, from: ScalarExpr, alongK: boolean, zeroPast: boolean, value: (b: Body, at: Point) => ScalarExpr): void {
    const { depth, slices } = this.#tile;
    const kFits = (constantOf(k.size) ?? 1) % (depth * slices) === 0 && constantOf(k.size) !== undefined;
    const { extent, first, around } = this.#side;
    const size = constantOf(extent.size);
    const fits = size !== undefined && size % this.#extent === 0;
    const count = this.#extent * depth;
    for (let e = 0; e < count; e += this.#perSlice) {
      const load = (body: Body): void => {
        const at = add(this.#within, i32(e));
        const kk = body.let(alongK ? mod(at, i32(depth)) : div(at, i32(this.#extent)), "kk");
        const i = body.let(alongK ? div(at, i32(depth)) : mod(at, i32(this.#extent)), "i");
        const k0 = body.let(add(from, kk), "k");
        const held = kFits ? k0 : body.let(min(k0, add(k.size, i32(-1))), "edge");
        const p = add(first, i);
        const token = fits ? p : body.let(min(p, add(extent.size, i32(-1))), "edge");
        const x = body.let(value(body, { ...around, ...extent.point(body, token), ...k.point(body, held) }));
        body.astore(this.array, this.index(kk, i), kFits || !zeroPast ? x : select(lt(k0, k.size), x, f32(0)));
      };
      if (e + this.#perSlice > count) b.if(lt(this.#within, i32(count - e)), load);
      else load(b);
    }
  }
}

function addTerm(
  b: Body, term: ProductTerm, { extent, turns }: Contraction, lanes: Lanes, left: Stage, rights: readonly Stage[],
  acc: readonly (readonly (readonly ScalarExpr[])[])[],
): void {
  const { tile: { depth, slices }, slice, tx, ty, across } = lanes;
  const last = term.k.at(-1)?.name;
  b.loop(i32(0), turns, 1, (body, t) => {
    const from = body.let(mul(add(mul(t, i32(slices)), slice), i32(depth)), "from");
    left.fill(body, extent, from, term.aContiguous === undefined || term.aContiguous === last, true, term.a);
    // A zero on one side is enough; the other repeats its last element past the end.
    const operands = [{ b: term.b, bContiguous: term.bContiguous }, ...(term.also ?? [])];
    operands.forEach((o, n) => rights[n]?.fill(body, extent, from, o.bContiguous === last && last !== undefined, false, o.b));
    body.barrier();
    const unroll = 4;
    body.loop(i32(0), i32(depth / unroll), 1, (inner, run) => times(unroll, (u) => {
      const kk = add(mul(run, i32(unroll)), i32(u));
      const columns = rights.map((right) => times(side, (j) => inner.aload(right.array, right.index(kk, add(tx, i32(j * across))))));
      times(side, (i) => {
        const l = inner.aload(left.array, left.index(kk, add(mul(ty, i32(side)), i32(i))));
        columns.forEach((list, n) => list.forEach((r, j) => {
          const sum = acc[n]?.[i]?.[j] as ScalarExpr;
          inner.assign(sum, add(sum, mul(l, r)));
        }));
      });
    }));
    body.barrier();
  });
}

/** Slice 0 adds the sums of the others, one slice after another. */
function addSlices(
  b: Body, parts: KernelParts, tile: WorkgroupTile, slice: ScalarExpr, within: ScalarExpr, perSlice: number,
  acc: readonly (readonly ScalarExpr[])[],
): void {
  const array = parts.array("sums", "f32", tile.rows * tile.cols, "shared");
  const flat = acc.flat();
  const place = (n: number): ScalarExpr => add(within, i32(n * perSlice));
  for (let s = 1; s < tile.slices; s++) {
    b.if(binary("eq", slice, i32(s)), (body) => flat.forEach((a, n) => body.astore(array, place(n), a)));
    b.barrier();
    b.if(binary("eq", slice, i32(0)), (body) => flat.forEach((a, n) => body.assign(a, add(a, body.aload(array, place(n))))));
    b.barrier();
  }
}
