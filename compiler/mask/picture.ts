// Masks as text: who sees whom on a short sample of every task, for `heddle explain mask`.
// In: a checked Model. Out: lines; `#` where the row's token may attend to the column's. Plain characters, no colour.

import type { ScalarExpr } from "../scalar/expr.ts";
import type { Model, Task } from "../types/model.ts";
import { exampleOf } from "./example.ts";
import { cacheSoundness, masksOf, sees } from "./soundness.ts";

/** One mask over one task: a row a query, a column a key. */
export function picture(model: Model, task: Task, mask: ScalarExpr | undefined): string {
  const tokens = exampleOf(model, task);
  const labels = tokens.map((t) => `${t.label}${t.role === "predict" ? "*" : ""}`);
  const wide = Math.max(...labels.map((l) => l.length), 0);
  const rows = tokens.map((q, i) => `  ${(labels[i] ?? "").padEnd(wide)}  ${tokens.map((k) => (!mask || sees(mask, q, k) ? "#" : ".")).join(" ")}`);
  const seen = tokens.flatMap((q) => tokens.map((k) => !mask || sees(mask, q, k))).filter(Boolean).length;
  const share = tokens.length === 0 ? 0 : Math.round((100 * seen) / tokens.length ** 2);
  return [`task ${task.name}`, ...rows, `  ${seen} of ${tokens.length ** 2} pairs (${share}%)`].join("\n");
}

export function maskPictures(model: Model): string {
  const parts: string[] = [];
  for (const a of masksOf(model)) {
    const users = model.attentions.filter((b) => JSON.stringify(b.mask?.expr) === JSON.stringify(a.mask?.expr)).map((b) => b.path);
    const where = users.length > 3 ? `${users.slice(0, 2).join(", ")}, … ${users[users.length - 1] ?? ""}` : users.join(", ");
    parts.push(`mask ${a.mask ? a.mask.text.replace(/\s+/g, " ") : "full (no mask is given)"}\nin ${where}\n\n${model.tasks.map((t) => picture(model, t, a.mask?.expr)).join("\n\n")}`);
  }
  const sound = cacheSoundness(model);
  parts.push("Rows look, columns are looked at; tokens with * are predicted. Lengths are those of a short example.");
  parts.push(sound.sound ? "Keys and values can be kept while generating: no committed token attends to a later one." : `Nothing can be kept while generating: ${sound.reason}.`);
  return parts.join("\n\n");
}
