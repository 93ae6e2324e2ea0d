// In: the class of every row, as a point function. Out: the kernels of a group-by: rows sorted by class, stable, in a fixed
// order, without atomics. "registers": one invocation counts, adds up and places (serial, but a row costs a few instructions,
// and barriers and further dispatches cost more there). "tiles": per chunk of rows a workgroup counts by comparing, one workgroup adds
// up, every row is placed; for many classes once a digit. Refuses nothing; rows that are nowhere have the last key of all.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, div, i32, lt, mul, select, sub } from "../scalar/expr.ts";
import type { KernelParts } from "./body.ts";
import { Body } from "./body.ts";
import type { Target } from "./kernel.ts";
import type { Range } from "./lowering.ts";
import { groupRange } from "./lowering.ts";
import { constantOf, max, min } from "./space.ts";
import type { KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

/** A number a place, read and written. */
export interface Places {
  readonly load: (b: Body, at: ScalarExpr) => ScalarExpr;
  readonly store: (b: Body, at: ScalarExpr, value: ScalarExpr) => void;
}

export type StorePlace = Places["store"];

export interface ClassOf {
  /** How many rows. */
  readonly rows: ScalarExpr;
  /** How many classes: a constant, or an expression over lengths. */
  readonly classes: ScalarExpr;
  /** Class of a row by its number; anything outside 0 .. classes - 1 is nowhere. */
  readonly of: (b: Body, row: ScalarExpr) => ScalarExpr;
}

/** What is wanted of a group-by. */
export interface GroupSinks {
  /** (slot, row) */
  readonly order?: StorePlace;
  /** (row, slot) */
  readonly place?: StorePlace;
  /** (class or their number, slot) */
  readonly offset?: StorePlace;
}

/** Rows that one workgroup counts together. */
const chunkRows = 128;
/** Most classes, with the one of rows nowhere, that are counted at once; more are taken by digits. */
const mostBins = 1024;
const digitBits = 8;

export interface Digit {
  readonly shift: number;
  readonly bins: number;
}

/** How keys 0 .. classes are taken apart: once whole, or by digits of equal width, low first. */
export function digitsOf(classes: ScalarExpr): readonly Digit[] {
  const n = constantOf(classes);
  if (n !== undefined && n + 1 <= mostBins) return [{ shift: 0, bins: n + 1 }];
  const bits = n === undefined ? 31 : Math.ceil(Math.log2(n + 1));
  const count = Math.ceil(bits / digitBits);
  const width = Math.ceil(bits / count);
  return Array.from({ length: count }, (_, i) => ({ shift: i * width, bins: 2 ** width }));
}

/** At least one, so that there are sums where there are no rows. */
export const chunkCount = (rows: ScalarExpr): ScalarExpr => add(div(rows, i32(chunkRows)), i32(1));

/** The key by which a row is sorted: its class, or the number of classes. */
function keyOf(b: Body, spec: ClassOf, row: ScalarExpr): ScalarExpr {
  const c = b.let(spec.of(b, row), "class");
  return b.let(select(and(binary("le", i32(0), c), lt(c, spec.classes)), c, spec.classes), "key");
}

function digitOf(b: Body, spec: ClassOf, digit: Digit, row: ScalarExpr): ScalarExpr {
  const key = keyOf(b, spec, row);
  if (constantOf(add(spec.classes, i32(1))) === digit.bins) return key;
  const high = digit.shift === 0 ? key : binary("shr", key, i32(digit.shift));
  return b.let(binary("and", high, i32(digit.bins - 1)), "digit");
}

const clamped = (b: Body, x: ScalarExpr, size: ScalarExpr): ScalarExpr => b.let(max(i32(0), min(x, sub(size, i32(1)))), "held");

const finish = (parts: KernelParts, b: Body, lanes: number, grid: KernelShape["grid"]): KernelShape =>
  ({ workgroup: [lanes, 1, 1], grid, arrays: parts.arrays, body: tidy(parts, b.stmts) });

/** Everything in one invocation. `cursor` has a place a class and one more. */
export function groupSerial(parts: KernelParts, spec: ClassOf, cursor: Places, sinks: GroupSinks): KernelShape {
  const b = new Body(parts);
  const bins = add(spec.classes, i32(1));
  const { rows } = spec;
  b.loop(i32(0), bins, 1, (body, c) => cursor.store(body, c, i32(0)));
  b.loop(i32(0), rows, 1, (body, row) => {
    const key = keyOf(body, spec, row);
    cursor.store(body, key, add(cursor.load(body, key), i32(1)));
  });
  const run = b.var(i32(0), "run");
  b.loop(i32(0), bins, 1, (body, c) => {
    const n = cursor.load(body, c);
    sinks.offset?.(body, c, run);
    cursor.store(body, c, run);
    body.assign(run, add(run, n));
  });
  if (sinks.order || sinks.place) b.loop(i32(0), rows, 1, (body, row) => {
    const key = keyOf(body, spec, row);
    const slot = clamped(body, cursor.load(body, key), rows);
    cursor.store(body, key, add(slot, i32(1)));
    sinks.order?.(body, slot, row);
    sinks.place?.(body, row, slot);
  });
  return finish(parts, b, 1, [i32(1), i32(1), i32(1)]);
}

/** One digit of the keys of rows that already stand in some order. */
export interface DigitPass {
  readonly spec: ClassOf;
  readonly digit: Digit;
  /** The row that stands at a slot so far. */
  readonly rowAt: (b: Body, slot: ScalarExpr) => ScalarExpr;
}

interface Chunk {
  readonly range: Range;
  readonly count: ScalarExpr;
  readonly index: ScalarExpr;
  /** Below count, whatever the index is. */
  readonly held: ScalarExpr;
  readonly slot: ScalarExpr;
  /** Runs `then` where the slot exists. */
  readonly inside: (b: Body, then: (b: Body) => void) => void;
}

function chunkOf(b: Body, rows: ScalarExpr, target: Target): Chunk {
  const count = chunkCount(rows);
  const range = groupRange(count, target);
  const index = b.let(range.index, "chunk");
  const slot = b.let(add(mul(index, i32(chunkRows)), builtin("lane.x")), "slot");
  const held = range.exact ? index : b.let(min(index, sub(count, i32(1))), "held");
  return { range, count, index, held, slot, inside: (body, then) => body.if(lt(slot, rows), then) };
}

const countPlace = (chunk: Chunk, bin: ScalarExpr, index: ScalarExpr): ScalarExpr => add(mul(bin, chunk.count), index);

/** Per chunk: how many rows of each digit, at digit * chunks + chunk, and each row's place among its equals of the chunk. */
export function groupCount(parts: KernelParts, { spec, digit, rowAt }: DigitPass, counts: StorePlace, rank: StorePlace, target: Target): KernelShape {
  const b = new Body(parts);
  const lane = builtin("lane.x");
  const chunk = chunkOf(b, spec.rows, target);
  const keys = parts.array("keys", "i32", chunkRows, "shared");
  const bins = parts.array("bins", "i32", digit.bins, "shared");
  b.loop(lane, i32(digit.bins), chunkRows, (body, bin) => body.astore(bins, bin, i32(0)));
  const mine = b.var(i32(-1), "mine");
  chunk.inside(b, (body) => body.assign(mine, digitOf(body, spec, digit, rowAt(body, chunk.slot))));
  b.astore(keys, lane, mine);
  b.barrier();
  const before = b.var(i32(0), "before");
  const after = b.var(i32(0), "after");
  const one = (cond: ScalarExpr): ScalarExpr => select(cond, i32(1), i32(0));
  const run = 4;
  b.loop(i32(0), i32(chunkRows / run), 1, (body, j) => {
    for (let u = 0; u < run; u++) {
      const other = body.let(add(mul(j, i32(run)), i32(u)), "other");
      const same = body.let(binary("eq", body.aload(keys, other), mine), "same");
      body.assign(before, add(before, one(and(same, lt(other, lane)))));
      body.assign(after, add(after, one(and(same, lt(lane, other)))));
    }
  });
  chunk.inside(b, (body) => {
    rank(body, chunk.slot, before);
    // The last of its equals knows how many they are.
    body.if(binary("eq", after, i32(0)), (last) => last.astore(bins, clamped(last, mine, i32(digit.bins)), add(before, i32(1))));
  });
  b.barrier();
  const write = (body: Body): void =>
    body.loop(lane, i32(digit.bins), chunkRows, (inner, bin) => counts(inner, countPlace(chunk, bin, chunk.held), inner.aload(bins, bin)));
  if (chunk.range.exact) write(b);
  else b.if(lt(chunk.index, chunk.count), write);
  return finish(parts, b, chunkRows, chunk.range.grid);
}

/** Every number becomes the sum of those before it, by one workgroup. */
export function groupScan(parts: KernelParts, size: ScalarExpr, values: Places, target: Target): KernelShape {
  const b = new Body(parts);
  const lanes = Math.min(256, target.invocations);
  const lane = builtin("lane.x");
  const sums = parts.array("sums", "i32", lanes, "shared");
  const each = b.let(div(add(size, i32(lanes - 1)), i32(lanes)), "each");
  const first = b.let(mul(lane, each), "first");
  const end = b.let(min(add(first, each), size), "end");
  const own = b.var(i32(0), "own");
  b.loop(first, end, 1, (body, i) => body.assign(own, add(own, values.load(body, i))));
  const sum = b.var(own, "sum");
  b.astore(sums, lane, sum);
  b.barrier();
  for (let step = 1; step < lanes; step *= 2) {
    b.if(binary("le", i32(step), lane), (body) => body.assign(sum, add(sum, body.aload(sums, sub(lane, i32(step))))));
    b.barrier();
    b.astore(sums, lane, sum);
    b.barrier();
  }
  const run = b.var(sub(sum, own), "run");
  b.loop(first, end, 1, (body, i) => {
    const n = values.load(body, i);
    values.store(body, i, run);
    body.assign(run, add(run, n));
  });
  return finish(parts, b, lanes, [i32(1), i32(1), i32(1)]);
}

/** Rows go to their slots. `whole`: this digit is the whole key, so the sums are the offsets, too. */
export function groupPlace(parts: KernelParts, { spec, digit, rowAt }: DigitPass, counts: Places["load"], rank: Places["load"], sinks: GroupSinks, target: Target): KernelShape {
  const b = new Body(parts);
  const lane = builtin("lane.x");
  const chunk = chunkOf(b, spec.rows, target);
  if (sinks.order || sinks.place) chunk.inside(b, (body) => {
    const row = body.let(rowAt(body, chunk.slot), "row");
    const bin = digitOf(body, spec, digit, row);
    const slot = clamped(body, add(counts(body, countPlace(chunk, bin, chunk.held)), rank(body, chunk.slot)), spec.rows);
    sinks.order?.(body, slot, row);
    sinks.place?.(body, row, slot);
  });
  const { offset } = sinks;
  if (offset) b.if(binary("eq", chunk.index, i32(0)), (body) =>
    body.loop(lane, i32(digit.bins), chunkRows, (inner, bin) => offset(inner, bin, counts(inner, countPlace(chunk, bin, i32(0))))));
  return finish(parts, b, chunkRows, chunk.range.grid);
}

/** The first slot of every class, by halving the sorted rows. */
export function groupOffsets(parts: KernelParts, spec: ClassOf, rowAt: DigitPass["rowAt"], offset: StorePlace, target: Target): KernelShape {
  const b = new Body(parts);
  const lanes = 64;
  const total = add(spec.classes, i32(1));
  const range = groupRange(div(add(total, i32(lanes - 1)), i32(lanes)), target);
  const cls = b.let(add(mul(range.index, i32(lanes)), builtin("lane.x")), "class");
  const rows = constantOf(spec.rows);
  b.if(lt(cls, total), (body) => {
    const from = body.var(i32(0), "from");
    const to = body.var(spec.rows, "to");
    body.loop(i32(0), i32(rows === undefined ? 31 : Math.ceil(Math.log2(rows + 1))), 1, (inner) => {
      // The second half of the test says to the prover that there are rows.
      inner.if(and(lt(from, to), lt(i32(0), spec.rows)), (open) => {
        const half = clamped(open, div(add(from, to), i32(2)), spec.rows);
        const key = keyOf(open, spec, rowAt(open, half));
        open.if(lt(key, cls), (low) => low.assign(from, add(half, i32(1))), (high) => high.assign(to, half));
      });
    });
    offset(body, cls, from);
  });
  return finish(parts, b, lanes, range.grid);
}
