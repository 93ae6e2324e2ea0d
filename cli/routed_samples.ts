// Samples that routing is shown on: real ones of a data folder, or made-up ones of every task. In: a ModelSpec, its tokenizers, and how
// many and how long. Out: laid out sequences, and each token as a reader would name it. Refuses samples too long to draw.

import type { ModelSpec, TaskSpec } from "../compiler/plan/manifest.ts";
import type { RoutedToken } from "../compiler/routing/report.ts";
import { HeddleError } from "../runtime/error.ts";
import type { Codec } from "../runtime/generate/model.ts";
import { type FieldValue, findStream, findTask, layoutSample, ROLE, type Sequence } from "../runtime/sequence/layout.ts";
import { type TrainingData, Order } from "../runtime/train/loop.ts";
import { uniformAt } from "../runtime/random/philox.ts";

export interface SampleChoice {
  readonly task?: string;
  /** Samples of each task. */
  readonly samples: number;
  /** Tokens of every made-up text, and those of single fields. */
  readonly text: number;
  readonly lengths: Readonly<Record<string, number>>;
  readonly seed: number;
}

/** Longer samples are more than a picture can show. */
const MOST = 2048;
const WORDS = "the quick brown fox jumps over the lazy dog and runs along the river to the old mill ";

export function routedSamples(spec: ModelSpec, codecs: ReadonlyMap<string, Codec>, data: TrainingData | undefined, choice: SampleChoice): Sequence[] {
  const tasks = choice.task === undefined ? spec.tasks : [findTask(spec, choice.task)];
  const order = data && new Order(data.count, choice.seed);
  if (data?.count === 0) throw new HeddleError({ code: "E0532", message: "the data has no samples" });
  return tasks.flatMap((task) => Array.from({ length: choice.samples }, (_, n) => {
    const sequence = layoutSample(spec, task.name, data && order ? real(task, data, order.at(n), n) : madeUp(spec, task, codecs, choice, n));
    if (sequence.count > MOST) throw new HeddleError({ code: "E0586", message: `a sample of task \`${task.name}\` has ${sequence.count} tokens, and at most ${MOST} are drawn`, help: data ? "choose another --task" : "shorten it with --length", exit: 2 });
    return sequence;
  }));
}

const real = (task: TaskSpec, data: TrainingData, index: number, n: number): Record<string, FieldValue> =>
  Object.fromEntries(task.fields.map((f, i) => [f.name, data.value(index, f.stream, uniformAt(n, 3001 + i, 0, 0))]));

function madeUp(spec: ModelSpec, task: TaskSpec, codecs: ReadonlyMap<string, Codec>, choice: SampleChoice, n: number): Record<string, FieldValue> {
  return Object.fromEntries(task.fields.map((f, field): [string, FieldValue] => {
    const stream = findStream(spec, f.stream);
    const codec = codecs.get(stream.name);
    if (codec?.kind === "patches" && stream.kind === "patches") {
      const { width, height, channels } = stream;
      // Waves of another direction for each sample and field.
      const [a, b] = [1 + ((n + field) % 3), 1 + ((2 * n + field) % 4)];
      const data = Float32Array.from({ length: width * height * channels }, (_, i) => {
        const [x, y] = [Math.floor(i / channels) % width, Math.floor(i / channels / width)];
        return 0.5 + 0.5 * Math.sin(2 * Math.PI * ((a * x) / width + (b * y) / height) + (i % channels));
      });
      return [f.name, { kind: "features", data: codec.tokenizer.encode({ width, height, channels, data }) }];
    }
    const count = choice.lengths[f.name] ?? choice.text;
    if (codec?.kind !== "text" || stream.kind !== "text") throw new HeddleError({ code: "E0560", message: `stream \`${stream.name}\` has no tokenizer` });
    if (stream.tokenizer.kind === "ids") return [f.name, { kind: "ids", ids: Int32Array.from({ length: count }, (_, i) => Math.floor(uniformAt(i, 3100 + field, n, 0) * stream.vocab)) }];
    const words = WORDS.split(" ");
    const turned = [...words.slice(n % words.length), ...words.slice(0, n % words.length)].join(" ").trim();
    return [f.name, { kind: "ids", ids: codec.tokenizer.encode(`${turned} `.repeat(1 + Math.ceil(count / 8))).slice(0, count) }];
  }));
}

/** The tokens of a sequence, in its order. */
export function routedTokens(spec: ModelSpec, codecs: ReadonlyMap<string, Codec>, sequence: Sequence): RoutedToken[] {
  const task = findTask(spec, sequence.task);
  const literals = new Map(task.items.flatMap((i) => (i.kind === "literal" ? [[i.id, i.text] as const] : [])));
  const { id, span, stream: streams, row, col, index } = sequence.columns;
  return Array.from({ length: sequence.count }, (_, at): RoutedToken => {
    const stream = spec.streams.find((s) => s.id === streams?.[at])?.name ?? "";
    const item = span?.[at] ?? 0;
    const segment = sequence.segments.find((s) => at >= s.start && at < s.start + s.count);
    if (!segment) return { label: `<${literals.get(id?.[at] ?? -1) ?? ""}>`, field: null, place: "", text: null, stream, role: "literal", item, at: null };
    const codec = codecs.get(stream);
    const patch = codec?.kind === "patches" ? { row: row?.[at] ?? 0, col: col?.[at] ?? 0 } : null;
    const place = patch ? `${patch.row},${patch.col}` : String(index?.[at] ?? 0);
    return {
      label: `${segment.field}[${place}]`, field: segment.field, place, text: codec?.kind === "text" ? textOf(codec, id?.[at] ?? 0) : null, stream,
      role: segment.role === ROLE.predict ? "predict" : "given", item, at: patch,
    };
  });
}

/** What one token says; half a character is its number. */
function textOf(codec: Extract<Codec, { kind: "text" }>, id: number): string {
  const text = codec.tokenizer.decode([id]);
  return text.includes("\ufffd") || text === "" ? `#${id}` : text;
}
