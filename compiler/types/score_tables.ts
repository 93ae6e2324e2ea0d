// What a score reads besides tokens: weights and tensors, at the heads of a pair, and along one more axis through `gather`.
// In: values met while the body of a score is evaluated. Out: names that stand for them in its expression, and what each stands
// for; at `attend`, the tables of the graph op. Refuses tensors in masks, indices that are no whole numbers, and axes that are
// neither heads nor looked up.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Ident } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimEqual } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import * as S from "../scalar/expr.ts";
import { exprText } from "../scalar/print.ts";
import type { BuiltinCall } from "./builtin_call.ts";
import { bracketName, valueOf } from "./builtin_call.ts";
import type { Context } from "./context.ts";
import { toScalar } from "./operators.ts";
import { axesOf, bindAxes, reportSizes, toNode } from "./tensors.ts";
import type { Env, Scope, ScoreTable, ScoreTables, ScoreValue, TensorValue, Value, WeightValue } from "./values.ts";
import { describe, poison, scalar } from "./values.ts";

interface Axis { readonly name: string; readonly size: Dim }

const isTable = (v: Value): v is TensorValue | WeightValue => v.kind === "tensor" || v.kind === "weight";

/** The axes of a tensor, before or on a graph. */
const axesOfTable = (cx: Context, v: TensorValue | WeightValue): readonly Axis[] => (v.kind === "weight" ? v.parameter.axes : axesOf(cx, v.node));

const nameOf = (v: TensorValue | WeightValue): string => (v.kind === "weight" ? `weight ${v.parameter.path}` : `tensor ${v.node}`);

/** A tensor met in the body of a mask or score. */
export function tensorOfPair(cx: Context, v: Value, at: Span): Value {
  if (!isTable(v) || cx.pair === null) return v;
  if (cx.pair === "mask") {
    return cx.report("E0233", `a mask reads ${cx.quote(at, "this")}, which is ${v.kind === "weight" ? "learned" : "worked out while the model runs"}`, at, {
      help: "who sees whom follows from the tokens alone; a `score` may read weights",
    });
  }
  const name = nameOf(v);
  cx.pair.set(name, { value: v, span: at });
  return scalar(S.name(name, "f32"));
}

/** The table that a scalar stands for, where it is one and nothing else. */
function plainTable(cx: Context, v: Value): ScoreTable | undefined {
  if (v.kind !== "scalar" || v.expr.kind !== "name" || !(cx.pair instanceof Map)) return undefined;
  const table = cx.pair.get(v.expr.name);
  return table && table.axis === undefined ? table : undefined;
}

/** `gather[bucket](table, index)` in a score. */
export function gatherInScore(call: BuiltinCall, pair: Map<string, ScoreTable>): Value {
  const { cx, expr } = call;
  const item = expr.brackets?.items[0];
  const axis = item && bracketName(call, item);
  const [v, i] = [valueOf(call, "table"), valueOf(call, "index")];
  if (v.kind === "absent") return v;
  if (axis === undefined || v.kind === "poison" || i.kind === "poison") return poison;
  const tableAt = call.args.get("table")?.value.span ?? expr.span;
  const table = plainTable(cx, v);
  if (!table) {
    return cx.report("E0232", `\`gather\` in a score looks up a weight or tensor by its name, and ${cx.quote(tableAt, "this")} is ${v.kind === "scalar" ? "a number made of others" : describe(v)}`, tableAt, {
      help: "look it up first: `exp(gather[bucket](table, i))`; or make the tensor in `forward` and pass it to the score",
    });
  }
  const has = axesOfTable(cx, table.value).map((a) => a.name);
  if (!has.includes(axis)) {
    return cx.report("E0213", `${cx.quote(tableAt, "the table")} has no axis \`${axis}\``, tableAt, {
      label: has.length === 0 ? "it has no axes" : `its axes are ${has.map((n) => `\`${n}\``).join(", ")}`,
      also: item ? [{ span: item.span, text: `\`${axis}\` is asked for here` }] : [], help: didYouMean(axis, has),
    });
  }
  const indexAt = call.args.get("index")?.value.span ?? expr.span;
  const index = toScalar(i);
  if (index?.type !== "i32") {
    return cx.report("E0232", `a table is looked up by a whole number, and ${cx.quote(indexAt, "this")} is ${index?.type === "f32" ? "a number with a fraction" : describe(i)}`, indexAt, {
      help: index?.type === "f32" ? "`int(…)` drops the fraction, `int(floor(…))` rounds down" : undefined,
    });
  }
  if (namesIn(index).some((n) => pair.has(n) || n === "s")) {
    return cx.report("E0232", "a table is looked up by what the tokens say, not by a logit or another table", indexAt, { help: "make the index of attributes: `q.pos - k.pos`" });
  }
  const name = `${nameOf(table.value)}[${axis} = ${exprText(index)}]`;
  pair.set(name, { ...table, axis, index });
  return scalar(S.name(name, "f32"));
}

function namesIn(e: ScalarExpr): string[] {
  return e.kind === "name" ? [e.name] : S.children(e).flatMap(namesIn);
}

/** Checks `table[h, bucket]` of a score's parameters and binds the axis names that are new. False after a report. */
export function tableAxes(cx: Context, name: Ident, axes: readonly Ident[], v: Value, scope: Scope, at: Span): boolean {
  const value = isTable(v) ? v : plainTable(cx, v)?.value;
  if (!value) return true;
  return bindAxes(cx, name, axes, axesOfTable(cx, value), scope, at);
}

/** The score's expression on another logit, in a score that now reads its tables too. */
export function onLogit(pair: Map<string, ScoreTable>, score: ScoreValue, logit: ScalarExpr, exchanged: boolean): ScalarExpr {
  const side = (x: ScalarExpr): ScalarExpr => (exchanged && x.kind === "attr" ? S.attr(x.side === "q" ? "k" : "q", x.name, x.type) : x);
  const names = new Map<string, ScalarExpr>();
  for (const [name, table] of score.tables ?? []) {
    const index = table.index && S.mapExpr(table.index, side);
    const own = index ? `${nameOf(table.value)}[${table.axis} = ${exprText(index)}]` : name;
    pair.set(own, index ? { ...table, index } : table);
    names.set(name, S.name(own, "f32"));
  }
  return S.mapExpr(score.expr, (x) => (x.kind === "name" ? (x.name === "s" ? logit : names.get(x.name) ?? x) : side(x)));
}

// ---------------------------------------------------------------- at attend

export interface AttendTables {
  readonly score: ScalarExpr;
  readonly tables: readonly { readonly node: NodeId; readonly axis?: string; readonly index?: ScalarExpr }[];
}

/** Axes that stand for heads, and what else q and k have: a table's own axis must be none of these. */
export interface Around {
  readonly heads: readonly Axis[];
  readonly taken: readonly string[];
}

/** Whether every axis of a tensor is one of the heads, `own` and the batch apart; reports the first that is not. */
export function onlyHeads(cx: Context, code: "E0230" | "E0231", v: TensorValue | WeightValue, own: string | undefined, around: Around, at: Span, attendAt: Span): boolean {
  for (const a of axesOfTable(cx, v)) {
    if (a.name === own || a.name === "batch") continue;
    const head = around.heads.find((h) => h.name === a.name);
    if (head && dimEqual(head.size, a.size)) continue;
    if (head) {
      if (!cx.alone) reportSizes(cx, attendAt, a.name, { span: attendAt, size: head.size }, { span: at, size: a.size });
      return false;
    }
    const names = around.heads.map((h) => `\`${h.name}\``);
    const what = cx.quote(at, "this");
    cx.report(code, code === "E0230" ? `the score reads ${what}, whose axis \`${a.name}\` is neither a head's nor looked up` : `${what} is a logit for each head, and it has an axis \`${a.name}\``, at, {
      label: names.length === 0 ? "this attention has no heads" : `the axes of the heads are ${names.join(", ")}`, also: [{ span: attendAt, text: "in this attention" }],
      help: code === "E0231" ? "declare it with the axes of the heads: `param sinks[h]`"
        : around.taken.includes(a.name) ? "a score reads tokens by their attributes: `q.pos`, `k.row`"
        : `look it up by a whole number: \`gather[${a.name}](…, q.pos - k.pos)\``,
    });
    return false;
  }
  return true;
}

/** The score with its tables called `b0`, `b1`, … in the order in which it reads them. Undefined after a report. */
export function attendTables(cx: Context, make: Make, score: ScoreValue, around: Around, at: Span, env: Env): AttendTables | undefined {
  const known: ScoreTables = score.tables ?? new Map();
  const read: string[] = [];
  for (const n of namesIn(score.expr)) if (known.has(n) && !read.includes(n)) read.push(n);
  const tables = [];
  for (const n of read) {
    const t = known.get(n) as ScoreTable;
    if (!onlyHeads(cx, "E0230", t.value, t.axis, around, t.span, at)) return undefined;
    let node = toNode(cx, t.value, t.span, { ...env, inForward: true });
    if (node === undefined) return undefined;
    let axis = t.axis;
    if (axis !== undefined && [...around.heads.map((h) => h.name), ...around.taken].includes(axis)) {
      const other = `${axis}'`;
      node = make.rename(node, axis, other);
      axis = other;
    }
    tables.push({ node, ...(axis !== undefined && t.index ? { axis, index: t.index } : {}) });
  }
  const names = new Map(read.map((n, i) => [n, S.name(`b${i}`, "f32")]));
  return { tables, score: S.mapExpr(score.expr, (x) => (x.kind === "name" ? names.get(x.name) ?? x : x)) };
}
