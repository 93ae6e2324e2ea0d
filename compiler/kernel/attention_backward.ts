// In: an attention, its lse, delta and the gradient of out. Out: the query side (dq) or the key side (dk, dv summed over the
// group): two kernels, each owning the rows it sums, so neither needs atomics nor an n x n buffer.
// Weights are made again as exp(score - lse); a query that sees nothing gets and gives zero.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, builtin, f32, i32, lt, mul, sub } from "../scalar/expr.ts";
import type { AttendTile } from "./attention_forward.ts";
import { chooseAttendTile, chooseWalk, ownRows } from "./attention_forward.ts";
import type { Token, TokenFn } from "./attention_pairs.ts";
import { clampToken, dots, loadAttrs, orElse, RowSums, scored, scoreSlope, total, weight } from "./attention_pairs.ts";
import type { See, Walk } from "./attention_tiles.ts";
import { TileTest } from "./attention_tiles.ts";
import type { KernelParts, Point } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import { groupRange } from "./lowering.ts";
import { ceilDiv, constantOf, coordinates, forEachRun } from "./space.ts";
import type { AttendBackwardSpec, AttendDeltaSpec, KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

export function attendBackward(parts: KernelParts, spec: AttendBackwardSpec, target: Target): KernelShape {
  const width = constantOf(spec.width.size) ?? 1;
  const value = constantOf(spec.value.size) ?? 1;
  const tile = chooseAttendTile(spec.dq ? width : (spec.dk ? width : 0) + (spec.dv ? value : 0), target);
  const walk = chooseWalk(parts, spec, tile, target);
  return spec.dq ? querySide(parts, spec, tile, walk) : keySide(parts, spec, tile, walk);
}

/** delta of each row, the sum over value of dout * out: one invocation a row, for the query and the key side alike. */
export function attendDelta(parts: KernelParts, spec: AttendDeltaSpec, target: Target): KernelShape {
  const b = new Body(parts);
  const lanes = target.products === "tiles" ? 64 : 16;
  const count = spaceSize(spec.rows);
  const range = groupRange(ceilDiv(count, lanes), target);
  const i = b.let(add(mul(range.index, i32(lanes)), builtin("lane.x")), "row");
  b.if(lt(i, count), (inside) => {
    const at = coordinates(spec.rows, i);
    const sum = inside.var(f32(0), "delta");
    forEachRun(inside, [spec.value], 4, (body, run) =>
      body.assign(sum, total([sum, ...run.map((p) => mul(body.let(spec.dout(body, { ...at, ...p })), body.let(spec.out(body, { ...at, ...p }))))])));
    spec.delta(inside, at, sum);
  });
  return { workgroup: [lanes, 1, 1], grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) };
}

/** What a row of queries brings to a pair beside its vectors. */
interface QueryFacts {
  readonly lse: ScalarExpr;
  readonly delta: ScalarExpr;
}

interface Pair {
  readonly weight: ScalarExpr;
  /** d loss / d (q . k) */
  readonly slope: ScalarExpr;
}

interface BlockVectors {
  readonly q: TokenFn;
  readonly k: TokenFn;
  readonly v: TokenFn;
  readonly dout: TokenFn;
}

/** Weights and slopes of every pair of a block. */
function pairs(
  b: Body, spec: AttendBackwardSpec, unroll: number, queries: readonly Token[], keys: readonly Token[], facts: readonly QueryFacts[],
  see: See, vectors: BlockVectors,
): Pair[][] {
  const logits = dots(b, spec.width, queries.length, keys.length, vectors.q, vectors.k, unroll);
  const weights = queries.map((query, r) => keys.map((key, c) => {
    const score = scored(b, spec, query, key, logits[r]?.[c] as ScalarExpr);
    return b.let(weight(see[r]?.[c], score, (facts[r] as QueryFacts).lse), "w");
  }));
  const gains = dots(b, spec.value, queries.length, keys.length, vectors.dout, vectors.v, unroll);
  return queries.map((query, r) => keys.map((key, c) => {
    const w = weights[r]?.[c] as ScalarExpr;
    const ds = mul(w, sub(gains[r]?.[c] as ScalarExpr, (facts[r] as QueryFacts).delta));
    // Where nothing is seen the score's slope need not be a number.
    const slope = mul(ds, scoreSlope(b, spec, query, key, logits[r]?.[c] as ScalarExpr));
    return { weight: w, slope: b.let(spec.score ? orElse(see[r]?.[c], slope, f32(0)) : slope, "slope") };
  }));
}

/** dq: an invocation owns query rows and passes the keys. */
function querySide(parts: KernelParts, spec: AttendBackwardSpec, tile: AttendTile, walk: Walk): KernelShape {
  const b = new Body(parts);
  const outer = coordinates(spec.outer, builtin("group.z"));
  const group = coordinates(spec.group, builtin("group.y"));
  const rows = ownRows(b, spec, tile, { ...outer, ...group });
  const facts = rows.map((row) => ({ lse: b.let(spec.lse(b, row.at)), delta: b.let(spec.delta(b, row.at)) }));
  const dq = new RowSums(b, parts, tile.rows, spec.width);
  const own = rows.map((r) => ({ ...r, exists: undefined }));
  const test = new TileTest(b, spec, "q", { ...outer, ...group }, mul(builtin("group.x"), i32(tile.rows * tile.lanes)), tile.rows * tile.lanes);
  const q = walk.own(b, spec.q, rows, spec.width);
  const dout = walk.own(b, spec.dout, rows, spec.value);
  walk.pass(b, "k", { ...outer, ...group }, test, own, tile.cols, (body, keys, see, k, v) => {
    const pair = pairs(body, spec, tile.unroll, own, keys, facts, see, { q, k, v, dout });
    dq.update(body, (inner, at) => {
      const values = keys.map((_, c) => inner.let(k(inner, c, at)));
      return (r, old) => total([old, ...values.map((x, c) => mul(pair[r]?.[c]?.slope as ScalarExpr, x))]);
    });
  });
  rows.forEach((row, r) => {
    const store = (body: Body): void => {
      dq.row(body, r, (inner, at, sum) => spec.dq?.(inner, { ...row.at, [spec.width.name]: at }, sum));
    };
    if (row.exists) b.if(row.exists, store);
    else store(b);
  });
  return {
    workgroup: [tile.lanes, 1, 1],
    grid: [ceilDiv(spec.query.size, tile.rows * tile.lanes), spaceSize(spec.group), spaceSize(spec.outer)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}

/** dk and dv: an invocation owns keys and passes the queries of every member of the group. `rows` of the tile are keys. */
function keySide(parts: KernelParts, spec: AttendBackwardSpec, tile: AttendTile, walk: Walk): KernelShape {
  const b = new Body(parts);
  const outer = coordinates(spec.outer, builtin("group.z"));
  const first = b.let(mul(add(mul(builtin("group.x"), i32(tile.lanes)), builtin("lane.x")), i32(tile.rows)), "key");
  const keys: Token[] = Array.from({ length: tile.rows }, (_, c) => {
    const { index, exists } = clampToken(b, add(first, i32(c)), spec.key, tile.rows * tile.lanes);
    const at = { ...outer, [spec.key.name]: index };
    return { at, exists, attrs: loadAttrs(b, spec, "k", at) };
  });
  const dk = spec.dk && new RowSums(b, parts, tile.rows, spec.width);
  const dv = spec.dv && new RowSums(b, parts, tile.rows, spec.value);
  const own = keys.map((k) => ({ ...k, exists: undefined }));
  const k = walk.own(b, spec.k, keys, spec.width);
  const v = walk.own(b, spec.v, keys, spec.value);
  const test = new TileTest(b, spec, "k", outer, mul(builtin("group.x"), i32(tile.rows * tile.lanes)), tile.rows * tile.lanes);
  forEachRun(b, spec.group, 1, (member, [group = {}]) => {
    walk.pass(member, "q", { ...outer, ...group }, test, own, tile.cols, (body, queries, see, q, dout) => {
      const facts = queries.map((q) => ({ lse: body.let(spec.lse(body, q.at)), delta: body.let(spec.delta(body, q.at)) }));
      const pair = pairs(body, spec, tile.unroll, queries, own, facts, see, { q, k, v, dout });
      dk?.update(body, (inner, at) => {
        const values = queries.map((_, r) => inner.let(q(inner, r, at)));
        return (c, old) => total([old, ...values.map((x, r) => mul(pair[r]?.[c]?.slope as ScalarExpr, x))]);
      });
      dv?.update(body, (inner, at) => {
        const values = queries.map((_, r) => inner.let(dout(inner, r, at)));
        return (c, old) => total([old, ...values.map((x, r) => mul(pair[r]?.[c]?.weight as ScalarExpr, x))]);
      });
    });
  });
  keys.forEach((key, c) => {
    const store = (body: Body): void => {
      dk?.row(body, c, (inner, at, sum) => spec.dk?.(inner, { ...key.at, [spec.width.name]: at }, sum));
      dv?.row(body, c, (inner, at, sum) => spec.dv?.(inner, { ...key.at, [spec.value.name]: at }, sum));
    };
    if (key.exists) b.if(key.exists, store);
    else store(b);
  });
  return {
    workgroup: [tile.lanes, 1, 1],
    grid: [ceilDiv(spec.key.size, tile.rows * tile.lanes), i32(1), spaceSize(spec.outer)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
}
