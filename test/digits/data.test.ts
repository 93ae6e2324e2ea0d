// The shipped copy of MNIST: what the script makes, in the shape that readers expect, with a clean split.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { openData } from "../../runtime/train/data.ts";

const root = join(import.meta.dirname, "../../examples/digits");
const read = (name: string): Buffer => gunzipSync(readFileSync(join(root, "data", name)));

interface Row {
  index: number;
  label: number;
  split: "train" | "test";
  captions: string[];
}

const idx = read("images.idx3-ubyte.gz");
const rows = read("captions.jsonl.gz").toString("utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Row);

interface MakeData {
  makeData(): { idx: Buffer; captions: Buffer };
  measure(bytes: Uint8Array): { slant: number; stroke: number; aspect: number };
  adjectives(shape: { slant: number; stroke: number; aspect: number }): string[];
  captionsOf(label: number, adjectives: string[]): string[];
  WORDS: string[];
}
const script = (await import(join(root, "make_data.mjs"))) as MakeData;

describe("digits data", () => {
  it("is exactly what the script makes from the npm package", () => {
    const made = script.makeData();
    expect(idx.equals(made.idx)).toBe(true);
    expect(read("captions.jsonl.gz").equals(made.captions)).toBe(true);
  });

  it("is an IDX file of 10,000 images with ink in each", () => {
    expect([0, 4, 8, 12].map((at) => idx.readUInt32BE(at))).toEqual([0x803, 10_000, 28, 28]);
    expect(idx.length).toBe(16 + 10_000 * 784);
    for (let i = 0; i < 10_000; i++) {
      expect(idx.subarray(16 + i * 784, 16 + (i + 1) * 784).some((v) => v > 200), `image ${i}`).toBe(true);
    }
  });

  it("splits 9,000 / 1,000 with each digit in proportion", () => {
    expect(rows.map((row) => row.index)).toEqual(rows.map((_, i) => i));
    const count = (split: string, label: number): number =>
      rows.filter((row) => row.split === split && row.label === label).length;
    expect(rows.filter((row) => row.split === "test")).toHaveLength(1000);
    for (let label = 0; label < 10; label++) {
      const test = count("test", label);
      expect(Math.abs(test - (test + count("train", label)) / 10)).toBeLessThan(1);
    }
  });

  it("has no drawing in both splits", () => {
    const text = (row: Row): string => idx.toString("latin1", 16 + row.index * 784, 16 + (row.index + 1) * 784);
    const train = new Set(rows.filter((row) => row.split === "train").map(text));
    expect(rows.filter((row) => row.split === "test" && train.has(text(row)))).toEqual([]);
  });

  it("captions are short, plain, and name the digit first in the plain form", () => {
    for (const { label, captions } of rows) {
      expect(captions[0]).toBe(`a handwritten ${script.WORDS[label]}`);
      expect(captions.length).toBeGreaterThanOrEqual(3);
      for (const caption of captions) {
        expect(caption).toMatch(/^[a-z0-9, ]{5,24}$/);
        expect(caption.includes(String(label)) || caption.includes(script.WORDS[label]!)).toBe(true);
      }
    }
  });

  it("measures slant, stroke and shape on drawings whose answer is known", () => {
    const draw = (ink: (x: number, y: number) => boolean): Uint8Array =>
      Uint8Array.from({ length: 784 }, (_, i) => (ink(i % 28, Math.floor(i / 28)) ? 255 : 0));
    const bar = (width: number, lean: number): Uint8Array =>
      draw((x, y) => y >= 4 && y < 24 && Math.abs(x - 14 + lean * (y - 14)) <= width / 2);
    expect(script.measure(bar(3, 0.5)).slant).toBeGreaterThan(0.4); // leans right as y falls
    expect(script.measure(bar(3, -0.5)).slant).toBeLessThan(-0.4);
    expect(Math.abs(script.measure(bar(3, 0)).slant)).toBeLessThan(0.05);
    expect(script.measure(bar(6, 0)).stroke).toBeGreaterThan(script.measure(bar(2, 0)).stroke + 2);
    expect(script.adjectives(script.measure(bar(6, 0)))).toEqual(["bold", "narrow", "upright"]);
    expect(script.captionsOf(8, ["bold", "upright"])).toContain("an upright eight");
  });

  it("opens as a data folder for training, image by image the same bytes", () => {
    const folder = openData(join(root, "data"), { split: "test", size: { width: 28, height: 28, channels: 1 } });
    expect(folder.rows).toHaveLength(1000);
    const row = folder.rows[17]!;
    expect(row.captions).toEqual(rows[9017]!.captions);
    const image = folder.image(row);
    const bytes = idx.subarray(16 + 9017 * 784, 16 + 9018 * 784);
    expect(Array.from(image.data, (v) => Math.round(v * 255))).toEqual([...bytes]);
  });
});
