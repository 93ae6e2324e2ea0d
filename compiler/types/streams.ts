// `tokens NAME = …`: streams, their tokenizers and their axes. In: the members of a model. Out: Stream data and stream values.
// The literals of the tasks belong to the vocabulary of the first text stream and follow its ids.
// Refuses patches that do not tile the image; tokenizers that check but do not run yet say so.

import type { TaskElement, TokensMember } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimConst, dimVar } from "../dim/dim.ts";
import type { Context } from "./context.ts";
import { configured } from "./configured.ts";
import type { Configured, Table } from "./configured.ts";
import type { Special, Stream, TokenizerSpec } from "./model.ts";
import type { AxisValue, Env, StreamValue } from "./values.ts";

const tokenizers: Table = {
  bytes: [],
  ids: [{ name: "vocab", kind: "int", min: 1 }],
  bpe: [{ name: "file", kind: "string" }, { name: "vocab", kind: "int", min: 1, optional: true }],
  patches: [{ name: "size", kind: "int", min: 1 }, { name: "of", kind: "any" }],
  codes: [{ name: "codec", kind: "any" }, { name: "vocab", kind: "int", optional: true }],
  latents: [{ name: "codec", kind: "any" }, { name: "patch", kind: "int", optional: true }],
  features: [{ name: "encoder", kind: "any" }],
  mel: [{ name: "bins", kind: "int", fallback: 80 }, { name: "frames", kind: "int", optional: true }],
  queries: [{ name: "count", kind: "int", min: 1 }],
};

const images: Table = {
  pixels: [{ name: "height", kind: "int", min: 1 }, { name: "width", kind: "int", min: 1 }, { name: "channels", kind: "int", min: 1, fallback: 3 }],
};

/** Literal tokens in the order they are first written. */
export function literalsOf(layouts: readonly (readonly TaskElement[])[]): { readonly name: string; readonly span: Special["span"] }[] {
  const out = new Map<string, Special["span"]>();
  const visit = (e: TaskElement): void => {
    if (e.kind === "literal_token") {
      if (!out.has(e.name.text)) out.set(e.name.text, e.span);
    } else if (e.kind === "group" || e.kind === "repeat_elements") e.elements.forEach(visit);
    else if (e.kind === "choice") e.options.forEach((o) => o.forEach(visit));
  };
  layouts.forEach((l) => l.forEach(visit));
  return [...out].map(([name, span]) => ({ name, span }));
}

/** Streams that some task lays out beside its sequence, with the first place. */
export function besideOf(layouts: readonly (readonly TaskElement[])[]): Map<string, Special["span"]> {
  const out = new Map<string, Special["span"]>();
  const visit = (e: TaskElement): void => {
    if (e.kind === "segment" && e.role === "beside" && !out.has(e.stream.text)) out.set(e.stream.text, e.stream.span);
    else if (e.kind === "group" || e.kind === "repeat_elements") e.elements.forEach(visit);
    else if (e.kind === "choice") e.options.forEach((o) => o.forEach(visit));
  };
  layouts.forEach((l) => l.forEach(visit));
  return out;
}

/** The run-time length of a row beside the sequence; the sequence itself is `t` long. */
export const besideLength = (stream: string): string => `t_${stream}`;

export interface Streams {
  readonly streams: readonly Stream[];
  readonly specials: readonly Special[];
  readonly values: ReadonlyMap<string, StreamValue>;
}

export function makeStreams(cx: Context, members: readonly { member: TokensMember; env: Env }[], literals: readonly { readonly name: string; readonly span: Special["span"] }[], beside: ReadonlyMap<string, unknown>): Streams {
  const streams: Stream[] = [];
  const values = new Map<string, StreamValue>();
  let specials: Special[] = [];
  for (const { member: m, env } of members) {
    const name = m.name.text;
    if (name === "") continue;
    const spec = tokenizerOf(cx, m, env);
    if (!spec) {
      // Later parts may still name the stream.
      values.set(name, { kind: "stream", name, id: undefined, axes: new Map() });
      continue;
    }
    const id = streams.length;
    const first = spec.kind === "text" && !beside.has(name) && !streams.some((s) => s.kind === "text" && !s.beside);
    if (spec.kind === "text" && !first && !beside.has(name)) cx.later("E0409", "a second text stream checks, but several text streams are not built yet", m.name.span);
    const extra = first ? literals.length : 0;
    if (first) specials = literals.map((l, i) => ({ name: l.name, id: spec.vocab + i, span: l.span }));
    const sized = (part: string, size: Dim): AxisValue => {
      cx.noteSize(`${name}.${part}`, size, m.value.span);
      return { kind: "axis", name: `${name}.${part}`, size, span: m.value.span };
    };
    const axes = new Map<string, AxisValue>();
    const main = spec.kind === "continuous" ? sized("features", spec.size) : spec.kind === "queries" ? sized("count", spec.size) : sized("vocab", spec.vocab > 0 ? dimConst(spec.vocab + extra) : spec.size);
    axes.set(main.name.slice(name.length + 1), main);
    for (const [part, n] of Object.entries(spec.parts)) axes.set(part, sized(part, dimConst(n)));
    if (beside.has(name)) axes.set("tokens", sized("tokens", dimVar(besideLength(name))));
    const { rows, cols } = spec.parts;
    streams.push({
      name, id, kind: spec.kind, tokenizer: spec.tokenizer, vocab: spec.vocab, axis: { name: main.name, size: main.size, span: m.span }, beside: beside.has(name),
      ...(rows && cols ? { count: rows * cols } : {}), span: m.name.span,
    });
    values.set(name, { kind: "stream", name, id, axes });
  }
  return { streams, specials, values };
}

interface Spec {
  readonly kind: Stream["kind"];
  readonly tokenizer: TokenizerSpec;
  readonly vocab: number;
  /** Features of a continuous stream. */
  readonly size: Dim;
  readonly parts: Readonly<Record<string, number>>;
}

function tokenizerOf(cx: Context, m: TokensMember, env: Env): Spec | undefined {
  const e = m.value;
  const callee = e.kind === "call" ? e.callee : e;
  const declared = callee.kind === "name" && !tokenizers[callee.text] ? env.scope.find(callee.text)?.value() : undefined;
  if (declared?.kind === "decl" && declared.decl.kind === "tokenizer" && callee.kind === "name") {
    cx.later("E0403", `tokenizer \`${callee.text}\` checks, but tokenizers of one's own are not built yet`, e.span);
    return other(m, callee.text, "continuous");
  }
  const c = configured(cx, e, tokenizers, "a tokenizer", env);
  if (!c) return undefined;
  switch (c.name) {
    case "bytes": return { kind: "text", tokenizer: { kind: "bytes" }, vocab: 256, size: dimConst(256), parts: {} };
    case "ids": {
      const vocab = c.numbers["vocab"];
      return vocab === undefined ? undefined : { kind: "text", tokenizer: { kind: "ids", vocab }, vocab, size: dimConst(vocab), parts: {} };
    }
    case "bpe": return bpe(cx, c, m);
    case "patches": return patches(cx, c, env);
    default:
      cx.later("E0403", `\`${c.name}\` tokens check, but they are not built yet`, c.span, { help: "`bytes`, `ids`, `bpe` and `patches` are built" });
      return other(m, c.name, c.name === "codes" ? "codes" : c.name === "queries" ? "queries" : "continuous", c.numbers["count"] ?? c.numbers["bins"]);
  }
}

/** Subword tokens from a `tokenizer.json`: its vocabulary is counted, or stands in the spec. */
function bpe(cx: Context, c: Configured, m: TokensMember): Spec | undefined {
  const file = c.words["file"] ?? "";
  const written = c.numbers["vocab"];
  const text = cx.read(file, m.span.source);
  const counted = text === undefined ? undefined : vocabularyOf(text);
  const at = c.spans["file"] ?? c.span;
  if (text !== undefined && counted === undefined) {
    cx.report("E0218", `\`${file}\` is no tokenizer file: it has no vocabulary`, at, { help: "a `tokenizer.json` of the Hugging Face tokenizers is read" });
    return undefined;
  }
  if (counted !== undefined && written !== undefined && counted !== written) {
    cx.report("E0218", `the vocabulary has ${counted} tokens, and ${written} are written`, c.spans["vocab"] ?? c.span, { help: "leave `vocab` out: it is read from the file" });
    return undefined;
  }
  const vocab = counted ?? written;
  if (vocab === undefined) cx.later("E0403", `\`${file}\` is not there, so the size of its vocabulary is not known`, at, { help: "put the file beside the spec, or write `vocab: …`" });
  return { kind: "text", tokenizer: { kind: "bpe", file }, vocab: vocab ?? 0, size: vocab === undefined ? dimVar(`${m.name.text}.vocab`) : dimConst(vocab), parts: {} };
}

/** One more than the highest id of a tokenizer file. */
function vocabularyOf(text: string): number | undefined {
  let file: { readonly model?: { readonly vocab?: unknown }; readonly added_tokens?: unknown } | null;
  try {
    file = JSON.parse(text) as typeof file;
  } catch {
    return undefined;
  }
  const vocab = file?.model?.vocab;
  const own = Array.isArray(vocab) ? vocab.map((_, i) => i) : typeof vocab === "object" && vocab !== null ? Object.values(vocab as Record<string, unknown>) : [];
  const added = Array.isArray(file?.added_tokens) ? file.added_tokens.map((t: unknown) => (t as { readonly id?: unknown } | null)?.id) : [];
  const ids = [...own, ...added].filter((id): id is number => typeof id === "number" && Number.isInteger(id));
  return ids.length === 0 ? undefined : ids.reduce((a, b) => Math.max(a, b), 0) + 1;
}

function other(m: TokensMember, name: string, kind: Stream["kind"], size?: number): Spec {
  const part = kind === "codes" ? "vocab" : kind === "queries" ? "count" : "features";
  return { kind, tokenizer: { kind: "other", name }, vocab: 0, size: size === undefined ? dimVar(`${m.name.text}.${part}`) : dimConst(size), parts: {} };
}

function patches(cx: Context, c: Configured, env: Env): Spec | undefined {
  const of = c.exprs["of"];
  const patch = c.numbers["size"];
  const image = of ? configured(cx, of, images, "an image", env) : undefined;
  const [height, width, channels] = ["height", "width", "channels"].map((n) => image?.numbers[n]);
  if (patch === undefined || height === undefined || width === undefined || channels === undefined || !image) return undefined;
  for (const [name, n] of [["height", height], ["width", width]] as const) {
    if (n % patch === 0) continue;
    cx.report("E0217", `patches of ${patch} do not tile an image of ${height} by ${width}`, c.spans["size"] ?? c.span, {
      also: [{ span: image.spans[name] ?? image.span, text: `the ${name} is ${n}` }], help: `${n} must be a multiple of the patch size`,
    });
    return undefined;
  }
  return {
    kind: "continuous", tokenizer: { kind: "patches", patch, height, width, channels }, vocab: 0, size: dimConst(patch * patch * channels),
    parts: { rows: height / patch, cols: width / patch, count: (height / patch) * (width / patch) },
  };
}
