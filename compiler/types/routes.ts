// Routes by attribute: `by stream { text -> understand; image -> generate from understand }`.
// In: the cases and the names of the model. Out: the branches in the order in which they are named, and the number of a token's branch as
// a scalar over its attributes; -1 for padding. Refuses tokens without a branch, cases that are no value of the attribute or are written
// twice, branches that are two things at once, and copies in a circle. Where nothing is known of the model, only the cases are looked at.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { ByCase, ByExpr, Expr } from "../ast/nodes.ts";
import { dimValue } from "../dim/dim.ts";
import * as S from "../scalar/expr.ts";
import { attributeNamed, attributeOn, isAttribute, unknownAttribute } from "./attributes.ts";
import type { Context } from "./context.ts";
import type { Branch, Env, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

/** A list of a case goes over at most so many numbers. */
const MOST = 1000;

/** What the attribute of a route holds, as its cases name it. */
type Held = "stream" | "task" | "role" | "number";
const words: Readonly<Record<Held, string>> = { stream: "a stream", task: "a task", role: "`given` or `predicted`", number: "a whole number" };

interface Entry { readonly key: number; readonly name: string; readonly span: Span }

export function routeBy(cx: Context, e: ByExpr, env: Env): Value {
  const attribute = subjectOf(cx, e.subject, env);
  if (attribute === undefined) return poison;
  const branches = branchesOf(cx, e.cases);
  if (!branches) return poison;
  // Names of streams and tasks are those of the model that uses the route.
  if (cx.alone && !cx.modelScope) return { kind: "route", form: { kind: "unknown" }, span: e.span };
  const own = attributeOn(cx, "q", attribute);
  if (!own) return poison;
  const held: Held = attribute === "stream" || attribute === "task" || attribute === "role" ? attribute : "number";
  const given = new Map<number, Entry>();
  let key: S.ScalarExpr = S.i32(-1);
  const found: { readonly entries: readonly Entry[]; readonly branch: number }[] = [];
  let rest: { readonly case: ByCase; readonly branch: number } | undefined;
  let sound = true;
  for (const c of e.cases) {
    const branch = branches.findIndex((b) => b.name === nameOf(c.value));
    if (rest) {
      cx.report("E0251", "this case is never reached", c.span, { also: [{ span: rest.case.span, text: "`else` takes every token that is left" }], help: "put `else` last" });
      sound = false;
      continue;
    }
    if (c.keys === null) {
      rest = { case: c, branch };
      continue;
    }
    const entries = c.keys.flatMap((k) => entriesOf(cx, k, held, attribute, env) ?? ((sound = false), []));
    for (const entry of entries) {
      const before = given.get(entry.key);
      if (before) {
        cx.report("E0251", `${entry.name} has a branch already`, entry.span, { also: [{ span: before.span, text: "first here" }], help: "the first case that holds is taken, so this one is never reached" });
        sound = false;
      } else given.set(entry.key, entry);
    }
    found.push({ entries, branch });
  }
  if (!sound) return poison;
  const missing = missingOf(cx, held, given);
  if (missing.length > 0 && !rest) {
    return cx.report("E0250", held === "number" ? `tokens with another \`${attribute}\` have no branch` : `${missing[0]} has no branch`, e.span, {
      label: missing.length > 1 ? `nor has ${missing.slice(1, 4).join(", ")}${missing.length > 4 ? ", …" : ""}` : "in these cases",
      help: held === "number" ? "add `else -> …`" : "add a case for it, or `else -> …`",
    });
  }
  if (missing.length === 0 && rest) {
    cx.report("W0620", "this case is never reached", rest.case.span, { label: `every ${held} has a branch`, help: "remove it" });
  }
  if (rest) key = S.i32(rest.branch);
  for (const { entries, branch } of found.reverse()) {
    const is = entries.map((x) => S.binary("eq", own, S.i32(x.key))).reduce<S.ScalarExpr | undefined>((a, b) => (a ? S.binary("or", a, b) : b), undefined);
    if (is) key = S.select(is, S.i32(branch), key);
  }
  key = S.select(S.lt(S.attr("q", "doc"), S.i32(0)), S.i32(-1), key);
  return { kind: "route", form: { kind: "by", name: attribute, branches, key }, span: e.span };
}

/** The attribute after `by`: `stream`, `token.stream`, or a parameter that holds one. Undefined after a report. */
function subjectOf(cx: Context, e: Expr, env: Env): string | undefined {
  const plain = e.kind === "name" ? e.text : e.kind === "member" && e.target.kind === "name" && e.target.text === "token" ? e.name.text : undefined;
  if (plain === undefined || plain === "") {
    if (plain === undefined && e.kind !== "missing") cx.report("E0251", "a route goes by an attribute of tokens", e.span, { help: "name one: `by stream { … }`" });
    return undefined;
  }
  const name = attributeNamed(plain, env);
  if (isAttribute(cx, name) || (cx.alone && !cx.modelScope)) return name;
  unknownAttribute(cx, name, e.span);
  return undefined;
}

const nameOf = (e: Expr): string => (e.kind === "name" ? e.text : "");

/** Branches in order of first mention. Undefined after a report. */
function branchesOf(cx: Context, cases: readonly ByCase[]): Branch[] | undefined {
  const found = new Map<string, { frozen: boolean; from: ByCase["from"]; span: Span }>();
  let sound = true;
  const wrong = (...report: Parameters<Context["report"]>): void => {
    cx.report(...report);
    sound = false;
  };
  for (const c of cases) {
    const name = nameOf(c.value);
    if (name === "") {
      if (c.value.kind !== "missing" && c.value.kind !== "name") wrong("E0251", "a case leads to a branch, and this is no name", c.value.span, { help: "give the branch a name: `text -> understand`" });
      else sound = false;
      continue;
    }
    const old = found.get(name);
    if (!old) {
      found.set(name, { frozen: c.frozen, from: c.from, span: c.value.span });
      continue;
    }
    // A word once is enough; two different copies are not.
    if (c.from && old.from && c.from.text !== old.from.text) {
      wrong("E0252", `branch \`${name}\` starts as a copy of two others`, c.from.span, { also: [{ span: old.from.span, text: "and here" }] });
    }
    old.frozen ||= c.frozen;
    old.from ??= c.from;
  }
  for (const [name, b] of found) {
    if (!b.from || b.from.text === "") continue;
    if (!found.has(b.from.text)) {
      wrong("E0253", `there is no branch \`${b.from.text}\` to start from`, b.from.span, { help: didYouMean(b.from.text, found.keys()) ?? `the branches are ${[...found.keys()].map((n) => `\`${n}\``).join(", ")}` });
      continue;
    }
    const way = [name];
    for (let at = b.from.text; found.has(at) && !way.includes(at) && way.length <= found.size; at = found.get(at)?.from?.text ?? "") way.push(at);
    const last = found.get(way[way.length - 1] ?? "")?.from?.text;
    if (last === name) {
      wrong("E0253", way.length === 1 ? `branch \`${name}\` would start as a copy of itself` : `branches ${way.map((n) => `\`${n}\``).join(" and ")} would start as copies of each other`, b.from.span);
      break;
    }
  }
  if (!sound) return undefined;
  if (found.size === 0) return [];
  return [...found].map(([name, b]) => ({ name, frozen: b.frozen, ...(b.from ? { from: b.from.text } : {}), span: b.span }));
}

/** The values that a key of a case stands for. Undefined after a report, and for poison. */
function entriesOf(cx: Context, e: Expr, held: Held, attribute: string, env: Env): Entry[] | undefined {
  const v = cx.evaluate.expr(cx, e, held === "stream" || held === "task" ? { ...env, exact: false, wants: held } : { ...env, exact: false, wants: "int" });
  const values = v.kind === "list" || v.kind === "tuple" ? v.items : [v];
  const out: Entry[] = [];
  for (const x of values) {
    if (x.kind === "poison") return undefined;
    if (held === "stream" && x.kind === "stream" && x.id !== undefined) out.push({ key: x.id, name: `stream \`${x.name}\``, span: e.span });
    else if (held === "task" && x.kind === "task") out.push({ key: x.id, name: `task \`${x.name}\``, span: e.span });
    else if ((held === "role" || held === "number") && x.kind === "range") {
      const [from, to] = [dimValue(x.from), dimValue(x.to)];
      if (from === undefined || to === undefined || to - from > MOST) return void cx.report("E0319", `a case goes over at most ${MOST} numbers`, e.span);
      for (let n = from; n < to; n++) out.push({ key: n, name: `${attribute} ${n}`, span: e.span });
    } else {
      const n = x.kind === "int" ? dimValue(x.dim) : undefined;
      if (n === undefined || held === "stream" || held === "task" || (held === "role" && n !== 0 && n !== 1)) {
        return void cx.report("E0251", `\`${attribute}\` is ${words[held]}, and this is ${describe(x)}`, e.span, { label: describe(x) });
      }
      out.push({ key: n, name: held === "role" ? `\`${n === 0 ? "given" : "predicted"}\`` : `${attribute} ${n}`, span: e.span });
    }
  }
  return out;
}

/** What the attribute can hold and no case names. */
function missingOf(cx: Context, held: Held, given: ReadonlyMap<number, Entry>): string[] {
  if (held === "number") return ["number"];
  if (held === "role") return [0, 1].flatMap((n) => (given.has(n) ? [] : [`\`${n === 0 ? "given" : "predicted"}\``]));
  const out: string[] = [];
  for (const entry of cx.modelScope?.entries.values() ?? []) {
    if (entry.ready?.() === false) continue;
    const v = entry.value();
    if (v.kind === held && v.id !== undefined && !given.has(v.id) && !(held === "stream" && cx.besides.includes(v.name))) out.push(`${held} \`${v.name}\``);
  }
  return out;
}
