// Arguments to parameters. In: the arguments of a call and what the callee declares. Out: one value a parameter.
// Refuses unknown, missing, repeated and surplus arguments, and a value of the wrong kind (a mask where a score is meant).

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Arg, Expr, Param } from "../ast/nodes.ts";
import { dimValue } from "../dim/dim.ts";
import type { Context } from "./context.ts";
import { fitsKind } from "./scope.ts";
import type { Env, Scope, Value } from "./values.ts";
import { describe, float, int, poison, Scope as ScopeClass } from "./values.ts";

/** What a parameter of a declaration or of a built-in function asks for. */
export interface Wanted {
  readonly name: string;
  /** As written after the colon; null takes anything. */
  readonly kind: string | null;
  readonly list?: boolean;
  readonly fallback?: Expr | null;
  readonly optional?: boolean;
  readonly span: Span | null;
}

export interface Bound {
  readonly value: Value;
  /** Undefined where the fallback was taken. */
  readonly arg: Arg | undefined;
}

export const wantedOf = (p: Param): Wanted => ({
  name: p.name.text, kind: p.axes ? "tensor" : (p.paramKind?.name.text ?? null), list: p.paramKind?.list ?? false,
  fallback: p.fallback, span: p.name.span,
});

export interface Callee {
  /** As a reader calls it: `linear`. */
  readonly name: string;
  readonly signature?: string;
  readonly declared: Span | null;
}

/** Pairs arguments with parameters; reports what does not pair. */
export function matchArguments(cx: Context, callee: Callee, wanted: readonly Wanted[], args: readonly Arg[], at: Span): Map<string, Arg> {
  const out = new Map<string, Arg>();
  const help = callee.signature ? `it is called as \`${callee.signature}\`` : undefined;
  let place = 0;
  for (const arg of args) {
    if (arg.name) {
      const name = arg.name.text;
      if (!wanted.some((w) => w.name === name)) {
        cx.report("E0208", `\`${callee.name}\` has no argument \`${name}\``, arg.name.span, { help: didYouMean(name, wanted.map((w) => w.name)) ?? help });
        continue;
      }
      const before = out.get(name);
      if (before) {
        cx.report("E0210", `\`${name}\` is given twice`, arg.span, { also: [{ span: before.span, text: "first here" }] });
        continue;
      }
      out.set(name, arg);
      continue;
    }
    const w = wanted[place++];
    if (!w) {
      const n = wanted.length;
      cx.report("E0210", `\`${callee.name}\` takes ${n === 0 ? "no arguments" : n === 1 ? "one argument" : `${n} arguments`}`, arg.span, { label: "one too many", help });
      break;
    }
    out.set(w.name, arg);
  }
  for (const w of wanted) {
    if (out.has(w.name) || w.fallback || w.optional) continue;
    cx.report("E0209", `\`${callee.name}\` needs \`${w.name}\`${w.kind && w.kind !== "tensor" ? ` (${kindWords(w.kind)})` : ""}`, at, {
      also: w.span ? [{ span: w.span, text: "declared here, without a default" }] : [], help,
    });
  }
  return out;
}

const articles: Readonly<Record<string, string>> = {
  axis: "an axis", int: "a whole number", float: "a number", bool: "`true` or `false`", string: "a string", init: "an initialiser",
  attribute: "a token attribute", fn: "a function", tensor: "a tensor",
};
export const kindWords = (kind: string): string => articles[kind] ?? `a ${kind}`;

/** `linear(from: axis, to: axis, bias: bool = false)`, as written in its file. */
export function signatureOf(cx: Context, name: { readonly text: string; readonly span: Span }, params: readonly Param[]): string {
  const last = params[params.length - 1];
  const source = cx.sources.get(name.span.source);
  if (!last || !source) return `${name.text}()`;
  return `${source.text.slice(name.span.start, last.span.end).replace(/\s+/g, " ")})`;
}

/**
 * Values for every parameter, in order. Arguments are worked out in the caller's scope; fallbacks in `own`, where earlier parameters
 * are already bound. `path` is that of the callee: a layer given as an argument becomes `path.name`.
 */
export function bindParameters(
  cx: Context, callee: Callee, wanted: readonly Wanted[], args: readonly Arg[], at: Span, env: Env, own: Scope, path: string,
): Map<string, Bound> {
  const given = matchArguments(cx, callee, wanted, args, at);
  const out = new Map<string, Bound>();
  for (const w of wanted) {
    const arg = given.get(w.name);
    const inner = w.kind === null || w.kind === "tensor" ? {} : { wants: w.kind };
    const { wants: _, ...outer } = env;
    // A layer or router made as an argument belongs to the callee; everything else keeps the caller's path.
    const place = w.kind === "layer" || w.kind === "router" || w.kind === "route" || (w.kind === null && !env.inForward) ? { path: `${path}.${w.name}`, exact: true } : { exact: false };
    let value: Value;
    if (arg) value = coerce(cx, cx.evaluate.expr(cx, arg.value, { ...outer, ...place, ...inner }), w, arg.value.span, callee.name);
    else if (w.fallback) {
      value = coerce(cx, cx.evaluate.expr(cx, w.fallback, { scope: own, path: `${path}.${w.name}`, exact: true, inForward: env.inForward, ...(env.making ? { making: env.making } : {}), ...inner }), w, w.fallback.span, callee.name);
    } else value = w.optional && !given.has(w.name) ? { kind: "absent" } : poison;
    own.set(w.name, value, w.span, "parameter");
    out.set(w.name, { value, arg });
  }
  return out;
}

/** A value as the parameter wants it: an int for an axis becomes an axis with the parameter's name, and so on. */
export function coerce(cx: Context, v: Value, w: Wanted, at: Span, callee: string): Value {
  if (v.kind === "poison" || w.kind === null) return v;
  // One bad entry has been reported; the list is not another mistake.
  if (v.kind === "list" && v.items.some((i) => i.kind === "poison")) return poison;
  if (w.list) {
    if (v.kind !== "list") return wrong(cx, v, `a list of ${w.kind}`, w, at, callee);
    const one = { ...w, list: false };
    return { kind: "list", items: v.items.map((i) => coerce(cx, i, one, at, callee)) };
  }
  switch (w.kind) {
    case "axis":
      if (v.kind === "int") {
        cx.noteSize(w.name, v.dim, at);
        return { kind: "axis", name: w.name, size: v.dim, span: at };
      }
      break;
    case "int":
      if (v.kind === "axis") return int(v.size);
      if (v.kind === "float" && v.value !== undefined && Number.isInteger(v.value)) break;
      break;
    case "float":
      if (v.kind === "axis") return float(dimValue(v.size));
      if (v.kind === "int") return float(dimValue(v.dim));
      break;
    case "layer":
      if (v.kind === "list" && fitsKind("layer", v)) {
        return { kind: "layer", form: { kind: "sequence", layers: v.items.filter((i) => i.kind === "layer") }, span: at };
      }
      break;
    case "mask":
      // `head < 4 & causal`: a condition is a mask where one is asked for.
      if (v.kind === "scalar" && v.expr.type === "bool") return { kind: "mask", expr: v.expr, text: cx.text(at) ?? "a condition", span: at, ...(v.clause ? { clause: v.clause } : {}) };
      break;
    case "tensor":
      if (v.kind === "tensor" || v.kind === "weight" || v.kind === "int" || v.kind === "float" || v.kind === "bool" || v.kind === "absent" || (v.kind === "scalar" && cx.pair instanceof Map)) return v;
      return wrong(cx, v, "a tensor", w, at, callee);
  }
  if (v.kind === "decl" && (w.kind === "mask" || w.kind === "score") && fitsKind(w.kind, v)) {
    return cx.report("E0209", `${w.kind} \`${v.decl.name.text}\` takes arguments`, at, {
      help: `write \`${signatureOf(cx, v.decl.name, v.decl.params)}\` with values`,
    });
  }
  // `routed` takes both; what a declaration takes by a route goes by an attribute.
  const router = w.kind === "route" && w.span !== null && v.kind === "route" && v.form.kind === "router";
  if (v.kind === "absent" || (fitsKind(w.kind, v) && !router)) return v;
  return wrong(cx, v, kindWords(w.kind), w, at, callee);
}

function wrong(cx: Context, v: Value, words: string, w: Wanted, at: Span, callee: string): Value {
  const stray = v.kind === "list" && w.kind === "layer" ? v.items.find((i) => !fitsKind("layer", i)) : undefined;
  if (stray) {
    return cx.report("E0202", `a list of layers is applied in order, and this one holds ${describe(stray)}`, at, {
      also: w.span ? [{ span: w.span, text: `${words} is asked for here` }] : [], help: stray.kind === "route" ? `${describe(stray)} goes with a layer: \`routed(${stray.form.kind === "router" ? "router" : "route"}, layer)\`` : undefined,
    });
  }
  return cx.report("E0202", `\`${w.name}\` of ${callee === "the model" ? callee : `\`${callee}\``} is ${words}, and this is ${describe(v)}`, at, {
    label: describe(v), also: w.span ? [{ span: w.span, text: `${words} is asked for here` }] : [],
  });
}

export const newScope = (parent: Scope | null, outermost = false): Scope => new ScopeClass(parent, outermost);
