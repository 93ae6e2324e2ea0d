// What a prediction must not see, asked of samples of every length at once.
// In: a task's Ground. Out: Questions: the query that makes a prediction, the other tokens as Nodes, and which of them would be a leak.
// Text is predicted by the token before it, which may lie in an earlier item; a noised span predicts itself.

import type { View, Views } from "./sight.ts";
import type { Truth } from "../scalar/interval.ts";
import { roleOf } from "./example.ts";
import type { Ground, Node, Range } from "./nodes.ts";
import { MANY, around, exact, factsOf, isContinuous, isNoised, whole } from "./nodes.ts";
import { onQuery, pairTruth } from "./pairs.ts";

export type Kind = "leak" | "copy" | "noised" | "ahead";

export interface Question {
  /** The item that is predicted. */
  readonly item: number;
  readonly nodes: readonly Node[];
  readonly absent: ReadonlySet<number>;
  /** Numbers of nodes that may be the query. */
  readonly queries: readonly number[];
  /** Numbers of the nodes that it must not see, by what that would be. */
  readonly hidden: Readonly<Record<Kind, readonly number[]>>;
}

const BEFORE: Range = { lo: -MANY, hi: -1 };
const EARLIER: Range = { lo: -MANY, hi: -2 };
const AFTER: Range = { lo: 1, hi: MANY };

/** Items that hold the very content of another: given in clear, or text that was predicted before. */
export function copiesOf(g: Ground, item: number): number[] {
  const own = g.items[item];
  if (!own || own.kind === "literal") return [];
  return g.items.flatMap((x, i) => (i !== item && x.kind !== "literal" && x.field === own.field && x.stream === own.stream && !isNoised(g, i) && (x.kind === "given" || i < item) ? [i] : []));
}

export function questionsOf(g: Ground): Question[] {
  return g.items.flatMap((item, i): Question[] => {
    if (item.kind === "predict" && isContinuous(g, i)) return [ofSpan(g, i)];
    if (roleOf(g.model, g.items, i) !== 1) return [];
    return [...(item.kind === "predict" ? [inside(g, i)] : []), ...atStart(g, i)];
  });
}

const isTarget = (n: Node): boolean => n.offset?.lo === 0 && n.offset.hi === 0;

function question(g: Ground, item: number, nodes: readonly Node[], queries: readonly number[], absent: ReadonlySet<number>): Question {
  const copies = new Set(copiesOf(g, item));
  const where = (test: (n: Node) => boolean): number[] => nodes.flatMap((n, i) => (test(n) ? [i] : []));
  const span = isContinuous(g, item);
  return {
    item, nodes, queries, absent,
    hidden: {
      leak: span ? [] : where((n) => n.item === item && isTarget(n)),
      copy: where((n) => copies.has(n.item) && isTarget(n)),
      noised: where((n) => n.item < item && isNoised(g, n.item)),
      // A copy given later stands for what is made so far, as when a span is made block by block; its own part of it is asked about above.
      ahead: where((n) => (n.item > item && !copies.has(n.item)) || (!span && n.item === item && (n.offset?.lo ?? 0) > 0)),
    },
  };
}

/** A span predicts each of its tokens at that token. */
function ofSpan(g: Ground, item: number): Question {
  const alike = new Set([item, ...copiesOf(g, item)]);
  const nodes = g.items.flatMap((_, i) => (alike.has(i) ? around(g, i, 0, [BEFORE, exact(0), AFTER]) : [whole(g, i)]));
  return question(g, item, nodes, nodes.flatMap((n, i) => (n.item === item && isTarget(n) ? [i] : [])), new Set());
}

/** Text predicted by the token before it in the same item. */
function inside(g: Ground, item: number): Question {
  const alike = new Set([item, ...copiesOf(g, item)]);
  const nodes = g.items.flatMap((_, i) => (alike.has(i) ? around(g, i, 1, [EARLIER, exact(-1), exact(0), AFTER]) : [whole(g, i)]));
  return question(g, item, nodes, nodes.flatMap((n, i) => (n.item === item && n.offset?.hi === -1 && n.offset.lo === -1 ? [i] : [])), new Set());
}

/** The first token of an item, predicted by the last token of the item before it that is there. */
function atStart(g: Ground, item: number): Question[] {
  const out: Question[] = [];
  const absent = new Set<number>();
  for (let c = item - 1; c >= 0; c--) {
    const count = g.counts[c] ?? exact(0);
    const alike = new Set(copiesOf(g, item));
    const nodes: Node[] = [];
    const queries: number[] = [];
    g.items.forEach((_, i) => {
      if (absent.has(i)) return;
      const last = Math.max(0, (g.counts[i]?.hi ?? 0) - 1);
      if (i === item) nodes.push(...first(g, i, true));
      else if (i === c && !alike.has(i)) {
        queries.push(nodes.length);
        nodes.push({ item: i, index: { lo: Math.max(0, count.lo - 1), hi: last }, after: exact(0) });
        if (last > 0) nodes.push({ item: i, index: { lo: 0, hi: last - 1 }, after: { lo: 1, hi: last } });
      } else if (alike.has(i)) {
        if (i === c) queries.push(nodes.length, nodes.length + 1);
        nodes.push(...first(g, i, false));
      } else nodes.push(whole(g, i));
    });
    out.push(question(g, item, nodes, queries, new Set(absent)));
    if (!g.droppable[c] && count.lo > 0) break;
    absent.add(c);
  }
  return out;
}

function first(g: Ground, item: number, sure: boolean): Node[] {
  const last = Math.max(0, (g.counts[item]?.hi ?? 0) - 1);
  const start: Node = { item, offset: exact(0), index: exact(0), after: { lo: 0, hi: last } };
  return last > 0 || !sure ? [start, { item, offset: AFTER, index: { lo: 1, hi: last }, after: { lo: 0, hi: last } }] : [start];
}

/** Pairs of nodes under the masks of a network, remembered: questions of one task ask much the same. */
export class Sees {
  readonly ground: Ground;
  readonly views: Views;
  readonly #known = new Map<string, Truth>();
  readonly #names = new WeakMap<Node, string>();

  constructor(ground: Ground, views: Views) {
    this.ground = ground;
    this.views = views;
  }

  truth(group: number, q: Node, k: Node, absent: ReadonlySet<number>, apart = false): Truth {
    const expr = this.views.groups[group]?.expr;
    if (!expr) return "true";
    const key = `${group} ${this.#name(q)} ${this.#name(k)} ${[...absent].join()} ${apart}`;
    const old = this.#known.get(key);
    if (old) return old;
    const made = pairTruth(expr, factsOf(this.ground, q, k, absent, apart));
    this.#known.set(key, made);
    return made;
  }

  /** Whether tokens of a node see themselves. */
  self(group: number, n: Node): Truth {
    const expr = this.views.groups[group]?.expr;
    const both = { ...n, offset: exact(0) };
    return expr ? pairTruth(onQuery(expr), factsOf(this.ground, both, both)) : "true";
  }

  /** Whether what tokens of a node see in a step is used at all. */
  counts(group: number, n: Node): Truth {
    const expr = this.views.groups[group]?.rows;
    const both = { ...n, offset: exact(0) };
    return expr ? pairTruth(onQuery(expr), factsOf(this.ground, both, both)) : "true";
  }

  #name(n: Node): string {
    const old = this.#names.get(n);
    if (old) return old;
    const of = (r: Range | undefined): string => (r ? `${r.lo}:${r.hi}` : "");
    const made = `${n.item}/${of(n.index)}/${of(n.after)}/${of(n.offset)}`;
    this.#names.set(n, made);
    return made;
  }

  /** Whether some head of a step may let one see the other. */
  may(view: View, q: Node, k: Node, absent: ReadonlySet<number>): boolean {
    return view.parts.some((p) => this.truth(p.group, q, k, absent) !== "false");
  }
}

/** For each query, the nodes that its final state may depend on; what is not in it cannot matter, on any sample. */
export function reachable(sees: Sees, nodes: readonly Node[], queries: readonly number[], absent: ReadonlySet<number>): ReadonlySet<number>[] {
  const { steps, last } = sees.views;
  const may = new Map<string, boolean[][]>();
  const rows = (view: View): boolean[][] => {
    const key = view.parts.map((p) => p.group).join();
    const old = may.get(key);
    if (old) return old;
    const made = nodes.map((q) => nodes.map((k) => sees.may(view, q, k, absent)));
    may.set(key, made);
    return made;
  };
  const outs: Set<number>[][] = [];
  const gather = (after: readonly number[]): Set<number>[] => nodes.map((_, i) => new Set([i, ...after.flatMap((s) => [...(outs[s]?.[i] ?? [])])]));
  for (const view of steps) {
    const before = gather(view.step.after);
    const row = rows(view);
    outs.push(nodes.map((_, q) => {
      const set = new Set(before[q]);
      row[q]?.forEach((seen, k) => {
        if (seen) for (const x of before[k] ?? []) set.add(x);
      });
      return set;
    }));
  }
  const end = gather(last);
  return queries.map((q) => end[q] ?? new Set());
}
