// Attention for the benchmark as graphs: with a mask, with none, or with a bias [queries x keys] read in the kernel, which is how a
// mask is applied where masks are tables; and a step of training on q, k and v themselves. 4 heads of 64, batch 1.

import { gradients } from "../../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId } from "../../../compiler/graph/graph.ts";
import type { AttendOptions } from "../../../compiler/graph/make.ts";
import { Make } from "../../../compiler/graph/make.ts";
import type { Target } from "../../../compiler/kernel/kernel.ts";
import { assemble } from "../../../compiler/plan/assemble.ts";
import type { Plan, StateBuffer } from "../../../compiler/plan/plan.ts";
import { runPasses } from "../../../compiler/run_passes.ts";
import type { ScalarExpr } from "../../../compiler/scalar/expr.ts";
import { add, attr, name } from "../../../compiler/scalar/expr.ts";
import { attrsIn } from "../../templates/attention_leaves.ts";

export const HEADS = 4;
export const WIDTH = 64;

export type Kind = { readonly mask: ScalarExpr } | "bias" | "none";

const open = (n: string): Axis => ({ name: n, size: dimVar(n) });
const [t, s, cell] = [open("t"), open("s"), open("cell")];
const heads: Axis = { name: "h", size: dimConst(HEADS) };
const width = (n: string): Axis => ({ name: n, size: dimConst(WIDTH) });

function attendOptions(m: Make, kind: Kind): AttendOptions {
  const base = { query: "t", key: "s", width: "w", value: "u" };
  const ints = (n: string, axis: Axis): NodeId => m.input(n, { dtype: "i32", axes: [axis] });
  if (kind === "none") return base;
  if (kind === "bias") {
    // Cell (i, j) of the table is at i * keys + j.
    const table = { node: m.input("bias", { dtype: "f32", axes: [cell] }), axis: "cell", index: add(attr("q", "from"), attr("k", "pos")) };
    return { ...base, score: add(name("s", "f32"), name("b0", "f32")), tables: [table], queryAttrs: { from: ints("q.from", t) }, keyAttrs: { pos: ints("k.pos", s) } };
  }
  const attrs = (side: "q" | "k", axis: Axis): Record<string, NodeId> => Object.fromEntries(attrsIn([kind.mask], side).map((n) => [n, ints(`${side}.${n}`, axis)]));
  return { ...base, mask: kind.mask, queryAttrs: attrs("q", t), keyAttrs: attrs("k", s) };
}

/** `out`; or, backward, the gradients of the sum of out * dout. */
export function benchGraph(kind: Kind, backward: boolean): Graph {
  const builder = new GraphBuilder(backward ? "both" : "forward");
  const m = new Make(builder, originAt("attend"));
  const f32 = (n: string, ...axes: Axis[]): NodeId => m.input(n, { dtype: "f32", axes });
  const [q, k, v] = [f32("q", t, heads, width("w")), f32("k", s, heads, width("w")), f32("v", s, heads, width("u"))];
  const out = m.attend(q, k, v, attendOptions(m, kind));
  if (!backward) builder.output("out", out);
  else {
    const loss = m.sum(m.mul(out, f32("dout", t, heads, width("u"))), "t", "h", "u");
    gradients(builder, loss, [q, k, v]).forEach((d, i) => builder.output(["dq", "dk", "dv"][i] as string, d));
  }
  return builder.finish();
}

/** q, k and v move against their gradients: forward and backward with nothing left over but what any training holds. */
export function stepGraph(mask: ScalarExpr, rate: number): Graph {
  const builder = new GraphBuilder("step");
  const m = new Make(builder, originAt("attend"));
  const states = [["q", t, "w"], ["k", s, "w"], ["v", s, "u"]] as const;
  const [q, k, v] = states.map(([n, axis, w]) => m.state(n, { dtype: "f32", axes: [axis, heads, width(w)] })) as [NodeId, NodeId, NodeId];
  const out = m.attend(q, k, v, attendOptions(m, { mask }));
  const loss = m.sum(m.mul(out, m.input("dout", { dtype: "f32", axes: [t, heads, width("u")] })), "t", "h", "u");
  gradients(builder, loss, [q, k, v]).forEach((d, i) => {
    const [n, axis, w] = states[i] as (typeof states)[number];
    const next = m.sub([q, k, v][i] as NodeId, m.scale(d, rate));
    builder.output(`${n}.next`, builder.ordered(next, [axis.name, "h", w], m.origin), n);
  });
  return builder.finish();
}

export const stepStates = (tokens: number): StateBuffer[] => ["q", "k", "v"].map((n) => ({ name: n, dtype: "f32", size: tokens * HEADS * WIDTH, fields: [] }));

export const planOf = (graph: Graph, target: Target, states: readonly StateBuffer[] = []): Plan => assemble(runPasses(graph, { target, remat: false }), { target, states });
