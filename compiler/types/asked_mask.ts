// A mask that a person asks about from outside a spec, such as `causal & window(4)` on the command line, in the words of a model.
// In: a checked Model and a Source that holds the expression alone. Out: the predicate, or diagnostics at places of that source.
// Names are those of the model: its streams, tasks, attributes, constants, and what its file declares and uses. `q` and `k` are the tokens.

import type { Diagnostic } from "../../grammar/diagnostic.ts";
import type { Source, Span } from "../../grammar/source.ts";
import { makeSource } from "../../grammar/source.ts";
import { parseModule } from "../ast/parse_module.ts";
import { newScope } from "./calls.ts";
import type { Clause } from "./clause.ts";
import { newContext } from "./elaborate.ts";
import { maskBody } from "./functions.ts";
import type { Model, Predicate } from "./model.ts";

export interface AskedMask {
  readonly mask?: Predicate;
  /** True where the text is not one expression: empty, or followed by declarations. */
  readonly notOne?: boolean;
  readonly diagnostics: readonly Diagnostic[];
}

/** The expression is read as the body of a declaration; places are given back as if it stood alone. */
const BEFORE = "mask asked(q, k) = ";

/** `sources` gives the files of the spec, which messages quote. */
export function askedMask(model: Model, source: Source, sources: (path: string) => Source | undefined = () => undefined): AskedMask {
  if (source.text.trim() === "") return { notOne: true, diagnostics: [] };
  const whole = makeSource(source.path, BEFORE + source.text);
  const { module, diagnostics } = parseModule(whole);
  const alone = (all: readonly Diagnostic[]): Diagnostic[] => all.map((d) => shifted(d, source));
  if (diagnostics.length > 0) return { diagnostics: alone(diagnostics) };
  const at: Span = { source: source.path, start: BEFORE.length, end: whole.text.length };
  const [decl] = module.decls;
  if (decl?.kind !== "mask" || module.decls.length > 1 || module.uses.length > 0) return { notOne: true, diagnostics: [] };
  const cx = newContext();
  // What the spec's files declare is quoted from them, and some are read only when a name of theirs is met.
  cx.sources.get = (path) => (path === source.path ? whole : sources(path));
  cx.modelScope = model.network.scope;
  cx.attributes = model.attributes.map((a) => a.name);
  for (const a of model.attributes) if (a.formula) cx.formulas.set(a.name, () => a.formula);
  const value = maskBody(cx, decl, newScope(model.network.scope, true), at);
  const said = alone(cx.diagnostics());
  if (value.kind !== "mask" || cx.errors > 0) return { diagnostics: said };
  const later = cx.notBuilt.sorted();
  if (later.length > 0) return { diagnostics: alone(later) };
  const clause = value.clause && movedClause(value.clause, source);
  return { mask: { expr: value.expr, text: source.text.trim(), span: { source: source.path, start: 0, end: source.text.length }, ...(clause ? { clause } : {}) }, diagnostics: said };
}

/** A place of the declaration as a place of the expression. */
function moved(at: Span, source: Source): Span {
  const place = (offset: number): number => Math.min(source.text.length, Math.max(0, offset - BEFORE.length));
  return at.source === source.path ? { ...at, start: place(at.start), end: place(at.end) } : at;
}

const movedClause = (c: Clause, source: Source): Clause => ({ ...c, span: moved(c.span, source), parts: c.parts.map((p) => movedClause(p, source)) });

const shifted = (d: Diagnostic, source: Source): Diagnostic => ({
  ...d, labels: d.labels.map((l) => ({ ...l, span: moved(l.span, source) })),
  fixes: d.fixes.map((f) => ({ ...f, edits: f.edits.map((e) => ({ ...e, span: moved(e.span, source) })) })),
});
