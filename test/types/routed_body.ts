// Bodies of models on numbers, through the elaborator and the interpreter: what tests of routed layers compare.

import { expect } from "vitest";
import { gradients as backward } from "../../compiler/autodiff/backward.ts";
import type { Dim } from "../../compiler/dim/dim.ts";
import { dimConst, dimText, dimValue, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { elaborateNetwork } from "../../compiler/types/elaborate_network.ts";
import type { Model } from "../../compiler/types/model.ts";
import { besideLength } from "../../compiler/types/streams.ts";
import { noise } from "./apply.ts";
import { check } from "./loader.ts";

const o = originAt("test");
/** Tokens of a row beside the sequence. */
const ROW = 3;

/** Streams text (0) and image (1), tasks draw (0) and tell (1), a declared attribute `turn`; `body` and declarations are the test's. */
export const spec = (body: string, more = "", options: { d?: number; heads?: string } = {}): string => `${more}
model probe(d: axis = ${options.d ?? 4}) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  attribute turn: int = 0
  process noising on image = flow(predict: velocity)
  task draw(caption: text, picture: image) = <bos> given drop(0.1) text(caption) <boi> predict image(picture) <eoi>
  task tell(picture: image, caption: text) = <bos> <boi> given image(picture, turn: 1) <eoi> predict text(caption, turn: 2) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d)
  body = ${body}
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy()
  sample image = euler(steps: 4)
}
`;

export function modelOf(text: string): Model {
  const r = check(text);
  expect([...r.diagnostics, ...r.notBuilt].map((d) => `${d.code} ${d.message}`)).toEqual([]);
  const [m] = r.models;
  if (!m) throw new Error("no model");
  return m;
}

export interface Tokens {
  readonly stream: readonly number[];
  readonly [attribute: string]: readonly number[];
}

export type Weights = (path: string, size: number) => readonly number[];
export const plainWeights: Weights = (path, size) => noise(size, [...path].reduce((n, c) => (n * 31 + c.charCodeAt(0)) % 9973, 7)).map((x) => x * 0.7);

export interface Ran {
  readonly out: readonly number[];
  readonly axes: readonly string[];
  readonly graph: Graph;
  readonly x: readonly number[];
}

/** The body on x[batch: 1, t, d]. Attributes that are not given are 0; `pos` and `index` count. */
export function runBody(model: Model, tokens: Tokens, options: { weights?: Weights; x?: readonly number[]; batch?: number; beside?: readonly [width: number, seed: number] } = {}): Ran {
  const batch = options.batch ?? 1;
  const t = tokens.stream.length / batch;
  const { builder, out, inputs } = bodyOf(model, tokens, batch, options.x, options.beside);
  builder.output("out", out);
  const type = builder.type(out);
  const graph = builder.finish();
  const result = interpret(graph, { inputs, lengths: { batch, t, ...(options.beside ? { [besideLength(model.streams.find((s) => s.beside)?.name ?? "")]: ROW } : {}) }, state: stateOf(model, graph, options.weights ?? plainWeights) });
  const value = result.outputs["out"];
  if (!value) throw new Error("no output");
  return { out: [...value.data], axes: type.axes.map((a) => a.name), graph, x: inputs["x"] ?? [] };
}

function bodyOf(model: Model, tokens: Tokens, batch: number, x?: readonly number[], beside?: readonly [width: number, seed: number]): { builder: GraphBuilder; out: NodeId; inputs: Record<string, number[]> } {
  const builder = new GraphBuilder("body");
  const t = tokens.stream.length / batch;
  const d = model.network.width;
  const axes = [{ name: "batch", size: dimConst(batch) }, { name: "t", size: dimConst(t) }];
  const inputs: Record<string, number[]> = {};
  const attribute = (name: string): NodeId => {
    inputs[name] = [...(tokens[name] ?? Array.from({ length: batch * t }, (_, i) => (name === "pos" || name === "index" ? i % t : 0)))];
    return builder.add("input", [], { name, type: { dtype: "i32", axes } }, o);
  };
  const rowAttribute = (name: string, tokens: Dim): NodeId => {
    inputs[`row.${name}`] = Array.from({ length: batch * ROW }, (_, i) => (name === "pos" || name === "index" ? i % ROW : 0));
    return builder.add("input", [], { name: `row.${name}`, type: { dtype: "i32", axes: [{ name: "batch", size: dimConst(batch) }, { name: "s", size: tokens }] } }, o);
  };
  const input = builder.add("input", [], { name: "x", type: { dtype: "f32", axes: [...axes, { name: d.name, size: d.size }] } }, o);
  inputs["x"] = [...(x ?? noise(batch * t * (dimValue(d.size) ?? 0), 3))];
  const network = elaborateNetwork(model, builder, {
    attribute: (side, name, tokens) => (dimText(tokens).startsWith("t_") ? rowAttribute(name, tokens) : side === "query" ? attribute(name) : builder.add("rename", [attribute(name)], { from: "t", to: "s" }, o)),
    level: () => builder.add("const", [], { value: 0.25, dtype: "f32" }, o),
  });
  if (!beside) return { builder, out: network.body(input), inputs };
  const [width, seed] = beside;
  const row = model.streams.find((s) => s.beside)?.name ?? "";
  inputs["memory"] = noise(batch * ROW * width, seed);
  const memory = builder.add("input", [], { name: "memory", type: { dtype: "f32", axes: [{ name: "batch", size: dimConst(batch) }, { name: `${row}.tokens`, size: dimVar(besideLength(row)) }, { name: d.name, size: d.size }] } }, o);
  return { builder, out: network.body(input, [memory]), inputs };
}

function stateOf(model: Model, graph: Graph, weights: Weights): Record<string, number[]> {
  const state: Record<string, number[]> = {};
  for (const p of model.parameters) {
    const size = p.axes.reduce((n, a) => n * (dimValue(a.size) ?? 0), 1);
    if (graph.nodes.some((n) => n.op === "state" && n.attrs.name === `params/${p.path}`)) state[`params/${p.path}`] = [...weights(p.path, size)];
  }
  return state;
}

export interface WithGradients {
  readonly forward: Graph;
  readonly graph: Graph;
  /** Name of each state, and of the output that is its gradient. */
  readonly gradients: readonly (readonly [string, string])[];
  readonly inputs: Record<string, number[]>;
  readonly state: Record<string, number[]>;
  readonly lengths: Readonly<Record<string, number>>;
}

/** `loss` = sum(out * c) for fixed c, and its gradient by every weight that the body reads. */
export function gradientsOf(model: Model, tokens: Tokens, batch = 1): WithGradients {
  const { builder, out, inputs } = bodyOf(model, tokens, batch);
  const type = builder.type(out);
  const n = type.axes.reduce((k, a) => k * (dimValue(a.size) ?? 0), 1);
  inputs["c"] = noise(n, 5);
  const c = builder.add("input", [], { name: "c", type }, o);
  const loss = builder.add("sum", [builder.add("mul", [out, c], {}, o)], { axes: type.axes.map((a) => a.name) }, o);
  builder.output("loss", loss);
  const forward = builder.finish();
  const states = forward.nodes.flatMap((x) => (x.op === "state" ? [x.id] : []));
  const state = stateOf(model, forward, plainWeights);
  return { forward, ...withGradients(forward, forward.outputs[0]?.node ?? 0, states), inputs, state, lengths: { batch, t: tokens.stream.length / batch } };
}

/** Those gradients against finite differences, at `points` elements of each weight. */
export function gradients(model: Model, tokens: Tokens, points = 3): void {
  const { forward, graph, gradients: found, inputs, state, lengths } = gradientsOf(model, tokens);
  const ran = interpret(graph, { inputs, state, lengths });
  const at = (s: Record<string, number[]>): number => interpret(forward, { inputs, state: s, lengths }).outputs["loss"]?.data[0] ?? NaN;
  let checked = 0;
  for (const [name, key] of found) {
    const own = state[name] ?? [];
    const value = ran.outputs[key]?.data ?? [];
    for (let i = 0; i < points; i++) {
      const place = Math.floor(((i + 0.5) / points) * own.length);
      const moved = (by: number): Record<string, number[]> => ({ ...state, [name]: own.map((w, j) => (j === place ? w + by : w)) });
      const h = 1e-4;
      const expected = (at(moved(h)) - at(moved(-h))) / (2 * h);
      expect(Math.abs((value[place] ?? NaN) - expected), `${name}[${place}]: ${value[place]} and ${expected}`).toBeLessThan(1e-6 * (1 + Math.abs(expected)));
      checked++;
    }
  }
  expect(checked).toBeGreaterThan(0);
}

function withGradients(forward: Graph, loss: NodeId, states: readonly NodeId[]): { graph: Graph; gradients: [string, string][] } {
  const b = GraphBuilder.from(forward);
  const grads = backward(b, loss, states);
  const out: [string, string][] = [];
  for (const [i, s] of states.entries()) {
    const node = b.node(s);
    const g = grads[i];
    if (node.op !== "state" || g === undefined) continue;
    const key = `d ${node.attrs.name}`;
    b.output(key, b.ordered(g, node.type.axes.map((a) => a.name), o));
    out.push([node.attrs.name, key]);
  }
  return { graph: b.finish(), gradients: out };
}
