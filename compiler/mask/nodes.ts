// Tokens of a task of which only this is known: the item, the place in it up to a range, and how far they lie from one token in
// question. In: a Model and a task. Out: Nodes, and for a pair of them what is known of every attribute, over samples of all lengths
// and all choices of what is dropped. Claims too little rather than too much: ranges may be wider than what can happen.

import type { Known } from "../scalar/interval.ts";
import { rangeOf } from "../scalar/interval.ts";
import type { Model, Stream, Task } from "../types/model.ts";
import { flat, roleOf } from "./example.ts";
import type { Fact, Facts } from "./pairs.ts";
import { exactly } from "./pairs.ts";
import type { Item } from "./sample.ts";

export interface Range {
  readonly lo: number;
  readonly hi: number;
}

/** Tokens of one item. */
export interface Node {
  readonly item: number;
  /** Places within the item. */
  readonly index: Range;
  /** Tokens of the item that follow. */
  readonly after: Range;
  /** Place relative to the token in question, for its item and for items that hold the same content. */
  readonly offset?: Range;
}

/** More tokens than any sample has. */
export const MANY = 1_000_000;
export const exact = (n: number): Range => ({ lo: n, hi: n });
const known = (r: Range): Known => (r.lo === r.hi ? exactly(r.lo) : rangeOf(r.lo, r.hi));
const minus = (a: Range, b: Range): Range => ({ lo: a.lo - b.hi, hi: a.hi - b.lo });
const plus = (a: Range, b: Range): Range => ({ lo: a.lo + b.lo, hi: a.hi + b.hi });
const meet = (a: Range, b: Range): Range => ({ lo: Math.max(a.lo, b.lo), hi: Math.min(a.hi, b.hi) });

/** What a task's items are, whatever the data. */
export interface Ground {
  readonly model: Model;
  readonly task: Task;
  readonly items: readonly Item[];
  readonly streams: readonly (Stream | undefined)[];
  /** Tokens of each item where it is present. */
  readonly counts: readonly Range[];
  readonly droppable: readonly boolean[];
}

export function groundOf(model: Model, task: Task): Ground {
  const items = flat(task.items);
  const text = model.streams.find((s) => s.kind === "text" && !s.beside);
  const streams = items.map((i) => (i.kind === "literal" ? text : model.streams.find((s) => s.name === i.stream)));
  const counts = items.map((i, n): Range => {
    const t = streams[n]?.tokenizer;
    if (i.kind === "literal") return exact(1);
    return t?.kind === "patches" ? exact((t.height / t.patch) * (t.width / t.patch)) : { lo: 0, hi: MANY };
  });
  return { model, task, items, streams, counts, droppable: items.map((i) => i.drop > 0) };
}

export const isContinuous = (g: Ground, item: number): boolean => g.streams[item]?.kind === "continuous" && g.items[item]?.kind !== "literal";
export const isNoised = (g: Ground, item: number): boolean => g.items[item]?.kind === "predict" && isContinuous(g, item);

/** All tokens of an item. */
export function whole(g: Ground, item: number): Node {
  const count = g.counts[item] ?? exact(0);
  const most = { lo: 0, hi: Math.max(0, count.hi - 1) };
  return { item, index: most, after: most };
}

/** The tokens of an item by their place relative to one token in it (or of the same place, in an item of the same content). */
export function around(g: Ground, item: number, least: number, parts: readonly Range[]): Node[] {
  const most = Math.max(0, (g.counts[item]?.hi ?? 0) - 1);
  return parts.map((offset) => ({
    item, offset,
    // The token in question has a place from `least`, and the item ends after it.
    index: { lo: Math.max(0, offset.lo + least), hi: most },
    after: { lo: Math.max(0, -offset.hi), hi: most },
  }));
}

/** What is known of a query in one node and a key in another. `absent` items are not in the sample. `apart`: two different tokens, the key later. */
export function factsOf(g: Ground, q: Node, k: Node, absent: ReadonlySet<number> = new Set(), apart = false): Facts {
  const index = indexDifference(q, k, apart);
  const pos = positionDifference(g, q, k, absent, index);
  const cache = new Map<string, Fact>();
  return (name) => {
    const old = cache.get(name);
    if (old) return old;
    const made = factOf(g, q, k, absent, index, pos, name);
    cache.set(name, made);
    return made;
  };
}

function indexDifference(q: Node, k: Node, apart: boolean): Range | undefined {
  const byPlace = minus(k.index, q.index);
  if (q.offset && k.offset) return meet(byPlace, minus(k.offset, q.offset));
  if (q.item !== k.item) return undefined;
  return apart ? meet(byPlace, { lo: 1, hi: MANY }) : byPlace;
}

/** Key minus query. */
function positionDifference(g: Ground, q: Node, k: Node, absent: ReadonlySet<number>, index: Range | undefined): Range {
  if (q.item === k.item) return index ?? { lo: -MANY, hi: MANY };
  const [first, second] = q.item < k.item ? [q, k] : [k, q];
  let between = exact(0);
  for (let i = first.item + 1; i < second.item; i++) if (!absent.has(i)) between = plus(between, tokensOf(g, i));
  const far = plus(plus(exact(1), between), plus(first.after, second.index));
  return q.item < k.item ? far : { lo: -far.hi, hi: -far.lo };
}

const tokensOf = (g: Ground, i: number): Range => ({ lo: g.droppable[i] ? 0 : (g.counts[i]?.lo ?? 0), hi: g.counts[i]?.hi ?? 0 });

function factOf(g: Ground, q: Node, k: Node, absent: ReadonlySet<number>, index: Range | undefined, pos: Range, name: string): Fact {
  const both = (a: number, b: number): Fact => ({ q: exactly(a), k: exactly(b), difference: exactly(b - a) });
  const fact = (a: Range, b: Range, difference: Range | undefined): Fact => ({ q: known(a), k: known(b), ...(difference ? { difference: known(difference) } : {}) });
  const same = q.item === k.item;
  switch (name) {
    case "pos": return fact(position(g, q, absent), position(g, k, absent), pos);
    case "index": return fact(q.index, k.index, index ?? minus(k.index, q.index));
    case "span": {
      if (same) return fact(spanOf(g, q.item), spanOf(g, q.item), exact(0));
      const [a, b] = q.item < k.item ? [q.item, k.item] : [k.item, q.item];
      let least = 1;
      for (let i = a + 1; i < b; i++) if (!g.droppable[i]) least++;
      const far = { lo: least, hi: b - a };
      return fact(spanOf(g, q.item), spanOf(g, k.item), q.item < k.item ? far : { lo: -far.hi, hi: -far.lo });
    }
    case "doc": return fact({ lo: 0, hi: MANY }, { lo: 0, hi: MANY }, exact(0));
    case "stream": return both(g.streams[q.item]?.id ?? 0, g.streams[k.item]?.id ?? 0);
    case "task": return both(g.task.id, g.task.id);
    case "role": return both(roleOf(g.model, g.items, q.item), roleOf(g.model, g.items, k.item));
    case "time": return both(timeOf(g, q.item), timeOf(g, k.item));
    case "row": case "col": {
      const [a, b] = [place(g, q, name), place(g, k, name)];
      const columns = columnsOf(g, q.item);
      if (columns === 0 || columns !== columnsOf(g, k.item) || !index) return fact(a, b, minus(b, a));
      if (index.lo === 0 && index.hi === 0) return fact(a, b, exact(0));
      return fact(a, b, name === "col" ? minus(b, a) : meet(minus(b, a), { lo: Math.floor(index.lo / columns), hi: Math.ceil(index.hi / columns) }));
    }
    default: {
      const fallback = g.model.attributes.find((x) => x.name === name)?.fallback ?? 0;
      const of = (item: number): number => g.items[item]?.attributes?.[name] ?? fallback;
      return both(of(q.item), of(k.item));
    }
  }
}

function position(g: Ground, n: Node, absent: ReadonlySet<number>): Range {
  let out = n.index;
  for (let i = 0; i < n.item; i++) if (!absent.has(i)) out = plus(out, tokensOf(g, i));
  return { lo: out.lo, hi: Math.min(MANY, out.hi, g.model.maxTokens === undefined ? MANY : g.model.maxTokens - 1) };
}

function spanOf(g: Ground, item: number): Range {
  let least = 0;
  for (let i = 0; i < item; i++) if (!g.droppable[i]) least++;
  return { lo: least, hi: item };
}

const timeOf = (g: Ground, item: number): number => (isNoised(g, item) ? g.items.slice(0, item + 1).filter((_, i) => isNoised(g, i)).length : 0);

function columnsOf(g: Ground, item: number): number {
  const t = g.items[item]?.kind === "literal" ? undefined : g.streams[item]?.tokenizer;
  return t?.kind === "patches" ? t.width / t.patch : 0;
}

function place(g: Ground, n: Node, part: "row" | "col"): Range {
  const columns = columnsOf(g, n.item);
  if (columns === 0) return exact(0);
  const [from, to] = [Math.floor(n.index.lo / columns), Math.floor(n.index.hi / columns)];
  if (part === "row") return { lo: from, hi: to };
  return from === to ? { lo: n.index.lo % columns, hi: n.index.hi % columns } : { lo: 0, hi: columns - 1 };
}
