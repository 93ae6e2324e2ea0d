// What a token's result can depend on after all layers: what its attentions let it see, and what was seen there before.
// In: a Sight (masks of every step on one Sample). Out: sets of tokens, and for one of them the shortest way it takes.
// A token counts as its own source at every step: its query decides what it takes from others.

import type { Sight } from "./sight.ts";

export interface Hop {
  /** Number of the step in Model.flow. */
  readonly step: number;
  readonly heads: readonly number[];
  readonly group: number;
  /** Tokens of the sample. */
  readonly from: number;
  readonly to: number;
}

/** Bit sets over the kept tokens, one a kept token: everything its final state can depend on. */
export function reachOf(sight: Sight): { has(query: number, token: number): boolean; any(query: number, tokens: Uint32Array): boolean } {
  const n = sight.sample.kept.length;
  const words = Math.max(1, Math.ceil(n / 32));
  const own = (): Uint32Array => {
    const out = new Uint32Array(n * words);
    for (let i = 0; i < n; i++) out[i * words + (i >> 5)] = (out[i * words + (i >> 5)] ?? 0) | (1 << (i & 31));
    return out;
  };
  const join = (into: Uint32Array, i: number, from: Uint32Array, j: number): void => {
    for (let w = 0; w < words; w++) into[i * words + w] = (into[i * words + w] ?? 0) | (from[j * words + w] ?? 0);
  };
  const outs: Uint32Array[] = [];
  const gather = (after: readonly number[]): Uint32Array => {
    const set = own();
    for (const s of after) {
      const from = outs[s];
      if (from) for (let i = 0; i < n; i++) join(set, i, from, i);
    }
    return set;
  };
  for (const { step, parts } of sight.views.steps) {
    const before = gather(step.after);
    const out = before.slice();
    for (const { group } of parts) for (let q = 0; q < n; q++) for (const k of sight.row(group, q)) join(out, q, before, k);
    outs.push(out);
  }
  const end = gather(sight.views.last);
  return {
    has: (query, token) => ((end[query * words + (token >> 5)] ?? 0) & (1 << (token & 31))) !== 0,
    any: (query, tokens) => tokens.some((t, w) => (t & (end[query * words + w] ?? 0)) !== 0),
  };
}

/** Kept tokens as a bit set. */
export function bitsOf(n: number, has: (i: number) => boolean): Uint32Array {
  const out = new Uint32Array(Math.max(1, Math.ceil(n / 32)));
  for (let i = 0; i < n; i++) if (has(i)) out[i >> 5] = (out[i >> 5] ?? 0) | (1 << (i & 31));
  return out;
}

/** The way with the fewest attentions from a query to one of the targets (numbers among the kept); undefined where there is none. */
export function wayTo(sight: Sight, query: number, isTarget: (token: number) => boolean): readonly Hop[] | undefined {
  const { steps, last } = sight.views;
  const n = sight.sample.kept.length;
  const key = (step: number, token: number): number => (step + 1) * n + token;
  /** Where a state was first reached from, and by which hop. */
  const seen = new Map<number, { readonly from: number; readonly hop: Hop | undefined }>();
  type State = { readonly step: number; readonly token: number };
  // States: the input of a step at a token; step -1 is the embedding. A hop costs 1, going down the network costs nothing.
  let now: State[] = [];
  let next: { readonly state: State; readonly from: number; readonly hop: Hop }[] = [];
  const goal = (s: State): readonly Hop[] => {
    const out: Hop[] = [];
    for (let k = key(s.step, s.token), found = seen.get(k); found; k = found.from, found = seen.get(k)) {
      if (found.hop) out.unshift(found.hop);
      if (found.from < 0) break;
    }
    return out;
  };
  const visit = (list: State[], s: State, from: number, hop: Hop | undefined): void => {
    if (seen.has(key(s.step, s.token))) return;
    seen.set(key(s.step, s.token), { from, hop });
    list.push(s);
  };
  visit(now, { step: steps.length, token: query }, -1, undefined);
  while (now.length > 0) {
    for (let i = 0; i < now.length; i++) {
      const s = now[i] as State;
      if (isTarget(s.token)) return goal(s);
      const before = s.step === steps.length ? last : (steps[s.step]?.step.after ?? []);
      const here = key(s.step, s.token);
      for (const b of before) {
        const view = steps[b];
        if (!view) continue;
        visit(now, { step: b, token: s.token }, here, undefined);
        for (const { group, heads } of view.parts) {
          for (const k of sight.row(group, s.token)) {
            if (!seen.has(key(b, k))) next.push({ state: { step: b, token: k }, from: here, hop: { step: b, heads, group, from: sight.sample.kept[s.token] ?? 0, to: sight.sample.kept[k] ?? 0 } });
          }
        }
      }
    }
    now = [];
    for (const { state, from, hop } of next) visit(now, state, from, hop);
    next = [];
  }
  return undefined;
}
