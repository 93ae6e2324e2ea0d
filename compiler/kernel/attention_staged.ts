// In: an AttendSpec for a device with workgroup memory. Out: the walk of attention_tiles.ts for such a device: a workgroup
// classifies tiles side by side, one a lane, brings the tokens of a tile that somebody sees into workgroup memory, and every
// invocation passes them there. All barriers stand in uniform control flow: classes are read by uniform loads.
// Refuses (undefined) widths that do not fit the memory with at least one block of tokens.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, bool, builtin, div, i32, lt, mod, mul, select, sub, unary } from "../scalar/expr.ts";
import type { Token, TokenFn } from "./attention_pairs.ts";
import { blockTokens, ifAny, loadAttrs, visible } from "./attention_pairs.ts";
import { tileTokens } from "./attention_ranges.ts";
import type { See, Side, TileTest, Walk } from "./attention_tiles.ts";
import { along, byPair } from "./attention_tiles.ts";
import type { Body, KernelParts, Point, PointFn, SpaceAxis } from "./body.ts";
import type { Target } from "./kernel.ts";
import { ceilDiv, constantOf, min } from "./space.ts";
import type { AttendSpec } from "./templates.ts";

/** Own vectors are kept by the invocation up to this many numbers; beyond, they are read again. */
const kept = 512;

export class StagedWalk implements Walk {
  readonly #spec: AttendSpec;
  readonly #parts: KernelParts;
  readonly #lanes: number;
  /** Tokens in workgroup memory at a time. */
  readonly #count: number;
  #stage: { readonly first: string; readonly second: string; readonly classes: string } | undefined;

  private constructor(parts: KernelParts, spec: AttendSpec, lanes: number, count: number) {
    [this.#parts, this.#spec, this.#lanes, this.#count] = [parts, spec, lanes, count];
  }

  static make(parts: KernelParts, spec: AttendSpec, target: Target, lanes: number, cols: number): StagedWalk | undefined {
    const [width, value] = [constantOf(spec.width.size), constantOf(spec.value.size)];
    if (width === undefined || value === undefined) return undefined;
    for (let count = tileTokens; count >= cols; count /= 2)
      if (4 * (count * (width + value) + lanes) <= target.workgroupBytes) return new StagedWalk(parts, spec, lanes, count);
    return undefined;
  }

  own(b: Body, f: PointFn, tokens: readonly Token[], axis: SpaceAxis): TokenFn {
    const size = constantOf(axis.size) ?? 0;
    if (size * tokens.length > kept) return along(f, tokens, axis.name);
    const array = this.#parts.array("own", "f32", size * tokens.length, "private");
    tokens.forEach((t, r) => b.loop(i32(0), i32(size), 1, (body, w) => body.astore(array, add(i32(r * size), w), f(body, { ...t.at, [axis.name]: w }))));
    return (body, r, w) => body.aload(array, add(i32(r * size), w));
  }

  pass(
    b: Body, side: Side, around: Point, test: TileTest, own: readonly Token[], cols: number,
    visit: (b: Body, tokens: readonly Token[], see: See, first: TokenFn, second: TokenFn) => void,
  ): void {
    const spec = this.#spec;
    const { size } = spec[side === "q" ? "query" : "key"];
    this.#stage ??= {
      first: this.#parts.array("first", "f32", this.#count * (constantOf(spec.width.size) ?? 0), "shared"),
      second: this.#parts.array("second", "f32", this.#count * (constantOf(spec.value.size) ?? 0), "shared"),
      classes: this.#parts.array("classes", "i32", this.#lanes, "shared"),
    };
    if (!spec.tiles) {
      b.loop(i32(0), size, this.#count, (body, from) => this.#group(body, side, around, own, cols, from, undefined, visit));
      return;
    }
    const { classes } = this.#stage;
    const tiles = b.let(ceilDiv(size, tileTokens), "tiles");
    b.loop(i32(0), ceilDiv(size, tileTokens * this.#lanes), 1, (part, n) => {
      const first = part.let(mul(n, i32(this.#lanes)), "first");
      const mine = part.let(add(first, builtin("lane.x")), "mine");
      // 0: nothing to see, 1: something, 2: everything.
      part.if(lt(mine, tiles), (body) => {
        const { may, must } = test.read(body, around, mine);
        const clear = and(must, binary("le", mul(add(mine, i32(1)), i32(tileTokens)), size));
        body.astore(classes, builtin("lane.x"), select(may, select(clear, i32(2), i32(1)), i32(0)));
      });
      part.loop(first, part.let(min(add(first, i32(this.#lanes)), tiles), "end"), 1, (each, tile) => {
        const kind = each.aload(classes, sub(tile, first), true);
        each.if(binary("ne", kind, i32(0)), (body) => {
          const clear = body.let(binary("eq", kind, i32(2)), "clear");
          const start = body.let(mul(tile, i32(tileTokens)), "start");
          body.loop(start, body.let(min(add(start, i32(tileTokens)), size), "past"), this.#count, (inner, from) => this.#group(inner, side, around, own, cols, from, clear, visit));
        });
      });
    });
  }

  /** Brings tokens from `from` on, which exists, into workgroup memory and passes them. */
  #group(
    b: Body, side: Side, around: Point, own: readonly Token[], cols: number, from: ScalarExpr, clear: ScalarExpr | undefined,
    visit: (b: Body, tokens: readonly Token[], see: See, first: TokenFn, second: TokenFn) => void,
  ): void {
    const spec = this.#spec;
    const axis = spec[side === "q" ? "query" : "key"];
    const [f, g] = side === "q" ? [spec.q, spec.dout ?? spec.q] : [spec.k, spec.v];
    if (!this.#stage) throw new Error("attend: nothing is staged");
    const { first, second } = this.#stage;
    b.barrier();
    this.#fill(b, first, f, spec.width, axis, around, from);
    this.#fill(b, second, g, spec.value, axis, around, from);
    b.barrier();
    const staged = (array: string, along: SpaceAxis, block: ScalarExpr): TokenFn =>
      (body, c, w) => body.aload(array, add(mul(add(block, i32(c)), along.size), w));
    b.loop(i32(0), i32(this.#count / cols), 1, (body, i) => {
      const block = body.let(mul(i, i32(cols)), "block");
      const at = body.let(add(from, block), "from");
      const [k, v] = [staged(first, spec.width, block), staged(second, spec.value, block)];
      body.if(lt(at, axis.size), (inside) => {
        const tokens = blockTokens(inside, spec, side, cols, at, around);
        if (!clear) {
          const see = byPair(side, tokens, own, (q, key) => visible(inside, spec, q, key));
          ifAny(inside, see, (x) => visit(x, tokens, see, k, v));
          return;
        }
        const see = byPair(side, tokens, own, (q, key) => inside.var((side === "q" ? key : q).exists ?? bool(true), "see"));
        inside.if(unary("not", clear), (x) => {
          const whole = tokens.map((t) => ({ ...t, attrs: { ...t.attrs, ...loadAttrs(x, spec, side, t.at, [spec.mask]) } }));
          const seen = byPair(side, whole, own, (q, key) => visible(x, spec, q, key));
          see.forEach((row, r) => row.forEach((to, c) => { if (to) x.assign(to, seen[r]?.[c] ?? bool(true)); }));
        });
        ifAny(inside, see, (x) => visit(x, tokens, see, k, v));
      });
    });
  }

  /** Every lane brings its share, neighbours along the vector; past the end the last token counts again. */
  #fill(b: Body, array: string, f: PointFn, along: SpaceAxis, tokens: SpaceAxis, around: Point, from: ScalarExpr): void {
    const size = constantOf(along.size) ?? 1;
    const total = size * this.#count;
    const load = (body: Body, e: ScalarExpr): void => {
      const token = body.let(min(add(from, div(e, i32(size))), add(tokens.size, i32(-1))), "token");
      body.astore(array, e, f(body, { ...around, [tokens.name]: token, [along.name]: body.let(mod(e, i32(size)), "w") }));
    };
    b.loop(i32(0), i32(Math.ceil(total / this.#lanes)), 1, (body, turn) => {
      const e = body.let(add(mul(turn, i32(this.#lanes)), builtin("lane.x")), "e");
      if (total % this.#lanes === 0) load(body, e);
      else body.if(lt(e, i32(total)), (inside) => load(inside, e));
    });
  }
}
