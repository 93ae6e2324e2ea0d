// A model as it would be if every attention of its sequence had another mask. In: a checked Model and a predicate in its words.
// Out: a Model for analysis and pictures. Its network is the old one: it cannot be lowered. Rows beside the sequence keep their masks.

import { and, attr, binary, i32, mapExpr } from "../scalar/expr.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Attention, Model, Predicate } from "../types/model.ts";

/** What every attention tests besides its mask: several samples share a row, and padding belongs to none. */
export const sameDocument = and(binary("eq", attr("q", "doc"), attr("k", "doc")), binary("le", i32(0), attr("k", "doc")));

export function withMask(model: Model, mask: Predicate): Model {
  const made = new Map<Attention, Attention>();
  const changed = (a: Attention): Attention => {
    const known = made.get(a) ?? { ...a, mask: { ...mask, expr: forLayer(mask.expr, a.layer) } };
    made.set(a, known);
    return known;
  };
  return {
    ...model, mask, attentions: model.attentions.map(changed),
    flow: model.flow.map((step) => (step.attention ? { ...step, mask: and(sameDocument, forLayer(mask.expr, step.attention.layer)), attention: changed(step.attention), span: mask.span } : step)),
  };
}

const forLayer = (e: ScalarExpr, layer: number): ScalarExpr => mapExpr(e, (x) => (x.kind === "name" && x.name === "layer" ? i32(layer) : x));
