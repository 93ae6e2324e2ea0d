// A small sample of a task, as a table of token attributes: what masks are drawn on, and where witnesses are looked for.
// In: a Model, one of its tasks, and how long the sample is to be. Out: tokens with labels, in the order of the row.
// Unless told: four tokens of text, the corner of an image, one document, no padding. Asks nothing of the data.

import { evalExpr } from "../scalar/eval.ts";
import type { Model, Stream, Task, TaskItem } from "../types/model.ts";

export interface ExampleToken {
  /** As a reader would write it: `<bos>`, `caption`, `picture`; `pad` for padding. */
  readonly label: string;
  /** Number of the item in the task, the same in every document; -1 for padding. */
  readonly item: number;
  /** Place within the item, from 0. */
  readonly index: number;
  readonly role: "given" | "predict" | "literal";
  readonly stream: string;
  readonly attributes: Readonly<Record<string, number>>;
}

export interface SampleOptions {
  /** Tokens of a field, by its name; of an image field, at most so many patches. */
  readonly lengths?: Readonly<Record<string, number>>;
  /** Tokens of every text that `lengths` does not name. */
  readonly text?: number;
  /** At most so many patches of an image, those of its upper left corner. */
  readonly patches?: number;
  /** Samples of the task that lie in the row, one after the other. */
  readonly documents?: number;
  /** Empty places at the end of the row. */
  readonly padding?: number;
}

const TEXT = 4;
const PATCHES = 4;

/** Rows and columns of the example of a stream: a corner of the grid of at most `most` patches, as square as may be. */
function grid(s: Stream, most: number): { count: number; cols: number } {
  if (s.tokenizer.kind !== "patches") return { count: most, cols: 0 };
  const { patch, height, width } = s.tokenizer;
  const [high, wide] = [height / patch, width / patch];
  if (high * wide <= most) return { count: high * wide, cols: wide };
  const cols = Math.min(wide, Math.max(Math.floor(Math.sqrt(most)), Math.floor(most / high)));
  return { count: Math.floor(most / cols) * cols, cols };
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

/** How many tokens the example has, without making them. */
export function exampleLength(model: Model, task: Task, options: SampleOptions = {}): number {
  const one = flat(task.items).reduce((n, item) => n + sizeOf(model, item, options).count, 0);
  return one * (options.documents ?? 1) + (options.padding ?? 0);
}

function sizeOf(model: Model, item: Exclude<TaskItem, { kind: "repeat" }>, options: SampleOptions): { count: number; cols: number } {
  if (item.kind === "literal") return { count: 1, cols: 0 };
  return segmentSize(model.streams.find((s) => s.name === item.stream), item.field, options);
}

function segmentSize(stream: Stream | undefined, field: string, options: SampleOptions): { count: number; cols: number } {
  const told = options.lengths?.[field];
  if (stream?.tokenizer.kind === "patches") return grid(stream, told ?? options.patches ?? PATCHES);
  return { count: told ?? options.text ?? TEXT, cols: 0 };
}

/** The attributes of a token with those that follow from them. */
function withFormulas(model: Model, attributes: Readonly<Record<string, number>>): Record<string, number> {
  const out: Record<string, number> = { ...attributes };
  for (const a of model.attributes) if (a.formula) out[a.name] = evalExpr(a.formula, { q: attributes });
  return out;
}

/** An image that the example shows a corner of. */
export interface CroppedField {
  readonly field: string;
  readonly rows: number;
  readonly cols: number;
  readonly of: { readonly rows: number; readonly cols: number };
}

export function croppedFields(model: Model, task: Task, options: SampleOptions = {}): CroppedField[] {
  const out = new Map<string, CroppedField>();
  for (const item of task.items) {
    const stream = item.kind === "literal" || item.kind === "repeat" ? undefined : model.streams.find((s) => s.name === item.stream);
    const t = stream?.tokenizer;
    if (item.kind === "literal" || item.kind === "repeat" || t?.kind !== "patches") continue;
    const { count, cols } = segmentSize(stream, item.field, options);
    const of = { rows: t.height / t.patch, cols: t.width / t.patch };
    if (count < of.rows * of.cols) out.set(item.field, { field: item.field, rows: count / cols, cols, of });
  }
  return [...out.values()];
}

/** The row of a stream that stands beside the sequence, as runtime/sequence/layout.ts lays it out: positions and spans count from 0. */
export function besideOf(model: Model, task: Task, stream: Stream, options: SampleOptions = {}): ExampleToken[] {
  const out: ExampleToken[] = [];
  const declared = Object.fromEntries(model.attributes.map((a) => [a.name, a.fallback]));
  for (let doc = 0; doc < (options.documents ?? 1); doc++) {
    const first = out.length;
    let span = 0;
    task.items.forEach((item, index) => {
      if (item.kind !== "beside" || item.stream !== stream.name) return;
      const { count, cols } = segmentSize(stream, item.field, options);
      for (let i = 0; i < count; i++) {
        out.push({
          label: item.field, item: index, index: i, role: "given", stream: stream.name,
          attributes: withFormulas(model, {
            pos: out.length - first, doc, span, index: i, stream: stream.id, task: task.id, role: 0,
            row: cols > 0 ? Math.floor(i / cols) : 0, col: cols > 0 ? i % cols : 0, frame: 0, scale: 0, time: 0, ...declared, ...item.attributes,
          }),
        });
      }
      span++;
    });
  }
  return out;
}

export function exampleOf(model: Model, task: Task, options: SampleOptions = {}): ExampleToken[] {
  const out: ExampleToken[] = [];
  for (let doc = 0; doc < (options.documents ?? 1); doc++) oneDocument(model, task, options, doc, out);
  // Padding is of no document, stream or span, as runtime/sequence/layout.ts lays it out.
  const nothing = Object.fromEntries(Object.keys(out[0]?.attributes ?? {}).map((n) => [n, n === "doc" || n === "stream" || n === "span" ? -1 : 0]));
  for (let i = 0; i < (options.padding ?? 0); i++) out.push({ label: "pad", item: -1, index: i, role: "given", stream: "", attributes: nothing });
  return out;
}

function oneDocument(model: Model, task: Task, options: SampleOptions, doc: number, out: ExampleToken[]): void {
  const text = model.streams.find((s) => s.kind === "text" && !s.beside);
  const declared = Object.fromEntries(model.attributes.map((a) => [a.name, a.fallback]));
  const items = flat(task.items);
  const first = out.length;
  let noised = 0;
  items.forEach((item, index) => {
    const stream = item.kind === "literal" ? text : model.streams.find((s) => s.name === item.stream);
    const { count, cols } = sizeOf(model, item, options);
    const time = item.kind === "predict" && stream?.kind === "continuous" ? ++noised : 0;
    for (let i = 0; i < count; i++) {
      out.push({
        label: item.kind === "literal" ? `<${item.name}>` : item.field, item: index, index: i, role: item.kind, stream: stream?.name ?? "",
        attributes: withFormulas(model, {
          pos: out.length - first, doc, span: index, index: i, stream: stream?.id ?? 0, task: task.id,
          role: roleOf(model, items, index), row: cols > 0 ? Math.floor(i / cols) : 0, col: cols > 0 ? i % cols : 0, frame: 0, scale: 0, time,
          ...declared, ...item.attributes,
        }),
      });
    }
  });
}
