// In: a group of attention results with equal operands. Out: one dispatch through the attention templates: forward makes the
// output and the log-sum-exp together, backward dq, or dk and dv together, or one table's gradient in two. Refuses nothing.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import { firstTableOf } from "../graph/infer_attend.ts";
import type { AttendAttrs, AttendTable } from "../graph/ops.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { i32 } from "../scalar/expr.ts";
import type { TileTruth } from "../scalar/tile_truth.ts";
import { tileTruth } from "../scalar/tile_truth.ts";
import { loadFact, RangeTable } from "./attention_ranges.ts";
import { addPieces, tablePieces } from "./attention_table.ts";
import type { Body, Point, PointFn, SinkFn, SpaceAxis } from "./body.ts";
import { KernelParts } from "./body.ts";
import { spaceAxis } from "./coords.ts";
import type { Evaluator, Storage } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { dispatchOf, groupEvaluator } from "./lowering.ts";
import { constantOf } from "./space.ts";
import type { AttendSpec, KernelShape, ScoreTable } from "./templates.ts";

/** What the attentions of a program make once for all of them. */
export class AttendShared {
  readonly ranges = new RangeTable();
  /** By out and dout. */
  readonly deltas = new Map<string, Storage>();
}

export function lowerAttend(low: Lowering, g: Group, shared: AttendShared): ProgramStep[] {
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
  const tiles = tilesOf(low, g, shared, attrs, node, first);
  const specOf = (ev: Evaluator): AttendSpec => ({
    outer: around.filter((x) => ofKeys.has(x.name)).map(spaceAxis),
    group: around.filter((x) => !ofKeys.has(x.name)).map(spaceAxis),
    query: axis(0, attrs.query), key: axis(1, attrs.key), width: axis(0, attrs.width), value: axis(2, attrs.value), scale: attrs.scale,
    q: ev.fn(arg(0)), k: ev.fn(arg(1)), v: ev.fn(arg(2)),
    ...(attrs.mask ? { mask: attrs.mask } : {}), ...(attrs.score ? { score: attrs.score } : {}),
    qAttr: attrFns(ev, attrs.queryAttrs, first), kAttr: attrFns(ev, attrs.keyAttrs, first + attrs.queryAttrs.length),
    ...(attrs.heads ? { heads: attrs.heads.map((n) => axis(0, n)) } : {}),
    ...(attrs.tables ? { tables: attrs.tables.map((t, i) => scoreTable(ev, t, firstTable + i)) } : {}),
    ...(tiles ? { tiles: { truth: tiles.truth, fact: (b, side, fact, at, tile) => tiles.fact(ev, b, side, fact, at, tile) } } : {}),
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
  const before = [...(tiles?.steps ?? [])];
  if (!backward) return [...before, kernel("attend", (parts, ev) => {
    const out = sink(ev, "attend");
    const lse = sink(ev, "attend_lse");
    const last = attrs.sink ? { sink: ev.fn(arg(node.args.length - 1)) } : {};
    return low.templates.attendForward(parts, { ...specOf(ev), ...(out ? { out } : {}), ...(lse ? { lse } : {}), ...last }, low.target);
  })];
  const delta = deltaOf(low, shared, node, typeOf(0).filter((x) => x.name !== attrs.width).map(spaceAxis));
  if (delta.fresh) {
    const rows = delta.storage.axes;
    before.push(kernel("attend delta", (parts, ev) => low.templates.attendDelta(parts, {
      rows, value: axis(2, attrs.value), out: ev.fn(arg(3)), dout: ev.fn(arg(5)), delta: (b, at, value) => ev.store(b, delta.storage, at, value),
    }, low.target)));
  }
  const given = (ev: Evaluator) => ({ ...specOf(ev), lse: ev.fn(arg(4)), dout: ev.fn(arg(5)), delta: (b: Body, at: Point) => ev.load(b, delta.storage, at) });
  if (g.kind === "attend_dq") return [...before, kernel("attend dq", (parts, ev) => {
    const dq = sink(ev, "attend_dq");
    return low.templates.attendBackward(parts, { ...given(ev), ...(dq ? { dq } : {}) }, low.target);
  })];
  if (node.op === "attend_dtable") {
    const table = attrs.tables?.[node.attrs.table] as AttendTable;
    const own = typeOf(firstTable + node.attrs.table).map(spaceAxis);
    const entries = own.find((x) => x.name === table.axis);
    const piece = { name: "piece'", size: i32(tablePieces(entries ? constantOf(entries.size) : 1)) };
    const rows = around.map(spaceAxis);
    const shares = low.temp(`pieces.${node.id}`, { dtype: "f32", axes: [...rows, piece, ...(entries ? [entries] : [])] });
    return [
      ...before,
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
  return [...before, kernel("attend dk dv", (parts, ev) => {
    const [dk, dv] = [sink(ev, "attend_dk"), sink(ev, "attend_dv")];
    return low.templates.attendBackward(parts, { ...given(ev), ...(dk ? { dk } : {}), ...(dv ? { dv } : {}) }, low.target);
  })];
}

/** The delta of each query row, for whoever comes first to make. */
function deltaOf(low: Lowering, shared: AttendShared, node: Node, rows: readonly SpaceAxis[]): { readonly storage: Storage; readonly fresh: boolean } {
  const key = `${node.args[3]},${node.args[5]}`;
  const known = shared.deltas.get(key);
  if (known) return { storage: known, fresh: false };
  const storage = low.temp(`delta.${node.id}`, { dtype: "f32", axes: rows });
  shared.deltas.set(key, storage);
  return { storage, fresh: true };
}

interface Tiles {
  readonly truth: TileTruth;
  readonly fact: (ev: Evaluator, b: Body, side: "q" | "k", fact: string, at: Point, tile: ScalarExpr) => ScalarExpr;
  /** What must run before, if nobody did. */
  readonly steps: readonly ProgramStep[];
}

/** What the mask says of tiles, with the ranges it reads; undefined when it decides no tile. */
function tilesOf(low: Lowering, g: Group, shared: AttendShared, attrs: AttendAttrs, node: Node, first: number): Tiles | undefined {
  if (!attrs.mask) return undefined;
  const truth = tileTruth(attrs.mask);
  if (truth.may.kind === "const" && truth.must.kind === "const") return undefined;
  const names = (side: "q" | "k"): string[] => [...new Set(truth[side].map((f) => f.slice(0, f.lastIndexOf("."))))];
  const places = (["q", "k"] as const).flatMap((side) => names(side).map((name) => {
    const at = side === "q" ? attrs.queryAttrs.indexOf(name) : attrs.queryAttrs.length + attrs.keyAttrs.indexOf(name);
    return { side, name, id: node.args[first + at] as NodeId, tokens: side === "q" ? attrs.query : attrs.key };
  }));
  const { ranges, steps } = shared.ranges.make(low, g, places);
  return {
    truth, steps,
    fact: (ev, b, side, fact, at, tile) => {
      const dot = fact.lastIndexOf(".");
      const r = ranges[places.findIndex((p) => p.side === side && p.name === fact.slice(0, dot))];
      if (!r) throw new Error(`attend: no ranges for ${side}.${fact}`);
      return loadFact(b, ev, r, fact.slice(dot + 1), at, tile);
    },
  };
}
