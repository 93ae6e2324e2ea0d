// Fields of a task on the command line: `caption="digit 7"`, `picture=seven.png`; results as text, PNG files and previews.

import { readFileSync } from "node:fs";
import { decode } from "fast-png";
import type { StreamSpec } from "../compiler/plan/manifest.ts";
import { HeddleError, messageOf } from "../runtime/error.ts";
import type { FieldInput } from "../runtime/generate/model.ts";
import { describe, type Image } from "../runtime/tokenize/image.ts";

/** `name=value` pairs; a value of a text stream is taken as it is, one of an image stream names a PNG. */
export function parseFields(pairs: readonly string[], streamOf: (field: string) => StreamSpec): Record<string, FieldInput> {
  const out: Record<string, FieldInput> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw new HeddleError({ code: "E0582", message: `\`${pair}\` is not \`field=value\``, help: `for example caption="digit 7"`, exit: 2 });
    const name = pair.slice(0, at);
    const value = pair.slice(at + 1);
    const stream = streamOf(name);
    out[name] = stream.kind === "text" ? value : readPng(value, stream.channels);
  }
  return out;
}

/** A PNG as numbers in 0..1, with the channels the model wants (colour to grey by luminance). */
export function readPng(file: string, channels: number): Image {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    const gone = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    throw new HeddleError({ code: "E0534", message: gone ? `there is no image \`${file}\`` : `the image \`${file}\` cannot be read: ${messageOf(cause)}`, help: "an image field names a PNG file", cause });
  }
  let png: ReturnType<typeof decode>;
  try {
    png = decode(bytes);
  } catch (cause) {
    throw new HeddleError({ code: "E0534", message: `\`${file}\` is not a PNG`, help: "convert it to PNG first", cause });
  }
  const max = 2 ** png.depth - 1;
  const { width, height } = png;
  const data = new Float32Array(width * height * channels);
  const colours = png.channels >= 3 ? 3 : 1;
  for (let i = 0; i < width * height; i++) {
    const of = (c: number): number => (png.data[i * png.channels + Math.min(c, colours - 1)] ?? 0) / max;
    if (channels === 1 && colours === 3) data[i] = 0.299 * of(0) + 0.587 * of(1) + 0.114 * of(2);
    else for (let c = 0; c < channels; c++) data[i * channels + c] = of(c);
  }
  return { width, height, channels, data };
}

export const sizeText = (image: Image): string => describe(image);
