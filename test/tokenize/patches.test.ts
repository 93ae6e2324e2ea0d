// Images and patches: order, scale, inverse, refusals; and that the folder runs in a page.
import { build } from "esbuild";
import fc from "fast-check";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { imageBytes, imageFromBytes } from "../../runtime/tokenize/image.ts";
import { patchTokenizer } from "../../runtime/tokenize/patches.ts";

it("orders features by row, column, then dy, dx, channel, and scales to -1…1", () => {
  const size = { height: 2, width: 4, channels: 2 };
  const image = { ...size, data: Float32Array.from({ length: 16 }, (_, i) => i / 15) }; // data[(y * 4 + x) * 2 + c]
  const patches = patchTokenizer(2, size);
  expect([patches.rows, patches.columns, patches.features]).toEqual([1, 2, 8]);
  const sources = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];
  const out = patches.encode(image);
  sources.forEach((source, i) => expect(out[i]).toBeCloseTo((2 * source) / 15 - 1, 6));
});

it("gives back every image byte for byte", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.constantFrom(1, 3, 4), fc.nat(), (patch, r, c, channels, seed) => {
    const size = { height: patch * r, width: patch * c, channels };
    const bytes = Uint8Array.from({ length: size.height * size.width * channels }, (_, i) => (i * 37 + seed) % 256);
    const patches = patchTokenizer(patch, size);
    const features = patches.encode(imageFromBytes(size, bytes));
    expect(features.every((x) => x >= -1 && x <= 1)).toBe(true);
    expect(imageBytes(patches.decode(features))).toEqual(bytes);
  }));
});

it("clamps what a model overshoots and survives NaN", () => {
  const patches = patchTokenizer(1, { height: 1, width: 4, channels: 1 });
  expect([...imageBytes(patches.decode(Float32Array.of(-3, 3, NaN, 0)))]).toEqual([0, 255, 0, 128]);
});

it("refuses a patch that does not divide and an image of another size", () => {
  for (const patch of [3, 0, -4, 1.5, NaN]) expect(() => patchTokenizer(patch, { height: 28, width: 28, channels: 1 })).toThrow(expect.objectContaining({ code: "E0523" }) as Error);
  const patches = patchTokenizer(4, { height: 28, width: 28, channels: 1 });
  const other = imageFromBytes({ height: 28, width: 28, channels: 3 }, new Uint8Array(28 * 28 * 3));
  expect(() => patches.encode(other)).toThrow(expect.objectContaining({ code: "E0535", message: expect.stringMatching(/is 28 x 28 x 3, but the model takes 28 x 28 x 1/) as string }) as Error);
});

it("bundles for a page without Node modules", async () => {
  const folder = resolve(import.meta.dirname, "../../runtime/tokenize");
  const result = await build({ entryPoints: readdirSync(folder).map((name) => join(folder, name)), outdir: "/unused", bundle: true, platform: "browser", format: "esm", write: false, logLevel: "silent" });
  expect(result.errors).toEqual([]);
});
