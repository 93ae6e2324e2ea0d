// What the loss sees: who predicts what with which weight, and how noisy each span is.

import { describe, expect, test } from "vitest";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { layoutSample } from "../../runtime/sequence/layout.ts";
import { drawLevel, pick, trainingInputs } from "../../runtime/train/inputs.ts";
import { ID, picture, text, tinySpec } from "../sequence/tiny_spec.ts";

const describeOne = (caption: string) => layoutSample(tinySpec, "describe", { caption: text(caption), picture: picture() });
const drawOne = (caption: string) => layoutSample(tinySpec, "draw", { caption: text(caption), picture: picture() });
const sum = (x: ArrayLike<number> | undefined): number => Array.from(x ?? []).reduce((a, b) => a + b, 0);

describe("trainingInputs", () => {
  test("asks each token for its successor where that is predicted text", () => {
    const table = packSequences(tinySpec, [describeOne("hi")], { tokens: 12 });
    const { values, counts, lengths } = trainingInputs(tinySpec, table, { step: 3, seed: 9, uniform: () => 0.5 });
    expect(lengths).toEqual({ batch: 1, t: 12 });
    expect(counts).toEqual({ next_token_text: 3, denoise_image: 0 });
    const third = Math.fround(1 / 3);
    // <bos> <boi> . . . . <eoi> h i <eos> - -: <eoi> says h, h says i, i says <eos>
    expect(Array.from(values["next_token_text.weight"] ?? [])).toEqual([0, 0, 0, 0, 0, 0, third, third, third, 0, 0, 0]);
    expect(Array.from(values["next_token_text.target"] ?? []).slice(6, 9)).toEqual([104, 105, ID.eos]);
    expect(Array.from(values.seed ?? [])).toEqual([9]);
    expect(Array.from(values.step ?? [])).toEqual([3]);
  });

  test("asks each noised patch for itself, and its weight is shared by its numbers", () => {
    const table = packSequences(tinySpec, [drawOne("abc")], { tokens: 12 });
    const { values, counts } = trainingInputs(tinySpec, table, { step: 0, seed: 0, uniform: () => 0.25 });
    expect(counts.denoise_image).toBe(4);
    expect(Array.from(values["denoise_image.weight"] ?? [])).toEqual([0, 0, 0, 0, 0, 1 / 16, 1 / 16, 1 / 16, 1 / 16, 0, 0, 0]);
    expect(Array.from(values["noising.level"] ?? [])).toEqual([0, 0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0, 0]);
  });

  test("leaves a given image clean", () => {
    const table = packSequences(tinySpec, [describeOne("a")]);
    expect(sum(trainingInputs(tinySpec, table, { step: 0, seed: 0, uniform: () => 0.9 }).values["noising.level"])).toBe(0);
  });

  test("never lets the last token of one sequence predict the first of the next", () => {
    const all = [describeOne("ab"), drawOne("c"), describeOne("d")];
    const packed = trainingInputs(tinySpec, packSequences(tinySpec, all, { pack: true, tokens: 40 }), { step: 0, seed: 0, uniform: () => 0.5 });
    const apart = trainingInputs(tinySpec, packSequences(tinySpec, all), { step: 0, seed: 0, uniform: () => 0.5 });
    expect(packed.counts).toEqual(apart.counts);
    expect(packed.counts.next_token_text).toBe(3 + 2);
    const targets = (v: typeof packed.values): number[] => Array.from(v["next_token_text.target"] ?? []).filter((_, i) => (v["next_token_text.weight"]?.[i] ?? 0) > 0).sort();
    expect(targets(packed.values)).toEqual(targets(apart.values));
  });

  test("weights sum to one a loss, and to its share under accumulation", () => {
    const table = packSequences(tinySpec, [describeOne("abcd"), drawOne("x"), drawOne("yz")]);
    const { values } = trainingInputs(tinySpec, table, { step: 0, seed: 0, scale: 0.25, uniform: () => 0.5 });
    expect(sum(values["next_token_text.weight"])).toBeCloseTo(0.25, 6);
    expect(4 * sum(values["denoise_image.weight"])).toBeCloseTo(0.25, 6);
  });

  test("gives each predicted span a level of its own", () => {
    const table = packSequences(tinySpec, [drawOne("a"), drawOne("b")]);
    const { values } = trainingInputs(tinySpec, table, { step: 0, seed: 0, uniform: (i) => [0.2, 0, 0.7, 0][i] ?? 0 });
    const levels = new Set(Array.from(values["noising.level"] ?? []).filter((l) => l > 0));
    expect(levels).toEqual(new Set([Math.fround(0.2), Math.fround(0.7)]));
  });
});

test("levels stay inside (0, 1) and follow the law asked for", () => {
  const uniform = { name: "n", stream: "image", kind: "flow", schedule: "linear", predict: "velocity", levels: { kind: "uniform" } } as const;
  const normal = { ...uniform, levels: { kind: "logit_normal", mean: 0.5, std: 1 } } as const;
  for (const u of [0, 0.5, 1 - 2 ** -24]) for (const v of [0, 0.5, 0.999]) for (const p of [uniform, normal]) {
    expect(drawLevel(p, u, v)).toBeGreaterThan(0);
    expect(drawLevel(p, u, v)).toBeLessThan(1);
  }
  const n = 4000;
  const draws = Array.from({ length: n }, (_, i) => drawLevel(normal, (i + 0.5) / n, ((i * 0.6180339887) % 1)));
  const logits = draws.map((l) => Math.log(l / (1 - l)));
  const mean = logits.reduce((a, b) => a + b, 0) / n;
  expect(mean).toBeCloseTo(0.5, 1);
  expect(Math.sqrt(logits.reduce((a, b) => a + (b - mean) ** 2, 0) / n)).toBeCloseTo(1, 1);
});

test("pick keeps what the plan names", () => {
  expect(pick({ a: Int32Array.of(1), b: Int32Array.of(2) }, { b: 0, c: 1 })).toEqual({ b: Int32Array.of(2) });
});
