// Calling what is declared with `fn`, `mask`, `score`, `route` and `process`.
// A mask or score becomes one ScalarExpr over token attributes, whatever functions and other masks it is made of.
// Processes of one's own are checked and then said to be not built yet.

import type { Span } from "../../grammar/source.ts";
import type { Arg, FnDecl, Ident, MaskDecl, ProcessDecl, RouteDecl, ScoreDecl } from "../ast/nodes.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import * as S from "../scalar/expr.ts";
import { bindParameters, newScope, signatureOf, wantedOf } from "./calls.ts";
import type { Callee } from "./calls.ts";
import { joined } from "./clauses.ts";
import type { Context } from "./context.ts";
import { toScalar } from "./operators.ts";
import { bind } from "./scope.ts";
import { tableAxes } from "./score_tables.ts";
import { bindAxes } from "./tensors.ts";
import { notTooLarge } from "./too_large.ts";
import type { Env, Scope, ScoreTable, Value } from "./values.ts";
import { describe, poison, scalar } from "./values.ts";

const MAX_DEPTH = 120;

const calleeOf = (cx: Context, decl: { name: Ident; params: FnDecl["params"] }): Callee => ({
  name: decl.name.text, declared: decl.name.span, signature: signatureOf(cx, decl.name, decl.params),
});

export function callFunction(cx: Context, decl: FnDecl, home: Scope, args: readonly Arg[], at: Span, env: Env): Value {
  if (cx.frames.length > MAX_DEPTH) return cx.report("E0223", `function \`${decl.name.text}\` calls itself without end`, at);
  if (cx.broken.has(decl) || cx.outgrown.has(decl)) return cx.broke();
  const scope = newScope(home, true);
  return cx.within(`function \`${decl.name.text}\``, at, () => {
    const bound = bindParameters(cx, calleeOf(cx, decl), decl.params.map(wantedOf), args, at, env, scope, env.path);
    for (const p of decl.params) {
      const v = bound.get(p.name.text)?.value;
      if (p.axes && v?.kind === "tensor" && !bindAxes(cx, p.name, p.axes, cx.run?.builder.type(v.node).axes ?? [], scope, at)) return poison;
    }
    const made = cx.evaluate.expr(cx, decl.body, { scope, path: env.path, exact: false, inForward: env.inForward, ...(env.making ? { making: env.making } : {}) });
    const v = notTooLarge(cx, `function \`${decl.name.text}\``, decl, made, decl.body.span);
    return joined(cx, "call", v, [{ value: v, span: decl.body.span }], at);
  });
}

export function makeMask(cx: Context, decl: MaskDecl, home: Scope, args: readonly Arg[], at: Span, env: Env): Value {
  const scope = newScope(home, true);
  if (cx.frames.length > MAX_DEPTH) return cx.report("E0223", `mask \`${decl.name.text}\` contains itself without end`, at);
  if (cx.outgrown.has(decl) || (cx.broken.has(decl) && !cx.alone)) return cx.broke();
  return cx.within(`mask \`${decl.name.text}\``, at, () => {
    bindParameters(cx, calleeOf(cx, decl), decl.params.map(wantedOf), args, at, env, scope, env.path);
    return maskBody(cx, decl, scope, at);
  });
}

/** The mask of a declaration whose parameters are bound in `scope`. */
export function maskBody(cx: Context, decl: MaskDecl, scope: Scope, at: Span): Value {
  const [q, k] = decl.subjects;
  if (q) bind(cx, scope, q, { kind: "subject", side: "q" }, "input", "token");
  if (k) bind(cx, scope, k, { kind: "subject", side: "k" }, "input", "token");
  if (q && !k) {
    return cx.report("E0209", `mask \`${decl.name.text}\` names one token, and a mask is about two`, q.span, { help: `write \`(${q.text}, k)\`: the token that looks, and the one looked at` });
  }
  const extra = decl.subjects[2];
  if (extra) return cx.report("E0210", "a mask is about two tokens", extra.span);
  setInfo(scope);
  const made = onPair(cx, "mask", () => cx.evaluate.expr(cx, decl.body, { scope, path: "", exact: false, inForward: false }));
  const v = notTooLarge(cx, `mask \`${decl.name.text}\``, decl, made, decl.body.span);
  const body = [{ value: v, span: decl.body.span }];
  if (v.kind === "mask") return joined(cx, "call", { ...v, text: cx.text(at) ?? decl.name.text }, body, at);
  if (v.kind === "poison") return poison;
  const expr = toScalar(v);
  if (!expr || expr.type !== "bool") {
    return cx.report("E0202", `the body of mask \`${decl.name.text}\` is ${describe(v)}, not a condition`, decl.body.span, {
      help: v.kind === "score" ? "a score changes a logit; declare it with `score`" : "a mask says which pairs may attend: `q.pos >= k.pos`",
    });
  }
  return joined(cx, "call", { kind: "mask", expr, text: cx.text(at) ?? decl.name.text, span: at }, body, at);
}

export function makeScore(cx: Context, decl: ScoreDecl, home: Scope, args: readonly Arg[], at: Span, env: Env): Value {
  const scope = newScope(home, true);
  if (cx.frames.length > MAX_DEPTH) return cx.report("E0223", `score \`${decl.name.text}\` contains itself without end`, at);
  if (cx.outgrown.has(decl) || (cx.broken.has(decl) && !cx.alone)) return cx.broke();
  return cx.within(`score \`${decl.name.text}\``, at, () => {
    bindParameters(cx, calleeOf(cx, decl), decl.params.map(wantedOf), args, at, env, scope, env.path);
    for (const p of decl.params) {
      const v = scope.entries.get(p.name.text)?.value();
      if (p.axes && v && !tableAxes(cx, p.name, p.axes, v, scope, at)) return poison;
    }
    return scoreBody(cx, decl, scope, at);
  });
}

export function scoreBody(cx: Context, decl: ScoreDecl, scope: Scope, at: Span): Value {
  const [s, q, k] = decl.subjects;
  if (s) bind(cx, scope, s, scalar(S.name("s", "f32")), "input", "logit");
  if (q) bind(cx, scope, q, { kind: "subject", side: "q" }, "input", "token");
  if (k) bind(cx, scope, k, { kind: "subject", side: "k" }, "input", "token");
  setInfo(scope);
  // A score inside another may be given what that one reads.
  const tables = new Map<string, ScoreTable>(cx.pair instanceof Map ? cx.pair : []);
  const made = onPair(cx, tables, () => cx.evaluate.expr(cx, decl.body, { scope, path: "", exact: false, inForward: false }));
  const v = notTooLarge(cx, `score \`${decl.name.text}\``, decl, made, decl.body.span);
  if (v.kind === "poison") return poison;
  if (v.kind === "score") return v;
  const expr = toScalar(v);
  if (!expr || expr.type === "bool") {
    return cx.report("E0202", `the body of score \`${decl.name.text}\` is ${v.kind === "mask" || expr ? "a condition" : describe(v)}, not a number`, decl.body.span, {
      help: v.kind === "mask" || expr ? "a condition on two tokens is a `mask`" : "a score gives the new logit: `limit * tanh(s / limit)`",
    });
  }
  return { kind: "score", expr: S.unary("to_f32", expr), text: cx.text(at) ?? decl.name.text, span: at, ...(tables.size > 0 ? { tables } : {}) };
}

/** `head` and `layer` may be read in masks and scores. */
export function setInfo(scope: Scope): void {
  for (const n of ["head", "layer"]) if (!scope.entries.has(n)) scope.set(n, scalar(S.name(n, "i32")), null, "builtin");
}

/** Evaluates something about a pair of tokens: tensors are read at the pair in a score, and not at all in a mask. */
function onPair(cx: Context, pair: Context["pair"], body: () => Value): Value {
  const outer = cx.pair;
  cx.pair = pair;
  try {
    return body();
  } finally {
    cx.pair = outer;
  }
}

/** Parameters of a declaration that is checked and not built: bound, and its kind told. */
export function makeOther(cx: Context, decl: RouteDecl | ProcessDecl, home: Scope, args: readonly Arg[], at: Span, env: Env): Value {
  const scope = newScope(home, true);
  const name = decl.name.text;
  return cx.within(`${decl.kind} \`${name}\``, at, () => {
    bindParameters(cx, calleeOf(cx, decl), decl.params.map(wantedOf), args, at, env, scope, env.path);
    if (decl.kind === "route") {
      const v = cx.evaluate.expr(cx, decl.body, { scope, path: env.path, exact: false, inForward: false, wants: "route", ...(env.making ? { making: env.making } : {}) });
      return v.kind === "route" && v.form.kind === "by" && decl.body.kind === "by" ? { ...v, form: { ...v.form, name } } : v;
    }
    cx.later("E0402", `process \`${name}\` checks, but processes of one's own are not built yet`, at, { help: "`diffusion` and `flow` are built" });
    return { kind: "process", name };
  });
}
