// Attributes of tokens: those every token has, those a model declares, and those it gives by a formula over the others.
// In: a name, and the side of a mask or the token of a layer. Out: the scalar or tensor that stands for it; a formula is put in
// wherever it is read, so that a sample on paper, a training batch and a generation agree without knowing of it.
// Refuses formulas that read themselves, and formulas that are no whole numbers.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { AttributeMember, Expr } from "../ast/nodes.ts";
import { walk } from "../ast/walk.ts";
import type { NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { attr, children, mapExpr } from "../scalar/expr.ts";
import { asWhole } from "../scalar/whole.ts";
import { newScope } from "./calls.ts";
import type { Context } from "./context.ts";
import { toScalar } from "./operators.ts";
import { scalarNode } from "./scalar_nodes.ts";
import { notTooLarge } from "./too_large.ts";
import type { Env, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

/** Attributes every token has. docs/language.md says what each means. */
export const tokenAttributes = ["pos", "doc", "span", "index", "stream", "task", "role", "row", "col", "frame", "scale", "time"] as const;

/** What a token of text is, in layers and routers; 0 for others. Masks know attributes only. */
export const TOKEN_ID = "id";

/** Those of them that a task may set; the others follow from the layout. */
export const settable: readonly string[] = ["frame", "scale"];

export const isAttribute = (cx: Context, name: string): boolean =>
  (tokenAttributes as readonly string[]).includes(name) || cx.attributes.includes(name);

export function unknownAttribute(cx: Context, name: string, at: Span): Value {
  return cx.report("E0221", `tokens have no attribute \`${name}\``, at, {
    help: didYouMean(name, [...tokenAttributes, ...cx.attributes]) ?? `the attributes are ${[...tokenAttributes, ...cx.attributes].map((a) => `\`${a}\``).join(", ")}`,
  });
}

/** `a: attribute` as a parameter, so that `q.a` is the attribute it was given. */
export function attributeNamed(text: string, env: Env): string {
  const entry = env.scope.find(text);
  if (entry?.origin !== "parameter") return text;
  const v = entry.value();
  return v.kind === "attribute" ? v.name : text;
}

/** The value of a name where an attribute is wanted. */
export function attributeValue(cx: Context, text: string, at: Span, env: Env): Value {
  const name = attributeNamed(text, env);
  if (name !== text || isAttribute(cx, name)) return { kind: "attribute", name };
  const known = env.scope.find(text);
  if (known) return known.value();
  return cx.alone ? { kind: "attribute", name } : unknownAttribute(cx, text, at);
}

/** An attribute of one side of a pair. Undefined after a report. */
export function attributeOn(cx: Context, side: "q" | "k", name: string): ScalarExpr | undefined {
  const formula = cx.formulas.get(name);
  if (!formula) return attr(side, name);
  const e = formula();
  return e && (side === "q" ? e : mapExpr(e, (x) => (x.kind === "attr" ? attr("k", x.name, x.type) : x)));
}

/** The attribute of every token of a layer, whole numbers on the axis of the tokens. */
export function attributeNode(cx: Context, name: string, at: Span, env: Env): Value {
  const run = cx.run;
  if (!run) return cx.report("E0227", "tensors exist only while a layer is applied", at);
  if (cx.withoutTokens(`\`token.${name}\``, at)) return poison;
  const read = (n: string): NodeId => {
    cx.made.reads.add(n);
    return run.leaves.attribute("query", n, run.tokens);
  };
  const formula = cx.formulas.get(name);
  if (!formula) return { kind: "tensor", node: read(name) };
  const e = formula();
  if (!e) return poison;
  return cx.emit({ ...env, inForward: true }, at, (make) => scalarNode(make, e, read), () => undefined);
}

// ---------------------------------------------------------------- formulas

/** Whether a declared attribute is a formula: it speaks of the token. */
export function isFormula(e: Expr | null): boolean {
  let found = false;
  if (e) walk(e, (n) => {
    if (n.kind === "name" && n.text === "token") found = true;
  });
  return found;
}

/** Makes the formula of an attribute known to masks, scores and layers; it is worked out when first read. */
export function declareFormula(cx: Context, m: AttributeMember, env: Env): void {
  const name = m.name.text;
  const body = m.fallback;
  if (!body) return;
  let made: { readonly expr: ScalarExpr | undefined } | undefined;
  let open = false;
  cx.formulas.set(name, () => {
    if (made) return made.expr;
    if (open) {
      cx.report("E0236", `the formula of attribute \`${name}\` reads \`${name}\``, body.span, { also: [{ span: m.name.span, text: "declared here" }], help: "a formula is made of other attributes, such as `token.index / 4`" });
      made = { expr: undefined };
      return undefined;
    }
    open = true;
    const expr = formulaOf(cx, name, body, env);
    open = false;
    made ??= { expr };
    return made.expr;
  });
}

function formulaOf(cx: Context, name: string, body: Expr, env: Env): ScalarExpr | undefined {
  const scope = newScope(env.scope);
  scope.set("token", { kind: "subject", side: "q" }, null, "let");
  const v = notTooLarge(cx, `the formula of attribute \`${name}\``, body, cx.evaluate.expr(cx, body, { ...env, scope }), body.span);
  if (v.kind === "poison") return undefined;
  const e = toScalar(v);
  const whole = e && (e.type === "i32" || e.type === "bool");
  if (whole && onlyAttributes(e)) return asWhole(e);
  cx.report("E0237", `attribute \`${name}\` is a whole number, and its formula is ${e?.type === "f32" ? "a number with a fraction" : describe(v)}`, body.span, {
    help: "make it of attributes and whole numbers: `token.row / 2`, `token.row + token.col`, `when token.role == given then 0 else 1`",
  });
  return undefined;
}

const onlyAttributes = (e: ScalarExpr): boolean => (e.kind === "const" || e.kind === "attr" ? true : children(e).length > 0 && children(e).every(onlyAttributes));
