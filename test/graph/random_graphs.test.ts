// Random well-typed graphs: rewriting keeps their meaning, text keeps them, gradients match differences, and f32 stays near f64.

import fc from "fast-check";
import { expect, it } from "vitest";
import { dimConst } from "../../compiler/dim/dim.ts";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { GraphBuilder, InferFailure, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, NodeId } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { printGraph } from "../../compiler/graph/print.ts";
import { readGraph } from "../../compiler/graph/read.ts";
import { rewrite } from "../../compiler/graph/rewrite.ts";
import { allRules } from "../../compiler/graph/rules/all.ts";
import { inOrder } from "../../compiler/graph/value.ts";
import { verifyGraph } from "../../compiler/graph/verify.ts";
import { ax, F, spread } from "./cases.ts";

const axes: readonly Axis[] = [ax("t", "t"), ax("d", 4), ax("e", 2), ax("h", 2)];
const inputs = { x: spread(12, 1, [-1, 1]), w: spread(8, 2, [-1, 1]), b: spread(4, 3, [-1, 1]) };
const lengths = { t: 3 };

/** One step: two places in the pool and a choice, all taken modulo what is there. */
type Step = readonly [number, number, number];

const moves: readonly ((m: Make, a: NodeId, b: NodeId, k: number) => NodeId)[] = [
  (m, a, b) => m.add(a, b),
  (m, a, b) => m.mul(a, b),
  (m, a, b) => m.sub(a, b),
  (m, a) => m.tanh(a),
  (m, a) => m.neg(a),
  (m, a) => m.scale(a, 0.5),
  (m, a) => m.offset(a, 0),
  (m, a) => m.sigmoid(a),
  (m, a, _, k) => m.sum(a, pick(m.type(a).axes, k).name),
  (m, a, _, k) => m.mean(a, pick(m.type(a).axes, k).name),
  (m, a, _, k) => m.softmax(a, pick(m.type(a).axes, k).name),
  (m, a, b, k) => m.dot(a, b, pick(m.type(a).axes.filter((x) => m.hasAxis(b, x.name)), k).name),
  (m, a, _, k) => m.broadcast(a, pick(axes.filter((x) => !m.hasAxis(a, x.name)), k)),
  (m, a, _, k) => m.rename(a, pick(m.type(a).axes, k).name, "z"),
  (m, a) => m.rename(a, "z", "y"),
  (m, a) => m.slice(a, "d", dimConst(1), dimConst(2)),
  (m, a, _, k) => m.concat(pick(m.type(a).axes, k).name, a, m.neg(a)),
  (m, a) => m.merge(a, ["e", "h"], "n"),
  (m, a) => m.split(a, "d", [ax("e", 2), ax("h", 2)]),
  (m, a, b) => m.select(m.lt(a, m.const(0.1)), a, b),
];
const pick = <T>(all: readonly T[], k: number): T => all[k % all.length] ?? never();
class Skip extends Error {}
const never = (): never => {
  throw new Skip();
};

function build(steps: readonly Step[]): { b: GraphBuilder; m: Make; last: NodeId } {
  const b = new GraphBuilder("random");
  const m = new Make(b, originAt("random"));
  const pool = [m.input("x", F(axes[0]!, axes[1]!)), m.input("w", F(axes[1]!, axes[2]!)), m.input("b", F(axes[1]!))];
  for (const [i, j, k] of steps) {
    try {
      const next = pick(moves, k)(m, pick([...pool].reverse(), i), pick([...pool].reverse(), j), i + j);
      if (m.type(next).axes.length <= 4) pool.push(next);
    } catch (e) {
      // A step that does not fit these operands is left out; anything else is a failure.
      if (!(e instanceof Skip || e instanceof InferFailure || (e instanceof Error && e.message.startsWith("no axis")))) throw e;
    }
  }
  return { b, m, last: pool[pool.length - 1] ?? never() };
}

const steps = fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.nat(moves.length - 1)), { minLength: 4, maxLength: 14 });
const close = (a: number, b: number, tolerance: number): boolean => Math.abs(a - b) <= tolerance * (1 + Math.abs(a));

it("keep their meaning through rewriting, text and rounding", () => {
  let fired = 0;
  fc.assert(fc.property(steps, (list) => {
    const { b, last } = build(list);
    b.output("y", last);
    const g = b.finish();
    expect(verifyGraph(g)).toEqual([]);
    expect(readGraph(printGraph(g))).toEqual(g);
    const after = rewrite(g, allRules, { fired: () => fired++ });
    expect(verifyGraph(after)).toEqual([]);
    const y = interpret(g, { inputs, lengths }).outputs.y!;
    const z = inOrder(interpret(after, { inputs, lengths }).outputs.y!, y.type);
    return z.data.length === y.data.length && y.data.every((v, i) => close(v, z.data[i]!, 1e-9));
  }), { numRuns: 250 });
  expect(fired).toBeGreaterThan(100);
});

it("have gradients that match differences, before and after rewriting", () => {
  fc.assert(fc.property(steps, (list) => {
    const { b, m, last } = build(list);
    const loss = m.sum(m.tanh(last), ...m.type(last).axes.map((a) => a.name));
    const wrt = (["x", "w", "b"] as const).map((n) => [n, Array.from({ length: b.size }, (_, i) => b.node(i)).find((k) => k.op === "input" && k.attrs.name === n)!.id] as const);
    const grads = gradients(b, loss, wrt.map(([, id]) => id));
    b.output("loss", loss);
    wrt.forEach(([n, id], i) => b.output(n, b.ordered(grads[i]!, b.type(id).axes.map((a) => a.name), originAt(n))));
    const g = b.finish();
    expect(verifyGraph(g)).toEqual([]);
    const out = interpret(g, { inputs, lengths }).outputs;
    const after = interpret(rewrite(g, allRules), { inputs, lengths }).outputs;
    for (const [n] of wrt) {
      out[n]!.data.forEach((v, i) => expect(close(v, after[n]!.data[i]!, 1e-8)).toBe(true));
      // A direction, not every element: one difference checks them all. Kinks of select are hit with probability 0.
      const direction = spread(inputs[n].length, 7);
      const moved = (h: number): number => interpret({ ...g, outputs: g.outputs.slice(0, 1) }, { inputs: { ...inputs, [n]: inputs[n].map((v, i) => v + h * direction[i]!) }, lengths }).outputs.loss!.data[0]!;
      const slope = direction.reduce((s, v, i) => s + v * out[n]!.data[i]!, 0);
      const jumps = g.nodes.some((k) => k.op === "select");
      if (!jumps) expect(Math.abs((moved(1e-5) - moved(-1e-5)) / 2e-5 - slope)).toBeLessThan(1e-5 * (1 + Math.abs(slope)));
    }
  }), { numRuns: 120 });
});
