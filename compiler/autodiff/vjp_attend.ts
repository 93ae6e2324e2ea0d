// The gradients of attention. dq, dk, dv and those of tables share the log-sum and the result of the forward pass; nothing of
// size queries x keys is named. The log-sum's own gradient is that of attention over values of 1 with a result of 0.
// A sink is one more logit without a value, so its gradient is its share of the sum times -delta of the row: plain graph ops.

import { dimConst } from "../dim/dim.ts";
import { BACKWARD } from "../graph/builder.ts";
import type { NodeId } from "../graph/graph.ts";
import { firstTableOf } from "../graph/infer_attend.ts";
import type { Make } from "../graph/make.ts";
import type { AttendAttrs } from "../graph/ops.ts";
import type { Sweep } from "./sweep.ts";
import { argOf, freshAxis, MissingRule, reduceTo, zerosLike } from "./sweep.ts";

type Attention = Sweep<"attend"> | Sweep<"attend_lse">;

function refuseAttributes(s: Attention): void {
  const end = firstTableOf(s.node.attrs, 3);
  for (let i = 3; i < end; i++)
    if (s.needs(i)) throw new MissingRule("a token attribute that a mask or score reads cannot be learned yet");
}

/** Cotangents of every operand but the sink, given what the backward kernels take after q, k and v. */
function operands(s: Attention, args: readonly NodeId[], attrs: AttendAttrs): (NodeId | undefined)[] {
  const tables = firstTableOf(attrs, 3);
  return s.node.args.slice(0, tables + (attrs.tables?.length ?? 0)).map((_, i) => {
    // v is not read by a log-sum.
    if (!s.needs(i) || (i === 2 && s.node.op === "attend_lse")) return undefined;
    if (i >= tables) return s.m.op("attend_dtable", args, { ...attrs, table: i - tables });
    return i === 0 ? s.m.op("attend_dq", args, attrs) : i === 1 ? s.m.op("attend_dk", args, attrs) : s.m.op("attend_dv", args, attrs);
  });
}

/** The share of the sum that the sink takes, at every row; undefined where no sink is learned. */
function sinkShare(s: Attention, lse: NodeId): { readonly share: NodeId; readonly finish: (x: NodeId) => NodeId } | undefined {
  const last = s.node.args.length - 1;
  if (!s.node.attrs.sink || !s.needs(last)) return undefined;
  const { m } = s;
  const sink = argOf(s, last);
  return { share: m.exp(m.sub(sink, lse)), finish: (x) => reduceTo(m, x, m.type(sink)) };
}

export function attendVjp(s: Sweep<"attend">): readonly (NodeId | undefined)[] {
  refuseAttributes(s);
  const { m, node, g } = s;
  // The log-sum belongs to the forward pass: the kernel that makes `attend` makes it too.
  const forward: Make = m.at({ ...m.origin, via: m.origin.via.filter((v) => v !== BACKWARD) });
  const lse = forward.op("attend_lse", node.args, node.attrs);
  const out = operands(s, [...node.args.slice(0, 3), node.id, lse, g, ...node.args.slice(3)], node.attrs);
  const sink = sinkShare(s, lse);
  return sink ? [...out, m.neg(sink.finish(m.mul(sink.share, m.dot(g, node.id, node.attrs.value))))] : out;
}

export function attendLseVjp(s: Sweep<"attend_lse">): readonly (NodeId | undefined)[] {
  refuseAttributes(s);
  const { m, node, g } = s;
  const [q, k] = [argOf(s, 0), argOf(s, 1)];
  // P (dout . v - delta) with v = 1, out = 0 and dout = g is P g: the slope of a log-sum.
  const one = { name: freshAxis("one", m.type(q), m.type(k)), size: dimConst(1) };
  const ones = m.expand(m.const(1), { dtype: "f32", axes: [...m.type(k).axes.filter((a) => a.name !== node.attrs.width), one] });
  const rows = { dtype: "f32" as const, axes: [...m.type(g).axes, one] };
  const attrs: AttendAttrs = { ...node.attrs, value: one.name };
  const args = [q, k, ones, zerosLike(m, rows), node.id, m.broadcast(g, one), ...node.args.slice(3)];
  const out = operands(s, args, attrs);
  const sink = sinkShare(s, node.id);
  return sink ? [...out, sink.finish(m.mul(sink.share, g))] : out;
}
