// In: a group of maps over one space. Out: one dispatch: an invocation a point, or a run of points where every invocation
// first has to add up the pieces of a long sum. All values of a point are computed before any is stored, so that a state may
// be rewritten in place. Refuses nothing.

import type { NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, builtin, i32, mul } from "../scalar/expr.ts";
import { isLeaf } from "./analysis.ts";
import type { SpaceAxis } from "./body.ts";
import { Body, KernelParts, spaceSize } from "./body.ts";
import { spaceAxis, splitPoint } from "./coords.ts";
import type { Group, Member } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator, groupRange, guarded, isMultiple, storeMembers } from "./lowering.ts";
import { tidy } from "./tidy.ts";

const workgroup = 64;

/** The axes in the memory order of what is stored first, so that neighbours write neighbours. */
function storeOrder(low: Lowering, g: Group): SpaceAxis[] {
  const axes = g.axes.map(spaceAxis);
  for (const m of g.members) {
    const s = low.stores(m)[0];
    const own = s?.axes.map((x) => m.coords[x.name]).map((e) => (e?.kind === "name" ? e.name.slice(2) : ""));
    if (own && own.length === axes.length && axes.every((x) => own.includes(x.name))) return own.map((n) => axes.find((x) => x.name === n) as SpaceAxis);
  }
  return axes;
}

export function lowerMap(low: Lowering, g: Group): ProgramStep[] {
  const parts = new KernelParts();
  const b = new Body(parts);
  const evaluator = groupEvaluator(low, g, parts);
  const axes = storeOrder(low, g);
  const total = spaceSize(axes);
  const pieced = [...g.reads].some((id) => low.analysis.unitOf.get(id)?.kind === "partial");
  const run = pieced && !(total.kind === "const" && total.value <= workgroup) ? (low.target.products === "registers" ? 64 : 16) : 1;
  const range = groupRange(ceilBy(total, workgroup * run), low.target);
  const point = (body: Body, index: ScalarExpr): void => {
    const i = body.let(index, "at");
    guarded(body, range.exact && isMultiple(total, workgroup * run), i, total, (inside) => {
      const at = splitPoint(axes, i);
      const isNumber = (m: Member): boolean => m.work.axes.length === 0 && axes.length > 0;
      storeMembers(low, evaluator, inside, g.members.filter((m) => !isNumber(m)), at);
      const numbers = g.members.filter((m) => isNumber(m) && low.stores(m).length > 0);
      if (numbers.length > 0) inside.if(binary("eq", i, i32(0)), (first) => storeMembers(low, evaluator, first, numbers, {}));
    });
  };
  // What is one number for all points comes first, in straight line.
  if (pieced) for (const id of numbersIn(low, g)) b.let(evaluator.value(b, id, {}));
  // Folded into two dimensions the workgroup's number has a name: its bounds are then those of one number, also where it is divided.
  const group = range.exact ? range.index : b.let(range.index, "group");
  if (run === 1) point(b, add(mul(group, i32(workgroup)), builtin("lane.x")));
  else {
    const first = b.let(add(mul(group, i32(workgroup * run)), builtin("lane.x")), "first");
    b.loop(i32(0), i32(run), 1, (body, e) => point(body, add(first, mul(e, i32(workgroup)))));
  }
  const shape = { workgroup: [workgroup, 1, 1] as const, grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) };
  return [dispatchOf(low, g, g.members.every((m) => m.work.unit.kind === "update") ? "update" : "map", parts, shape)];
}

/** The outermost computed values without axes that the members use. */
function numbersIn(low: Lowering, g: Group): NodeId[] {
  const { graph, unitOf } = low.analysis;
  const seen = new Set<NodeId>();
  const out: NodeId[] = [];
  const own = new Set(g.members.filter((m) => m.work.unit.kind !== "copy").map((m) => m.work.node.id));
  const walk = (id: NodeId): void => {
    const n = graph.nodes[id];
    if (!n || seen.has(id) || n.op === "const") return;
    seen.add(id);
    if (n.type.axes.length === 0) out.push(id);
    else if (!isLeaf(n) && (own.has(id) || !unitOf.has(id))) n.args.forEach(walk);
  };
  for (const m of g.members) walk(m.work.node.id);
  return out;
}
