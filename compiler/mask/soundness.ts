// Whether generation may keep keys and values of what it has made: can a token that is committed ever attend to a later one?
// Units, committed one after the other: what is given at the start, in one go; a span that a process makes, all at once; text, token
// by token; what is given between two predictions, in one go. What follows the last prediction is never made.
// In: a checked Model. Out: sound, or a reason in the user's words with the mask's place. Unknown counts as unsound.
// That no unit sees a later one directly is enough: then no chain of layers does either.

import type { Span } from "../../grammar/source.ts";
import type { Model, Task } from "../types/model.ts";
import type { Ground } from "./nodes.ts";
import { groundOf, isContinuous, whole } from "./nodes.ts";
import { Sees } from "./questions.ts";
import { samplesOf } from "./proofs.ts";
import type { Item, Sample } from "./sample.ts";
import { makeSample } from "./sample.ts";
import type { View, Views } from "./sight.ts";
import { Sight, viewsOf } from "./sight.ts";

export interface Late {
  readonly task: Task;
  readonly view: View;
  readonly group: number;
  readonly heads: readonly number[];
  /** Items that see and are seen; the same one where it is text that sees its own later tokens. */
  readonly from: number;
  readonly to: number;
  /** Two tokens of a short sample, and an attention that lets the one see the other, later one; none where it is only not ruled out. */
  readonly pair: { readonly sample: Sample; readonly q: number; readonly k: number; readonly view: View; readonly heads: readonly number[] } | undefined;
}

/** Samples, and pairs of items on each, that a pair is looked for in; and pairs of tokens in all. */
const TRIED = 16;
const WORK = 1_000_000;

export type Soundness =
  | { readonly sound: true }
  /** `keep`: how many items of each task, from its first, are never changed by what comes later. */
  | { readonly sound: false; readonly reason: string; readonly span: Span; readonly keep: Readonly<Record<string, number>>; readonly late: Late };

export function cacheSoundness(model: Model): Soundness {
  const views = viewsOf(model);
  const keep: Record<string, number> = {};
  let first: Late | undefined;
  for (const task of model.tasks) {
    const g = groundOf(model, task);
    const late = firstLate(g, new Sees(g, views));
    // Items fed as one unit see each other; what stands before the unit that looks ahead keeps its keys.
    const units = unitsOf(g.items);
    const from = late && g.items[units.indexOf(units[late.from])];
    keep[task.name] = !late || !from ? task.items.length : units[late.from] === 0 ? 0 : task.items.indexOf(from);
    first ??= late;
  }
  if (!first) return { sound: true };
  return { sound: false, reason: reasonOf(model, first), span: placeOf(model, first), keep, late: first };
}

/** The unit of each item, in the order in which they are committed; undefined for what is never made. */
function unitsOf(items: readonly Item[]): (number | undefined)[] {
  const last = items.findLastIndex((i) => i.kind === "predict");
  let unit = 0;
  return items.map((item, i) => {
    if (i > last) return undefined;
    if (item.kind === "predict") return (unit += 2) - 1;
    return unit;
  });
}

/** The first item that may see a later unit, or text that may see its own later tokens; with a pair of tokens where one is found. */
function firstLate(g: Ground, sees: Sees): Late | undefined {
  const units = unitsOf(g.items);
  const none: ReadonlySet<number> = new Set();
  const all: Omit<Late, "pair">[] = [];
  for (let i = 0; i < g.items.length; i++) {
    for (let j = i; j < g.items.length; j++) {
      const [a, b] = [units[i], units[j]];
      if (a === undefined || b === undefined) continue;
      const within = i === j && g.items[i]?.kind === "predict" && !isContinuous(g, i);
      if (!within && a >= b) continue;
      for (const view of sees.views.steps) {
        for (const { group, heads } of view.parts) {
          if (sees.truth(group, whole(g, i), whole(g, j), none, within) === "false") continue;
          if (!all.some((x) => x.from === i && x.to === j && x.group === group)) all.push({ task: g.task, view, group, heads, from: i, to: j });
        }
      }
    }
  }
  const [first] = all;
  return first && { ...first, pair: pairOf(g, sees.views, all) };
}

function pairOf(g: Ground, views: Views, all: readonly Omit<Late, "pair">[]): Late["pair"] {
  let work = 0;
  for (const lengths of samplesOf(g, views).all.slice(0, TRIED)) {
    const sample = makeSample(g.model, g.task, lengths);
    const sight = new Sight(views, sample);
    for (const { group, view, heads, from, to } of all.slice(0, TRIED)) {
      work += sample.kept.filter((q) => sample.item[q] === from).length * sample.kept.filter((k) => sample.item[k] === to).length;
      if (work > WORK) return undefined;
      for (const q of sample.kept) for (const k of sample.kept) if (sample.item[q] === from && sample.item[k] === to && k > q && sight.sees(group, q, k)) return { q, k, sample, view, heads };
    }
  }
  return undefined;
}

const nameOf = (i: Item | undefined): string => (!i ? "" : i.kind === "literal" ? `\`<${i.name}>\`` : `\`${i.stream}(${i.field})\``);

function reasonOf(model: Model, late: Late): string {
  const mask = maskOf(late);
  const items = groundOf(model, late.task).items;
  const { pair } = late;
  const [from, to] = pair ? [pair.sample.item[pair.q] ?? 0, pair.sample.item[pair.k] ?? 0] : [late.from, late.to];
  const [q, k] = [nameOf(items[from]), nameOf(items[to])];
  const lets = pair ? "lets" : "may let";
  const { attention, router } = (pair ?? late).view.step;
  const who = router ? `router \`${router.route}\`, whose experts choose among all tokens,` : mask ? `mask \`${mask.text}\`` : attention ? "attention without a mask" : "the network, which mixes all tokens,";
  return `in task \`${late.task.name}\`, ${who} ${from === to ? `${lets} a token of ${q} see a later one of it` : `${lets} ${q} see ${k}, which comes after it`}`;
}

const maskOf = (late: Late) => (late.pair ?? late).view.step.attention?.mask ?? undefined;
const placeOf = (model: Model, late: Late): Span => maskOf(late)?.span ?? (late.pair ?? late).view.step.span ?? model.span;

/** What is cached all the same: `task \`a\` keeps everything, task \`b\` what stands before \`image(x)\``; undefined where it is nothing. */
export function keptText(model: Model, keep: Readonly<Record<string, number>>): string | undefined {
  const parts = model.tasks.flatMap((t) => {
    const item = t.items[keep[t.name] ?? 0];
    return (keep[t.name] ?? 0) === 0 ? [] : [`task \`${t.name}\` keeps ${item && item.kind !== "repeat" && item.kind !== "beside" ? `what stands before ${nameOf(item)}` : "everything"}`];
  });
  return parts.length === 0 ? undefined : parts.join(", ");
}
