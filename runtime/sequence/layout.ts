// A task's template and a sample's fields to a token table: one column an attribute, one entry a token.
// In: ModelSpec, a task name, encoded fields. Out: `Sequence`. The same code serves training, prefill and sampling.
// Refuses a missing field, an unknown task, or continuous features of the wrong size.

import type { ModelSpec, PatchStream, StreamSpec, TaskItem, TaskSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";

/** role: given tokens are conditions, predicted ones carry a loss. */
export const ROLE = { given: 0, predict: 1 } as const;

/** One item's encoded content: token ids, or patch features [tokens, features] row by row. */
export type FieldValue = { readonly kind: "ids"; readonly ids: ArrayLike<number> } | { readonly kind: "features"; readonly data: Float32Array };

export interface Segment {
  readonly stream: string;
  readonly field: string;
  readonly start: number;
  readonly count: number;
  readonly role: number;
}

/** Attributes every token has; a model's declared ones come on top. */
export const ATTRIBUTES = ["id", "stream", "role", "pos", "span", "index", "row", "col", "frame", "scale", "time", "task", "doc"] as const;

export const attributesOf = (model: ModelSpec): string[] => [...ATTRIBUTES, ...model.attributes.map((a) => a.name)];

/** What padding holds: no document, no stream, no span. */
export const paddingOf = (attribute: string): number => (attribute === "doc" || attribute === "stream" || attribute === "span" ? -1 : 0);

/** One sample laid out. `features` maps a continuous stream to [tokens, features of the stream], zero elsewhere. */
export interface Sequence {
  readonly task: string;
  readonly count: number;
  /** One column an attribute, one entry a token; doc is 0. */
  readonly columns: Readonly<Record<string, Int32Array>>;
  readonly segments: readonly Segment[];
  readonly features: Readonly<Record<string, Float32Array>>;
  /** Rows beside the sequence, by stream; positions and spans count from 0 in each. */
  readonly beside: Readonly<Record<string, BesideRow>>;
}

export interface BesideRow {
  readonly count: number;
  readonly columns: Readonly<Record<string, Int32Array>>;
  /** [tokens, features] of a continuous stream; empty for text. */
  readonly features: Float32Array;
}

export function findTask(model: ModelSpec, name: string): TaskSpec {
  const task = model.tasks.find((t) => t.name === name);
  if (!task)
    throw new HeddleError({ code: "E0560", message: `model \`${model.name}\` has no task \`${name}\``, help: `its tasks are ${model.tasks.map((t) => t.name).join(", ")}` });
  return task;
}

export function findStream(model: ModelSpec, name: string): StreamSpec {
  const s = model.streams.find((x) => x.name === name);
  if (!s) throw new HeddleError({ code: "E0560", message: `model \`${model.name}\` has no stream \`${name}\`` });
  return s;
}

/** Fields that a request must give: those shown before they are predicted, if they ever are. */
export function neededFields(task: TaskSpec): string[] {
  const made = new Set<string>();
  const out = new Set<string>();
  for (const item of task.items) {
    if (item.kind === "predict") made.add(item.field);
    else if ((item.kind === "given" || item.kind === "beside") && !made.has(item.field)) out.add(item.field);
  }
  return [...out];
}

/** Tokens of one item of a continuous stream. */
export const patchCount = (s: PatchStream): number => (s.height / s.patch) * (s.width / s.patch);

export interface LayoutOptions {
  /** Items left out (classifier-free guidance), by index. */
  readonly dropped?: ReadonlySet<number>;
  /** Stop before this item index; used for prefixes while generating. */
  readonly until?: number;
  /** What items hold, by index, where that is not (or no longer) the value of their field. */
  readonly contents?: ReadonlyMap<number, FieldValue>;
}

function endsText(model: ModelSpec, items: readonly TaskItem[], literal: TaskItem): boolean {
  const before = items[items.indexOf(literal) - 1];
  return before?.kind === "predict" && findStream(model, before.stream).kind === "text";
}

/** Lay out one sample. Fields that are absent are an error unless they come at or after `until`. */
export function layoutSample(model: ModelSpec, taskName: string, fields: Readonly<Record<string, FieldValue>>, options: LayoutOptions = {}): Sequence {
  const task = findTask(model, taskName);
  const names = attributesOf(model);
  const columns: Record<string, number[]> = Object.fromEntries(names.map((n) => [n, []]));
  const fallback: Record<string, number> = Object.fromEntries(model.attributes.map((a) => [a.name, a.fallback]));
  const segments: Segment[] = [];
  const placed: { stream: PatchStream; start: number; data: Float32Array }[] = [];
  let spans = 0;
  let noised = 0;
  let count = 0;
  const push = (token: Readonly<Record<string, number>>): void => {
    for (const n of names) columns[n]?.push(token[n] ?? fallback[n] ?? 0);
    count++;
  };
  const beside = layOutBeside(model, task, fields, options.dropped);
  for (const [index, item] of task.items.slice(0, options.until ?? task.items.length).entries()) {
    if (options.dropped?.has(index) || item.kind === "beside") continue;
    if (item.kind === "literal") {
      // The literal right after predicted text ends it: the model must learn to say so.
      const role = endsText(model, task.items, item) ? ROLE.predict : ROLE.given;
      push({ ...item.attributes, id: item.id, stream: item.stream, role, pos: count, span: spans++, task: task.id });
      continue;
    }
    const start = count;
    const value = options.contents?.get(index) ?? fields[item.field];
    const s = findStream(model, item.stream);
    if (!value) throw new HeddleError({ code: "E0561", message: `task \`${task.name}\` needs the field \`${item.field}\` (stream \`${item.stream}\`)` });
    const size = itemSize(item.field, s, value);
    if (value.kind === "features" && s.kind === "patches") placed.push({ stream: s, start, data: value.data });
    const wide = s.kind === "patches" ? s.width / s.patch : 1;
    const role = item.kind === "predict" ? ROLE.predict : ROLE.given;
    // Spans of numbers that are predicted are noised; they are counted from 1, and every other token is clean.
    const time = item.kind === "predict" && s.kind === "patches" ? ++noised : 0;
    for (let i = 0; i < size; i++)
      push({
        ...item.attributes,
        id: value.kind === "ids" ? (value.ids[i] ?? 0) : 0,
        stream: s.id,
        role,
        pos: count,
        span: spans,
        index: i,
        time,
        row: s.kind === "patches" ? Math.floor(i / wide) : 0,
        col: s.kind === "patches" ? i % wide : 0,
        task: task.id,
      });
    spans++;
    segments.push({ stream: item.stream, field: item.field, start, count: size, role });
  }
  if (model.maxTokens !== undefined && count > model.maxTokens)
    throw new HeddleError({
      code: "E0566",
      message: `a sample of task \`${task.name}\` has ${count} tokens, but the model's table of positions holds ${model.maxTokens}`,
      help: "shorten the text, or give `learned_positions` a larger count in the spec",
    });
  const features: Record<string, Float32Array> = {};
  for (const s of model.streams) {
    if (s.kind !== "patches" || s.beside) continue;
    const all = new Float32Array(count * s.features);
    for (const p of placed) if (p.stream.name === s.name) all.set(p.data, p.start * s.features);
    features[s.name] = all;
  }
  return {
    task: task.name,
    count,
    columns: Object.fromEntries(names.map((n) => [n, Int32Array.from(columns[n] ?? [])])),
    segments,
    features,
    beside,
  };
}

/** What a task lays out beside its sequence; it is there from the start, whatever has been generated. */
function layOutBeside(model: ModelSpec, task: TaskSpec, fields: Readonly<Record<string, FieldValue>>, dropped: ReadonlySet<number> | undefined): Record<string, BesideRow> {
  const out: Record<string, BesideRow> = {};
  const names = attributesOf(model);
  const fallback: Record<string, number> = Object.fromEntries(model.attributes.map((a) => [a.name, a.fallback]));
  for (const s of model.streams) {
    if (!s.beside) continue;
    const tokens: Record<string, number>[] = [];
    const data: number[] = [];
    let spans = 0;
    for (const [index, item] of task.items.entries()) {
      if (item.kind !== "beside" || item.stream !== s.name || dropped?.has(index)) continue;
      const value = fields[item.field];
      if (!value) throw new HeddleError({ code: "E0561", message: `task \`${task.name}\` needs the field \`${item.field}\` (stream \`${item.stream}\`)` });
      const size = itemSize(item.field, s, value);
      const wide = s.kind === "patches" ? s.width / s.patch : 0;
      for (let i = 0; i < size; i++)
        tokens.push({
          ...item.attributes, id: value.kind === "ids" ? (value.ids[i] ?? 0) : 0, stream: s.id, role: ROLE.given, pos: tokens.length, span: spans, index: i,
          row: wide > 0 ? Math.floor(i / wide) : 0, col: wide > 0 ? i % wide : 0, task: task.id,
        });
      if (value.kind === "features") for (const x of value.data) data.push(x);
      spans++;
    }
    out[s.name] = {
      count: tokens.length, features: Float32Array.from(data),
      columns: Object.fromEntries(names.map((n) => [n, Int32Array.from(tokens, (t) => t[n] ?? fallback[n] ?? 0)])),
    };
  }
  return out;
}

/** Tokens that a value takes in a stream; refuses a value that does not fit the stream. */
function itemSize(field: string, s: StreamSpec, value: FieldValue): number {
  if (s.kind === "text") {
    if (value.kind !== "ids") throw new HeddleError({ code: "E0561", message: `field \`${field}\` wants token ids` });
    return value.ids.length;
  }
  const size = patchCount(s);
  if (value.kind !== "features" || value.data.length !== size * s.features)
    throw new HeddleError({ code: "E0562", message: `field \`${field}\` wants ${size} patches of ${s.features} numbers (an image of ${s.height} x ${s.width} x ${s.channels})` });
  return size;
}

/** Item indices that an unconditional row leaves out. */
export const droppableItems = (task: TaskSpec): Set<number> => new Set(task.items.flatMap((item, i) => (item.drop > 0 ? [i] : [])));

/** Which items training leaves out of one sample; `uniform(k)` is the k-th draw of the sample. */
export function drawDrops(task: TaskSpec, uniform: (k: number) => number): Set<number> {
  const out = new Set<number>();
  task.items.forEach((item, i) => {
    if (item.drop <= 0) return;
    const unit = item.dropGroup > 0 ? task.items.findIndex((x) => x.dropGroup === item.dropGroup) : i;
    if (uniform(unit) < item.drop) out.add(i);
  });
  return out;
}
