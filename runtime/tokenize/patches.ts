// Images as square patches: [row, column, feature], features in the order (dy, dx, channel) and scaled from 0…1 to -1…1.
// Encoding and decoding are each other's inverse up to clamping. Refuses an image of another size.

import { HeddleError } from "../error.ts";
import { checkSize, describe, type Image, type ImageSize } from "./image.ts";

export interface PatchTokenizer {
  readonly rows: number;
  readonly columns: number;
  /** Numbers of one patch: patch * patch * channels. */
  readonly features: number;
  /** [row, column, feature] */
  encode(image: Image): Float32Array;
  /** Numbers outside -1…1 are clamped, NaN becomes black. */
  decode(features: Float32Array): Image;
}

/** @example patchTokenizer(4, { height: 28, width: 28, channels: 1 }).rows // 7 */
export function patchTokenizer(patch: number, size: ImageSize): PatchTokenizer {
  const { height, width, channels } = size;
  if (!Number.isInteger(patch) || patch < 1 || height % patch !== 0 || width % patch !== 0) {
    throw new HeddleError({
      code: "E0523",
      message: `an image of ${describe(size)} cannot be cut into patches of ${patch} x ${patch}`,
      help: "choose a patch that divides the height and the width",
    });
  }
  const rows = height / patch;
  const columns = width / patch;
  const features = patch * patch * channels;
  const line = patch * channels; // numbers of one pixel row of a patch: contiguous on both sides

  /** Calls `move(offset in features, offset in image)` for each pixel row of each patch. */
  const eachLine = (move: (feature: number, pixel: number) => void): void => {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        for (let dy = 0; dy < patch; dy++) {
          move((row * columns + column) * features + dy * line, ((row * patch + dy) * width + column * patch) * channels);
        }
      }
    }
  };

  return {
    rows,
    columns,
    features,
    encode(image) {
      checkSize(image, size);
      const out = new Float32Array(rows * columns * features);
      eachLine((feature, pixel) => {
        for (let i = 0; i < line; i++) out[feature + i] = 2 * (image.data[pixel + i] as number) - 1;
      });
      return out;
    },
    decode(values) {
      if (values.length !== rows * columns * features) throw new Error(`${values.length} features are not an image of ${describe(size)}`);
      const data = new Float32Array(height * width * channels);
      eachLine((feature, pixel) => {
        for (let i = 0; i < line; i++) {
          const x = ((values[feature + i] as number) + 1) / 2;
          data[pixel + i] = x > 0 ? Math.min(1, x) : 0;
        }
      });
      return { height, width, channels, data };
    },
  };
}
