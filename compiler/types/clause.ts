// The and/or/not tree that a mask was written as, with the place of each part: what a proof about a mask points at.
// Plain data; made by clauses.ts. A mask called by name is a `call` around its body, whatever file that lies in.

import type { Span } from "../../grammar/source.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { mapExpr } from "../scalar/expr.ts";

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

export const mapClause = (c: Clause, f: (e: ScalarExpr) => ScalarExpr): Clause => ({ ...c, expr: mapExpr(c.expr, f), parts: c.parts.map((p) => mapClause(p, f)) });
