// A MaskReport as lines for a terminal: rows look, columns are looked at. In: the report, the width, and whether colour is welcome.
// Out: text. Two characters a token where that fits; else one, in colour two rows a line; else a character for a block of pairs.
// Plain text is ASCII. Labels stand on the rows and, where a span begins, above the columns.

import type { MaskPicture, MaskReport } from "./explain.ts";
import type { TokenSpan } from "./spans.ts";
import { factsOf, keysOf, placeOf, spansOf, streamsOf, whereText } from "./spans.ts";

export interface TextOptions {
  /** Characters of a line. */
  readonly columns: number;
  readonly colour: boolean;
}

export function reportText(report: MaskReport, options: TextOptions): string {
  const parts: string[] = [];
  for (const t of report.tasks) for (const p of t.pictures) parts.push(pictureText(p, options, `${report.model}, task ${t.task}`));
  if (parts.length === 0) parts.push(`model ${report.model} has no attention and no mask`);
  parts.push(report.cache.sound
    ? "Keys and values can be kept while generating: no committed token attends to a later one."
    : `Nothing can be kept while generating: ${report.cache.reason ?? ""}.`);
  return `${parts.join("\n\n")}\n`;
}

export function pictureText(p: MaskPicture, options: TextOptions, title: string): string {
  const paint = painter(p, options.colour);
  const head = [`${paint.bold(title)}: ${whereText(p)}`, `mask ${p.mask}${p.scores.length > 0 ? `, score ${p.scores.join("; ")}` : ""}`];
  const legend = ["rows look, columns are looked at", ...(p.tokens.some((t) => t.role === "predict") ? ["* is predicted"] : []), ...paint.legend];
  const { lines, note } = cells(p, options, paint);
  const facts = factsOf(p).map(([name, text]) => `  ${name.padEnd(7)} ${text}`);
  return [...head, "", ...lines, "", `  ${[...legend, ...(note ? [note] : [])].join("; ")}`, ...facts].map((l) => l.trimEnd()).join("\n");
}

// ---------------------------------------------------------------- colour

interface Painter {
  readonly colour: boolean;
  bold(text: string): string;
  dim(text: string): string;
  /** Text in the colour of a stream. */
  ink(text: string, stream: string | null): string;
  /** A cell filled with the colour of a stream. */
  fill(text: string, stream: string | null): string;
  readonly legend: readonly string[];
}

/** Colours of the 256-colour table that are told apart on light and dark: blue, orange, green, violet, red, teal. */
export const STREAM = [32, 172, 35, 134, 160, 37];

function painter(p: MaskPicture, colour: boolean): Painter {
  const streams = streamsOf(p);
  const code = (s: string | null): number => (s === null ? 244 : (STREAM[(streams.get(s) ?? 0) % STREAM.length] ?? 244));
  const style = (codes: string) => (text: string): string => (colour && text !== "" ? `\u001b[${codes}m${text}\u001b[0m` : text);
  return {
    colour, bold: style("1"), dim: style("2"), ink: (text, s) => style(`38;5;${code(s)}`)(text), fill: (text, s) => style(`48;5;${code(s)}`)(text),
    legend: colour && streams.size > 1 ? [`columns of ${[...streams.keys()].map((s) => style(`38;5;${code(s)}`)(`■ ${s}`)).join(" ")}`] : [],
  };
}

// ---------------------------------------------------------------- cells

interface Cells {
  readonly lines: string[];
  /** How the drawing is to be read, where a character is no pair. */
  readonly note?: string;
}

function cells(p: MaskPicture, options: TextOptions, paint: Painter): Cells {
  const [spans, across] = [spansOf(p.tokens), spansOf(keysOf(p))];
  const name = Math.max(0, ...spans.map((s) => s.label.length));
  const place = Math.max(0, ...p.tokens.map((t) => placeOf(t).length));
  const left = 2 + name + 1 + place + 2;
  const room = Math.max(16, options.columns - left);
  const [n, wideAll] = [p.tokens.length, keysOf(p).length];
  const label = (row: number, rows: number): string => {
    const starts = spans.filter((s) => s.start >= row && s.start < row + rows);
    // Of several spans in one line the longest is named: the others are literals beside it.
    const span = starts.reduce<TokenSpan | undefined>((a, b) => (!a || b.count > a.count ? b : a), undefined);
    const at = p.tokens[span && rows > 1 ? span.start : row];
    return `  ${paint.ink((span?.label ?? "").padEnd(name), span?.stream ?? null)} ${paint.dim((at && rows <= 2 ? placeOf(at) : "").padStart(place))}  `;
  };
  const header = (wide: number, each: number): string[] => columnLabels(across, wide, each, wideAll, paint).map((l) => " ".repeat(left) + l);
  // The last names stand out over the last columns.
  const fits = (wide: number, each: number): boolean => Math.max(Math.ceil(wideAll / each) * wide, ...across.map((s) => Math.floor(s.start / each) * wide + s.label.length)) <= room;
  if (fits(2, 1)) {
    const rows = p.visible.map((row, i) => label(i, 1) + wideRow(row, p, paint) + suffix(p, i, paint));
    return { lines: [...header(2, 1), ...rows] };
  }
  if (fits(1, 1) && !paint.colour) return { lines: [...header(1, 1), ...p.visible.map((row, i) => label(i, 1) + row.replaceAll("1", "#").replaceAll("0", "."))] };
  if (fits(1, 1)) {
    const rows: string[] = [];
    for (let i = 0; i < n; i += 2) rows.push(label(i, 2) + halfRow(p.visible[i] ?? "", p.visible[i + 1] ?? "", p, paint));
    return { lines: [...header(1, 1), ...rows], note: "two rows a line" };
  }
  let wide = 2;
  while (!fits(1, wide) && wide < wideAll) wide++;
  const high = 2 * wide;
  const rows: string[] = [];
  for (let top = 0; top < n; top += high) rows.push(label(top, high) + blockRow(p, top, high, wide, paint));
  const [full, some, none] = paint.colour ? ["█", "▒", "blank"] : ["#", "+", "."];
  return { lines: [...header(1, wide), ...rows], note: `a character is ${high} rows by ${wide} columns: ${full} all visible, ${some} some, ${none} none` };
}

/** Cells of equal style in one piece, so that a line is short. */
function runs(n: number, styleOf: (i: number) => string, textOf: (i: number) => string, draw: (text: string, i: number) => string): string {
  let out = "";
  for (let i = 0; i < n; ) {
    let end = i + 1;
    let text = textOf(i);
    for (; end < n && styleOf(end) === styleOf(i); end++) text += textOf(end);
    out += draw(text, i);
    i = end;
  }
  return out;
}

function wideRow(row: string, p: MaskPicture, paint: Painter): string {
  if (!paint.colour) return [...row].map((c) => (c === "1" ? "# " : ". ")).join("").trimEnd();
  const stream = (i: number): string | null => keysOf(p)[i]?.stream ?? null;
  return runs(row.length, (i) => `${row[i] ?? ""}${stream(i) ?? ""}`, (i) => (row[i] === "1" ? "  " : "· "), (text, i) => (row[i] === "1" ? paint.fill(text, stream(i)) : paint.dim(text)));
}

function halfRow(upper: string, lower: string, p: MaskPicture, paint: Painter): string {
  const stream = (i: number): string | null => keysOf(p)[i]?.stream ?? null;
  const cell = (i: number): string => {
    const [a, b] = [upper[i] === "1", lower[i] === "1"];
    return a && b ? "█" : a ? "▀" : b ? "▄" : " ";
  };
  return runs(upper.length, (i) => stream(i) ?? "", cell, (text, i) => paint.ink(text, stream(i)));
}

function blockRow(p: MaskPicture, top: number, high: number, wide: number, paint: Painter): string {
  const rows = p.visible.slice(top, top + high);
  const n = keysOf(p).length;
  const stream = (i: number): string | null => keysOf(p)[i * wide]?.stream ?? null;
  const cell = (i: number): string => {
    const parts = rows.map((r) => r.slice(i * wide, (i + 1) * wide));
    if (parts.every((x) => !x.includes("0"))) return paint.colour ? "█" : "#";
    if (parts.some((x) => x.includes("1"))) return paint.colour ? "▒" : "+";
    return paint.colour ? " " : ".";
  };
  return runs(Math.ceil(n / wide), (i) => stream(i) ?? "", cell, (text, i) => paint.ink(text, stream(i)));
}

/** What the row's token holds of the attributes that this mask reads and the labels do not show; said where it changes. */
function suffix(p: MaskPicture, row: number, paint: Painter): string {
  const names = p.reads.filter((n) => !["pos", "doc", "span", "stream", "role", "task", "row", "col", "index"].includes(n));
  const text = (i: number): string => names.map((n) => `${n} ${p.tokens[i]?.attributes[n] ?? 0}`).join(", ");
  return names.length === 0 || (row > 0 && text(row) === text(row - 1)) ? "" : `  ${paint.dim(text(row))}`;
}

const LEVELS = 6;

/** Names above the columns where spans begin, in as many lines as keep them apart, and a line of their extents. */
function columnLabels(all: readonly TokenSpan[], wide: number, each: number, n: number, paint: Painter): string[] {
  const column = (token: number): number => Math.floor(token / each) * wide;
  // Where several begin in one column, the longest is named.
  const first = new Map<number, TokenSpan>();
  for (const s of all) if (s.count > (first.get(column(s.start))?.count ?? 0)) first.set(column(s.start), s);
  const spans = [...first.values()];
  const width = column(n - 1) + 1;
  const level = new Map<TokenSpan, number>();
  // From the right: a name goes into the lowest line where what stands right of it leaves room.
  const taken = Array.from({ length: LEVELS }, () => Infinity);
  for (const s of [...spans].reverse()) {
    const at = column(s.start);
    const free = taken.findIndex((t) => at + s.label.length < t);
    if (free < 0) continue;
    level.set(s, free);
    for (let l = 0; l <= free; l++) taken[l] = at;
  }
  const lines: string[] = [];
  for (let l = Math.max(-1, ...level.values()); l >= 0; l--) {
    let line = "";
    let length = 0;
    for (const s of spans) {
      const own = level.get(s);
      if (own === undefined || own < l) continue;
      const gap = column(s.start) - length;
      if (gap < 0) continue;
      const text = own === l ? s.label : "|";
      line += " ".repeat(gap) + (own === l ? paint.ink(text, s.stream) : paint.dim(text));
      length += gap + text.length;
    }
    lines.push(line);
  }
  let extent = "";
  for (const s of spans) {
    const from = column(s.start);
    if (from < extent.length) continue;
    const to = Math.min(width, column(s.start + s.count - 1) + 1);
    extent = `${extent.padEnd(from)}|${"-".repeat(Math.max(0, to - from - 1))}`;
  }
  return [...lines, paint.dim(extent)];
}
