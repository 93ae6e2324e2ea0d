// In: rows with a class each. Out: the steps that sort them by class (kernels of group_by.ts), with the tensors in between. The
// ops group_order, group_place and group_offset of one class tensor come out of the same dispatches; lowerings that need rows
// in order themselves (losses that skip rows, sums by index) ask for a grouping by a key and share it. Refuses nothing.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import type { GroupAttrs } from "../graph/ops.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, i32, mul, sub } from "../scalar/expr.ts";
import { isLeaf } from "./analysis.ts";
import type { Body, Point, SpaceAxis } from "./body.ts";
import { KernelParts, spaceSize } from "./body.ts";
import { dimExpr, spaceAxis, splitPoint } from "./coords.ts";
import type { Evaluator, Storage } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ClassOf, DigitPass, GroupSinks, Places, StorePlace } from "./group_by.ts";
import { chunkCount, digitsOf, groupCount, groupOffsets, groupPlace, groupScan, groupSerial } from "./group_by.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { dispatchOf, groupEvaluator } from "./lowering.ts";
import { max, min } from "./space.ts";
import type { KernelShape } from "./templates.ts";
import { readsAt, symbols } from "./trace.ts";

/** Rows with their classes, as a lowering states them. */
export interface ClassSource {
  /** Names the tensors in between. */
  readonly name: string;
  /** Major first. */
  readonly rows: readonly SpaceAxis[];
  readonly classes: ScalarExpr;
  readonly of: (ev: Evaluator, b: Body, at: Point) => ScalarExpr;
}

/** Where the results of a group-by go; each may go nowhere, or to several places. */
export interface GroupTargets {
  /** One axis: the slots. */
  readonly order: readonly Storage[];
  /** The axes of the rows, in any order. */
  readonly place: readonly Storage[];
  /** One axis: the classes and one more. */
  readonly offset: readonly Storage[];
}

/** Rows in the order of their classes, for the kernels of one program. */
export interface Grouped {
  readonly rows: readonly SpaceAxis[];
  readonly order: Storage;
  readonly offset: Storage;
}

const flat = (size: ScalarExpr): { readonly dtype: "i32"; readonly axes: readonly SpaceAxis[] } => ({ dtype: "i32", axes: [{ name: "i", size }] });

/** A value of a tensor with one axis, by its index. */
export const loadAt = (ev: Evaluator, b: Body, s: Storage, index: ScalarExpr): ScalarExpr => ev.load(b, s, { [s.axes[0]?.name ?? ""]: index });
const storeAt = (ev: Evaluator, b: Body, s: Storage, index: ScalarExpr, value: ScalarExpr): void => ev.store(b, s, { [s.axes[0]?.name ?? ""]: index }, value);

/** The row at a slot, held inside the rows. */
export function rowAt(ev: Evaluator, b: Body, order: Storage, slot: ScalarExpr): ScalarExpr {
  const rows = spaceSize(order.axes);
  return b.let(max(i32(0), min(loadAt(ev, b, order, slot), sub(rows, i32(1)))), "row");
}

function groupBySteps(low: Lowering, g: Group, classes: ClassSource, to: GroupTargets): ProgramStep[] {
  const rows = spaceSize(classes.rows);
  const bins = add(classes.classes, i32(1));
  const step = (what: string, make: (parts: KernelParts, ev: Evaluator) => KernelShape): ProgramStep => {
    const parts = new KernelParts();
    const shape = make(parts, groupEvaluator(low, { ...g, members: [] }, parts));
    return dispatchOf(low, g, what, parts, shape);
  };
  const spec = (ev: Evaluator): ClassOf => ({ rows, classes: classes.classes, of: (b, row) => classes.of(ev, b, splitPoint(classes.rows, row)) });
  const places = (ev: Evaluator, s: Storage): Places => ({ load: (b, i) => loadAt(ev, b, s, i), store: (b, i, v) => storeAt(ev, b, s, i, v) });
  const sinks = (ev: Evaluator, wanted: GroupTargets): GroupSinks => {
    const all = (list: readonly Storage[]): StorePlace | undefined =>
      list.length === 0 ? undefined : (b, i, v) => { for (const s of list) storeAt(ev, b, s, i, v); };
    const [order, offset] = [all(wanted.order), all(wanted.offset)];
    return {
      ...(order ? { order } : {}), ...(offset ? { offset } : {}),
      ...(wanted.place.length > 0 ? { place: (b, row, slot) => { for (const s of wanted.place) ev.store(b, s, splitPoint(classes.rows, row), slot); } } : {}),
    };
  };
  if (low.target.products === "registers") {
    const cursor = low.temp(`${classes.name}.cursor`, flat(bins));
    return [step("group rows", (parts, ev) => groupSerial(parts, spec(ev), places(ev, cursor), sinks(ev, to)))];
  }
  const digits = digitsOf(classes.classes);
  const whole = digits.length === 1;
  // Where offsets are looked up among sorted rows, somebody must keep these.
  const order = to.order.length > 0 || whole || to.offset.length === 0 ? to.order : [low.temp(`${classes.name}.order`, flat(rows))];
  const rank = low.temp(`${classes.name}.rank`, flat(rows));
  let before: Storage | undefined;
  const at = (ev: Evaluator, from: Storage | undefined) => (b: Body, slot: ScalarExpr): ScalarExpr => (from ? rowAt(ev, b, from, slot) : slot);
  const steps = digits.flatMap((digit, i): ProgramStep[] => {
    const counts = low.temp(`${classes.name}.counts${i}`, flat(mul(i32(digit.bins), chunkCount(rows))));
    const last = i === digits.length - 1;
    const wanted: GroupTargets = last ? { order, place: to.place, offset: whole ? to.offset : [] } : { order: [low.temp(`${classes.name}.pass${i}`, flat(rows))], place: [], offset: [] };
    const from = before;
    before = wanted.order[0];
    const pass = (ev: Evaluator): DigitPass => ({ spec: spec(ev), digit, rowAt: at(ev, from) });
    return [
      step("count rows", (parts, ev) => groupCount(parts, pass(ev), places(ev, counts).store, places(ev, rank).store, low.target)),
      step("scan rows", (parts, ev) => groupScan(parts, spaceSize(counts.axes), places(ev, counts), low.target)),
      step("place rows", (parts, ev) => groupPlace(parts, pass(ev), places(ev, counts).load, places(ev, rank).load, sinks(ev, wanted), low.target)),
    ];
  });
  if (!whole && to.offset.length > 0) {
    const [sorted] = order;
    steps.push(step("offsets", (parts, ev) => groupOffsets(parts, spec(ev), at(ev, sorted), sinks(ev, { order: [], place: [], offset: to.offset }).offset as StorePlace, low.target)));
  }
  return steps;
}

/** The group-bys that lowerings made for themselves, once a program and key. */
export class GroupShared {
  readonly #known = new Map<string, Grouped>();
  /** What only reads what is given: it runs before all else, where kernels of several groupings become one. */
  readonly first: ProgramStep[] = [];

  /** Rows in order of their classes, which are made of `from`; `steps` must run before, and are none when somebody made them already. */
  make(low: Lowering, g: Group, classes: ClassSource, from: NodeId): { readonly grouped: Grouped; readonly steps: readonly ProgramStep[] } {
    const known = this.#known.get(classes.name);
    if (known) return { grouped: known, steps: [] };
    const order = low.temp(`${classes.name}.order`, flat(spaceSize(classes.rows)));
    const offset = low.temp(`${classes.name}.offset`, flat(add(classes.classes, i32(1))));
    const grouped: Grouped = { rows: classes.rows, order, offset };
    this.#known.set(classes.name, grouped);
    const steps = groupBySteps(low, g, classes, { order: [order], place: [], offset: [offset] });
    const { graph } = low.analysis;
    const given = readsAt(low.analysis, [{ id: from, at: symbols("u", (graph.nodes[from] as Node).type.axes) }]).every((r) => isLeaf(graph.nodes[r.id] as Node));
    if (given) this.first.push(...steps);
    return { grouped, steps: given ? [] : steps };
  }
}

/** The ops group_order, group_place and group_offset of one class tensor. */
export function lowerGroupBy(low: Lowering, g: Group, shared: GroupShared): ProgramStep[] {
  const steps = groupOps(low, g);
  if (g.after.size > 0 || ![...g.reads].every((id) => isLeaf(low.analysis.graph.nodes[id] as Node))) return steps;
  shared.first.push(...steps);
  return [];
}

function groupOps(low: Lowering, g: Group): ProgramStep[] {
  const node = g.members[0]?.work.node as Node;
  const attrs = node.attrs as GroupAttrs;
  const [cls] = node.args as [NodeId];
  const axes = (low.analysis.graph.nodes[cls] as Node).type.axes;
  const to = (op: Node["op"]): Storage[] => g.members.flatMap((m) => (m.work.node.op === op ? [...low.stores(m)] : []));
  return groupBySteps(low, g, {
    name: `rows.${node.id}`, rows: attrs.rows.map((n) => spaceAxis(axes.find((x) => x.name === n) as Axis)), classes: dimExpr(attrs.classes),
    of: (ev, b, at) => ev.value(b, cls, at),
  }, { order: to("group_order"), place: to("group_place"), offset: to("group_offset") });
}
