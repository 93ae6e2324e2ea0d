// `attend[e](q, k, v, over: t, mask: …)`: one graph op. The key tokens lie on the axis `s`: k and v are renamed.
// Which axis is contracted stands in the brackets; without them it is the last axis that q and k both end in.
// Refuses masks that are scores, tokens without the axis, and values whose own axis cannot be told.

import type { Span } from "../../grammar/source.ts";
import type { Dim } from "../dim/dim.ts";
import { dimEqual, dimText, dimValue } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { and, attr, binary, children, i32, mapExpr } from "../scalar/expr.ts";
import { simplify } from "../scalar/simplify.ts";
import type { BuiltinCall } from "./builtin_call.ts";
import { bracketName, nodeOf, valueOf } from "./builtin_call.ts";
import type { Context } from "./context.ts";
import { besideLength } from "./streams.ts";
import { signatureOf } from "./calls.ts";
import type { Clause } from "./clause.ts";
import { mapClause } from "./clause.ts";
import { scopesOf } from "./stacks.ts";
import { numberOf } from "./operators.ts";
import { attendTables, onlyHeads } from "./score_tables.ts";
import type { Around, AttendTables } from "./score_tables.ts";
import { axesOf, axesText, refuse, reportSizes } from "./tensors.ts";
import type { MaskValue, ScoreValue, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

const KEY = "s";
/** Padding, of document -1, is seen by nobody, itself included: tiles of padding are empty and cost nothing. */
const sameDoc = and(binary("eq", attr("q", "doc"), attr("k", "doc")), binary("le", i32(0), attr("k", "doc")));

interface Axis { readonly name: string; readonly size: Dim }

/** Attribute names that an expression reads on one side, sorted. */
export function attributesOf(exprs: readonly (ScalarExpr | undefined)[], side: "q" | "k"): string[] {
  const out = new Set<string>();
  const visit = (e: ScalarExpr): void => {
    if (e.kind === "attr" && e.side === side) out.add(e.name);
    children(e).forEach(visit);
  };
  for (const e of exprs) if (e) visit(e);
  return [...out].sort();
}

export function attendValue(call: BuiltinCall): Value {
  const { cx, env, expr } = call;
  const at = expr.span;
  const span = (name: string) => call.args.get(name)?.value.span ?? at;
  const [q, k0, v0] = [nodeOf(call, "q"), nodeOf(call, "k"), nodeOf(call, "v")];
  const mask = predicate(call, "mask");
  const score = predicate(call, "score");
  const over = call.args.get("over");
  const query = over ? bracketName(call, over.value) : undefined;
  const keysArg = call.args.get("keys");
  const keys = keysArg ? bracketName(call, keysArg.value) : query;
  const run = cx.run;
  if (q === undefined || k0 === undefined || v0 === undefined || query === undefined || keys === undefined || mask === undefined || score === undefined || !run) return poison;

  for (const [name, node, axis] of [["q", q, query], ["k", k0, keys], ["v", v0, keys]] as const) {
    if (!axesOf(cx, node).some((a) => a.name === axis)) {
      return cx.report("E0213", `${cx.quote(span(name), `\`${name}\``)} has no axis \`${axis}\``, span(name), {
        label: axesText(cx, node), also: over ? [{ span: over.value.span, text: "the axis of the tokens" }] : [],
        help: name === "q" ? undefined : "where keys are other tokens than queries, write `keys: u` with their axis",
      });
    }
    if (axesOf(cx, node).some((a) => a.name === KEY)) {
      return cx.report("E0216", `${cx.quote(span(name), `\`${name}\``)} has an axis \`${KEY}\`, which \`attend\` uses for the key tokens`, span(name), { help: "rename it first" });
    }
  }
  if (cx.withoutTokens("attention", at)) return poison;
  const width = contracted(call, axesOf(cx, q), axesOf(cx, k0));
  if (width === undefined) return poison;
  for (const [name, node] of [["q", q], ["k", k0]] as const) {
    if (!axesOf(cx, node).some((a) => a.name === width)) return cx.report("E0213", `${cx.quote(span(name), `\`${name}\``)} has no axis \`${width}\``, span(name), { label: axesText(cx, node) });
  }
  const value = valueAxis(call, width, axesOf(cx, k0), axesOf(cx, v0), v0);
  if (value === undefined) return poison;
  if (clash(call, q, k0, v0, [query, keys])) return poison;

  const scaleValue = call.args.has("scale") ? valueOf(call, "scale") : undefined;
  if (scaleValue && scaleValue.kind !== "float" && scaleValue.kind !== "int" && scaleValue.kind !== "poison") {
    return cx.report("E0224", `\`scale\` is a number known when the model is built, and this is ${describe(scaleValue)}`, span("scale"), { help: "multiply q by it instead" });
  }
  const size = dimValue(axesOf(cx, q).find((a) => a.name === width)?.size ?? axesOf(cx, q)[0]?.size ?? { terms: [] });
  const scale = (scaleValue ? numberOf(scaleValue) : undefined) ?? (size ? 1 / Math.sqrt(size) : 1);
  const heads = headAxes(call, axesOf(cx, q).filter((a) => a.name !== width && a.name !== query && a.name !== "batch"), axesOf(cx, k0));
  if (!heads) return poison;
  const around: Around = { heads, taken: [...new Set([...axesOf(cx, q), ...axesOf(cx, k0), ...axesOf(cx, v0)].map((a) => a.name)), KEY] };
  const sink = sinkOf(call, around);
  if (sink === null) return poison;
  const valueSize = dimValue(axesOf(cx, v0).find((a) => a.name === value)?.size ?? { terms: [] });
  const length = (node: NodeId, name: string): Dim => axesOf(cx, node).find((a) => a.name === name)?.size ?? run.tokens;
  const [queries, looked] = [length(q, query), length(k0, keys)];
  for (const [name, axis, size, where] of [["q", query, queries, over?.value.span], ["k", keys, looked, keysArg?.value.span]] as const) {
    if (!cx.modelScope || axis === "t" || dimEqual(size, run.tokens) || rowBeside(cx, size) !== undefined) continue;
    return cx.report("E0246", `axis \`${axis}\` of ${cx.quote(span(name), `\`${name}\``)} is no row of tokens`, where ?? span(name), {
      label: `its size is ${dimText(size)}`, help: "attention joins tokens of the sequence, or of a stream that tasks lay out with `beside`: `keys: image.tokens`",
    });
  }
  const row = rowBeside(cx, looked);
  const looking = rowBeside(cx, queries);
  if (looking !== undefined && row === undefined) {
    return cx.report("E0246", `the row of stream \`${looking}\` stands beside the sequence and cannot look at it`, over?.value.span ?? at, {
      help: `it is there before the sequence is, and every token may read it: let the sequence look, \`over: t, keys: ${looking}.tokens\``,
    });
  }
  // Attention to a row beside the sequence is counted apart: `layer` is the same in both attentions of a block.
  const layer = row === undefined ? run.layer++ : run.cross++;
  const layered = inBranch(cx, layeredMask(mask, layer), dimEqual(queries, looked), expr.callee.span);
  if (layered === undefined) return poison;
  const tabled = score && scoreOf(call, score, layer, around);
  if (tabled === undefined) return poison;
  const rows = scopesOf(cx).flatMap((s) => s.rows ?? []).reduce<ScalarExpr | undefined>((a, b) => (a ? and(a, b) : b), undefined);
  const sizes = { ...(rows ? { rows } : {}), layer, heads: heads.reduce((n, a) => n * (dimValue(a.size) ?? 1), 1), width: size ?? 0, valueWidth: valueSize ?? 0 };
  const told = tabled && { ...(score as ScoreValue), expr: tabled.score };
  cx.noteAttention(env.path, layered, told, sizes, mask?.span ?? at, row === undefined ? undefined : { queries: looking ?? null, keys: row });

  return cx.emit(env, at, (make) => {
    let [k, v] = [make.rename(k0, keys, KEY), make.rename(v0, keys, KEY)];
    let keyAttribute = (n: string): NodeId => run.leaves.attribute("key", n, looked);
    // Keys and values may come from a cache where the sequence looks, at itself or at a row beside it.
    const hooked = dimEqual(looked, queries) ? row === undefined : looking === undefined && row !== undefined;
    const given = hooked ? run.leaves.attendHook?.(attentionPath(run.attended, env.path), k, v, row) : undefined;
    if (given) {
      ({ k, v } = given);
      keyAttribute = given.keyAttribute ?? keyAttribute;
    }
    // Several samples share a row, and padding belongs to none: a token sees its own sample only, whatever the mask says.
    const seen = layered ? and(sameDoc, layered.expr) : sameDoc;
    const known = [seen, tabled?.score, ...(tabled?.tables ?? []).map((t) => t.index)];
    const gather = (side: "q" | "k"): Record<string, NodeId> =>
      Object.fromEntries(attributesOf(known, side).map((n) => {
        cx.made.reads.add(n);
        if (side === "k") return [n, keyAttribute(n)];
        const own = run.leaves.attribute("query", n, queries);
        return [n, query === "t" ? own : make.rename(own, "t", query)];
      }));
    return make.attend(q, k, v, {
      query, key: KEY, width, value, scale, mask: seen, ...(tabled ? { score: tabled.score } : {}), ...(tabled && tabled.tables.length > 0 ? { tables: tabled.tables } : {}),
      ...(known.some((e) => e && readsHead(e)) ? { heads: heads.map((a) => a.name) } : {}), ...(sink === undefined ? {} : { sink }),
      queryAttrs: gather("q"), keyAttrs: gather("k"),
    });
  }, (f) => refuse(cx, f, at, [span("q"), span("k"), span("v")]));
}

/** The stream whose row of tokens is so long; undefined for the sequence itself. */
const rowBeside = (cx: Context, size: Dim): string | undefined => cx.besides.find((s) => dimText(size) === besideLength(s));

/** The axes that `head` counts, major first: those of the keys, then those of the queries alone; or those that `heads` lists. */
function headAxes(call: BuiltinCall, own: readonly Axis[], k: readonly Axis[]): readonly Axis[] | undefined {
  const { cx } = call;
  const shared = k.flatMap((a) => own.filter((x) => x.name === a.name));
  const all = [...shared, ...own.filter((a) => !shared.includes(a))];
  const given = call.args.get("heads")?.value;
  if (!given) return all;
  const items = given.kind === "list" ? given.items : [given];
  const names = items.map((i) => bracketName(call, i));
  if (names.includes(undefined)) return undefined;
  const listed = names.flatMap((n) => all.filter((a) => a.name === n));
  if (listed.length === all.length && new Set(names).size === all.length && names.length === all.length) return listed;
  cx.report("E0234", "`heads` lists every axis of the heads once, the slowest first", given.span, {
    label: all.length === 0 ? "this attention has no heads" : `the axes of the heads are ${all.map((a) => `\`${a.name}\``).join(", ")}`,
  });
  return undefined;
}

/** The node of `sink`; undefined where there is none, null after a report. */
function sinkOf(call: BuiltinCall, around: Around): NodeId | undefined | null {
  const v = valueOf(call, "sink");
  if (v.kind === "absent") return undefined;
  const at = call.args.get("sink")?.value.span ?? call.expr.span;
  if ((v.kind === "tensor" || v.kind === "weight") && !onlyHeads(call.cx, "E0231", v, undefined, around, at, call.expr.callee.span)) return null;
  return nodeOf(call, "sink") ?? null;
}

const reads = (e: ScalarExpr, name: string): boolean => (e.kind === "name" && e.name === name) || children(e).some((c) => reads(c, name));
const readsHead = (e: ScalarExpr): boolean => reads(e, "head");
const inLayer = (layer: number) => (e: ScalarExpr): ScalarExpr => (e.kind === "name" && e.name === "layer" ? i32(layer) : e);

/** The mask of this attention: `layer` is a number in it. */
function layeredMask(mask: MaskValue | null, layer: number): MaskValue | null {
  if (!mask || !reads(mask.expr, "layer")) return mask;
  const put = inLayer(layer);
  return { ...mask, expr: simplify(mapExpr(mask.expr, put)), ...(mask.clause ? { clause: mapClause(mask.clause, put) } : {}) };
}

/** The mask inside routed layers: tokens of a branch see each other alone, and those of another row as they are. Undefined after a report. */
function inBranch(cx: Context, mask: MaskValue | null, own: boolean, at: Span): MaskValue | null | undefined {
  let out = mask;
  for (const s of scopesOf(cx)) {
    if (s.every) continue;
    if (!s.sees) {
      cx.report("E0255", "attention inside the experts of a router", at, {
        label: "which tokens an expert gets is known only when they are there", help: "route by an attribute, `routed(route, …)`, or keep attention outside and route its projections, norms and what follows",
      });
      return undefined;
    }
    const sees = own ? s.sees : s.rows;
    if (!sees) continue;
    const part: Clause = { op: "leaf", expr: sees, parts: [], span: at, text: own ? "same branch" : "in the branch" };
    const expr = out ? and(out.expr, sees) : sees;
    const { span } = out ?? { span: at };
    const text = out?.text.endsWith(part.text) ? out.text : out ? `${out.text.includes("|") ? `(${out.text})` : out.text} & ${part.text}` : part.text;
    const clause: Clause = out?.clause ? { op: "and", expr, parts: [out.clause, part], span, text } : part;
    out = { kind: "mask", expr, text, span, clause };
  }
  return out;
}

/** The score of this attention, with its tables on the graph. Undefined after a report. */
function scoreOf(call: BuiltinCall, score: ScoreValue, layer: number, around: Around): AttendTables | undefined {
  const { cx, env } = call;
  const put = inLayer(layer);
  const tables = score.tables && new Map([...score.tables].map(([n, t]) => [n, t.index ? { ...t, index: simplify(mapExpr(t.index, put)) } : t]));
  const own: ScoreValue = { ...score, expr: reads(score.expr, "layer") ? simplify(mapExpr(score.expr, put)) : score.expr, ...(tables ? { tables } : {}) };
  let out: AttendTables | undefined;
  cx.emit(env, call.expr.span, (make) => {
    out = attendTables(cx, make, own, around, call.expr.callee.span, env);
    return poison;
  }, (f) => refuse(cx, f, call.expr.span, []));
  return out;
}

/** The path of a layer's first attention; later ones of the same layer are numbered. */
function attentionPath(attended: Map<string, number>, path: string): string {
  const n = (attended.get(path) ?? 0) + 1;
  attended.set(path, n);
  return n === 1 ? path : `${path}.${n}`;
}

/** A mask or score argument; null where there is none, undefined after a report. */
function predicate<K extends "mask" | "score">(call: BuiltinCall, kind: K): (K extends "mask" ? MaskValue : ScoreValue) | null | undefined {
  type P = K extends "mask" ? MaskValue : ScoreValue;
  const v = valueOf(call, kind);
  if (v.kind === "absent") return null;
  if (v.kind === "poison") return undefined;
  if (v.kind === kind) return v as P;
  const other = kind === "mask" ? "score" : "mask";
  call.cx.report("E0202", `\`${kind}\` of \`attend\` is a ${kind}, and this is ${describe(v)}`, call.args.get(kind)?.value.span ?? call.expr.span, {
    label: describe(v), help: v.kind === other ? `give it as \`${other}: …\`` : v.kind === "decl" && v.decl.kind === kind ? `give it its arguments: \`${signatureOf(call.cx, v.decl.name, v.decl.params)}\`` : undefined,
  });
  return undefined;
}

function contracted(call: BuiltinCall, q: readonly Axis[], k: readonly Axis[]): string | undefined {
  const { cx, expr } = call;
  const item = expr.brackets?.items[0] ?? call.args.get("width")?.value;
  if (item) return bracketName(call, item);
  const [a, b] = [q[q.length - 1]?.name, k[k.length - 1]?.name];
  if (a !== undefined && a === b) return a;
  cx.report("E0226", "`attend` needs the axis that q and k are contracted over", expr.callee.span, { help: "write it in brackets: `attend[e](q, k, v, over: t)`" });
  return undefined;
}

function valueAxis(call: BuiltinCall, width: string, k: readonly Axis[], v: readonly Axis[], node: NodeId): string | undefined {
  if (v.some((a) => a.name === width)) return width;
  const own = v.filter((a) => !k.some((b) => b.name === a.name));
  if (own.length === 1) return own[0]?.name;
  call.cx.report("E0213", `${call.cx.quote(call.args.get("v")?.value.span ?? call.expr.span, "`v`")} has no axis \`${width}\`, and no single axis of its own`, call.args.get("v")?.value.span ?? call.expr.span, { label: axesText(call.cx, node) });
  return undefined;
}

/** Sizes that disagree between q, k and v, apart from the token axes; reported with both places. */
function clash(call: BuiltinCall, q: NodeId, k: NodeId, v: NodeId, tokens: readonly string[]): boolean {
  const { cx, expr } = call;
  const of = (name: string, node: NodeId) => ({ span: call.args.get(name)?.value.span ?? expr.span, axes: axesOf(cx, node) });
  const all = [of("q", q), of("k", k), of("v", v)];
  for (let i = 0; i < all.length; i++) {
    for (const x of all[i]?.axes ?? []) {
      if (tokens.includes(x.name)) continue;
      for (const other of all.slice(0, i)) {
        const y = other.axes.find((a) => a.name === x.name);
        if (!y || dimEqual(x.size, y.size)) continue;
        if (!cx.alone) reportSizes(cx, expr.callee.span, x.name, { span: other.span, size: y.size }, { span: all[i]?.span ?? expr.span, size: x.size });
        return true;
      }
    }
  }
  return false;
}
