// Queries that a mask leaves alone: a token whose prediction is scored, and which may attend to nothing.
// In: a checked Model. Out: witnesses on the example of each task. Finding none proves nothing; a witness is always true.

import type { Span } from "../../grammar/source.ts";
import type { Model } from "../types/model.ts";
import { exampleOf } from "./example.ts";
import { masksOf, sees } from "./soundness.ts";

export interface LoneQuery {
  readonly task: string;
  /** As `image(picture)`. */
  readonly what: string;
  readonly mask: string;
  readonly span: Span;
  readonly predicted: Span;
}

/** The first lone query of every mask, in every task. */
export function loneQueries(model: Model): LoneQuery[] {
  const out: LoneQuery[] = [];
  for (const a of masksOf(model)) {
    const { mask } = a;
    if (!mask) continue;
    for (const task of model.tasks) {
      const tokens = exampleOf(model, task);
      const lone = tokens.findIndex((q) => !tokens.some((k) => sees(mask.expr, q, k)));
      if (lone < 0) continue;
      // Text is predicted at the token before it, noise at the noised token itself.
      const scored = tokens.find((t, i) => t.role === "predict" && !tokens.some((k) => sees(mask.expr, tokens[model.streams.find((s) => s.name === t.stream)?.kind === "continuous" ? i : Math.max(0, i - 1)] ?? t, k)));
      if (!scored) continue;
      const item = task.items.find((i) => i.kind === "predict" && i.field === scored.label);
      out.push({ task: task.name, what: `${scored.stream}(${scored.label})`, mask: mask.text, span: mask.span, predicted: item?.span ?? task.span });
    }
  }
  return out;
}
