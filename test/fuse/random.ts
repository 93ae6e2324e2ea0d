// Random well-typed graphs: a list of small numbers is read as a list of ops on what is there already. Whatever inference
// refuses is passed over, so every list is a graph. Values stay bounded and smooth.

import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst } from "../../compiler/dim/dim.ts";
import { GraphBuilder, InferFailure, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { sumByClass } from "../../compiler/graph/sum_by_class.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { ax, F, I, spread } from "../graph/cases.ts";

export type Step = readonly [op: number, a: number, b: number, c: number];

export const randomLengths = { batch: 2, t: 3 };
const [batch, t, d, e, h] = [ax("batch", "batch"), ax("t", "t"), ax("d", 4), ax("e", 6), ax("h", 2)];

export function randomGraph(steps: readonly Step[], into: boolean, grads = false): { graph: Graph; inputs: Record<string, number[]>; state: Record<string, number[]> } {
  const builder = new GraphBuilder("random");
  const m = new Make(builder, originAt("random"));
  const pool: NodeId[] = [
    m.input("x", F(batch, t, d)), m.state("w/de", F(d, e)), m.state("w/ed", F(e, d)), m.input("g", F(d)), m.state("c", F(batch, t, d)),
    m.input("row", F(batch, t)), m.state("table", F(e, d)),
  ];
  const index = m.input("i", I(batch, t));
  const pick = (i: number): NodeId => pool[pool.length - 1 - (i % pool.length)] as NodeId;
  const axisOf = (x: NodeId, i: number): string | undefined => { const a = m.type(x).axes; return a.length ? a[i % a.length]?.name : undefined; };
  const rank = (x: NodeId): number => m.type(x).axes.length;
  const ops: ((a: NodeId, b: NodeId, c: number) => NodeId | undefined)[] = [
    (a, b) => m.add(a, b), (a, b) => m.mul(a, b), (a, b) => m.sub(a, m.tanh(b)), (a) => m.tanh(a), (a) => m.sigmoid(a),
    (a, b) => m.div(a, m.offset(m.abs(b), 1)), (a, b) => m.select(m.lt(a, b), a, m.scale(b, 0.5)),
    (a, _, c) => { const n = axisOf(a, c); return n === undefined ? undefined : m.sum(m.tanh(a), n); },
    (a, _, c) => { const n = axisOf(a, c); return n === undefined ? undefined : m.amax(a, n); },
    (a, _, c) => { const n = axisOf(a, c); return n === undefined ? undefined : m.softmax(a, n); },
    (a) => (m.hasAxis(a, "d") ? m.rmsNorm(a, 1e-3, "d") : undefined),
    (a) => (m.hasAxis(a, "d") && !m.hasAxis(a, "e") ? m.tanh(m.dot(m.tanh(a), pool[1] as NodeId, "d")) : undefined),
    (a) => (m.hasAxis(a, "e") && !m.hasAxis(a, "d") ? m.scale(m.dot(m.tanh(a), pool[2] as NodeId, "e"), 0.3) : undefined),
    (a, b) => (m.hasAxis(a, "t") && m.hasAxis(b, "t") && rank(a) > 1 && rank(b) > 1 && !m.hasAxis(b, "s") && !m.hasAxis(a, "s")
      ? m.tanh(m.dot(m.tanh(a), m.rename(m.tanh(b), "t", "s"), ...["d"].filter((n) => m.hasAxis(a, n) && m.hasAxis(b, n)))) : undefined),
    (a) => (m.hasAxis(a, "s") ? m.softmax(a, "s") : undefined),
    (a) => (m.hasAxis(a, "d") ? m.split(a, "d", [h, ax("k", 2)]) : undefined),
    (a) => (m.hasAxis(a, "h") && m.hasAxis(a, "k") ? m.merge(a, ["h", "k"], "d") : undefined),
    (a, _, c) => (m.hasAxis(a, "d") ? m.slice(a, "d", dimConst(c % 3), dimConst(2)) : undefined),
    (a, b) => (m.hasAxis(a, "d") && m.hasAxis(b, "d") ? m.concat("d", a, b) : undefined),
    (a) => (m.hasAxis(a, "e") && !m.hasAxis(a, "batch") ? m.gather(a, "e", index) : undefined),
    (a) => (m.hasAxis(a, "t") && m.hasAxis(a, "batch") ? m.scatterAdd(a, ax("vocab", 4), index) : undefined),
    (a) => (m.hasAxis(a, "t") && m.hasAxis(a, "d") && !m.hasAxis(a, "s") ? m.rope(a, "d", m.cast(m.iota(t), "f32")) : undefined),
    (a, _, c) => { const n = axisOf(a, c); return n === undefined ? undefined : m.mul(a, m.cast(m.argmax(a, n), "f32")); },
    (a, b) => m.add(m.exp(m.neg(m.square(a))), m.silu(b)),
    (a) => { const n = axisOf(a, 0); return n === "t" || n === "batch" ? m.mul(a, m.random("uniform", 2, [batch, t], m.const(5, "u32"), m.const(6, "u32"))) : undefined; },
    (a, b) => (m.hasAxis(a, "d") && m.hasAxis(b, "d") && m.hasAxis(a, "t") && m.hasAxis(b, "t") && rank(a) === 3 && rank(b) === 3 && !m.hasAxis(a, "e") && !m.hasAxis(b, "e")
      ? m.add(m.dot(m.tanh(a), pool[1] as NodeId, "d"), m.dot(m.tanh(b), pool[1] as NodeId, "d")) : undefined),
  ];
  for (const [op, a, b, c] of steps) {
    try {
      const made = ops[op % ops.length]?.(pick(a), pick(b), c);
      if (made === undefined || rank(made) > 4) continue;
      pool.push(made);
    } catch (x) {
      if (!(x instanceof InferFailure) && !(x instanceof Error && x.message.startsWith("no axis"))) throw x;
    }
  }
  const last = pool[pool.length - 1] as NodeId;
  builder.output("y", last);
  const mid = pool[Math.floor(pool.length / 2)] as NodeId;
  builder.output("mid", mid);
  const fits = pool.filter((x) => m.type(x).axes.length === 3 && ["batch", "t", "d"].every((n, i) => m.type(x).axes[i]?.name === n && (n !== "d" || m.type(x).axes[i]?.size.terms[0]?.coef === 4)));
  if (into) builder.output("c", fits[fits.length - 1] as NodeId, "c");
  if (grads) {
    const [x, w] = [pool[0] as NodeId, pool[1] as NodeId];
    const loss = m.type(last).dtype === "f32" ? m.sum(m.sin(last), ...m.type(last).axes.map((a) => a.name)) : x;
    if (loss !== x) {
      gradients(builder, loss, [x, w]).forEach((g, i) => builder.output(`g${i}`, g));
    }
  }
  const graph = sumByClass(builder.finish());
  const inputs: Record<string, number[]> = {};
  const state: Record<string, number[]> = { c: spread(24, 9) };
  for (const n of graph.nodes) {
    if (n.op !== "input" && n.op !== "state") continue;
    const size = product(shapeOf(n.type, randomLengths));
    // Few bits each, so that sums are exact in any precision and a tie of `amax` is a tie everywhere.
    const values = n.type.dtype === "f32" ? spread(size, n.id).map((v) => Math.round(v * 128) / 128) : Array.from({ length: size }, (_, i) => (i * 3 + 1) % 4);
    (n.op === "input" ? inputs : state)[n.attrs.name] = values;
  }
  return { graph, inputs, state };
}
