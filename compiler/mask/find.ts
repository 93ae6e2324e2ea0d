// Witnesses on one sample: tokens that attend to nothing, and predictions that see what they must not.
// In: a Sample and the masks of the network. Out: Findings, each with the tokens and the way between them; every one holds by evaluation.
// At most one finding a kind and predicted item. Finding none says nothing of other samples.

import type { Model } from "../types/model.ts";
import { copiesOf, type Kind } from "./questions.ts";
import { groundOf, isContinuous, isNoised } from "./nodes.ts";
import type { Hop } from "./reach.ts";
import { bitsOf, reachOf, wayTo } from "./reach.ts";
import type { Sample } from "./sample.ts";
import type { Views } from "./sight.ts";
import { Sight } from "./sight.ts";

/** A prediction that sees what it must not. */
export interface Seen {
  readonly kind: Kind;
  readonly sample: Sample;
  /** The item that is predicted. */
  readonly item: number;
  /** Tokens of the sample: what is predicted, and where. */
  readonly target: number;
  readonly query: number;
  /** What is seen, and how; empty where the query is it. */
  readonly seen: number;
  readonly way: readonly Hop[];
}

/** A token that attends to nothing under one of the predicates. */
export interface Lone {
  readonly kind: "lone";
  readonly sample: Sample;
  readonly query: number;
  readonly group: number;
}

export type Finding = Seen | Lone;

const SEARCHES = 6;

/** Every scored prediction of a sample among the tokens that are looked at: numbers among the kept. */
function predictions(model: Model, sample: Sample): { readonly query: number; readonly target: number }[] {
  const { role, stream } = sample.columns;
  const kinds = new Map(model.streams.map((s) => [s.id, model.losses.some((l) => l.stream === s.name) ? s.kind : undefined]));
  return sample.kept.flatMap((at, i) => {
    if (role?.[at] !== 1) return [];
    const kind = kinds.get(stream?.[at] ?? -1);
    if (kind === "continuous") return [{ query: i, target: i }];
    return kind === "text" && i > 0 && sample.kept[i - 1] === at - 1 ? [{ query: i - 1, target: i }] : [];
  });
}

export function seenIn(model: Model, views: Views, sample: Sample, wanted: (kind: Kind, item: number) => boolean): Seen[] {
  const g = groundOf(model, sample.task);
  const sight = new Sight(views, sample);
  const { kept } = sample;
  const n = kept.length;
  const reach = reachOf(sight);
  const itemOf = (i: number): number => sample.item[kept[i] ?? 0] ?? -1;
  const index = sample.columns["index"] ?? [];
  const sets = new Map<string, Uint32Array>();
  const setOf = (key: string, test: (item: number, i: number) => boolean): Uint32Array => {
    const made = sets.get(key) ?? bitsOf(n, (i) => test(itemOf(i), i));
    sets.set(key, made);
    return made;
  };
  const none = new Uint32Array(Math.max(1, Math.ceil(n / 32)));
  const found = new Map<string, Seen>();
  const copies = new Map<number, readonly number[]>();
  const searched = new Map<string, number>();
  for (const { query, target } of predictions(model, sample)) {
    const item = itemOf(target);
    if (item < 0) continue;
    const span = isContinuous(g, item);
    const same = copies.get(item) ?? copiesOf(g, item);
    copies.set(item, same);
    const place = index[kept[target] ?? 0];
    const hidden: Record<Kind, Uint32Array> = {
      leak: span ? none : bitsOf(n, (i) => i === target),
      copy: same.length === 0 ? none : bitsOf(n, (i) => same.includes(itemOf(i)) && index[kept[i] ?? 0] === place),
      noised: setOf(`noised ${item}`, (x) => x >= 0 && x < item && isNoised(g, x)),
      ahead: span ? setOf(`ahead ${item}`, (x) => x > item && !same.includes(x)) : bitsOf(n, (i) => (itemOf(i) > item && !same.includes(itemOf(i))) || (itemOf(i) === item && i > target)),
    };
    for (const kind of ["leak", "copy", "noised", "ahead"] as const) {
      const key = `${kind} ${item}`;
      const old = found.get(key);
      // Another prediction of the item may be reached by a shorter way; each search costs, so only some are made.
      if ((old && (old.way.length <= 1 || (searched.get(key) ?? 0) >= SEARCHES)) || !wanted(kind, item) || !reach.any(query, hidden[kind])) continue;
      searched.set(key, (searched.get(key) ?? 0) + 1);
      const bits = hidden[kind];
      const way = wayTo(sight, query, (t) => ((bits[t >> 5] ?? 0) & (1 << (t & 31))) !== 0);
      if (!way || (old && old.way.length <= way.length)) continue;
      const at = (i: number): number => kept[i] ?? 0;
      found.set(key, { kind, sample, item, target: at(target), query: at(query), seen: way[way.length - 1]?.to ?? at(query), way });
    }
  }
  return [...found.values()];
}

export function loneIn(views: Views, sample: Sample, groups: readonly number[]): Lone[] {
  const sight = new Sight(views, sample);
  return groups.flatMap((group): Lone[] => {
    const query = sample.kept.find((q) => !sight.seesAny(group, q));
    return query === undefined ? [] : [{ kind: "lone", sample, query, group }];
  });
}
