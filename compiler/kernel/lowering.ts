// What lowering a group needs to know: where nodes are stored, the target and the templates; and the making of a dispatch from
// kernel parts and a shape. The files lower_*.ts each turn one kind of group into steps.

import type { NodeId, Origin } from "../graph/graph.ts";
import { scalarOf } from "../graph/tensor.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, div, f32, i32, lt, mul } from "../scalar/expr.ts";
import type { Analysis } from "./analysis.ts";
import { pieces } from "./analysis.ts";
import type { KernelParts, Point, SpaceAxis } from "./body.ts";
import { Body } from "./body.ts";
import type { Boundary, Storage } from "./evaluate.ts";
import { Evaluator, storageType } from "./evaluate.ts";
import type { Group, Member } from "./group.ts";
import type { Kernel, ProgramStep, Target } from "./kernel.ts";
import { lengthsOf } from "./sizes.ts";
import type { KernelShape, Templates } from "./templates.ts";
import { mapExpr } from "../scalar/expr.ts";
import { exprsOf, eachStmt } from "./walk.ts";

export interface Lowering {
  readonly analysis: Analysis;
  readonly target: Target;
  readonly templates: Templates;
  /** Most bytes of logits at a time. */
  readonly chunkBytes: number;
  /** Where a leaf or a stored unit lives. */
  storage(id: NodeId): Storage | undefined;
  /** A tensor of this program only. */
  temp(name: string, storage: Omit<Storage, "tensor">): Storage;
  /** Where the members of a group are to be stored: those that someone else reads, and outputs. */
  stores(m: Member): readonly Storage[];
}

/** An evaluator for a group's kernel: its own members are computed, everything else is loaded. */
export function groupEvaluator(low: Lowering, g: Group, parts: KernelParts, boundary?: Boundary): Evaluator {
  const own = new Set(g.members.filter((m) => m.work.unit.kind !== "copy").map((m) => m.work.node.id));
  const a = low.analysis;
  const sums = new Map<NodeId, ScalarExpr>();
  return new Evaluator(
    {
      graph: a.graph, absent: a.absent,
      storage: (id) => (own.has(id) || a.unitOf.get(id)?.kind === "partial" ? undefined : low.storage(id)),
      shared: (id) => (a.users[id]?.length ?? 0) > 1,
    },
    parts,
    (id, at, b) => {
      const answer = boundary?.(id, at, b);
      if (answer || a.unitOf.get(id)?.kind !== "partial" || own.has(id)) return answer;
      // Pieces of a long sum: every reader adds them up, in one order, before anything else.
      const known = sums.get(id);
      if (known) return known;
      const s = low.storage(id) as Storage;
      const scalar = s.axes.length === 1;
      let root = b;
      if (scalar) while (root.parent) root = root.parent;
      const piece = (s.axes[s.axes.length - 1] as SpaceAxis).name;
      const op = a.graph.nodes[id]?.op === "amax" ? "max" : "add";
      const sum = root.var(op === "add" ? zeroOf(s) : lowest(s.dtype), "whole");
      root.loop(i32(0), i32(pieces), 1, (body, p) => {
        const operand = parts.operand(s.tensor, storageType(s.dtype), s.axes.reduce((n, x) => mul(n, x.size), i32(1) as ScalarExpr), "read");
        const index = s.axes.reduce<ScalarExpr>((n, x) => add(mul(n, x.size), x.name === piece ? p : (at[x.name] as ScalarExpr)), i32(0));
        body.assign(sum, binary(op, sum, body.load(operand, index)));
      });
      const whole = snapshot(root, sum);
      if (scalar) sums.set(id, whole);
      return whole;
    },
  );
}

const zeroOf = (s: Storage): ScalarExpr => (s.dtype === "f32" ? f32(0) : { kind: "const", type: scalarOf(s.dtype), value: 0 });
export const lowest = (dtype: Storage["dtype"]): ScalarExpr =>
  dtype === "f32" ? f32(-3.4028234663852886e38) : { kind: "const", type: scalarOf(dtype), value: dtype === "i32" ? -2147483648 : 0 };

/** The value a var has now, under a name of its own. */
export function snapshot(b: Body, v: ScalarExpr): ScalarExpr {
  const n = b.parts.fresh("r");
  b.parts.home.set(n, b);
  b.stmts.push({ kind: "let", name: n, value: v });
  return { kind: "name", type: v.type, name: n };
}

/** Coordinates of a member when the group's axes have these. */
export function placed(m: Member, at: Point): Point {
  const put = (e: ScalarExpr): ScalarExpr => (e.kind === "name" && e.name.startsWith("g:") ? (at[e.name.slice(2)] ?? i32(0)) : e);
  return Object.fromEntries(Object.entries(m.coords).map(([axis, e]) => [axis, mapExpr(e, put)]));
}

/** Stores members at a point of the group: all values first, since a state may be rewritten in place. */
export function storeMembers(low: Lowering, evaluator: Evaluator, b: Body, members: readonly Member[], at: Point): void {
  const ready = members.flatMap((m): { stores: readonly Storage[]; here: Point; value: ScalarExpr; inside?: ScalarExpr }[] => {
    const stores = low.stores(m);
    if (stores.length === 0) return [];
    const here = placed(m, at);
    const { unit, node } = m.work;
    if (unit.from) return [{ stores, here, value: b.let(evaluator.load(b, unit.from, here)) }];
    if (unit.kind !== "update" || node.op !== "update") return [{ stores, here, value: b.let(evaluator.value(b, node.id, here)) }];
    // Only the new part of a state is written, and only what of it lies inside.
    const [, value, start] = node.args as [NodeId, NodeId, NodeId];
    const { axis } = node.attrs;
    const size = (stores[0]?.axes.find((x) => x.name === axis) as SpaceAxis).size;
    const place = b.let(add(here[axis] as ScalarExpr, evaluator.value(b, start, here)), "place");
    const inside = and(binary("le", i32(0), place), lt(place, size));
    return [{ stores, here: { ...here, [axis]: place }, value: b.let(evaluator.value(b, value, here)), inside }];
  });
  for (const r of ready) {
    const store = (body: Body): void => { for (const to of r.stores) evaluator.store(body, to, r.here, r.value); };
    if (r.inside) b.if(r.inside, store);
    else store(b);
  }
}

/** A 1-D range of workgroups, folded into y where one dimension is too short. */
export interface Range {
  readonly grid: Kernel["grid"];
  /** Index of the workgroup in the range; may pass its end when the range is folded. */
  readonly index: ScalarExpr;
  /** True when no index passes the end. */
  readonly exact: boolean;
}

export function groupRange(count: ScalarExpr, target: Target): Range {
  const most = target.gridPerDimension;
  if (count.kind === "const" && count.value <= most) return { grid: [count, i32(1), i32(1)], index: builtin("group.x"), exact: true };
  const y = div(add(count, i32(most - 1)), i32(most));
  return { grid: [binary("min", count, i32(most)), y, i32(1)], index: add(mul(builtin("group.y"), i32(most)), builtin("group.x")), exact: false };
}

export const ceilBy = (n: ScalarExpr, by: number): ScalarExpr => (by === 1 ? n : div(add(n, i32(by - 1)), i32(by)));
export const isMultiple = (n: ScalarExpr, of: number): boolean => n.kind === "const" && n.value % of === 0;

/** Runs `then` where `i < n`; without a test when that is known. */
export function guarded(b: Body, known: boolean, i: ScalarExpr, n: ScalarExpr, then: (b: Body) => void): void {
  if (known) then(b);
  else b.if(lt(i, n), then);
}

/** One dispatch of a finished kernel. */
export function dispatchOf(low: Lowering, g: Group, what: string, parts: KernelParts, shape: KernelShape, nodes: readonly NodeId[] = g.members.map((m) => m.work.node.id)): ProgramStep {
  const lengths = new Set<string>();
  for (const e of shape.grid) lengthsOf(e, lengths);
  for (const o of parts.operands.values()) lengthsOf(o.size, lengths);
  eachStmt(shape.body, (s) => { for (const e of exprsOf(s)) lengthsOf(e, lengths); });
  const origins: Origin[] = [];
  for (const id of nodes) {
    const o = low.analysis.graph.nodes[id]?.origin;
    if (o && !origins.includes(o)) origins.push(o);
  }
  const path = origins.find((o) => o.path !== "")?.path ?? low.analysis.graph.name;
  const kernel: Kernel = {
    name: `${path} ${what}`, operands: [...parts.operands.values()], lengths: [...lengths].sort(),
    workgroup: shape.workgroup, grid: shape.grid, arrays: shape.arrays, body: shape.body, origins,
  };
  return { kind: "dispatch", dispatch: { kernel, bind: Object.fromEntries(parts.bind) } };
}
