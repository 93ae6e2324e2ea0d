// The one elaborator: expressions of the language to values, tensors among them as nodes of the graph being filled.
// Checking runs it with symbolic sizes, lowering with the model's own; see docs/decisions/0001-one-elaborator.md.
// Never throws on a checked or unchecked tree: what does not fit is reported and becomes poison, which stays silent.

import type { Span } from "../../grammar/source.ts";
import type { Arg, BlockExpr, CallExpr, Expr, Ident, LetStatement, StackExpr, Statement, WhenExpr } from "../ast/nodes.ts";
import { dimConst, dimEqual, dimValue, dimVar } from "../dim/dim.ts";
import * as S from "../scalar/expr.ts";
import { attributeValue } from "./attributes.ts";
import { callBuiltin } from "./builtins.ts";
import { mapClause } from "./clause.ts";
import { joined } from "./clauses.ts";
import { coerce, matchArguments, newScope } from "./calls.ts";
import { Context, type Evaluate } from "./context.ts";
import { callFunction, makeMask, makeOther, makeScore } from "./functions.ts";
import { applyLayer, claimPath, makeLayer } from "./layers.ts";
import { memberOf } from "./members.ts";
import { applyRouted } from "./routed.ts";
import { makeRouter } from "./routers.ts";
import { routeBy } from "./routes.ts";
import { binaryValue, toScalar, unaryValue } from "./operators.ts";
import { onLogit, tensorOfPair } from "./score_tables.ts";
import { bind, isBound, lookUp } from "./scope.ts";
import { axesOf, axesText, isTensor, reportSizes, toNode } from "./tensors.ts";
import type { AxisValue, Env, LayerValue, Scope, Value } from "./values.ts";
import { boolean, describe, float, int, poison, scalar, someStream } from "./values.ts";

const MAX_COUNT = 10_000;

function evaluate(cx: Context, e: Expr, env: Env): Value {
  const v = worth(cx, e, env);
  return cx.pair && isTensor(v) ? tensorOfPair(cx, v, e.span) : v;
}

function worth(cx: Context, e: Expr, env: Env): Value {
  switch (e.kind) {
    case "number": return e.integer ? int(dimConst(e.value)) : float(e.value);
    case "string": return { kind: "string", value: e.value };
    case "bool": return boolean(e.value);
    case "missing": return poison;
    case "name": {
      if (env.wants === "attribute") return attributeValue(cx, e.text, e.span, env);
      // `within(image)` in a mask outside any model: the stream is the one that the model has under that name.
      if (env.wants === "stream" && cx.alone && !cx.modelScope && e.text !== "" && !isBound(env, e.text)) return someStream(e.text, e.span);
      return named(cx, lookUp(cx, e, env), e.span, env);
    }
    case "member": return named(cx, memberOf(cx, evaluate(cx, e.target, inner(env)), e.name, e.target.span, e.span, env), e.span, env);
    case "index": return indexValue(cx, evaluate(cx, e.target, inner(env)), e.brackets.items, e.span, env);
    case "call": return call(cx, e, env);
    case "unary": {
      const operand = { value: evaluate(cx, e.operand, inner(env)), span: e.operand.span };
      return joined(cx, "not", unaryValue(cx, e.op, operand, e.span, env), [operand], e.span);
    }
    case "binary": {
      const open = openNames(cx, e.left, e.right, env);
      const side = (x: Expr): Value => evaluate(cx, x, { ...inner(env), scope: open });
      const [a, b] = [{ value: side(e.left), span: e.left.span }, { value: side(e.right), span: e.right.span }];
      const v = binaryValue(cx, e.op, e.opSpan, a, b, e.span, env);
      return e.op === "&" || e.op === "|" ? joined(cx, e.op === "&" ? "and" : "or", v, [a, b], e.span) : v;
    }
    case "range": {
      const [a, b] = [evaluate(cx, e.from, inner(env)), evaluate(cx, e.to, inner(env))];
      const [from, to] = [sizeOf(a), sizeOf(b)];
      if (from && to) return { kind: "range", from, to };
      if (a.kind !== "poison" && b.kind !== "poison") cx.report("E0202", "a range goes between whole numbers", e.span);
      return poison;
    }
    case "when": return whenValue(cx, e, env);
    case "by": return routeBy(cx, e, inner(env));
    case "lambda": return { kind: "lambda", expr: e, env };
    case "stack": return stackValue(cx, e, env);
    case "axis": return axisValue(cx, e.name, e.size, env);
    case "list": {
      // The stack of a body keeps the body's path (`body[3].attn`); what stands beside it adds its own name (`body.rms_norm`).
      const stack = e.items.find((x) => x.kind === "stack");
      const wants = env.wants === undefined ? {} : { wants: env.wants };
      return { kind: "list", items: e.items.map((x) => evaluate(cx, x, { ...inner(env), ...wants, exact: env.exact && x === stack })) };
    }
    case "tuple": return { kind: "tuple", items: e.items.map((x) => evaluate(cx, x, inner(env))) };
    case "block": return blockValue(cx, e, env);
  }
}

/** The environment of a part of an expression: no longer the whole value of a member. */
function inner(env: Env): Env {
  const { wants: _, ...rest } = env;
  return { ...rest, exact: false };
}

const sizeOf = (v: Value) => (v.kind === "int" ? v.dim : v.kind === "axis" ? v.size : undefined);

/** A bare name of a mask, score or route without parameters is its value. */
function named(cx: Context, v: Value, at: Span, env: Env): Value {
  if (v.kind !== "decl" || v.decl.params.length > 0) return v;
  switch (v.decl.kind) {
    case "mask": return makeMask(cx, v.decl, v.scope, [], at, env);
    case "score": return makeScore(cx, v.decl, v.scope, [], at, env);
    case "route": return makeOther(cx, v.decl, v.scope, [], at, env);
    case "router": return makeRouter(cx, v.decl, v.scope, [], at, env);
    default: return v;
  }
}

/** `k.stream != noisy` in a mask outside any model: the stream is the one that the model has under that name. */
function openNames(cx: Context, a: Expr, b: Expr, env: Env): Scope {
  if (cx.modelScope) return env.scope;
  const attribute = [a, b].find((x) => x.kind === "member" && (x.name.text === "stream" || x.name.text === "task"));
  const other = attribute === a ? b : a;
  if (!attribute || other.kind !== "name" || isBound(env, other.text)) return env.scope;
  const scope = newScope(env.scope);
  scope.set(other.text, scalar(S.name(`${attribute.kind === "member" ? attribute.name.text : ""}.${other.text}`, "i32")), other.span, "file");
  return scope;
}

// ---------------------------------------------------------------- choices and repetition

function whenValue(cx: Context, e: WhenExpr, env: Env): Value {
  const c = evaluate(cx, e.condition, inner(env));
  if (c.kind === "poison") return poison;
  if (c.kind === "bool") {
    if (c.value !== undefined) return evaluate(cx, c.value ? e.value : e.otherwise, env);
    const first = evaluate(cx, e.value, env);
    evaluate(cx, e.otherwise, env);
    return first;
  }
  const test = c.kind === "mask" || c.kind === "scalar" ? c.expr : undefined;
  if (test && test.type === "bool") {
    const [x, y] = [evaluate(cx, e.value, inner(env)), evaluate(cx, e.otherwise, inner(env))];
    const [a, b] = [toScalar(x), toScalar(y)];
    if (!a || !b) {
      const [wrong, at] = a ? [y, e.otherwise.span] : [x, e.value.span];
      return wrong.kind === "poison" || (a === undefined && y.kind === "poison") ? poison : cx.report("E0202", `\`when\` over tokens gives conditions or numbers, and this is ${describe(wrong)}`, at);
    }
    // Two masks to choose from are a mask: `when head < 4 then causal else window(64)`.
    const chosen = S.select(test, a, b);
    const value: Value = x.kind === "mask" && y.kind === "mask" ? { kind: "mask", expr: chosen, text: cx.sources.get(e.span.source)?.text.slice(e.span.start, e.span.end).replace(/\s+/g, " ") ?? "when", span: e.span } : scalar(chosen);
    if (a.type === b.type) return joined(cx, "when", value, [{ value: c, span: e.condition.span }, { value: x, span: e.value.span }, { value: y, span: e.otherwise.span }], e.span);
    if (a.type !== "bool" && b.type !== "bool") return scalar(S.select(test, S.unary("to_f32", a), S.unary("to_f32", b)));
    return cx.report("E0219", "one branch is a condition and the other a number", e.span);
  }
  return cx.report("E0224", `\`when\` decides while the model is built, and this is ${describe(c)}`, e.condition.span, {
    help: isTensor(c) ? "to choose element by element, write `where(condition, a, b)`" : undefined,
  });
}

function stackValue(cx: Context, e: StackExpr, env: Env): Value {
  const count = evaluate(cx, e.count, { ...inner(env), wants: "int" });
  const size = sizeOf(count);
  if (!size) return count.kind === "poison" ? poison : cx.report("E0202", `\`stack\` repeats a whole number of times, and this is ${describe(count)}`, e.count.span);
  const n = dimValue(size);
  if (n !== undefined && (n < 0 || n > MAX_COUNT)) return cx.report("E0319", `\`stack\` cannot repeat ${n} times`, e.count.span);
  const path = env.exact ? env.path : claimPath(cx, env, "stack");
  const layers: LayerValue[] = [];
  for (let i = 0; i < (n ?? 1); i++) {
    const scope = newScope(env.scope);
    let body = e.body;
    if (body.kind === "lambda") {
      bind(cx, scope, body.parameter, int(n === undefined ? dimVar(body.parameter.text) : dimConst(i)), "let", "index");
      body = body.body;
    }
    const { wants: _, ...rest } = env;
    const v = evaluate(cx, body, { ...rest, scope, path: `${path}[${i}]`, exact: true, wants: "layer" });
    const layer = coerce(cx, v, { name: "the body", kind: "layer", span: null }, body.span, "stack");
    if (layer.kind !== "layer") return poison;
    layers.push(layer);
  }
  return { kind: "layer", form: { kind: "sequence", layers }, span: e.span };
}

/** `axis experts`, `axis k = 3`: a name for tensors, and its size. */
function axisValue(cx: Context, name: Ident, size: Expr | null, env: Env): Value {
  const v = size ? evaluate(cx, size, { ...inner(env), wants: "int" }) : lookUp(cx, name, { ...env, wants: "int" });
  const dim = sizeOf(v);
  if (!dim) return v.kind === "poison" ? poison : cx.report("E0202", `the size of axis \`${name.text}\` is ${describe(v)}, not a whole number`, (size ?? name).span);
  cx.noteSize(name.text, dim, (size ?? name).span);
  const axis: AxisValue = { kind: "axis", name: name.text, size: dim, span: (size ?? name).span };
  if (size && !env.scope.find(name.text)) env.scope.set(name.text, axis, name.span, "axis");
  return axis;
}

// ---------------------------------------------------------------- calls

function call(cx: Context, e: CallExpr, env: Env): Value {
  let callee = e.callee.kind === "name" ? lookUp(cx, e.callee, { ...inner(env), wants: "callable" }) : evaluate(cx, e.callee, inner(env));
  if (callee.kind === "builtin") return callBuiltin(cx, callee.name, e, env);
  if (e.brackets) {
    if (callee.kind === "list" || callee.kind === "tuple") callee = indexValue(cx, callee, e.brackets.items, e.brackets.span, env);
    else if (callee.kind !== "poison") {
      return cx.report("E0226", `${cx.quote(e.callee.span, "this")} takes no brackets`, e.brackets.span, { help: "axes of a declared function are given as arguments: `f(x, d)`" });
    }
  }
  if (callee.kind === "decl") {
    const { decl, scope } = callee;
    switch (decl.kind) {
      case "layer": return makeLayer(cx, decl, scope, e.args, e.span, env);
      case "fn": return callFunction(cx, decl, scope, e.args, e.span, env);
      case "mask": return decl.params.length === 0 && e.args.length === 2 ? maskOn(cx, makeMask(cx, decl, scope, [], e.callee.span, env), e, env) : makeMask(cx, decl, scope, e.args, e.span, env);
      case "score": return decl.params.length === 0 && e.args.length > 0 ? scoreOn(cx, makeScore(cx, decl, scope, [], e.callee.span, env), e, env) : makeScore(cx, decl, scope, e.args, e.span, env);
      case "router": return makeRouter(cx, decl, scope, e.args, e.span, env);
      case "route": case "process": return makeOther(cx, decl, scope, e.args, e.span, env);
      case "tokenizer":
        for (const a of e.args) evaluate(cx, a.value, inner(env));
        return { kind: "word", text: decl.name.text };
    }
  }
  switch (callee.kind) {
    case "poison":
      // Arguments may hold mistakes of their own.
      for (const a of e.args) if (a.value.kind !== "name") evaluate(cx, a.value, inner(env));
      return poison;
    case "layer": return applyTo(cx, callee, e.args, e.span, env);
    case "list":
      if (callee.items.length > 0 && callee.items.every((i) => i.kind === "layer")) {
        const layers = callee.items.filter((i) => i.kind === "layer");
        return applyTo(cx, { kind: "layer", form: { kind: "sequence", layers }, span: e.callee.span }, e.args, e.span, env);
      }
      break;
    case "mask": return maskOn(cx, callee, e, env);
    case "score": return scoreOn(cx, callee, e, env);
    case "lambda": {
      const lambda = callee;
      const given = matchArguments(cx, { name: "this function", declared: lambda.expr.span }, [{ name: lambda.expr.parameter.text, kind: null, span: lambda.expr.parameter.span }], e.args, e.span);
      const arg = given.get(lambda.expr.parameter.text);
      if (!arg) return poison;
      const scope = newScope(lambda.env.scope);
      scope.set(lambda.expr.parameter.text, evaluate(cx, arg.value, inner(env)), lambda.expr.parameter.span, "let");
      return evaluate(cx, lambda.expr.body, { ...lambda.env, scope, inForward: env.inForward, ...(env.making ? { making: env.making } : {}) });
    }
  }
  return cx.report("E0211", `${cx.quote(e.callee.span, "this")} is ${describe(callee)} and cannot be called`, e.callee.span, {
    help: isTensor(callee) ? "to multiply with a weight, write `dot[d](x, w)`" : undefined,
  });
}

function applyTo(cx: Context, layer: LayerValue, args: readonly Arg[], at: Span, env: Env): Value {
  const inputs: Value[] = [];
  for (const a of args) {
    if (a.name) cx.report("E0208", "a layer is applied to tensors by position", a.name.span);
    inputs.push(evaluate(cx, a.value, inner(env)));
  }
  if (!cx.run) return cx.report("E0227", "tensors exist only while a layer is applied", at, { help: "apply layers inside `forward`" });
  return applyLayer(cx, layer, inputs, at);
}

/** `m(q, k)`: a mask on the tokens it is written for, or on the two exchanged. */
function maskOn(cx: Context, mask: Value, e: CallExpr, env: Env): Value {
  if (mask.kind !== "mask") return mask;
  const sides = e.args.map((a) => evaluate(cx, a.value, inner(env)));
  const [a, b] = sides;
  if (sides.length !== 2 || a?.kind !== "subject" || b?.kind !== "subject" || a.side === "token" || b.side === "token") {
    if (sides.some((s) => s.kind === "poison")) return poison;
    return cx.report("E0202", "a mask is applied to two tokens", e.span, { help: "write its name alone, or `m(q, k)`" });
  }
  const [q, k] = [a.side, b.side];
  const exchanged = (x: S.ScalarExpr): S.ScalarExpr => (x.kind === "attr" ? S.attr(x.side === "q" ? q : k, x.name, x.type) : x);
  return { ...mask, expr: S.mapExpr(mask.expr, exchanged), ...(mask.clause ? { clause: mapClause(mask.clause, exchanged) } : {}) };
}

/** `soft_cap(30.0)(s + b, q, k)`: a score on another logit, and on the tokens it is written for or on the two exchanged. */
function scoreOn(cx: Context, score: Value, e: CallExpr, env: Env): Value {
  if (score.kind !== "score") return score;
  const [s, ...sides] = e.args.map((a) => evaluate(cx, a.value, inner(env)));
  const logit = s && toScalar(s);
  const [a, b] = sides;
  const tokens = sides.length === 0 || (sides.length === 2 && a?.kind === "subject" && b?.kind === "subject" && a.side !== "token" && b.side !== "token");
  if (!logit || logit.type === "bool" || !tokens || !(cx.pair instanceof Map)) {
    if (s?.kind === "poison" || sides.some((x) => x.kind === "poison")) return poison;
    return cx.report("E0202", "a score is applied to a logit and two tokens, inside another score", e.span, { help: "write its name alone, or `m(s, q, k)`" });
  }
  const exchanged = a?.kind === "subject" && a.side === "k";
  return scalar(onLogit(cx.pair, score, S.unary("to_f32", logit), exchanged));
}

function indexValue(cx: Context, target: Value, items: readonly Expr[], at: Span, env: Env): Value {
  if (target.kind === "poison") return poison;
  const [first] = items;
  if ((target.kind !== "list" && target.kind !== "tuple" && !(target.kind === "layer" && target.form.kind === "sequence")) || !first || items.length > 1) {
    return cx.report("E0225", `${describe(target)} has no entries to choose from`, at);
  }
  const all: readonly Value[] = target.kind === "layer" ? (target.form.kind === "sequence" ? target.form.layers : []) : target.items;
  const v = evaluate(cx, first, { ...inner(env), wants: "int" });
  const dim = sizeOf(v);
  if (!dim && v.kind === "scalar") {
    return cx.report("E0224", `an entry is chosen while the model is built, and ${cx.quote(first.span, "this")} is known only for a pair of tokens`, first.span, {
      help: `go over the list: \`any(0..count(list), i => ${cx.text(first.span) ?? "head"} == i & … list[i] …)\``,
    });
  }
  if (!dim) return v.kind === "poison" ? poison : cx.report("E0202", `an entry is chosen by a whole number, and this is ${describe(v)}`, first.span);
  const n = dimValue(dim);
  const item = all[n ?? 0];
  if (item) return item;
  // A stack of unknown height was made once, to be checked.
  return cx.alone && (n === undefined || all.every((x) => x.kind === "layer")) ? poison : cx.report("E0225", `there is no entry ${n}: there are ${all.length}, counted from 0`, first.span);
}

// ---------------------------------------------------------------- blocks

function blockValue(cx: Context, e: BlockExpr, env: Env): Value {
  const scope = newScope(env.scope);
  const within: Env = { ...inner(env), scope };
  for (const s of e.statements) statement(cx, s, within);
  return evaluate(cx, e.value, within);
}

function statement(cx: Context, s: Statement, env: Env): void {
  switch (s.kind) {
    case "let": return letStatement(cx, s, env);
    case "assign": {
      const value = evaluate(cx, s.value, inner(env));
      for (let scope: Scope | null = env.scope; scope; scope = scope.parent) {
        const entry = scope.entries.get(s.name.text);
        if (!entry) continue;
        if (entry.origin !== "let" && entry.origin !== "input") break;
        scope.set(s.name.text, value, entry.span, entry.origin);
        return;
      }
      const known = env.scope.find(s.name.text);
      cx.report("E0201", known ? `\`${s.name.text}\` cannot change` : `there is no \`${s.name.text}\` to change`, s.name.span, {
        ...(known?.span ? { also: [{ span: known.span, text: "bound here" }] } : {}), help: "a name that changes is bound with `let` before the `repeat`",
      });
      return;
    }
    case "repeat": {
      const v = evaluate(cx, s.range, inner(env));
      if (v.kind !== "range") {
        if (v.kind !== "poison") cx.report("E0202", `\`repeat\` goes over a range such as \`0..n\`, and this is ${describe(v)}`, s.range.span);
        return;
      }
      const [from, to] = [dimValue(v.from), dimValue(v.to)];
      const known = from !== undefined && to !== undefined;
      const count = known ? Math.min(Math.max(0, to - from), MAX_COUNT) : 1;
      for (let i = 0; i < count; i++) {
        const scope = newScope(env.scope);
        bind(cx, scope, s.index, int(known ? dimConst(from + i) : dimVar(s.index.text)), "let", "index");
        for (const t of s.statements) statement(cx, t, { ...env, scope });
      }
    }
  }
}

function letStatement(cx: Context, s: LetStatement, env: Env): void {
  const value = evaluate(cx, s.value, inner(env));
  if (s.targets.length > 1) {
    const items = value.kind === "tuple" || value.kind === "list" ? value.items : undefined;
    if (items && items.length !== s.targets.length) cx.report("E0225", `${s.targets.length} names for ${items.length} values`, s.span);
    else if (!items && value.kind !== "poison") cx.report("E0202", `${describe(value)} cannot be taken apart`, s.value.span);
    s.targets.forEach((t, i) => bind(cx, env.scope, t.name, items?.[i] ?? poison, "let"));
    return;
  }
  const target = s.targets[0];
  if (!target) return;
  if (target.axes && value.kind === "tensor") letAxes(cx, target.name, target.axes, value.node, s.value.span, env);
  bind(cx, env.scope, target.name, value, "let");
}

/** `let h[t, d] = …`: the axes are exactly those written, apart from ones the layer has no name for (such as the batch). */
function letAxes(cx: Context, name: Ident, axes: readonly Ident[], node: number, at: Span, env: Env): void {
  const has = axesOf(cx, node);
  const written = axes.map((a) => {
    const v = env.scope.find(a.text)?.value();
    return { ident: a, axis: v?.kind === "axis" ? v : undefined, name: v?.kind === "axis" ? v.name : a.text };
  });
  for (const w of written) {
    const found = has.find((x) => x.name === w.name);
    if (!found) {
      cx.report("E0220", `\`${name.text}\` has no axis \`${w.name}\``, w.ident.span, { label: "written here", also: [{ span: at, text: axesText(cx, node) }] });
    } else if (w.axis && !dimEqual(w.axis.size, found.size)) {
      reportSizes(cx, at, w.name, { span: w.ident.span, size: w.axis.size }, { span: at, size: found.size });
    }
  }
  if (written.some((w) => !has.some((x) => x.name === w.name))) return;
  const extra = has.filter((x) => !written.some((w) => w.name === x.name) && knownAxis(env.scope, x.name));
  if (extra[0]) {
    cx.report("E0220", `\`${name.text}\` also has axis \`${extra[0].name}\``, name.span, { label: `write \`${name.text}[${[...axes.map((a) => a.text), ...extra.map((x) => x.name)].join(", ")}]\``, also: [{ span: at, text: axesText(cx, node) }] });
  }
}

function knownAxis(scope: Scope, name: string): boolean {
  for (let s: Scope | null = scope; s; s = s.parent) {
    for (const e of s.entries.values()) {
      if (e.origin !== "axis" && e.origin !== "parameter") continue;
      const v = e.value();
      if (v.kind === "axis" && v.name === name) return true;
    }
    if (s.outermost) return false;
  }
  return false;
}

const rules: Evaluate = {
  expr: evaluate,
  join: (cx, op, a, b, at) => binaryValue(cx, op, at, a, b, at, { scope: newScope(null), path: "", exact: false, inForward: true }),
  tensorOf: (cx, v, at, env) => {
    const node = toNode(cx, v, at, env);
    return node === undefined ? poison : { kind: "tensor", node };
  },  routed: applyRouted,
};

/** A fresh context for one file or one lowering. */
export const newContext = (): Context => new Context(rules);
