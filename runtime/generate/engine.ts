// The sampling state machine: lays out a task item by item, feeds tokens through the cache, and fills each predicted item by
// its stream's sampler: text token by token, continuous streams all at once by a solver.
// In: ModelSpec, a `StepRunner` (the compiled step and denoise programs), requests of one task. Out: the predicted fields.
// The layout is the training layout laid out again as fields become known, so the two cannot drift apart: a token has the same
// attributes while it is made, once it is committed, and in training.

import type { ModelSpec, PatchStream, ProcessSpec, SamplerSpec, TaskItem, TaskSpec, TextStream } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import type { HostArray } from "../exec/states.ts";
import { besideInputs, besideTables } from "../sequence/batch.ts";
import { droppableItems, type FieldValue, findStream, findTask, layoutSample, patchCount, type Sequence } from "../sequence/layout.ts";
import { Row, roundSlots, type StepTable, stepTable, type Token, tokensOf } from "./rows.ts";
import { solve } from "./solver.ts";
import { chooseToken } from "./text.ts";

/** Runs one compiled program on a step table; returns its outputs by name. */
export interface StepRunner {
  /** Caches for so many rows and slots; what they held is gone. */
  begin(rows: number, slots: number): void;
  /** What stands beside the rows, from now on; rows that are kept are given again. */
  beside(given: { readonly lengths: Readonly<Record<string, number>>; readonly values: Readonly<Record<string, HostArray>> }): Promise<void>;
  /** Only these rows go on, in ascending order: row i is from now on what row rows[i] was, its cache too. */
  keep(rows: readonly number[]): void;
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

type Segment = TaskItem & { kind: "given" | "predict" };

interface Request {
  /** What was given and what was made, by field. */
  readonly fields: Record<string, FieldValue>;
  /** What each item holds, from when it is reached: a field that is given and later predicted is both. */
  readonly contents: Map<number, FieldValue>;
}

/** Numbers drawn for one predicted item; the next item's follow. */
const DRAWS = 2 ** 24;

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
  readonly #requests: readonly Request[];
  /** A row a request, then as many without the droppable conditions while some item to come is guided. */
  #rows: Row[];
  readonly #droppable: ReadonlySet<number>;
  /** Items from the first whose keys the cache keeps. */
  readonly #keep: number;
  /** Slots filled in every row. */
  #at = 0;
  /** What stands beside these rows: given, so it changes with the rows alone. */
  #beside: { readonly rows: readonly Row[]; readonly inputs: ReturnType<typeof besideInputs> } | undefined;

  constructor(model: ModelSpec, runner: StepRunner, task: TaskSpec, requests: readonly Readonly<Record<string, FieldValue>>[], options: GenerateOptions) {
    this.#model = model;
    this.#runner = runner;
    this.#task = task;
    this.#options = options;
    this.#requests = requests.map((fields) => ({ fields: { ...fields }, contents: new Map<number, FieldValue>() }));
    this.#droppable = droppableItems(task);
    this.#keep = model.cache.sound ? Infinity : (model.cache.keep?.[task.name] ?? 0);
    const rows = (free: boolean): Row[] => requests.map((_, r) => new Row(r, free));
    this.#rows = [...rows(false), ...(this.#guidedFrom(0) ? rows(true) : [])];
  }

  async all(): Promise<Record<string, FieldValue>[]> {
    const made: Record<string, FieldValue>[] = this.#requests.map(() => ({}));
    this.#runner.begin(this.#rows.length, roundSlots(this.#capacity()));
    let draws = 0;
    for (const [index, item] of this.#task.items.entries()) {
      if (item.kind !== "predict") continue;
      if (!this.#guidedFrom(index)) this.#only((row) => !row.free);
      this.#layout(index);
      const stream = findStream(this.#model, item.stream);
      const values = stream.kind === "text" ? await this.#text(item, index, stream, draws) : await this.#patches(item, index, stream, draws);
      values.forEach((v, i) => {
        this.#requests[i]?.contents.set(index, v);
        for (const fields of [this.#requests[i]?.fields, made[i]]) if (fields) fields[item.field] = v;
      });
      draws += DRAWS;
    }
    return made;
  }

  /** Whether an item from `index` on is made with guidance, for which every request has a second row. */
  #guidedFrom(index: number): boolean {
    return this.#droppable.size > 0 && this.#task.items.some((i, at) => at >= index && i.kind === "predict" && this.#guidance(i) !== 1);
  }

  #guidance(item: Segment): number {
    return findStream(this.#model, item.stream).kind === "patches" ? (this.#sampler(item.stream).args.guidance ?? 1) : 1;
  }

  /** Go on with these rows alone. */
  #only(wanted: (row: Row) => boolean): void {
    const at = this.#rows.flatMap((row, r) => (wanted(row) ? [r] : []));
    if (at.length === this.#rows.length) return;
    this.#rows = this.#rows.filter(wanted);
    this.#runner.keep(at);
  }

  /** Tokens that an item takes at most, whatever is generated. */
  #most(item: TaskItem): number {
    if (item.kind === "literal") return 1;
    if (item.kind === "beside") return 0;
    const stream = findStream(this.#model, item.stream);
    if (stream.kind === "patches") return patchCount(stream);
    const given = this.#requests.reduce((m, r) => {
      const value = r.fields[item.field];
      return Math.max(m, value?.kind === "ids" ? value.ids.length : 0);
    }, 0);
    // Text that is made here may be shown again later.
    return this.#task.items.some((i) => i.kind === "predict" && i.field === item.field) ? Math.max(given, this.#textLimit(item.stream) + 1) : given;
  }

  /** Most slots this generation can fill: every feed pads its rows to the longest. */
  #capacity(): number {
    return Math.max(1, this.#task.items.reduce((n, item) => n + this.#most(item), 0));
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

  /** One row up to (not including) item `until`; `instead` is what item until - 1 holds for now. */
  #sequence(row: Row, until: number, instead?: FieldValue): Sequence {
    const request = this.#requests[row.request];
    const contents = new Map(request?.contents);
    if (instead) contents.set(until - 1, instead);
    return layoutSample(this.#model, this.#task.name, request?.fields ?? {}, { until, contents, dropped: row.free ? this.#droppable : new Set() });
  }

  /** Lay out every row up to (not including) item `until`. */
  #layout(until: number): void {
    this.#task.items.slice(0, until).forEach((item, i) => {
      if (item.kind === "given") for (const { contents, fields } of this.#requests) {
        const value = fields[item.field];
        if (value && !contents.has(i)) contents.set(i, value);
      }
    });
    for (const row of this.#rows) {
      const whole = this.#sequence(row, until);
      row.extend(tokensOf(this.#model, whole, row.count));
      if (until <= this.#keep) row.lasting = row.count;
      else if (!row.bounded) {
        row.lasting = this.#sequence(row, this.#keep).count;
        row.bounded = true;
      }
    }
  }

  #table(fed: readonly (readonly Token[])[]): StepTable {
    const table = stepTable(this.#model, this.#rows, fed, this.#at);
    return { ...table, lengths: { ...table.lengths, ...this.#besideRows().lengths } };
  }

  /** Tells the runner what stands beside the rows, where that is anything and has changed. */
  async #encode(): Promise<void> {
    if (this.#beside?.rows === this.#rows) return;
    const { lengths, values } = this.#besideRows();
    if (Object.keys(lengths).length > 0) await this.#runner.beside({ lengths: { batch: this.#rows.length, ...lengths }, values });
  }

  #besideRows(): ReturnType<typeof besideInputs> {
    if (this.#beside?.rows === this.#rows) return this.#beside.inputs;
    const documents = this.#rows.map((row, r) => ({ row: r, doc: 0, sequence: this.#sequence(row, 0) }));
    const inputs = besideInputs(this.#model, besideTables(this.#model, this.#rows.length, documents));
    this.#beside = { rows: this.#rows, inputs };
    return inputs;
  }

  /** Takes back what a later token may have changed. */
  #rewind(): void {
    if (this.#model.cache.sound) return;
    for (const row of this.#rows) row.rewind();
    this.#at = this.#rows.reduce((n, row) => Math.max(n, row.slots.length), 0);
  }

  /** Commits the first tokens that are pending, `counts[r]` of row r. Returns what is wanted of each row's last one. */
  async #feed(counts: readonly number[], wanted: readonly string[]): Promise<Readonly<Record<string, HostArray>>> {
    this.#options.signal?.throwIfAborted();
    if (counts.every((n) => n === 0)) return {};
    await this.#encode();
    const fed = this.#rows.map((row, r) => row.pending.splice(0, counts[r] ?? 0));
    const table = this.#table(fed);
    const out = await this.#runner.run("step", table, this.#inputs(table), wanted);
    this.#rows.forEach((row, r) => fed[r]?.forEach((token, i) => void (row.slots[this.#at + i] = token)));
    this.#at += table.lengths.t ?? 0;
    return out;
  }

  /** Inputs of both programs; without `levels` everything is clean. */
  #inputs(table: StepTable, levels: Readonly<Record<string, Float32Array>> = {}): Record<string, HostArray> {
    const values: Record<string, HostArray> = { at: Int32Array.of(this.#at), pick: table.last, ...this.#besideRows().values };
    for (const [name, column] of Object.entries(table.columns)) values[`tok.${name}`] = column;
    for (const [name, column] of Object.entries(table.keys)) values[`key.${name}`] = column;
    for (const [name, data] of Object.entries(table.features)) values[`${name}.clean`] = data;
    for (const p of this.#model.processes) values[`${p.name}.level`] = levels[p.name] ?? new Float32Array(table.last.length * (table.lengths.t ?? 0));
    return values;
  }

  async #text(item: Segment, index: number, stream: TextStream, draws: number): Promise<FieldValue[]> {
    const sampler = this.#sampler(item.stream);
    const next = this.#task.items[index + 1];
    const end = next?.kind === "literal" ? next.id : undefined;
    const last = !this.#task.items.some((i, at) => at > index && i.kind === "predict");
    const ids: number[][] = this.#requests.map(() => []);
    const limits = this.#room(item, index);
    const done = limits.map((n) => n < 1);
    const most = Math.max(0, ...limits);
    const allowed = (id: number): boolean => id < stream.vocab || id === end;
    const output = `${stream.name}.logits`;
    for (let i = 0; i < most && done.includes(false); i++) {
      // Where nothing follows, rows that are done need not go on.
      if (last && 2 * done.filter((d) => !d).length <= this.#rows.length) this.#only((row) => !done[row.request]);
      if (i > 0) this.#layout(index + 1);
      this.#rewind();
      const logits = (await this.#feed(this.#rows.map((row) => row.pending.length), [output]))[output];
      const vocab = (logits?.length ?? 0) / this.#rows.length;
      this.#rows.forEach((row, at) => {
        const r = row.request;
        if (row.free || done[r]) return;
        // Nothing stands before this text, so nothing says how it begins: every token is as likely.
        const said = row.count > 0 && logits ? Float32Array.from(logits.subarray(at * vocab, (at + 1) * vocab)) : new Float32Array(stream.vocab);
        checkNumbers(said, item);
        const id = chooseToken(said, sampler, allowed, this.#options.random.uniform(r, draws + i));
        if (id === end) done[r] = true;
        else ids[r]?.push(id);
        if (i + 1 >= (limits[r] ?? 0)) done[r] = true;
        this.#requests[r]?.contents.set(index, { kind: "ids", ids: ids[r] ?? [] });
      });
      this.#options.progress?.(item.field, i + 1, most);
    }
    return ids.map((x) => ({ kind: "ids", ids: x }));
  }

  /** How many tokens of text each request may have: the sampler's most, or what a table of positions leaves room for. */
  #room(item: Segment, index: number): number[] {
    const limit = this.#textLimit(item.stream);
    const { maxTokens } = this.#model;
    if (maxTokens === undefined) return this.#requests.map(() => limit);
    const after = this.#task.items.slice(index + 1).reduce((n, i) => n + (i.kind === "predict" && findStream(this.#model, i.stream).kind === "text" ? 0 : this.#most(i)), 0);
    return this.#requests.map((_, r) => this.#rows.reduce((n, row) => (row.request === r ? Math.min(n, Math.max(0, maxTokens - after - row.count)) : n), limit));
  }

  async #patches(item: Segment, index: number, stream: PatchStream, draws: number): Promise<FieldValue[]> {
    const process = this.#model.processes.find((p) => p.stream === item.stream);
    if (!process) throw new HeddleError({ code: "E0563", message: `stream \`${item.stream}\` has no process` });
    const sampler = this.#sampler(item.stream);
    const size = patchCount(stream) * stream.features;
    const start = new Float32Array(this.#requests.length * size);
    for (let i = 0; i < start.length; i++) start[i] = this.#options.random.normal(Math.floor(i / size), draws + (i % size));
    // What is pending and will not change is committed once; the rest goes with the span, at every step.
    this.#rewind();
    await this.#feed(this.#rows.map((row) => row.settled), []);
    const predict = (x: Float32Array, level: number): Promise<Float32Array> => this.#denoise(item, index, stream, process, x, level);
    const x = await solve(sampler, process, start, predict, {
      steps: Math.max(1, Math.round(sampler.args.steps ?? 50)),
      clip: (sampler.args.clip ?? 1) > 0 ? [-(sampler.args.clip ?? 1), sampler.args.clip ?? 1] : undefined,
      progress: (done, total) => this.#options.progress?.(item.field, done, total),
    });
    return this.#requests.map((_, r) => ({ kind: "features", data: x.slice(r * size, (r + 1) * size) }));
  }

  /** One call of the network on every row's noisy span, behind the cache; nothing is committed. */
  async #denoise(item: Segment, index: number, stream: PatchStream, process: ProcessSpec, x: Float32Array, level: number): Promise<Float32Array> {
    this.#options.signal?.throwIfAborted();
    await this.#encode();
    const count = patchCount(stream);
    const size = count * stream.features;
    const fed = this.#rows.map((row): Token[] => {
      const data = x.slice(row.request * size, (row.request + 1) * size);
      return [...row.pending, ...tokensOf(this.#model, this.#sequence(row, index + 1, { kind: "features", data }), row.count)];
    });
    const starts = fed.map((tokens) => tokens.length - count);
    const table = this.#table(fed);
    const t = table.lengths.t ?? 0;
    const levels = new Float32Array(this.#rows.length * t);
    starts.forEach((from, r) => levels.fill(level, r * t + from, r * t + from + count));
    const output = `${process.name}.out`;
    const out = (await this.#runner.run("denoise", table, this.#inputs(table, { [process.name]: levels }), [output]))[output];
    if (!out) throw new HeddleError({ code: "E0555", message: `the denoise program has no output \`${output}\`` });
    const guidance = this.#guidance(item);
    const result = new Float32Array(this.#requests.length * size);
    const of = (request: number, free: boolean): ArrayLike<number> | undefined => {
      const r = this.#rows.findIndex((row) => row.request === request && row.free === free);
      const from = (r * t + (starts[r] ?? 0)) * stream.features;
      return r < 0 ? undefined : out.subarray(from, from + size);
    };
    this.#requests.forEach((_, r) => {
      const cond = of(r, false) ?? [];
      const free = of(r, true) ?? cond;
      for (let i = 0; i < size; i++) result[r * size + i] = (free[i] ?? 0) + guidance * ((cond[i] ?? 0) - (free[i] ?? 0));
    });
    checkNumbers(result, item);
    return result;
  }
}

/** Weights that are damaged, or that training had driven to infinity, show here first. */
function checkNumbers(values: Float32Array, item: { readonly field: string; readonly stream: string }): void {
  if (values.some(Number.isNaN))
    throw new HeddleError({ code: "E0565", message: `the network's answer for \`${item.field}\` (stream \`${item.stream}\`) is not a number`, help: "the weights hold values that are not numbers, or too large ones: use an earlier checkpoint" });
}
