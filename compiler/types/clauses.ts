// The and/or/not tree that a mask was written as, with the place of each part: what a proof about a mask points at.
// In: conditions as they are joined while a mask is evaluated. Out: a Clause beside the expression; it decides nothing.
// A mask called by name is a `call` around its body, so that a report can stop at the call where the body lies in another file.

import type { Span } from "../../grammar/source.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { mapExpr } from "../scalar/expr.ts";
import type { Context, Operand } from "./context.ts";
import { toScalar } from "./operators.ts";
import type { Value } from "./values.ts";

export interface Clause {
  /** `when`: condition, value, otherwise. */
  readonly op: "and" | "or" | "not" | "when" | "call" | "leaf";
  /** As the mask has it, apart from `layer` and attributes by formula, which may still stand in it by name. */
  readonly expr: ScalarExpr;
  readonly parts: readonly Clause[];
  readonly span: Span;
  /** As written, on one line. */
  readonly text: string;
}

/** The value with the clause that joins its operands; a value that is no condition stays as it is. */
export function joined(cx: Context, op: Exclude<Clause["op"], "leaf">, v: Value, operands: readonly Operand[], at: Span): Value {
  if ((v.kind !== "mask" && v.kind !== "scalar") || v.expr.type !== "bool") return v;
  const parts = operands.map((o) => clauseOf(cx, o));
  if (parts.some((p) => p === undefined)) return { ...v, clause: leaf(cx, v.expr, at) };
  return { ...v, clause: { op, expr: v.expr, parts: parts as Clause[], span: at, text: textAt(cx, at) } };
}

function clauseOf(cx: Context, o: Operand): Clause | undefined {
  const v = o.value;
  if ((v.kind === "mask" || v.kind === "scalar") && v.clause) return v.clause;
  const expr = toScalar(v);
  return expr && leaf(cx, expr, o.span);
}

const leaf = (cx: Context, expr: ScalarExpr, span: Span): Clause => ({ op: "leaf", expr, parts: [], span, text: textAt(cx, span) });

function textAt(cx: Context, at: Span): string {
  return (cx.sources.get(at.source)?.text.slice(at.start, at.end) ?? "").replace(/\/\/[^\n]*/g, "").replace(/\s+/g, " ").trim();
}

export const mapClause = (c: Clause, f: (e: ScalarExpr) => ScalarExpr): Clause => ({ ...c, expr: mapExpr(c.expr, f), parts: c.parts.map((p) => mapClause(p, f)) });
