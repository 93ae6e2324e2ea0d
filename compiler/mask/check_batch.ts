// What could not be decided about a mask before there was data, looked at on samples as they are laid out.
// In: a Model and token tables of the runtime. Out: diagnostics with witnesses from these tables. What was proven, or said already,
// is not asked again; of one sample at most sample.ts `MOST` tokens are looked at.

import type { Diagnostic } from "../../grammar/diagnostic.ts";
import type { Model } from "../types/model.ts";
import { findingDiagnostics } from "./diagnostics.ts";
import type { Finding } from "./find.ts";
import { loneIn, seenIn } from "./find.ts";
import { proveMasks } from "./proofs.ts";
import type { SampleTable } from "./sample.ts";
import { sampleOf } from "./sample.ts";

/** Tasks that have something left to look at. */
export const openTasks = (model: Model): ReadonlySet<string> => new Set(proveMasks(model).open.map((o) => o.task));

export function checkBatch(model: Model, tables: readonly SampleTable[]): Diagnostic[] {
  const { views, open } = proveMasks(model);
  const findings = new Map<string, Finding>();
  for (const table of tables) {
    const left = open.filter((o) => o.task === table.task && !findings.has(`${o.task} ${o.kind} ${o.at}`));
    const sample = left.length > 0 && table.count > 0 ? sampleOf(model, table) : undefined;
    if (!sample) continue;
    if (left.some((o) => o.kind !== "lone")) {
      const found = seenIn(model, views, sample, (kind, item) => left.some((o) => o.kind === kind && o.at === item));
      for (const f of found) findings.set(`${table.task} ${f.kind} ${f.item}`, f);
    }
    for (const f of loneIn(views, sample, left.flatMap((o) => (o.kind === "lone" ? [o.at] : [])))) findings.set(`${table.task} lone ${f.group}`, f);
  }
  return findingDiagnostics(model, views, [...findings.values()]);
}
