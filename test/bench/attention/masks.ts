// The masks of the attention benchmark: predicates over token attributes that a run is given, as a model's mask is. Every mask is
// joined with `q.doc == k.doc`, as the language does. In: a number of tokens. Out: their attributes; which pairs are visible,
// written out a second time as plain conditions for those who take a table.

import type { ScalarExpr } from "../../../compiler/scalar/expr.ts";
import { and, attr, binary, i32, lt, sub } from "../../../compiler/scalar/expr.ts";
import { classify, tileFacts, tileTruth } from "../../../compiler/scalar/tile_truth.ts";
import type { Columns } from "../../templates/attention_graph.ts";
import { attrsIn } from "../../templates/attention_leaves.ts";

export interface BenchMask {
  readonly title: string;
  readonly expr: ScalarExpr;
  readonly columns: (t: number) => Columns;
  /** Whether i sees j, of the values of their columns. */
  readonly see: (c: Columns, i: number, j: number) => boolean;
}

const [q, k] = [(n: string) => attr("q", n), (n: string) => attr("k", n)];
const at = (c: Columns, name: string, i: number): number => c[name]?.[i] ?? 0;
const sameDoc = binary("eq", q("doc"), k("doc"));
const causal = binary("le", k("pos"), q("pos"));
const before = (c: Columns, i: number, j: number): boolean => at(c, "pos", j) <= at(c, "pos", i);
const among = (c: Columns, name: string, i: number, j: number): boolean => at(c, name, i) === at(c, name, j);

/** Lengths in turn until `t` tokens are laid; `fill` says what a token is, by its run and place. */
function runs(t: number, lengths: readonly number[], fill: (run: number, index: number, token: number) => Readonly<Record<string, number>>): Columns {
  const out: Record<string, Int32Array> = {};
  let token = 0;
  for (let run = 0; token < t; run++)
    for (let index = 0; index < (lengths[run % lengths.length] ?? 1) && token < t; index++, token++)
      for (const [name, value] of Object.entries({ doc: 0, pos: token, ...fill(run, index, token) })) (out[name] ??= new Int32Array(t))[token] = value;
  return out;
}

const text = 0, image = 1, given = 1, rest = 2;
/** Sides of the scales of VAR, and on for longer rows. */
const scales = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 24, 28, 32].map((side) => side * side);

export const masks: Readonly<Record<string, BenchMask>> = {
  causal: { title: "causal", expr: and(sameDoc, causal), columns: (t) => runs(t, [t], () => ({})), see: before },
  window: {
    title: "causal, window 64", expr: and(and(sameDoc, causal), lt(sub(q("pos"), k("pos")), i32(64))), columns: (t) => runs(t, [t], () => ({})),
    see: (c, i, j) => before(c, i, j) && at(c, "pos", i) - at(c, "pos", j) < 64,
  },
  documents: {
    title: "packed documents, causal", expr: and(sameDoc, causal), columns: (t) => runs(t, [100, 60, 190, 34, 128], (doc, pos) => ({ doc, pos })),
    see: (c, i, j) => among(c, "doc", i, j) && before(c, i, j),
  },
  prefix: {
    title: "prefix-LM, a quarter given", expr: and(sameDoc, binary("or", binary("eq", k("role"), i32(given)), causal)),
    columns: (t) => runs(t, [t / 4, t], (run) => ({ role: run === 0 ? given : rest })),
    see: (c, i, j) => at(c, "role", j) === given || before(c, i, j),
  },
  images: {
    title: "within-image: text and images of 64 in turn", expr: and(sameDoc, binary("or", and(and(binary("eq", q("stream"), i32(image)), binary("eq", k("stream"), i32(image))), binary("eq", q("span"), k("span"))), causal)),
    columns: (t) => runs(t, [48, 64], (span) => ({ span, stream: span % 2 === 0 ? text : image })),
    see: (c, i, j) => (at(c, "stream", i) === image && among(c, "span", i, j)) || before(c, i, j),
  },
  scales: {
    title: "VAR: scale after scale", expr: and(sameDoc, binary("le", k("scale"), q("scale"))), columns: (t) => runs(t, scales, (scale) => ({ scale })),
    see: (c, i, j) => at(c, "scale", j) <= at(c, "scale", i),
  },
};

/** Attributes for the queries and for the keys, as the mask reads them. */
export function columnsOf(mask: BenchMask, t: number): { query: Columns; key: Columns } {
  const all = mask.columns(t);
  const pick = (side: "q" | "k"): Columns => Object.fromEntries(attrsIn([mask.expr], side).map((n) => [n, all[n] ?? new Int32Array(t)]));
  return { query: pick("q"), key: pick("k") };
}

/** 1 where a query sees a key, [t, t]; everywhere without a mask. */
export function visibility(mask: BenchMask | undefined, t: number): Uint8Array {
  if (!mask) return new Uint8Array(t * t).fill(1);
  const columns = mask.columns(t);
  const out = new Uint8Array(t * t);
  for (let i = 0; i < t; i++) for (let j = 0; j < t; j++) if (mask.see(columns, i, j)) out[i * t + j] = 1;
  return out;
}

export interface Skipped {
  /** Share of hidden pairs. */
  readonly pairs: number;
  /** Shares of tiles of 16 x 16 that the analysis calls empty, and full. */
  readonly tiles: number;
  readonly full: number;
}

export function skipped(mask: BenchMask, t: number): Skipped {
  const seen = visibility(mask, t).reduce((n, x) => n + x, 0);
  const truth = tileTruth(mask.expr);
  const facts = ({ query, key }: { query: Columns; key: Columns }) => [query, key].map((side) => Array.from({ length: Math.ceil(t / 16) }, (_, tile) =>
    tileFacts(Object.fromEntries(Object.entries(side).map(([n, x]) => [n, [...x.subarray(16 * tile, 16 * tile + 16)]])))));
  const [ofQueries = [], ofKeys = []] = facts(columnsOf(mask, t));
  const count = { empty: 0, full: 0, mixed: 0 };
  for (const a of ofQueries) for (const b of ofKeys) count[classify(truth, a, b)]++;
  const tiles = ofQueries.length * ofKeys.length;
  return { pairs: 1 - seen / (t * t), tiles: count.empty / tiles, full: count.full / tiles };
}
