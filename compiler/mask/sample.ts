// Samples that masks are tried on: every attribute of every token, as training lays them out.
// In: a task with lengths of its texts and items left out, or a table that the runtime made. Out: a Sample.
// Images have all their patches here, unlike those of example.ts: what is found on a Sample can happen.

import type { Model, Task } from "../types/model.ts";
import { exampleOf, flat } from "./example.ts";

export type Item = ReturnType<typeof flat>[number];

export interface Sample {
  readonly task: Task;
  readonly items: readonly Item[];
  readonly count: number;
  /** One entry a token. */
  readonly columns: Readonly<Record<string, ArrayLike<number>>>;
  /** Which item of the task a token belongs to. */
  readonly item: ArrayLike<number>;
  /** Tokens that are looked at, ascending: all of a short sample, a selection of a long one. */
  readonly kept: readonly number[];
}

/** What the runtime knows of a sample that it laid out (runtime/sequence/layout.ts `Sequence`). */
export interface SampleTable {
  readonly task: string;
  readonly count: number;
  readonly columns: Readonly<Record<string, ArrayLike<number>>>;
  readonly segments: readonly { readonly field: string; readonly start: number; readonly count: number }[];
}

/** Tokens looked at in one sample at most. */
export const MOST = 512;
/** Of one item of a long sample, so many from its start and as many from its end. */
const ENDS = 48;

export interface Lengths {
  /** Tokens of each text, by field; `text` for the others. */
  readonly fields?: Readonly<Record<string, number>>;
  readonly text: number;
  /** Items left out, by index. */
  readonly dropped?: ReadonlySet<number>;
}

export function makeSample(model: Model, task: Task, lengths: Lengths): Sample {
  const dropped = lengths.dropped ?? new Set<number>();
  const items = flat(task.items);
  const tokens = exampleOf(model, task, { text: lengths.text, patches: Number.MAX_SAFE_INTEGER, ...(lengths.fields ? { lengths: lengths.fields } : {}) }).filter((t) => !dropped.has(t.item));
  const names = Object.keys(tokens[0]?.attributes ?? {});
  const columns: Record<string, Int32Array> = Object.fromEntries(names.map((n) => [n, Int32Array.from(tokens, (t) => t.attributes[n] ?? 0)]));
  const before = items.map((_, i) => i - [...dropped].filter((d) => d < i).length);
  columns["pos"] = Int32Array.from(tokens, (_, i) => i);
  columns["span"] = Int32Array.from(tokens, (t) => before[t.item] ?? 0);
  const item = Int32Array.from(tokens, (t) => t.item);
  return { task, items, count: tokens.length, columns, item, kept: keptOf(tokens.length, item) };
}

/** A table of the runtime as a Sample; undefined where it is of no task of this model. */
export function sampleOf(model: Model, table: SampleTable): Sample | undefined {
  const task = model.tasks.find((t) => t.name === table.task);
  if (!task) return undefined;
  const items = flat(task.items);
  const item = new Int32Array(table.count).fill(-1);
  const literals = new Map(model.specials.map((s) => [s.name, s.id]));
  const id = table.columns["id"];
  let at = 0;
  let segment = 0;
  items.forEach((x, i) => {
    const next = table.segments[segment];
    if (x.kind !== "literal") {
      if (next?.field !== x.field || next.start !== at) return;
      item.fill(i, at, at + next.count);
      at += next.count;
      segment++;
    } else if (at < table.count && id?.[at] === literals.get(x.name) && !(next && next.start === at && next.count > 0)) item[at++] = i;
  });
  return { task, items, count: table.count, columns: table.columns, item, kept: keptOf(table.count, item) };
}

function keptOf(count: number, item: ArrayLike<number>): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  if (count <= MOST) return all;
  const start = all.map((i) => (i > 0 && item[i] === item[i - 1] ? -1 : i));
  let first = 0;
  const within = all.map((i) => (start[i] === i ? (first = i, 0) : i - first));
  let last = count;
  const fromEnd = all.slice().reverse().map((i) => {
    if (i === count - 1 || item[i] !== item[i + 1]) last = i;
    return last - i;
  }).reverse();
  return all.filter((i) => (within[i] ?? 0) < ENDS || (fromEnd[i] ?? 0) < ENDS).slice(0, MOST);
}
