// The rows of a generation: what each has committed to the cache and what is still to be fed.
// One row is one sequence; rows of a batch are padded to the same slots (doc -1), so a slot is not a position.

import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { attributesOf, paddingOf, type Sequence } from "../sequence/layout.ts";

export interface Token {
  readonly attributes: Readonly<Record<string, number>>;
  readonly features: Readonly<Record<string, Float32Array>>;
}

export class Row {
  /** The request that the row belongs to. */
  readonly request: number;
  /** Without the conditions that guidance leaves out. */
  readonly free: boolean;
  /** Tokens in cache slots; undefined is padding. */
  slots: (Token | undefined)[] = [];
  /** Tokens laid out but not yet fed. */
  pending: Token[] = [];
  /** Tokens laid out so far. */
  count = 0;
  /** How many of them, from the first, no later token changes. */
  lasting = 0;
  /** Whether `lasting` is final. */
  bounded = false;

  constructor(request: number, free: boolean) {
    this.request = request;
    this.free = free;
  }

  /** Take over what a longer layout of the same sequence adds. */
  extend(tokens: readonly Token[]): void {
    this.pending.push(...tokens);
    this.count += tokens.length;
  }

  /** Pending tokens that no later token changes. */
  get settled(): number {
    return Math.max(0, this.lasting - (this.count - this.pending.length));
  }

  /** Every token that does not last is pending again; its slots are free. */
  rewind(): void {
    const back: Token[] = [];
    let seen = 0;
    this.slots.forEach((token, i) => {
      if (!token || seen++ < this.lasting) return;
      back.push(token);
      this.slots[i] = undefined;
    });
    this.pending = [...back, ...this.pending];
    while (this.slots.length > 0 && this.slots[this.slots.length - 1] === undefined) this.slots.pop();
  }
}

/** A sequence's columns as single tokens, from token `from` on. */
export function tokensOf(model: ModelSpec, sequence: Sequence, from = 0): Token[] {
  const names = attributesOf(model);
  return Array.from({ length: Math.max(0, sequence.count - from) }, (_, n) => {
    const i = from + n;
    const attributes: Record<string, number> = {};
    for (const a of names) attributes[a] = sequence.columns[a]?.[i] ?? 0;
    const features: Record<string, Float32Array> = {};
    for (const s of model.streams) {
      const all = s.kind === "patches" ? sequence.features[s.name] : undefined;
      if (s.kind === "patches" && all && attributes.stream === s.id) features[s.name] = all.slice(i * s.features, (i + 1) * s.features);
    }
    return { attributes, features };
  });
}

export interface StepTable {
  readonly lengths: Readonly<Record<string, number>>;
  readonly columns: Record<string, Int32Array>;
  readonly keys: Record<string, Int32Array>;
  readonly features: Record<string, Float32Array>;
  /** Index of the last real token of each row; 0 for a row that feeds nothing. */
  readonly last: Int32Array;
}

/** Key lengths in steps of 16, so that few lengths are prepared; the slots beyond are padding, which no mask lets through. */
export const roundSlots = (n: number): number => Math.ceil(n / 16) * 16;

/** Columns for feeding `fed[r]` into slots from `at` on; keys are the slots before and the fed tokens. */
export function stepTable(model: ModelSpec, rows: readonly Row[], fed: readonly (readonly Token[])[], at: number): StepTable {
  const t = fed.reduce((n, f) => Math.max(n, f.length), 1);
  const s = roundSlots(at + t);
  const names = attributesOf(model);
  const make = (n: number): Record<string, Int32Array> => Object.fromEntries(names.map((a) => [a, new Int32Array(rows.length * n).fill(paddingOf(a))]));
  const columns = make(t);
  const keys = make(s);
  const features: Record<string, Float32Array> = {};
  for (const st of model.streams) if (st.kind === "patches" && !st.beside) features[st.name] = new Float32Array(rows.length * t * st.features);
  const last = new Int32Array(rows.length);
  const put = (into: Record<string, Int32Array>, i: number, token: Token): void => {
    for (const a of names) {
      const column = into[a];
      if (column) column[i] = token.attributes[a] ?? 0;
    }
  };
  rows.forEach((row, r) => {
    row.slots.forEach((token, i) => {
      if (token && i < at) put(keys, r * s + i, token);
    });
    const feed = fed[r] ?? [];
    feed.forEach((token, i) => {
      put(columns, r * t + i, token);
      put(keys, r * s + at + i, token);
      for (const st of model.streams) {
        const f = token.features[st.name];
        if (st.kind === "patches" && f) features[st.name]?.set(f, (r * t + i) * st.features);
      }
    });
    last[r] = Math.max(0, feed.length - 1);
  });
  return { lengths: { batch: rows.length, t, s }, columns, keys, features, last };
}
