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

/** Columns over tokens. `features` maps a continuous stream to [tokens, features of the stream], zero elsewhere. */
export interface Sequence {
  readonly task: string;
  readonly count: number;
  readonly id: Int32Array;
  readonly stream: Int32Array;
  readonly role: Int32Array;
  readonly pos: Int32Array;
  readonly span: Int32Array;
  readonly row: Int32Array;
  readonly col: Int32Array;
  readonly taskId: number;
  readonly segments: readonly Segment[];
  readonly features: Readonly<Record<string, Float32Array>>;
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

/** Tokens of one item of a continuous stream. */
export const patchCount = (s: PatchStream): number => (s.height / s.patch) * (s.width / s.patch);

export interface LayoutOptions {
  /** Fields whose content is dropped (classifier-free guidance): given items of these fields lay out nothing. */
  readonly dropped?: ReadonlySet<string>;
  /** Stop before this item index; used for prefixes while generating. */
  readonly until?: number;
}

function endsText(model: ModelSpec, items: readonly TaskItem[], literal: TaskItem): boolean {
  const before = items[items.indexOf(literal) - 1];
  return before?.kind === "predict" && findStream(model, before.stream).kind === "text";
}

/** Lay out one sample. Fields that are absent are an error unless they come at or after `until`. */
export function layoutSample(model: ModelSpec, taskName: string, fields: Readonly<Record<string, FieldValue>>, options: LayoutOptions = {}): Sequence {
  const task = findTask(model, taskName);
  const id: number[] = [];
  const stream: number[] = [];
  const role: number[] = [];
  const span: number[] = [];
  const row: number[] = [];
  const col: number[] = [];
  const segments: Segment[] = [];
  const placed: { stream: PatchStream; start: number; data: Float32Array }[] = [];
  let spans = 0;
  const items = task.items.slice(0, options.until ?? task.items.length);
  for (const item of items) {
    const start = id.length;
    if (item.kind === "literal") {
      id.push(item.id);
      stream.push(item.stream);
      // The literal right after predicted text ends it: the model must learn to say so.
      role.push(endsText(model, items, item) ? ROLE.predict : ROLE.given);
      span.push(spans++);
      row.push(0);
      col.push(0);
      continue;
    }
    if (item.kind === "given" && options.dropped?.has(item.field)) continue;
    const value = fields[item.field];
    const s = findStream(model, item.stream);
    if (!value) throw new HeddleError({ code: "E0561", message: `task \`${task.name}\` needs the field \`${item.field}\` (stream \`${item.stream}\`)` });
    const count = value.kind === "ids" ? value.ids.length : s.kind === "patches" ? patchCount(s) : 0;
    if (s.kind === "text" && value.kind !== "ids") throw new HeddleError({ code: "E0561", message: `field \`${item.field}\` wants token ids` });
    if (s.kind === "patches") {
      if (value.kind !== "features" || value.data.length !== count * s.features)
        throw new HeddleError({
          code: "E0562",
          message: `field \`${item.field}\` wants ${count} patches of ${s.features} numbers (an image of ${s.height} x ${s.width} x ${s.channels})`,
        });
      placed.push({ stream: s, start, data: value.data });
    }
    const columns = s.kind === "patches" ? s.width / s.patch : 1;
    for (let i = 0; i < count; i++) {
      id.push(value.kind === "ids" ? (value.ids[i] ?? 0) : 0);
      stream.push(s.id);
      role.push(item.kind === "predict" ? ROLE.predict : ROLE.given);
      span.push(spans);
      row.push(s.kind === "patches" ? Math.floor(i / columns) : 0);
      col.push(s.kind === "patches" ? i % columns : 0);
    }
    spans++;
    segments.push({ stream: item.stream, field: item.field, start, count, role: item.kind === "predict" ? ROLE.predict : ROLE.given });
  }
  const count = id.length;
  const features: Record<string, Float32Array> = {};
  for (const s of model.streams) {
    if (s.kind !== "patches") continue;
    const all = new Float32Array(count * s.features);
    for (const p of placed) if (p.stream.name === s.name) all.set(p.data, p.start * s.features);
    features[s.name] = all;
  }
  return {
    task: task.name,
    taskId: task.id,
    count,
    id: Int32Array.from(id),
    stream: Int32Array.from(stream),
    role: Int32Array.from(role),
    pos: Int32Array.from({ length: count }, (_, i) => i),
    span: Int32Array.from(span),
    row: Int32Array.from(row),
    col: Int32Array.from(col),
    segments,
    features,
  };
}
