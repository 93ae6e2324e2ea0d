// From values to nodes of the graph being filled, and from refused ops to diagnostics in the language's words.
// A weight becomes its state, a number a constant, a stream its id. The places of an error are the operands' own spans.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Details } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/source.ts";
import type { Ident } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimSub, dimText, dimValue } from "../dim/dim.ts";
import type { InferFailure } from "../graph/builder.ts";
import type { Axis, DType, NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { Context } from "./context.ts";
import { weightNode } from "./stacks.ts";
import type { Env, Scope, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

/** A value that stands for a tensor. */
export const isTensor = (v: Value): boolean => v.kind === "tensor" || v.kind === "weight";
/** A value that may be an operand beside a tensor. */
export const isNumeric = (v: Value): boolean =>
  isTensor(v) || v.kind === "int" || v.kind === "float" || v.kind === "bool" || v.kind === "axis" || v.kind === "stream" || v.kind === "task";

/** The node of a value. `like` is the dtype a bare whole number takes. Undefined after a report (or for poison). */
export function toNode(cx: Context, v: Value, at: Span, env: Env, like: DType = "f32"): NodeId | undefined {
  const out = cx.emit(env, at, (make) => {
    switch (v.kind) {
      case "tensor": return v.node;
      case "weight": return v.by && cx.withoutTokens("a weight by a route", at) ? poison : weightNode(cx, make, v);
      case "int": return number(make, dimValue(v.dim) ?? 1, like);
      case "axis": return number(make, dimValue(v.size) ?? 1, like);
      case "float": return make.const(v.value ?? 1, "f32");
      case "bool": return make.const(v.value ? 1 : 0, "bool");
      case "stream": case "task": return make.const(v.id ?? 0, "i32");
      case "poison": return poison;
      default: return cx.report("E0219", `${describe(v)} where a tensor is needed`, at);
    }
  }, (f) => void refuse(cx, f, at, [at]));
  return out.kind === "tensor" ? out.node : undefined;
}

const number = (make: Make, value: number, like: DType): NodeId => make.const(value, like === "bool" ? "f32" : like);

/** Operands brought to one dtype: whole numbers become floats where they meet floats. */
export function unify(cx: Context, env: Env, at: Span, nodes: readonly NodeId[]): NodeId[] {
  const run = cx.run;
  if (!run) return [...nodes];
  const types = nodes.map((n) => run.builder.type(n).dtype);
  if (types.every((t) => t === types[0]) || types.some((t) => t === "bool")) return [...nodes];
  return nodes.map((n) => (run.builder.type(n).dtype === "f32" ? n : run.builder.add("cast", [n], { dtype: "f32" }, cx.origin(at, env))));
}

export const axesOf = (cx: Context, node: NodeId): readonly { readonly name: string; readonly size: Dim }[] => cx.run?.builder.type(node).axes ?? [];

const listed = (names: readonly string[]): string => (names.length === 0 ? "it has none" : `its axes are ${names.map((n) => `\`${n}\``).join(", ")}`);
export const axesText = (cx: Context, node: NodeId): string => listed(axesOf(cx, node).map((a) => a.name));

/** Says that two places give an axis different sizes, and where each size comes from. */
export function reportSizes(cx: Context, at: Span, axis: string, a: { span: Span; size: Dim }, b: { span: Span; size: Dim }): void {
  const [x, y] = [dimText(a.size), dimText(b.size)];
  const from = (size: Dim): string => {
    const s = cx.sizeFrom(axis, size);
    if (!s) return "";
    const text = cx.text(s);
    return ` (from ${text ? `\`${text}\`, ` : ""}${cx.place(s)})`;
  };
  const also = [];
  if (a.span.start !== at.start || a.span.end !== at.end || a.span.source !== at.source) {
    also.push({ span: a.span, text: `${cx.quote(a.span, "this")} has ${axis} = ${x}${from(a.size)}` });
  }
  cx.report("E0214", `axis \`${axis}\` is ${x} here and ${y} there`, b.span, {
    label: `${cx.quote(b.span, "this")} has ${axis} = ${y}${from(b.size)}`, also,
  });
}

/** Turns a refused op into a diagnostic. `spans` are the places of the op's operands, in order. */
export function refuse(cx: Context, failure: InferFailure, at: Span, spans: readonly Span[]): void {
  const { error } = failure;
  const place = (arg: number): Span => spans[arg] ?? at;
  if (cx.alone && error.a?.dim && error.b?.dim && !provable(error.a.dim, error.b.dim)) return;
  switch (error.kind) {
    case "axis_size": {
      const { a, b, axis } = error;
      if (a?.dim && b?.dim && axis) reportSizes(cx, at, axis, { span: place(a.arg), size: a.dim }, { span: place(b.arg), size: b.dim });
      return;
    }
    case "missing_axis": {
      const arg = error.a?.arg ?? 0;
      const names = missingNames(error.message);
      const what = cx.quote(place(arg), "this");
      cx.report("E0213", `${what} has no axis \`${error.axis}\``, place(arg), {
        label: listed(names), also: place(arg) === at ? [] : [{ span: at, text: `\`${error.axis}\` is needed here` }],
        help: didYouMean(error.axis ?? "", names),
      });
      return;
    }
    case "duplicate_axis":
      cx.report("E0215", `axis \`${error.axis}\` would occur twice`, at, { help: "give one of them another name: `rename[d -> e](x)`, or `axis e = d` as an argument" });
      return;
    case "dtype":
      cx.report("E0219", dtypeWords(error.message), place(error.b?.arg ?? error.a?.arg ?? 0), operandHelp(error.message));
      return;
    case "arity":
      cx.report("E0209", error.message, at);
      return;
    case "size":
      cx.report("E0218", error.message, at, sizeHelp(cx, error.axis, error.a?.dim));
  }
}

function sizeHelp(cx: Context, axis: string | undefined, size: Dim | undefined): Details {
  const from = axis && size ? cx.sizeFrom(axis, size) : undefined;
  return from ? { also: [{ span: from, text: `\`${axis}\` gets its size here` }] } : {};
}

const missingNames = (message: string): string[] => [...message.matchAll(/`([^`]+)`/g)].map((m) => m[1] ?? "").slice(1);

const nouns: Readonly<Record<string, string>> = { f32: "float", i32: "whole number", u32: "whole number", bool: "truth value" };

/** `an f32 value where i32 is needed`, in the language's words. */
function dtypeWords(message: string): string {
  const [, has, needs] = /^an? (\w+) value where (.*) is needed$/.exec(message) ?? [];
  if (has === undefined || needs === undefined) return message.replace(/\b(f32|i32|u32|bool)\b/g, (t) => `${nouns[t] ?? t}s`).replace("; cast one of them", "");
  const wanted = [...new Set(needs.split(" or ").map((t) => nouns[t] ?? t))];
  return `a ${nouns[has] ?? has} where a ${wanted.length > 1 ? "number" : wanted.join("")} is needed`;
}

const operandHelp = (message: string): Details => (message.includes("bool") ? { help: "`float(…)` turns true and false into 1 and 0; `where(c, a, b)` chooses" } : {});

/** Whether unequal symbolic sizes are unequal for all values: quotients of variables may still agree. */
function provable(a: Dim, b: Dim): boolean {
  if ((dimValue(dimSub(a, b)) ?? 0) !== 0) return true;
  return ![a, b].some((d) => d.terms.some((t) => t.vars.some((v) => v.startsWith("("))));
}

/** Checks that a value has the axes that a parameter asks for (`x[t, d]`) and binds those names that are new. False after a report. */
export function bindAxes(cx: Context, name: Ident, wanted: readonly Ident[], has: readonly Axis[], scope: Scope, at: Span): boolean {
  for (const a of wanted) {
    const known = scope.find(a.text)?.value();
    const axis = known?.kind === "axis" ? known.name : a.text;
    const found = has.find((x) => x.name === axis);
    if (!found) {
      cx.report("E0213", `\`${name.text}\` needs axis \`${axis}\`, which is missing here`, at, {
        label: has.length === 0 ? "it has no axes" : `its axes are ${has.map((x) => `\`${x.name}\``).join(", ")}`, also: [{ span: a.span, text: "asked for here" }],
      });
      return false;
    }
    if (known?.kind !== "axis") scope.set(a.text, { kind: "axis", name: a.text, size: found.size, span: a.span }, a.span, "axis");
  }
  return true;
}
