// docs/masks.md and the pictures in stdlib/masks, from the files of the library and what `heddle explain mask --json` says of their specs.
// In: texts of the library and of docs/masks. Out: texts. `node scripts/mask_gallery.mjs` writes them; gallery.test.ts holds them.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { MaskPicture, MaskReport } from "../../compiler/mask/explain.ts";
import { folders } from "../../compiler/types/library.ts";
import { root } from "../types/loader.ts";
import { reported, specFile } from "./specs.ts";

export const libraryPath = (mask: string): string => join(root, "stdlib/masks", `${mask}.heddle`);

/** Rows look and columns are looked at; a row is named where its item begins. */
export function picture(p: MaskPicture): string[] {
  const names = p.tokens.map((t, i) => {
    const [item, before] = [t.label.replace(/\[.*\]$/, ""), p.tokens[i - 1]];
    const begins = t.field === null || before?.field !== t.field || t.attributes["span"] !== before.attributes["span"] || t.attributes["doc"] !== before.attributes["doc"];
    return begins ? item : "";
  });
  const wide = Math.max(...names.map((n) => n.length));
  return p.visible.map((row, i) => `${(names[i] ?? "").padEnd(wide)}  ${[...row].map((c) => (c === "1" ? "#" : ".")).join(" ")}`);
}

/** One picture a task of the spec. */
function pictures(report: MaskReport): { readonly task: string; readonly lines: string[] }[] {
  return report.tasks.map((t) => {
    const [first] = t.pictures;
    if (!first || t.pictures.length > 1) throw new Error(`task ${t.task} has ${t.pictures.length} pictures`);
    return { task: t.task, lines: picture(first) };
  });
}

const DOC = "/// ";
const DRAWN = `${DOC}    `;

/** A file of the library with its picture at the end of its doc comment. */
export async function libraryText(mask: string): Promise<string> {
  const lines = readFileSync(libraryPath(mask), "utf8").split("\n");
  const at = lines.findIndex((l) => l.startsWith(`mask ${mask}`));
  const drawn = (l: string): boolean => l === "///" || l.startsWith(DRAWN);
  let from = at;
  while (from > 0 && drawn(lines[from - 1] ?? "")) from--;
  const said = pictures(await reported(mask)).flatMap((p) => ["///", ...p.lines.map((l) => DRAWN + l)]);
  return [...lines.slice(0, from), ...said, ...lines.slice(at)].join("\n");
}

interface Section {
  readonly title: string;
  readonly masks: readonly string[];
}

const sections: readonly Section[] = [
  { title: "All and before", masks: ["full", "causal", "prefix", "segment", "within"] },
  { title: "Windows and chunks", masks: ["window", "sliding_window", "dilated_window", "global_window", "sink_window", "chunked", "block_causal"] },
  { title: "Packed documents and shared prompts", masks: ["document", "packed", "packed_causal", "shared_prefix"] },
  { title: "Streams", masks: ["sees", "hidden", "visible", "visibility", "flamingo"] },
  { title: "Text and images in one sequence", masks: ["transfusion", "show_o", "noise_hidden", "bagel"] },
  { title: "Neighbours in images", masks: ["near", "natten", "tiled_natten", "morton_natten", "sta_2d"] },
  { title: "Video", masks: ["frames", "frame_causal", "sta_3d", "svg_spatial", "svg_temporal"] },
  { title: "Orders of generation", masks: ["scales", "scale_causal", "grouped", "nar", "par", "cells", "block_diffusion"] },
  { title: "Drafts", masks: ["tree", "drafts"] },
];

/** What stands before the mask in its file: its doc comment without the picture, and its parameters. */
function about(mask: string): { readonly doc: string; readonly signature: string } {
  const text = readFileSync(libraryPath(mask), "utf8");
  const lines = text.split("\n");
  const at = lines.findIndex((l) => l.startsWith(`mask ${mask}`));
  let from = at;
  while (from > 0 && (lines[from - 1] ?? "").startsWith("///")) from--;
  const doc = lines.slice(from, at).filter((l) => l !== "///" && !l.startsWith(DRAWN)).map((l) => l.slice(DOC.length)).join("\n");
  return { doc, signature: /^mask (\w+(?:\([^]*?\))?)\(q, k\)/m.exec(lines.slice(at).join("\n"))?.[1]?.replace(/\s+/g, " ").replace("( ", "(").replace(" )", ")") ?? mask };
}

/** The lines of a spec that say who sees whom: attributes, tasks and masks. */
function usage(mask: string): string[] {
  const out: string[] = [];
  let open = false;
  for (const l of readFileSync(specFile(mask), "utf8").split("\n")) {
    const starts = /^ {2}(attribute|task|mask|\/\/\/)\b/.test(l) || l.startsWith("  ///");
    open = starts || (open && /^ {4,}\S/.test(l));
    if (open) out.push(l.slice(2));
  }
  return out;
}

const fence = (lines: readonly string[], language = ""): string => `\`\`\`${language}\n${lines.join("\n")}\n\`\`\``;

async function entry(mask: string): Promise<string> {
  const { doc, signature } = about(mask);
  const report = await reported(mask);
  const reads = [...new Set(report.tasks.flatMap((t) => t.pictures.flatMap((p) => p.reads)))].filter((r) => r !== "doc" || mask === "document" || mask.startsWith("packed"));
  const needs = folders["std.masks"]?.everyday.includes(mask) ? "Needs no `use`." : `\`use std.masks { ${mask} }\``;
  const drawn = pictures(report).map((p) => (report.tasks.length > 1 ? `Task \`${p.task}\`:\n\n${fence(p.lines)}` : fence(p.lines)));
  return [
    `### ${mask}`, `\`${signature}\``, doc,
    `${needs}${needs.endsWith(".") ? "" : "."} ${reads.length === 0 ? "Reads no attribute." : `Here it reads ${reads.map((r) => `\`${r}\``).join(", ")}.`} The spec: [masks/${mask}.heddle](masks/${mask}.heddle).`,
    fence(usage(mask)), ...drawn,
  ].join("\n\n");
}

const INTRO = `# Masks of the library

Every mask that the library has, drawn on a small sample: a row looks, a column is looked at, \`#\` is seen and \`.\` is not. The pictures are what
\`heddle explain mask\` says of the specs in \`docs/masks/\`, whose first lines hold the command; \`node scripts/mask_gallery.mjs\` makes this page.
Each file of \`stdlib/masks/\` is one mask, a few lines long: read it to see how it is said, and write your own in the same way
([the language](language.md#masks-and-scores)).

Masks combine. Attention never crosses a document, whatever the mask, and padding is seen by none.

- \`a & b\`, \`a | b\`, \`!a\`: \`causal & window(64)\`.
- by head or layer: \`mask = when layer % 4 == 3 then causal else causal & window(64)\`, \`when head < 4 then svg_spatial(image, 2) else svg_temporal(image, 2, frames: 8)\`.
- for some tokens: \`mask mine(q, k) = when q.stream == image then natten(image, 7) else causal\`.
- a mask that takes an attribute reads one that tasks set or that follows by a formula: \`attribute diagonal: int = token.row + token.col\` and \`grouped(image, diagonal)\`.

Who sees whom follows from where tokens stand and never from what they hold, so that it can be proven: choosing blocks by their content, as VSA does, is no mask.`;

export async function page(): Promise<string> {
  const parts = [INTRO];
  const names = sections.map((s) => `- ${s.title}: ${s.masks.map((m) => `[${m}](#${m})`).join(" · ")}`);
  parts.push(names.join("\n"));
  for (const s of sections) {
    parts.push(`## ${s.title}`);
    for (const m of s.masks) parts.push(await entry(m));
  }
  return `${parts.join("\n\n")}\n`;
}

export const masksOnPage: readonly string[] = sections.flatMap((s) => s.masks);
