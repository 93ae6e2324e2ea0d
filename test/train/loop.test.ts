// The training loop over a machine that only records: schedules, draws, accumulation, stopping, and what it asks to save.

import { describe, expect, test } from "vitest";
import type { ModelSpec, TrainSpec } from "../../compiler/plan/manifest.ts";
import type { Machine } from "../../runtime/exec/machine.ts";
import type { HostArray } from "../../runtime/exec/states.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { drawSequences, learningRate, type Metrics, Order, type TrainingData, type TrainHooks, trainLoop } from "../../runtime/train/loop.ts";
import { picture, text, tinySpec } from "../sequence/tiny_spec.ts";

const data: TrainingData = { count: 7, value: (index, stream, draw) => (stream === "text" ? text(`${index}${draw < 0.5 ? "a" : "bb"}`) : picture(index)) };

interface Recorded {
  readonly program: string;
  readonly lengths: Readonly<Record<string, number>>;
  values: Readonly<Record<string, HostArray>>;
}

const NAMES = ["tok.id", "image.clean", "noising.level", "next_token_text.weight", "seed", "step", "first", "lr", "correct1", "ema_decay"];

/** Records what is written; every output is `loss(submit)`. */
function recorder(spec: ModelSpec, loss: (submit: number) => number = () => 1): { machine: Machine; submits: Recorded[][] } {
  const submits: Recorded[][] = [];
  const machine = {
    spec,
    allocateTraining: () => {},
    bind: (program: string, lengths: Record<string, number>) => {
      const record: Recorded = { program, lengths, values: {} };
      const inputs = Object.fromEntries(NAMES.map((n, i) => [n, i]));
      return Promise.resolve({ record, program: { plan: { inputs } }, write: (values: Record<string, HostArray>) => void (record.values = values) });
    },
    submit: (bound: { record: Recorded }[], wanted: string[]) => {
      submits.push(bound.map((b) => b.record));
      return Promise.resolve(Object.fromEntries(wanted.map((n) => [n, Float32Array.of(loss(submits.length))])));
    },
  };
  return { machine: machine as unknown as Machine, submits };
}

const hooks = (over: Partial<TrainHooks> = {}): TrainHooks => ({ onStep: () => {}, shouldSave: () => false, save: () => Promise.resolve(), now: () => 0, ...over });

test("the learning rate warms up to its peak and falls along a cosine to its floor", () => {
  const t = tinySpec.train;
  expect(learningRate(t, 0)).toBeCloseTo(0.1, 12);
  expect(learningRate(t, 9)).toBeCloseTo(1, 12);
  expect(learningRate(t, 10)).toBeCloseTo(1, 12);
  expect(learningRate(t, 60)).toBeCloseTo(0.55, 12);
  expect(learningRate(t, 110)).toBeCloseTo(0.1, 12);
  expect(learningRate(t, 500)).toBeCloseTo(0.1, 12);
  expect(learningRate({ ...t, warmup: 0 }, 0)).toBe(1);
  expect(learningRate({ ...t, warmup: 0, steps: 0 }, 0)).not.toBeNaN();
});

describe("draws", () => {
  const draw = (n0: number, count: number, seed = 3) => drawSequences(tinySpec, data, new Order(data.count, seed), seed, n0, count);

  test("are the same whether taken one by one, in batches, or from the middle", () => {
    const all = draw(0, 30);
    expect([...draw(0, 11), ...draw(11, 19)]).toEqual(all);
    expect(draw(17, 1)[0]).toEqual(all[17]);
    expect(draw(0, 30, 4)).not.toEqual(all);
  });

  test("follow the mix and the drop rate, and take every caption", () => {
    const all = draw(0, 1200);
    const draws = all.filter((s) => s.task === "draw");
    expect(draws.length / all.length).toBeGreaterThan(0.7);
    expect(draws.length / all.length).toBeLessThan(0.8);
    const dropped = draws.filter((s) => s.segments.length === 1).length / draws.length;
    expect(dropped).toBeGreaterThan(0.2);
    expect(dropped).toBeLessThan(0.3);
    const lengths = new Set(all.filter((s) => s.task === "describe").map((s) => s.segments[1]?.count));
    expect(lengths).toEqual(new Set([2, 3]));
  });

  test("refuse a mix without a task of the model", () => {
    expect(() => drawSequences({ ...tinySpec, mix: [{ task: "paint", weight: 1 }] }, data, new Order(7, 0), 0, 0, 1)).toThrow(expect.objectContaining({ code: "E0560" }) as Error);
  });
});

describe("trainLoop", () => {
  const train: TrainSpec = { ...tinySpec.train, steps: 6 };

  test("makes one submit a step and reports it", async () => {
    const { machine, submits } = recorder(tinySpec);
    const seen: Metrics[] = [];
    let time = 0;
    const end = await trainLoop(machine, { train, data, from: 0 }, hooks({ onStep: (m) => void seen.push(m), now: () => (time += 500) }));
    expect(end).toEqual({ step: 6, stopped: false });
    expect(submits.map((s) => s.map((b) => b.program))).toEqual(Array(6).fill(["grad", "apply"]));
    expect(seen.map((m) => m.step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(seen[0]).toMatchObject({ loss: 1, terms: { next_token_text: 1, denoise_image: 1 }, lr: 0.1, grad_norm: 1, samples: 4, seconds: 0.5 });
    for (const s of submits) expect((s[0]?.lengths.t ?? 1) % 8).toBe(0);
    expect(submits[2]?.[1]?.values.correct1?.[0]).toBeCloseTo(1 - 0.9 ** 3, 6);
    expect(submits[2]?.[1]?.values.ema_decay?.[0]).toBeCloseTo(4 / 13, 6);
  });

  test("goes on from a step with the very inputs of an uninterrupted run", async () => {
    const whole = recorder(tinySpec);
    await trainLoop(whole.machine, { train, data, from: 0 }, hooks());
    const first = recorder(tinySpec);
    expect(await trainLoop(first.machine, { train, data, from: 0, until: 3 }, hooks())).toEqual({ step: 3, stopped: false });
    const second = recorder(tinySpec);
    await trainLoop(second.machine, { train, data, from: 3 }, hooks());
    expect([...first.submits, ...second.submits]).toEqual(whole.submits);
  });

  test("accumulates over the samples that one batch would have, each micro-batch with noise of its own", async () => {
    const whole = recorder(tinySpec);
    await trainLoop(whole.machine, { train: { ...train, steps: 2 }, data, from: 0 }, hooks());
    const { machine, submits } = recorder(tinySpec);
    await trainLoop(machine, { train: { ...train, steps: 2, accumulate: 2 }, data, from: 0 }, hooks());
    expect(submits.map((s) => s.map((b) => b.program))).toEqual([["grad", "accumulate"], ["grad", "finish", "apply"], ["grad", "accumulate"], ["grad", "finish", "apply"]]);
    expect(submits[0]?.[1]?.values.first).toEqual(Int32Array.of(1));
    const seeds = submits.map((s) => s[0]?.values.seed?.[0]);
    expect(seeds[0]).toBe(seeds[2]);
    expect(seeds[0]).not.toBe(seeds[1]);
    const ids = (s: readonly Recorded[][], from: number, to: number): number[] => s.slice(from, to).flatMap((x) => Array.from(x[0]?.values["tok.id"] ?? [])).filter((id) => id > 0).sort();
    expect(ids(submits, 0, 2)).toEqual(ids(whole.submits, 0, 1));
    expect(ids(submits, 2, 4)).toEqual(ids(whole.submits, 1, 2));
  });

  test("saves when asked, and stops between steps when told to", async () => {
    const saved: number[] = [];
    const stop = new AbortController();
    const { machine } = recorder(tinySpec);
    const end = await trainLoop(machine, { train, data, from: 0 }, hooks({ shouldSave: (s) => s % 2 === 0, save: (s) => Promise.resolve(void saved.push(s)), onStep: (m) => void (m.step === 5 && stop.abort()), signal: stop.signal }));
    expect(end).toEqual({ step: 5, stopped: true });
    expect(saved).toEqual([2, 4]);
  });

  test("stops at a loss that is not a number before anything of it is saved", async () => {
    const saved: number[] = [];
    const { machine } = recorder(tinySpec, (n) => (n === 3 ? Number.NaN : 1));
    await expect(trainLoop(machine, { train, data, from: 0 }, hooks({ shouldSave: () => true, save: (s) => Promise.resolve(void saved.push(s)) }))).rejects.toMatchObject({ code: "E0533", message: expect.stringContaining("step 3") as string });
    expect(saved).toEqual([1, 2]);
  });
});

describe("initialParameters", () => {
  const parameter = (path: string, offset: number, size: number, init: ModelSpec["parameters"][number]["init"]) => ({ path, offset, axes: [{ name: "d", size }], init, decay: true, frozen: false });
  const spec = { ...tinySpec, parameterCount: 5000, parameters: [parameter("a", 0, 3, { kind: "ones" }), parameter("b", 4, 2000, { kind: "normal", std: 0.5 }), parameter("c", 2004, 2000, { kind: "uniform", low: -1, high: 3 })] };

  test("follow their laws, and gaps stay zero", () => {
    const p = initialParameters(spec, 1);
    expect([...p.subarray(0, 4)]).toEqual([1, 1, 1, 0]);
    const stats = (x: Float32Array): [number, number] => {
      const mean = x.reduce((a, b) => a + b, 0) / x.length;
      return [mean, Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length)];
    };
    const [bm, bs] = stats(p.subarray(4, 2004));
    expect(Math.abs(bm)).toBeLessThan(0.05);
    expect(bs).toBeCloseTo(0.5, 1);
    const c = p.subarray(2004, 4004);
    expect(Math.min(...c)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...c)).toBeLessThan(3);
    expect(stats(c)[0]).toBeCloseTo(1, 1);
    expect([...p.subarray(4004)].every((x) => x === 0)).toBe(true);
  });

  test("depend on the seed and on nothing else", () => {
    expect(initialParameters(spec, 1)).toEqual(initialParameters(spec, 1));
    expect(initialParameters(spec, 2)).not.toEqual(initialParameters(spec, 1));
    // another first parameter leaves the second as it was
    const other = { ...spec, parameters: [parameter("a", 0, 3, { kind: "zeros" }), ...spec.parameters.slice(1)] };
    expect(initialParameters(other, 1).subarray(4)).toEqual(initialParameters(spec, 1).subarray(4));
  });
});
