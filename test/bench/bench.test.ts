// The ruler of the benchmark: counters on Dawn's null device, the judge of results, the table.
import { join } from "node:path";
import { create, globals } from "webgpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

interface Counts { dispatches: number; passes: number; submits: number; writes: number; copies: number; buffers: number; allocated: number; peak: number; live: number }
interface Counters {
  measure<T>(work: () => Promise<T>): Promise<{ result: T; counts: Counts }>;
  live(): number;
}
interface Errors { logits: number; loss: number; weights: number; judged: number }
interface Timed { counts: Counts; first: number; median: number; runs: number }
interface Report { name: string; adapter: string; dawnFeatures: string; forward: Timed; step: Timed; errors: Errors }

const from = async <T>(path: string): Promise<T> => (await import(join(import.meta.dirname, path))) as T;
const { installCounters } = await from<{ installCounters(): Counters }>("peers/counters.mjs");
const reference = await from<{
  decoderWeights(seed: number): Record<string, Float32Array>;
  decoderTokens(seed: number): Int32Array;
  forward(w: object, ids: Int32Array): { logits: Float64Array };
  train(w: object, ids: Int32Array, steps: number): { losses: number[]; weights: Record<string, Float64Array> };
}>("reference/decoder_f64.mjs");
const { compare, isRight } = await from<{
  compare(run: { weights: object; tokens: Int32Array; logits: Float32Array; loss: number; after: Record<string, Float32Array> }): Errors;
  isRight(errors: Errors): boolean;
}>("reference/compare.mjs");
const { table, merged } = await from<{ table(reports: Report[]): string; merged(rounds: Report[]): Report }>("table.mjs");

describe("counters", () => {
  let device: GPUDevice;
  let counters: Counters;
  let gpu: GPU; // Dawn's instance must outlive its devices
  const alive = setInterval(() => {}, 20);
  beforeAll(async () => {
    Object.assign(globalThis, globals);
    gpu = create(["backend=null"]);
    const adapter = await gpu.requestAdapter();
    counters = installCounters();
    device = await adapter!.requestDevice();
  });
  afterAll(() => {
    expect(gpu).toBeDefined();
    device.destroy();
    clearInterval(alive);
  });

  it("counts what is asked of the device, within a stretch only", async () => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const standing = device.createBuffer({ size: 1000, usage });
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module: device.createShaderModule({ code: "@compute @workgroup_size(1) fn main() {}" }) },
    });
    const work = async (): Promise<number> => {
      const one = device.createBuffer({ size: 400, usage });
      one.destroy();
      one.destroy(); // twice is once
      const two = device.createBuffer({ size: 300, usage });
      device.queue.writeBuffer(two, 0, new Float32Array(4));
      for (let submit = 0; submit < 2; submit++) {
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        for (let i = 0; i < 3; i++) pass.dispatchWorkgroups(1);
        pass.end();
        encoder.copyBufferToBuffer(standing, 0, two, 0, 16);
        device.queue.submit([encoder.finish()]);
      }
      return 5;
    };
    const { result, counts } = await counters.measure(work);
    expect(result).toBe(5);
    expect(counts).toEqual({ dispatches: 6, passes: 2, submits: 2, writes: 1, copies: 2, buffers: 2, allocated: 700, peak: 1400, live: 1300 });
    expect((await counters.measure(async () => {})).counts.dispatches).toBe(0);
  });

  it("copies shared memory, which Dawn would refuse", () => {
    const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
    const shared = new Float32Array(new SharedArrayBuffer(32));
    expect(() => device.queue.writeBuffer(buffer, 0, shared as unknown as Float32Array<ArrayBuffer>, 2, 4)).not.toThrow();
  });
});

describe("compare", () => {
  const weights = reference.decoderWeights(5);
  const tokens = reference.decoderTokens(5);
  const { losses, weights: expected } = reference.train(weights, tokens, 1);
  const run = {
    weights,
    tokens,
    logits: Float32Array.from(reference.forward(weights, tokens).logits),
    loss: losses[0]!,
    after: Object.fromEntries(Object.entries(expected).map(([name, values]) => [name, Float32Array.from(values)])),
  };

  it("accepts the truth rounded to single precision", () => {
    const errors = compare(run);
    expect(errors.logits).toBeLessThan(1e-6);
    expect(errors.weights).toBeLessThan(1e-3);
    expect(errors.judged).toBeGreaterThan(0.99);
    expect(isRight(errors)).toBe(true);
  });

  it("rejects one wrong logit, a wrong loss, one wrong weight, what is not a number, and a missing tensor", () => {
    const wrong = (change: (copy: typeof run) => void): boolean => {
      const copy = structuredClone(run);
      change(copy);
      return isRight(compare(copy));
    };
    expect(wrong((copy) => (copy.logits[1234] = copy.logits[1234]! + 1e-3))).toBe(false);
    expect(wrong((copy) => (copy.loss += 1e-3))).toBe(false);
    expect(wrong((copy) => (copy.after["l1.up.weight"]![77] = weights["l1.up.weight"]![77]!))).toBe(false);
    expect(wrong((copy) => (copy.logits[3] = Number.NaN))).toBe(false);
    expect(() => wrong((copy) => delete copy.after["head"])).toThrow("head has undefined values");
  });
});

describe("table", () => {
  const timed = (median: number, first: number): Timed => ({
    counts: { dispatches: 12, passes: 1, submits: 1, writes: 0, copies: 1, buffers: 0, allocated: 0, peak: 3_100_000, live: 3_100_000 },
    first,
    median,
    runs: 5,
  });
  const report = (name: string, median: number, first = 1500): Report => ({
    name,
    adapter: "a device",
    dawnFeatures: "",
    forward: timed(median, first),
    step: timed(4 * median, first),
    errors: { logits: 1e-6, loss: 0, weights: 1e-3, judged: 0.99 },
  });

  it("gives times as ratios to the first, and says who is wrong", () => {
    const wrong = { ...report("theirs", 30), errors: { logits: Number.NaN, loss: 0, weights: 0, judged: 1 } };
    const text = table([report("ours", 10), wrong]);
    expect(text).toContain("Adapter: a device\n");
    expect(text).toContain("| forward: time, ours = 1 | 1.00 | 3.00 |");
    expect(text).toContain("| forward: peak MB (floor 2.44) | 3.10 | 3.10 |");
    expect(text).toContain("| training step: peak MB (floor 6.53) | 3.10 | 3.10 |");
    expect(text).toContain("| right | yes | **no** |");
    expect(table([])).toBe("");
  });

  it("merges rounds: median of medians, and the first run as it was from cold", () => {
    const one = merged([report("x", 30, 9000), report("x", 10, 100), report("x", 20, 100)]);
    expect([one.forward.median, one.forward.first, one.step.median]).toEqual([20, 9000, 80]);
  });
});
