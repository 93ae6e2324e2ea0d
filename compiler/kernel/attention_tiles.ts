// In: an AttendSpec with facts of tiles, and which tiles a workgroup owns. Out: a walk over the tokens of the other side in
// blocks that leaves out what is not seen, with the visibility of every pair. Software adapters do not jump over a branch that
// no lane takes, they only end loops: so lists are made first (full tiles at once; mixed ones pair by pair, where invocations
// may differ), and the costly loop walks a list. Without facts the walk is over all blocks.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, bool, div, i32, lt, mapExpr, mod, mul, select, unary } from "../scalar/expr.ts";
import { tileTokens } from "./attention_ranges.ts";
import type { Token, TokenFn } from "./attention_pairs.ts";
import { blockTokens, headAt, ifAny, loadAttrs, visible } from "./attention_pairs.ts";
import type { Body, Point, PointFn, SpaceAxis } from "./body.ts";
import { ceilDiv, max, min } from "./space.ts";
import { snapshot } from "./lowering.ts";
import type { AttendSpec } from "./templates.ts";

export type Side = "q" | "k";

/** The own tiles of a workgroup: the facts of their side together. */
export class TileTest {
  readonly #spec: AttendSpec;
  readonly #own: Readonly<Record<string, ScalarExpr>>;
  readonly #passed: Side;

  /** `from`: the first own token, at a tile's start. */
  constructor(b: Body, spec: AttendSpec, side: Side, around: Point, from: ScalarExpr, count: number) {
    this.#spec = spec;
    this.#passed = side === "q" ? "k" : "q";
    const { tiles } = spec;
    const own: Record<string, ScalarExpr> = {};
    if (tiles) {
      const first = div(from, i32(tileTokens));
      const end = min(add(first, i32(Math.ceil(count / tileTokens))), ceilDiv(spec[side === "q" ? "query" : "key"].size, tileTokens));
      const sums = tiles.truth[side].map((name) => ({ name, to: b.var(i32(name.endsWith(".lo") ? 2147483647 : name.endsWith(".hi") ? -2147483648 : 0), "own") }));
      if (sums.length > 0) b.loop(first, b.let(end, "own_end"), 1, (body, tile) => {
        for (const { name, to } of sums)
          body.assign(to, binary(name.endsWith(".lo") ? "min" : name.endsWith(".hi") ? "max" : "or", to, tiles.fact(body, side, name, around, tile)));
      });
      for (const { name, to } of sums) own[name] = snapshot(b, to);
    }
    this.#own = own;
  }

  /** Whether some pair with a token of the passed tile may be visible, and whether all are. */
  read(b: Body, around: Point, tile: ScalarExpr): { readonly may: ScalarExpr; readonly must: ScalarExpr } {
    const { tiles } = this.#spec;
    if (!tiles) return { may: bool(true), must: bool(false) };
    const passed: Record<string, ScalarExpr> = {};
    for (const name of tiles.truth[this.#passed]) passed[name] = tiles.fact(b, this.#passed, name, around, tile);
    const bound = (e: ScalarExpr): ScalarExpr => mapExpr(e, (x) =>
      x.kind === "attr" ? ((x.side === this.#passed ? passed : this.#own)[x.name] ?? x) : x.kind === "name" && x.name === "head" ? headAt(this.#spec, around) : x);
    return { may: bound(tiles.truth.may), must: bound(tiles.truth.must) };
  }
}

/** Tiles that are sorted at a time, and the blocks in them. */
const listed = 32;

/** Visibility of the pairs of a block, [query][key]; undefined where every pair is visible. */
export type See = readonly (readonly (ScalarExpr | undefined)[])[];

/** How an invocation comes by vectors: its own, and those of the tokens it passes. */
export interface Walk {
  /** Own vectors along width or value. */
  own(b: Body, f: PointFn, tokens: readonly Token[], axis: SpaceAxis): TokenFn;
  /** Calls `visit` for blocks of `cols` tokens of the passed side in which an own token sees something, with the vectors that
   *  the passed side has along width (q or k) and value (dout or v). */
  pass(
    b: Body, side: Side, around: Point, test: TileTest, own: readonly Token[], cols: number,
    visit: (b: Body, tokens: readonly Token[], see: See, first: TokenFn, second: TokenFn) => void,
  ): void;
}

/** Values of a block of tokens along width or value, from a point function. */
export const along = (f: PointFn, tokens: readonly Token[], axis: string): TokenFn => (b, i, at) => f(b, { ...(tokens[i] as Token).at, [axis]: at });

/** One value a pair, [query][key], of passed and own tokens. */
export const byPair = (side: Side, passed: readonly Token[], own: readonly Token[], f: (q: Token, k: Token) => ScalarExpr | undefined): (ScalarExpr | undefined)[][] =>
  side === "q" ? passed.map((q) => own.map((k) => f(q, k))) : own.map((q) => passed.map((k) => f(q, k)));

/** Everything is read where it lies. */
export class ListWalk implements Walk {
  readonly #spec: AttendSpec;

  constructor(spec: AttendSpec) {
    this.#spec = spec;
  }

  own(_: Body, f: PointFn, tokens: readonly Token[], axis: SpaceAxis): TokenFn {
    return along(f, tokens, axis.name);
  }

  pass(
    b: Body, side: Side, around: Point, test: TileTest, own: readonly Token[], cols: number,
    visit: (b: Body, tokens: readonly Token[], see: See, first: TokenFn, second: TokenFn) => void,
  ): void {
    const spec = this.#spec;
    const [f, g] = side === "q" ? [spec.q, spec.dout ?? spec.q] : [spec.k, spec.v];
    passBlocks(b, spec, side, around, test, own, cols, (body, tokens, see) =>
      visit(body, tokens, see, along(f, tokens, spec.width.name), along(g, tokens, spec.value.name)));
  }
}

/** Calls `visit` for blocks of `cols` tokens of the passed side in which an own token sees something, in an order that depends
 *  on the classes of tiles alone. The first token of a block exists. */
function passBlocks(
  b: Body, spec: AttendSpec, side: Side, around: Point, test: TileTest, own: readonly Token[], cols: number,
  visit: (b: Body, tokens: readonly Token[], see: See) => void,
): void {
  const { size } = spec[side === "q" ? "query" : "key"];
  if (!spec.tiles) {
    b.loop(i32(0), size, cols, (body, from) => {
      const tokens = blockTokens(body, spec, side, cols, from, around);
      const see = byPair(side, tokens, own, (q, k) => visible(body, spec, q, k));
      ifAny(body, see, (inner) => visit(inner, tokens, see));
    });
    return;
  }
  const blocks = tileTokens / cols;
  const capacity = listed * blocks;
  const bit = (r: number, c: number): number => 1 << (side === "q" ? r * own.length + c : r * cols + c);
  const all = own.every((t) => !t.exists) ? i32(2 ** (own.length * cols) - 1) : undefined;
  const every = all ?? b.let(gather(byPair(side, Array.from({ length: cols }, () => own[0] as Token), own, (q, k) => (side === "q" ? k : q).exists), bit), "every");
  const tiles = b.let(ceilDiv(size, tileTokens), "tiles");
  const lastTile = b.let(add(tiles, i32(-1)), "last");
  const lastBlock = b.let(add(ceilDiv(size, cols), i32(-1)), "last");
  const [mixed, list, bits] = [b.parts.array("mixed", "i32", listed, "private"), b.parts.array("list", "i32", capacity, "private"), b.parts.array("bits", "i32", capacity, "private")];
  b.loop(i32(0), ceilDiv(size, tileTokens * listed), 1, (part, n) => {
    const first = part.let(mul(n, i32(listed)), "first");
    const [count, some] = [part.var(i32(0), "count"), part.var(i32(0), "some")];
    // Full tiles go to the list as they are, and what is stored past the count is written over by the next.
    part.loop(first, part.let(min(add(first, i32(listed)), tiles), "end"), 1, (body, tile) => {
      const { may, must } = test.read(body, around, tile);
      const clear = body.let(and(must, binary("le", mul(add(tile, i32(1)), i32(tileTokens)), size)), "clear");
      const at = body.let(held(count, capacity - blocks), "at");
      for (let i = 0; i < blocks; i++) {
        body.astore(list, add(at, i32(i)), add(mul(tile, i32(blocks)), i32(i)));
        body.astore(bits, add(at, i32(i)), every);
      }
      body.assign(count, add(count, select(clear, i32(blocks), i32(0))));
      body.astore(mixed, held(some, listed - 1), tile);
      body.assign(some, add(some, select(and(may, unary("not", clear)), i32(1), i32(0))));
    });
    // In the others every pair is tested, and an invocation keeps the blocks in which its own tokens see something.
    part.loop(i32(0), part.let(mul(min(some, i32(listed)), i32(blocks)), "many"), 1, (body, i) => {
      const tile = body.aload(mixed, held(div(i, i32(blocks)), listed - 1));
      const block = body.let(add(mul(tile, i32(blocks)), mod(i, i32(blocks))), "block");
      const tokens = Array.from({ length: cols }, (_, c): Token => {
        const index = body.let(add(mul(block, i32(cols)), i32(c)), "token");
        const at = { ...around, [spec[side === "q" ? "query" : "key"].name]: body.let(max(i32(0), min(index, add(size, i32(-1)))), "edge") };
        return { at, exists: body.let(lt(index, size), "exists"), attrs: loadAttrs(body, spec, side, at, [spec.mask]) };
      });
      const seen = body.let(gather(byPair(side, tokens, own, (q, k) => visible(body, spec, q, k)), bit), "seen");
      const at = body.let(held(count, capacity - 1), "at");
      body.astore(list, at, block);
      body.astore(bits, at, seen);
      body.assign(count, add(count, select(binary("ne", seen, i32(0)), i32(1), i32(0))));
    });
    part.loop(i32(0), part.let(min(count, i32(capacity)), "many"), 1, (body, i) => {
      const from = body.let(mul(max(i32(0), min(body.aload(list, i), lastBlock)), i32(cols)), "from");
      const seen = body.aload(bits, i);
      const tokens = blockTokens(body, spec, side, cols, from, around);
      const see = (side === "q" ? tokens : own).map((_, r) => (side === "q" ? own : tokens).map((__, c) => body.let(binary("ne", binary("and", seen, i32(bit(r, c))), i32(0)), "see")));
      visit(body, tokens, see);
    });
  });
}

/** A count as an index: the proof of bounds knows no other way. */
const held = (count: ScalarExpr, last: number): ScalarExpr => max(i32(0), min(count, i32(last)));

/** One bit a pair. */
const gather = (see: See, bit: (r: number, c: number) => number): ScalarExpr =>
  see.flatMap((row, r) => row.map((v, c) => (v ? select(v, i32(bit(r, c)), i32(0)) : i32(bit(r, c))))).reduce((x, y) => binary("or", x, y));
