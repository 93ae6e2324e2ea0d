// Routing drawn: for terminals of any width, and as SVG and PNG whose shapes are counted against the report.

import { decode } from "fast-png";
import { describe, expect, test } from "vitest";
import { drawingPng } from "../../cli/show/mask_png.ts";
import { drawingSvg } from "../../compiler/mask/svg.ts";
import { routingDrawing } from "../../compiler/routing/drawing.ts";
import { pathsText } from "../../compiler/routing/panels.ts";
import type { RoutingReport } from "../../compiler/routing/report.ts";
import { routingReport } from "../../compiler/routing/report.ts";
import { routingText } from "../../compiler/routing/text.ts";
import { madeUp, route, router } from "./made_up.ts";

const many = [route("body[0].attn", ["understand", "generate"]), router("body[0].ffn", 8), route("body[1].attn", ["understand", "generate"]), router("body[1].ffn", 8)];
const nothing: RoutingReport = routingReport("m", [], [], { weights: { kind: "none" }, data: { kind: "example" } });
const plain = (s: string): string => s.replace(/\u001b\[[\d;]*m/g, "");

describe("in a terminal", () => {
  test("plain text is ASCII, one line a token, with a mark at each of its experts", () => {
    const { report, samples } = madeUp([router("body[0].ffn", 8)], 5, 2);
    const text = routingText(report, { columns: 100, colour: false });
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
    const lines = text.split("\n").filter((l) => l.includes(".") && /(?:[#+\-.] ){7}[#+\-.]$/.test(l));
    expect(lines.length).toBe(samples[0]?.tokens.length);
    lines.forEach((line, t) => {
      const marks = line.slice(-15).split(" ");
      const chosen = samples[0]?.choices[0]?.[t] ?? [];
      expect(marks.flatMap((m, e) => (m === "." ? [] : [e]))).toEqual(chosen.map((c) => c.expert).sort((a, b) => a - b));
      // The mean of the weights is the even share.
      for (const c of chosen) expect(marks[c.expert]).toBe(c.weight >= 0.5 ? "#" : c.weight >= 0.25 ? "+" : "-");
    });
    expect(text).toContain("demo, task draw: picture at noise level 0.43");
    expect(text).toContain("fresh from seed 0, nothing is learned yet");
  });

  test.each([40, 64, 100, 200])("fits %i columns with 2 to 300 experts", (columns) => {
    for (const experts of [2, 8, 31, 64, 128, 300]) {
      const { report } = madeUp([router("body[0].ffn", experts), router("body[1].ffn", experts), route("body[1].attn", ["understand", "generate"])], 4, 2, 3);
      const [left, right] = plain(routingText(report, { columns, colour: true })).split("all layers");
      const grid = (left ?? "").split("\n").filter((l) => !l.includes("; "));
      const room = Math.max(columns, 44);
      for (const line of grid) expect(line.trimEnd().length, line).toBeLessThanOrEqual(room);
      expect(right).toContain(`body[1].ffn`);
    }
  });

  test("layers that send every token the same way are one panel", () => {
    const { report } = madeUp(many, 3, 2);
    const text = routingText(report, { columns: 160, colour: false });
    expect(text.match(/layers? [\d, -]+/g)?.map((s) => s.trim()).slice(0, 3)).toEqual(["layers 0, 2", "layer 1", "layer 3"]);
    expect(text).toContain("body[0..1].attn");
    expect(text).toContain("understand 56%, generate 44%");
  });

  test("long items are shortened, and say by how much", () => {
    const { report } = madeUp([router("ffn", 4)], 300, 8);
    const text = routingText(report, { columns: 100, colour: false });
    expect(text).toContain("... 284 more");
    expect(text).toContain("... 48 more");
    expect(text.split("\n").length).toBeLessThan(80);
  });

  test("a model that routes nothing says so", () => expect(routingText(nothing, { columns: 80, colour: false })).toBe("model m routes nothing\n"));
});

test("paths that differ in a number are written as one", () => {
  expect(pathsText([{ path: "body[0].ffn" }, { path: "body[1].ffn" }, { path: "body[2].ffn" }, { path: "body[7].ffn" }])).toBe("body[0..2,7].ffn");
  expect(pathsText([{ path: "body[0].ffn" }, { path: "body[1].attn" }])).toBe("body[0].ffn and 1 more");
  expect(pathsText([{ path: "head.text" }])).toBe("head.text");
});

describe("as a drawing", () => {
  test.each([[4, 8, 3], [60, 64, 12], [3, 300, 2], [900, 2, 20]])("of %i words, %i experts and a picture of side %i keeps to its page", (text, experts, side) => {
    const drawing = routingDrawing(madeUp([...many, router("body[2].ffn", experts)], text, side, 2).report);
    expect(drawing.width).toBeLessThanOrEqual(1400);
    for (const s of drawing.shapes) {
      const right = s.kind === "rect" ? s.x + s.w : s.turned || s.end ? s.x : s.x + s.text.length * 6 * s.size;
      expect(s.x).toBeGreaterThanOrEqual(0);
      expect(right).toBeLessThanOrEqual(drawing.width);
      expect(s.y).toBeGreaterThanOrEqual(0);
      expect(s.kind === "rect" ? s.y + s.h : s.y).toBeLessThanOrEqual(drawing.height);
      if (s.kind === "rect") for (const n of [s.x, s.y, s.w, s.h]) expect(Number.isInteger(n)).toBe(true);
    }
  });

  test("has a cell for each choice, more covered where the weight is larger", () => {
    const { report, samples } = madeUp([router("ffn", 8)], 6, 2);
    const cells = routingDrawing(report).shapes.flatMap((s) => (s.kind === "rect" && s.w === 11 && s.h === 11 && s.ink.startsWith("stream") ? [s] : []));
    const chosen = (samples[0]?.choices[0] ?? []).flatMap((c) => [...c].sort((a, b) => b.weight - a.weight));
    expect(cells.length).toBe(chosen.length);
    const cover = cells.map((c) => c.cover ?? 1);
    for (let i = 0; i < cells.length; i++) for (let j = 0; j < cells.length; j++) if ((chosen[i]?.weight ?? 0) > (chosen[j]?.weight ?? 0) + 0.06) expect(cover[i]).toBeGreaterThanOrEqual(cover[j] ?? 0);
    expect(Math.max(...cover)).toBe(1);
  });

  test("stacks of loads are as high as the loads", () => {
    const { report } = madeUp([router("ffn", 8)], 12, 3);
    const load = report.layers[0]?.load ?? [];
    const cells = report.samples[0]?.layers[0]?.choices.flat().length;
    const bars = routingDrawing(report).shapes.flatMap((s) => (s.kind === "rect" && s.w === 11 && s.ink.startsWith("stream") ? [s] : [])).slice(cells);
    const columns = [...new Set(bars.map((b) => b.x))].sort((a, b) => a - b);
    expect(columns.length).toBe(load.filter((n) => n > 0).length);
    const high = columns.map((x) => bars.filter((b) => b.x === x).reduce((n, b) => n + b.h, 0));
    const busy = load.filter((n) => n > 0);
    high.forEach((h, i) => expect(Math.abs(h - (44 * (busy[i] ?? 0)) / Math.max(...load))).toBeLessThanOrEqual(1));
  });

  test("patches have the colour of their first expert", () => {
    const { report, samples } = madeUp([router("ffn", 8)], 2, 4);
    const patches = routingDrawing(report).shapes.flatMap((s) => (s.kind === "rect" && s.ink.startsWith("expert") ? [s.ink] : []));
    const first = samples[0]?.tokens.flatMap((t, i) => (t.at ? [[...(samples[0]?.choices[0]?.[i] ?? [])].sort((a, b) => b.weight - a.weight)[0]?.expert ?? -1] : []));
    expect(patches).toEqual(first?.map((e) => `expert${e}`));
  });

  test("is an SVG whose text is escaped, and a PNG of twice its size", () => {
    const drawing = routingDrawing(madeUp([router("a<b>&c", 4)], 14, 2).report);
    const svg = drawingSvg(drawing);
    expect(svg).toContain("a&lt;b&gt;&amp;c");
    expect(svg).not.toMatch(/<b>|&c/);
    expect(svg).toMatch(/fill-opacity="0\.\d+"/);
    expect(svg).toContain(".expert");
    const png = decode(drawingPng(drawing));
    expect([png.width, png.height]).toEqual([2 * drawing.width, 2 * drawing.height]);
    expect(new Set(Array.from({ length: png.data.length / 3 }, (_, i) => `${png.data[3 * i]},${png.data[3 * i + 1]},${png.data[3 * i + 2]}`)).size).toBeGreaterThan(8);
  });

  test("of a model that routes nothing says so", () => expect(drawingSvg(routingDrawing(nothing))).toContain("model m routes nothing"));
});
