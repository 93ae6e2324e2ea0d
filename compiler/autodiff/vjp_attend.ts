// The gradients of attention. dq, dk and dv share the log-sum and the result of the forward pass; nothing of size queries x keys
// is named. The log-sum's own gradient is that of attention over values of 1 with a result of 0.

import { dimConst } from "../dim/dim.ts";
import { BACKWARD } from "../graph/builder.ts";
import type { NodeId } from "../graph/graph.ts";
import type { AttendAttrs } from "../graph/ops.ts";
import type { Sweep } from "./sweep.ts";
import { argOf, freshAxis, MissingRule, zerosLike } from "./sweep.ts";

function refuseAttributes(s: Sweep<"attend"> | Sweep<"attend_lse">): void {
  s.node.args.forEach((_, i) => {
    if (i >= 3 && s.needs(i)) throw new MissingRule("a token attribute that a mask or score reads cannot be learned yet");
  });
}

export function attendVjp(s: Sweep<"attend">): readonly (NodeId | undefined)[] {
  refuseAttributes(s);
  const { m, node, g } = s;
  // The log-sum belongs to the forward pass: the kernel that makes `attend` makes it too.
  const forward = m.at({ ...m.origin, via: m.origin.via.filter((v) => v !== BACKWARD) });
  const lse = forward.op("attend_lse", node.args, node.attrs);
  const args = [...node.args.slice(0, 3), node.id, lse, g, ...node.args.slice(3)];
  return [
    s.needs(0) ? m.op("attend_dq", args, node.attrs) : undefined,
    s.needs(1) ? m.op("attend_dk", args, node.attrs) : undefined,
    s.needs(2) ? m.op("attend_dv", args, node.attrs) : undefined,
  ];
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
  return [s.needs(0) ? m.op("attend_dq", args, attrs) : undefined, s.needs(1) ? m.op("attend_dk", args, attrs) : undefined];
}
