// What an image is at run time: numbers from 0 to 1, [row, column, channel], and its bytes. Runs in Node and in a page.

import { HeddleError } from "../error.ts";

export interface Image {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** [row, column, channel], 0 black … 1 full. */
  readonly data: Float32Array;
}

export interface ImageSize {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** From bytes 0 … 255. */
export function imageFromBytes(size: ImageSize, bytes: ArrayLike<number>): Image {
  const { height, width, channels } = size;
  const count = height * width * channels;
  if (bytes.length !== count) throw new Error(`an image of ${describe(size)} has ${count} numbers, not ${bytes.length}`);
  return { height, width, channels, data: Float32Array.from(bytes, (byte) => byte / 255) };
}

/** To bytes, rounded and clamped. */
export function imageBytes(image: Image): Uint8Array {
  return Uint8Array.from(image.data, (x) => Math.min(255, Math.max(0, Math.round(x * 255))));
}

export function describe(size: ImageSize): string {
  return `${size.height} x ${size.width} x ${size.channels}`;
}

/** Refuses an image of another size. */
export function checkSize(image: Image, size: ImageSize, place?: string): void {
  if (image.height === size.height && image.width === size.width && image.channels === size.channels) return;
  throw new HeddleError({
    code: "E0535",
    message: `the image is ${describe(image)}, but the model takes ${describe(size)} (rows x columns x channels)`,
    place,
    help: "resize or convert the image, or change `pixels(...)` in the spec",
  });
}
