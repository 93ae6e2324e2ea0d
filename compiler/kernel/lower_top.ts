// In: a `top`. Out: one dispatch. For a few choices an invocation walks the axis once and keeps the best so far in order; for many,
// or a number known at run time only, every element counts those before it and stores itself where that puts it.

import type { Axis, Node, NodeId, NodeOf } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, i32, lt, mul, select } from "../scalar/expr.ts";
import type { Point, SpaceAxis } from "./body.ts";
import { Body, KernelParts, spaceSize } from "./body.ts";
import { coordinate, spaceAxis, splitPoint } from "./coords.ts";
import { constant } from "./evaluate.ts";
import type { Evaluator } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator, groupRange, guarded, isMultiple } from "./lowering.ts";
import { constantOf } from "./space.ts";
import { tidy } from "./tidy.ts";

/** Most choices that an invocation keeps in order by itself. */
const mostKept = 16;

export function lowerTop(low: Lowering, g: Group): ProgramStep[] {
  const m = g.members[0];
  if (!m) throw new Error("top without a node");
  const node = m.work.node as NodeOf<"top">;
  const [x] = node.args as [NodeId];
  const axes = (low.analysis.graph.nodes[x] as Node).type.axes;
  const axis = spaceAxis(axes.find((a: Axis) => a.name === node.attrs.axis) as Axis);
  const choice = spaceAxis(node.attrs.choice);
  const rest = axes.filter((a) => a.name !== axis.name).map(spaceAxis);
  const stores = low.stores(m);
  const parts = new KernelParts();
  const ev = groupEvaluator(low, g, parts);
  const few = constantOf(choice.size);
  const kept = few !== undefined && few <= mostKept;
  const workgroup = low.target.products === "registers" ? 4 : 64;
  const space = kept ? rest : [...rest, axis];
  const b = new Body(parts);
  const total = spaceSize(space);
  const range = groupRange(ceilBy(total, workgroup), low.target);
  const i = b.let(add(mul(range.index, i32(workgroup)), builtin("lane.x")), "at");
  guarded(b, range.exact && isMultiple(total, workgroup), i, total, (body) => {
    const at = splitPoint(space, i);
    const store = (inner: Body, which: ScalarExpr, place: ScalarExpr): void => {
      for (const to of stores) ev.store(inner, to, { ...at, [choice.name]: which }, place);
    };
    if (kept) keepBest(body, ev, x, axis, few, at).forEach((place, j) => store(body, i32(j), place));
    else {
      const rank = rankOf(body, ev, x, axis, at);
      body.if(and(binary("le", i32(0), rank), lt(rank, choice.size)), (inner) => store(inner, rank, coordinate(at, axis.name)));
    }
  });
  return [dispatchOf(low, g, "top", parts, { workgroup: [workgroup, 1, 1], grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) })];
}

/** The places of the `count` largest, largest first. An equal that comes later never takes a place. */
function keepBest(b: Body, ev: Evaluator, x: NodeId, axis: SpaceAxis, count: number, at: Point): ScalarExpr[] {
  const places = Array.from({ length: count }, () => b.var(i32(0), "place"));
  const values = places.map(() => b.var(constant(0, ev.node(x).type.dtype), "best"));
  b.loop(i32(0), axis.size, 1, (body, e) => {
    let value = body.let(ev.value(body, x, { ...at, [axis.name]: e }), "value");
    let place = e;
    values.forEach((best, j) => {
      const mine = places[j] as ScalarExpr;
      // What goes down has been in order before; a place that nobody has taken yet is free.
      const takes = body.let(binary("or", binary("le", e, i32(j)), lt(best, value)), "takes");
      const [nextValue, nextPlace] = [body.let(select(takes, best, value), "down"), body.let(select(takes, mine, place), "down")];
      body.assign(best, select(takes, value, best));
      body.assign(mine, select(takes, place, mine));
      value = nextValue;
      place = nextPlace;
    });
  });
  return places;
}

/** How many come before an element. */
function rankOf(b: Body, ev: Evaluator, x: NodeId, axis: SpaceAxis, at: Point): ScalarExpr {
  const me = coordinate(at, axis.name);
  const own = b.let(ev.value(b, x, at), "own");
  const rank = b.var(i32(0), "rank");
  b.loop(i32(0), axis.size, 1, (body, e) => {
    const other = body.let(ev.value(body, x, { ...at, [axis.name]: e }), "other");
    const before = binary("or", lt(own, other), and(binary("eq", own, other), lt(e, me)));
    body.assign(rank, add(rank, select(before, i32(1), i32(0))));
  });
  return b.let(rank, "rank");
}
