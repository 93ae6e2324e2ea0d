// A mixture of experts and a dense network of the same active work as graphs: SwiGLU on tokens [t, d]. The router is part of the
// measure: logits, softmax, the largest two, their weights made to sum to 1. `skew` is added to the logits for selection, so that a
// run may send all rows where it likes. Backward: the result, and the gradients of sum(y * dout) with respect to x and to every weight.

import { gradients } from "../../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId } from "../../../compiler/graph/graph.ts";
import { Make } from "../../../compiler/graph/make.ts";
import type { Target } from "../../../compiler/kernel/kernel.ts";
import { assemble } from "../../../compiler/plan/assemble.ts";
import type { Plan, StateBuffer } from "../../../compiler/plan/plan.ts";
import { runPasses } from "../../../compiler/run_passes.ts";

export interface Shape {
  /** Width of a token, hidden width of an expert, experts (0: dense, of `choices` times the hidden width), experts of a token. */
  readonly width: number;
  readonly hidden: number;
  readonly experts: number;
  readonly choices: number;
}

const t: Axis = { name: "t", size: dimVar("t") };
const axis = (name: string, size: number): Axis => ({ name, size: dimConst(size) });

/** Weights by name with their axes, in the order in which they lie in the buffer `params`. */
export function weightsOf(s: Shape): readonly (readonly [string, readonly Axis[]])[] {
  const hidden = s.experts === 0 ? s.hidden * s.choices : s.hidden;
  const [d, h, e] = [axis("d", s.width), axis("h", hidden), axis("experts", s.experts)];
  const lead = s.experts === 0 ? [] : [e];
  return [
    ["params/gate", [...lead, d, h]], ["params/up", [...lead, d, h]], ["params/down", [...lead, h, d]],
    ...(s.experts === 0 ? [] : [["params/router", [d, e]] as const]),
  ];
}

const count = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * (a.size.terms[0]?.coef ?? 0), 1);

export function statesOf(s: Shape): StateBuffer[] {
  let offset = 0;
  const fields = weightsOf(s).map(([name, axes]) => {
    const field = { name: name.slice("params/".length), shape: axes.map((a) => count([a])), axes: axes.map((a) => a.name), offset };
    offset += count(axes);
    return field;
  });
  return [{ name: "params", dtype: "f32", size: offset, fields }];
}

export const weightElements = (s: Shape): number => weightsOf(s).reduce((n, [, axes]) => n + count(axes), 0);

export function benchGraph(s: Shape, backward: boolean): Graph {
  const builder = new GraphBuilder(`${s.experts === 0 ? "dense" : `${s.experts} experts`} ${backward ? "both" : "forward"}`);
  const m = new Make(builder, originAt("ffn"));
  const x = m.input("x", { dtype: "f32", axes: [t, axis("d", s.width)] });
  const weights = Object.fromEntries(weightsOf(s).map(([name, axes]) => [name.slice("params/".length), m.state(name, { dtype: "f32", axes })]));
  const w = (name: string): NodeId => weights[name] as NodeId;
  let y: NodeId;
  if (s.experts === 0) y = m.dot(m.mul(m.silu(m.dot(x, w("gate"), "d")), m.dot(x, w("up"), "d")), w("down"), "h");
  else {
    const logits = m.dot(x, w("router"), "d");
    const skew = m.input("skew", { dtype: "f32", axes: [axis("experts", s.experts)] });
    const expert = m.topOrder(m.add(logits, skew), "experts", axis("choice", s.choices));
    const chosen = m.gather(m.softmax(logits, "experts"), "experts", expert);
    const weight = m.div(chosen, m.sum(chosen, "choice"));
    const g = m.groupBy(expert, dimConst(s.experts));
    const by = (v: NodeId, name: string, over: string): NodeId => m.groupedDot(v, w(name), g, "experts", over);
    y = m.sum(m.mul(by(m.mul(m.silu(by(x, "gate", "d")), by(x, "up", "d")), "down", "h"), weight), "choice");
  }
  // The result is wanted in either case, as the next layer wants it.
  builder.output("y", builder.ordered(y, ["t", "d"], m.origin));
  if (backward) {
    const loss = m.sum(m.mul(y, m.input("dout", { dtype: "f32", axes: [t, axis("d", s.width)] })), "t", "d");
    const wanted = ["x", ...Object.keys(weights)];
    gradients(builder, loss, [x, ...Object.values(weights)]).forEach((g, i) => builder.output(`d_${wanted[i]}`, g));
  }
  return builder.finish();
}

export const planOf = (s: Shape, backward: boolean, target: Target): Plan =>
  assemble(runPasses(benchGraph(s, backward), { target, remat: false }), { target, states: statesOf(s) });
