// Who sees whom, as data: what `heddle explain mask` draws and what `--json` gives. Version 1 of the shape is MaskReport.
// In: a checked Model and how to look at it. Out: for each task a picture for each distinct mask of its attentions.
// A picture is what the kernels compute: the mask, and that both tokens lie in one document. Filters that fit nothing give no pictures.

import { printExpr } from "../scalar/print.ts";
import { and, children } from "../scalar/expr.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Attention, CrossAttention, Model, Task } from "../types/model.ts";
import type { CroppedField, ExampleToken, SampleOptions } from "./example.ts";
import { besideOf, croppedFields, exampleOf } from "./example.ts";
import { headMasks } from "./heads.ts";
import { cacheSoundness } from "./soundness.ts";
import type { TileCounts } from "./tiles.ts";
import { analysedTiles, countTiles, pairsIn, tileClasses, visibleRows } from "./tiles.ts";
import { sameDocument } from "./with_mask.ts";

export interface MaskReport {
  readonly kind: "heddle.mask";
  readonly version: 1;
  readonly model: string;
  readonly tasks: readonly TaskReport[];
  /** Whether keys and values may be kept while generating, by the model's own masks; the reason where not. */
  readonly cache: { readonly sound: boolean; readonly reason: string | null };
}

export interface TaskReport {
  readonly task: string;
  readonly pictures: readonly MaskPicture[];
}

export interface MaskPicture {
  /** Numbers of the attentions, in order of application, from 0; empty where no attention has the model's mask. */
  readonly layers: readonly number[];
  /** Their paths in the model, such as `body[0].attn`. */
  readonly paths: readonly string[];
  readonly heads: readonly number[] | "all";
  /** The mask as the spec has it; `full` where none is given. */
  readonly mask: string;
  /** What is tested, for these layers and heads, as an expression over the two tokens. */
  readonly predicate: string;
  /** Token attributes that it reads, sorted. */
  readonly reads: readonly string[];
  /** Scores that change the logits of what is visible, as the spec has them. */
  readonly scores: readonly string[];
  readonly tokens: readonly PictureToken[];
  /** The tokens that are looked at, where they are others than those that look: `keys` names their stream. */
  readonly keyTokens: readonly PictureToken[] | null;
  /** The stream beside the sequence whose tokens look, and are looked at; null for the sequence. */
  readonly queries: string | null;
  readonly keys: string | null;
  /** Images of which the tokens are the upper left corner. */
  readonly cropped: readonly CroppedField[];
  /** A string a query, a character a key: `1` where the query may attend to the key, else `0`. */
  readonly visible: readonly string[];
  readonly tile: PictureTiles;
  readonly pairs: { readonly all: number; readonly visible: number };
  /** Of the two products of attention, forward, over these layers and heads and this one row. */
  readonly flops: {
    /** Every pair. */
    readonly dense: number;
    /** Pairs of the tiles that the kernels do not skip. */
    readonly done: number;
    /** Pairs of the tiles that hold a visible one: the least that kernels with this tile can do. */
    readonly possible: number;
  };
}

export interface PictureToken {
  /** `<bos>`, `caption[2]`, `picture[1,0]` (row and column), `pad[0]`. */
  readonly label: string;
  /** Null for literals and padding. */
  readonly field: string | null;
  readonly stream: string | null;
  readonly role: "given" | "predict" | "literal" | "padding";
  readonly attributes: Readonly<Record<string, number>>;
}

export interface PictureTiles extends TileCounts {
  /** Tokens of a tile. */
  readonly queries: number;
  readonly keys: number;
  /** A string a row of tiles: `.` empty, `#` full, `+` mixed. */
  readonly classes: readonly string[];
  /** The same as the kernels' analysis decides it from the attributes of a tile; it may call a tile mixed that is not. */
  readonly kernel: TileCounts;
}

export interface ReportOptions extends SampleOptions {
  readonly task?: string;
  readonly layer?: number;
  readonly head?: number;
  /** Tokens of a tile, in both directions; that of the kernels, or less where the sample is short. */
  readonly tile?: number;
}

/** Tokens of a tile of the kernels on a GPU; compiler/kernel/attention_ranges.ts. */
export const KERNEL_TILE = 16;

export function maskReport(model: Model, options: ReportOptions = {}): MaskReport {
  const groups = groupsOf(model, options);
  const cache = cacheSoundness(model);
  return {
    kind: "heddle.mask", version: 1, model: model.name,
    tasks: model.tasks.filter((t) => options.task === undefined || t.name === options.task).map((t) => ({ task: t.name, pictures: picturesOf(model, t, groups, options) })),
    cache: { sound: cache.sound, reason: cache.sound ? null : cache.reason },
  };
}

/** Attentions that have one predicate in the same heads. */
interface Group {
  readonly expr: ScalarExpr | undefined;
  readonly text: string;
  readonly heads: readonly number[] | "all";
  readonly queries: string | null;
  readonly keys: string | null;
  readonly attentions: Attention[];
}

function groupsOf(model: Model, options: ReportOptions): Group[] {
  const groups = new Map<string, Group>();
  for (const a of attentionsOf(model)) {
    if (options.layer !== undefined && a.layer !== options.layer) continue;
    const { queries, keys } = "keys" in a ? a : { queries: null, keys: null };
    for (const { heads, expr } of headMasks(a)) {
      if (options.head !== undefined && !heads.includes(options.head)) continue;
      const group: Group = { expr, text: a.mask?.text.replace(/\s+/g, " ").trim() ?? "full", heads: heads.length === Math.max(1, a.heads) ? "all" : heads, queries, keys, attentions: [a] };
      const key = `${expr ? printExpr(expr) : ""}|${String(group.heads)}|${queries ?? ""}|${keys ?? ""}`;
      const known = groups.get(key);
      if (known) known.attentions.push(a);
      else groups.set(key, group);
    }
  }
  return [...groups.values()];
}

/** The attentions to look at. A model whose layers attend nowhere has its mask drawn all the same. */
function attentionsOf(model: Model): (Attention | CrossAttention)[] {
  const all = [...model.attentions, ...model.crossAttentions];
  const { mask } = model;
  return all.length === 0 && mask ? [{ path: "", layer: -1, heads: 1, width: 0, valueWidth: 0, mask, score: null, span: mask.span }] : all;
}

function picturesOf(model: Model, task: Task, groups: readonly Group[], options: ReportOptions): MaskPicture[] {
  const rows = new Map<string | null, Row>();
  const rowOf = (name: string | null): Row => {
    const stream = model.streams.find((s) => s.name === name);
    const tokens = stream ? besideOf(model, task, stream, options) : exampleOf(model, task, options);
    const row = rows.get(name) ?? { tokens, shown: tokens.map((t) => shownToken(model, t)) };
    rows.set(name, row);
    return row;
  };
  const cropped = croppedFields(model, task, options);
  return groups.flatMap((g) => {
    const [q, k] = [rowOf(g.queries), rowOf(g.keys)];
    return q.tokens.length === 0 || k.tokens.length === 0 ? [] : [pictureOf(g, q, k, options, cropped)];
  });
}

interface Row {
  readonly tokens: readonly ExampleToken[];
  readonly shown: readonly PictureToken[];
}

function pictureOf(g: Group, q: Row, k: Row, options: ReportOptions, cropped: readonly CroppedField[]): MaskPicture {
  const tested = g.expr ? and(sameDocument, g.expr) : sameDocument;
  const visible = visibleRows(tested, q.tokens, k.tokens);
  const side = options.tile ?? tileOf(Math.max(q.tokens.length, k.tokens.length));
  const [classes, analysed] = [tileClasses(visible, side, side), analysedTiles(tested, q.tokens, k.tokens, side, side)];
  const all = q.tokens.length * k.tokens.length;
  const worked = (c: readonly string[]): number => pairsIn(c, "#+", side, side, q.tokens.length, k.tokens.length);
  const cost = g.attentions.reduce((n, a) => n + (g.heads === "all" ? Math.max(1, a.heads) : g.heads.length) * 2 * (a.width + a.valueWidth), 0);
  const fields = new Set([...q.shown, ...k.shown].map((t) => t.field));
  return {
    layers: g.attentions.map((a) => a.layer).filter((l) => l >= 0), paths: g.attentions.map((a) => a.path).filter((p) => p !== ""), heads: g.heads,
    mask: g.text, predicate: printExpr(tested), reads: readsOf(tested), scores: [...new Set(g.attentions.flatMap((a) => (a.score ? [a.score.text.replace(/\s+/g, " ").trim()] : [])))],
    queries: g.queries, keys: g.keys, tokens: q.shown, keyTokens: q === k ? null : k.shown, cropped: cropped.filter((c) => fields.has(c.field)), visible,
    tile: { queries: side, keys: side, ...countTiles(classes), classes, kernel: countTiles(analysed) },
    pairs: { all, visible: visible.reduce((n, row) => n + row.split("1").length - 1, 0) },
    flops: { dense: cost * all, done: cost * worked(analysed), possible: cost * worked(classes) },
  };
}

/** So that even a short sample has a few tiles. */
function tileOf(tokens: number): number {
  let side = KERNEL_TILE;
  while (side > 4 && tokens < 4 * side) side /= 2;
  return side;
}

function readsOf(e: ScalarExpr): string[] {
  const names = new Set<string>();
  const visit = (x: ScalarExpr): void => {
    if (x.kind === "attr") names.add(x.name);
    children(x).forEach(visit);
  };
  visit(e);
  return [...names].sort();
}

function shownToken(model: Model, t: ExampleToken): PictureToken {
  const padding = t.item < 0;
  const grid = model.streams.find((s) => s.name === t.stream)?.tokenizer.kind === "patches";
  const place = grid && t.role !== "literal" ? `${t.attributes["row"] ?? 0},${t.attributes["col"] ?? 0}` : String(t.index);
  return {
    label: t.role === "literal" ? t.label : `${t.label}[${place}]`, field: t.role === "literal" || padding ? null : t.label, stream: padding ? null : t.stream,
    role: padding ? "padding" : t.role, attributes: t.attributes,
  };
}
