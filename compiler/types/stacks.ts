// Reading weights inside routed layers. In: a weight, and the scopes that layers are applied under. Out: its node as it is; or the weights
// of all classes as one table, with the class of each row. A weight has the axes of the scopes it was made under and of no others: branches
// are put one after the other along a new axis, experts of routers lead the weight's own axes, and several scopes make one class, counted in
// mixed radix, that is nowhere if one of them is. Names of such axes hold a `#`, which no text can say.

import type { Dim } from "../dim/dim.ts";
import { dimConst, dimMul, dimValue } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Grouping, Make } from "../graph/make.ts";
import * as S from "../scalar/expr.ts";
import type { Context } from "./context.ts";
import type { GroupScope } from "./group_scope.ts";
import type { Parameter } from "./parameter.ts";
import { scalarNode } from "./scalar_nodes.ts";
import type { RouteBy, WeightValue } from "./values.ts";

/** The axis of a stack of branches, and of several scopes together. */
const BRANCHES = "#branch";
const CLASSES = "#class";
/** The rows of several tables, one after the other. */
export const ROWS = "#rows";
/** Whether an axis counts classes of rows: experts of routers, branches of routes, or both. */
export const isClassAxis = (name: string): boolean => name.includes("#") && name !== ROWS;

/** Rows in classes. */
interface Classes {
  readonly expert: NodeId;
  readonly grouping: Grouping;
  readonly size: Dim;
}

/** The weights of all classes: the axis `axis` of `table` counts them. */
export interface Stack extends Classes {
  readonly table: NodeId;
  readonly axis: string;
}

/** The scopes that layers are applied under, outermost first. */
export function scopesOf(cx: Context): GroupScope[] {
  const out: GroupScope[] = [];
  for (let s: GroupScope | undefined = cx.group ?? undefined; s; s = s.outer) out.unshift(s);
  return out;
}

/** The number of each token's branch on the graph, and the rows of each; `members` are the branches meant, in the order of the classes. */
export function branchClasses(cx: Context, make: Make, route: RouteBy, members: readonly number[] = route.branches.map((_, i) => i)): Classes {
  const run = cx.run;
  if (!run) throw new Error("a route is applied while no layer is");
  const all = members.length === route.branches.length && members.every((m, i) => m === i);
  const chosen = all ? route.key : members.reduceRight<S.ScalarExpr>((rest, m, i) => S.select(S.binary("eq", route.key, S.i32(m)), S.i32(i), rest), S.i32(-1));
  const expert = scalarNode(make, chosen, (name) => {
    cx.made.reads.add(name);
    return run.leaves.attribute("query", name, run.tokens);
  });
  return within(cx, make, expert, dimConst(members.length));
}

/** Classes without the rows that are nowhere further out. */
export function within(cx: Context, make: Make, expert: NodeId, size: Dim): Classes {
  const outer = cx.group;
  const own = outer && !outer.total ? make.select(make.lt(outer.expert, make.const(0, "i32")), make.const(-1, "i32"), expert) : expert;
  return { expert: own, size, grouping: make.groupBy(own, size) };
}

export function leafOf(cx: Context, make: Make, p: Parameter): NodeId {
  cx.made.used.add(p.path);
  const leaf = cx.run?.leaves.parameter;
  return leaf ? leaf(p) : make.state(`params/${p.path}`, { dtype: "f32", axes: p.axes.map((a) => ({ name: a.name, size: a.size })) });
}

/** The weight's stack; undefined where it is one weight for all rows. A branch alone, or a layer for some tokens, is one class where `one` asks for it. */
function stackOf(cx: Context, make: Make, w: WeightValue, one: boolean): Stack | undefined {
  let parameters = w.by ? w.by.parameters : [w.parameter];
  const counted: Classes[] = [];
  let single: Classes | undefined;
  if (w.by && parameters.length > 1) counted.push(branchClasses(cx, make, w.by.route));
  const scopes = scopesOf(cx);
  for (const s of [...scopes].reverse()) {
    const first = parameters[0];
    const all = first && s.variants?.get(first.path);
    if (all && all.length > 1) {
      parameters = parameters.flatMap((p) => s.variants?.get(p.path) ?? [p]);
      counted.push(classesOf(s));
    } else if (all || s.every) single ??= classesOf(s);
  }
  const branches = parameters.length;
  const leads = parameters[0]?.experts ?? [];
  const experts = scopes.filter((s) => leads.includes(s.axis.name));
  counted.push(...experts.map(classesOf));
  if (counted.length === 0) {
    // Slots of experts are no tokens, and those that stand in none are not used.
    if (!one || !single || !w.parameter || cx.slots !== null) return undefined;
    return { ...single, table: alone(make, leafOf(cx, make, w.parameter)), axis: BRANCHES };
  }
  const table = branches > 1 ? make.concat(BRANCHES, ...parameters.map((p) => alone(make, leafOf(cx, make, p)))) : leafOf(cx, make, w.parameter);
  const axes = [...(branches > 1 ? [BRANCHES] : []), ...experts.map((s) => s.axis.name)];
  const [first, ...more] = counted;
  if (!first) return undefined;
  const classes = more.length === 0 ? first : together(make, first, more);
  const [axis] = axes;
  return axis !== undefined && axes.length === 1 ? { ...classes, table, axis } : { ...classes, table: make.merge(table, axes, CLASSES), axis: CLASSES };
}

/** A weight as the only one of its stack, which leads in memory. */
const alone = (make: Make, w: NodeId): NodeId =>
  make.builder.add("broadcast", [w], { axis: { name: BRANCHES, size: dimConst(1) } }, make.origin, [BRANCHES, ...make.type(w).axes.map((a) => a.name)]);

const classesOf = (s: GroupScope): Classes => ({ expert: s.expert, grouping: s.grouping, size: s.axis.size });

/** One class for several: the first is the slowest. */
function together(make: Make, first: Classes, more: readonly Classes[]): Classes {
  const zero = make.const(0, "i32");
  let { expert, size } = first;
  let nowhere = make.lt(expert, zero);
  for (const c of more) {
    expert = make.add(make.mul(expert, make.const(dimValue(c.size) ?? 1, "i32")), c.expert);
    nowhere = make.or(nowhere, make.lt(c.expert, zero));
    size = dimMul(size, c.size);
  }
  const both = make.select(nowhere, make.const(-1, "i32"), expert);
  return { expert: both, size, grouping: make.groupBy(both, size) };
}

/** A row that is nowhere reads the first class; nothing of it is used. */
const somewhere = (make: Make, s: Stack): NodeId => make.max(s.expert, make.const(0, "i32"));

/** The weight at every row, for anything but a product. */
export function weightNode(cx: Context, make: Make, w: WeightValue): NodeId {
  const stack = stackOf(cx, make, w, false);
  return stack ? make.gather(stack.table, stack.axis, somewhere(make, stack)) : leafOf(cx, make, w.parameter);
}

/** Each row of x times its own matrix. Undefined where the weight is one for all rows, or an axis is not there. */
export function stackedDot(cx: Context, make: Make, x: NodeId, w: WeightValue, axes: readonly string[]): NodeId | undefined {
  const own = w.parameter.axes.map((a) => a.name);
  if (!axes.every((a) => make.hasAxis(x, a) && own.includes(a))) return undefined;
  // What has no tokens, such as a row beside the sequence, has no rows to choose from: in a branch alone it is a product as any other.
  const stack = stackOf(cx, make, w, make.hasAxis(x, "t"));
  if (!stack) return undefined;
  // One axis of rows may be missing from x: the same token at each of its choices.
  const lacking = stack.grouping.rows.filter((r) => !make.hasAxis(x, r));
  const type = make.type(stack.expert).axes;
  const wide = make.broadcast(x, ...lacking.slice(0, -1).flatMap((r) => type.filter((a) => a.name === r)));
  return make.groupedDot(make.cast(wide, "f32"), stack.table, stack.grouping, stack.axis, ...axes);
}

/** Rows of a table that every class has its own of. Undefined where the table is one for all. */
export function stackedRows(cx: Context, make: Make, w: WeightValue, axis: string, index: NodeId): NodeId | undefined {
  const size = w.parameter.axes.find((a) => a.name === axis)?.size;
  const count = size && dimValue(size);
  const stack = count === undefined ? undefined : stackOf(cx, make, w, false);
  if (!stack || count === undefined) return undefined;
  const at = make.clamp(index, 0, count - 1);
  return make.gather(make.merge(stack.table, [stack.axis, axis], ROWS), ROWS, make.add(make.scale(somewhere(make, stack), count), at));
}
