// The sampling state machine: lays out a task item by item, feeds tokens through the cache, and fills each predicted item by
// its stream's sampler: text token by token, continuous streams all at once by a solver.
// In: ModelSpec, a `StepRunner` (the compiled step and denoise programs), requests of one task. Out: the predicted fields.
// The layout is the training layout laid out again as fields become known, so the two cannot drift apart.

import type { ModelSpec, PatchStream, ProcessSpec, SamplerSpec, TaskItem, TaskSpec, TextStream } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import type { HostArray } from "../exec/states.ts";
import { besideInputs, besideTables } from "../sequence/batch.ts";
import { droppableItems, type FieldValue, findStream, findTask, layoutSample, patchCount } from "../sequence/layout.ts";
import { Row, roundSlots, type StepTable, stepTable, type Token, tokensOf } from "./rows.ts";
import { solve } from "./solver.ts";
import { chooseToken } from "./text.ts";

/** Runs one compiled program on a step table; returns its outputs by name. */
export interface StepRunner {
  /** Caches for so many rows and slots; what they held is gone. */
  begin(rows: number, slots: number): void;
  run(program: "step" | "denoise", table: StepTable, extra: Readonly<Record<string, HostArray>>, wanted: readonly string[]): Promise<Readonly<Record<string, HostArray>>>;
}

export interface GenerateOptions {
  readonly seed: number;
  /** Overrides of the spec's sampler by stream: kind and numbers. */
  readonly samplers?: Readonly<Record<string, { readonly kind?: string; readonly args?: Readonly<Record<string, number>> }>>;
  readonly maxTokens?: number;
  readonly progress?: (stage: string, done: number, total: number) => void;
  /** Uniform and normal numbers by (draw, index); counter-based, so that results do not depend on the batch. */
  readonly random: { uniform(request: number, index: number): number; normal(request: number, index: number): number };
  readonly signal?: AbortSignal;
}

interface Request {
  readonly fields: Record<string, FieldValue>;
}

/** Generate every predicted field of `taskName` for each request. */
export async function generate(model: ModelSpec, runner: StepRunner, taskName: string, requests: readonly Readonly<Record<string, FieldValue>>[], options: GenerateOptions): Promise<Record<string, FieldValue>[]> {
  const task = findTask(model, taskName);
  const run = new Generation(model, runner, task, requests, options);
  return run.all();
}

class Generation {
  readonly #model: ModelSpec;
  readonly #runner: StepRunner;
  readonly #task: TaskSpec;
  readonly #options: GenerateOptions;
  readonly #requests: Request[];
  /** Conditional rows first, then as many without the droppable conditions when some sampler is guided. */
  readonly #rows: Row[];
  readonly #guided: boolean;
  readonly #droppable: ReadonlySet<number>;
  /** Slots filled in every row. */
  #at = 0;
  /** Rows beside the sequences: given, so they are the same in every call. */
  readonly #beside: ReturnType<typeof besideInputs>;

  constructor(model: ModelSpec, runner: StepRunner, task: TaskSpec, requests: readonly Readonly<Record<string, FieldValue>>[], options: GenerateOptions) {
    this.#model = model;
    this.#runner = runner;
    this.#task = task;
    this.#options = options;
    this.#requests = requests.map((fields) => ({ fields: { ...fields } }));
    this.#droppable = droppableItems(task);
    const continuous = task.items.filter((i) => i.kind === "predict" && findStream(model, i.stream).kind === "patches");
    this.#guided = this.#droppable.size > 0 && continuous.some((i) => i.kind === "predict" && (this.#sampler(i.stream).args.guidance ?? 1) !== 1);
    this.#rows = Array.from({ length: requests.length * (this.#guided ? 2 : 1) }, () => new Row());
    const documents = this.#rows.map((_, row) => {
      const { fields: known, dropped } = this.#fields(row);
      return { row, doc: 0, sequence: layoutSample(model, task.name, known, { until: 0, dropped }) };
    });
    this.#beside = besideInputs(model, besideTables(model, this.#rows.length, documents));
  }

  async all(): Promise<Record<string, FieldValue>[]> {
    const made: Record<string, FieldValue>[] = this.#requests.map(() => ({}));
    this.#runner.begin(this.#rows.length, roundSlots(this.#capacity()));
    for (const [index, item] of this.#task.items.entries()) {
      if (item.kind !== "predict") continue;
      this.#layout(index);
      const stream = findStream(this.#model, item.stream);
      const values = stream.kind === "text" ? await this.#text(item, index, stream) : await this.#patches(item, index, stream);
      values.forEach((v, i) => {
        const request = this.#requests[i];
        const out = made[i];
        if (request) request.fields[item.field] = v;
        if (out) out[item.field] = v;
      });
    }
    return made;
  }

  /** Most slots this generation can fill: every feed pads its rows to the longest. */
  #capacity(): number {
    let n = 0;
    for (const item of this.#task.items) {
      if (item.kind === "beside") continue;
      const stream = item.kind === "literal" ? undefined : findStream(this.#model, item.stream);
      if (item.kind === "literal" || !stream) n += 1;
      else if (stream.kind === "patches") n += patchCount(stream);
      else if (item.kind === "predict") n += this.#textLimit(item.stream) + 1;
      else
        n += this.#requests.reduce((m, r) => {
          const value = r.fields[item.field];
          return Math.max(m, value?.kind === "ids" ? value.ids.length : 0);
        }, 0);
    }
    return n;
  }

  #textLimit(stream: string): number {
    return Math.max(1, Math.round(this.#sampler(stream).args.max ?? this.#options.maxTokens ?? 64));
  }

  #sampler(stream: string): SamplerSpec {
    const base = this.#model.samplers.find((s) => s.stream === stream);
    if (!base) throw new HeddleError({ code: "E0563", message: `stream \`${stream}\` has no sampler` });
    const over = this.#options.samplers?.[stream];
    return { stream, kind: over?.kind ?? base.kind, args: { ...base.args, ...over?.args } };
  }

  #fields(row: number): { fields: Record<string, FieldValue>; dropped: ReadonlySet<number> } {
    const n = this.#requests.length;
    const request = this.#requests[row % n];
    return { fields: request?.fields ?? {}, dropped: row >= n ? this.#droppable : new Set<number>() };
  }

  /** Lay out every row up to (not including) item `until`. */
  #layout(until: number): void {
    this.#rows.forEach((row, r) => {
      const { fields, dropped } = this.#fields(r);
      row.extend(tokensOf(this.#model, layoutSample(this.#model, this.#task.name, fields, { until, dropped })));
    });
  }

  /** Feed what is pending and commit it; without a sound cache everything is fed again. Returns logits by row when wanted. */
  async #feed(wanted: readonly string[]): Promise<Readonly<Record<string, HostArray>>> {
    this.#options.signal?.throwIfAborted();
    if (!this.#model.cache.sound) this.#rewind();
    const fed = this.#rows.map((row) => row.pending);
    const table = this.#table(fed, this.#at);
    const out = await this.#runner.run("step", table, this.#inputs(table, new Map()), wanted);
    const t = table.lengths.t ?? 0;
    this.#rows.forEach((row) => {
      for (let i = 0; i < t; i++) row.slots[this.#at + i] = row.pending[i];
      row.pending = [];
    });
    this.#at += t;
    return out;
  }

  #table(fed: readonly (readonly Token[])[], at: number): StepTable {
    const table = stepTable(this.#model, this.#rows, fed, at);
    return { ...table, lengths: { ...table.lengths, ...this.#beside.lengths } };
  }

  #rewind(): void {
    for (const row of this.#rows) {
      row.pending = [...row.slots.filter((t): t is Token => t !== undefined), ...row.pending];
      row.slots = [];
    }
    this.#at = 0;
  }

  /** Inputs of both programs; `levels` maps a stream id to the level of its tokens in this call. */
  #inputs(table: StepTable, levels: ReadonlyMap<number, number>): Record<string, HostArray> {
    const values: Record<string, HostArray> = { at: Int32Array.of(this.#at), pick: table.last, ...this.#beside.values };
    for (const [name, column] of Object.entries(table.columns)) values[`tok.${name}`] = column;
    for (const [name, column] of Object.entries(table.keys)) values[`key.${name}`] = column;
    for (const [name, data] of Object.entries(table.features)) values[`${name}.clean`] = data;
    for (const p of this.#model.processes) {
      const id = findStream(this.#model, p.stream).id;
      const level = levels.get(id) ?? 0;
      values[`${p.name}.level`] = Float32Array.from(table.columns.stream ?? [], (s) => (s === id ? level : 0));
    }
    return values;
  }

  async #text(item: TaskItem & { kind: "given" | "predict" }, index: number, stream: TextStream): Promise<FieldValue[]> {
    const sampler = this.#sampler(item.stream);
    const next = this.#task.items[index + 1];
    const end = next?.kind === "literal" ? next.id : undefined;
    const limit = this.#textLimit(item.stream);
    const n = this.#requests.length;
    const ids: number[][] = this.#requests.map(() => []);
    const done = ids.map(() => false);
    const allowed = (id: number): boolean => id < stream.vocab || id === end;
    const output = `${stream.name}.logits`;
    for (let i = 0; i < limit && done.includes(false); i++) {
      const logits = (await this.#feed([output]))[output];
      const vocab = (logits?.length ?? 0) / this.#rows.length;
      for (let r = 0; r < n; r++) {
        if (done[r] || !logits) continue;
        const row = Float32Array.from(logits.subarray(r * vocab, (r + 1) * vocab));
        checkNumbers(row, item);
        const id = chooseToken(row, sampler, allowed, this.#options.random.uniform(r, i));
        if (id === end) done[r] = true;
        else ids[r]?.push(id);
        const request = this.#requests[r];
        if (request) request.fields[item.field] = { kind: "ids", ids: ids[r] ?? [] };
      }
      this.#options.progress?.(item.field, i + 1, limit);
      if (done.includes(false) && i + 1 < limit) this.#layout(index + 1);
    }
    return ids.map((x) => ({ kind: "ids", ids: x }));
  }

  async #patches(item: TaskItem & { kind: "given" | "predict" }, index: number, stream: PatchStream): Promise<FieldValue[]> {
    const process = this.#model.processes.find((p) => p.stream === item.stream);
    if (!process) throw new HeddleError({ code: "E0563", message: `stream \`${item.stream}\` has no process` });
    const sampler = this.#sampler(item.stream);
    const guidance = this.#guided ? (sampler.args.guidance ?? 1) : 1;
    const n = this.#requests.length;
    const size = patchCount(stream) * stream.features;
    const start = new Float32Array(n * size);
    for (let i = 0; i < start.length; i++) start[i] = this.#options.random.normal(Math.floor(i / size), i % size);
    if (this.#rows.some((r) => r.pending.length > 0) && this.#model.cache.sound) await this.#feed([]);
    const predict = (x: Float32Array, level: number): Promise<Float32Array> => this.#denoise(item, index, stream, process, guidance, x, level);
    const x = await solve(sampler, process, start, predict, {
      steps: Math.max(1, Math.round(sampler.args.steps ?? 50)),
      clip: (sampler.args.clip ?? 1) > 0 ? [-(sampler.args.clip ?? 1), sampler.args.clip ?? 1] : undefined,
      progress: (done, total) => this.#options.progress?.(item.field, done, total),
    });
    return this.#requests.map((_, r) => ({ kind: "features", data: x.slice(r * size, (r + 1) * size) }));
  }

  /** One call of the network on every row's noisy span, behind the cache; nothing is committed. */
  async #denoise(item: TaskItem & { kind: "given" | "predict" }, index: number, stream: PatchStream, process: ProcessSpec, guidance: number, x: Float32Array, level: number): Promise<Float32Array> {
    this.#options.signal?.throwIfAborted();
    const n = this.#requests.length;
    const count = patchCount(stream);
    const size = count * stream.features;
    const sound = this.#model.cache.sound;
    const starts: number[] = [];
    const fed = this.#rows.map((row, r) => {
      const { fields, dropped } = this.#fields(r);
      const data = x.slice((r % n) * size, ((r % n) + 1) * size);
      const all = tokensOf(this.#model, layoutSample(this.#model, this.#task.name, { ...fields, [item.field]: { kind: "features", data } }, { until: index + 1, dropped }));
      const feed = sound ? all.slice(row.count) : all;
      starts.push(feed.length - count);
      return feed;
    });
    const table = this.#table(fed, sound ? this.#at : 0);
    const output = `${process.name}.out`;
    const extra = this.#inputs(table, new Map([[stream.id, level]]));
    if (!sound) extra.at = Int32Array.of(0);
    const out = (await this.#runner.run("denoise", table, extra, [output]))[output];
    if (!out) throw new HeddleError({ code: "E0555", message: `the denoise program has no output \`${output}\`` });
    const t = table.lengths.t ?? 0;
    const take = (r: number): Float32Array => Float32Array.from(out.subarray((r * t + (starts[r] ?? 0)) * stream.features, (r * t + (starts[r] ?? 0) + count) * stream.features));
    const result = new Float32Array(n * size);
    for (let r = 0; r < n; r++) {
      const cond = take(r);
      const free = this.#guided ? take(n + r) : cond;
      for (let i = 0; i < size; i++) result[r * size + i] = (free[i] ?? 0) + guidance * ((cond[i] ?? 0) - (free[i] ?? 0));
    }
    checkNumbers(result, item);
    return result;
  }
}

/** Weights that are damaged, or that training had driven to infinity, show here first. */
function checkNumbers(values: Float32Array, item: { readonly field: string; readonly stream: string }): void {
  if (values.some(Number.isNaN))
    throw new HeddleError({ code: "E0565", message: `the network's answer for \`${item.field}\` (stream \`${item.stream}\`) is not a number`, help: "the weights hold values that are not numbers, or too large ones: use an earlier checkpoint" });
}
