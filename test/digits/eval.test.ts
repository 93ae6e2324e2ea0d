// The judge of drawings and the scorer of captions: learn from little, judge what was never seen, repeat exactly.
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../../examples/digits");

interface Classifier {
  predict(image: ArrayLike<number>): { label: number; confidence: number };
  accuracy(images: ArrayLike<number>, labels: ArrayLike<number>): number;
}
type Train = (images: ArrayLike<number>, labels: ArrayLike<number>, options?: { epochs?: number; seed?: number }) => Classifier;
interface Digits {
  images: Float32Array;
  labels: Uint8Array;
  captions: string[][];
}

const { trainClassifier } = (await import(join(root, "eval/classifier.mjs"))) as { trainClassifier: Train };
const { scoreCaption, digitsNamed } = (await import(join(root, "eval/score.mjs"))) as {
  scoreCaption(text: string, label: number): boolean;
  digitsNamed(text: string): number[];
};
const { readDigits } = (await import(join(root, "eval/read_data.mjs"))) as {
  readDigits(folder: string, split: "train" | "test"): Digits;
};
const data = join(root, "data");

describe("scoreCaption", () => {
  it("finds the digit as word or numeral, once, and no other", () => {
    expect(scoreCaption("a handwritten seven", 7)).toBe(true);
    expect(scoreCaption("The number 7, slanted", 7)).toBe(true);
    expect(scoreCaption("digit 7", 1)).toBe(false);
    expect(scoreCaption("a seven or a one", 7)).toBe(false);
    expect(scoreCaption("seventy 77 bone", 7)).toBe(false);
    expect(scoreCaption("", 0)).toBe(false);
    expect(digitsNamed("one 1 two")).toEqual([1, 2]);
  });

  it("accepts every caption of the held-out images", () => {
    const { captions, labels } = readDigits(data, "test");
    expect(labels).toHaveLength(1000);
    captions.forEach((row, i) => row.forEach((text) => expect(scoreCaption(text, labels[i]!), text).toBe(true)));
  });
});

describe("classifier", () => {
  const train = readDigits(data, "train");
  const test = readDigits(data, "test");
  const some = (digits: Digits, n: number): [Float32Array, Uint8Array] => [digits.images.subarray(0, n * 784), digits.labels.subarray(0, n)];

  it("reaches 88% on 500 unseen images from 1,000 examples, and is unsure of an empty one", () => {
    const judge = trainClassifier(...some(train, 1000), { epochs: 8 });
    expect(judge.accuracy(...some(test, 500))).toBeGreaterThan(0.88);
    const blank = judge.predict(new Float32Array(784));
    expect(blank.confidence).toBeGreaterThan(0.05);
    expect(blank.confidence).toBeLessThan(0.9);
  }, 60_000);

  it("gives the same judge for the same seed, another for another", () => {
    const run = (seed: number): number => trainClassifier(...some(train, 100), { epochs: 1, seed }).predict(test.images.subarray(0, 784)).confidence;
    expect(run(3)).toBe(run(3));
    expect(run(3)).not.toBe(run(4));
  });

  it("refuses what it cannot judge", () => {
    expect(() => trainClassifier(new Float32Array(10), [1])).toThrow("784");
    const judge = trainClassifier(...some(train, 50), { epochs: 1 });
    expect(() => judge.predict([1, 2])).toThrow("784 values");
  });
});
