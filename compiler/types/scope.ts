// Binding names and looking them up. In: identifiers and scopes. Out: values, or a diagnostic with the nearest name of the same kind.
// Refuses a name that is bound twice in one region, and a name that hides another of the same declaration.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Context } from "./context.ts";
import { moduleWith, namesElsewhere } from "./library.ts";
import type { Entry, Env, Origin, Scope, Value } from "./values.ts";
import { poison } from "./values.ts";

interface Named {
  readonly text: string;
  readonly span: Span;
}

const local: ReadonlySet<Origin> = new Set(["parameter", "member", "input", "axis", "let"]);

/** The entry of this name in the same declaration, from this scope outwards. */
function findInDeclaration(scope: Scope, name: string): Entry | undefined {
  for (let s: Scope | null = scope; s; s = s.parent) {
    const e = s.entries.get(name);
    if (e && local.has(e.origin)) return e;
    if (s.outermost) return undefined;
  }
  return undefined;
}

/** Reports a name that is taken; true when it may be bound. */
export function mayBind(cx: Context, scope: Scope, name: Named, what = "name"): boolean {
  if (name.text === "") return false;
  const own = scope.entries.get(name.text);
  if (own?.span) {
    cx.report("E0203", `\`${name.text}\` is declared twice`, name.span, {
      label: "again here", also: [{ span: own.span, text: "first here" }],
    });
    return false;
  }
  const outer = findInDeclaration(scope, name.text);
  if (outer?.span) {
    cx.report("E0204", `this ${what} hides \`${name.text}\``, name.span, {
      label: "a second meaning", also: [{ span: outer.span, text: `\`${name.text}\` is bound here` }],
      help: "give it a name of its own",
    });
    return false;
  }
  return true;
}

/** Binds a name, reporting one that is taken; the new value holds from here on either way. */
export function bind(cx: Context, scope: Scope, name: Named, value: Value, origin: Origin, what = "name"): void {
  if (name.text === "") return;
  mayBind(cx, scope, name, what);
  scope.set(name.text, value, name.span, origin);
}

/** Which values fit a kind of parameter. */
const fits: Readonly<Record<string, (v: Value) => boolean>> = {
  axis: (v) => v.kind === "axis" || v.kind === "int",
  int: (v) => v.kind === "int" || v.kind === "axis",
  float: (v) => v.kind === "int" || v.kind === "axis" || v.kind === "float",
  bool: (v) => v.kind === "bool",
  string: (v) => v.kind === "string",
  mask: (v) => v.kind === "mask" || (v.kind === "decl" && v.decl.kind === "mask"),
  score: (v) => v.kind === "score" || (v.kind === "decl" && v.decl.kind === "score"),
  layer: (v) => v.kind === "layer" || (v.kind === "decl" && v.decl.kind === "layer") || (v.kind === "list" && v.items.every((i) => i.kind === "layer")),
  route: (v) => v.kind === "route" || (v.kind === "decl" && (v.decl.kind === "route" || v.decl.kind === "router")),
  router: (v) => v.kind === "route" || (v.kind === "decl" && v.decl.kind === "router"),
  stream: (v) => v.kind === "stream",
  task: (v) => v.kind === "task",
  process: (v) => v.kind === "process",
  init: (v) => v.kind === "init",
  weight: (v) => v.kind === "weight",
  fn: (v) => v.kind === "builtin" || v.kind === "lambda" || (v.kind === "decl" && v.decl.kind === "fn"),
  attribute: (v) => v.kind === "attribute",
  callable: (v) => v.kind === "builtin" || v.kind === "lambda" || v.kind === "decl" || v.kind === "layer",
};

/** Kinds a parameter may be declared with. */
export const paramKinds = Object.keys(fits).filter((k) => k !== "callable");

export const fitsKind = (kind: string, v: Value): boolean => fits[kind]?.(v) ?? true;

/** A stream or task of the model has its name in masks and routes of other files too, also where a built-in function is called so. */
function found(cx: Context, name: string, env: Env): Entry | undefined {
  const near = env.scope.find(name);
  if (near?.origin !== "builtin" || env.wants === "callable") return near ?? cx.modelScope?.find(name);
  const own = cx.modelScope?.entries.get(name);
  const kind = own && own.ready?.() !== false ? own.value().kind : undefined;
  return own && (kind === "stream" || kind === "task") ? own : near;
}

/** Whether the name is bound by a file or declaration, and not merely built in. */
export function isBound(env: Env, name: string): boolean {
  const entry = env.scope.find(name);
  return entry !== undefined && entry.origin !== "builtin";
}

/** The value of a name, or poison after a report. */
export function lookUp(cx: Context, name: Named, env: Env): Value {
  const entry = found(cx, name.text, env);
  if (entry) {
    if (entry.span) cx.seen.add(entry.span);
    // A member that is worked out now is worked out for itself, not for the mask or score that asks for it.
    const { pair } = cx;
    cx.pair = null;
    const value = entry.value();
    cx.pair = pair;
    return value;
  }
  return unknownName(cx, name, env);
}

const words: Readonly<Record<string, string>> = { callable: "name", fn: "function", int: "number", float: "number", bool: "truth value", init: "initialiser" };

/** A name that needs a `use`, if this is one with a slip. */
function inLibrary(name: string): string | undefined {
  const near = didYouMean(name, namesElsewhere);
  const found = near && namesElsewhere.find((n) => near.includes(`\`${n}\``));
  return found && `${near} \`use ${moduleWith(found) ?? "std"} { ${found} }\``;
}

export function unknownName(cx: Context, name: Named, env: Env): Value {
  if (name.text === "") return poison;
  const wants = env.wants;
  const candidates: string[] = [];
  const all = env.scope.visible();
  if (cx.modelScope) for (const [n, e] of cx.modelScope.visible()) if (!all.has(n)) all.set(n, e);
  for (const [n, e] of all) if (!wants || ((e.ready?.() ?? true) && fitsKind(wants, e.value()))) candidates.push(n);
  const word = wants === undefined ? "name" : (words[wants] ?? wants);
  const tokens = name.text === "q" || name.text === "k" ? "the two tokens are named where a mask is declared: `mask mine(q, k) = …`" : undefined;
  const module = moduleWith(name.text);
  const use = module && `the library has it: \`use ${module} { ${name.text} }\` at the top of the file`;
  return cx.report("E0201", `there is no ${word} \`${name.text}\` here`, name.span, { help: tokens ?? use ?? didYouMean(name.text, candidates) ?? inLibrary(name.text) });
}
