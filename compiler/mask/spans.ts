// How a picture's tokens are named on its axes, and numbers as a reader wants them. In: a MaskPicture. Out: spans and short texts.

import type { MaskPicture, PictureToken } from "./explain.ts";
import { KERNEL_TILE } from "./explain.ts";

/** Tokens that belong together on an axis: one item of one document, or the padding. */
export interface TokenSpan {
  /** `<bos>`, `caption`, `picture*` where it is predicted. */
  readonly label: string;
  readonly start: number;
  readonly count: number;
  readonly stream: string | null;
}

export function spansOf(tokens: readonly PictureToken[]): TokenSpan[] {
  const out: { label: string; start: number; count: number; stream: string | null; key: string }[] = [];
  tokens.forEach((t, i) => {
    const key = `${t.role}|${t.attributes["doc"] ?? 0}|${t.attributes["span"] ?? 0}`;
    const last = out[out.length - 1];
    if (last?.key === key) last.count++;
    else out.push({ label: nameOf(t), start: i, count: 1, stream: t.stream, key });
  });
  return out.map(({ key: _, ...span }) => span);
}

const nameOf = (t: PictureToken): string => `${t.role === "padding" ? "pad" : (t.field ?? t.label)}${t.role === "predict" ? "*" : ""}`;

/** What is between the brackets of a label: `2`, or `1,0` on a grid; nothing for a literal. */
export const placeOf = (t: PictureToken): string => (t.role === "literal" ? "" : (/\[(.*)\]$/.exec(t.label)?.[1] ?? ""));

export const keysOf = (p: MaskPicture): readonly PictureToken[] => p.keyTokens ?? p.tokens;

/** Streams of the tokens, in the order of the spec, each with its number there. */
export function streamsOf(p: MaskPicture): Map<string, number> {
  const ids = [...p.tokens, ...keysOf(p)].flatMap((t) => (t.stream === null ? [] : [[t.stream, t.attributes["stream"] ?? 0] as const]));
  return new Map(ids.sort((a, b) => a[1] - b[1]));
}

/** `all heads of layers 0-2`, `heads 1, 3 of layer 4`, `all heads of layers 0-1, to image`. */
export function whereText(p: MaskPicture): string {
  if (p.layers.length === 0) return "no layer attends";
  const many = (word: string, numbers: readonly number[]): string => `${numbers.length === 1 ? word : `${word}s`} ${ranges(numbers)}`;
  return `${p.heads === "all" ? "all heads" : many("head", p.heads)} of ${many("layer", p.layers)}${p.keys === null ? "" : p.queries === null ? `, to ${p.keys}` : p.queries === p.keys ? `, within ${p.keys}` : `, from ${p.queries} to ${p.keys}`}`;
}

/** `0-3, 6`: numbers in order, neighbours joined. */
export function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const n of numbers) {
    const last = runs[runs.length - 1];
    if (last && last[1] + 1 === n) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([a, b]) => (a === b ? String(a) : `${a}-${b}`)).join(", ");
}

/** A share in whole per cent; what is not quite none or all is never said to be. */
export function share(part: number, all: number): string {
  if (all === 0 || part === 0) return "0%";
  const percent = Math.round((100 * part) / all);
  return percent === 0 ? "under 1%" : percent === 100 && part < all ? "over 99%" : `${percent}%`;
}

/** `20.5 Mflop` */
export function flopsText(n: number): string {
  const units = ["flop", "kflop", "Mflop", "Gflop", "Tflop"];
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit] ?? ""}`;
}

/** What is visible and what it costs, a line a fact: name and text. */
export function factsOf(p: MaskPicture): (readonly [string, string])[] {
  const { tile, pairs, flops } = p;
  const all = tile.empty + tile.full + tile.mixed;
  const size = tile.queries === tile.keys ? `${tile.queries} x ${tile.keys}` : `${tile.queries} queries x ${tile.keys} keys`;
  const facts: [string, string][] = [
    ["pairs", `${pairs.visible} of ${pairs.all} visible, ${share(pairs.visible, pairs.all)}`],
    ["tiles", `${all} of ${size} tokens${tile.keys === KERNEL_TILE ? "" : ` (on a GPU kernels take ${KERNEL_TILE} x ${KERNEL_TILE})`}: ${share(tile.empty, all)} empty, ${share(tile.full, all)} full, ${share(tile.mixed, all)} mixed`],
  ];
  if (tile.kernel.empty !== tile.empty) facts.push(["kernel", `skips ${share(tile.kernel.empty, all)} of the tiles (${share(tile.empty, all)} possible)`]);
  if (tile.kernel.full !== tile.full) facts.push(["kernel", `leaves the test out of ${share(tile.kernel.full, all)} of the tiles (${share(tile.full, all)} possible)`]);
  if (flops.dense > 0) {
    const possible = flops.done === flops.possible ? "" : ` (${share(flops.dense - flops.possible, flops.dense)} possible)`;
    facts.push(["work", `${flopsText(flops.done)} of ${flopsText(flops.dense)} of attention forward: ${share(flops.dense - flops.done, flops.dense)} saved${possible}`]);
  }
  const alone = p.visible.filter((row) => !row.includes("1")).length;
  if (alone > 0) facts.push(["alone", `${alone} of ${p.visible.length} rows see nothing, and attention gives them 0`]);
  for (const c of p.cropped) facts.push(["sample", `${c.rows} x ${c.cols} of the ${c.of.rows} x ${c.of.cols} patches of ${c.field}`]);
  return facts;
}
