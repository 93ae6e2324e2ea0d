// In: a scatter_add. Out: one dispatch in which every row of the result looks for its index among all of them and adds what it
// finds in order: deterministic, without atomics, and no two invocations write the same element. Its work is rows times
// indices, cheap next to the products of a model whose vocabulary is a few thousand; larger tables want a group-by.

import type { Axis, Node, NodeId, NodeOf } from "../graph/graph.ts";
import { scalarOf } from "../graph/tensor.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, builtin, i32, mul } from "../scalar/expr.ts";
import type { Point, SpaceAxis } from "./body.ts";
import { Body, KernelParts, elementIndex, spaceSize } from "./body.ts";
import { spaceAxis, splitPoint } from "./coords.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator, groupRange, guarded, isMultiple, snapshot } from "./lowering.ts";
import { tidy } from "./tidy.ts";

const workgroup = 32;

export function lowerScatter(low: Lowering, g: Group): ProgramStep[] {
  const m = g.members[0];
  if (!m) throw new Error("scatter without a node");
  const node = m.work.node as NodeOf<"scatter_add">;
  const [valueId, indexId] = node.args as [NodeId, NodeId];
  const indexAxes = (low.analysis.graph.nodes[indexId] as Node).type.axes.map(spaceAxis);
  const rest = node.type.axes.filter((x: Axis) => x.name !== node.attrs.axis.name).map(spaceAxis);
  const rows = spaceAxis(node.attrs.axis);
  const restSize = spaceSize(rest);
  // Columns of a row are shared by this many invocations.
  const most = low.target.products === "registers" ? 4 : 32;
  const share = restSize.kind === "const" ? Math.max(1, Math.min(most, restSize.value)) : most;
  const parts = new KernelParts();
  const b = new Body(parts);
  const evaluator = groupEvaluator(low, g, parts);
  const to = low.stores(m)[0];
  if (!to) throw new Error("scatter without a place");
  const operand = parts.operand(to.tensor, to.dtype === "bool" ? "u32" : to.dtype, spaceSize(to.axes), "write");
  const total = mul(rows.size, i32(share));
  const range = groupRange(ceilBy(total, workgroup), low.target);
  const i = b.let(add(mul(range.index, i32(workgroup)), builtin("lane.x")), "at");
  const zero: ScalarExpr = { kind: "const", type: to.dtype === "bool" ? "u32" : scalarOf(to.dtype), value: 0 };

  /** Visits this invocation's columns of the row. */
  const columns = (body: Body, first: ScalarExpr, visit: (body: Body, at: Point) => void): void => {
    if (rest.length === 0) return visit(body, {});
    body.loop(i32(0), ceilBy(restSize, share), 1, (inner, step) => {
      const c = inner.let(add(mul(step, i32(share)), first), "column");
      guarded(inner, isMultiple(restSize, share), c, restSize, (inside) => visit(inside, splitPoint(rest, c)));
    });
  };
  const tokens = (body: Body, axes: readonly SpaceAxis[], at: Point, visit: (body: Body, at: Point) => void): void => {
    const [axis, ...more] = axes;
    if (!axis) visit(body, at);
    else body.loop(i32(0), axis.size, 1, (inner, t) => tokens(inner, more, { ...at, [axis.name]: t }, visit));
  };
  guarded(b, range.exact && isMultiple(total, workgroup), i, total, (inside) => {
    const row = inside.let(binary("div", i, i32(share)), "row");
    const first = inside.let(binary("mod", i, i32(share)), "first");
    const place = (at: Point): ScalarExpr => elementIndex(to.axes, { ...at, [node.attrs.axis.name]: row });
    if (rest.length === 0) {
      const sum = inside.var(zero);
      tokens(inside, indexAxes, {}, (body, t) => {
        body.if(binary("eq", evaluator.value(body, indexId, t), row), (hit) => hit.assign(sum, add(sum, evaluator.value(hit, valueId, t))));
      });
      inside.store(operand, place({}), snapshot(inside, sum));
      return;
    }
    columns(inside, first, (body, c) => body.store(operand, place(c), zero));
    parts.operand(to.tensor, to.dtype === "bool" ? "u32" : to.dtype, spaceSize(to.axes), "read");
    tokens(inside, indexAxes, {}, (body, t) => {
      body.if(binary("eq", evaluator.value(body, indexId, t), row), (hit) => {
        columns(hit, first, (at, c) => {
          const value = evaluator.value(at, valueId, { ...c, ...t });
          at.store(operand, place(c), add(at.load(operand, place(c)), value));
        });
      });
    });
  });
  const shape = { workgroup: [workgroup, 1, 1] as const, grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) };
  return [dispatchOf(low, g, "scatter", parts, shape)];
}
