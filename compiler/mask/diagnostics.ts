// Findings about masks as diagnostics: what is wrong, on which tokens, through which layers, and which clause of the mask does it.
// In: a Model and its findings. Out: diagnostics with the clause underlined and the witness as notes; one a kind and clause.

import type { Code } from "../../grammar/codes.ts";
import type { Details, Diagnostic } from "../../grammar/diagnostic.ts";
import { diagnostic, isFatal, sortDiagnostics } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/source.ts";
import type { Clause } from "../types/clause.ts";
import type { Model, RoutedLayer } from "../types/model.ts";
import type { Finding, Lone, Seen } from "./find.ts";
import type { Never } from "./proofs.ts";
import { proveMasks, provable } from "./proofs.ts";
import type { Hop } from "./reach.ts";
import type { Sample } from "./sample.ts";
import type { View, Views } from "./sight.ts";
import type { Soundness } from "./soundness.ts";
import { cacheSoundness, keptText } from "./soundness.ts";
import { forbiddingClauses, headsText, labelOf, lettingClause, placeOf } from "./witness.ts";

/** Everything that can be said of a model's masks before there is data. */
export function maskDiagnostics(model: Model): Diagnostic[] {
  if (!provable(model)) return [];
  const { views, findings, never } = proveMasks(model);
  const out = [...never.map((n) => neverDiagnostic(model, n)), ...findingDiagnostics(model, views, findings.filter((f) => never.length === 0 || f.kind !== "lone"))];
  const cache = cacheSoundness(model);
  // A prediction that sees ahead is the same mistake, and a worse one.
  if (!cache.sound && !out.some(isFatal)) out.push(cacheDiagnostic(model, cache));
  return sortDiagnostics(out);
}

export function findingDiagnostics(model: Model, views: Views, findings: readonly Finding[]): Diagnostic[] {
  const fatal = findings.some((f) => f.kind === "leak");
  const noised = new Set<string>();
  const made = new Map<string, { readonly d: Diagnostic; readonly task: string; readonly others: Set<string> }>();
  for (const f of [...findings].sort((a, b) => order(a) - order(b))) {
    // What sees its own target sees more that it should not; that is one mistake.
    if (fatal && f.kind === "ahead") continue;
    // Whatever sees one noised span is said once.
    const span = f.kind === "noised" ? `${f.sample.task.name} ${f.sample.item[f.seen]}` : undefined;
    if (span !== undefined && (noised.has(span) || !noised.add(span))) continue;
    const d = f.kind === "lone" ? loneDiagnostic(model, views, f) : seenDiagnostic(model, views, f);
    const at = d.labels.find((l) => l.primary)?.span;
    const key = `${d.code} ${at?.source}:${at?.start}:${at?.end}`;
    const old = made.get(key);
    if (!old) made.set(key, { d, task: f.sample.task.name, others: new Set() });
    else if (old.task !== f.sample.task.name) old.others.add(f.sample.task.name);
  }
  return [...made.values()].map(({ d, others }) => (others.size === 0 ? d : { ...d, notes: [...d.notes, `the same happens in ${[...others].map((t) => `\`${t}\``).join(", ")}`] }));
}

const order = (f: Finding): number => (f.kind === "lone" ? 0 : f.way.length);

// ---------------------------------------------------------------- predictions that see what they must not

const codeOf: Record<Seen["kind"], Code> = { leak: "E0321", copy: "E0322", noised: "W0605", ahead: "W0606" };

function seenDiagnostic(model: Model, views: Views, f: Seen): Diagnostic {
  const { sample, way } = f;
  const through = blamed(sample, way, f);
  const router = through && views.steps[through.step]?.step.router;
  if (router) return routerDiagnostic(model, views, f, router);
  const task = `in task \`${sample.task.name}\``;
  const item = sample.items[f.item];
  const [target, query, seen] = [labelOf(sample, f.target, false), labelOf(sample, f.query), labelOf(sample, f.seen)];
  const hop = blamed(sample, way, f);
  const clause = hop && clauseOf(views, sample, hop);
  const at: Span = clause?.span ?? (hop && spanOf(views, hop)) ?? item?.span ?? sample.task.span;
  const field = (token: number): string => {
    const x = sample.items[sample.item[token] ?? -1];
    return x?.kind === "literal" ? `\`<${x.name}>\`` : `\`${x?.field ?? ""}\``;
  };
  const messages: Record<Seen["kind"], string> = {
    leak: `${task}, the token that predicts ${target} sees it`,
    copy: `${task}, the prediction of ${target} sees its own clean copy`,
    noised: `${task}, the prediction of ${target} sees ${field(f.seen)} while it is noised`,
    ahead: `${task}, the prediction of ${target} sees ${seen}, which is not there yet when sampling`,
  };
  const notes = [
    ...(f.kind === "copy" || f.query === f.target ? [] : [`${placeOf(sample, f.query)} predicts ${placeOf(sample, f.target)}`]),
    ...way.map((h) => hopText(views, sample, h, way.length === 1)),
    ...aboutLengths(sample),
    ...(f.kind === "noised" ? [`in training ${field(f.seen)} is noised; when sampling it is made by then, and clean`] : []),
  ];
  const also = [
    ...(item && !overlaps(item.span, at) ? [{ span: item.span, text: item.kind === "literal" ? "scored here: it ends predicted text" : "predicted here" }] : []),
    ...(f.kind !== "leak" ? alsoSeen(sample, f, at) : []),
  ];
  const pair = hop ? `lets ${labelOf(sample, hop.from)} see ${labelOf(sample, hop.to)}` : `${query} is itself part of ${field(f.seen)}`;
  return diagnostic(codeOf[f.kind], messages[f.kind], at, { label: pair, also, notes, help: helpFor(f, clause, item?.kind === "predict" ? item.field : "", hop !== undefined && !views.steps[hop.step]?.step.attention) });
}

function alsoSeen(sample: Sample, f: Seen, at: Span): { span: Span; text: string }[] {
  const other = sample.items[sample.item[f.seen] ?? -1];
  if (!other || sample.item[f.seen] === f.item || overlaps(other.span, at)) return [];
  return [{ span: other.span, text: f.kind === "copy" ? "its clean copy" : f.kind === "noised" ? "noised in training" : "comes later" }];
}

/** An expert that chooses among all tokens tells each of them what comes later. */
function routerDiagnostic(model: Model, views: Views, f: Seen, router: RoutedLayer): Diagnostic {
  const { sample } = f;
  const item = sample.items[f.item];
  const soft = router.dispatch === "soft";
  const at = router.router?.span ?? router.span;
  const [query, seen] = [labelOf(sample, f.query), labelOf(sample, f.seen)];
  const why = soft
    ? `every expert is given means of all tokens of a sample, so what ${query} gets back holds some of ${seen}`
    : `an expert takes its best tokens of a whole sample, so whether it takes ${query} tells of ${seen}`;
  const others = [...new Set(model.routed.filter((r) => r.couples).map((r) => r.path))];
  const others3 = others.slice(0, 3).map((p) => `\`${p}\``).join(", ");
  return diagnostic(f.kind === "leak" || f.kind === "copy" ? "E0323" : codeOf[f.kind], `in task \`${sample.task.name}\`, router \`${router.route}\` lets the prediction of ${labelOf(sample, f.target, false)} depend on ${f.kind === "copy" ? "its own clean copy" : f.target === f.seen ? "it" : seen}`, at, {
    label: soft ? "its experts mix all tokens of a sample" : "its experts choose among all tokens of a sample",
    also: [
      ...(overlaps(router.span, at) ? [] : [{ span: router.span, text: "experts are sent tokens here" }]),
      ...(item && !overlaps(item.span, at) ? [{ span: item.span, text: item.kind === "literal" ? "scored here: it ends predicted text" : "predicted here" }] : []),
    ],
    notes: [
      why, ...(f.way.length > 1 ? f.way.map((h) => hopText(views, sample, h, false)) : []),
      `${others.length > 1 ? "routed like this" : "routed"}: ${others3}${others.length > 3 ? ` and ${others.length - 3} more` : ""}`,
    ],
    help: "let each token choose its experts by itself: `choose x[t, d] = top(k, softmax[experts](gate(x)))`, as `top_experts` of `std.routers` does",
  });
}

const overlaps = (a: Span, b: Span): boolean => a.source === b.source && a.start < b.end && b.start < a.end;

/** The hop at fault: the one that jumps ahead of the target, or onto what is hidden. */
function blamed(sample: Sample, way: readonly Hop[], f: Seen): Hop | undefined {
  if (f.kind === "leak" || f.kind === "ahead") {
    const pos = (t: number): number => sample.columns["pos"]?.[t] ?? t;
    const ahead = way.find((h) => pos(h.from) < pos(f.seen) && pos(h.to) >= pos(f.seen));
    if (ahead) return ahead;
  }
  return way[way.length - 1];
}

function helpFor(f: Seen, clause: Clause | undefined, field: string, mixes: boolean): string {
  const narrow = mixes ? "mix tokens by attention with a mask" : clause ? `narrow \`${short(clause.text)}\`` : "give the attention a narrower mask";
  switch (f.kind) {
    case "leak": return `${narrow}: what predicts text may look at tokens before it only, as \`k.pos <= q.pos\` says`;
    case "copy": return `${narrow} so that what is predicted does not see the content of \`${field}\` given elsewhere, or predict another field`;
    case "noised": return f.way.length === 0 ? "put a literal between the two, so that a clean token makes the prediction" : `${narrow} so that noised spans are seen from within only: \`k.time == 0 | q.span == k.span\``;
    case "ahead": return `${narrow}, or leave out of the task what comes after`;
  }
}

// ---------------------------------------------------------------- tokens that see nothing

function loneDiagnostic(model: Model, views: Views, f: Lone): Diagnostic {
  const { sample } = f;
  const users = views.steps.flatMap((v) => v.parts.filter((p) => p.group === f.group).map((p) => ({ v, p })));
  const first = users[0];
  const who = labelOf(sample, f.query);
  const where = first ? whereText(views, f.group, users.map((u) => u.v), first.p.heads) : "";
  const found = first ? forbiddingClauses(sample, first.v.step, first.p.heads[0] ?? 0, f.query) : [];
  const at = found[0]?.clause.span ?? first?.v.step.attention?.mask?.span ?? model.span;
  const text = (alone: boolean): string => (alone ? `holds for no token that ${who} could look at` : `leaves ${who} nothing, together with the other parts`);
  return diagnostic("W0604", `in task \`${sample.task.name}\`, ${who} attends to nothing${where}`, at, {
    label: text(found[0]?.alone ?? true),
    also: found.slice(1, 4).map(({ clause, alone }) => ({ span: clause.span, text: text(alone) })),
    notes: [`at ${placeOf(sample, f.query)} the result of the attention is 0, and no gradient flows`, ...aboutLengths(sample)],
    help: "let every token see itself: `… | q.pos == k.pos`",
  });
}

function neverDiagnostic(model: Model, n: Never): Diagnostic {
  const item = n.sample.items[n.item];
  const { views } = proveMasks(model);
  const first = views.steps[0];
  const mask = first?.step.attention?.mask;
  const found = first ? forbiddingClauses(n.sample, first.step, 0, n.query) : [];
  const what = item?.kind === "literal" ? `\`<${item.name}>\`` : `\`${item?.stream}(${item?.field})\``;
  return diagnostic("E0307", `in task \`${n.sample.task.name}\`, what predicts ${what} never has anything to attend to`, found[0]?.clause.span ?? mask?.span ?? model.span, {
    label: "holds for no token it could look at, in no layer and no head",
    also: [...found.slice(1, 4).map(({ clause }) => ({ span: clause.span, text: "nor does this" })), ...(item ? [{ span: item.span, text: "predicted here" }] : [])],
    help: "let every token see itself: `… | q.pos == k.pos`",
  });
}

// ---------------------------------------------------------------- caches

function cacheDiagnostic(model: Model, cache: Extract<Soundness, { sound: false }>): Diagnostic {
  const { late } = cache;
  const details: { label?: string; notes: string[] } = { notes: [cache.reason] };
  let at = cache.span;
  if (late.pair) {
    const { sample, q, k, view, heads } = late.pair;
    const clause = lettingClause(sample, view.step, heads[0] ?? 0, q, k);
    if (clause) at = clause.span;
    details.label = `lets ${labelOf(sample, q)} see ${labelOf(sample, k)}`;
    if (!view.step.router && (views(model).steps.some((v) => v.parts.length > 1) || !views(model).steps.every((v) => v.parts.some((p) => view.parts.some((x) => x.group === p.group))))) {
      details.notes.push(`in layer ${view.step.attention?.layer ?? 0}${view.parts.length > 1 ? `, ${headsText(heads)}` : ""}`);
    }
    details.notes.push(...aboutLengths(sample));
  }
  const kept = keptText(model, cache.keep);
  const title = `${kept ? "not everything" : "nothing"} can be cached while model \`${model.name}\` generates`;
  const help = kept ? `generation works: ${kept}; the rest is computed again for every step` : "generation works, and computes the whole sequence again for every step";
  return diagnostic("W0602", title, at, { ...details, help } satisfies Details);
}

// ---------------------------------------------------------------- words

const views = (model: Model): Views => proveMasks(model).views;
const viewAt = (views: Views, hop: Hop): View | undefined => views.steps[hop.step];
const spanOf = (views: Views, hop: Hop): Span | undefined => viewAt(views, hop)?.step.attention?.mask?.span ?? viewAt(views, hop)?.step.span;

function clauseOf(views: Views, sample: Sample, hop: Hop): Clause | undefined {
  const view = viewAt(views, hop);
  return view && lettingClause(sample, view.step, hop.heads[0] ?? 0, hop.from, hop.to);
}

function hopText(views: Views, sample: Sample, hop: Hop, only: boolean): string {
  const view = viewAt(views, hop);
  const { attention } = view?.step ?? {};
  const heads = view && view.parts.length > 1 ? `, ${headsText(hop.heads)}` : "";
  const everywhere = only && views.steps.length > 1 && views.steps.every((v) => v.parts.some((p) => p.group === hop.group));
  const where = attention ? `${everywhere ? "every layer" : `layer ${attention.layer}`}${heads}` : view?.step.router ? `router \`${view.step.router.route}\` of \`${view.step.router.path}\`` : "an op that mixes all tokens";
  const clause = clauseOf(views, sample, hop);
  return `${where}: ${placeOf(sample, hop.from)} sees ${placeOf(sample, hop.to)}${clause ? `, by \`${short(clause.text)}\`` : ""}`;
}

function whereText(views: Views, group: number, users: readonly View[], heads: readonly number[]): string {
  const [first] = users;
  const some = first && first.parts.length > 1 ? headsText(heads) : "";
  if (views.steps.every((v) => v.parts.some((p) => p.group === group))) return some === "" ? "" : ` in ${some}`;
  const layers = [...new Set(users.map((v) => v.step.attention?.layer ?? 0))];
  return ` in layer${layers.length > 1 ? "s" : ""} ${layers.slice(0, 4).join(", ")}${layers.length > 4 ? ", …" : ""}${some === "" ? "" : `, ${some}`}`;
}

/** How long the texts of a sample are. */
function aboutLengths(sample: Sample): string[] {
  const counts = new Map<string, number>();
  for (const x of sample.items) if (x.kind !== "literal") counts.set(x.field, 0);
  const fixed = new Set<string>();
  sample.items.forEach((x, i) => {
    if (x.kind === "literal") return;
    let n = 0;
    for (let t = 0; t < sample.count; t++) if (sample.item[t] === i) {
      n++;
      if ((sample.columns["row"]?.[t] ?? 0) + (sample.columns["col"]?.[t] ?? 0) > 0) fixed.add(x.field);
    }
    counts.set(x.field, Math.max(n, counts.get(x.field) ?? 0));
  });
  const told = [...counts].filter(([f]) => !fixed.has(f));
  return told.length === 0 ? [] : [`found on a sample where ${told.map(([f, n]) => `\`${f}\` has ${n} token${n === 1 ? "" : "s"}`).join(" and ")}`];
}

const short = (text: string): string => (text.length > 60 ? `${text.slice(0, 57)}…` : text);
