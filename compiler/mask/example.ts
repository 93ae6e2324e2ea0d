// A small sample of a task, as a table of token attributes: what masks are drawn on, and where witnesses are looked for.
// In: a Model and one of its tasks. Out: tokens with labels. Lengths are short: four tokens of text, at most four patches.

import type { Model, Stream, Task, TaskItem } from "../types/model.ts";

export interface ExampleToken {
  /** As a reader would write it: `<bos>`, `caption`, `picture`. */
  readonly label: string;
  readonly item: number;
  readonly role: "given" | "predict" | "literal";
  readonly stream: string;
  readonly attributes: Readonly<Record<string, number>>;
}

const TEXT = 4;
const PATCHES = 4;

/** Rows and columns of the example of a stream: a corner of the grid. */
function grid(s: Stream): { count: number; cols: number } {
  if (s.kind !== "continuous" || s.tokenizer.kind !== "patches") return { count: TEXT, cols: 0 };
  const { patch, height, width } = s.tokenizer;
  const rows = Math.min(2, height / patch);
  const cols = Math.min(Math.floor(PATCHES / rows), width / patch);
  return { count: rows * cols, cols };
}

/** The items of the sequence itself, repetitions taken apart. */
export const flat = (items: readonly TaskItem[]): Exclude<TaskItem, { kind: "repeat" | "beside" }>[] =>
  items.flatMap((i) => (i.kind === "repeat" ? flat(i.items) : i.kind === "beside" ? [] : [i]));

/** The token attribute `role` of an item: 1 where it is predicted, or is the literal that ends predicted text. */
export function roleOf(model: Model, items: readonly TaskItem[], index: number): number {
  const [item, before] = [items[index], items[index - 1]];
  if (item?.kind === "predict") return 1;
  return item?.kind === "literal" && before?.kind === "predict" && model.streams.find((s) => s.name === before.stream)?.kind === "text" ? 1 : 0;
}

export function exampleOf(model: Model, task: Task): ExampleToken[] {
  const out: ExampleToken[] = [];
  const text = model.streams.find((s) => s.kind === "text" && !s.beside);
  const declared = Object.fromEntries(model.attributes.map((a) => [a.name, a.fallback]));
  const items = flat(task.items);
  items.forEach((item, index) => {
    const stream = item.kind === "literal" ? text : model.streams.find((s) => s.name === item.stream);
    const { count, cols } = item.kind === "literal" ? { count: 1, cols: 0 } : grid(stream ?? { kind: "text" } as Stream);
    for (let i = 0; i < count; i++) {
      out.push({
        label: item.kind === "literal" ? `<${item.name}>` : item.field, item: index, role: item.kind, stream: stream?.name ?? "",
        attributes: {
          ...declared, ...(item.kind === "literal" ? {} : item.attributes), pos: out.length, doc: 0, span: index, stream: stream?.id ?? 0, task: task.id,
          role: roleOf(model, items, index), row: cols > 0 ? Math.floor(i / cols) : 0, col: cols > 0 ? i % cols : 0, frame: 0, scale: 0, time: 0,
        },
      });
    }
  });
  return out;
}
