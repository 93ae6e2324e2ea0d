// A RoutingReport as a drawing: for the first sample of every task, its tokens by layer and expert; then the loads of all layers.
// In: a report. Out: the shapes that compiler/mask/svg.ts and the PNG of the command draw.
// Each panel: layers, names of experts, cells by stream and weight, loads stacked by stream with a line at the even load, and for
// each image its patches by their first expert.

import type { Drawing, Ink, Shape } from "../mask/drawing.ts";
import { GAP, inkOf, LETTER, LINE, long, MARGIN, text } from "../mask/drawing.ts";
import type { ItemSpan, Panel } from "./panels.ts";
import { drawnSamples, howText, itemsOf, layersText, levelsText, panelsOf, pathsText, percent, quoted, sourceText, streamsOf } from "./panels.ts";
import type { LayerReport, RoutingReport, SampleReport } from "./report.ts";

/** Cells are this large, or smaller so that a long sample stays a page. */
const CELL = 12;
const LEAST = 3;
const PAGE = 960;
const HIGH = 1400;
const BARS = 44;
const EXPERTS = 12;

export function routingDrawing(report: RoutingReport): Drawing {
  const shapes: Shape[] = [];
  const streams = streamsOf(report.samples);
  let y = MARGIN;
  let width = 300;
  const title = `Routing of ${report.model}`;
  if (report.layers.length === 0) {
    shapes.push(text(MARGIN, y + LINE, `model ${report.model} routes nothing`));
    return finish(title, shapes, 360, y + 2 * LINE);
  }
  for (const s of drawnSamples(report)) {
    const block = sampleBlock(report, s, streams, y);
    shapes.push(...block.shapes);
    width = Math.max(width, block.right);
    y = block.bottom + GAP;
  }
  const table = layersBlock(report, streams, y);
  shapes.push(...table.shapes);
  return finish(title, shapes, Math.max(width, table.right), table.bottom);
}

const finish = (title: string, shapes: readonly Shape[], right: number, bottom: number): Drawing =>
  ({ width: right + MARGIN, height: bottom + MARGIN, title, shapes: [{ kind: "rect", x: 0, y: 0, w: right + MARGIN, h: bottom + MARGIN, ink: "ground" }, ...shapes] });

interface Block {
  readonly shapes: Shape[];
  readonly right: number;
  readonly bottom: number;
}

type Streams = ReadonlyMap<string, number>;

// ---------------------------------------------------------------- one sample

function sampleBlock(report: RoutingReport, sample: SampleReport, streams: Streams, top: number): Block {
  const shapes: Shape[] = [];
  const title = `${report.model}, task ${sample.task}`;
  let y = top + 2 * LETTER + 4;
  shapes.push(text(MARGIN, y, title, { size: 2 }));
  const about = [...sourceText(report), ...[levelsText(sample)].filter((l) => l !== "")];
  for (const line of about) shapes.push(text(MARGIN, (y += LINE + (line === about[0] ? 4 : 0)), line, { ink: "faint" }));
  let right = Math.max(MARGIN + 2 * long(title), ...about.map((l) => MARGIN + long(l)));
  y += LINE;
  const cell = Math.max(LEAST, Math.min(CELL, Math.floor(HIGH / Math.max(1, sample.tokens.length))));
  const rows = rowLabels(sample, streams, cell);
  const panels = panelsOf(report, sample).map((p) => ({ p, size: sizeOf(p, sample, cell) }));
  for (let i = 0; i < panels.length; ) {
    let [x, end] = [MARGIN + rows.width, i];
    const line: { p: Panel; size: PanelSize; x: number }[] = [];
    for (; end < panels.length; end++) {
      const next = panels[end];
      if (!next || (line.length > 0 && x + next.size.width > PAGE)) break;
      line.push({ ...next, x });
      x += next.size.width + 24;
    }
    const head = Math.max(...line.map((l) => l.size.head));
    const gridTop = y + head;
    shapes.push(...rows.draw(gridTop));
    let bottom = gridTop;
    for (const l of line) {
      const drawn = panelBlock(l.p, sample, streams, l.x, gridTop, cell, l.size);
      shapes.push(...drawn.shapes);
      right = Math.max(right, drawn.right);
      bottom = Math.max(bottom, drawn.bottom);
    }
    y = bottom + LINE + 8;
    i = end;
  }
  const legend = legendOf(sample, streams, panelsOf(report, sample).some((p) => !p.named), y);
  shapes.push(...legend.shapes);
  return { shapes, right: Math.max(right, legend.right), bottom: y };
}

/** Spans bracketed and named, with places and texts where the cells are as high as letters. */
function rowLabels(sample: SampleReport, streams: Streams, cell: number): { width: number; draw(top: number): Shape[] } {
  const spans = itemsOf(sample.tokens);
  const fine = cell >= 10;
  const names = Math.max(...spans.map((s) => long(s.name)));
  const said = fine ? Math.max(0, ...sample.tokens.map((t) => long(quoted(t, 14)))) : 0;
  const places = fine ? Math.max(0, ...sample.tokens.map((t) => long(t.place))) : 0;
  const bracket = MARGIN + names + 6;
  const width = names + 6 + 3 + (places > 0 ? places + 6 : 0) + (said > 0 ? said + 6 : 0) + 8;
  return {
    width,
    draw(top) {
      const out: Shape[] = [];
      let free = -Infinity;
      for (const s of spans) {
        out.push({ kind: "rect", x: bracket, y: top + s.start * cell, w: 3, h: Math.max(1, s.count * cell - (cell >= 6 ? 1 : 0)), ink: inkOf(streams, s.stream) });
        const middle = top + Math.round((s.start + s.count / 2) * cell);
        if (middle - free < 9) continue;
        free = middle;
        out.push(text(MARGIN + names, middle + 4, s.name, { end: true }));
      }
      if (!fine) return out;
      sample.tokens.forEach((t, i) => {
        const y = top + i * cell + cell - 2;
        if (t.place !== "") out.push(text(bracket + 9 + places, y, t.place, { end: true, ink: "faint" }));
        const q = quoted(t, 14);
        if (q !== "") out.push(text(bracket + 9 + (places > 0 ? places + 6 : 0), y, q));
      });
      return out;
    },
  };
}

interface PanelSize {
  readonly width: number;
  /** Height of what stands above the grid. */
  readonly head: number;
  readonly column: number;
  readonly titles: readonly string[];
}

/** Columns are as wide as rows are high, or narrower where experts are many. */
function sizeOf(p: Panel, sample: SampleReport, cell: number): PanelSize {
  const n = p.experts.length;
  const titles = [layersText(p), pathsText(p.layers), ...(p.layers[0] ? [howText(p.layers[0])] : [])];
  const column = p.named ? Math.max(cell, CELL) : Math.max(LEAST, Math.min(Math.max(cell, CELL), Math.floor((PAGE - 160) / n)));
  const names = p.named ? Math.max(...p.experts.map(long)) + 6 : LINE;
  const maps = p.named ? [] : gridsOf(sample).map((g) => g.cols * mapCell(g.cols) + 8);
  return { column, titles, head: titles.length * LINE + names, width: Math.max(n * column, ...titles.map(long), maps.reduce((a, b) => a + b, 0)) };
}

function panelBlock(p: Panel, sample: SampleReport, streams: Streams, left: number, top: number, cell: number, size: PanelSize): Block {
  const shapes: Shape[] = [];
  const { column, titles, head } = size;
  const n = p.experts.length;
  titles.forEach((t, i) => shapes.push(text(left, top - head + (i + 1) * LINE - 2, t, i === 0 ? {} : { ink: "faint" })));
  shapes.push(...expertNames(p, left, top, column));
  const high = sample.tokens.length * cell;
  shapes.push({ kind: "rect", x: left, y: top, w: n * column, h: high, ink: "panel" });
  const heaviest = Math.max(1e-9, ...p.choices.flat().map((c) => c.weight));
  const [gapX, gapY] = [column >= 6 ? 1 : 0, cell >= 6 ? 1 : 0];
  p.choices.forEach((chosen, t) => {
    const ink = inkOf(streams, sample.tokens[t]?.stream ?? null);
    for (const c of chosen) {
      const cover = p.named ? undefined : Math.round(20 * (0.15 + 0.85 * Math.min(1, c.weight / heaviest))) / 20;
      if (cover !== undefined && c.weight < heaviest / 200) continue;
      shapes.push({ kind: "rect", x: left + c.expert * column, y: top + t * cell, w: column - gapX, h: cell - gapY, ink, ...(cover === undefined || cover >= 1 ? {} : { cover }) });
    }
  });
  let bottom = top + high;
  shapes.push(...bars(p, streams, left, bottom + 8, column));
  bottom += 8 + BARS;
  if (!p.named) {
    const maps = patchMaps(p, sample, left, bottom + 8);
    shapes.push(...maps.shapes);
    bottom = maps.bottom;
  }
  return { shapes, right: left + size.width, bottom };
}

/** Names of branches turned; numbers of experts level, as many as have room. */
function expertNames(p: Panel, left: number, top: number, column: number): Shape[] {
  if (p.named) return p.experts.map((e, i) => text(left + i * column + Math.round(column / 2) + 4, top - 5, e, { turned: true }));
  const wide = long(p.experts[p.experts.length - 1] ?? "");
  const step = Math.max(1, Math.ceil((wide + 2) / column));
  const every = step === 1 ? 1 : ([2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100].find((s) => s >= step) ?? step);
  return p.experts.flatMap((e, i) => (i % every === 0 ? [text(left + i * column + Math.max(0, Math.round((column - long(e)) / 2)), top - 4, e, { ink: "faint" })] : []));
}

/** Rows by expert, stacked by stream, and a line where every expert would stand if all had the same. */
function bars(p: Panel, streams: Streams, left: number, top: number, column: number): Shape[] {
  const out: Shape[] = [];
  const most = Math.max(1, ...p.load);
  p.load.forEach((_, e) => {
    let [sum, from] = [0, 0];
    for (const [stream, own] of p.loadByStream) {
      sum += own[e] ?? 0;
      const to = Math.round((BARS * sum) / most);
      if (to > from) out.push({ kind: "rect", x: left + e * column, y: top + BARS - to, w: column - (column >= 6 ? 1 : 0), h: to - from, ink: inkOf(streams, stream) });
      from = to;
    }
  });
  const even = p.load.reduce((a, b) => a + b, 0) / p.load.length;
  out.push({ kind: "rect", x: left, y: top + BARS, w: p.load.length * column, h: 1, ink: "tile" });
  if (even > 0 && !p.named) out.push({ kind: "rect", x: left - 2, y: top + BARS - Math.round((BARS * even) / most), w: p.load.length * column + 4, h: 1, ink: "text" });
  return out;
}

// ---------------------------------------------------------------- patches by expert

interface PatchGrid {
  readonly span: ItemSpan;
  readonly rows: number;
  readonly cols: number;
}

function gridsOf(sample: SampleReport): PatchGrid[] {
  return itemsOf(sample.tokens).flatMap((span): PatchGrid[] => {
    const places = sample.tokens.slice(span.start, span.start + span.count).flatMap((t) => (t.at ? [t.at] : []));
    if (places.length < 2) return [];
    return [{ span, rows: Math.max(...places.map((a) => a.row)) + 1, cols: Math.max(...places.map((a) => a.col)) + 1 }];
  });
}

const mapCell = (cols: number): number => Math.max(2, Math.min(14, Math.floor(112 / cols)));

/** Each image once more as its patches lie, in the colours of their first experts. */
function patchMaps(p: Panel, sample: SampleReport, left: number, top: number): { shapes: Shape[]; bottom: number } {
  const shapes: Shape[] = [];
  let x = left;
  let bottom = top - 8;
  for (const g of gridsOf(sample)) {
    const cell = mapCell(g.cols);
    shapes.push(text(x, top + 10, g.span.name, { ink: "faint" }));
    for (let i = g.span.start; i < g.span.start + g.span.count; i++) {
      const [at, first] = [sample.tokens[i]?.at, p.choices[i]?.[0]];
      if (!at || !first) continue;
      const [px, py] = [x + at.col * cell, top + 14 + at.row * cell];
      shapes.push({ kind: "rect", x: px, y: py, w: cell - (cell >= 6 ? 1 : 0), h: cell - (cell >= 6 ? 1 : 0), ink: expertInk(first.expert), ...(first.expert >= EXPERTS ? { cover: 0.5 } : {}) });
      const name = p.experts[first.expert] ?? "";
      if (cell >= 12 && name.length <= 2) shapes.push(text(px + Math.floor((cell - long(name)) / 2), py + cell - 4, name));
    }
    x += Math.max(g.cols * cell, long(g.span.name)) + 8;
    bottom = Math.max(bottom, top + 14 + g.rows * cell);
  }
  return { shapes, bottom };
}

const expertInk = (e: number): Ink => `expert${(e % EXPERTS) as 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11}`;

function legendOf(sample: SampleReport, streams: Streams, weights: boolean, y: number): { shapes: Shape[]; right: number } {
  const shapes: Shape[] = [];
  let x = MARGIN;
  const box = (ink: Ink, cover?: number): void => {
    shapes.push({ kind: "rect", x, y: y - 8, w: 9, h: 9, ink, ...(cover === undefined ? {} : { cover }) });
    x += 10;
  };
  const say = (label: string): void => {
    shapes.push(text(x, y, label, { ink: "faint" }));
    x += long(label) + 14;
  };
  const own = new Set(sample.tokens.map((t) => t.stream));
  for (const s of streams.keys()) {
    if (!own.has(s)) continue;
    box(inkOf(streams, s));
    x += 3;
    say(s);
  }
  if (weights) {
    for (const c of [0.25, 0.5, 0.75]) box("stream0", c);
    box("stream0");
    x += 3;
    say("weight, up to the largest");
    shapes.push({ kind: "rect", x, y: y - 4, w: 12, h: 1, ink: "text" });
    x += 16;
    say("even load");
  }
  if (sample.tokens.some((t) => t.role === "predict")) say("* predicted");
  return { shapes, right: x };
}

// ---------------------------------------------------------------- all layers

/** A line a layer: its load by expert as shades, and how even it is. */
function layersBlock(report: RoutingReport, streams: Streams, top: number): Block {
  const shapes: Shape[] = [];
  const title = "load of all layers";
  let y = top + 2 * LETTER + 4;
  shapes.push(text(MARGIN, y, title, { size: 2 }));
  y += LINE + 10;
  const [dropped, nowhere] = [report.layers.some((l) => l.dropped !== null), report.layers.some((l) => l.nowhere > 0)];
  const cells = (l: LayerReport): string[] => [l.maxOverMean.toFixed(2), percent(l.evenness), String(l.idle), ...(nowhere ? [String(l.nowhere)] : []), ...(dropped ? [l.dropped === null ? "" : percent(l.dropped)] : [])];
  const heads = ["max/mean", "evenness", "idle", ...(nowhere ? ["nowhere"] : []), ...(dropped ? ["dropped"] : [])];
  const names = report.layers.map((l) => `${String(l.index).padStart(2)} ${l.path}`);
  const most = Math.max(...report.layers.map((l) => l.experts.length));
  const column = Math.max(2, Math.min(16, Math.floor(480 / most)));
  const left = MARGIN + Math.max(...names.map(long)) + 10;
  const wide = most * column;
  let x = left + wide + 16;
  const places = heads.map((h) => (x += long(h)) && (x += 14) - 14);
  heads.forEach((h, i) => shapes.push(text(places[i] ?? 0, y, h, { end: true, ink: "faint" })));
  y += 6;
  report.layers.forEach((l, i) => {
    shapes.push(text(MARGIN, y + 11, names[i] ?? ""));
    const busiest = Math.max(1, ...l.load);
    shapes.push({ kind: "rect", x: left, y, w: l.experts.length * column, h: 14, ink: "panel" });
    l.load.forEach((n, e) => {
      const cover = Math.round((20 * n) / busiest) / 20;
      if (n > 0) shapes.push({ kind: "rect", x: left + e * column, y, w: column - (column >= 6 ? 1 : 0), h: 14, ink: "text", cover: Math.max(0.05, Math.min(0.9, cover)) });
    });
    cells(l).forEach((c, k) => shapes.push(text(places[k] ?? 0, y + 11, c, { end: true })));
    y += 17;
  });
  y += 16;
  const note = "darker is busier, against the busiest expert of the layer";
  shapes.push(text(MARGIN, y, note, { ink: "faint" }));
  return { shapes, right: Math.max(x, MARGIN + long(note), MARGIN + 2 * long(title)), bottom: y };
}
