// A drawing (compiler/mask/drawing.ts) as a PNG with the bitmap font, in the light colours of the SVG.
// In: a drawing, or the report of masks that one is made of. Out: the bytes of an 8-bit RGB PNG, two pixels a unit.

import { encode } from "fast-png";
import type { Drawing, Shape } from "../../compiler/mask/drawing.ts";
import { drawingOf } from "../../compiler/mask/drawing.ts";
import type { MaskReport } from "../../compiler/mask/explain.ts";
import { light } from "../../compiler/mask/svg.ts";
import { ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, glyph } from "./font.ts";

const SCALE = 2;

type Rgb = readonly [number, number, number];
const mixed = (over: Rgb, under: Rgb, cover: number): Rgb => over.map((c, i) => Math.round(c * cover + (under[i] ?? 0) * (1 - cover))) as unknown as Rgb;
const rgb = (hex: string): Rgb => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as unknown as Rgb;

export const reportPng = (report: MaskReport): Uint8Array => drawingPng(drawingOf(report));

export function drawingPng(drawing: Drawing): Uint8Array {
  const [width, height] = [drawing.width * SCALE, drawing.height * SCALE];
  const data = new Uint8Array(width * height * 3);
  const fill = (x: number, y: number, w: number, h: number, colour: Rgb): void => {
    for (let row = Math.max(0, y); row < Math.min(height, y + h); row++) {
      for (let column = Math.max(0, x); column < Math.min(width, x + w); column++) data.set(colour, (row * width + column) * 3);
    }
  };
  // What is covered in part is of one colour.
  const at = (x: number, y: number): Rgb => [0, 1, 2].map((c) => data[(Math.round(y) * width + Math.round(x)) * 3 + c] ?? 0) as unknown as Rgb;
  for (const s of drawing.shapes) {
    const colour = rgb(light[s.ink]);
    if (s.kind === "rect") fill(s.x * SCALE, s.y * SCALE, s.w * SCALE, s.h * SCALE, s.cover === undefined ? colour : mixed(colour, at(s.x * SCALE, s.y * SCALE), s.cover));
    else write(s, colour, fill);
  }
  return encode({ width, height, data, depth: 8, channels: 3 });
}

function write(s: Extract<Shape, { kind: "text" }>, colour: Rgb, fill: (x: number, y: number, w: number, h: number, colour: Rgb) => void): void {
  const dot = SCALE * s.size;
  const characters = [...s.text];
  const back = s.end ? characters.length * ADVANCE * dot : 0;
  characters.forEach((character, at) => {
    glyph(character).forEach((bits, row) => {
      for (let column = 0; column < GLYPH_WIDTH; column++) {
        if (((bits >> (GLYPH_WIDTH - 1 - column)) & 1) === 0) continue;
        // Along the line of text, and up from its base line; turned text runs upwards.
        const [along, up] = [(at * ADVANCE + column) * dot - back, (GLYPH_HEIGHT - row) * dot];
        const [x, y] = s.turned ? [s.x * SCALE - up, s.y * SCALE - along - dot] : [s.x * SCALE + along, s.y * SCALE - up];
        fill(x, y, dot, dot, colour);
      }
    });
  });
}
