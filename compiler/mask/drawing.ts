// A MaskReport as a drawing: rectangles and lines of text at places, in units of which a letter is 6 wide. svg.ts and the PNG of
// the command draw the same. In: a report. Out: shapes with the names of their colours; a theme says what those are.
// Each picture: title, mask, axes with spans named and bracketed, cells by the stream of their key, tiles, a legend, the facts.

import type { MaskPicture, MaskReport } from "./explain.ts";
import type { TokenSpan } from "./spans.ts";
import { factsOf, keysOf, placeOf, spansOf, streamsOf, whereText } from "./spans.ts";

/** `stream0` … `stream5` are taken in turn by the streams of a picture, `expert0` … `expert11` by the experts of a routed layer. */
export type Ink = "ground" | "panel" | "text" | "faint" | "tile" | "skipped" | `stream${Digit}` | `expert${Digit | 6 | 7 | 8 | 9 | 10 | 11}`;
type Digit = 0 | 1 | 2 | 3 | 4 | 5;

export type Shape =
  | { readonly kind: "rect"; readonly x: number; readonly y: number; readonly w: number; readonly h: number; readonly ink: Ink; /** How much it covers of what lies beneath, 0 to 1; all of it unless told. */ readonly cover?: number }
  /** `x`, `y` is the left end of the base line, or with `end` its right end; turned text runs upwards from there. */
  | { readonly kind: "text"; readonly x: number; readonly y: number; readonly text: string; readonly size: 1 | 2; readonly ink: Ink; readonly end?: boolean; readonly turned?: boolean };

export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly title: string;
  readonly shapes: readonly Shape[];
}

export const LETTER = 6;
export const LINE = 14;
export const MARGIN = 20;
export const GAP = 36;
/** Cells are this large, or smaller so that a long sample stays a page. */
const CELL = 12;
const PAGE = 720;

export const inkOf = (streams: ReadonlyMap<string, number>, stream: string | null): Ink => (stream === null ? "faint" : `stream${((streams.get(stream) ?? 0) % 6) as 0 | 1 | 2 | 3 | 4 | 5}`);

export function drawingOf(report: MaskReport): Drawing {
  const shapes: Shape[] = [];
  let y = MARGIN;
  let width = 200;
  for (const t of report.tasks) {
    for (const p of t.pictures) {
      const block = picture(p, `${report.model}, task ${t.task}`, y);
      shapes.push(...block.shapes);
      width = Math.max(width, block.right);
      y = block.bottom + GAP;
    }
  }
  if (shapes.length === 0) {
    shapes.push(text(MARGIN, y + LINE, `model ${report.model} has no attention and no mask`));
    y += 2 * LINE + GAP;
    width = 500;
  }
  return { width: width + MARGIN, height: y - GAP + MARGIN, title: `Masks of ${report.model}`, shapes: [{ kind: "rect", x: 0, y: 0, w: width + MARGIN, h: y - GAP + MARGIN, ink: "ground" }, ...shapes] };
}

export const text = (x: number, y: number, value: string, over: Partial<Extract<Shape, { kind: "text" }>> = {}): Shape => ({ kind: "text", x, y, text: value, size: 1, ink: "text", ...over });

export const long = (value: string): number => [...value].length * LETTER;

function picture(p: MaskPicture, title: string, top: number): { shapes: Shape[]; right: number; bottom: number } {
  const shapes: Shape[] = [];
  const streams = streamsOf(p);
  const [spans, across] = [spansOf(p.tokens), spansOf(keysOf(p))];
  const [high, wide] = [p.tokens.length, keysOf(p).length];
  const cell = Math.max(1, Math.min(CELL, Math.floor(PAGE / Math.max(1, high, wide))));
  const places = cell >= 10 ? Math.max(0, ...p.tokens.map((t) => long(placeOf(t)))) : 0;
  const names = Math.max(0, ...spans.map((s) => long(s.label)));
  const bracket = 10;
  const left = MARGIN + names + 6 + bracket + places + 6;

  let y = top + 2 * LETTER + 4;
  shapes.push(text(MARGIN, y, title, { size: 2 }));
  y += LINE + 4;
  const about = [whereText(p), ...wrapped(`mask ${p.mask}`), ...p.scores.flatMap((s) => wrapped(`score ${s}`))];
  for (const line of about) {
    shapes.push(text(MARGIN, y, line));
    y += LINE;
  }
  const gridTop = y + 6 + Math.max(0, ...across.map((s) => long(s.label))) + bracket;
  shapes.push({ kind: "rect", x: left, y: gridTop, w: wide * cell, h: high * cell, ink: "panel" });
  shapes.push(...skipped(p, left, gridTop, cell), ...visible(p, streams, left, gridTop, cell), ...tiles(p, left, gridTop, cell));
  shapes.push(...axes(spans, across, streams, left, gridTop, cell));
  if (places > 0) p.tokens.forEach((t, i) => shapes.push(text(left - 5, gridTop + i * cell + cell - 2, placeOf(t), { end: true, ink: "faint" })));

  y = gridTop + high * cell + LINE + 10;
  const legend = legendOf(p, streams, y);
  shapes.push(...legend.shapes);
  y += LINE + 2;
  const facts = factsOf(p).map(([name, fact]) => `${name.padEnd(7)}${fact}`);
  for (const line of facts) {
    shapes.push(text(MARGIN, y, line));
    y += LINE;
  }
  const right = Math.max(left + wide * cell, legend.right, MARGIN + 2 * long(title), ...[...about, ...facts].map((l) => MARGIN + long(l)));
  return { shapes, right, bottom: y - LINE };
}

/** Long masks in lines of at most 100 letters, broken at spaces. */
function wrapped(value: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of value.split(" ")) {
    if (line !== "" && line.length + word.length > 100) {
      lines.push(line);
      line = "  ";
    }
    line += `${line.trim() === "" ? "" : " "}${word}`;
  }
  return [...lines, line];
}

/** One rectangle for neighbours in a row that are alike. */
function visible(p: MaskPicture, streams: ReadonlyMap<string, number>, left: number, top: number, cell: number): Shape[] {
  const out: Shape[] = [];
  const gap = cell >= 6 ? 1 : 0;
  p.visible.forEach((row, i) => {
    for (let j = 0; j < row.length; ) {
      const stream = keysOf(p)[j]?.stream ?? null;
      let end = j + 1;
      while (gap === 0 && end < row.length && row[end] === row[j] && (keysOf(p)[end]?.stream ?? null) === stream) end++;
      if (row[j] === "1") out.push({ kind: "rect", x: left + j * cell, y: top + i * cell, w: (end - j) * cell - gap, h: cell - gap, ink: inkOf(streams, stream) });
      j = end;
    }
  });
  return out;
}

function skipped(p: MaskPicture, left: number, top: number, cell: number): Shape[] {
  const [high, wide] = [p.tokens.length, keysOf(p).length];
  const { queries, keys } = p.tile;
  return p.tile.classes.flatMap((line, i) => [...line].flatMap((c, j): Shape[] => (c === "."
    ? [{ kind: "rect", x: left + j * keys * cell, y: top + i * queries * cell, w: Math.min(keys, wide - j * keys) * cell, h: Math.min(queries, high - i * queries) * cell, ink: "skipped" }]
    : [])));
}

/** Lines between tiles, where tiles are large enough for lines. */
function tiles(p: MaskPicture, left: number, top: number, cell: number): Shape[] {
  const [high, wide] = [p.tokens.length * cell, keysOf(p).length * cell];
  const out: Shape[] = [];
  if (Math.min(p.tile.queries, p.tile.keys) * cell < 6) return out;
  for (let at = p.tile.keys * cell; at < wide; at += p.tile.keys * cell) out.push({ kind: "rect", x: left + at - 1, y: top, w: 1, h: high, ink: "tile" });
  for (let at = p.tile.queries * cell; at < high; at += p.tile.queries * cell) out.push({ kind: "rect", x: left, y: top + at - 1, w: wide, h: 1, ink: "tile" });
  return out;
}

/** Spans bracketed and named beside the rows and, turned, above the columns; names that would overlap are left out. */
function axes(rows: readonly TokenSpan[], columns: readonly TokenSpan[], streams: ReadonlyMap<string, number>, left: number, top: number, cell: number): Shape[] {
  const out: Shape[] = [];
  const rowLeft = MARGIN + Math.max(0, ...rows.map((s) => long(s.label)));
  const each = (spans: readonly TokenSpan[], draw: (s: TokenSpan, from: number, size: number, middle: number | undefined) => void): void => {
    let free = -Infinity;
    for (const s of spans) {
      const middle = Math.round((s.start + s.count / 2) * cell);
      const named = middle - free >= 9;
      if (named) free = middle;
      draw(s, s.start * cell, Math.max(1, s.count * cell - (cell >= 6 ? 1 : 0)), named ? middle : undefined);
    }
  };
  each(rows, (s, from, size, middle) => {
    out.push({ kind: "rect", x: rowLeft + 6, y: top + from, w: 3, h: size, ink: inkOf(streams, s.stream) });
    if (middle !== undefined) out.push(text(rowLeft, top + middle + 4, s.label, { end: true }));
  });
  each(columns, (s, from, size, middle) => {
    out.push({ kind: "rect", x: left + from, y: top - 6, w: size, h: 3, ink: inkOf(streams, s.stream) });
    if (middle !== undefined) out.push(text(left + middle + 4, top - 10, s.label, { turned: true }));
  });
  return out;
}

function legendOf(p: MaskPicture, streams: ReadonlyMap<string, number>, y: number): { shapes: Shape[]; right: number } {
  const shapes: Shape[] = [];
  let x = MARGIN;
  const add = (ink: Ink | null, label: string): void => {
    if (ink !== null) {
      shapes.push({ kind: "rect", x, y: y - 8, w: 9, h: 9, ink });
      x += 13;
    }
    shapes.push(text(x, y, label, { ink: "faint" }));
    x += long(label) + 14;
  };
  add(null, "rows look, columns are looked at");
  for (const s of streams.keys()) add(inkOf(streams, s), `${s} seen`);
  if (p.tile.empty > 0) add("skipped", "empty tile");
  if (p.tokens.some((t) => t.role === "predict")) add(null, "* predicted");
  return { shapes, right: x };
}
