// The training loop. In: a Machine with training programs, samples by index, settings. Out: metrics after every step and
// checkpoints through a hook. Every random choice (order, task, caption, drop, noise level, noise) is a function of seed and
// step, so a run resumed from step k makes the same bits as one that never stopped.
// One optimizer step is one submit; nothing is allocated for a batch shape that was seen before.

import type { ModelSpec, TaskSpec, TrainSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import type { BoundProgram } from "../exec/executor.ts";
import type { Machine } from "../exec/machine.ts";
import { packSequences } from "../sequence/batch.ts";
import { drawDrops, type FieldValue, layoutSample, type Sequence } from "../sequence/layout.ts";
import { pick, trainingInputs } from "./inputs.ts";
import { addCounts, routingMetrics, type RoutingMetrics, termsByName } from "./routing.ts";
import { uniformAt } from "../random/philox.ts";

/** One record of the data, encoded: a value by stream and, where a stream has several (captions), which draw to take. */
export interface TrainingData {
  readonly count: number;
  /** `draw` in [0, 1) chooses among alternatives. */
  value(index: number, stream: string, draw: number): FieldValue;
}

export interface Metrics {
  /** 1-based: the number of optimizer steps done. */
  readonly step: number;
  readonly loss: number;
  /** Terms of the loss before their weights; those of routers, which are weighted, summed over the layers. */
  readonly terms: Readonly<Record<string, number>>;
  readonly lr: number;
  readonly grad_norm: number;
  readonly tokens: number;
  readonly samples: number;
  readonly seconds: number;
  /** Where rows went, by routed layer. */
  readonly routing?: readonly RoutingMetrics[];
}

export interface TrainHooks {
  onStep(metrics: Metrics): void | Promise<void>;
  /** Before a batch of a new shape runs: the bytes that its temporaries, inputs and outputs take at most. */
  onShape?(lengths: Readonly<Record<string, number>>, peakBytes: number): void;
  /** The samples of a batch, laid out, before it runs. */
  onSamples?(samples: readonly Sequence[]): void;
  /** Asked after every step; true saves through `save`. */
  shouldSave(step: number): boolean;
  save(step: number): Promise<void>;
  now(): number;
  readonly signal?: AbortSignal;
}

/** Streams of host randomness; noise inside kernels has streams of its own under the same seed. */
const DRAW = { order: 1001, task: 1002, value: 1003, drop: 1004, level: 1005 } as const;

export const learningRate = (t: TrainSpec, step: number): number => {
  if (step < t.warmup) return (t.lr * (step + 1)) / t.warmup;
  const progress = Math.min(1, (step - t.warmup) / Math.max(1, t.steps - t.warmup));
  return t.minLr + 0.5 * (t.lr - t.minLr) * (1 + Math.cos(Math.PI * progress));
};

/** Sample index at position n of an endless stream: epoch after epoch, each in its own order. */
export class Order {
  readonly #count: number;
  readonly #seed: number;
  #epoch = -1;
  #order: Int32Array;

  constructor(count: number, seed: number) {
    this.#count = count;
    this.#seed = seed;
    this.#order = new Int32Array(0);
  }

  at(n: number): number {
    const epoch = Math.floor(n / this.#count);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#order = Int32Array.from({ length: this.#count }, (_, i) => i);
      for (let i = this.#count - 1; i > 0; i--) {
        const j = Math.floor(uniformAt(i, DRAW.order, this.#seed, epoch) * (i + 1));
        const a = this.#order[i] ?? 0;
        this.#order[i] = this.#order[j] ?? 0;
        this.#order[j] = a;
      }
    }
    return this.#order[n % this.#count] ?? 0;
  }
}

/** The sequences of samples n0 .. n0 + count - 1 of the endless stream. */
export function drawSequences(model: ModelSpec, data: TrainingData, order: Order, seed: number, n0: number, count: number): Sequence[] {
  const total = model.mix.reduce((s, m) => s + m.weight, 0);
  return Array.from({ length: count }, (_, k) => {
    const n = n0 + k;
    let left = uniformAt(n, DRAW.task, seed, 0) * total;
    const entry = model.mix.find((m) => (left -= m.weight) < 0) ?? model.mix[model.mix.length - 1];
    const task: TaskSpec | undefined = model.tasks.find((t) => t.name === entry?.task);
    if (!task) throw new HeddleError({ code: "E0560", message: `the mix names no task of model \`${model.name}\`` });
    const index = order.at(n);
    const fields: Record<string, FieldValue> = {};
    task.fields.forEach((f, i) => {
      fields[f.name] = data.value(index, f.stream, uniformAt(n, DRAW.value + 16 * i, seed, 0));
    });
    return layoutSample(model, task.name, fields, { dropped: drawDrops(task, (u) => uniformAt(n, DRAW.drop + 16 * u, seed, 0)) });
  });
}

export interface TrainOptions {
  readonly train: TrainSpec;
  readonly data: TrainingData;
  /** Steps already done. */
  readonly from: number;
  /** Stop after this many steps in all; default the schedule's end. */
  readonly until?: number;
}

/** Rows are padded to a multiple of this, so that few shapes are prepared. */
const ROUND = 8;

export async function trainLoop(machine: Machine, options: TrainOptions, hooks: TrainHooks): Promise<{ step: number; stopped: boolean }> {
  const { train, data } = options;
  if (data.count === 0) throw new HeddleError({ code: "E0532", message: "the data has no training samples" });
  machine.allocateTraining();
  const order = new Order(data.count, train.seed);
  const until = options.until ?? train.steps;
  let step = options.from;
  let last = hooks.now();
  while (step < until) {
    if (hooks.signal?.aborted) break;
    const metrics = await oneStep(machine, train, data, order, step, hooks);
    step++;
    const now = hooks.now();
    await hooks.onStep({ ...metrics, step, seconds: (now - last) / 1000 });
    last = now;
    if (!Number.isFinite(metrics.loss))
      throw new HeddleError({ code: "E0533", message: `the loss is ${metrics.loss} at step ${step}`, help: "lower the learning rate, or clip harder; the last checkpoint is unharmed" });
    if (hooks.shouldSave(step)) await hooks.save(step);
  }
  return { step, stopped: step < until };
}

async function oneStep(machine: Machine, train: TrainSpec, data: TrainingData, order: Order, step: number, hooks: TrainHooks): Promise<Omit<Metrics, "step" | "seconds">> {
  const { spec } = machine;
  const micro = Math.ceil(train.batch / train.accumulate);
  const sums: Record<string, number> = {};
  let tokens = 0;
  let norm = 0;
  const routers = spec.routers ?? [];
  const counts: number[] = [];
  const names = ["loss", ...spec.losses.map((l) => `loss.${l.name}`), ...routers.flatMap((r) => r.losses.map((l) => l.output))];
  for (let m = 0; m < train.accumulate; m++) {
    const sequences = drawSequences(spec, data, order, train.seed, step * micro * train.accumulate + m * micro, micro);
    hooks.onSamples?.(sequences);
    const longest = sequences.reduce((n, s) => Math.max(n, s.count), 1);
    const table = packSequences(spec, sequences, { tokens: Math.ceil(longest / ROUND) * ROUND });
    const inputs = trainingInputs(spec, table, {
      step,
      // Noise inside kernels is keyed by (seed, step): each micro-batch has its own seed.
      seed: (train.seed + Math.imul(m, 0x9e3779b9)) >>> 0,
      scale: 1 / train.accumulate,
      uniform: (i) => uniformAt(i, DRAW.level, train.seed, step * train.accumulate + m),
    });
    const grad = await machine.bind("grad", inputs.lengths);
    hooks.onShape?.(grad.lengths, grad.layout.peakBytes);
    grad.write(pick(inputs.values, grad.program.plan.inputs));
    const programs: BoundProgram[] = [grad];
    const wanted = [...names, ...(routers.length > 0 ? ["routing"] : [])];
    const last = m === train.accumulate - 1;
    if (train.accumulate > 1) {
      const extra = await machine.bind(last ? "finish" : "accumulate", {});
      extra.write(last ? {} : { first: Int32Array.of(m === 0 ? 1 : 0) });
      programs.push(extra);
    }
    if (last) {
      const apply = await machine.bind("apply", {});
      apply.write(pick(applyInputs(train, step), apply.program.plan.inputs));
      programs.push(apply);
      wanted.push("grad_norm");
    }
    const out = await machine.submit(programs, wanted);
    for (const n of names) sums[n] = (sums[n] ?? 0) + (out[n]?.[0] ?? Number.NaN);
    addCounts(counts, out.routing ?? []);
    if (last) norm = out.grad_norm?.[0] ?? Number.NaN;
    tokens += sequences.reduce((n, s) => n + s.count, 0);
  }
  const terms = { ...Object.fromEntries(spec.losses.map((l) => [l.name, sums[`loss.${l.name}`] ?? Number.NaN])), ...termsByName(routers, sums) };
  return {
    loss: sums.loss ?? Number.NaN, terms, lr: learningRate(train, step), grad_norm: norm, tokens, samples: micro * train.accumulate,
    ...(routers.length > 0 ? { routing: routingMetrics(routers, counts, sums) } : {}),
  };
}

/** What the optimizer step reads: the rate, the corrections of young moments, how much the average keeps. */
export function applyInputs(train: TrainSpec, step: number): Record<string, Float32Array> {
  const t = step + 1;
  return {
    lr: Float32Array.of(learningRate(train, step)),
    correct1: Float32Array.of(1 - train.betas[0] ** t),
    correct2: Float32Array.of(1 - train.betas[1] ** t),
    // A young average follows the weights: (1 + t) / (10 + t) until the decay is reached.
    ema_decay: Float32Array.of(Math.min(train.ema, (1 + t) / (10 + t))),
  };
}
