// Tokens and clauses by names a reader knows. In: a Sample, tokens of it, the clauses a mask was written as.
// Out: `caption[3]`, patch (0, 1) of `picture`; and of a predicate, the part that lets a pair through or that forbids every pair.
// A part in the library is named by the call in the user's own file.

import type { ScalarExpr } from "../scalar/expr.ts";
import type { Clause } from "../types/clause.ts";
import type { Step } from "../types/model.ts";
import type { Sample } from "./sample.ts";
import { testOf } from "./sight.ts";

/** `which` says whether a field that occurs twice is the given or the predicted one. */
export function labelOf(sample: Sample, token: number, tell = true): string {
  const at = sample.item[token] ?? -1;
  const item = sample.items[at];
  const column = (name: string): number => sample.columns[name]?.[token] ?? 0;
  if (!item) return `token ${token}`;
  if (item.kind === "literal") {
    const several = sample.items.filter((x) => x.kind === "literal" && x.name === item.name).length > 1;
    return `\`<${item.name}>\`${several ? ` at ${column("pos")}` : ""}`;
  }
  const several = sample.items.filter((x) => x.kind !== "literal" && x.field === item.field).length > 1;
  const which = several && tell ? `${item.kind === "given" ? "given" : "predicted"} ` : "";
  // Text has neither rows nor columns; the only patch of an image is told by its stream having both.
  const last = rowsOf(sample, at);
  return last ? `patch (${column("row")}, ${column("col")}) of ${which}\`${item.field}\`` : `${which}\`${item.field}[${column("index")}]\``;
}

/** Whether an item's tokens lie on a grid. */
function rowsOf(sample: Sample, item: number): boolean {
  const { row, col } = sample.columns;
  for (let i = 0; i < sample.count; i++) if (sample.item[i] === item && ((row?.[i] ?? 0) > 0 || (col?.[i] ?? 0) > 0)) return true;
  return false;
}

export const placeOf = (sample: Sample, token: number): string => `${labelOf(sample, token)} (position ${sample.columns["pos"]?.[token] ?? token})`;

/** `heads 0 to 3`, `head 1`, `heads 0, 2`. */
export function headsText(heads: readonly number[]): string {
  const [first = 0, last = 0] = [heads[0], heads[heads.length - 1]];
  if (heads.length === 1) return `head ${first}`;
  return heads.length > 2 && last - first === heads.length - 1 ? `heads ${first} to ${last}` : `heads ${heads.join(", ")}`;
}

export const inLibrary = (c: Clause): boolean => c.span.source.startsWith("stdlib/");

type Holds = (e: ScalarExpr) => boolean;

const holdsFor = (sample: Sample, q: number, k: number, step: Step, head: number): Holds => {
  const names = { head, layer: step.attention?.layer ?? 0 };
  return (e) => testOf(e, sample.columns, names)(q, k);
};

/** The part of a mask that lets q see k: under `|` the one that holds, under `&` the one that another alternative would have stopped. */
export function lettingClause(sample: Sample, step: Step, head: number, q: number, k: number): Clause | undefined {
  const root = step.attention?.mask?.clause;
  return root && visible(letting(root, holdsFor(sample, q, k, step, head)), root);
}

const visible = (c: Clause, root: Clause): Clause | undefined => (!inLibrary(c) ? c : inLibrary(root) ? undefined : root);

function letting(c: Clause, holds: Holds): Clause {
  const [first] = c.parts;
  switch (c.op) {
    case "call": {
      const inner = first && !inLibrary(first) ? letting(first, holds) : undefined;
      return inner && !inLibrary(inner) ? inner : c;
    }
    case "when": {
      const chosen = first && c.parts[holds(first.expr) ? 1 : 2];
      return chosen && !inLibrary(chosen) ? letting(chosen, holds) : c;
    }
    case "or": {
      const part = partsOf(c).find((p) => holds(p.expr));
      return part ? letting(part, holds) : c;
    }
    case "and": {
      const parts = partsOf(c).map((p) => ({ p, stopped: stopped(p, holds) }));
      const best = Math.max(...parts.map((x) => x.stopped));
      const part = best > 0 ? parts.find((x) => x.stopped === best)?.p : undefined;
      return part ? letting(part, holds) : c;
    }
    default: return c;
  }
}

/** How many alternatives would have stopped the pair. */
function stopped(c: Clause, holds: Holds): number {
  switch (c.op) {
    case "or": return partsOf(c).reduce((n, p) => n + (holds(p.expr) ? stopped(p, holds) : 1), 0);
    case "and": case "call": return c.parts.reduce((n, p) => n + stopped(p, holds), 0);
    default: return 0;
  }
}

/** `a & b & c` as three parts. */
const partsOf = (c: Clause): readonly Clause[] => c.parts.flatMap((p) => (p.op === c.op ? partsOf(p) : [p]));

/** The parts of a mask that keep q from seeing anything; `alone` where one of them would do so by itself. */
export function forbiddingClauses(sample: Sample, step: Step, head: number, q: number): readonly { readonly clause: Clause; readonly alone: boolean }[] {
  const root = step.attention?.mask?.clause;
  if (!root) return [];
  const names = { head, layer: step.attention?.layer ?? 0 };
  const never = (c: Clause): boolean => {
    const test = testOf(c.expr, sample.columns, names);
    for (let k = 0; k < sample.count; k++) if (test(q, k)) return false;
    return true;
  };
  const out = new Map<Clause, boolean>();
  const visit = (c: Clause): void => {
    const parts = partsOf(c);
    const [first] = c.parts;
    if (c.op === "or") parts.forEach(visit);
    else if (c.op === "and") {
      const alone = parts.find(never);
      if (alone) visit(alone);
      else for (const p of parts) out.set(p, false);
    } else if (c.op === "call" && first && !inLibrary(first)) visit(first);
    else if (c.op === "when" && first) visit(c.parts[testOf(first.expr, sample.columns, names)(q, q) ? 1 : 2] ?? c);
    else out.set(c, true);
  };
  visit(root);
  const shown = [...out].map(([clause, alone]) => ({ clause, alone }));
  return shown.some((x) => inLibrary(x.clause)) ? (inLibrary(root) ? [] : [{ clause: root, alone: true }]) : shown;
}
