// In: a group of attention results with equal operands. Out: one dispatch through the attention templates: forward makes the
// output and the log-sum-exp together, backward dq, or dk and dv together. Refuses nothing.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import type { AttendAttrs } from "../graph/ops.ts";
import type { PointFn, SinkFn } from "./body.ts";
import { KernelParts } from "./body.ts";
import { spaceAxis } from "./coords.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { dispatchOf, groupEvaluator } from "./lowering.ts";
import type { AttendSpec } from "./templates.ts";

export function lowerAttend(low: Lowering, g: Group): ProgramStep[] {
  const node = g.members[0]?.work.node as Node;
  const attrs = node.attrs as AttendAttrs;
  const parts = new KernelParts();
  const evaluator = groupEvaluator(low, g, parts);
  const arg = (i: number): NodeId => node.args[i] as NodeId;
  const typeOf = (i: number): readonly Axis[] => (low.analysis.graph.nodes[arg(i)] as Node).type.axes;
  const axis = (i: number, name: string) => spaceAxis(typeOf(i).find((x) => x.name === name) as Axis);
  const backward = g.kind !== "attend";
  const first = backward ? 6 : 3;
  const around = typeOf(0).filter((x) => x.name !== attrs.query && x.name !== attrs.width);
  const ofKeys = new Set(typeOf(1).map((x) => x.name));
  const attrFns = (names: readonly string[], from: number): Record<string, PointFn> =>
    Object.fromEntries(names.map((n, i) => [n, evaluator.fn(arg(from + i))]));
  const spec: AttendSpec = {
    outer: around.filter((x) => ofKeys.has(x.name)).map(spaceAxis),
    group: around.filter((x) => !ofKeys.has(x.name)).map(spaceAxis),
    query: axis(0, attrs.query), key: axis(1, attrs.key), width: axis(0, attrs.width), value: axis(2, attrs.value), scale: attrs.scale,
    q: evaluator.fn(arg(0)), k: evaluator.fn(arg(1)), v: evaluator.fn(arg(2)),
    ...(attrs.mask ? { mask: attrs.mask } : {}), ...(attrs.score ? { score: attrs.score } : {}),
    qAttr: attrFns(attrs.queryAttrs, first), kAttr: attrFns(attrs.keyAttrs, first + attrs.queryAttrs.length),
  };
  const sink = (op: Node["op"]): SinkFn | undefined => {
    const m = g.members.find((x) => x.work.node.op === op);
    const to = m ? low.stores(m) : [];
    return to.length === 0 ? undefined : (b, at, value) => { for (const s of to) evaluator.store(b, s, at, value); };
  };
  if (!backward) {
    const out = sink("attend");
    const lse = sink("attend_lse");
    const shape = low.templates.attendForward(parts, { ...spec, ...(out ? { out } : {}), ...(lse ? { lse } : {}) }, low.target);
    return [dispatchOf(low, g, "attend", parts, shape)];
  }
  const [dq, dk, dv] = [sink("attend_dq"), sink("attend_dk"), sink("attend_dv")];
  const shape = low.templates.attendBackward(parts, {
    ...spec, out: evaluator.fn(arg(3)), lse: evaluator.fn(arg(4)), dout: evaluator.fn(arg(5)),
    ...(dq ? { dq } : {}), ...(dk ? { dk } : {}), ...(dv ? { dv } : {}),
  }, low.target);
  return [dispatchOf(low, g, g.kind === "attend_dq" ? "attend dq" : "attend dk dv", parts, shape)];
}
