// Random attention: masks of all that the mask language has, over random packed rows. In: a seed and a number. Out: the case of
// that number, the same in every run. A case holds one predicate, or one for each of several heads: kernels take longer to make
// than to run, and heads are cheap.

import type { BinaryOp, ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, and, attr, binary, bool, i32, lt, mul, name, select, sub, unary } from "../../compiler/scalar/expr.ts";
import { floorDiv, floorMod } from "../../compiler/scalar/whole.ts";
import type { AttentionCase, Columns } from "./attention_graph.ts";

export type Random = () => number;

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function randomOf(seed: number): Random {
  let a = Math.imul(seed, 0x9e3779b1) >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const below = (r: Random, n: number): number => Math.floor(r() * n);
const oneOf = <T>(r: Random, xs: readonly T[]): T => xs[below(r, xs.length)] as T;

/** Every built-in attribute, two that a task may declare (one of them small and signed, one large), and the head. */
export const attributes = ["pos", "doc", "span", "index", "stream", "task", "role", "row", "col", "frame", "scale", "time", "turn", "far"] as const;
const common = ["pos", "doc", "span", "stream", "role", "row", "col"] as const;

const leaf = (r: Random): ScalarExpr => {
  const x = r();
  if (x < 0.62) return attr(r() < 0.5 ? "q" : "k", r() < 0.6 ? oneOf(r, common) : oneOf(r, attributes));
  if (x < 0.7) return name("head", "i32");
  return i32(r() < 0.85 ? below(r, 8) : oneOf(r, [-1, -3, 16, 31, 40, 64, 2 ** 20 + 1, 2 ** 31 - 1, -(2 ** 31)]));
};

/** A whole number of at most `depth` levels. */
function whole(r: Random, depth: number): ScalarExpr {
  if (depth <= 1 || r() < 0.45) return leaf(r);
  const a = (): ScalarExpr => whole(r, depth - 1);
  const x = r();
  if (x < 0.22) return add(a(), a());
  if (x < 0.46) return sub(a(), a());
  if (x < 0.54) return mul(a(), a());
  if (x < 0.64) return floorDiv(a(), r() < 0.8 ? i32(1 + below(r, 9)) : a());
  if (x < 0.74) return floorMod(a(), r() < 0.8 ? i32(1 + below(r, 9)) : a());
  if (x < 0.82) return unary("abs", a());
  if (x < 0.86) return unary("neg", a());
  if (x < 0.94) return binary(r() < 0.5 ? "min" : "max", a(), a());
  return select(predicate(r, depth - 1), a(), a());
}

/** A condition of at most `depth` levels. */
export function predicate(r: Random, depth: number): ScalarExpr {
  if (depth <= 1) return bool(r() < 0.7);
  const x = r();
  if (depth === 2 || x < 0.3) {
    // The two sides of a pair, compared: what most masks are made of.
    const [a, b] = r() < 0.3 ? sameOnBoth(r) : [whole(r, depth - 1), whole(r, depth - 1)];
    return binary(oneOf<BinaryOp>(r, ["eq", "ne", "lt", "le", "le"]), a, b);
  }
  const p = (): ScalarExpr => predicate(r, depth - 1);
  if (x < 0.6) return and(p(), p());
  if (x < 0.84) return binary("or", p(), p());
  if (x < 0.94) return unary("not", p());
  if (x < 0.97) return binary(r() < 0.5 ? "eq" : "ne", p(), p());
  return select(p(), p(), p());
}

function sameOnBoth(r: Random): [ScalarExpr, ScalarExpr] {
  const n = oneOf(r, attributes);
  return r() < 0.5 ? [attr("k", n), attr("q", n)] : [attr("q", n), attr("k", n)];
}

/** Rows of packed documents made of spans (text, images as grids, noised copies), with padding behind; now and then no order at all. */
export function randomColumns(r: Random, rows: number, tokens: number): Columns {
  const out = Object.fromEntries(attributes.map((n) => [n, new Int32Array(rows * tokens)])) as Record<(typeof attributes)[number], Int32Array>;
  if (r() < 0.08) {
    for (const n of attributes) out[n].forEach((_, i) => { out[n][i] = below(r, 12) - (r() < 0.1 ? 6 : 0); });
    return out;
  }
  const long = 1 + below(r, Math.max(2, Math.min(40, tokens)));
  for (let row = 0; row < rows; row++) {
    let at = row * tokens;
    const end = at + tokens - (r() < 0.5 ? below(r, Math.ceil(tokens / 3) + 1) : 0);
    for (const n of attributes) out[n].fill(n === "doc" ? -1 : 0, at, at + tokens);
    for (let doc = 0; at < end; doc++) {
      const task = below(r, 3);
      let [pos, time] = [0, 0];
      for (let span = 0, left = 1 + below(r, 2 * long); left > 0 && at < end; span++) {
        const stream = below(r, 3), role = below(r, 3), width = 1 + below(r, 5), noised = stream === 2 && r() < 0.5;
        if (noised) time++;
        const frame = below(r, 4), scale = span % 5, turn = below(r, 5) - 1;
        for (let index = 0, n = 1 + below(r, long); n > 0 && left > 0 && at < end; n--, left--, at++, index++) {
          const of = { pos: pos++, doc, span, index, stream, task, role, frame, scale, turn, time: noised ? time : 0, row: stream === 0 ? 0 : Math.floor(index / width), col: stream === 0 ? 0 : index % width, far: r() < 0.1 ? oneOf(r, [2 ** 31 - 1, -(2 ** 31), 2 ** 21, 70000]) : index };
          for (const k of attributes) out[k][at] = of[k];
        }
      }
    }
  }
  return out;
}

/** Around the tiles that kernels pass over as a whole, and anything between. */
const lengths = [1, 2, 7, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130];
const sizeOf = (r: Random): number => (r() < 0.6 ? oneOf(r, lengths) : 1 + below(r, 40));

export interface RandomCase {
  readonly case: AttentionCase;
  /** One a head of the keys; `case.mask` chooses among them. */
  readonly masks: readonly ScalarExpr[];
}

/** `together`: predicates in one case, each for one head. */
export function randomCase(seed: number, together = 1): RandomCase {
  const r = randomOf(seed);
  const [heads, group] = together > 1 ? [together, 1] : oneOf(r, [[1, 1], [1, 1], [2, 1], [1, 2], [2, 2], [1, 3]] as const);
  const batch = r() < 0.7 ? 1 : 2;
  const t = sizeOf(r);
  const cross = r() < 0.3;
  const s = cross ? sizeOf(r) : t;
  const sameDoc = binary("eq", attr("q", "doc"), attr("k", "doc"));
  const masks = Array.from({ length: together }, () => {
    const mask = predicate(r, 2 + below(r, 5));
    return r() < 0.5 ? and(sameDoc, mask) : mask;
  });
  const mask = masks.slice(0, -1).reduceRight((rest, m, h) => select(binary("eq", name("head", "i32"), i32(h)), m, rest), masks[masks.length - 1] as ScalarExpr);
  const width = r() < 0.8 ? 4 : oneOf(r, [3, 5, 8]);
  const query = randomColumns(r, batch, t);
  return {
    masks,
    case: {
      what: `seed ${seed}`, batch, heads, ...(group > 1 || r() < 0.3 ? { group } : {}), t, s, width, value: r() < 0.8 ? width : oneOf(r, [1, 3, 6]), mask, query,
      key: cross ? randomColumns(r, batch, s) : query,
    },
  };
}
