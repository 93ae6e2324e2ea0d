// A contact sheet: pictures in a grid, each enlarged by whole pixels with its caption beneath it, as PNG bytes.
// In:  pictures with values in [0, 1], grey or RGB, all of one size, and options. Values outside [0, 1] are clamped.
// Out: the bytes of an 8-bit PNG. Text that does not fit its column is folded at spaces, never cut.
// Refuses (a bug of the caller): no pictures, pictures of unlike size, a pixel array of the wrong length.

import { encode } from "fast-png";
import { ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, glyph } from "./font.ts";

/** One drawing with the text that belongs to it. Pixels are rows from the top, channels innermost, 0 black to 1 full. */
export interface Picture {
  readonly pixels: ArrayLike<number>;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly caption: string;
}

export interface SheetOptions {
  /** Pictures in a row; by default near a 5 : 2 grid. */
  readonly columns?: number;
  /** Sheet pixels for one picture pixel; 4 unless told. */
  readonly scale?: number;
  /** Sheet pixels for one font pixel; 1 unless told. */
  readonly textScale?: number;
}

const GAP = 10;
const LINE_GAP = 3;
const BACKGROUND = 38;
const TEXT = 225;

/** The text in lines of at most `width` characters, broken at spaces where there are any. */
export function foldText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((part) => part !== "")) {
    const joined = line === "" ? word : `${line} ${word}`;
    if (joined.length <= width) {
      line = joined;
      continue;
    }
    if (line !== "") lines.push(line);
    line = word;
    while (line.length > width) {
      lines.push(line.slice(0, width));
      line = line.slice(width);
    }
  }
  if (line !== "") lines.push(line);
  return lines;
}

class Canvas {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.data = new Uint8Array(width * height * 3).fill(BACKGROUND);
  }

  /** A filled square of `size` pixels. */
  square(x: number, y: number, size: number, rgb: readonly [number, number, number]): void {
    for (let row = y; row < y + size; row++) {
      for (let column = x; column < x + size; column++) this.data.set(rgb, (row * this.width + column) * 3);
    }
  }

  text(x: number, y: number, text: string, scale: number): void {
    [...text].forEach((character, at) => {
      glyph(character).forEach((bits, row) => {
        for (let column = 0; column < GLYPH_WIDTH; column++) {
          if ((bits >> (GLYPH_WIDTH - 1 - column)) & 1) {
            this.square(x + (at * ADVANCE + column) * scale, y + row * scale, scale, [TEXT, TEXT, TEXT]);
          }
        }
      });
    });
  }
}

/** An 8-bit level of a value in [0, 1]; what is not a number is black. */
export function level(value: number | undefined): number {
  return Math.round(255 * Math.min(1, Math.max(0, value ?? 0))) || 0;
}

/** The RGB levels of one pixel of a picture. */
export function pixelAt(picture: Picture, x: number, y: number): readonly [number, number, number] {
  const at = (y * picture.width + x) * picture.channels;
  const first = level(picture.pixels[at]);
  return picture.channels === 1 ? [first, first, first] : [first, level(picture.pixels[at + 1]), level(picture.pixels[at + 2])];
}

/** Throws when pictures do not share one size or do not hold what they say. */
export function requireAlike(pictures: readonly Picture[]): Picture {
  const [first] = pictures;
  if (first === undefined) throw new Error("a contact sheet needs at least one picture");
  for (const { width, height, channels, pixels } of pictures) {
    if (width !== first.width || height !== first.height) throw new Error("the pictures differ in size");
    if (pixels.length !== width * height * channels) {
      throw new Error(`a picture of ${width} x ${height} x ${channels} holds ${pixels.length} values`);
    }
  }
  return first;
}

/** PNG bytes of all pictures with their captions. */
export function contactSheet(pictures: readonly Picture[], options: SheetOptions = {}): Uint8Array {
  const { width, height } = requireAlike(pictures);
  const scale = options.scale ?? 4;
  const textScale = options.textScale ?? 1;
  const columns = Math.min(pictures.length, options.columns ?? Math.max(1, Math.ceil(Math.sqrt(pictures.length * 2.2))));
  const rows = Math.ceil(pictures.length / columns);
  const cellWidth = Math.max(width * scale, ADVANCE * textScale * 8);
  const folded = pictures.map(({ caption }) => foldText(caption, Math.floor(cellWidth / (ADVANCE * textScale))));
  const lineHeight = GLYPH_HEIGHT * textScale + LINE_GAP;
  const tops = [GAP]; // of each row of pictures; a row is as high as its longest caption needs
  for (let row = 0; row < rows; row++) {
    const lines = Math.max(...folded.slice(row * columns, (row + 1) * columns).map((text) => text.length));
    tops.push((tops[row] ?? 0) + height * scale + lines * lineHeight + GAP);
  }

  const canvas = new Canvas(columns * (cellWidth + GAP) + GAP, tops[rows] ?? 0);
  pictures.forEach((picture, at) => {
    const left = GAP + (at % columns) * (cellWidth + GAP);
    const top = tops[Math.floor(at / columns)] ?? 0;
    const inset = Math.floor((cellWidth - width * scale) / 2);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        canvas.square(left + inset + x * scale, top + y * scale, scale, pixelAt(picture, x, y));
      }
    }
    (folded[at] ?? []).forEach((line, row) => {
      const centred = Math.floor((cellWidth - (line.length * ADVANCE - 1) * textScale) / 2);
      canvas.text(left + centred, top + height * scale + LINE_GAP + row * lineHeight, line, textScale);
    });
  });
  return encode({ width: canvas.width, height: canvas.height, data: canvas.data, depth: 8, channels: 3 });
}
