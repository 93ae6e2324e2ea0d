// The benchmark's judge is itself judged: its parameter count, its gradients by finite differences, its causality, its AdamW.
import { join } from "node:path";
import { describe, expect, it } from "vitest";

interface Shape { layers: number; width: number; heads: number; inner: number; tokens: number; vocab: number }
type Weights = Record<string, Float32Array | Float64Array>;
interface Reference {
  SHAPE: Shape;
  PARAMETERS: number;
  OPTIMIZER: { rate: number; decay: number };
  decoderLayout(shape?: Shape): { name: string; shape: number[]; size: number }[];
  decoderWeights(seed: number, shape?: Shape): Record<string, Float32Array>;
  decoderTokens(seed: number, shape?: Shape): Int32Array;
  forward(w: Weights, ids: ArrayLike<number>, shape?: Shape): { logits: Float64Array };
  lossAndGradients(w: Weights, ids: ArrayLike<number>, shape?: Shape): { loss: number; gradients: Record<string, Float64Array> };
  train(w: Weights, ids: ArrayLike<number>, steps: number, options?: object): { losses: number[]; gradients: Record<string, Float64Array>; weights: Record<string, Float64Array> };
}
const reference = (await import(join(import.meta.dirname, "reference/decoder_f64.mjs"))) as Reference;
const small: Shape = { layers: 2, width: 8, heads: 2, inner: 12, tokens: 5, vocab: 11 };
const doubles = (w: Weights): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(w).map(([name, values]) => [name, Float64Array.from(values)]));

describe("the double-precision decoder", () => {
  it("has 544,256 parameters in the arrangement that its first lines describe", () => {
    expect(reference.decoderLayout().reduce((total, { size }) => total + size, 0)).toBe(544_256);
    expect(reference.PARAMETERS).toBe(544_256);
    expect(reference.decoderLayout()).toHaveLength(29);
  });

  it("has gradients that finite differences confirm, for every tensor", () => {
    const w = doubles(reference.decoderWeights(3, small));
    const ids = reference.decoderTokens(3, small);
    const { gradients } = reference.lossAndGradients(w, ids, small);
    for (const { name, size } of reference.decoderLayout(small)) {
      for (const i of new Set([0, 1, Math.floor(size / 2), size - 1, size - 2].filter((at) => at < size))) {
        const values = w[name]!;
        const before = values[i]!;
        values[i] = before + 1e-5;
        const above = reference.lossAndGradients(w, ids, small).loss;
        values[i] = before - 1e-5;
        const below = reference.lossAndGradients(w, ids, small).loss;
        values[i] = before;
        expect(Math.abs((above - below) / 2e-5 - gradients[name]![i]!), `${name}[${i}]`).toBeLessThan(1e-8);
      }
    }
    for (const { name } of reference.decoderLayout(small)) expect(gradients[name]!.some((g) => Math.abs(g) > 1e-4), name).toBe(true);
  });

  it("is causal: a later token changes no earlier logits", () => {
    const w = reference.decoderWeights(1, small);
    const ids = Int32Array.from([1, 2, 3, 4, 5, 6]);
    const other = Int32Array.from([1, 2, 3, 9, 5, 6]);
    const [a, b] = [reference.forward(w, ids, small).logits, reference.forward(w, other, small).logits];
    expect(a.subarray(0, 3 * 11)).toEqual(b.subarray(0, 3 * 11));
    expect(a.subarray(3 * 11, 4 * 11)).not.toEqual(b.subarray(3 * 11, 4 * 11));
  });

  it("starts near the entropy of the vocabulary and learns its tokens by heart", () => {
    const ids = reference.decoderTokens(1, small);
    const { losses } = reference.train(reference.decoderWeights(1, small), ids, 40, { shape: small, optimizer: { rate: 0.02, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01 } });
    expect(losses[0]).toBeGreaterThan(1.5);
    expect(losses.at(-1)).toBeLessThan(0.2);
  });

  it("moves by the rate along the gradient's sign in the first step, and decays only matrices", () => {
    const w = reference.decoderWeights(2, small);
    const { gradients, weights } = reference.train(w, reference.decoderTokens(2, small), 1, { shape: small });
    for (const name of ["l0.up.bias", "l1.up.weight"]) {
      const i = gradients[name]!.findIndex((g) => Math.abs(g) > 1e-3);
      const decay = name.endsWith("weight") ? 0.01 * w[name]![i]! : 0;
      expect(weights[name]![i]).toBeCloseTo(w[name]![i]! - 1e-3 * (Math.sign(gradients[name]![i]!) + decay), 7);
    }
  });
});
