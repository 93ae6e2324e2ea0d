// Training a model with routers on the adapter: counts in the metrics, terms of the loss, biases that follow the load and nothing else,
// what a capacity drops, and going on with the same bits.

import { afterAll, beforeAll, expect, test } from "vitest";
import { compileModel, trainingPrograms } from "../../compiler/compile.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import { Machine, TRAINING_STATES } from "../../runtime/exec/machine.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { type Metrics, type TrainingData, trainLoop } from "../../runtime/train/loop.ts";
import { textModel } from "../cache/routed_specs.ts";
import { modelOf } from "../fixtures/numbers.ts";

const STEPS = 4;
const RATE = 0.01;

const settings = (accumulate: number): string => `train { optimizer = adamw(decay: 0.1); lr = 1e-2; warmup = 1; steps = ${STEPS}; batch = 4; clip = 0.5; ema = 0.9; seed = 3; accumulate = ${accumulate} }`;
const balanced = (accumulate: number): string =>
  textModel(`deepseek_moe_block(d, 2, causal, deepseek_experts(d, 4, 2, rate: ${RATE}), hidden: 6), moe_block(d, 2, causal, top_experts(d, 4, 2, balance: 0.02), hidden: 6)`, "", settings(accumulate));

/** Prompts and replies of different lengths. */
const data: TrainingData = { count: 9, value: (index, _, draw) => ({ kind: "ids", ids: Array.from({ length: 1 + ((index + Math.floor(draw * 4)) % 5) }, (_, i) => (3 * index + i) % 17) }) };

let host: GpuHost;
beforeAll(async () => {
  host = await openDevice({ trusted: true });
});
afterAll(() => host.destroy());

function machineFor(text: string): Machine {
  const model = modelOf(text);
  const result = compileModel(model, { target: software, programs: trainingPrograms(model) });
  if (!result.ok) throw new Error("not built");
  const machine = new Machine(host, result.compiled);
  machine.allocateTraining();
  const first = initialParameters(machine.spec, 3);
  for (const name of ["params", "ema"]) machine.states.write(name, first);
  return machine;
}

async function run(machine: Machine, from: number, until: number): Promise<Metrics[]> {
  const seen: Metrics[] = [];
  await trainLoop(machine, { train: machine.spec.train, data, from, until }, { onStep: (m) => void seen.push(m), shouldSave: () => false, save: () => Promise.resolve(), now: () => 0 });
  return seen;
}

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);

test("every token that is there is counted, once a choice, and biases go against the load of the whole step", async () => {
  const machine = machineFor(balanced(2));
  const path = "body.deepseek_moe_block.experts.bias";
  expect(machine.spec.routers?.map((r) => [r.path, r.route, r.losses.map((l) => l.name)])).toEqual([["body.deepseek_moe_block.ffn", "deepseek_experts", []], ["body.moe_block.ffn", "top_experts", ["balance", "z"]]]);
  const p = machine.spec.parameters.find((x) => x.path === path);
  expect(p).toMatchObject({ balance: RATE, decay: false });
  let bias = [0, 0, 0, 0];
  for (let step = 0; step < STEPS; step++) {
    const [m] = await run(machine, step, step + 1);
    expect(m?.routing).toHaveLength(2);
    for (const r of m?.routing ?? []) {
      expect(sum(r.load)).toBe(2 * (m?.tokens ?? 0));
      expect(r.dropped).toBe(0);
    }
    const load = m?.routing?.[0]?.load ?? [];
    bias = bias.map((b, e) => b + RATE * Math.sign(sum(load) - 4 * (load[e] ?? 0)));
    const got = Array.from(await machine.states.read(`params/${path}`));
    bias.forEach((b, e) => expect(got[e], `step ${step}, expert ${e}`).toBeCloseTo(b, 6));
    expect(Array.from(await machine.states.read(`adam.v/${path}`))).toEqual([0, 0, 0, 0]);
    // Two micro-batches of a mean each, halved.
    expect(m?.terms["balance"]).toBeGreaterThan(0.02 * 0.99);
    expect(m?.terms["balance"]).toBeLessThan(0.02 * 2);
    expect(m?.terms["balance"]).toBe(m?.routing?.[1]?.losses?.["balance"]);
    expect(m?.loss).toBeCloseTo(sum(Object.values(m?.terms ?? {})), 4);
  }
  expect(bias.some((b) => b !== 0)).toBe(true);
  await machine.destroy();
}, 120_000);

test("goes on with the very bits of an uninterrupted run", async () => {
  const text = textModel("routed(noisy_experts(d, 4, 2), swiglu(d, 6)), deepseek_moe_block(d, 2, causal, deepseek_experts(d, 4, 2), hidden: 6)", "", settings(1));
  const [first, second] = [machineFor(text), machineFor(text)];
  const states = ["params", ...TRAINING_STATES.filter((s) => first.states.has(s) && s !== "grads")];
  const start = new Map<string, Float32Array>();
  for (const name of states) start.set(name, await first.states.read(name));
  const all = await run(first, 0, STEPS);
  const whole = await first.states.read("params");
  for (const [name, x] of start) first.states.write(name, x);
  const before = await run(first, 0, 2);
  for (const name of states) second.states.write(name, await first.states.read(name));
  expect([...before, ...(await run(second, 2, STEPS))]).toEqual(all);
  expect(await second.states.read("params")).toEqual(whole);
  expect(whole).not.toEqual(start.get("params"));
  for (const m of [first, second]) await m.destroy();
}, 180_000);

test("what an expert cannot take is dropped in training, and counted", async () => {
  const machine = machineFor(textModel("moe_block(d, 2, causal, switch_experts(d, 4, capacity: 0.5), hidden: 6)", "", settings(1)));
  const [m] = await run(machine, 0, 1);
  const [r] = m?.routing ?? [];
  const tokens = m?.tokens ?? 0;
  expect(Math.max(...(r?.load ?? []))).toBeLessThanOrEqual(Math.ceil((0.5 * tokens) / 4));
  expect(r?.dropped).toBeCloseTo(1 - sum(r?.load ?? []) / tokens, 12);
  expect(r?.dropped).toBeGreaterThan(0.3);
  await machine.destroy();
}, 120_000);
