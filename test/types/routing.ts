// Routed layers on numbers: a layer of the language through the elaborator and the interpreter, with what its routers chose.
// In: the text of a layer, rows of tokens with their attributes, weights. Out: the result, the notes of routing, gradients by autodiff
// and by differences.

import { expect } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimEval, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, DType, Graph, NodeId } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { coerce } from "../../compiler/types/calls.ts";
import { newRun } from "../../compiler/types/context.ts";
import { newContext } from "../../compiler/types/elaborate.ts";
import { applyLayer } from "../../compiler/types/layers.ts";
import { Files } from "../../compiler/types/modules.ts";
import type { RoutingNote } from "../../compiler/types/network.ts";
import type { Parameter } from "../../compiler/types/parameter.ts";
import { tensor } from "../../compiler/types/values.ts";
import { makeSource } from "../../grammar/source.ts";
import { noise } from "./apply.ts";
import { loaderOf } from "./loader.ts";

export interface Case {
  /** `routed(top_experts(d, 4, 2), swiglu(d, 6))` */
  readonly layer: string;
  readonly text?: string;
  readonly sizes: Readonly<Record<string, number>>;
  readonly batch: number;
  readonly t: number;
  /** Width of x, by axis; `d` of `sizes` unless given. */
  readonly x?: readonly number[];
  /** [batch, t]; `pos` counts and the others are 0 unless given. */
  readonly attributes?: Readonly<Record<string, readonly number[]>>;
  readonly weights?: Readonly<Record<string, readonly number[]>>;
  readonly training?: boolean;
  /** Numbers that are drawn in training, by how often was drawn before. */
  readonly drawn?: (n: number, i: number) => readonly number[];
}

export interface Values {
  readonly axes: readonly string[];
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

export interface Note extends Omit<RoutingNote, "expert" | "offset" | "wanted" | "weights" | "scores" | "losses"> {
  readonly expert: Values;
  readonly offset: Values;
  readonly wanted: number;
  readonly weights: Values;
  readonly scores: Values;
  readonly losses: Readonly<Record<string, number>>;
}

export interface Routed {
  readonly out: Values;
  readonly notes: readonly Note[];
  readonly parameters: readonly Parameter[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly nodes: number;
  /** Elements of the largest value that is made. */
  readonly largest: number;
  /** Results, losses and gradients as one graph, and what it is given. */
  readonly training: () => { readonly graph: Graph; readonly inputs: Readonly<Record<string, readonly number[]>>; readonly state: Readonly<Record<string, readonly number[]>>; readonly lengths: Readonly<Record<string, number>> };
  /** Largest difference between autodiff and differences, relative to the largest slope; of sum(out * fixed numbers) + losses. */
  readonly slopeError: () => number;
  /** Slope of the same sum, by path of the weight, `x` for the input. */
  readonly slopes: () => Readonly<Record<string, readonly number[]>>;
}

const nothing: Values = { axes: [], shape: [], data: [] };

export function route(c: Case): Routed {
  const cx = newContext();
  const files = new Files(cx, loaderOf());
  const names = Object.keys(c.sizes);
  const text = `${c.text ?? ""}\nfn probe_of(${names.map((n) => `${n}: axis`).join(", ")}) = ${c.layer}\n`;
  const root = files.link(makeSource("spec.heddle", text));
  expect(cx.diagnostics()).toEqual([]);
  const decl = root.module.decls.find((d) => d.kind === "fn" && d.name.text === "probe_of");
  if (decl?.kind !== "fn") throw new Error("no subject");
  for (const [name, size] of Object.entries(c.sizes)) root.scope.set(name, { kind: "axis", name, size: dimConst(size), span: decl.span }, null, "file");
  const layer = coerce(cx, cx.evaluate.expr(cx, decl.body, { scope: root.scope, path: "net", exact: true, inForward: false, wants: "layer" }), { name: "subject", kind: "layer", span: null }, decl.body.span, "test");
  expect(cx.diagnostics()).toEqual([]);
  if (layer.kind !== "layer") throw new Error(`${c.layer} is ${layer.kind}`);

  const builder = new GraphBuilder("routing");
  const inputs: Record<string, readonly number[]> = {};
  const tokens: Axis[] = [{ name: "batch", size: dimVar("batch") }, { name: "t", size: dimVar("t") }];
  const lengths = { batch: c.batch, t: c.t, s: c.t };
  const count = (axes: readonly Axis[]): number => axes.reduce((k, a) => k * (dimEval(a.size, lengths) ?? NaN), 1);
  const leaf = (name: string, dtype: DType, axes: readonly Axis[], data: readonly number[]): NodeId => {
    inputs[name] = data;
    return builder.add("input", [], { name, type: { dtype, axes } }, originAt(name));
  };
  const rows = c.batch * c.t;
  const attribute = (name: string): readonly number[] => c.attributes?.[name] ?? Array.from({ length: rows }, (_, i) => (name === "pos" || name === "index" ? i % c.t : 0));
  let draws = 0;
  const draw = (axes: readonly Axis[]): NodeId => {
    const n = count(axes);
    const i = draws++;
    return leaf(`drawn.${i}`, "f32", axes, c.drawn?.(n, i) ?? noise(n, 50 + i));
  };
  const x = leaf("x", "f32", [...tokens, { name: "d", size: dimConst(c.sizes["d"] ?? 1) }], c.x ?? noise(rows * (c.sizes["d"] ?? 1), 7));
  cx.run = newRun(builder, {
    attribute: (side, name) => leaf(`${side}.${name}`, "i32", [tokens[0] as Axis, { name: side === "query" ? "t" : "s", size: dimVar(side === "query" ? "t" : "s") }], attribute(name)),
    level: () => leaf("level", "f32", tokens, Array.from({ length: rows }, () => 0)),
    ...(c.training ? { training: true, uniform: draw, normal: draw } : {}),
  });
  const result = applyLayer(cx, layer, [tensor(x)], layer.span);
  expect(cx.diagnostics()).toEqual([]);
  if (result.kind !== "tensor") throw new Error(`${c.layer} gives ${result.kind}`);
  const out = builder.ordered(result.node, ["batch", "t", ...builder.type(result.node).axes.map((a) => a.name).filter((n) => n !== "batch" && n !== "t")], originAt("out"));
  const make = new Make(builder, originAt("test"));

  const read: Record<string, NodeId> = { out };
  cx.made.routings.forEach((n, i) => {
    read[`${i}.expert`] = n.expert;
    read[`${i}.offset`] = n.offset;
    read[`${i}.wanted`] = n.wanted;
    if (n.weights !== undefined) read[`${i}.weights`] = n.weights;
    if (n.scores !== undefined) read[`${i}.scores`] = n.scores;
    for (const l of n.losses) read[`${i}.loss.${l.name}`] = l.node;
  });
  const type = builder.type(out);
  const fixed = leaf("fixed", "f32", type.axes, noise(count(type.axes), 3));
  const losses = cx.made.routings.flatMap((n) => n.losses.map((l) => l.node));
  read["total"] = losses.reduce((a, b) => make.add(a, b), make.sum(make.mul(out, fixed), ...type.axes.map((a) => a.name)));
  for (const [name, node] of Object.entries(read)) builder.output(name, node);
  const graph = builder.finish();
  const weights: Record<string, readonly number[]> = {};
  for (const p of cx.made.parameters) {
    weights[p.path] = c.weights?.[p.path] ?? noise(count(p.axes), p.path.length);
  }
  const stateOf = (w: Readonly<Record<string, readonly number[]>>, g = graph): Record<string, readonly number[]> =>
    Object.fromEntries(Object.entries(w).map(([p, v]) => [`params/${p}`, v] as const).filter(([n]) => g.nodes.some((y) => y.op === "state" && y.attrs.name === n)));
  const ran = interpret(graph, { inputs, state: stateOf(weights), lengths }).outputs;
  const valuesOf = (name: string): Values => {
    const v = ran[name];
    return v ? { axes: v.type.axes.map((a) => a.name), shape: [...v.shape], data: [...v.data] } : nothing;
  };

  const learned = cx.made.parameters.filter((p) => graph.nodes.some((y) => y.op === "state" && y.attrs.name === `params/${p.path}`) && p.balance === undefined);
  const withGradients = (): { readonly all: Graph; readonly wanted: readonly string[] } => {
    const b = GraphBuilder.from(graph);
    const total = graph.outputs.find((o) => o.name === "total")?.node ?? 0;
    const id = (op: "state" | "input", name: string): NodeId => graph.nodes.find((y) => y.op === op && y.attrs.name === name)?.id ?? -1;
    const wanted = [...learned.map((p) => ({ name: p.path, node: id("state", `params/${p.path}`) })), { name: "x", node: id("input", "x") }];
    const grads = gradients(b, total, wanted.map((w) => w.node));
    wanted.forEach((w, i) => b.output(`grad.${w.name}`, b.ordered(grads[i] ?? 0, b.type(w.node).axes.map((a) => a.name), originAt("grad"))));
    return { all: b.finish(), wanted: wanted.map((w) => w.name) };
  };
  const slopes = (): Record<string, readonly number[]> => {
    const { all, wanted } = withGradients();
    const given = interpret(all, { inputs, state: stateOf(weights, all), lengths }).outputs;
    return Object.fromEntries(wanted.map((w) => [w, [...(given[`grad.${w}`]?.data ?? [])]]));
  };
  const slopeError = (): number => {
    const own = slopes();
    const totalAt = (path: string, i: number, step: number): number => {
      const shifted = (v: readonly number[]): number[] => v.map((y, j) => (j === i ? y + step : y));
      const w = path === "x" ? weights : { ...weights, [path]: shifted(weights[path] ?? []) };
      const given = path === "x" ? { ...inputs, x: shifted(inputs["x"] ?? []) } : inputs;
      return interpret(graph, { inputs: given, state: stateOf(w), lengths }).outputs["total"]?.data[0] ?? NaN;
    };
    let [worst, largest] = [0, 1e-3];
    for (const [path, g] of Object.entries(own)) {
      // Some places of each weight are enough; every one of x.
      const step = path === "x" ? 1 : Math.max(1, Math.floor(g.length / 12));
      for (let i = 0; i < g.length; i += step) {
        const slope = (totalAt(path, i, 1e-5) - totalAt(path, i, -1e-5)) / 2e-5;
        worst = Math.max(worst, Math.abs(slope - (g[i] ?? NaN)));
        largest = Math.max(largest, Math.abs(slope));
      }
    }
    return worst / largest;
  };
  return {
    out: valuesOf("out"), parameters: cx.made.parameters, weights, nodes: graph.nodes.length, training: () => ({ graph: withGradients().all, inputs, state: stateOf(weights, withGradients().all), lengths }), largest: Math.max(...graph.nodes.map((y) => count(y.type.axes))), slopes, slopeError,
    notes: cx.made.routings.map((n, i) => ({
      ...n, expert: valuesOf(`${i}.expert`), offset: valuesOf(`${i}.offset`), wanted: ran[`${i}.wanted`]?.data[0] ?? NaN, weights: valuesOf(`${i}.weights`), scores: valuesOf(`${i}.scores`),
      losses: Object.fromEntries(n.losses.map((l) => [l.name, ran[`${i}.loss.${l.name}`]?.data[0] ?? NaN])),
    })),
  };
}
