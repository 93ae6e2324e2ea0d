// In: a group of attention results with equal operands. Out: one dispatch through the attention templates: forward makes the
// output and the log-sum-exp together, backward dq, or dk and dv together, or one table's gradient in two. Refuses nothing.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import { firstTableOf } from "../graph/infer.ts";
import type { AttendAttrs, AttendTable } from "../graph/ops.ts";
import { i32 } from "../scalar/expr.ts";
import { addPieces, tablePieces } from "./attention_table.ts";
import type { PointFn, SinkFn } from "./body.ts";
import { KernelParts } from "./body.ts";
import { spaceAxis } from "./coords.ts";
import type { Evaluator } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { dispatchOf, groupEvaluator } from "./lowering.ts";
import type { AttendSpec, KernelShape, ScoreTable } from "./templates.ts";

export function lowerAttend(low: Lowering, g: Group): ProgramStep[] {
  const node = g.members[0]?.work.node as Node;
  const attrs = node.attrs as AttendAttrs;
  const arg = (i: number): NodeId => node.args[i] as NodeId;
  const typeOf = (i: number): readonly Axis[] => (low.analysis.graph.nodes[arg(i)] as Node).type.axes;
  const axis = (i: number, name: string) => spaceAxis(typeOf(i).find((x) => x.name === name) as Axis);
  const backward = g.kind !== "attend";
  const first = backward ? 6 : 3;
  const firstTable = firstTableOf(attrs, first);
  const around = typeOf(0).filter((x) => x.name !== attrs.query && x.name !== attrs.width);
  const ofKeys = new Set(typeOf(1).map((x) => x.name));
  const attrFns = (ev: Evaluator, names: readonly string[], from: number): Record<string, PointFn> =>
    Object.fromEntries(names.map((n, i) => [n, ev.fn(arg(from + i))]));
  const specOf = (ev: Evaluator): AttendSpec => ({
    outer: around.filter((x) => ofKeys.has(x.name)).map(spaceAxis),
    group: around.filter((x) => !ofKeys.has(x.name)).map(spaceAxis),
    query: axis(0, attrs.query), key: axis(1, attrs.key), width: axis(0, attrs.width), value: axis(2, attrs.value), scale: attrs.scale,
    q: ev.fn(arg(0)), k: ev.fn(arg(1)), v: ev.fn(arg(2)),
    ...(attrs.mask ? { mask: attrs.mask } : {}), ...(attrs.score ? { score: attrs.score } : {}),
    qAttr: attrFns(ev, attrs.queryAttrs, first), kAttr: attrFns(ev, attrs.keyAttrs, first + attrs.queryAttrs.length),
    ...(attrs.heads ? { heads: attrs.heads.map((n) => axis(0, n)) } : {}),
    ...(attrs.tables ? { tables: attrs.tables.map((t, i) => scoreTable(ev, t, firstTable + i)) } : {}),
  });
  const scoreTable = (ev: Evaluator, t: AttendTable, i: number): ScoreTable => ({
    name: t.name, value: ev.fn(arg(i)), ...(t.axis !== undefined && t.index ? { axis: axis(i, t.axis), index: t.index } : {}),
  });
  const sink = (ev: Evaluator, op: Node["op"]): SinkFn | undefined => {
    const m = g.members.find((x) => x.work.node.op === op);
    const to = m ? low.stores(m) : [];
    return to.length === 0 ? undefined : (b, at, value) => { for (const s of to) ev.store(b, s, at, value); };
  };
  const kernel = (what: string, make: (parts: KernelParts, ev: Evaluator) => KernelShape): ProgramStep => {
    const parts = new KernelParts();
    const shape = make(parts, groupEvaluator(low, g, parts));
    return dispatchOf(low, g, what, parts, shape);
  };
  if (!backward) return [kernel("attend", (parts, ev) => {
    const out = sink(ev, "attend");
    const lse = sink(ev, "attend_lse");
    const last = attrs.sink ? { sink: ev.fn(arg(node.args.length - 1)) } : {};
    return low.templates.attendForward(parts, { ...specOf(ev), ...(out ? { out } : {}), ...(lse ? { lse } : {}), ...last }, low.target);
  })];
  const given = (ev: Evaluator) => ({ ...specOf(ev), out: ev.fn(arg(3)), lse: ev.fn(arg(4)), dout: ev.fn(arg(5)) });
  if (g.kind === "attend_dq") return [kernel("attend dq", (parts, ev) => {
    const dq = sink(ev, "attend_dq");
    return low.templates.attendBackward(parts, { ...given(ev), ...(dq ? { dq } : {}) }, low.target);
  })];
  if (node.op === "attend_dtable") {
    const table = attrs.tables?.[node.attrs.table] as AttendTable;
    const own = typeOf(firstTable + node.attrs.table).map(spaceAxis);
    const piece = { name: "piece'", size: i32(tablePieces) };
    const rows = around.map(spaceAxis);
    const shares = low.temp(`pieces.${node.id}`, { dtype: "f32", axes: [...rows, piece, ...own.filter((x) => x.name === table.axis)] });
    return [
      kernel("attend table", (parts, ev) => {
        const spec = given(ev);
        return low.templates.attendTable(parts, {
          ...spec, piece, table: spec.tables?.[node.attrs.table] as ScoreTable,
          load: (b, at) => ev.load(b, shares, at), store: (b, at, value) => ev.store(b, shares, at, value),
        }, low.target);
      }),
      kernel("attend table sum", (parts, ev) => addPieces(parts, {
        kept: own, summed: [...rows.filter((x) => !own.some((y) => y.name === x.name)), piece],
        value: (b, at) => ev.load(b, shares, at), sink: (b, at, value) => sink(ev, "attend_dtable")?.(b, at, value),
      })),
    ];
  }
  // Every key needs the delta of every query: made once a query, for a small dispatch that joins the one of dq.
  const delta = low.temp(`delta.${node.id}`, { dtype: "f32", axes: around.concat(typeOf(0).filter((x) => x.name === attrs.query)).map(spaceAxis) });
  return [
    kernel("attend delta", (parts, ev) =>
      low.templates.attendBackward(parts, { ...given(ev), deltaSink: (b, at, value) => ev.store(b, delta, at, value) }, low.target)),
    kernel("attend dk dv", (parts, ev) => {
      const [dk, dv] = [sink(ev, "attend_dk"), sink(ev, "attend_dv")];
      return low.templates.attendBackward(parts, {
        ...given(ev), delta: (b, at) => ev.load(b, delta, at), ...(dk ? { dk } : {}), ...(dv ? { dv } : {}),
      }, low.target);
    }),
  ];
}
