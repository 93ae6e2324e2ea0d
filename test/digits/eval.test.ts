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

interface Score {
  right: number;
  total: number;
  byDigit: { right: number; total: number }[];
  wrong: { index: number; label: number; text: string }[];
}
const { scoreDescriptions, scoreDrawings, captionsToDraw, report } = (await import(join(root, "eval/evaluate.mjs"))) as {
  scoreDescriptions(describe: (images: Float32Array[]) => Promise<string[]>, images: Float32Array, labels: Uint8Array, options?: { group?: number }): Promise<Score>;
  scoreDrawings(draw: (captions: string[], first: number) => Promise<Float32Array[]>, judge: Classifier, options?: { count?: number; group?: number }): Promise<Score>;
  captionsToDraw(count: number): { label: number; caption: string }[];
  report(what: string, score: Score): string;
};

describe("evaluation", () => {
  // Image i holds i as its first value, so that a model and a judge made for the test can recognise it.
  const labels = Uint8Array.from([3, 1, 4, 1, 5]);
  const images = Float32Array.from({ length: 5 * 784 }, (_, i) => (i % 784 === 0 ? i / 784 : 0));
  const judge: Classifier = { predict: (image) => ({ label: image[0]!, confidence: 0.5 }), accuracy: () => 0 };

  it("gives each image to the model once and scores what comes back", async () => {
    const answers = ["a handwritten three", "digit 1", "the number 9", "one", "three or five"];
    const score = await scoreDescriptions(async (group) => group.map((image) => answers[image[0]!]!), images, labels, { group: 2 });
    expect([score.right, score.total]).toEqual([3, 5]);
    expect(score.byDigit[1]).toEqual({ right: 2, total: 2 });
    expect(score.wrong.map(({ index }) => index)).toEqual([2, 4]);
    expect(report("described", score)).toContain("described: 3 of 5 right (60.0%)");
  });

  it("asks for every digit equally often, and believes the judge", async () => {
    const asked = captionsToDraw(50);
    for (let label = 0; label < 10; label++) expect(asked.filter((each) => each.label === label)).toHaveLength(5);
    for (const { caption, label } of asked) expect(scoreCaption(caption, label)).toBe(true);
    // A model that draws 7 whatever is asked for.
    const score = await scoreDrawings(async (captions) => captions.map(() => Float32Array.of(7)), judge, { count: 50, group: 8 });
    expect([score.right, score.total, score.byDigit[7]!.right]).toEqual([5, 50, 5]);
  });

  it("refuses a model that loses answers", async () => {
    await expect(scoreDescriptions(async () => [], images, labels)).rejects.toThrow("gave 0 descriptions");
    await expect(scoreDrawings(async () => [], judge, { count: 3 })).rejects.toThrow("gave 0 drawings");
  });
});
