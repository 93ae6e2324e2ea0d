// In: diagnostics and a way to get the sources they point into. Out: text for a terminal, in the manner of rustc and ariadne.
// Every label is shown at its line, the file of the primary one first; `^` marks what is at fault, `-` what belongs to it.
// Colour is on where the terminal has it and NO_COLOR is not set, unless the options say otherwise.

import pc from "picocolors";
import { primarySpan } from "../../grammar/diagnostic.ts";
import type { Diagnostic, Label } from "../../grammar/diagnostic.ts";
import type { Severity } from "../../grammar/codes.ts";
import { lineText, placeAt } from "../../grammar/source.ts";
import type { Source } from "../../grammar/source.ts";

/** Finds a source by the path its spans carry. */
export type Sources = (path: string) => Source | undefined;

export interface RenderOptions {
  /** Left out: picocolors decides from the terminal and the environment. */
  readonly color?: boolean;
}

/** A lookup over sources that are all at hand. */
export function sourcesOf(all: Iterable<Source>): Sources {
  const byPath = new Map<string, Source>();
  for (const source of all) byPath.set(source.path, source);
  return (path) => byPath.get(path);
}

/** All diagnostics, a blank line between two, and a count at the end; the empty text for none. */
export function renderAll(all: readonly Diagnostic[], sources: Sources, options: RenderOptions = {}): string {
  if (all.length === 0) return "";
  const blocks = all.map((d) => render(d, sources, options));
  return `${blocks.join("\n")}\n${summary(all)}\n`;
}

/** `2 errors, 1 warning` */
export function summary(all: readonly Diagnostic[]): string {
  const order: readonly Severity[] = ["bug", "error", "warning", "note"];
  const parts = order.flatMap((severity) => {
    const n = all.filter((d) => d.severity === severity).length;
    return n === 0 ? [] : [`${n} ${severity}${n === 1 ? "" : "s"}`];
  });
  return parts.join(", ");
}

/** One diagnostic, with a line end after its last line. */
export function render(d: Diagnostic, sources: Sources, options: RenderOptions = {}): string {
  const colors = pc.createColors(options.color ?? pc.isColorSupported);
  const accent = accentOf(colors, d.severity);
  const gutter = gutterWidth(d, sources);
  const bar = colors.blue(`${" ".repeat(gutter)} |`);
  const lines = [`${accent(colors.bold(`${d.severity}[${d.code}]`))}${colors.bold(`: ${d.message}`)}`];

  filesOf(d).forEach(([path, labels], n) => {
    const source = sources(path);
    const first = labels.find((label) => label.primary) ?? labels[0];
    const place = source === undefined || first === undefined ? "" : placeText(source, first);
    lines.push(`${" ".repeat(gutter)}${colors.blue(n === 0 ? "-->" : ":::")} ${path}${place}`);
    if (source !== undefined) lines.push(bar, ...excerpt(source, labels, gutter, colors, accent));
  });

  const remarks: [string, string][] = d.notes.map((note) => ["note", note]);
  if (d.help !== undefined) remarks.push(["help", d.help]);
  else for (const fix of d.fixes) remarks.push(["help", fix.title]);
  if (d.severity === "bug") remarks.push(["note", "this is a mistake in the compiler, not in your file; please report it"]);
  for (const [word, text] of remarks) {
    const lead = `${" ".repeat(gutter)} ${colors.blue("=")} ${colors.bold(word)}: `;
    lines.push(lead + text.replaceAll("\n", `\n${" ".repeat(gutter + 5 + word.length)}`));
  }
  return `${lines.join("\n")}\n`;
}

type Colors = ReturnType<typeof pc.createColors>;
type Paint = (text: string) => string;

function accentOf(colors: Colors, severity: Severity): Paint {
  switch (severity) {
    case "bug":
      return colors.magenta;
    case "error":
      return colors.red;
    case "warning":
      return colors.yellow;
    case "note":
      return colors.cyan;
  }
}

/** Labels by file: the file of the primary label first, the others in the order they are named. */
function filesOf(d: Diagnostic): [string, Label[]][] {
  const byPath = new Map<string, Label[]>();
  const primary = primarySpan(d);
  if (primary !== null) byPath.set(primary.source, []);
  for (const label of d.labels) {
    const found = byPath.get(label.span.source);
    if (found === undefined) byPath.set(label.span.source, [label]);
    else found.push(label);
  }
  return [...byPath];
}

function gutterWidth(d: Diagnostic, sources: Sources): number {
  let widest = 1;
  for (const label of d.labels) {
    const source = sources(label.span.source);
    if (source !== undefined) widest = Math.max(widest, String(placeAt(source, label.span.start).line).length);
  }
  return widest;
}

function placeText(source: Source, label: Label): string {
  const place = placeAt(source, label.span.start);
  return `:${place.line}:${place.column}`;
}

function excerpt(source: Source, labels: readonly Label[], gutter: number, colors: Colors, accent: Paint): string[] {
  const byLine = new Map<number, Label[]>();
  for (const label of labels) {
    const line = placeAt(source, label.span.start).line;
    byLine.set(line, [...(byLine.get(line) ?? []), label]);
  }
  const numbers = [...byLine.keys()].sort((a, b) => a - b);
  const out: string[] = [];
  numbers.forEach((number, n) => {
    const previous = numbers[n - 1];
    if (previous !== undefined && number === previous + 2) out.push(codeLine(source, number - 1, gutter, colors));
    else if (previous !== undefined && number > previous + 2) out.push(colors.blue(`${" ".repeat(Math.max(0, gutter - 2))}...`));
    out.push(codeLine(source, number, gutter, colors));
    const bar = colors.blue(`${" ".repeat(gutter)} |`);
    for (const row of markRows(source, number, byLine.get(number) ?? [], colors, accent)) out.push(`${bar} ${row}`);
  });
  return out;
}

function codeLine(source: Source, number: number, gutter: number, colors: Colors): string {
  const text = shown(lineText(source, number)).trimEnd();
  return `${colors.blue(`${String(number).padStart(gutter)} |`)}${text === "" ? "" : ` ${text}`}`;
}

interface Mark {
  readonly from: number;
  readonly to: number;
  readonly label: Label;
}

/** One row of marks with the text of the last, then a row for each other text, from right to left. */
function markRows(source: Source, line: number, labels: readonly Label[], colors: Colors, accent: Paint): string[] {
  const text = lineText(source, line);
  const start = source.lineStarts[line - 1] ?? 0;
  const column = (offset: number): number => width(text.slice(0, Math.max(0, Math.min(offset - start, text.length))));
  const marks = labels.map((label): Mark => {
    const from = column(label.span.start);
    return { from, to: Math.max(from + 1, column(label.span.end)), label };
  }).sort((a, b) => a.from - b.from || b.to - a.to);

  const paint = (mark: Mark): Paint => (mark.label.primary ? accent : colors.blue);
  const last = marks[marks.length - 1];
  if (last === undefined) return [];
  const inline = marks.every((mark) => mark === last || mark.to <= last.from);
  const under = marks.filter((mark) => mark.label.text !== "" && !(inline && mark === last)).reverse();
  const rows = inline && last.label.text !== ""
    ? hanging(`${markRow(marks, paint)} `, last.label.text, last.to + 1, paint(last))
    : [markRow(marks, paint)];
  under.forEach((mark, n) => {
    const waiting = under.slice(n + 1);
    const tails = [...waiting].reverse().map((other) => ({ from: other.from, to: other.from + 1, label: other.label }));
    const shownTails = tails.filter((tail, i) => tail.from < mark.from && tails.findIndex((other) => other.from === tail.from) === i);
    const lead = row(shownTails.map((tail) => ({ at: tail.from, text: "|", paint: paint(tail) })), mark.from);
    rows.push(...hanging(lead, mark.label.text, mark.from, paint(mark)));
  });
  return rows;
}

/** `^^^^  ---`; where two marks overlap, the primary one wins. */
function markRow(marks: readonly Mark[], paint: (mark: Mark) => Paint): string {
  const cells: (Mark | undefined)[] = [];
  for (const mark of [...marks].sort((a, b) => Number(a.label.primary) - Number(b.label.primary))) {
    for (let at = mark.from; at < mark.to; at++) cells[at] = mark;
  }
  let text = "";
  for (let at = 0; at < cells.length; ) {
    const mark = cells[at];
    let end = at + 1;
    while (end < cells.length && cells[end] === mark) end++;
    text += mark === undefined ? " ".repeat(end - at) : paint(mark)((mark.label.primary ? "^" : "-").repeat(end - at));
    at = end;
  }
  return text;
}

function row(parts: readonly { readonly at: number; readonly text: string; readonly paint: Paint }[], until: number): string {
  let text = "";
  let at = 0;
  for (const part of parts) {
    text += " ".repeat(part.at - at) + part.paint(part.text);
    at = part.at + part.text.length;
  }
  return text + " ".repeat(Math.max(0, until - at));
}

/** A text of several lines keeps its later lines under its first. */
function hanging(lead: string, text: string, column: number, paint: Paint): string[] {
  return text.split("\n").map((part, n) => (n === 0 ? lead : " ".repeat(column)) + paint(part));
}

function shown(text: string): string {
  return text.replaceAll("\t", "    ").replace(/[\u0000-\u001f]/g, " ");
}

/** Columns a text takes in a terminal: wide letters take two, combining marks none. */
function width(text: string): number {
  let columns = 0;
  for (const character of shown(text)) {
    if (/\p{Mark}/u.test(character)) continue;
    columns += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f9ff}]/u.test(character) ? 2 : 1;
  }
  return columns;
}
