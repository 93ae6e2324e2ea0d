// In: a sum of rows by class, in an order that a group-by made. Out: one dispatch in which each class adds its rows in the order of
// their slots: deterministic, without atomics, its work that of the rows and of the classes. Columns are shared by invocations; on
// GPUs slices of a workgroup take a class's rows in turn and add up at the end.

import type { Axis, Node, NodeId, NodeOf } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, i32, lt, mul, sub } from "../scalar/expr.ts";
import type { Point, SpaceAxis } from "./body.ts";
import { Body, KernelParts, spaceSize } from "./body.ts";
import { spaceAxis, splitPoint } from "./coords.ts";
import { constant } from "./evaluate.ts";
import type { Storage } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Grouped } from "./lower_group_by.ts";
import { loadAt } from "./lower_group_by.ts";
import type { Lowering } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator, groupRange, guarded, isMultiple } from "./lowering.ts";
import { constantOf, max, min } from "./space.ts";
import type { KernelShape } from "./templates.ts";
import { tidy } from "./tidy.ts";

interface SumSpec {
  readonly grouped: Grouped;
  readonly value: NodeId;
  readonly classes: SpaceAxis;
  /** The class that is summed first. */
  readonly first: number;
  /** Axes of the result besides the classes. */
  readonly rest: readonly SpaceAxis[];
}

export function lowerGroupedSum(low: Lowering, g: Group): ProgramStep[] {
  const node = g.members[0]?.work.node as NodeOf<"grouped_sum">;
  const [value, order, offset] = node.args as [NodeId, NodeId, NodeId];
  const axes = (low.analysis.graph.nodes[value] as Node).type.axes;
  const stored = (id: NodeId): Storage => {
    const s = low.storage(id);
    if (!s) throw new Error(`grouped_sum ${node.id}: ${id} is not stored`);
    return s;
  };
  const { rows, classes, first } = node.attrs;
  return [sumStep(low, g, {
    grouped: { rows: rows.map((n) => spaceAxis(axes.find((a: Axis) => a.name === n) as Axis)), order: stored(order), offset: stored(offset) },
    value, classes: spaceAxis(classes), first, rest: axes.filter((a) => !rows.includes(a.name)).map(spaceAxis),
  })];
}

function sumStep(low: Lowering, g: Group, spec: SumSpec): ProgramStep {
  const parts = new KernelParts();
  const shape = low.target.products === "registers" ? sumRegisters(low, g, parts, spec) : sumSlices(low, g, parts, spec);
  return dispatchOf(low, g, "sum by class", parts, shape);
}

interface Sum {
  readonly b: Body;
  /** Slots of a class: from, to. */
  readonly slots: (b: Body, cls: ScalarExpr) => { readonly from: ScalarExpr; readonly to: ScalarExpr };
  /** Adds the row in a slot at each of the columns. */
  readonly row: (b: Body, slot: ScalarExpr, columns: readonly Point[], sums: readonly ScalarExpr[]) => void;
  readonly store: (b: Body, cls: ScalarExpr, column: Point, sum: ScalarExpr) => void;
  readonly zero: ScalarExpr;
}

function sumOf(low: Lowering, g: Group, parts: KernelParts, { grouped, value, classes, first }: SumSpec): Sum {
  const m = g.members[0];
  const stores = m ? low.stores(m) : [];
  const ev = groupEvaluator(low, g, parts);
  const rows = spaceSize(grouped.rows);
  return {
    b: new Body(parts), zero: constant(0, ev.node(value).type.dtype),
    slots: (b, cls) => {
      // Loaded numbers have no bounds of their own.
      const from = b.let(max(i32(0), loadAt(ev, b, grouped.offset, add(cls, i32(first)))), "from");
      return { from, to: b.let(min(loadAt(ev, b, grouped.offset, add(cls, i32(first + 1))), rows), "to") };
    },
    row: (b, slot, columns, sums) => {
      const row = b.let(loadAt(ev, b, grouped.order, slot), "row");
      // Always so; said for the prover, which takes a test more easily than a row held inside its bounds.
      b.if(and(binary("le", i32(0), row), lt(row, rows)), (body) => {
        const at = splitPoint(grouped.rows, row);
        columns.map((c) => body.let(ev.value(body, value, { ...at, ...c }))).forEach((v, j) => body.assign(sums[j] as ScalarExpr, add(sums[j] as ScalarExpr, v)));
      });
    },
    store: (b, cls, column, sum) => { for (const to of stores) ev.store(b, to, { ...column, [classes.name]: cls }, sum); },
  };
}

/** An invocation has up to this many columns of a class. */
const columnsEach = 8;

function sumRegisters(low: Lowering, g: Group, parts: KernelParts, spec: SumSpec): KernelShape {
  const { b, slots, row, store, zero } = sumOf(low, g, parts, spec);
  const workgroup = 16;
  const width = spaceSize(spec.rest);
  const n = constantOf(width);
  const each = n === undefined ? 1 : Math.min(columnsEach, Math.ceil(n / Math.min(n, 4)));
  const across = ceilBy(width, each);
  const total = mul(spec.classes.size, across);
  const range = groupRange(ceilBy(total, workgroup), low.target);
  const i = b.let(add(mul(range.index, i32(workgroup)), builtin("lane.x")), "at");
  guarded(b, range.exact && isMultiple(total, workgroup), i, total, (body) => {
    const cls = body.let(binary("div", i, across), "class");
    const first = body.let(binary("mod", i, across), "first");
    const { from, to } = slots(body, cls);
    const columns = Array.from({ length: each }, (_, j) => add(first, mul(across, i32(j))));
    const fits = (j: number): boolean => n !== undefined && n % each === 0 || j === 0;
    const points = columns.map((c, j) => splitPoint(spec.rest, fits(j) ? c : body.let(min(c, sub(width, i32(1))), "edge")));
    const sums = columns.map(() => body.var(zero, "sum"));
    body.loop(from, to, 1, (inner, slot) => row(inner, slot, points, sums));
    columns.forEach((c, j) => {
      const put = (inner: Body): void => store(inner, cls, splitPoint(spec.rest, c), sums[j] as ScalarExpr);
      if (fits(j)) put(body);
      else body.if(lt(c, width), put);
    });
  });
  return { workgroup: [workgroup, 1, 1], grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) };
}

/** Slices and columns of a workgroup. The fewer classes, the more rows each has, and the fewer workgroups there would be: then more
 *  slices share a class, and fewer columns a workgroup. Eight columns are a whole sector of memory. */
function sliceShape(classes: number | undefined, width: number | undefined): { readonly slices: number; readonly columns: number } {
  const [most, wanted] = classes !== undefined && classes <= 64 ? [8, 32] : classes !== undefined && classes <= 1024 ? [16, 16] : [32, 4];
  let columns = 1;
  while (columns < most && columns < (width ?? most)) columns *= 2;
  // At least as many lanes as adapters run together.
  return { columns, slices: Math.max(wanted, 32 / columns) };
}

function sumSlices(low: Lowering, g: Group, parts: KernelParts, spec: SumSpec): KernelShape {
  const { b, slots, row, store, zero } = sumOf(low, g, parts, spec);
  const width = spaceSize(spec.rest);
  const { slices, columns } = sliceShape(constantOf(spec.classes.size), constantOf(width));
  const lanes = slices * columns;
  const across = ceilBy(width, columns);
  const count = mul(spec.classes.size, across);
  const range = groupRange(count, low.target);
  const lane = builtin("lane.x");
  const slice = b.let(binary("div", lane, i32(columns)), "slice");
  const index = b.let(range.index, "at");
  const cls = b.let(binary("div", index, across), "class");
  const column = b.let(add(mul(binary("mod", index, across), i32(columns)), binary("mod", lane, i32(columns))), "column");
  const mine = b.let(and(lt(cls, spec.classes.size), lt(column, width)), "mine");
  const sum = b.var(zero, "sum");
  const sums = parts.array("sums", zero.type, lanes, "shared");
  b.if(mine, (body) => {
    const { from, to } = slots(body, cls);
    const point = splitPoint(spec.rest, column);
    body.loop(add(from, slice), to, slices, (inner, slot) => row(inner, slot, [point], [sum]));
  });
  if (slices > 1) {
    b.astore(sums, lane, sum);
    b.barrier();
  }
  b.if(and(mine, lt(lane, i32(columns))), (body) => {
    for (let s = 1; s < slices; s++) body.assign(sum, add(sum, body.aload(sums, add(lane, i32(s * columns)))));
    store(body, cls, splitPoint(spec.rest, column), sum);
  });
  return { workgroup: [lanes, 1, 1], grid: range.grid, arrays: slices > 1 ? parts.arrays : [], body: tidy(parts, b.stmts) };
}
