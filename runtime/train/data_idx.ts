// IDX, the file format of MNIST: a magic number, sizes, then unsigned bytes [image, row, column] or [image, row, column, channel].
// In: bytes, already inflated. Out: a view of each image. Refuses any other element type or rank, and bytes that do not add up.

import { HeddleError } from "../error.ts";
import type { ImageSize } from "../tokenize/image.ts";

export interface Pack {
  readonly count: number;
  readonly size: ImageSize;
  /** Bytes of one image; a view. */
  at(index: number): Uint8Array;
}

export function parseIdx(bytes: Uint8Array, place: string): Pack {
  const refuse = (message: string): never => {
    throw new HeddleError({ code: "E0536", message, place, help: "make the pack again: IDX of unsigned bytes, [image, row, column] or with a last axis for channels" });
  };
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0) refuse("this is not an IDX file: it does not start with two zero bytes");
  if (bytes[2] !== 8) refuse(`the IDX file holds elements of type 0x${(bytes[2] ?? 0).toString(16)}, not unsigned bytes (0x8)`);
  const rank = bytes[3] ?? 0;
  if (rank !== 3 && rank !== 4) refuse(`the IDX file has ${rank} axes, but images need 3 or 4`);
  const start = 4 + 4 * rank;
  if (bytes.length < start) refuse("the IDX file ends within its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [count = 0, height = 0, width = 0, channels = 1] = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const each = height * width * channels;
  if (each === 0) refuse("the images of the IDX file are empty");
  if (bytes.length !== start + count * each) {
    refuse(`the IDX file says ${count} images of ${height} x ${width} x ${channels}, ${count * each} bytes, but holds ${bytes.length - start}`);
  }
  return { count, size: { height, width, channels }, at: (index) => bytes.subarray(start + index * each, start + (index + 1) * each) };
}
