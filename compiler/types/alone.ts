// Every `layer`, `fn`, `mask`, `score`, `router` and `route` of a file, checked standing alone: axis parameters are variables, so a
// mistake is found where it is written, before any model uses the declaration.
// In: a declaration and its file's scope. Out: diagnostics; a declaration with errors is marked, and models stay silent about it.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Decl, FnDecl, LayerDecl, Param, ProcessDecl, TokenizerDecl } from "../ast/nodes.ts";
import { dimVar } from "../dim/dim.ts";
import { GraphBuilder, originAt } from "../graph/builder.ts";
import * as S from "../scalar/expr.ts";
import { coerce, newScope, wantedOf } from "./calls.ts";
import { checkingLeaves } from "./checking_leaves.ts";
import type { Context } from "./context.ts";
import { newRun, nothingMade } from "./context.ts";
import { maskBody, scoreBody } from "./functions.ts";
import { applyMethod, layerAlone } from "./layers.ts";
import { routerAlone } from "./routers.ts";
import { bind, paramKinds } from "./scope.ts";
import type { Scope, Value } from "./values.ts";
import { boolean, float, int, poison, someStream, tensor } from "./values.ts";

export function checkAlone(cx: Context, d: Decl, home: Scope): void {
  const before = cx.bag.size;
  const outer = { made: cx.made, run: cx.run, alone: cx.alone };
  cx.alone = true;
  // Truth values decide which members there are, so both are tried.
  const flags = "params" in d && d.params.some((p) => p.paramKind?.name.text === "bool") ? [false, true] : [false];
  for (const flag of flags) {
    const builder = new GraphBuilder("alone");
    cx.made = nothingMade();
    cx.run = newRun(builder, checkingLeaves(builder));
    one(cx, d, home, flag, builder);
    if (cx.bag.size > before) break;
  }
  Object.assign(cx, outer);
  if (cx.bag.size > before) cx.broken.add(d);
}

function one(cx: Context, d: Decl, home: Scope, flag: boolean, builder: GraphBuilder): void {
  const scope = newScope(home, true);
  switch (d.kind) {
    case "router":
      for (const p of d.params) standIn(cx, p, scope, flag, builder);
      routerAlone(cx, d, scope, (m) => (m.inputs[0] ? input(m.inputs[0], scope, builder) : poison));
      return;
    case "layer":
    case "tokenizer":
    case "process":
      for (const p of d.params) standIn(cx, p, scope, flag, builder);
      if (d.kind !== "layer" && "value" in d && d.value) return;
      checkMembers(cx, d, scope, builder);
      return;
    case "fn":
      for (const p of d.params) standIn(cx, p, scope, flag, builder);
      fnAlone(cx, d, scope);
      return;
    case "mask":
      for (const p of d.params) standIn(cx, p, scope, flag, builder);
      maskBody(cx, d, scope, d.name.span);
      return;
    case "score":
      for (const p of d.params) standIn(cx, p, scope, flag, builder);
      scoreBody(cx, d, scope, d.name.span);
      return;
    case "route":
      for (const p of d.params) standIn(cx, p, scope, flag, builder);
      if (d.body.kind !== "by") {
        const v = cx.evaluate.expr(cx, d.body, { scope, path: "", exact: false, inForward: false });
        coerce(cx, v, { name: "the body", kind: "route", span: d.name.span }, d.body.span, d.name.text);
      } else cx.evaluate.expr(cx, d.body, { scope, path: "", exact: false, inForward: false });
      return;
    default:
  }
}

/** A layer's members and methods; tokenizers and processes have the same parts. */
function checkMembers(cx: Context, d: LayerDecl | TokenizerDecl | ProcessDecl, scope: Scope, builder: GraphBuilder): void {
  const members = d.members ?? [];
  const asLayer: LayerDecl = { kind: "layer", name: d.name, doc: d.doc, span: d.span, params: d.params, members };
  const layer = layerAlone(cx, asLayer, scope);
  if (layer.form.kind !== "instance") return;
  for (const m of layer.form.methods.values()) {
    const inputs = m.inputs.map((p) => input(p, scope, builder));
    applyMethod(cx, layer.form, m.name.text, inputs, m.name.span);
  }
  if (d.kind === "layer" && !layer.form.methods.has("forward")) {
    cx.report("E0212", `layer \`${d.name.text}\` has no \`forward\``, d.name.span, { help: "write `forward x[t, d] = …`" });
  }
}

function fnAlone(cx: Context, d: FnDecl, scope: Scope): void {
  cx.evaluate.expr(cx, d.body, { scope, path: d.name.text, exact: false, inForward: true });
}

/** The input of a method: every axis that is a parameter with that size, every other one with a size of its own. */
function input(p: Param, scope: Scope, builder: GraphBuilder): Value {
  if (!p.axes) return poison;
  const axes = [];
  for (const a of p.axes) {
    const v = scope.find(a.text)?.value();
    if (v?.kind === "poison") return poison;
    axes.push(v?.kind === "axis" ? { name: v.name, size: v.size } : v?.kind === "int" ? { name: a.text, size: v.dim } : { name: a.text, size: dimVar(a.text) });
  }
  if (new Set(axes.map((a) => a.name)).size < axes.length) return poison;
  const kind = p.paramKind?.name.text;
  const dtype = kind === "int" ? "i32" : kind === "bool" ? "bool" : "f32";
  return tensor(builder.add("input", [], { name: `${p.name.text}[${axes.map((a) => a.name).join(",")}]`, type: { dtype, axes } }, originAt(p.name.text)));
}

/** Binds a parameter to something that stands for any value of its kind. */
function standIn(cx: Context, p: Param, scope: Scope, flag: boolean, builder: GraphBuilder): void {
  const name = p.name.text;
  const at = p.name.span;
  const kind = p.paramKind?.name.text;
  if (kind && !paramKinds.includes(kind) && kind !== "tensor" && kind !== "tokenizer") {
    cx.report("E0201", `there is no kind \`${kind}\``, p.paramKind?.name.span ?? at, { help: didYouMean(kind, paramKinds) ?? `the kinds are ${paramKinds.map((k) => `\`${k}\``).join(", ")}` });
  }
  const value = ((): Value => {
    if (p.axes) {
      for (const a of p.axes) if (!scope.find(a.text)) scope.set(a.text, { kind: "axis", name: a.text, size: dimVar(a.text), span: a.span }, a.span, "axis");
      return input(p, scope, builder);
    }
    if (p.paramKind?.list) return poison;
    switch (kind) {
      case "axis":
        cx.noteSize(name, dimVar(name), at);
        return { kind: "axis", name, size: dimVar(name), span: at };
      case "int": return int(dimVar(name));
      case "float": return float(undefined);
      case "bool": return boolean(flag);
      case "string": return { kind: "string", value: "" };
      case "mask": return { kind: "mask", expr: S.name(name, "bool"), text: name, span: at };
      case "score": return { kind: "score", expr: S.name(name, "f32"), text: name, span: at };
      case "layer": return { kind: "layer", form: { kind: "unknown" }, span: at };
      case "route": case "router": return { kind: "route", form: { kind: "unknown" }, span: at };
      case "stream": return someStream(name, at);
      case "process": return { kind: "process", name };
      case "attribute": return { kind: "attribute", name };
      case "init": return { kind: "init", init: { kind: "zeros" } };
      default: return poison;
    }
  })();
  bind(cx, scope, p.name, value, "parameter", "parameter");
  if (p.fallback) {
    const v = cx.evaluate.expr(cx, p.fallback, { scope, path: name, exact: true, inForward: false, ...(kind ? { wants: kind } : {}) });
    coerce(cx, v, wantedOf(p), p.fallback.span, name);
  }
}
