// A drawing as SVG: what drawing.ts makes of a MaskReport, or another of the same shapes. In: a report or a drawing. Out: one SVG document with its own ground, light or, where the
// reader prefers it, dark. No scripts, no fonts or files from elsewhere.

import type { Drawing, Ink, Shape } from "./drawing.ts";
import { drawingOf } from "./drawing.ts";
import type { MaskReport } from "./explain.ts";

/** Colours by name; also what the PNG takes. */
export const light: Readonly<Record<Ink, string>> = {
  ground: "#ffffff", panel: "#f0f1f3", text: "#1c2024", faint: "#6b7280", tile: "#8b95a3", skipped: "#dcdfe4",
  stream0: "#2563eb", stream1: "#e07b00", stream2: "#15935a", stream3: "#9333ea", stream4: "#d92d3a", stream5: "#0d8f9c",
  expert0: "#4e79a7", expert1: "#f28e2b", expert2: "#59a14f", expert3: "#e15759", expert4: "#b07aa1", expert5: "#76b7b2",
  expert6: "#edc948", expert7: "#9c755f", expert8: "#ff9da7", expert9: "#a0cbe8", expert10: "#8cd17d", expert11: "#d4a6c8",
};
const dark: Readonly<Record<Ink, string>> = {
  ...light,
  ground: "#15181c", panel: "#1f242a", text: "#e6e8eb", faint: "#9aa3af", tile: "#6b7684", skipped: "#343b46",
  stream0: "#5b92ff", stream1: "#f5a142", stream2: "#3cc98a", stream3: "#bd83f7", stream4: "#f4727c", stream5: "#3cc3d1",
};

export const reportSvg = (report: MaskReport): string => drawingSvg(drawingOf(report));

export function drawingSvg(drawing: Drawing): string {
  const { width, height, title } = drawing;
  const used = new Set<string>(drawing.shapes.map((s) => s.ink));
  const rules = (theme: Readonly<Record<Ink, string>>): string => Object.entries(theme).filter(([name]) => !name.startsWith("expert") || used.has(name)).map(([name, colour]) => `.${name}{fill:${colour}}`).join("");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>text{font:10px ui-monospace,Menlo,Consolas,monospace;white-space:pre}.big{font-size:20px}${rules(light)}@media(prefers-color-scheme:dark){${rules(dark)}}</style>`,
    ...shapesOf(drawing),
    "</svg>",
    "",
  ].join("\n");
}

/** Neighbouring rectangles of one colour become one path: a long sample has many. */
function shapesOf(drawing: Drawing): string[] {
  const out: string[] = [];
  const { shapes } = drawing;
  for (let i = 0; i < shapes.length; ) {
    const s = shapes[i];
    if (!s) break;
    if (s.kind === "text") {
      out.push(textElement(s));
      i++;
      continue;
    }
    let d = "";
    let r: Shape | undefined = s;
    for (; r?.kind === "rect" && r.ink === s.ink && r.cover === s.cover; r = shapes[++i]) d += `M${r.x} ${r.y}h${r.w}v${r.h}h${-r.w}z`;
    out.push(`<path class="${s.ink}"${s.cover === undefined ? "" : ` fill-opacity="${s.cover}"`} d="${d}"/>`);
  }
  return out;
}

function textElement(s: Extract<Shape, { kind: "text" }>): string {
  // The width is given, so that a font with other letters keeps to the drawing.
  const size = [...s.text].length * 6 * s.size;
  const turn = s.turned ? ` transform="rotate(-90 ${s.x} ${s.y})"` : "";
  return `<text x="${s.x}" y="${s.y}" class="${s.ink}${s.size === 2 ? " big" : ""}"${s.end ? ' text-anchor="end"' : ""} textLength="${size}"${turn}>${escaped(s.text)}</text>`;
}

/** Text of a spec may hold anything; what XML has no place for becomes a replacement character. */
const escaped = (value: string): string =>
  value.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
