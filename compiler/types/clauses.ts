// Clauses of a mask as it is put together. In: conditions as they are joined while a mask is evaluated, with their places.
// Out: the value with a Clause beside its expression; it decides nothing.
// A mask called by name is a `call` around its body, so that a report can stop at the call where the body lies in another file.

import type { Span } from "../../grammar/source.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Clause } from "./clause.ts";
import type { Context, Operand } from "./context.ts";
import { toScalar } from "./operators.ts";
import type { Value } from "./values.ts";

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
