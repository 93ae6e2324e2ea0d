// Pictures as text for a terminal: half blocks in colour, two pixel rows a line, or plain ASCII where colour is unwelcome.
// In:  the pictures of contact_sheet.ts, the width of the terminal and whether it takes colour (see `takesColour`).
// Out: lines ready to print, captions beneath the pictures. Pictures are shrunk by whole factors until a row fits.
// Refuses (a bug of the caller): what contact_sheet.ts refuses.

import { foldText, pixelAt, requireAlike } from "./contact_sheet.ts";
import type { Picture } from "./contact_sheet.ts";

export interface PreviewOptions {
  /** Characters in a line; unless told 80 with colour, 150 without, since a log has no edge and ASCII needs the detail. */
  readonly columns?: number;
  readonly colour: boolean;
  /** Pictures to get into one line of pictures, if shrinking to no less than half can do it; 5 unless told. */
  readonly across?: number;
}

type Rgb = readonly [number, number, number];

const GAP = 2;
const RAMP = " .:-=+*#%@";

/** Whether a stream should get colour: a terminal, and no NO_COLOR in the environment. */
export function takesColour(stream: { readonly isTTY?: boolean }, environment: Readonly<Record<string, string | undefined>>): boolean {
  return stream.isTTY === true && (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
}

/** The mean colour of a block of pixels; blocks over the edge count the pixels they hold. */
function blockMean(picture: Picture, left: number, top: number, width: number, height: number): Rgb {
  const sum: [number, number, number] = [0, 0, 0];
  let count = 0;
  for (let y = top; y < Math.min(picture.height, top + height); y++) {
    for (let x = left; x < Math.min(picture.width, left + width); x++) {
      const [r, g, b] = pixelAt(picture, x, y);
      sum[0] += r;
      sum[1] += g;
      sum[2] += b;
      count++;
    }
  }
  return count === 0 ? [0, 0, 0] : [sum[0] / count, sum[1] / count, sum[2] / count];
}

/** Nearest colour of the 256-colour table: its grey ramp for greys, else its 6 x 6 x 6 cube. */
function colourIndex([r, g, b]: Rgb): number {
  if (Math.max(r, g, b) - Math.min(r, g, b) < 8) {
    if (r < 4) return 16;
    if (r > 246) return 231;
    return 232 + Math.min(23, Math.max(0, Math.round((r - 8) / 10)));
  }
  const [red, green, blue] = [r, g, b].map((value) => Math.round((value / 255) * 5));
  return 16 + 36 * (red ?? 0) + 6 * (green ?? 0) + (blue ?? 0);
}

function lineOf(picture: Picture, row: number, shrink: number, colour: boolean): string {
  const cells = Math.ceil(picture.width / shrink);
  let text = "";
  let before = "";
  for (let column = 0; column < cells; column++) {
    const left = column * shrink;
    const top = row * 2 * shrink;
    if (!colour) {
      const [r, g, b] = blockMean(picture, left, top, shrink, 2 * shrink);
      text += RAMP[Math.min(RAMP.length - 1, Math.floor(((r + g + b) / 765) * RAMP.length))] ?? " ";
      continue;
    }
    const upper = colourIndex(blockMean(picture, left, top, shrink, shrink));
    const lower = colourIndex(blockMean(picture, left, top + shrink, shrink, shrink));
    const style = `\u001b[38;5;${upper};48;5;${lower}m`;
    text += style === before ? "▀" : `${style}▀`;
    before = style;
  }
  return colour ? `${text}\u001b[0m` : text;
}

/** The pictures as lines of text, each line ended by a line feed. */
export function preview(pictures: readonly Picture[], options: PreviewOptions): string {
  const { width, height } = requireAlike(pictures);
  const columns = options.columns ?? (options.colour ? 80 : 150);
  const across = Math.min(options.across ?? 5, pictures.length);
  let shrink = 1;
  while (Math.ceil(width / shrink) > columns) shrink++;
  while (shrink < 2 && across * (Math.ceil(width / shrink) + GAP) - GAP > columns) shrink++;
  const cell = Math.max(Math.ceil(width / shrink), 8);
  const inLine = Math.max(1, Math.floor((columns + GAP) / (cell + GAP)));
  const rows = Math.ceil(height / (2 * shrink));
  const space = " ".repeat(GAP);

  let out = "";
  for (let start = 0; start < pictures.length; start += inLine) {
    const group = pictures.slice(start, start + inLine);
    for (let row = 0; row < rows; row++) {
      const pad = " ".repeat(cell - Math.ceil(width / shrink));
      out += `${group.map((picture) => lineOf(picture, row, shrink, options.colour) + pad).join(space).trimEnd()}\n`;
    }
    const captions = group.map(({ caption }) => foldText(caption, cell));
    for (let row = 0; row < Math.max(0, ...captions.map((lines) => lines.length)); row++) {
      out += `${captions.map((lines) => (lines[row] ?? "").padEnd(cell)).join(space).trimEnd()}\n`;
    }
    out += "\n";
  }
  return out;
}
