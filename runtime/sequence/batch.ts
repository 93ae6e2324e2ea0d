// Sequences to the input arrays of a program: rows of `t` tokens, several short sequences packed into a row.
// Packing is sound because every mask is joined with `q.doc == k.doc`; padding has doc -1. Where a router chooses among all
// tokens of a row (`coupled`) each row holds one sequence, whatever is asked.
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
  readonly beside: Readonly<Record<string, BesideTable>>;
}

/** Rows beside the sequences, one a stream: tokens of the same document have the same `doc` in all of them. */
export interface BesideTable {
  readonly tokens: number;
  readonly columns: Readonly<Record<string, Int32Array>>;
  readonly features: Float32Array;
}

/** First-fit decreasing into rows of `tokens` (default: the longest sequence); order of ties is the order given. */
export function packSequences(model: ModelSpec, sequences: readonly Sequence[], options: { tokens?: number; pack?: boolean; minRows?: number } = {}): TokenTable {
  const longest = sequences.reduce((n, s) => Math.max(n, s.count), 1);
  const tokens = Math.max(longest, options.tokens ?? 0);
  const free: number[] = [];
  const placed: Placed[] = [];
  const order = sequences.map((s, i) => ({ s, i }));
  const pack = options.pack && model.coupled === undefined;
  if (pack) order.sort((a, b) => b.s.count - a.s.count || a.i - b.i);
  for (const { s } of order) {
    let row = pack ? free.findIndex((f) => f >= s.count) : -1;
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
  for (const s of model.streams) if (s.kind === "patches" && !s.beside) features[s.name] = new Float32Array(size * s.features);
  const docs = new Int32Array(rows);
  const numbered: { row: number; doc: number; sequence: Sequence }[] = [];
  for (const p of placed) {
    const at = p.row * tokens + p.start;
    const { sequence: q } = p;
    for (const n of names) columns[n]?.set(q.columns[n] ?? [], at);
    const doc = docs[p.row] ?? 0;
    docs[p.row] = doc + 1;
    numbered.push({ row: p.row, doc, sequence: q });
    columns.doc?.fill(doc, at, at + q.count);
    for (const s of model.streams) {
      const from = s.kind === "patches" ? q.features[s.name] : undefined;
      if (s.kind === "patches" && from) features[s.name]?.set(from, at * s.features);
    }
  }
  return { rows, tokens, placed, columns, features, beside: besideTables(model, rows, numbered) };
}

/** Rows beside are padded to a multiple of this, so that few shapes are prepared; they hold one token at least. */
const ROUND = 8;

/** The rows beside a table of sequences: what each document has there, one after the other. */
export function besideTables(model: ModelSpec, rows: number, documents: readonly { readonly row: number; readonly doc: number; readonly sequence: Pick<Sequence, "beside"> }[]): Record<string, BesideTable> {
  const out: Record<string, BesideTable> = {};
  for (const s of model.streams) {
    if (!s.beside) continue;
    const used = new Int32Array(rows);
    const places = documents.flatMap(({ row, doc, sequence }) => {
      const own = sequence.beside[s.name];
      if (!own) return [];
      const at = used[row] ?? 0;
      used[row] = at + own.count;
      return [{ row, doc, at, own }];
    });
    const tokens = Math.max(1, Math.ceil(Math.max(0, ...used) / ROUND)) * ROUND;
    const columns: Record<string, Int32Array> = Object.fromEntries(attributesOf(model).map((a) => [a, new Int32Array(rows * tokens).fill(paddingOf(a))]));
    const width = s.kind === "patches" ? s.features : 0;
    const features = new Float32Array(rows * tokens * width);
    for (const p of places) {
      const at = p.row * tokens + p.at;
      for (const [n, column] of Object.entries(columns)) column.set(p.own.columns[n] ?? [], at);
      columns.doc?.fill(p.doc, at, at + p.own.count);
      features.set(p.own.features, at * width);
    }
    out[s.name] = { tokens, columns, features };
  }
  return out;
}

/** The programs' inputs and lengths for rows beside: `image.tok.pos`, `image.clean`, `t_image`. */
export function besideInputs(model: ModelSpec, tables: Readonly<Record<string, BesideTable>>): { lengths: Record<string, number>; values: Record<string, Int32Array | Float32Array> } {
  const lengths: Record<string, number> = {};
  const values: Record<string, Int32Array | Float32Array> = {};
  for (const s of model.streams) {
    const table = tables[s.name];
    if (!table) continue;
    lengths[`t_${s.name}`] = table.tokens;
    for (const [n, column] of Object.entries(table.columns)) values[`${s.name}.tok.${n}`] = column;
    if (s.kind === "patches") values[`${s.name}.clean`] = table.features;
  }
  return { lengths, values };
}
