// Calls that configure a part of a model rather than compute: `nucleus(p: 0.9)`, `diffusion(schedule: cosine)`, `patches(4, of: …)`.
// In: an expression and the table of what may stand there. Out: which entry, and its arguments by name.
// Refuses unknown entries and arguments, values of the wrong kind, and numbers out of range.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Expr } from "../ast/nodes.ts";
import { dimValue } from "../dim/dim.ts";
import { matchArguments } from "./calls.ts";
import type { Context } from "./context.ts";
import { numberOf } from "./operators.ts";
import type { Env } from "./values.ts";
import { describe } from "./values.ts";

export interface Setting {
  readonly name: string;
  /** `words`: one of a list; `call`: one entry of another table; `any` is kept as a tree. */
  readonly kind: "int" | "float" | "string" | "bool" | "words" | "numbers" | "any";
  readonly words?: readonly string[];
  readonly fallback?: number | string | boolean;
  readonly optional?: boolean;
  /** Bounds, both inside. */
  readonly min?: number;
  readonly max?: number;
}

export type Table = Readonly<Record<string, readonly Setting[]>>;

export interface Configured {
  readonly name: string;
  readonly span: Span;
  readonly nameSpan: Span;
  readonly numbers: Readonly<Record<string, number>>;
  readonly words: Readonly<Record<string, string>>;
  readonly lists: Readonly<Record<string, readonly number[]>>;
  readonly exprs: Readonly<Record<string, Expr>>;
  readonly spans: Readonly<Record<string, Span>>;
}

const signature = (name: string, settings: readonly Setting[]): string =>
  `${name}(${settings.map((s) => `${s.name}: ${s.words ? s.words.join(" or ") : s.fallback ?? "…"}`).join(", ")})`;

/** The entry a call or a bare name stands for; undefined after a report. */
export function configured(cx: Context, e: Expr, table: Table, what: string, env: Env): Configured | undefined {
  const callee = e.kind === "call" ? e.callee : e;
  if (callee.kind === "missing") return undefined;
  if (callee.kind !== "name") {
    cx.report("E0202", `${what} is written as one of ${list(Object.keys(table))}`, e.span);
    return undefined;
  }
  const settings = table[callee.text];
  if (!settings) {
    cx.report("E0201", `there is no ${what.replace(/^(a|an|the) /, "")} \`${callee.text}\``, callee.span, {
      help: didYouMean(callee.text, Object.keys(table)) ?? `there are ${list(Object.keys(table))}`,
    });
    return undefined;
  }
  const own = { name: callee.text, signature: signature(callee.text, settings), declared: null };
  const given = matchArguments(cx, own, settings.map((s) => ({ name: s.name, kind: null, optional: s.optional === true || s.fallback !== undefined, span: null })), e.kind === "call" ? e.args : [], e.span);
  const out = { numbers: {} as Record<string, number>, words: {} as Record<string, string>, lists: {} as Record<string, readonly number[]>, exprs: {} as Record<string, Expr>, spans: {} as Record<string, Span> };
  for (const s of settings) {
    const arg = given.get(s.name);
    if (arg) {
      out.spans[s.name] = arg.value.span;
      setting(cx, s, arg.value, callee.text, env, out);
    } else if (typeof s.fallback === "number") out.numbers[s.name] = s.fallback;
    else if (typeof s.fallback === "string") out.words[s.name] = s.fallback;
    else if (typeof s.fallback === "boolean") out.numbers[s.name] = s.fallback ? 1 : 0;
  }
  return { name: callee.text, span: e.span, nameSpan: callee.span, ...out };
}

interface Out {
  readonly numbers: Record<string, number>;
  readonly words: Record<string, string>;
  readonly lists: Record<string, readonly number[]>;
  readonly exprs: Record<string, Expr>;
}

/** One value of a setting into `out`. */
export function setting(cx: Context, s: Setting, e: Expr, owner: string, env: Env, out: Out): void {
  if (s.kind === "any") {
    out.exprs[s.name] = e;
    return;
  }
  if (s.kind === "words") {
    if (e.kind === "name" && s.words?.includes(e.text)) out.words[s.name] = e.text;
    else if (e.kind === "name") {
      cx.report("E0201", `\`${s.name}\` of \`${owner}\` cannot be \`${e.text}\``, e.span, { help: didYouMean(e.text, s.words ?? []) ?? `it is one of ${list(s.words ?? [])}` });
    } else if (e.kind === "call" && e.callee.kind === "name" && s.words?.includes(`${e.callee.text}(…)`)) out.exprs[s.name] = e;
    else if (e.kind !== "missing") cx.report("E0202", `\`${s.name}\` of \`${owner}\` is one of ${list(s.words ?? [])}`, e.span);
    return;
  }
  const v = cx.evaluate.expr(cx, e, env);
  if (v.kind === "poison") return;
  if (s.kind === "numbers") {
    const items = v.kind === "list" || v.kind === "tuple" ? v.items.map(numberOf) : [];
    if (items.length === 0 || items.some((n) => n === undefined)) cx.report("E0202", `\`${s.name}\` of \`${owner}\` is a list of numbers`, e.span, { help: "write `[0.9, 0.95]`" });
    else out.lists[s.name] = items.map((n) => n ?? 0);
    return;
  }
  if (s.kind === "string") {
    if (v.kind === "string") out.words[s.name] = v.value;
    else cx.report("E0202", `\`${s.name}\` of \`${owner}\` is a string, and this is ${describe(v)}`, e.span);
    return;
  }
  if (s.kind === "bool") {
    if (v.kind === "bool") out.numbers[s.name] = v.value ? 1 : 0;
    else cx.report("E0202", `\`${s.name}\` of \`${owner}\` is \`true\` or \`false\`, and this is ${describe(v)}`, e.span);
    return;
  }
  const whole = v.kind === "int" || v.kind === "axis";
  if (!whole && (s.kind === "int" || v.kind !== "float")) {
    cx.report("E0202", `\`${s.name}\` of \`${owner}\` is ${s.kind === "int" ? "a whole number" : "a number"}, and this is ${describe(v)}`, e.span);
    return;
  }
  const n = v.kind === "int" ? dimValue(v.dim) : numberOf(v);
  if (n === undefined) return;
  if ((s.min !== undefined && n < s.min) || (s.max !== undefined && n > s.max)) {
    const range = s.max === undefined ? `at least ${s.min}` : s.min === undefined ? `at most ${s.max}` : `from ${s.min} to ${s.max}`;
    cx.report("E0319", `\`${s.name}\` of \`${owner}\` is ${range}, and this is ${n}`, e.span);
    return;
  }
  out.numbers[s.name] = n;
}

export const list = (names: readonly string[]): string => names.map((n) => `\`${n}\``).join(", ");
