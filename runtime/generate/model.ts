// A model ready to generate: a Machine with weights, tokenizers, and the engine behind one method a person would call.
// In: fields as text and images. Out: fields as text and images. Used by bundles, by `heddle generate` and by evaluations.

import type { PatchStream, StreamSpec, TextStream } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import type { Machine } from "../exec/machine.ts";
import { type FieldValue, findStream, findTask, layoutSample, neededFields, type Sequence } from "../sequence/layout.ts";
import type { Image } from "../tokenize/image.ts";
import { type PatchTokenizer, patchTokenizer } from "../tokenize/patches.ts";
import { openTokenizer } from "../tokenize/open.ts";
import type { TextTokenizer } from "../tokenize/text.ts";
import { normalAt, uniformAt } from "../random/philox.ts";
import { generate } from "./engine.ts";
import { checkOverrides, type SamplerOverrides } from "./overrides.ts";
import { stepRunner } from "./runner.ts";

/** Text, or an image with numbers in 0..1. */
export type FieldInput = string | Image;
export type FieldOutput = string | Image;

export interface RunOptions {
  /** Default 0. Request i of a call draws from (seed, i). */
  readonly seed?: number;
  /** Overrides of the spec's samplers, by stream: `{ image: { steps: 20, guidance: 2 } }`. */
  readonly samplers?: SamplerOverrides;
  readonly progress?: (field: string, done: number, total: number) => void;
  readonly signal?: AbortSignal;
  /** The finished samples, laid out as training would lay them out. */
  readonly onSamples?: (samples: readonly Sequence[]) => void;
}

const STREAM = { uniform: 2001, normal: 2002 } as const;

export type Codec = { readonly kind: "text"; readonly tokenizer: TextTokenizer } | { readonly kind: "patches"; readonly tokenizer: PatchTokenizer };

/** Tokenizers of every stream; `read` gives tokenizer files by name. */
export async function openCodecs(streams: readonly StreamSpec[], read: (file: string) => Promise<string>): Promise<Map<string, Codec>> {
  const out = new Map<string, Codec>();
  for (const s of streams)
    out.set(
      s.name,
      s.kind === "text"
        ? { kind: "text", tokenizer: await openTokenizer(s.tokenizer, s.vocab, read) }
        : { kind: "patches", tokenizer: patchTokenizer(s.patch, { height: s.height, width: s.width, channels: s.channels }) },
    );
  return out;
}

export function encodeField(codecs: ReadonlyMap<string, Codec>, stream: StreamSpec, field: string, value: FieldInput): FieldValue {
  const codec = codecs.get(stream.name);
  if (codec?.kind === "text") {
    if (typeof value !== "string") throw new HeddleError({ code: "E0561", message: `field \`${field}\` wants text` });
    return { kind: "ids", ids: codec.tokenizer.encode(value) };
  }
  if (codec?.kind === "patches") {
    if (typeof value === "string") throw new HeddleError({ code: "E0561", message: `field \`${field}\` wants an image` });
    return { kind: "features", data: codec.tokenizer.encode(value) };
  }
  throw new HeddleError({ code: "E0560", message: `stream \`${stream.name}\` has no tokenizer` });
}

export class GenerativeModel {
  readonly machine: Machine;
  readonly codecs: ReadonlyMap<string, Codec>;

  constructor(machine: Machine, codecs: ReadonlyMap<string, Codec>) {
    this.machine = machine;
    this.codecs = codecs;
  }

  /** Names of a task's fields: those to give and those it predicts. */
  fields(taskName: string): { given: readonly string[]; predicted: readonly string[] } {
    const task = findTask(this.machine.spec, taskName);
    return { given: neededFields(task), predicted: [...new Set(task.items.flatMap((i) => (i.kind === "predict" ? [i.field] : [])))] };
  }

  /** One request; several go faster together (`runMany`). */
  async run(task: string, fields: Readonly<Record<string, FieldInput>>, options: RunOptions = {}): Promise<Record<string, FieldOutput>> {
    const [one] = await this.runMany(task, [fields], options);
    return one ?? {};
  }

  /** All requests as one batch. */
  async runMany(taskName: string, requests: readonly Readonly<Record<string, FieldInput>>[], options: RunOptions = {}): Promise<Record<string, FieldOutput>[]> {
    const { spec } = this.machine;
    const task = findTask(spec, taskName);
    if (requests.length === 0) return [];
    const known = new Set(this.fields(taskName).given);
    const encoded = requests.map((r) => {
      for (const name of Object.keys(r))
        if (!known.has(name)) throw new HeddleError({ code: "E0561", message: `task \`${taskName}\` is given no field \`${name}\``, help: `it is given ${[...known].join(", ") || "nothing"}` });
      return Object.fromEntries(task.fields.filter((f) => r[f.name] !== undefined).map((f) => [f.name, encodeField(this.codecs, findStream(spec, f.stream), f.name, r[f.name] ?? "")]));
    });
    const seed = options.seed ?? 0;
    const made = await generate(spec, stepRunner(this.machine), taskName, encoded, {
      seed,
      samplers: checkOverrides(spec, options.samplers),
      progress: options.progress,
      signal: options.signal,
      random: {
        uniform: (request, index) => uniformAt(index, STREAM.uniform, seed, request),
        normal: (request, index) => normalAt(index, STREAM.normal, seed, request),
      },
    });
    options.onSamples?.(made.map((fields, i) => layoutSample(spec, taskName, { ...encoded[i], ...fields })));
    return made.map((fields) =>
      Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, this.#decode(findStream(spec, task.fields.find((f) => f.name === name)?.stream ?? ""), value)])),
    );
  }

  #decode(stream: TextStream | PatchStream, value: FieldValue): FieldOutput {
    const codec = this.codecs.get(stream.name);
    if (codec?.kind === "text" && value.kind === "ids") return codec.tokenizer.decode(Array.from(value.ids));
    if (codec?.kind === "patches" && value.kind === "features") return codec.tokenizer.decode(value.data);
    throw new Error(`stream ${stream.name} cannot decode ${value.kind}`);
  }

  destroy(): Promise<void> {
    return this.machine.destroy();
  }
}
