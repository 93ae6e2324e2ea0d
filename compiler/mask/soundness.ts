// Whether generation may keep keys and values of what it has made: can a token that is committed ever attend to a later one?
// Units: text is committed token by token, a span that a process makes all at once, and what is given at the start in one go.
// In: a checked Model. Out: sound, or a reason in the user's words with the mask's place. Unknown counts as unsound.

import type { Span } from "../../grammar/source.ts";
import { evalExpr } from "../scalar/eval.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { rangeOf } from "../scalar/interval.ts";
import type { Known } from "../scalar/interval.ts";
import type { Attention, Model, Task, TaskItem } from "../types/model.ts";
import type { ExampleToken } from "./example.ts";
import { exampleOf, flat, roleOf } from "./example.ts";
import type { Fact, Facts } from "./pairs.ts";
import { exactly, pairTruth, someNumber } from "./pairs.ts";

export type Soundness =
  | { readonly sound: true }
  /** `keep`: how many items of each task, from its first, are never changed by what comes later. */
  | { readonly sound: false; readonly reason: string; readonly span: Span; readonly keep: Readonly<Record<string, number>> };

type Item = Exclude<TaskItem, { kind: "repeat" }>;

/** Every mask of the network once, by what it says. */
export function masksOf(model: Model): Attention[] {
  const seen = new Set<string>();
  return model.attentions.filter((a) => {
    const key = a.mask ? JSON.stringify(a.mask.expr) : "";
    return !seen.has(key) && seen.add(key);
  });
}

export function cacheSoundness(model: Model): Soundness {
  let first: { readonly reason: string; readonly span: Span } | undefined;
  const keep: Record<string, number> = Object.fromEntries(model.tasks.map((t) => [t.name, t.items.length]));
  for (const a of masksOf(model)) {
    for (const task of model.tasks) {
      const late = firstLeak(model, task, a.mask?.expr);
      if (!late) continue;
      const mask = a.mask ? `mask \`${a.mask.text}\`` : "attention without a mask";
      first ??= { reason: `in task \`${task.name}\`, ${mask} ${late.what}`, span: a.mask?.span ?? a.span };
      keep[task.name] = Math.min(keep[task.name] ?? 0, late.keep);
    }
  }
  return first ? { sound: false, ...first, keep } : { sound: true };
}

/** Items up to the first prediction are committed together. */
const openingOf = (items: readonly Item[]): number => {
  const first = items.findIndex((i) => i.kind === "predict");
  return first < 0 ? items.length : first;
};

/** Whether the items i <= j belong to one unit of generation. */
function oneUnit(model: Model, items: readonly Item[], i: number, j: number): boolean {
  const opening = openingOf(items);
  if (i < opening && j < opening) return true;
  if (i !== j) return false;
  const item = items[i];
  if (!item || item.kind !== "predict") return true;
  return model.streams.find((s) => s.name === item.stream)?.kind === "continuous";
}

/** The first item that sees a later one. What stands before it sees neither, so its keys stay; items fed as one unit see each other. */
function firstLeak(model: Model, task: Task, mask: ScalarExpr | undefined): { readonly what: string; readonly keep: number } | undefined {
  const items = flat(task.items);
  for (let i = 0; i < items.length; i++) {
    for (let j = i; j < items.length; j++) {
      const [a, b] = [items[i], items[j]];
      if (!a || !b || oneUnit(model, items, i, j)) continue;
      if (mask && pairTruth(mask, factsOf(model, task, items, a, b, i, j)) === "false") continue;
      const seen = witness(exampleOf(model, task), mask, i, j);
      const [q, k] = [nameOf(a), nameOf(b)];
      const sure = seen || !mask;
      const what = i !== j ? `${sure ? "lets" : "may let"} ${q} see ${k}, which comes after it` : `${sure ? "lets" : "may let"} a token of ${q} see a later one of it`;
      return { what, keep: i < openingOf(items) ? 0 : i };
    }
  }
  return undefined;
}

const nameOf = (i: Item): string => (i.kind === "literal" ? `\`<${i.name}>\`` : `\`${i.stream}(${i.field})\``);

function witness(tokens: readonly ExampleToken[], mask: ScalarExpr | undefined, i: number, j: number): boolean {
  return tokens.some((q) => q.item === i && tokens.some((k) => k.item === j && (k.attributes["pos"] ?? 0) > (q.attributes["pos"] ?? 0) && (!mask || sees(mask, q, k))));
}

/** Whether the mask lets q see k, on tokens whose attributes are known. */
export function sees(mask: ScalarExpr, q: ExampleToken, k: ExampleToken): boolean {
  return evalExpr(mask, { q: q.attributes, k: k.attributes, names: { head: 0, layer: 0 } }) !== 0;
}

/** What is known of a token of item i and a later one of item j. */
function factsOf(model: Model, task: Task, items: readonly Item[], a: Item, b: Item, i: number, j: number): Facts {
  const text = model.streams.find((s) => s.kind === "text" && !s.beside);
  const streamOf = (x: Item) => (x.kind === "literal" ? text : model.streams.find((s) => s.name === x.stream));
  const both = (q: number, k: number): Fact => ({ q: exactly(q), k: exactly(k), difference: exactly(k - q) });
  const place = (x: Item, part: "row" | "col"): Known => {
    const t = streamOf(x)?.tokenizer;
    if (x.kind === "literal" || t?.kind !== "patches") return exactly(0);
    return rangeOf(0, (part === "row" ? t.height : t.width) / t.patch - 1);
  };
  const inItem = (x: Item): Known => (x.kind === "literal" ? exactly(0) : someNumber);
  const isNoised = (x: Item): boolean => x.kind === "predict" && streamOf(x)?.kind === "continuous";
  const noised = (at: number): number => (items[at] && isNoised(items[at]) ? items.slice(0, at + 1).filter(isNoised).length : 0);
  return (name) => {
    switch (name) {
      case "pos": return { q: someNumber, k: someNumber, difference: rangeOf(1, 1_000_000) };
      case "span": return { q: someNumber, k: someNumber, difference: i === j ? exactly(0) : rangeOf(1, 1_000_000) };
      case "doc": return { q: someNumber, k: someNumber, difference: exactly(0) };
      case "stream": return both(streamOf(a)?.id ?? 0, streamOf(b)?.id ?? 0);
      case "task": return both(task.id, task.id);
      case "role": return both(roleOf(model, items, i), roleOf(model, items, j));
      case "row": case "col": return { q: place(a, name), k: place(b, name) };
      case "index": return a.kind === "literal" || b.kind === "literal" ? { q: inItem(a), k: inItem(b) } : { q: inItem(a), k: inItem(b), ...(i === j ? { difference: rangeOf(1, 1_000_000) } : {}) };
      case "time": return both(noised(i), noised(j));
      default: {
        const fallback = model.attributes.find((x) => x.name === name)?.fallback ?? 0;
        const of = (x: Item): number => x.attributes?.[name] ?? fallback;
        return both(of(a), of(b));
      }
    }
  };
}
