// Sequences to the input arrays of a program: rows of `t` tokens, several short sequences packed into a row.
// Packing is sound because every mask is joined with `q.doc == k.doc`; padding has doc -1.
// Out: arrays named as the programs' inputs (`tok.id`, `tok.pos`, `image.clean`, ...).

import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { attributesOf, paddingOf, type Sequence } from "./layout.ts";

export interface Placed {
  readonly sequence: Sequence;
  readonly row: number;
  readonly start: number;
}

export interface TokenTable {
  readonly rows: number;
  /** Tokens a row, padding included. */
  readonly tokens: number;
  readonly placed: readonly Placed[];
  readonly columns: Readonly<Record<string, Int32Array>>;
  /** stream -> [rows, tokens, features] */
  readonly features: Readonly<Record<string, Float32Array>>;
}

/** First-fit decreasing into rows of `tokens` (default: the longest sequence); order of ties is the order given. */
export function packSequences(model: ModelSpec, sequences: readonly Sequence[], options: { tokens?: number; pack?: boolean; minRows?: number } = {}): TokenTable {
  const longest = sequences.reduce((n, s) => Math.max(n, s.count), 1);
  const tokens = Math.max(longest, options.tokens ?? 0);
  const free: number[] = [];
  const placed: Placed[] = [];
  const order = sequences.map((s, i) => ({ s, i }));
  if (options.pack) order.sort((a, b) => b.s.count - a.s.count || a.i - b.i);
  for (const { s } of order) {
    let row = options.pack ? free.findIndex((f) => f >= s.count) : -1;
    if (row < 0) row = free.push(tokens) - 1;
    const left = free[row] ?? tokens;
    placed.push({ sequence: s, row, start: tokens - left });
    free[row] = left - s.count;
  }
  const rows = Math.max(free.length, options.minRows ?? 1);
  const size = rows * tokens;
  const names = attributesOf(model);
  const columns: Record<string, Int32Array> = Object.fromEntries(names.map((a) => [a, new Int32Array(size).fill(paddingOf(a))]));
  const features: Record<string, Float32Array> = {};
  for (const s of model.streams) if (s.kind === "patches") features[s.name] = new Float32Array(size * s.features);
  const docs = new Int32Array(rows);
  for (const p of placed) {
    const at = p.row * tokens + p.start;
    const { sequence: q } = p;
    for (const n of names) columns[n]?.set(q.columns[n] ?? [], at);
    const doc = docs[p.row] ?? 0;
    docs[p.row] = doc + 1;
    columns.doc?.fill(doc, at, at + q.count);
    for (const s of model.streams) {
      const from = s.kind === "patches" ? q.features[s.name] : undefined;
      if (s.kind === "patches" && from) features[s.name]?.set(from, at * s.features);
    }
  }
  return { rows, tokens, placed, columns, features };
}
