// Builds the smallest bundle that has everything: text and images, attention, noise, guidance, weights. In: a scratch folder.
// Out: the paths of spec, weights and bundle. Weights are the initial ones, so that no training is needed.

import { readFileSync } from "node:fs";
import path from "node:path";
import { expect } from "vitest";
import type { Manifest } from "../../compiler/plan/manifest.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { parameterTensors } from "../../runtime/weights/parameters.ts";
import { writeSafetensors } from "../../runtime/weights/safetensors.ts";
import { heddle, type scratch } from "../cli/heddle.ts";

export const TINY = `use std.blocks { decoder_block }

model tiny(d: axis = 8, heads: int = 2) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow(predict: velocity)
  task draw(caption: text, picture: image)     = <bos> given drop(0.1) text(caption) <boi> predict image(picture) <eoi>
  task describe(picture: image, caption: text) = <bos> <boi> given image(picture) <eoi> predict text(caption) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d) + time(noising, d)
  body        = decoder_block(d, heads, mask)
  head image  = linear(d, image.features)
  loss = 1.0 * next_token(text) + 5.0 * denoise(image)
  mix  = 0.5 * draw + 0.5 * describe
  sample text  = nucleus(p: 0.9, max: 4)
  sample image = euler(steps: 2, guidance: 2.0)
  train { optimizer = adamw(); lr = 1e-2; warmup = 2; steps = 6; batch = 2; clip = 1.0; ema = 0.9; seed = 1 }
}
`;

export interface TinyBundle {
  readonly spec: string;
  readonly weights: string;
  readonly bundle: string;
  /** What `heddle build --json` said. */
  readonly said: { readonly files: number; readonly dispatches: Readonly<Record<string, number>> };
  readonly manifest: Manifest;
}

export async function tinyBundle(place: ReturnType<typeof scratch>): Promise<TinyBundle> {
  const spec = place.file("tiny.heddle", TINY);
  const bundle = path.join(place.dir, "bundle");
  const build = async (...more: string[]): Promise<TinyBundle["said"]> => {
    const r = await heddle(["build", spec, "-o", bundle, "--target", "software", "--json", ...more]);
    expect(r.stderr).not.toMatch(/error|bug/);
    expect(r.code).toBe(0);
    return JSON.parse(r.stdout) as TinyBundle["said"];
  };
  const manifestOf = (): Manifest => JSON.parse(readFileSync(path.join(bundle, "manifest.json"), "utf8")) as Manifest;
  await build();
  const { model } = manifestOf();
  const weights = place.file("weights.safetensors", writeSafetensors(parameterTensors(model, initialParameters(model, 3)), {}));
  const said = await build("--weights", weights);
  return { spec, weights, bundle, said, manifest: manifestOf() };
}

/** A 4 x 4 picture with numbers in 0..1. */
export const PICTURE = { height: 4, width: 4, channels: 1, data: Float32Array.from({ length: 16 }, (_, i) => i / 16) };
