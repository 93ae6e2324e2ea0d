// In: an AttendSpec with facts of tiles, and which tiles a workgroup owns. Out: a walk over the tokens of the other side in
// blocks that passes over empty tiles as a whole and says of a block whether its pairs need the mask at all.
// Without facts (no mask, or one that no tile decides) the walk is over blocks alone.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, bool, div, i32, mapExpr, mul } from "../scalar/expr.ts";
import { tileCount, tileTokens } from "./attention_ranges.ts";
import { headAt } from "./attention_pairs.ts";
import type { Body, Point } from "./body.ts";
import { constantOf, max, min } from "./space.ts";
import type { AttendSpec } from "./templates.ts";

export type Side = "q" | "k";

/** The own tiles of a workgroup: the facts of their side together. */
export class TileTest {
  readonly #spec: AttendSpec;
  readonly #own: Readonly<Record<string, ScalarExpr>>;
  readonly #passed: Side;

  /** `first`: the first own token, in one tile with the `count` - 1 that follow or at a tile's start. */
  constructor(b: Body, spec: AttendSpec, side: Side, around: Point, first: ScalarExpr, count: number) {
    this.#spec = spec;
    this.#passed = side === "q" ? "k" : "q";
    const { tiles } = spec;
    const own: Record<string, ScalarExpr> = {};
    if (tiles) {
      const last = add(tileCount(spec[side === "q" ? "query" : "key"].size), i32(-1));
      const from = div(first, i32(tileTokens));
      const places = Array.from({ length: Math.ceil(count / tileTokens) }, (_, i) => b.let(min(add(from, i32(i)), last), "own_tile"));
      for (const name of tiles.truth[side]) {
        const values = places.map((tile) => tiles.fact(b, side, name, around, tile));
        const join = name.endsWith(".lo") ? min : name.endsWith(".hi") ? max : (x: ScalarExpr, y: ScalarExpr): ScalarExpr => binary("or", x, y);
        own[name] = b.let(values.reduce(join), name.replace(".", "_"));
      }
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

/** Calls `visit` for blocks of `cols` tokens of the passed side: `from` exists, and `clear` holds where every pair is visible
 *  and every token of the block exists (undefined: never known). */
export function passBlocks(
  b: Body, spec: AttendSpec, side: Side, around: Point, test: TileTest, cols: number,
  visit: (b: Body, from: ScalarExpr, clear: ScalarExpr | undefined) => void,
): void {
  const size = spec[side === "q" ? "query" : "key"].size;
  if (!spec.tiles) {
    b.loop(i32(0), size, cols, (body, from) => visit(body, from, undefined));
    return;
  }
  if (tileTokens % cols !== 0) throw new Error(`attend: blocks of ${cols} do not fill a tile`);
  b.loop(i32(0), tileCount(size), 1, (body, tile) => {
    const { may, must } = test.read(body, around, tile);
    body.if(body.let(may, "may"), (inside) => {
      const start = inside.let(mul(tile, i32(tileTokens)), "start");
      const past = add(start, i32(tileTokens));
      const whole = (constantOf(size) ?? 1) % tileTokens === 0 && constantOf(size) !== undefined;
      const clear = inside.let(whole ? must : and(must, binary("le", past, size)), "clear");
      inside.loop(start, inside.let(whole ? past : min(past, size), "end"), cols, (block, from) => visit(block, from, clear));
    });
  });
}
