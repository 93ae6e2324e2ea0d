// A RoutingReport as lines for a terminal: tokens are rows, experts columns, layers side by side where the line has room.
// In: the report, the width, and whether colour is welcome. Out: text. Plain text is ASCII.
// The first sample of every task is drawn; the table of layers beneath counts all samples.

import { STREAM } from "../mask/text.ts";
import type { ItemSpan, Panel } from "./panels.ts";
import { drawnSamples, heaviness, howText, itemsOf, layersText, levelsText, panelsOf, pathsText, percent, quoted, sourceText, streamsOf } from "./panels.ts";
import type { LayerReport, RoutedToken, RoutingReport, SampleReport } from "./report.ts";

export interface TextOptions {
  /** Characters of a line. */
  readonly columns: number;
  readonly colour: boolean;
}

/** Of a long sample, items longer than this show so many tokens from their start and end. */
const LONG = 160;
const ENDS = 8;
const BARS = 4;

export function routingText(report: RoutingReport, options: TextOptions): string {
  if (report.layers.length === 0) return `model ${report.model} routes nothing\n`;
  const paint = painter(report, options.colour);
  const parts = drawnSamples(report).map((s) => sampleText(report, s, options, paint));
  return `${[...parts, summary(report, options, paint)].join("\n\n")}\n`;
}

// ---------------------------------------------------------------- colour

interface Painter {
  readonly colour: boolean;
  bold(text: string): string;
  dim(text: string): string;
  ink(text: string, stream: string): string;
  readonly legend: readonly string[];
}

function painter(report: RoutingReport, colour: boolean): Painter {
  const streams = streamsOf(report.samples);
  const code = (s: string): number => STREAM[(streams.get(s) ?? 0) % STREAM.length] ?? 244;
  const style = (codes: string) => (text: string): string => (colour && text !== "" ? `\u001b[${codes}m${text}\u001b[0m` : text);
  return {
    colour, bold: style("1"), dim: style("2"), ink: (text, s) => style(`38;5;${code(s)}`)(text),
    legend: colour && streams.size > 1 ? [[...streams.keys()].map((s) => style(`38;5;${code(s)}`)(`■ ${s}`)).join(" ")] : [],
  };
}

// ---------------------------------------------------------------- one sample

function sampleText(report: RoutingReport, sample: SampleReport, options: TextOptions, paint: Painter): string {
  const panels = panelsOf(report, sample);
  const rows = rowsOf(sample.tokens);
  const labels = labelsOf(sample.tokens, paint);
  const room = Math.max(24, options.columns - labels.width);
  const levels = levelsText(sample);
  const out = [`${paint.bold(`${report.model}, task ${sample.task}`)}${levels === "" ? "" : `: ${levels}`}`];
  const drawn = panels.map((p) => gridOf(p, sample, room, paint));
  for (let i = 0; i < panels.length; ) {
    // As many panels as the line has room for.
    let wide = drawn[i]?.width ?? 0;
    let end = i + 1;
    for (; end < panels.length && wide + 3 + (drawn[end]?.width ?? 0) <= room; end++) wide += 3 + (drawn[end]?.width ?? 0);
    out.push("", ...blockText(drawn.slice(i, end), rows, labels, paint));
    i = end;
  }
  const even = panels.some((p) => !p.named && p.layers[0]?.choices !== 1);
  const marks = paint.colour ? "█ an even share of the token's weight or more, ▓ half of that, ░ less" : "# an even share of the token's weight or more, + half of that, - less";
  const legend = [...(even ? [marks] : []), ...(sample.tokens.some((t) => t.role === "predict") ? ["* is predicted"] : []), ...paint.legend];
  return [...out, "", ...(legend.length > 0 ? [`  ${legend.join("; ")}`] : [])].map((l) => l.trimEnd()).join("\n").trimEnd();
}

/** Numbers of the tokens shown, or how many are left out. */
type Row = { readonly token: number } | { readonly left: number };

function rowsOf(tokens: readonly RoutedToken[]): Row[] {
  return itemsOf(tokens).flatMap((s: ItemSpan): Row[] => {
    const all = Array.from({ length: s.count }, (_, i): Row => ({ token: s.start + i }));
    return tokens.length <= LONG || s.count <= 2 * ENDS + 2 ? all : [...all.slice(0, ENDS), { left: s.count - 2 * ENDS }, ...all.slice(-ENDS)];
  });
}

interface Labels {
  readonly width: number;
  of(token: number): string;
}

function labelsOf(tokens: readonly RoutedToken[], paint: Painter): Labels {
  const spans = itemsOf(tokens);
  const starts = new Map(spans.map((s) => [s.start, s.name]));
  const name = Math.max(0, ...spans.map((s) => s.name.length));
  const place = Math.max(0, ...tokens.map((t) => t.place.length));
  const said = Math.max(0, ...tokens.map((t) => quoted(t).length));
  return {
    width: 2 + name + 1 + place + (said > 0 ? 1 + said : 0) + 2,
    of(token) {
      const t = tokens[token];
      if (!t) return "";
      return `  ${paint.ink((starts.get(token) ?? "").padEnd(name), t.stream)} ${paint.dim(t.place.padStart(place))}${said > 0 ? ` ${quoted(t).padEnd(said)}` : ""}  `;
    },
  };
}

// ---------------------------------------------------------------- panels

interface Grid {
  readonly width: number;
  /** Title, path, then names of the experts: last lines stand right above the grid. */
  readonly head: readonly string[];
  row(token: number): string;
  readonly bars: readonly string[];
  readonly most: number;
}

function gridOf(p: Panel, sample: SampleReport, room: number, paint: Painter): Grid {
  const n = p.experts.length;
  const longest = Math.max(...p.experts.map((e) => e.length));
  const cell = p.named ? longest + 1 : 2 * n <= room ? 2 : 1;
  const wide = n * cell;
  const [first] = p.layers;
  const title = [layersText(p), pathsText(p.layers)];
  if (first) title.push(howText(first));
  const heavy = heaviness(p);
  if (wide > room) return listOf(p, title, room, paint, sample);
  const names = p.named ? [p.experts.map((e) => e.padEnd(cell)).join("")] : digits(n, cell);
  const most = Math.max(...p.load, 1);
  return {
    width: Math.max(wide, ...title.map((t) => t.length)), head: [...title, ...names], most,
    row: (token) => {
      const chosen = new Map((p.choices[token] ?? []).map((c) => [c.expert, heavy(token, c)]));
      const stream = sample.tokens[token]?.stream ?? "";
      const cells = p.experts.map((_, e) => {
        const h = chosen.get(e);
        const text = mark(h, paint.colour);
        const filled = paint.colour && h !== undefined && cell === 2 ? text.repeat(2) : text.padEnd(cell);
        return { text: filled, on: h !== undefined };
      });
      return cells.map((c) => (c.on ? paint.ink(c.text, stream) : paint.dim(c.text))).join("") + " ".repeat(Math.max(0, Math.max(...title.map((t) => t.length)) - wide));
    },
    bars: bars(p.load, most, cell, paint.colour),
  };
}

const mark = (h: number | undefined, colour: boolean): string => {
  if (h === undefined) return colour ? "·" : ".";
  // A weight that is rounded is no less than its share.
  const [much, some, little] = colour ? ["█", "▓", "░"] : ["#", "+", "-"];
  return (h >= 0.999 ? much : h >= 0.5 ? some : little) ?? "";
};

/** Numbers of experts written downwards. */
function digits(n: number, cell: number): string[] {
  const long = String(n - 1).length;
  return Array.from({ length: long }, (_, line) => Array.from({ length: n }, (__, e) => (String(e).padStart(long)[line] ?? " ").padEnd(cell)).join(""));
}

/** Loads as bars that stand on their experts, the tallest as high as all of them. */
function bars(load: readonly number[], most: number, cell: number, colour: boolean): string[] {
  const steps = colour ? "▁▂▃▄▅▆▇█" : "#";
  const units = BARS * steps.length;
  return Array.from({ length: BARS }, (_, line) => {
    const from = (BARS - 1 - line) * steps.length;
    return load.map((n) => {
      const high = Math.max(n > 0 ? 1 : 0, Math.round((n / most) * units)) - from;
      const c = high <= 0 ? " " : (steps[Math.min(high, steps.length) - 1] ?? "#");
      return (cell === 2 && colour ? c.repeat(2) : c).padEnd(cell);
    }).join("");
  });
}

/** Where experts are more than a line has places: each token's experts by number. */
function listOf(p: Panel, title: readonly string[], room: number, paint: Painter, sample: SampleReport): Grid {
  const most = Math.max(1, Math.floor(room / 10));
  const texts = p.choices.map((chosen) => `${chosen.slice(0, most).map((c) => `${c.expert} (${c.weight.toFixed(2)})`.padEnd(10)).join("")}${chosen.length > most ? `+${chosen.length - most}` : ""}`);
  const width = Math.max(...texts.map((t) => t.length), ...title.map((t) => t.length));
  return { width, head: [...title, "experts (weights)"], most: Math.max(...p.load, 1), row: (token) => paint.ink((texts[token] ?? "").padEnd(width), sample.tokens[token]?.stream ?? ""), bars: [] };
}

function blockText(grids: readonly Grid[], rows: readonly Row[], labels: Labels, paint: Painter): string[] {
  const gap = "   ";
  const left = " ".repeat(labels.width);
  const high = Math.max(...grids.map((g) => g.head.length));
  const side = (line: (g: Grid) => string): string => grids.map((g) => line(g).padEnd(g.width)).join(gap);
  const out: string[] = [];
  for (let i = 0; i < high; i++) {
    // Titles on top, names right above the columns.
    const text = side((g) => (i < 3 ? (g.head[i] ?? "") : (g.head[g.head.length - (high - i)] ?? "")));
    out.push(left + (i < 3 ? text : paint.dim(text)));
  }
  for (const r of rows) out.push("left" in r ? `${left}${paint.dim(`... ${r.left} more`)}` : labels.of(r.token) + grids.map((g) => g.row(r.token)).join(gap));
  if (grids.some((g) => g.bars.length > 0)) {
    const most = Math.max(...grids.map((g) => g.most));
    const alike = grids.every((g) => g.most === most);
    out.push("");
    for (let i = 0; i < BARS; i++) out.push(paint.dim((i === 0 && alike ? `${most} row${most === 1 ? "" : "s"}` : i === BARS - 1 ? "load" : "").padStart(labels.width - 2).padEnd(labels.width)) + side((g) => g.bars[i] ?? ""));
  }
  return out;
}

// ---------------------------------------------------------------- all layers

/** From an idle expert to the busiest. */
const RAMP = " .:-=+*#%@";

function summary(report: RoutingReport, options: TextOptions, paint: Painter): string {
  const dropped = report.layers.some((l) => l.dropped !== null);
  const nowhere = report.layers.some((l) => l.nowhere > 0);
  const head = ["layer", "path", "by", "rows", "max/mean", "evenness", "idle", ...(nowhere ? ["nowhere"] : []), ...(dropped ? ["dropped"] : []), "load"];
  const rows = report.layers.map((l) => [
    String(l.index), l.path, l.route, String(l.rows), l.maxOverMean.toFixed(2), percent(l.evenness), String(l.idle),
    ...(nowhere ? [String(l.nowhere)] : []), ...(dropped ? [l.dropped === null ? "" : percent(l.dropped)] : []), "",
  ]);
  const width = head.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? "").length)));
  const numbers = new Set(["rows", "max/mean", "evenness", "idle", "nowhere", "dropped"]);
  const line = (cells: readonly string[]): string => `  ${cells.map((c, i) => (numbers.has(head[i] ?? "") ? c.padStart(width[i] ?? 0) : c.padEnd(width[i] ?? 0))).join("  ")}`;
  const used = line(head).length - (width[width.length - 1] ?? 0);
  const loads = report.layers.map((l) => loadText(l, Math.max(16, options.columns - used)));
  return [
    `${paint.bold("all layers")}: ${sourceText(report).join("; ")}`, "", paint.dim(line(head).trimEnd()),
    ...rows.map((r, i) => line([...r.slice(0, -1), loads[i] ?? ""]).trimEnd()),
    ...(report.layers.some((l) => l.experts.length > 8 && l.dispatch !== "route") ? ["", `  load of each expert in order: blank is idle, then ${RAMP.trim()} up to the busiest`] : []),
  ].join("\n");
}

function loadText(l: LayerReport, room: number): string {
  if (l.rows === 0) return "nothing";
  const shares = l.load.map((n) => percent(n / l.rows));
  const named = l.experts.map((e, i) => `${e} ${shares[i] ?? ""}`).join(", ");
  if (l.dispatch === "route" && named.length <= room) return named;
  if (l.experts.length <= 8) return shares.map((s) => s.padStart(4)).join("").trimStart();
  const most = Math.max(...l.load);
  const ramp = l.load.map((n) => (n === 0 ? " " : (RAMP[Math.max(1, Math.round((n / most) * (RAMP.length - 1)))] ?? "@"))).join("");
  return `[${ramp.length > room - 2 ? `${ramp.slice(0, room - 5)}...` : ramp}]`;
}
