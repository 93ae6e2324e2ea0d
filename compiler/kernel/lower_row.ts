// In: a group with reductions: outer axes, reduced axes, stages (a reduction may need an earlier one). Out: one dispatch.
// Schedules: an invocation a row, in a loop (short rows, and everywhere barriers are slow); a workgroup a row with lane
// reductions (rows along memory); a block of columns by slices of the reduced axes (columns along memory). Also the first
// pass of a long sum into pieces. Values that a later stage needs again are computed again. Refuses nothing.

import type { Node, NodeId } from "../graph/graph.ts";
import { scalarOf } from "../graph/tensor.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, f32, i32, lt, mul, select } from "../scalar/expr.ts";
import { pieces } from "./analysis.ts";
import type { Point, SpaceAxis } from "./body.ts";
import { Body, KernelParts, spaceSize } from "./body.ts";
import { coordinate, spaceAxis, splitPoint } from "./coords.ts";
import type { Storage } from "./evaluate.ts";
import type { Evaluator } from "./evaluate.ts";
import type { Group, Member } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering, Range } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator, groupRange, guarded, isMultiple, lowest, placed, snapshot, storeMembers } from "./lowering.ts";
import type { KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";
import { unitReads } from "./trace.ts";

type ReduceOp = "sum" | "max" | "min";

/** How the points of a row are shared out. */
interface Schedule {
  readonly workgroup: readonly [number, number, number];
  readonly grid: Range["grid"];
  /** Runs `row` once a row, with its coordinates; `first` tells whether this invocation stores the row's own values. */
  rows(b: Body, row: (b: Body, at: Point) => void): void;
  points(b: Body, visit: (b: Body, at: Point) => void): void;
  reduce(b: Body, op: ReduceOp, partial: ScalarExpr): ScalarExpr;
  once(b: Body, store: (b: Body) => void): void;
  wide(b: Body, store: (b: Body) => void): void;
}

/** One accumulation in one pass over the row. */
interface Task {
  readonly pass: number;
  readonly op: ReduceOp;
  readonly start: ScalarExpr;
  value(b: Body, at: Point): ScalarExpr;
  done(result: ScalarExpr): void;
}

export function lowerRow(low: Lowering, g: Group): ProgramStep[] {
  const parts = new KernelParts();
  const outer = g.axes.filter((x) => !g.reduced.has(x.name)).map(spaceAxis);
  const inner = g.axes.filter((x) => g.reduced.has(x.name)).map(spaceAxis);
  const schedule = chooseSchedule(low, g, parts, outer, inner);
  const results = new Map<NodeId, ScalarExpr>();
  const evaluator = groupEvaluator(low, g, parts, (id) => results.get(id));
  const { tasks, stage, passes } = planPasses(low, g, evaluator, results);
  const b = new Body(parts);
  schedule.rows(b, (row, at) => {
    for (let pass = 0; pass < passes; pass++) {
      const mine = tasks.filter((t) => t.pass === pass);
      const stored = g.members.filter((m) => isWide(m, g) && stage.get(m) === pass && low.stores(m).length > 0);
      if (mine.length === 0 && stored.length === 0) continue;
      const sums = mine.map((t) => row.var(t.start));
      schedule.points(row, (body, inside) => {
        const here = { ...at, ...inside };
        mine.forEach((t, i) => {
          const sum = sums[i] as ScalarExpr;
          body.assign(sum, binary(t.op === "sum" ? "add" : t.op, sum, t.value(body, here)));
        });
        if (stored.length > 0) schedule.wide(body, (w) => storeMembers(low, evaluator, w, stored, here));
      });
      mine.forEach((t, i) => t.done(schedule.reduce(row, t.op, sums[i] as ScalarExpr)));
    }
    const narrow = g.members.filter((m) => !isWide(m, g) && low.stores(m).length > 0);
    if (narrow.length > 0) schedule.once(row, (body) => storeMembers(low, evaluator, body, narrow, at));
  });
  const shape: KernelShape = { workgroup: schedule.workgroup, grid: schedule.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) };
  return [dispatchOf(low, g, "rows", parts, shape)];
}

/** Whether a member has a value at every point of a row. */
const isWide = (m: Member, g: Group): boolean =>
  m.work.unit.kind !== "reduce" && Object.values(m.coords).some((e) => mentions(e, g.reduced));

function mentions(e: ScalarExpr, axes: ReadonlySet<string>): boolean {
  if (e.kind === "name") return axes.has(e.name.slice(2));
  return "a" in e && (mentions(e.a, axes) || ("b" in e && mentions(e.b, axes)) || ("cond" in e && mentions(e.cond, axes)));
}

/** Which pass computes what: a reduction runs in the first pass in which everything it reads is known. */
function planPasses(low: Lowering, g: Group, evaluator: Evaluator, results: Map<NodeId, ScalarExpr>): { tasks: Task[]; stage: Map<Member, number>; passes: number } {
  const stage = new Map<Member, number>();
  const known = new Map<NodeId, number>();
  const tasks: Task[] = [];
  let passes = 0;
  for (const m of g.members) {
    const ready = unitReads(low.analysis, m.work, m.coords).reduce((n, r) => Math.max(n, known.get(r.id) ?? 0), 0);
    const { node } = m.work;
    stage.set(m, ready);
    if (m.work.unit.kind !== "copy") known.set(node.id, ready);
    if (m.work.unit.kind !== "reduce") {
      if (isWide(m, g) && low.stores(m).length > 0) passes = Math.max(passes, ready + 1);
      continue;
    }
    const arg = (i: number): NodeId => node.args[i] as NodeId;
    const operand = (b: Body, at: Point): ScalarExpr => evaluator.value(b, arg(0), placed(m, at));
    const done = (r: ScalarExpr): void => void results.set(node.id, r);
    if (node.op === "argmax") {
      let top: ScalarExpr | undefined;
      const type = (low.analysis.graph.nodes[arg(0)] as Node).type;
      const size = spaceAxis(type.axes.find((x) => x.name === node.attrs.axis) ?? { name: "", size: { terms: [] } }).size;
      tasks.push({ pass: ready, op: "max", start: lowest(type.dtype), value: operand, done: (r) => { top = r; } });
      tasks.push({
        pass: ready + 1, op: "min", start: add(size, i32(-1)), done,
        value: (b, at) => select(binary("eq", operand(b, at), top as ScalarExpr), coordinate(placed(m, at), node.attrs.axis), add(size, i32(-1))),
      });
      known.set(node.id, ready + 2);
    } else {
      const zero: ScalarExpr = node.type.dtype === "f32" ? f32(0) : { kind: "const", type: scalarOf(node.type.dtype), value: 0 };
      const value = node.op === "dot" ? (b: Body, at: Point): ScalarExpr => mul(operand(b, at), evaluator.value(b, arg(1), placed(m, at))) : operand;
      tasks.push(node.op === "amax"
        ? { pass: ready, op: "max", start: lowest(node.type.dtype), value, done }
        : { pass: ready, op: "sum", start: zero, value, done });
      known.set(node.id, ready + 1);
    }
    passes = Math.max(passes, known.get(node.id) as number);
  }
  return { tasks, stage, passes };
}

function chooseSchedule(low: Lowering, g: Group, parts: KernelParts, outer: readonly SpaceAxis[], inner: readonly SpaceAxis[]): Schedule {
  const long = spaceSize(inner);
  if (low.target.products === "registers" || (long.kind === "const" && long.value <= 32)) return serial(low, outer, inner);
  const last = g.axes[g.axes.length - 1];
  const rows = spaceSize(outer);
  if ((last && g.reduced.has(last.name)) || (rows.kind === "const" && rows.value < 16)) return lanes(low, parts, outer, inner);
  return columns(low, parts, outer, inner);
}

function nested(b: Body, axes: readonly SpaceAxis[], visit: (b: Body, at: Point) => void, at: Point = {}): void {
  const [axis, ...rest] = axes;
  if (!axis) visit(b, at);
  else if (axis.size.kind === "const" && axis.size.value === 1) nested(b, rest, visit, { ...at, [axis.name]: i32(0) });
  else b.loop(i32(0), axis.size, 1, (body, i) => nested(body, rest, visit, { ...at, [axis.name]: i }));
}

/** One invocation a row. */
function serial(low: Lowering, outer: readonly SpaceAxis[], inner: readonly SpaceAxis[]): Schedule {
  const count = spaceSize(outer);
  const size = low.target.products === "registers" ? 16 : 64;
  const width = count.kind === "const" && count.value < size ? Math.max(1, count.value) : size;
  const range = groupRange(ceilBy(count, width), low.target);
  return {
    workgroup: [width, 1, 1], grid: range.grid,
    rows(b, row) {
      const i = b.let(add(mul(range.index, i32(width)), builtin("lane.x")), "row");
      guarded(b, range.exact && isMultiple(count, width), i, count, (inside) => row(inside, splitPoint(outer, i)));
    },
    points: (b, visit) => nested(b, inner, visit),
    reduce: (b, _, partial) => snapshot(b, partial),
    once: (b, store) => store(b),
    wide: (b, store) => store(b),
  };
}

/** One workgroup a row; the lanes stride along it. */
function lanes(low: Lowering, parts: KernelParts, outer: readonly SpaceAxis[], inner: readonly SpaceAxis[]): Schedule {
  const count = spaceSize(outer);
  const long = spaceSize(inner);
  let width = Math.min(256, low.target.invocations);
  if (long.kind === "const") while (width > 32 && width >= long.value) width /= 2;
  const range = groupRange(count, low.target);
  const scratch = new Map<string, string>();
  return {
    workgroup: [width, 1, 1], grid: range.grid,
    rows(b, row) {
      const i = b.let(range.index, "row");
      guarded(b, range.exact, i, count, (inside) => row(inside, splitPoint(outer, i)));
    },
    points(b, visit) {
      b.loop(i32(0), ceilBy(long, width), 1, (body, step) => {
        const i = body.let(add(mul(step, i32(width)), builtin("lane.x")), "in_row");
        guarded(body, isMultiple(long, width), i, long, (inside) => visit(inside, splitPoint(inner, i)));
      });
    },
    reduce(b, op, partial) {
      let array = scratch.get(partial.type);
      if (!array) scratch.set(partial.type, (array = parts.array("shared", partial.type, width, "shared")));
      return b.laneReduce(op, partial, array);
    },
    once: (b, store) => b.if(binary("eq", builtin("lane.x"), i32(0)), store),
    wide: (b, store) => store(b),
  };
}

/** Sixteen columns by sixteen slices of the reduced axes: neighbours read neighbouring columns. */
function columns(low: Lowering, parts: KernelParts, outer: readonly SpaceAxis[], inner: readonly SpaceAxis[]): Schedule {
  const [across, slices] = [16, Math.max(1, Math.min(16, Math.floor(low.target.invocations / 16)))];
  const count = spaceSize(outer);
  const long = spaceSize(inner);
  const range = groupRange(ceilBy(count, across), low.target);
  const full = range.exact && isMultiple(count, across);
  const scratch = new Map<string, string>();
  let column: ScalarExpr = i32(0);
  return {
    workgroup: [across, slices, 1], grid: range.grid,
    rows(b, row) {
      column = b.let(add(mul(range.index, i32(across)), builtin("lane.x")), "column");
      const inside = full ? column : b.let(binary("min", column, add(count, i32(-1))), "column");
      row(b, splitPoint(outer, inside));
    },
    points(b, visit) {
      b.loop(i32(0), ceilBy(long, slices), 1, (body, step) => {
        const i = body.let(add(mul(step, i32(slices)), builtin("lane.y")), "in_column");
        guarded(body, isMultiple(long, slices), i, long, (inside) => visit(inside, splitPoint(inner, i)));
      });
    },
    reduce(b, op, partial) {
      let array = scratch.get(partial.type);
      if (!array) scratch.set(partial.type, (array = parts.array("shared", partial.type, across * slices, "shared")));
      const shared = array;
      b.astore(shared, add(mul(builtin("lane.y"), i32(across)), builtin("lane.x")), partial);
      b.barrier();
      const sum = b.var(b.aload(shared, builtin("lane.x")));
      b.loop(i32(1), i32(slices), 1, (body, s) => {
        body.assign(sum, binary(op === "sum" ? "add" : op, sum, body.aload(shared, add(mul(s, i32(across)), builtin("lane.x")))));
      });
      b.barrier();
      return snapshot(b, sum);
    },
    once: (b, store) => b.if(full ? binary("eq", builtin("lane.y"), i32(0)) : and(binary("eq", builtin("lane.y"), i32(0)), lt(column, count)), store),
    wide: (b, store) => guarded(b, full, column, count, store),
  };
}

/** First pass of a long sum: one piece an invocation, or a workgroup. */
export function lowerPartial(low: Lowering, g: Group): ProgramStep[] {
  const m = g.members[0];
  if (!m) throw new Error("a sum without a node");
  const { node } = m.work;
  const parts = new KernelParts();
  const b = new Body(parts);
  const evaluator = groupEvaluator(low, g, parts);
  const inner = m.work.axes.filter((x) => m.work.reduced.includes(x.name)).map(spaceAxis);
  const to = low.storage(node.id) as Storage;
  const outer = to.axes.slice(0, -1);
  const long = spaceSize(inner);
  const op = node.op === "amax" ? "max" : "add";
  const start = op === "max" ? lowest(node.type.dtype) : node.type.dtype === "f32" ? f32(0) : ({ kind: "const", type: scalarOf(node.type.dtype), value: 0 } as const);
  const piece = b.parts.fresh("piece");
  const register = low.target.products === "registers";
  const width = register ? 4 : Math.min(256, low.target.invocations);
  const count = mul(spaceSize(outer), i32(pieces));
  const range = groupRange(register ? ceilBy(count, width) : count, low.target);
  const all = b.let(register ? add(mul(range.index, i32(width)), builtin("lane.x")) : range.index, piece);
  const at = { ...splitPoint(to.axes, all) };
  const p = coordinate(at, (to.axes[to.axes.length - 1] as SpaceAxis).name);
  const share = ceilBy(long, pieces);
  const from = b.let(mul(p, share), "from");
  const end = b.let(binary("min", add(from, share), long), "end");
  const visit = (body: Body, sum: ScalarExpr, i: ScalarExpr): void =>
    body.assign(sum, binary(op, sum, evaluator.value(body, node.args[0] as NodeId, { ...at, ...splitPoint(inner, i) })));
  const sum = b.var(start);
  if (register) {
    b.loop(from, end, 1, (body, i) => visit(body, sum, i));
    b.if(lt(all, count), (body) => evaluator.store(body, to, at, sum));
  } else {
    const scratch = parts.array("shared", node.type.dtype === "f32" ? "f32" : "i32", width, "shared");
    b.loop(i32(0), ceilBy(share, width), 1, (body, step) => {
      const i = body.let(add(from, add(mul(step, i32(width)), builtin("lane.x"))), "i");
      body.if(lt(i, end), (inside) => visit(inside, sum, i));
    });
    const whole = b.laneReduce(op === "max" ? "max" : "sum", sum, scratch);
    b.if(binary("eq", builtin("lane.x"), i32(0)), (body) => evaluator.store(body, to, at, whole));
  }
  const shape: KernelShape = { workgroup: [width, 1, 1], grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) };
  return [dispatchOf(low, g, "partial sums", parts, shape)];
}
