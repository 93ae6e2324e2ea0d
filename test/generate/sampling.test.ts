// Choosing tokens and solving back from noise, against what theory says.

import { describe, expect, test } from "vitest";
import type { ProcessSpec, SamplerSpec } from "../../compiler/plan/manifest.ts";
import { amplitudes, estimates, slopes } from "../../runtime/generate/process.ts";
import { solve } from "../../runtime/generate/solver.ts";
import { chooseToken } from "../../runtime/generate/text.ts";

const sampler = (kind: string, args: Record<string, number> = {}): SamplerSpec => ({ stream: "text", kind, args });
const any = (): boolean => true;

describe("chooseToken", () => {
  const logits = Float32Array.from([0, 1, 2, 3]);
  const share = (s: SamplerSpec, n = 4000): number[] => {
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < n; i++) {
      const id = chooseToken(logits, s, any, (i + 0.5) / n);
      counts[id] = (counts[id] ?? 0) + 1 / n;
    }
    return counts;
  };
  const softmax = (keep: readonly number[], temperature = 1): number[] => {
    const w = [0, 1, 2, 3].map((x) => (keep.includes(x) ? Math.exp(x / temperature) : 0));
    const total = w.reduce((a, b) => a + b, 0);
    return w.map((x) => x / total);
  };
  const near = (a: readonly number[], b: readonly number[]): void => a.forEach((x, i) => expect(x).toBeCloseTo(b[i] ?? 0, 2));

  test("greedy takes the best, the first of equals, of those allowed", () => {
    expect(chooseToken(logits, sampler("greedy"), any, 0.9)).toBe(3);
    expect(chooseToken(Float32Array.of(1, 5, 5), sampler("greedy"), any, 0.9)).toBe(1);
    expect(chooseToken(logits, sampler("greedy"), (i) => i < 2, 0)).toBe(1);
    expect(chooseToken(logits, sampler("temperature", { temperature: 0 }), any, 0.1)).toBe(3);
  });

  test("temperature, top-k and nucleus draw with the shares that softmax gives", () => {
    near(share(sampler("temperature")), softmax([0, 1, 2, 3]));
    near(share(sampler("temperature", { temperature: 2 })), softmax([0, 1, 2, 3], 2));
    near(share(sampler("top_k", { k: 2 })), softmax([2, 3]));
    // 3 has 0.644 and 2 has 0.237 of the mass: 0.8 needs both, 0.6 only the first
    near(share(sampler("nucleus", { p: 0.8 })), softmax([2, 3]));
    near(share(sampler("nucleus", { p: 0.6 })), softmax([3]));
    near(share(sampler("nucleus", { p: 1 })), softmax([0, 1, 2, 3]));
    near(share(sampler("nucleus", { p: 1, k: 3 })), softmax([1, 2, 3]));
  });

  test("refuses a sampler of another kind, and a choice among nothing", () => {
    expect(() => chooseToken(logits, sampler("ddim"), any, 0)).toThrow(expect.objectContaining({ code: "E0563" }) as Error);
    expect(() => chooseToken(logits, sampler("greedy"), () => false, 0)).toThrow(expect.objectContaining({ code: "E0564" }) as Error);
  });
});

const process = (kind: "flow" | "diffusion", predict: ProcessSpec["predict"], schedule = kind === "flow" ? "linear" : "cosine"): ProcessSpec => ({ name: "p", stream: "image", kind, schedule, predict, levels: { kind: "uniform" } });
const all: ProcessSpec[] = (["noise", "velocity", "clean"] as const).flatMap((p) => [process("flow", p), process("diffusion", p), process("diffusion", p, "linear")]);

describe("processes", () => {
  test("start clean and end as noise alone", () => {
    for (const p of all) {
      expect(amplitudes(p, 0)).toEqual({ a: 1, b: 0 });
      expect(amplitudes(p, 1).a).toBeCloseTo(0, 12);
      expect(amplitudes(p, 1).b).toBeCloseTo(1, 12);
    }
  });

  test("have slopes that are the derivatives of their amplitudes", () => {
    for (const p of all)
      for (const level of [0.1, 0.5, 0.8]) {
        const h = 1e-6;
        const d = (key: "a" | "b"): number => (amplitudes(p, level + h)[key] - amplitudes(p, level - h)[key]) / (2 * h);
        expect(slopes(p, level).a).toBeCloseTo(d("a"), 6);
        expect(slopes(p, level).b).toBeCloseTo(d("b"), 6);
      }
  });

  test("find clean and noise again from the right prediction", () => {
    for (const p of all)
      for (const level of [0.05, 0.5, 0.95]) {
        const { a, b } = amplitudes(p, level);
        const [clean, noise] = [0.7, -1.3];
        const out = p.predict === "noise" ? noise : p.predict === "clean" ? clean : p.kind === "flow" ? noise - clean : a * noise - b * clean;
        const e = estimates(p, level, Float32Array.of(a * clean + b * noise), Float32Array.of(out));
        expect(e.clean[0]).toBeCloseTo(clean, 4);
        expect(e.noise[0]).toBeCloseTo(noise, 4);
      }
  });
});

describe("solvers", () => {
  // Data is normal with mean m and deviation s, so the best prediction is known and the flow takes noise z to m + s z.
  const [m, s] = [0.4, 0.3];
  const best = (p: ProcessSpec) => (x: Float32Array, level: number): Promise<Float32Array> => {
    const { a, b } = amplitudes(p, level);
    const v = a * a * s * s + b * b;
    return Promise.resolve(x.map((xi) => {
      const clean = m + ((a * s * s) / v) * (xi - a * m);
      const noise = (b / v) * (xi - a * m);
      return p.predict === "noise" ? noise : p.predict === "clean" ? clean : p.kind === "flow" ? noise - clean : a * noise - b * clean;
    }));
  };
  const noise = Float32Array.from([-2, -1, -0.3, 0, 0.5, 1.5]);
  const error = async (p: ProcessSpec, kind: string, steps: number): Promise<number> => {
    const x = await solve({ stream: "image", kind, args: {} }, p, noise.slice(), best(p), { steps });
    return Math.max(...[...x].map((xi, i) => Math.abs(xi - (m + s * (noise[i] ?? 0)))));
  };

  test("take noise to the data's own distribution, whatever is predicted", async () => {
    for (const p of [process("flow", "velocity"), process("diffusion", "velocity")]) expect(await error(p, "ddim", 200), `${p.kind} ${p.predict}`).toBeLessThan(0.02);
    // noise and clean predictions start a little below level 1, where they still say something
    for (const p of [process("flow", "noise"), process("diffusion", "noise"), process("flow", "clean"), process("diffusion", "clean")]) expect(await error(p, "ddim", 200), `${p.kind} ${p.predict}`).toBeLessThan(0.03);
  });

  test("heun is of second order, euler of first", async () => {
    const p = process("flow", "velocity");
    const ratio = async (kind: string): Promise<number> => (await error(p, kind, 10)) / (await error(p, kind, 20));
    expect(await ratio("euler")).toBeGreaterThan(1.6);
    expect(await ratio("euler")).toBeLessThan(2.6);
    expect(await ratio("heun")).toBeGreaterThan(3);
    expect(await error(p, "heun", 20)).toBeLessThan(await error(p, "euler", 20));
  });

  test("euler is ddim on a flow", async () => {
    const p = process("flow", "velocity");
    const run = (kind: string) => solve({ stream: "image", kind, args: {} }, p, noise.slice(), best(p), { steps: 7 });
    expect(await run("euler")).toEqual(await run("ddim"));
  });

  test("clip keeps the clean estimate in bounds, and progress counts steps", async () => {
    const p = process("flow", "velocity");
    const seen: number[] = [];
    const x = await solve({ stream: "image", kind: "ddim", args: {} }, p, noise.slice(), best(p), { steps: 5, clip: [-0.1, 0.5], progress: (i, n) => void seen.push(i / n) });
    expect(Math.min(...x)).toBeGreaterThanOrEqual(-0.1001);
    expect(Math.max(...x)).toBeLessThanOrEqual(0.5001);
    expect(seen).toEqual([0.2, 0.4, 0.6, 0.8, 1]);
  });

  test("the noise that is given is left alone", async () => {
    const mine = noise.slice();
    await solve({ stream: "image", kind: "heun", args: {} }, process("flow", "velocity"), mine, best(process("flow", "velocity")), { steps: 3 });
    expect(mine).toEqual(noise);
  });

  test("an unknown solver is refused", async () => {
    await expect(solve({ stream: "image", kind: "greedy", args: {} }, process("flow", "velocity"), noise, best(process("flow", "velocity")), { steps: 1 })).rejects.toMatchObject({ code: "E0563" });
  });
});
