// PNG files as image bytes of a wanted number of channels. In: a file's bytes. Out: bytes [row, column, channel]. Converts only what
// loses nothing: grey to colour, equal colours to grey, opaque alpha away, palettes and bit depths to 8 bits.
// Refuses a damaged file, transparency, and colour where grey is wanted.

import { convertIndexedToRgb, decode, type DecodedPng } from "fast-png";
import { HeddleError, messageOf } from "../error.ts";
import type { ImageSize } from "../tokenize/image.ts";

const signature = [137, 80, 78, 71, 13, 10, 26, 10];

/** Height and width from the first 24 bytes; undefined if this is no PNG. */
export function pngSize(head: Uint8Array): { readonly height: number; readonly width: number } | undefined {
  if (head.length < 24 || signature.some((byte, i) => head[i] !== byte)) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

export function readPng(file: Uint8Array, place: string, channels?: number): { readonly size: ImageSize; readonly bytes: Uint8Array } {
  let png: DecodedPng;
  try {
    png = decode(file, { checkCrc: true });
  } catch (thrown) {
    throw unreadable(place, `the image cannot be read: ${messageOf(thrown)}`, "save it again as PNG");
  }
  const { height, width } = png;
  if (png.palette === undefined && png.transparency !== undefined && png.transparency.length > 0) throw transparent(place); // one colour means "nothing"
  const { values, depth } = samples(png);
  const count = height * width;
  const given = values.length / count;
  const colours = given === 2 || given === 4 ? given - 1 : given;
  const wanted = channels ?? colours;
  const top = 2 ** depth - 1;
  const bytes = new Uint8Array(count * wanted);
  for (let p = 0; p < count; p++) {
    if (given !== colours && values[p * given + colours] !== top) throw transparent(place);
    const at = (c: number): number => values[p * given + c] as number;
    if (wanted === 1 && colours === 3 && (at(0) !== at(1) || at(1) !== at(2))) {
      throw unreadable(place, "the image has colours, but the model takes grey (1 channel)", "convert it to grey, or give `pixels` channels: 3");
    }
    for (let c = 0; c < wanted; c++) bytes[p * wanted + c] = Math.round((at(colours === 1 || wanted === 1 ? 0 : c) * 255) / top);
  }
  return { size: { height, width, channels: wanted }, bytes };
}

function samples(png: DecodedPng): { readonly values: ArrayLike<number>; readonly depth: number } {
  if (png.palette !== undefined) return { values: convertIndexedToRgb(png), depth: 8 };
  if (png.depth >= 8) return { values: png.data, depth: png.depth };
  // One row of packed samples is padded to whole bytes.
  const stride = Math.ceil((png.width * png.depth) / 8);
  const mask = 2 ** png.depth - 1;
  const values = new Uint8Array(png.width * png.height);
  for (let i = 0; i < values.length; i++) {
    const bit = (i % png.width) * png.depth;
    const byte = png.data[Math.floor(i / png.width) * stride + (bit >> 3)] ?? 0;
    values[i] = (byte >> (8 - png.depth - (bit & 7))) & mask;
  }
  return { values, depth: png.depth };
}

function transparent(place: string): HeddleError {
  return unreadable(place, "the image is partly transparent", "flatten it onto a background");
}

export function unreadable(place: string, message: string, help: string): HeddleError {
  return new HeddleError({ code: "E0534", message, place, help });
}
