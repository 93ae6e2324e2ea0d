// In: a contraction as point functions. Out: the kernel for GPUs: workgroup tiles staged in shared memory, 4 x 4 outputs an
// invocation, barriers in uniform flow only. A long contraction over a small output is split between slices of the
// workgroup, which add up at the end (no second dispatch, no atomics: the order of additions is fixed).

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, builtin, div, f32, i32, lt, mod, mul, select } from "../scalar/expr.ts";
import type { KernelParts, Point, SpaceAxis } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
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

export function productTiles(parts: KernelParts, spec: ProductSpec, target: Target): KernelShape {
  const k = spec.terms.reduce<number | undefined>((sum, t) => {
    const size = constantSize(t.k);
    return sum === undefined || size === undefined ? undefined : sum + size;
  }, 0);
  const tile = chooseWorkgroupTile(constantSize(spec.m), constantSize(spec.n), k, constantSize(spec.batch));
  const bytes = 4 * (tile.slices * tile.depth * (tile.rows + tile.cols + 2) + (tile.slices > 1 ? tile.rows * tile.cols : 0));
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
  const sizes = { m: spaceSize(spec.m), n: spaceSize(spec.n) };
  const batch = coordinates(spec.batch, builtin("group.z"));
  const row0 = b.let(mul(builtin("group.y"), i32(tile.rows)), "row");
  const col0 = b.let(mul(builtin("group.x"), i32(tile.cols)), "col");
  const left = new Stage(parts, tile, tile.rows, slice, within, perSlice, { axes: spec.m, size: sizes.m, first: row0, batch });
  const right = new Stage(parts, tile, tile.cols, slice, within, perSlice, { axes: spec.n, size: sizes.n, first: col0, batch });
  const acc = times(side, () => times(side, () => b.var(f32(0))));
  for (const term of spec.terms) addTerm(b, term, tile, slice, left, right, tx, ty, across, acc);
  if (tile.slices > 1) addSlices(b, parts, tile, slice, within, perSlice, acc);
  const store = (body: Body): void => times(side, (i) => i).forEach((i) => {
    const r = add(row0, add(mul(ty, i32(side)), i32(i)));
    whenInside(body, r, sizes.m, tile.rows, (inRow) => times(side, (j) => {
      const c = add(col0, add(tx, i32(j * across)));
      whenInside(inRow, c, sizes.n, tile.cols, (x) =>
        spec.sink(x, { ...batch, ...coordinates(spec.m, r), ...coordinates(spec.n, c) }, acc[i]?.[j] as ScalarExpr));
    }));
  });
  if (tile.slices > 1) b.if(binary("eq", slice, i32(0)), store);
  else store(b);
  return {
    workgroup: [perSlice * tile.slices, 1, 1],
    grid: [ceilDiv(sizes.n, tile.cols), ceilDiv(sizes.m, tile.rows), spaceSize(spec.batch)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
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
  readonly #side: { axes: readonly SpaceAxis[]; size: ScalarExpr; first: ScalarExpr; batch: Point };

  constructor(
    parts: KernelParts, tile: WorkgroupTile, extent: number, slice: ScalarExpr, within: ScalarExpr, perSlice: number,
    side: { axes: readonly SpaceAxis[]; size: ScalarExpr; first: ScalarExpr; batch: Point },
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
  fill(b: Body, k: readonly SpaceAxis[], from: ScalarExpr, alongK: boolean, zeroPast: boolean, value: (b: Body, at: Point) => ScalarExpr): void {
    const { depth, slices } = this.#tile;
    const kSize = spaceSize(k);
    const kFits = (constantOf(kSize) ?? 1) % (depth * slices) === 0 && constantOf(kSize) !== undefined;
    const size = constantOf(this.#side.size);
    const fits = size !== undefined && size % this.#extent === 0;
    const count = this.#extent * depth;
    for (let e = 0; e < count; e += this.#perSlice) {
      const load = (body: Body): void => {
        const at = add(this.#within, i32(e));
        const kk = body.let(alongK ? mod(at, i32(depth)) : div(at, i32(this.#extent)), "kk");
        const i = body.let(alongK ? div(at, i32(depth)) : mod(at, i32(this.#extent)), "i");
        const k0 = body.let(add(from, kk), "k");
        const held = kFits ? k0 : body.let(min(k0, add(kSize, i32(-1))), "edge");
        const p = add(this.#side.first, i);
        const token = fits ? p : body.let(min(p, add(this.#side.size, i32(-1))), "edge");
        const x = body.let(value(body, { ...this.#side.batch, ...coordinates(this.#side.axes, token), ...coordinates(k, held) }));
        body.astore(this.array, this.index(kk, i), kFits || !zeroPast ? x : select(lt(k0, kSize), x, f32(0)));
      };
      if (e + this.#perSlice > count) b.if(lt(this.#within, i32(count - e)), load);
      else load(b);
    }
  }
}

function addTerm(
  b: Body, term: ProductTerm, tile: WorkgroupTile, slice: ScalarExpr, left: Stage, right: Stage,
  tx: ScalarExpr, ty: ScalarExpr, across: number, acc: readonly (readonly ScalarExpr[])[],
): void {
  const { depth, slices } = tile;
  const last = term.k.at(-1)?.name;
  b.loop(i32(0), ceilDiv(spaceSize(term.k), depth * slices), 1, (body, t) => {
    const from = body.let(mul(add(mul(t, i32(slices)), slice), i32(depth)), "from");
    left.fill(body, term.k, from, term.aContiguous === undefined || term.aContiguous === last, true, term.a);
    // A zero on one side is enough; the other repeats its last element past the end.
    right.fill(body, term.k, from, term.bContiguous === last && last !== undefined, false, term.b);
    body.barrier();
    const unroll = 4;
    body.loop(i32(0), i32(depth / unroll), 1, (inner, run) => times(unroll, (u) => {
      const kk = add(mul(run, i32(unroll)), i32(u));
      const rights = times(side, (j) => inner.aload(right.array, right.index(kk, add(tx, i32(j * across)))));
      times(side, (i) => {
        const l = inner.aload(left.array, left.index(kk, add(mul(ty, i32(side)), i32(i))));
        rights.forEach((r, j) => {
          const sum = acc[i]?.[j] as ScalarExpr;
          inner.assign(sum, add(sum, mul(l, r)));
        });
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
