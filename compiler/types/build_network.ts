// embed, body and head of a model: made, then applied once to t tokens on a graph that is thrown away.
// In: the model's members and streams. Out: the layers, and what the graph tells: weights that get a gradient, weights that are
// looked up by row, heads that are one weight, the longest sequence. Refuses parts whose axes do not meet.

import type { Span } from "../../grammar/source.ts";
import type { Binding, CallExpr, Expr, Ident } from "../ast/nodes.ts";
import { dimEqual, dimText, dimValue, dimVar } from "../dim/dim.ts";
import { behind } from "../graph/behind.ts";
import { GraphBuilder, originAt } from "../graph/builder.ts";
import type { Axis, Node, NodeId, NodeOf } from "../graph/graph.ts";
import { firstTableOf } from "../graph/infer_attend.ts";
import { checkingLeaves } from "./checking_leaves.ts";
import { coerce } from "./calls.ts";
import type { Context } from "./context.ts";
import { flowOf, routedOf } from "./flow.ts";
import { newRun } from "./context.ts";
import { applyLayer, takes } from "./layers.ts";
import { isClassAxis, ROWS } from "./stacks.ts";
import { besideLength } from "./streams.ts";
import type { Sorted } from "./members_of_model.ts";
import type { NetworkLayers, PlainHead, RoutedLayer, Stream, Step } from "./model.ts";
import type { NamedSize } from "./parameter.ts";
import type { Env, LayerValue, Scope, StreamValue, Value } from "./values.ts";
import { tensor } from "./values.ts";

const TOKENS: Axis = { name: "t", size: dimVar("t") };

export interface CheckedNetwork {
  readonly layers: NetworkLayers;
  readonly maxTokens?: number;
  /** For every stream with a head: paths of the weights its result depends on with a gradient. */
  readonly reached: ReadonlyMap<string, ReadonlySet<string>>;
  readonly flow: readonly Step[];
  readonly routed: readonly RoutedLayer[];
}

export function buildNetwork(
  cx: Context, name: Ident, m: Sorted, body: Binding | undefined, env: Env, streams: readonly Stream[], values: ReadonlyMap<string, StreamValue>,
  predicted: ReadonlySet<string>,
): CheckedNetwork | undefined {
  const before = cx.errors;
  const embeds = new Map<string, LayerValue>();
  const heads = new Map<string, LayerValue>();
  for (const s of streams) {
    const written = m.embeds.find((e) => e.stream.text === s.name);
    const layer = written ? layerOf(cx, written.value, `embed.${s.name}`, env) : fallback(cx, "embedding", s, [part(s), "d"], `embed.${s.name}`, env);
    if (layer) embeds.set(s.name, layer);
    else if (!written) {
      cx.report("E0311", `stream \`${s.name}\` has no embed`, s.span, {
        help: s.kind === "text" ? `the model has no axis \`d\`, so write \`embed ${s.name} = embedding(${s.name}.vocab, …)\`` : `write \`embed ${s.name} = linear(${s.name}.${part(s)}, d)\``,
      });
    }
  }
  for (const e of m.embeds) if (!values.has(e.stream.text)) unknownStream(cx, e.stream, values);
  const bodyEntry = env.scope.entries.get("body");
  let bodyLayer: LayerValue | undefined;
  if (body && bodyEntry) {
    if (bodyEntry.span) cx.seen.add(bodyEntry.span);
    const v = coerce(cx, bodyEntry.value(), { name: "body", kind: "layer", span: body.name.span }, body.value.span, name.text);
    if (v.kind === "layer") bodyLayer = v;
  } else cx.report("E0315", `model \`${name.text}\` has no body`, name.span, { help: "write `body = stack(layers) decoder_block(d, heads, mask)`" });
  for (const s of streams) {
    const written = m.heads.find((h) => h.stream.text === s.name);
    if (!written && !predicted.has(s.name)) continue;
    const layer = written ? layerOf(cx, written.value, `head.${s.name}`, env) : s.kind === "text" ? fallback(cx, "linear", s, ["d", part(s)], `head.${s.name}`, env) : undefined;
    if (layer) heads.set(s.name, layer);
    else if (!written) cx.report("E0301", `stream \`${s.name}\` is predicted and has no head`, s.span, { help: s.kind === "text" ? `the model has no axis \`d\`, so write \`head ${s.name} = linear(…, ${s.name}.vocab)\`` : `write \`head ${s.name} = linear(d, ${s.name}.${part(s)})\`` });
  }
  for (const h of m.heads) if (!values.has(h.stream.text)) unknownStream(cx, h.stream, values);
  if (cx.errors > before || !bodyLayer || embeds.size === 0) return undefined;
  return applied(cx, streams, embeds, bodyLayer, heads, env.scope);
}

const part = (s: Stream): string => s.axis.name.slice(s.name.length + 1);

function unknownStream(cx: Context, name: Ident, values: ReadonlyMap<string, StreamValue>): void {
  if (name.text === "") return;
  cx.report("E0201", `there is no stream \`${name.text}\``, name.span, { help: values.size > 0 ? `the streams are ${[...values.keys()].map((v) => `\`${v}\``).join(", ")}` : undefined });
}

function layerOf(cx: Context, e: Expr, path: string, env: Env): LayerValue | undefined {
  const v = coerce(cx, cx.evaluate.expr(cx, e, { ...env, path, exact: true, wants: "layer" }), { name: path.split(".")[0] ?? path, kind: "layer", span: null }, e.span, "the model");
  return v.kind === "layer" ? v : undefined;
}

/** `embedding(text.vocab, d)` and `linear(d, text.vocab)`, which text streams have unless the model says otherwise. */
function fallback(cx: Context, layer: string, s: Stream, args: readonly string[], path: string, env: Env): LayerValue | undefined {
  const d = env.scope.entries.get("d")?.value();
  if (s.kind !== "text" || d?.kind !== "axis" || !env.scope.find(layer)) return undefined;
  const { span } = s;
  const ident = (text: string): Ident => ({ kind: "ident", text, span });
  const name = (text: string): Expr => ({ kind: "name", text, span });
  const call: CallExpr = {
    kind: "call", callee: name(layer), brackets: null, span,
    args: args.map((a) => ({ kind: "arg", name: null, span, value: a === "d" ? name("d") : { kind: "member", target: name(s.name), name: ident(a), span } })),
  };
  return layerOf(cx, call, path, env);
}

// ---------------------------------------------------------------- one application

function applied(cx: Context, streams: readonly Stream[], embeds: ReadonlyMap<string, LayerValue>, body: LayerValue, heads: ReadonlyMap<string, LayerValue>, scope: Scope): CheckedNetwork | undefined {
  const builder = new GraphBuilder("check");
  const outer = cx.run;
  cx.run = newRun(builder, checkingLeaves(builder));
  try {
    let x: NodeId | undefined;
    const beside: NodeId[] = [];
    const main = cx.run;
    let width: { axis: NamedSize; stream: string } | undefined;
    for (const s of streams) {
      const layer = embeds.get(s.name);
      if (!layer) continue;
      const discrete = s.kind === "text" || s.kind === "codes";
      const tokens: Axis = s.beside ? { name: "t", size: dimVar(besideLength(s.name)) } : TOKENS;
      cx.run = s.beside ? newRun(builder, main.leaves, tokens.size) : main;
      const node = builder.add("input", [], { name: s.name, type: { dtype: discrete ? "i32" : "f32", axes: discrete ? [tokens] : [tokens, s.axis] } }, originAt(`embed.${s.name}`));
      cx.run.layer = 0;
      const out = applyLayer(cx, layer, takes(layer) === 0 ? [] : [tensor(node)], layer.span);
      if (out.kind !== "tensor") return failed(cx, out, layer.span);
      cx.run = main;
      const axes = builder.type(out.node).axes.filter((a) => a.name !== "t");
      if (s.beside) {
        // Its width is its own: what reads it says which axes it wants.
        if (axes.length === builder.type(out.node).axes.length) {
          cx.report("E0317", `the embed of stream \`${s.name}\` gives no axis \`t\``, layer.span, { help: "it stands beside the sequence as a row of tokens" });
          return undefined;
        }
        beside.push(builder.add("rename", [out.node], { from: "t", to: `${s.name}.tokens` }, originAt(`embed.${s.name}`)));
        continue;
      }
      const axis = axes[0];
      if (axes.length !== 1 || !axis) {
        cx.report("E0317", `the embed of stream \`${s.name}\` gives ${names(axes)} for each token, and one axis is needed`, layer.span);
        return undefined;
      }
      if (width && (width.axis.name !== axis.name || !dimEqual(width.axis.size, axis.size))) {
        cx.report("E0317", `stream \`${s.name}\` is embedded in \`${axis.name}\` = ${dimText(axis.size)}, and \`${width.stream}\` in \`${width.axis.name}\` = ${dimText(width.axis.size)}`, layer.span, { also: [{ span: width.axis.span, text: `embed of \`${width.stream}\`` }], help: "all streams meet in one axis" });
        return undefined;
      }
      width ??= { axis: { ...axis, span: layer.span }, stream: s.name };
      // A layer without the token axis (a learned constant) is the same for every token.
      x = x === undefined ? out.node : builder.add("add", [x, out.node], {}, originAt("embed"));
    }
    if (x === undefined || !width) {
      if (beside.length > 0) cx.report("E0317", "every stream stands beside the sequence, and nothing is in it", body.span);
      return undefined;
    }
    if (!builder.type(x).axes.some((a) => a.name === "t")) x = builder.add("broadcast", [x], { axis: TOKENS }, originAt("embed"));
    cx.run.layer = 0;
    cx.run.cross = 0;
    const h = applyLayer(cx, body, [x, ...(takes(body) > 1 ? beside : [])].map(tensor), body.span);
    if (h.kind !== "tensor") return failed(cx, h, body.span);
    const has = builder.type(h.node).axes;
    const after = has.filter((a) => a.name !== "t");
    if (after.length !== 1 || !has.some((a) => a.name === "t")) {
      cx.report("E0317", `the body gives axes ${names(has)}, and \`t\` with one other axis is needed`, body.span);
      return undefined;
    }
    const reached = new Map<string, ReadonlySet<string>>();
    const plainHeads = new Map<string, PlainHead>();
    const results: NodeId[] = [h.node];
    for (const [stream, layer] of heads) {
      const s = streams.find((y) => y.name === stream);
      cx.run.layer = 0;
      const out = applyLayer(cx, layer, [h], layer.span);
      if (!s || out.kind !== "tensor") return failed(cx, out, layer.span);
      const axes = builder.type(out.node).axes;
      const own = axes.filter((a) => a.name !== "t");
      if (own.length !== 1 || own[0]?.name !== s.axis.name || !axes.some((a) => a.name === "t")) {
        cx.report("E0317", `the head of stream \`${stream}\` gives axes ${names(axes)}, and \`t\`, \`${s.axis.name}\` are needed`, layer.span, { also: [{ span: s.span, text: `stream \`${stream}\` is declared here` }], help: `its last layer goes to \`${s.axis.name}\`` });
        return undefined;
      }
      results.push(out.node);
      reached.set(stream, weightsBehind(builder, out.node));
      const plain = s.kind === "text" ? plainHead(builder, out.node, h.node) : undefined;
      if (plain) plainHeads.set(stream, plain);
    }
    const facts = tableFacts(builder);
    const routed = routedOf(cx.made.routings);
    // Decay is for matrices: what is contracted. Rows of tables, gains and biases keep their size.
    for (const p of cx.made.parameters) (p as { decay: boolean }).decay = p.axes.length - (p.experts?.length ?? 0) >= 2 && facts.contracted.has(p.path) && !facts.rows.has(p.path);
    return { layers: { embed: embeds, body, head: heads, width: width.axis, plainHeads, scope }, reached, flow: flowOf(builder, [...cx.made.attentions.values()], routed, results), routed, ...(facts.longest === undefined ? {} : { maxTokens: facts.longest }) };
  } finally {
    cx.run = outer;
  }
}

function failed(cx: Context, out: Value, at: Span): undefined {
  if (out.kind !== "poison") cx.report("E0317", "this gives no tensor", at);
  else cx.broke();
  return undefined;
}

const names = (axes: readonly Axis[]): string => (axes.length === 0 ? "none" : axes.map((a) => `\`${a.name}\``).join(", "));

// ---------------------------------------------------------------- what the graph tells

/** Operands through which no gradient flows. */
function cut(n: Node, arg: number): boolean {
  const { op } = n;
  switch (op) {
    case "eq": case "ne": case "lt": case "le": case "and": case "or": case "not": case "argmax": case "floor": case "iota": case "cast": return op !== "cast";
    case "gather": case "rope": return arg === 1;
    case "select": return arg === 0;
    case "attend": return arg > 2 && arg < firstTableOf(n.attrs, 3);
    default: return false;
  }
}

function weightsBehind(b: GraphBuilder, from: NodeId): ReadonlySet<string> {
  const out = new Set<string>();
  for (const n of behind(b, from, (x, i) => !cut(x, i) && b.type(x.args[i] ?? 0).dtype === "f32")) if (n.op === "state") out.add(n.attrs.name.replace(/^params\//, ""));
  return out;
}

function plainHead(b: GraphBuilder, out: NodeId, h: NodeId): PlainHead | undefined {
  const n = b.node(out);
  if (n.op !== "dot" || n.attrs.axes.length !== 1) return undefined;
  const [x, w] = n.args;
  const from = n.attrs.axes[0];
  if (x !== h || w === undefined || from === undefined) return undefined;
  const weight = b.node(w);
  if (weight.op !== "state" || weight.type.axes.length !== 2) return undefined;
  const vocab = weight.type.axes.find((a) => a.name !== from);
  return vocab ? { parameter: weight.attrs.name.replace(/^params\//, ""), from, vocab: vocab.name } : undefined;
}

/** The weights that a node is, or is a stack of; seen through the axes of classes. */
function weightsOf(b: GraphBuilder, id: NodeId): string[] {
  const n = b.node(id);
  switch (n.op) {
    case "state": return [n.attrs.name.replace(/^params\//, "")];
    case "concat": case "broadcast": case "merge": case "rename": case "cast": return n.args.flatMap((a) => weightsOf(b, a));
    case "gather": return isClassAxis(n.attrs.axis) ? n.args.slice(0, 1).flatMap((a) => weightsOf(b, a)) : [];
    default: return [];
  }
}

/** The positions that a look-up goes by, and how many there are. */
function placesOf(b: GraphBuilder, n: NodeOf<"gather">): number | undefined {
  const [table, index] = n.args;
  if (table === undefined || index === undefined) return undefined;
  let [i, count] = [b.node(index), dimValue(b.type(table).axes.find((a) => a.name === n.attrs.axis)?.size ?? { terms: [] })];
  const arg = (k: number): Node => b.node(i.args[k] ?? index);
  // One of several tables: the place in its own stands at the end.
  if (n.attrs.axis === ROWS && i.op === "add" && arg(1).op === "min") {
    i = arg(1);
    const last = arg(1);
    count = last.op === "const" ? last.attrs.value + 1 : undefined;
    i = arg(0);
    i = i.op === "max" ? arg(0) : i;
  }
  return i.op === "input" && i.attrs.name === "query.pos" ? count : undefined;
}

/** Weights that are looked up by row, weights that are contracted, and the longest sequence where rows are positions. */
function tableFacts(b: GraphBuilder): { rows: ReadonlySet<string>; contracted: ReadonlySet<string>; longest: number | undefined } {
  const rows = new Set<string>();
  const contracted = new Set<string>();
  let longest: number | undefined;
  for (let id = 0; id < b.size; id++) {
    const n = b.node(id);
    if (n.op === "dot" || n.op === "grouped_dot") for (const a of n.args.slice(0, 2)) for (const w of weightsOf(b, a)) contracted.add(w);
    if (n.op !== "gather" || isClassAxis(n.attrs.axis)) continue;
    const [table] = n.args;
    const found = table === undefined ? [] : weightsOf(b, table);
    if (found.length === 0) continue;
    for (const w of found) rows.add(w);
    const count = placesOf(b, n);
    if (count !== undefined) longest = Math.min(longest ?? count, count);
  }
  return { rows, contracted, longest };
}
