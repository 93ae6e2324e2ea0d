// In: the text of one file. Out: a Source that turns offsets into lines and columns, and Spans that point into it.
// Offsets are UTF-16 code units, as in JavaScript strings; columns count code points, as a reader does.
// Spans hold the path and no text, so they can be copied and compared freely.

/** One file of Heddle text. */
export interface Source {
  readonly path: string;
  readonly text: string;
  /** Offset of the first character of every line; the first entry is 0. */
  readonly lineStarts: readonly number[];
}

/** A stretch of a source: `start` is inside, `end` is the first offset after it. */
export interface Span {
  readonly source: string;
  readonly start: number;
  readonly end: number;
}

/** A place as a reader counts it: both numbers start at 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Reads the line starts of a text. `\r\n`, `\n` and a lone `\r` each end a line. */
export function makeSource(path: string, text: string): Source {
  const lineStarts = [0];
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) lineStarts.push(i + 1);
  }
  return { path, text, lineStarts };
}

export function span(source: string, start: number, end: number): Span {
  return { source, start, end };
}

/** The smallest span that holds both; they must be of one source. */
export function joinSpans(a: Span, b: Span): Span {
  return { source: a.source, start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/** Line and column of an offset; an offset outside the text is moved to its nearest end. */
export function placeAt(source: Source, offset: number): Place {
  const at = Math.max(0, Math.min(offset, source.text.length));
  const line = lineIndexAt(source, at);
  const start = source.lineStarts[line] ?? 0;
  return { line: line + 1, column: countCodePoints(source.text, start, at) + 1 };
}

/** Offset of a place; the inverse of `placeAt` for places inside the text. */
export function offsetAt(source: Source, place: Place): number {
  const start = source.lineStarts[place.line - 1];
  if (start === undefined) return source.text.length;
  let at = start;
  for (let n = 1; n < place.column && at < source.text.length; n++) {
    at += (source.text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  }
  return at;
}

/** The text of one line, counted from 1, without its line end. */
export function lineText(source: Source, line: number): string {
  const start = source.lineStarts[line - 1];
  if (start === undefined) return "";
  const end = source.lineStarts[line] ?? source.text.length;
  return source.text.slice(start, end).replace(/[\r\n]+$/, "");
}

/** The text under a span. */
export function textOf(source: Source, at: Span): string {
  return source.text.slice(at.start, at.end);
}

function lineIndexAt(source: Source, offset: number): number {
  let low = 0;
  let high = source.lineStarts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((source.lineStarts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function countCodePoints(text: string, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; count++) i += (text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1;
  return count;
}
