// Whether generation through the cache says what the network says of whole sequences. In: a ModelSpec, a backend that runs programs,
// requests of one task. The engine generates; every logit and every denoiser output it was given is set beside one `forward` over
// the row alone, all its tokens in one call, nothing cached. Out: the largest differences, and how much was compared.
// Where the mask lets nothing look ahead, that sequence holds everything generated later too: a cache that leaks would show.

import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import type { HostArray } from "../../runtime/exec/states.ts";
import { generate, type StepRunner } from "../../runtime/generate/engine.ts";
import { normalAt, uniformAt } from "../../runtime/random/philox.ts";
import { besideInputs, besideTables } from "../../runtime/sequence/batch.ts";
import { attributesOf, droppableItems, type FieldValue, findStream, findTask, layoutSample, neededFields, patchCount, type Sequence } from "../../runtime/sequence/layout.ts";

/** Lengths and inputs of a program. */
export interface Given {
  readonly lengths: Readonly<Record<string, number>>;
  readonly values: Readonly<Record<string, HostArray>>;
}

export interface Backend {
  readonly runner: StepRunner;
  /** One row through `forward`. */
  forward(row: Given, wanted: readonly string[]): Promise<Readonly<Record<string, HostArray>>>;
}

export interface Comparison {
  readonly logits: number;
  readonly denoised: number;
  /** Largest difference, as a part of the largest number it was compared with. */
  readonly worst: number;
  /** Where that was. */
  readonly where: string;
}

export type Fields = Readonly<Record<string, FieldValue>>;

/** Requests of different lengths for a task: text of 3, 0 and 7 tokens, random images. */
export function randomRequests(spec: ModelSpec, taskName: string, lengths: readonly number[] = [3, 0, 7]): Fields[] {
  const task = findTask(spec, taskName);
  return lengths.map((n, r) =>
    Object.fromEntries(neededFields(task).map((name, f): [string, FieldValue] => {
      const s = findStream(spec, task.fields.find((x) => x.name === name)?.stream ?? "");
      const at = (i: number): number => uniformAt(i, 71 + f, 5, r);
      if (s.kind === "text") return [name, { kind: "ids", ids: Array.from({ length: n }, (_, i) => Math.floor(at(i) * s.vocab)) }];
      return [name, { kind: "features", data: Float32Array.from({ length: patchCount(s) * s.features }, (_, i) => 2 * at(i) - 1) }];
    })),
  );
}

/** Weights of any size but zero, so that no part of the network is mute. */
export function randomWeights(spec: ModelSpec): Float32Array {
  const all = new Float32Array(spec.parameterCount);
  spec.parameters.forEach((p, stream) => {
    const size = p.axes.reduce((n, a) => n * a.size, 1);
    const std = p.init.kind === "normal" ? Math.max(p.init.std, 0.1) : 0.2;
    for (let i = 0; i < size; i++) all[p.offset + i] = (p.init.kind === "ones" ? 1 : 0) + std * normalAt(i, stream, 11, 0);
  });
  return all;
}

interface Call {
  readonly program: string;
  readonly rows: readonly number[];
  readonly t: number;
  readonly extra: Readonly<Record<string, HostArray>>;
  readonly out: Readonly<Record<string, HostArray>>;
  readonly last: Int32Array;
}

/** Notes what every call was given and said; makes request r end its text after `ends[r]` tokens. */
function spy(spec: ModelSpec, runner: StepRunner, requests: number, end: number | undefined, ends: readonly number[]): { runner: StepRunner; calls: Call[] } {
  const calls: Call[] = [];
  let rows: number[] = [];
  const said = new Map<number, number>();
  return {
    calls,
    runner: {
      begin(n, slots) {
        rows = Array.from({ length: n }, (_, i) => i);
        runner.begin(n, slots);
      },
      beside: (given) => runner.beside(given),
      keep(kept) {
        rows = kept.map((r) => rows[r] ?? -1);
        runner.keep(kept);
      },
      async run(program, table, extra, wanted) {
        const out = await runner.run(program, table, extra, wanted);
        calls.push({ program, rows: [...rows], t: table.lengths.t ?? 0, extra, out, last: table.last });
        const changed: Record<string, HostArray> = {};
        for (const [name, data] of Object.entries(out)) {
          changed[name] = data;
          if (!name.endsWith(".logits") || end === undefined) continue;
          const copy = Float32Array.from(data);
          const vocab = copy.length / rows.length;
          rows.forEach((row, r) => {
            const n = said.get(row) ?? 0;
            said.set(row, n + 1);
            if (n === ends[row % requests]) copy[r * vocab + end] = 1e6;
          });
          changed[name] = copy;
        }
        return changed;
      },
    },
  };
}

/** The first `count` tokens of a sequence as a row of `forward`, alone in its batch. */
function alone(spec: ModelSpec, seq: Sequence, count: number, levels: Readonly<Record<string, Float32Array>>): Given {
  const beside = besideInputs(spec, besideTables(spec, 1, [{ row: 0, doc: 0, sequence: seq }]));
  const values: Record<string, HostArray> = { ...beside.values };
  for (const a of attributesOf(spec)) values[`tok.${a}`] = (seq.columns[a] ?? new Int32Array(seq.count)).slice(0, count);
  for (const s of spec.streams) if (s.kind === "patches" && !s.beside) values[`${s.name}.clean`] = (seq.features[s.name] ?? new Float32Array(seq.count * s.features)).slice(0, count * s.features);
  for (const p of spec.processes) values[`${p.name}.level`] = (levels[p.name] ?? new Float32Array(seq.count)).slice(0, count);
  return { lengths: { batch: 1, t: count, ...beside.lengths }, values };
}

export async function compareTask(spec: ModelSpec, backend: Backend, taskName: string, requests: readonly Fields[] = randomRequests(spec, taskName)): Promise<Comparison> {
  const task = findTask(spec, taskName);
  const n = requests.length;
  const firstText = task.items.findIndex((i) => i.kind === "predict" && findStream(spec, i.stream).kind === "text");
  const after = task.items[firstText + 1];
  const end = firstText >= 0 && after?.kind === "literal" ? after.id : undefined;
  const { runner, calls } = spy(spec, backend.runner, n, end, [2, 0, 4]);
  const samplers = Object.fromEntries(
    spec.samplers.map((s): [string, { kind: string; args: Record<string, number> }] => [s.stream, findStream(spec, s.stream).kind === "text" ? { kind: "temperature", args: { temperature: 1, max: 5 } } : { kind: s.kind, args: { steps: 2, guidance: 2 } }]),
  );
  const made = await generate(spec, runner, taskName, requests, { seed: 1, samplers, random: { uniform: (r, i) => uniformAt(i, 1, 1, r), normal: (r, i) => normalAt(i, 2, 1, r) } });

  const whole = requests.map((request, r) => {
    const fields: Record<string, FieldValue> = { ...request };
    const contents = new Map<number, FieldValue>();
    task.items.forEach((item, i) => {
      if (item.kind === "literal" || item.kind === "beside") return;
      const value = item.kind === "predict" ? made[r]?.[item.field] : fields[item.field];
      if (!value) throw new Error(`${item.field} was neither given nor made`);
      fields[item.field] = value;
      contents.set(i, value);
    });
    return contents;
  });
  // What comes after the last prediction is never made.
  const until = task.items.findLastIndex((i) => i.kind === "predict") + 1;
  const sequence = (row: number): Sequence => layoutSample(spec, taskName, requests[row % n] ?? {}, { until, contents: whole[row % n], dropped: row >= n ? droppableItems(task) : new Set() });

  let [logits, denoised, worst, where] = [0, 0, 0, ""];
  const compare = (got: ArrayLike<number>, want: ArrayLike<number>, what: string): void => {
    let [top, most] = [0, 0];
    for (let i = 0; i < want.length; i++) {
      top = Math.max(top, Math.abs(want[i] ?? Number.NaN));
      most = Math.max(most, Math.abs((got[i] ?? Number.NaN) - (want[i] ?? Number.NaN)));
      if (Number.isNaN(most)) throw new Error(`${what}: ${got[i]} where ${want[i]} is right`);
    }
    if (got.length !== want.length || want.length === 0) throw new Error(`${what}: ${got.length} numbers where ${want.length} are right`);
    if (most / Math.max(top, 1e-3) >= worst) [worst, where] = [most / Math.max(top, 1e-3), what];
  };
  const cleanForward = new Map<string, Readonly<Record<string, HostArray>>>();
  for (const call of calls) {
    for (const [r, row] of call.rows.entries()) {
      const seq = sequence(row);
      const column = (name: string, i: number): number => call.extra[`tok.${name}`]?.[r * call.t + i] ?? Number.NaN;
      const request = `task ${taskName}, request ${row % n}${row >= n ? " without its conditions" : ""}`;
      if (call.program === "step") {
        const name = Object.keys(call.out).find((o) => o.endsWith(".logits"));
        const last = call.last[r] ?? 0;
        if (!name || column("doc", last) === -1) continue;
        const pos = column("pos", last);
        const count = spec.cache.sound ? seq.count : pos + 1;
        const key = `${row} ${count}`;
        const values = cleanForward.get(key) ?? (await backend.forward(alone(spec, seq, count, {}), [name]));
        cleanForward.set(key, values);
        const all = values[name] ?? [];
        const vocab = all.length / count;
        const got = call.out[name]?.slice(r * vocab, (r + 1) * vocab) ?? [];
        compare(got, Array.from(all).slice(pos * vocab, (pos + 1) * vocab), `${request}, logits after token ${pos}`);
        logits++;
        continue;
      }
      const process = spec.processes.find((p) => `${p.name}.out` in call.out);
      const stream = spec.streams.find((s) => s.name === process?.stream);
      if (!process || stream?.kind !== "patches") continue;
      const f = stream.features;
      const span = Array.from({ length: call.t }, (_, i) => i).filter((i) => (call.extra[`${process.name}.level`]?.[r * call.t + i] ?? 0) > 0);
      const levels = new Float32Array(seq.count);
      const features = seq.features[stream.name] ?? new Float32Array(0);
      for (const i of span) {
        const pos = column("pos", i);
        levels[pos] = call.extra[`${process.name}.level`]?.[r * call.t + i] ?? 0;
        features.set(call.extra[`${stream.name}.clean`]?.slice((r * call.t + i) * f, (r * call.t + i + 1) * f) ?? [], pos * f);
      }
      if (span.length !== patchCount(stream)) throw new Error(`${request}: ${span.length} tokens are noised where the span has ${patchCount(stream)}`);
      const end = Math.max(...span.map((i) => column("pos", i))) + 1;
      const count = spec.cache.sound ? seq.count : end;
      const values = await backend.forward(alone(spec, seq, count, { [process.name]: levels }), [`${stream.name}.out`]);
      const want = values[`${stream.name}.out`] ?? [];
      for (const i of span) {
        const pos = column("pos", i);
        const got = call.out[`${process.name}.out`]?.slice((r * call.t + i) * f, (r * call.t + i + 1) * f) ?? [];
        compare(got, Array.from(want).slice(pos * f, (pos + 1) * f), `${request}, denoised token ${pos}`);
      }
      denoised++;
    }
  }
  return { logits, denoised, worst, where };
}
