// In: an attention, its out and lse, and the gradient of out. Out: the query side (dq, and delta if asked) or the key side
// (dk, dv summed over the group): two kernels, each owning the rows it sums, so neither needs atomics nor an n x n buffer.
// Weights are made again as exp(score - lse); a query that sees nothing gets and gives zero.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, builtin, f32, i32, mul, sub } from "../scalar/expr.ts";
import type { AttendTile } from "./attention_forward.ts";
import { chooseAttendTile, ownRows } from "./attention_forward.ts";
import type { Token, TokenFn } from "./attention_pairs.ts";
import { blockTokens, clampToken, dots, ifAny, loadAttrs, orElse, RowSums, scored, scoreSlope, total, visible, weight } from "./attention_pairs.ts";
import type { KernelParts, Point } from "./body.ts";
import { Body, spaceSize } from "./body.ts";
import type { Target } from "./kernel.ts";
import { ceilDiv, constantOf, coordinates, forEachRun } from "./space.ts";
import type { AttendBackwardSpec, KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

export function attendBackward(parts: KernelParts, spec: AttendBackwardSpec, target: Target): KernelShape {
  const width = constantOf(spec.width.size) ?? 1;
  const value = constantOf(spec.value.size) ?? 1;
  if (!spec.dq && !spec.dk && !spec.dv) return deltaRows(parts, spec, target);
  if (spec.dq) return queryRegisters(parts, spec, chooseAttendTile(width, target));
  const sums = (spec.dk ? width : 0) + (spec.dv ? value : 0);
  return keyRegisters(parts, spec, chooseAttendTile(sums, target));
}

/** Values of a block of tokens along width or value, from a point function. */
export const along = (f: (b: Body, at: Point) => ScalarExpr, tokens: readonly Token[], axis: string): TokenFn =>
  (b, i, at) => f(b, { ...(tokens[i] as Token).at, [axis]: at });

/** delta of each row: sum over value of dout * out. */
export function deltas(b: Body, spec: AttendBackwardSpec, rows: readonly Token[], unroll: number): ScalarExpr[] {
  const sums = rows.map(() => b.var(f32(0), "delta"));
  forEachRun(b, [spec.value], unroll, (body, run) => rows.forEach((row, r) => {
    const sum = sums[r] as ScalarExpr;
    body.assign(sum, total([sum, ...run.map((p) => mul(body.let(spec.dout(body, { ...row.at, ...p })), body.let(spec.out(body, { ...row.at, ...p }))))]));
  }));
  return sums;
}

/** delta alone: one invocation a row. */
function deltaRows(parts: KernelParts, spec: AttendBackwardSpec, target: Target): KernelShape {
  const b = new Body(parts);
  const tile: AttendTile = { rows: 1, cols: 1, lanes: target.products === "tiles" ? 64 : 16, unroll: 4 };
  const at = { ...coordinates(spec.outer, builtin("group.z")), ...coordinates(spec.group, builtin("group.y")) };
  const rows = ownRows(b, spec, tile, at, false);
  const [delta] = deltas(b, spec, rows, tile.unroll);
  for (const row of rows) {
    const store = (body: Body): void => spec.deltaSink?.(body, row.at, delta as ScalarExpr);
    if (row.exists) b.if(row.exists, store);
    else store(b);
  }
  return {
    workgroup: [tile.lanes, 1, 1],
    grid: [ceilDiv(spec.query.size, tile.lanes), spaceSize(spec.group), spaceSize(spec.outer)],
    arrays: parts.arrays,
    body: tidy(parts, b.stmts),
  };
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
  see: readonly (readonly (ScalarExpr | undefined)[])[], vectors: BlockVectors,
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
export function queryRegisters(parts: KernelParts, spec: AttendBackwardSpec, tile: AttendTile): KernelShape {
  const b = new Body(parts);
  const outer = coordinates(spec.outer, builtin("group.z"));
  const group = coordinates(spec.group, builtin("group.y"));
  const rows = ownRows(b, spec, tile, { ...outer, ...group });
  const delta = deltas(b, spec, rows, tile.unroll);
  const facts = rows.map((row, r) => ({ lse: b.let(spec.lse(b, row.at)), delta: delta[r] as ScalarExpr }));
  const dq = new RowSums(b, parts, tile.rows, spec.width);
  const own = rows.map((r) => ({ ...r, exists: undefined }));
  b.loop(i32(0), spec.key.size, tile.cols, (block, j) => {
    const keys = blockTokens(block, spec, "k", tile.cols, j, outer);
    const see = own.map((r) => keys.map((key) => visible(block, spec, r, key)));
    ifAny(block, see, (body) => {
      const k = along(spec.k, keys, spec.width.name);
      const pair = pairs(body, spec, tile.unroll, own, keys, facts, see, {
        q: along(spec.q, rows, spec.width.name), k,
        v: along(spec.v, keys, spec.value.name), dout: along(spec.dout, rows, spec.value.name),
      });
      dq.update(body, (inner, at) => {
        const values = keys.map((_, c) => inner.let(k(inner, c, at)));
        return (r, old) => total([old, ...values.map((x, c) => mul(pair[r]?.[c]?.slope as ScalarExpr, x))]);
      });
    });
  });
  rows.forEach((row, r) => {
    const store = (body: Body): void => {
      spec.deltaSink?.(body, row.at, delta[r] as ScalarExpr);
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
export function keyRegisters(parts: KernelParts, spec: AttendBackwardSpec, tile: AttendTile): KernelShape {
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
  const k = along(spec.k, keys, spec.width.name);
  const v = along(spec.v, keys, spec.value.name);
  forEachRun(b, spec.group, 1, (member, [group = {}]) => {
    member.loop(i32(0), spec.query.size, tile.cols, (block, i) => {
      const queries = blockTokens(block, spec, "q", tile.cols, i, { ...outer, ...group });
      const see = queries.map((q) => own.map((key) => visible(block, spec, q, key)));
      ifAny(block, see, (body) => {
        const delta = spec.delta;
        const made = delta ? [] : deltas(body, spec, queries, tile.unroll);
        const facts = queries.map((q, r) => ({
          lse: body.let(spec.lse(body, q.at)),
          delta: delta ? body.let(delta(body, q.at)) : made[r] as ScalarExpr,
        }));
        const q = along(spec.q, queries, spec.width.name);
        const dout = along(spec.dout, queries, spec.value.name);
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
