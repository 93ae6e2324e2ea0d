// A packed token table to the inputs of the `grad` and `loss` programs: targets, weights, noise levels.
// Weights are normalised on the host (1 / number of predicted tokens), so that every loss term is a mean over the batch.

import type { ModelSpec, ProcessSpec } from "../../compiler/plan/manifest.ts";
import type { HostArray } from "../exec/states.ts";
import { besideInputs, type TokenTable } from "../sequence/batch.ts";
import { attributesOf, ROLE } from "../sequence/layout.ts";

export interface BatchInputs {
  readonly lengths: Readonly<Record<string, number>>;
  readonly values: Record<string, HostArray>;
  /** Predicted tokens by loss name. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Uniform numbers in [0, 1) by (stream, index): the same index gives the same number. */
export type Uniform = (index: number) => number;

/** The level of one span, from two uniform draws. */
export function drawLevel(process: ProcessSpec, u0: number, u1: number): number {
  if (process.levels.kind === "uniform") return Math.min(0.999, Math.max(0.001, u0));
  const normal = Math.sqrt(-2 * Math.log(Math.max(u0, 1e-12))) * Math.cos(2 * Math.PI * u1);
  return 1 / (1 + Math.exp(-(process.levels.mean + process.levels.std * normal)));
}

export interface BatchOptions {
  readonly step: number;
  readonly seed: number;
  /** Weight of every mean, for gradient accumulation over micro-batches. */
  readonly scale?: number;
  readonly uniform: Uniform;
}

/** Every input that a training program may want; the caller passes those that its plan names. */
export function trainingInputs(model: ModelSpec, table: TokenTable, options: BatchOptions): BatchInputs {
  const { rows, tokens, columns } = table;
  const size = rows * tokens;
  const values: Record<string, HostArray> = {};
  for (const a of attributesOf(model)) values[`tok.${a}`] = columns[a] ?? new Int32Array(size);
  const counts: Record<string, number> = {};
  const none = new Int32Array(size);
  const { doc = none, stream: streams = none, role = none, id = none } = columns;
  for (const s of model.streams) if (s.kind === "patches" && !s.beside) values[`${s.name}.clean`] = table.features[s.name] ?? new Float32Array(size * s.features);
  for (const p of model.processes) values[`${p.name}.level`] = levels(model, p, table, options.uniform);
  for (const loss of model.losses) {
    const stream = model.streams.find((s) => s.name === loss.stream);
    const weight = new Float32Array(size);
    const target = new Int32Array(size);
    let count = 0;
    for (let i = 0; i < size; i++) {
      // next_token: the token at i predicts its successor; denoise: the token predicts itself
      const at = loss.kind === "next_token" ? i + 1 : i;
      const same = doc[i] !== -1 && (loss.kind !== "next_token" || ((i + 1) % tokens !== 0 && doc[at] === doc[i]));
      if (!same || streams[at] !== stream?.id || role[at] !== ROLE.predict) continue;
      weight[i] = 1;
      target[i] = id[at] ?? 0;
      count++;
    }
    const features = stream?.kind === "patches" ? stream.features : 1;
    const each = count > 0 ? (options.scale ?? 1) / (count * features) : 0;
    for (let i = 0; i < size; i++) weight[i] = (weight[i] ?? 0) * each;
    counts[loss.name] = count;
    values[`${loss.name}.weight`] = weight;
    if (loss.kind === "next_token") values[`${loss.name}.target`] = target;
  }
  const beside = besideInputs(model, table.beside);
  Object.assign(values, beside.values);
  values.seed = Uint32Array.of(options.seed >>> 0);
  values.step = Uint32Array.of(options.step >>> 0);
  values.share = Float32Array.of(options.scale ?? 1);
  return { lengths: { batch: rows, t: tokens, ...beside.lengths }, values, counts };
}

/** Level per token: one draw a predicted span; given content is clean (level 0). */
function levels(model: ModelSpec, process: ProcessSpec, table: TokenTable, uniform: Uniform): Float32Array {
  const out = new Float32Array(table.rows * table.tokens);
  const sid = model.streams.find((s) => s.name === process.stream)?.id;
  let drawn = 0;
  for (const p of table.placed)
    for (const seg of p.sequence.segments) {
      if (model.streams.find((s) => s.name === seg.stream)?.id !== sid || seg.role !== ROLE.predict) continue;
      const level = drawLevel(process, uniform(2 * drawn), uniform(2 * drawn + 1));
      drawn++;
      const at = p.row * table.tokens + p.start + seg.start;
      out.fill(level, at, at + seg.count);
    }
  return out;
}

/** Only the inputs that a plan names. */
export function pick(values: Readonly<Record<string, HostArray>>, names: Readonly<Record<string, number>>): Record<string, HostArray> {
  return Object.fromEntries(Object.keys(names).map((n) => [n, values[n]]).filter((e): e is [string, HostArray] => e[1] !== undefined));
}
