// The gradient of a table that a score reads. In: an attention, its lse, delta and dout. Out: two kernels: one in which an
// invocation owns a share of the query rows and sums, for every entry of the table, what its pairs give it; one that adds the
// shares, the batch and the groups in a fixed order. No atomics, nothing of size queries x keys, the same bits in every run.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, builtin, f32, i32, lt, mul, sub } from "../scalar/expr.ts";
import { chooseAttendTile } from "./attention_forward.ts";
import type { Token } from "./attention_pairs.ts";
import { blockTokens, dots, orElse, scored, tablePlace, tableSlope, weight } from "./attention_pairs.ts";
import type { See } from "./attention_tiles.ts";
import { along, ListWalk, TileTest } from "./attention_tiles.ts";
import type { KernelParts, Point, PointFn, SinkFn, SpaceAxis } from "./body.ts";
import { Body, flatInvocation, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import { ceilDiv, constantOf, coordinates } from "./space.ts";
import type { AttendTableSpec, KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

/** Shares of the query rows, whatever their number: memory does not grow with the sequence. Long tables have fewer. */
export const tablePieces = (entries: number | undefined): number => (entries !== undefined && entries <= 256 ? 64 : 16);
/** Most entries that an invocation keeps to itself. */
const privateEntries = 1024;

/** Sums by entry: one var, a private array, or the place in memory that only this invocation writes. */
interface Entries {
  readonly add: (b: Body, place: Point, value: ScalarExpr) => void;
  readonly finish: (b: Body) => void;
}

function entries(b: Body, parts: KernelParts, spec: AttendTableSpec, at: Point): Entries {
  const { axis } = spec.table;
  if (!axis) {
    const sum = b.var(f32(0), "sum");
    return { add: (body, _, value) => body.assign(sum, add(sum, value)), finish: (body) => spec.store(body, at, sum) };
  }
  const size = constantOf(axis.size);
  const each = (body: Body, visit: (body: Body, i: ScalarExpr) => void): void => body.loop(i32(0), axis.size, 1, visit);
  if (size === undefined || size > privateEntries) {
    each(b, (body, i) => spec.store(body, { ...at, [axis.name]: i }, f32(0)));
    return {
      add: (body, place, value) => {
        const here = { ...at, [axis.name]: body.let(place[axis.name] as ScalarExpr, "entry") };
        spec.store(body, here, body.let(add(spec.load(body, here), value)));
      },
      finish: () => undefined,
    };
  }
  const array = parts.array("sums", "f32", size, "private");
  each(b, (body, i) => body.astore(array, i, f32(0)));
  return {
    add: (body, place, value) => {
      const entry = body.let(place[axis.name] as ScalarExpr, "entry");
      body.astore(array, entry, body.let(add(body.aload(array, entry), value)));
    },
    finish: (body) => each(body, (inner, i) => spec.store(inner, { ...at, [axis.name]: i }, inner.aload(array, i))),
  };
}

/** Sums of each share. Blocks of rows go to the shares in turn, so that a causal mask loads them alike. */
export function attendTable(parts: KernelParts, spec: AttendTableSpec, target: Target): KernelShape {
  const b = new Body(parts);
  const tile = chooseAttendTile(constantOf(spec.width.size) ?? 1, target);
  const pieces = constantOf(spec.piece.size) ?? 1;
  const lanes = Math.min(tile.lanes, pieces);
  const around = { ...coordinates(spec.outer, builtin("group.z")), ...coordinates(spec.group, builtin("group.y")) };
  const piece = b.let(add(mul(builtin("group.x"), i32(lanes)), builtin("lane.x")), "piece");
  const sums = entries(b, parts, spec, { ...around, [spec.piece.name]: piece });
  b.loop(i32(0), ceilDiv(spec.query.size, pieces * tile.rows), 1, (turn, n) => {
    const first = turn.let(mul(add(mul(n, i32(pieces)), piece), i32(tile.rows)), "row");
    turn.if(lt(first, spec.query.size), (own) => {
      const rows = blockTokens(own, spec, "q", tile.rows, first, around, true);
      const delta = rows.map((r) => own.let(spec.delta(own, r.at)));
      const lse = rows.map((r) => own.let(spec.lse(own, r.at)));
      const test = new TileTest(own, spec, "q", around, mul(add(mul(n, i32(pieces)), mul(builtin("group.x"), i32(lanes))), i32(tile.rows)), lanes * tile.rows);
      new ListWalk(spec).pass(own, "k", around, test, rows, tile.cols, (body, keys, see) => addPairs(body, spec, tile.unroll, rows, keys, see, lse, delta, sums));
    });
  });
  sums.finish(b);
  return {
    workgroup: [lanes, 1, 1],
    grid: [ceilDiv(spec.piece.size, lanes), spaceSize(spec.group), spaceSize(spec.outer)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}

/** What every pair of a block gives to the entry it read. */
function addPairs(
  b: Body, spec: AttendTableSpec, unroll: number, rows: readonly Token[], keys: readonly Token[],
  see: See, lse: readonly ScalarExpr[], delta: readonly ScalarExpr[], sums: Entries,
): void {
  const { table, width, value } = spec;
  const logits = dots(b, width, rows.length, keys.length, along(spec.q, rows, width.name), along(spec.k, keys, width.name), unroll);
  const gains = dots(b, value, rows.length, keys.length, along(spec.dout, rows, value.name), along(spec.v, keys, value.name), unroll);
  rows.forEach((row, r) => keys.forEach((key, c) => {
    const seen = see[r]?.[c];
    const dot = logits[r]?.[c] as ScalarExpr;
    const w = b.let(weight(seen, scored(b, spec, row, key, dot), lse[r] as ScalarExpr), "w");
    const ds = mul(w, sub(gains[r]?.[c] as ScalarExpr, delta[r] as ScalarExpr));
    const given = orElse(seen, mul(ds, tableSlope(b, spec, table, row, key, dot)), f32(0));
    sums.add(b, tablePlace(b, spec, table, row, key), b.let(given, "given"));
  }));
}

export interface PieceSum {
  /** Axes of the result, and those that are added up, in order. */
  readonly kept: readonly SpaceAxis[];
  readonly summed: readonly SpaceAxis[];
  readonly value: PointFn;
  readonly sink: SinkFn;
}

/** One invocation an element of the result, which adds its pieces in order. */
export function addPieces(parts: KernelParts, spec: PieceSum): KernelShape {
  const lanes = 64;
  const b = new Body(parts);
  const size = spaceSize(spec.kept);
  const i = b.let(flatInvocation(lanes), "at");
  b.if(lt(i, size), (inside) => {
    const at = coordinates(spec.kept, i);
    const sum = inside.var(f32(0), "sum");
    const over = (body: Body, axes: readonly SpaceAxis[], here: Point): void => {
      const [axis, ...rest] = axes;
      if (!axis) body.assign(sum, add(sum, spec.value(body, here)));
      else body.loop(i32(0), axis.size, 1, (inner, n) => over(inner, rest, { ...here, [axis.name]: n }));
    };
    over(inside, spec.summed, at);
    spec.sink(inside, at, sum);
  });
  return { workgroup: [lanes, 1, 1], grid: [ceilDiv(size, lanes), i32(1), i32(1)], arrays: parts.arrays, body: tidy(parts, b.stmts) };
}
