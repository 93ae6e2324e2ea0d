// One attention as a graph, the way models have it: [batch, t, heads, members of a group, width], every token attribute an
// input of the run, lengths known at run time. In: an AttentionCase. Out: its graph with out, lse and the gradients of a
// projection of `out`; its inputs; its program after every pass of the compiler.

import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import type { Program, Target } from "../../compiler/kernel/kernel.ts";
import { runPasses } from "../../compiler/run_passes.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { attrsIn, namesIn } from "./attention_leaves.ts";

/** Attribute values by name, [batch, tokens] each. */
export type Columns = Readonly<Record<string, Int32Array>>;

export interface AttentionCase {
  readonly what: string;
  readonly batch?: number;
  /** Heads that k and v have, and queries a head of those. */
  readonly heads?: number;
  readonly group?: number;
  readonly t: number;
  /** Keys; as many as queries, with the attributes of the queries, when absent. */
  readonly s?: number;
  readonly width: number;
  /** Width of v; that of q when absent. */
  readonly value?: number;
  readonly mask?: ScalarExpr;
  readonly score?: ScalarExpr;
  readonly query?: Columns;
  readonly key?: Columns;
  readonly scale?: number;
}

/** What of a case the kernels are made from; lengths, attributes and numbers are given to a run. */
export type AttentionShape = Pick<AttentionCase, "heads" | "group" | "width" | "value" | "mask" | "score" | "scale">;

const [batch, t, s] = ["batch", "t", "s"].map((name): Axis => ({ name, size: dimVar(name) })) as [Axis, Axis, Axis];
const fixed = (name: string, size: number): Axis => ({ name, size: dimConst(size) });

/** Gradients are of the sum of out * dout. */
export function attentionGraph(c: AttentionShape, backward: boolean, name = "attention"): Graph {
  const builder = new GraphBuilder(name);
  const m = new Make(builder, originAt("attend"));
  const [h, g, w, u] = [fixed("h", c.heads ?? 1), fixed("g", c.group ?? 1), fixed("w", c.width), fixed("u", c.value ?? c.width)];
  const f32 = (n: string, ...axes: readonly Axis[]): NodeId => m.input(n, { dtype: "f32", axes });
  const heads = c.group === undefined ? [h] : [h, g];
  const [q, k, v] = [f32("q", batch, t, ...heads, w), f32("k", batch, s, h, w), f32("v", batch, s, h, u)];
  const exprs = [c.mask, c.score];
  const attrs = (side: "q" | "k", axis: Axis): Record<string, NodeId> =>
    Object.fromEntries(attrsIn(exprs, side).map((n) => [n, m.input(`${side}.${n}`, { dtype: "i32", axes: [batch, axis] })]));
  const options = {
    query: "t", key: "s", width: "w", value: "u", queryAttrs: attrs("q", t), keyAttrs: attrs("k", s),
    ...(c.scale === undefined ? {} : { scale: c.scale }), ...(c.mask ? { mask: c.mask } : {}), ...(c.score ? { score: c.score } : {}),
    ...(namesIn(exprs).has("head") ? { heads: heads.map((x) => x.name) } : {}),
  };
  const out = m.attend(q, k, v, options);
  const dout = backward ? f32("dout", batch, t, ...heads, u) : undefined;
  builder.output("out", out);
  builder.output("lse", m.attendLse(q, k, v, options));
  if (dout !== undefined) {
    const loss = m.sum(m.mul(out, dout), ...m.type(out).axes.map((a) => a.name));
    gradients(builder, loss, [q, k, v]).forEach((d, i) => builder.output(["dq", "dk", "dv"][i] as string, d));
  }
  return builder.finish();
}

/** Through every pass of the compiler, each verified. */
export const attentionProgram = (graph: Graph, target: Target): Program => runPasses(graph, { target, remat: false });

export const lengthsOf = (c: AttentionCase): Record<string, number> => ({ batch: c.batch ?? 1, t: c.t, s: c.s ?? c.t });

/** Numbers in [-1, 1) that depend on the seed alone. */
export function numbers(n: number, seed: number): Float32Array {
  let x = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: n }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x >>> 8) / (1 << 23) - 1;
  });
}

/** Everything a run of the case is given. */
export function attentionInputs(c: AttentionCase, graph: Graph, seed = 1): Record<string, Float32Array | Int32Array> {
  const { batch: b = 1, t: nt, s: ns } = lengthsOf(c) as { batch: number; t: number; s: number };
  const [h, g, w, u] = [c.heads ?? 1, c.group ?? 1, c.width, c.value ?? c.width];
  const columns = (side: "q" | "k"): Columns => (side === "q" ? c.query : c.key ?? c.query) ?? {};
  const sizes: Record<string, number> = { q: b * nt * h * g * w, k: b * ns * h * w, v: b * ns * h * u, dout: b * nt * h * g * u };
  const out: Record<string, Float32Array | Int32Array> = {};
  for (const n of graph.nodes) {
    if (n.op !== "input") continue;
    const name = n.attrs.name;
    const [side, attribute] = name.split(".");
    if (attribute === undefined) {
      const size = sizes[name];
      if (size === undefined) throw new Error(`no size for ${name}`);
      out[name] = numbers(size, seed * 4 + Object.keys(sizes).indexOf(name)).map((x) => (name === "q" ? 2 * x : x));
      continue;
    }
    const values = columns(side as "q" | "k")[attribute];
    if (!values || values.length !== b * (side === "q" ? nt : ns)) throw new Error(`${c.what}: attribute ${name} has ${values?.length} values`);
    out[name] = values;
  }
  return out;
}

/** What the case means, in double precision. */
export function attentionTruth(c: AttentionCase, graph: Graph, inputs: Readonly<Record<string, Float32Array | Int32Array>>): Record<string, ArrayLike<number>> {
  const { outputs } = interpret(graph, { inputs, lengths: lengthsOf(c) });
  return Object.fromEntries(Object.entries(outputs).map(([n, v]) => [n, v.data]));
}

/** The first number that is off by more than `tolerance` of the largest of its tensor (of 1, where all are smaller); undefined when all are right. */
export function firstWrong(want: Readonly<Record<string, ArrayLike<number>>>, got: Readonly<Record<string, ArrayLike<number>>>, tolerance: number): string | undefined {
  for (const [name, right] of Object.entries(want)) {
    const mine = got[name];
    if (!mine || mine.length !== right.length) return `${name} has ${mine?.length} numbers, not ${right.length}`;
    let scale = 1;
    for (let i = 0; i < right.length; i++) if (Math.abs(right[i] as number) < 1e20) scale = Math.max(scale, Math.abs(right[i] as number));
    for (let i = 0; i < right.length; i++) {
      const [x, y] = [mine[i] as number, right[i] as number];
      if (!(Math.abs(x - y) <= tolerance * scale + 1e-6 * Math.abs(y))) return `${name}[${i}] is ${x}, not ${y}`;
    }
  }
  return undefined;
}
