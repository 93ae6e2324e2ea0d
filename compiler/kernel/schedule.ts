// In: a graph, a target and the kernel templates. Out: a Program: dispatches in order over named tensors, fused as group.ts
// decides, with outputs in their own tensors or in the states they go into. A state is rewritten in place when every read of
// its old value comes before, or at the same point of the same kernel; else through a copy. Refuses nothing.

import type { Graph, Node, NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { i32 } from "../scalar/expr.ts";
import type { Analysis, Unit } from "./analysis.ts";
import { analyse, isLeaf, outputTensor, pieces, storedAs } from "./analysis.ts";
import { spaceSize } from "./body.ts";
import { dimExpr, sameExpr, spaceAxis } from "./coords.ts";
import type { Storage } from "./evaluate.ts";
import { storageType } from "./evaluate.ts";
import type { Group, Member } from "./group.ts";
import { Grouping } from "./group.ts";
import type { Program, ProgramStep, ProgramTensor, Target } from "./kernel.ts";
import { AttendShared, lowerAttend } from "./lower_attend.ts";
import { lowerCrossEntropy } from "./lower_ce.ts";
import { GroupShared, lowerGroupBy } from "./lower_group_by.ts";
import { lowerGroupedSum } from "./lower_grouped_sum.ts";
import { lowerMap } from "./lower_map.ts";
import { lowerProduct } from "./lower_product.ts";
import { lowerPartial, lowerRow } from "./lower_row.ts";
import { lowerTop } from "./lower_top.ts";
import type { Lowering } from "./lowering.ts";
import type { Templates } from "./templates.ts";
import { readsAt, symbols, unitReads, workOf } from "./trace.ts";

export interface ScheduleOptions {
  /** Most bytes of logits that exist at a time; a chunk has at least four rows. */
  readonly chunkBytes?: number;
}

export function scheduleGraph(graph: Graph, target: Target, templates: Templates, options: ScheduleOptions = {}): Program {
  const grouping = new Grouping(analyse(graph), target);
  const a: Analysis = grouping.analysis;
  const node = (id: NodeId): Node => graph.nodes[id] as Node;
  const outputs = new Map(a.outputs);
  settleStates(grouping, outputs);

  const readElsewhere = new Set<NodeId>();
  for (const g of grouping.groups) for (const id of g.reads) if (grouping.groupOf.get(id) !== g) readElsewhere.add(id);

  const tensors = new Map<string, ProgramTensor>();
  const declare = (s: Storage, kind: ProgramTensor["kind"]): Storage => {
    if (!tensors.has(s.tensor))
      tensors.set(s.tensor, { name: s.tensor, dtype: storageType(s.dtype), size: spaceSize(s.axes), kind, axes: s.axes.map((x) => ({ name: x.name, size: x.size })) });
    return s;
  };
  const places = new Map<NodeId, Storage>();
  const storage = (id: NodeId): Storage | undefined => {
    const known = places.get(id);
    if (known) return known;
    const n = node(id);
    const unit = a.unitOf.get(id);
    const axes = n.type.axes.map(spaceAxis);
    let made: Storage | undefined;
    if (n.op === "input" || n.op === "state") made = declare({ tensor: n.attrs.name, dtype: n.type.dtype, axes }, n.op);
    else if (outputs.has(id)) made = outputs.get(id);
    else if (unit?.kind === "partial") made = declare({ tensor: `t${id}.pieces`, dtype: n.type.dtype, axes: [...axes, { name: "piece", size: i32(pieces) }] }, "temp");
    else if (unit && readElsewhere.has(id)) made = declare({ tensor: `t${id}.${n.op}`, dtype: storedAs(a, id), axes }, "temp");
    if (made) places.set(id, made);
    return made;
  };
  for (const n of graph.nodes) if (isLeaf(n)) storage(n.id);
  const states = new Map(graph.nodes.flatMap((n) => (n.op === "state" ? [[n.attrs.name, n] as const] : [])));
  for (const o of graph.outputs) {
    const tensor = a.outputTensors[o.name] ?? outputTensor(o.name);
    if (tensors.has(tensor)) continue;
    const type = (o.into === undefined ? undefined : states.get(o.into)?.type) ?? node(o.node).type;
    declare({ tensor, dtype: type.dtype, axes: type.axes.map(spaceAxis) }, o.into === undefined ? "output" : "state");
  }
  for (const g of grouping.groups) for (const m of g.members) if (m.work.unit.from) declare(m.work.unit.from, "temp");
  const low: Lowering = {
    analysis: a, target, templates, storage, chunkBytes: options.chunkBytes ?? 4 * 1024 * 1024,
    temp: (name, s) => declare({ ...s, tensor: name }, "temp"),
    stores: (m: Member) => {
      if (m.work.unit.into) return [m.work.unit.into];
      const s = outputs.has(m.work.node.id) || readElsewhere.has(m.work.node.id) ? storage(m.work.node.id) : undefined;
      return s ? [s] : [];
    },
  };
  const shared: Shared = { attends: new AttendShared(), groups: new GroupShared() };
  const steps = grouping.order().flatMap((g) => lowerGroup(low, g, shared));
  return {
    name: graph.name, lengths: lengthsIn(graph, tensors), tensors: [...tensors.values()], steps: [...shared.groups.first, ...steps],
    outputs: Object.fromEntries(graph.outputs.map((o) => [o.name, a.outputTensors[o.name] ?? outputTensor(o.name)])),
  };
}

/** What groups of one program make once for all of them. */
interface Shared {
  readonly attends: AttendShared;
  readonly groups: GroupShared;
}

function lowerGroup(low: Lowering, g: Group, shared: Shared): ProgramStep[] {
  switch (g.kind) {
    case "map": case "copy": case "update": return lowerMap(low, g);
    case "row": case "reduce": return lowerRow(low, g);
    case "partial": return lowerPartial(low, g);
    case "product": return lowerProduct(low, g);
    case "attend": case "attend_dq": case "attend_dkv": case "attend_dtable": return lowerAttend(low, g, shared.attends);
    case "ce": return lowerCrossEntropy(low, g, shared.groups);
    case "group_by": return lowerGroupBy(low, g, shared.groups);
    case "top": return lowerTop(low, g);
    case "grouped_sum": return lowerGroupedSum(low, g);
  }
}

/** Orders the writing of states after the reading of their old values; where that cannot be, writes go through a copy. */
function settleStates(grouping: Grouping, outputs: Map<NodeId, Storage>): void {
  const a = grouping.analysis;
  const stateOf = (id: NodeId): string | undefined => {
    const n = a.graph.nodes[id] as Node;
    return n.op === "state" ? n.attrs.name : undefined;
  };
  const readers = (state: string): Group[] => grouping.groups.filter((g) => [...g.reads].some((id) => stateOf(id) === state));
  const writers: { group: Group; node: NodeId; to: Storage }[] = [];
  for (const [id, to] of outputs) {
    const group = grouping.groupOf.get(id);
    if (group && !to.tensor.startsWith("out.")) writers.push({ group, node: id, to });
  }
  for (const w of writers) {
    const others = readers(w.to.tensor).filter((g) => g !== w.group);
    const late = others.some((g) => grouping.reaches(g, w.group));
    if (!late && !(readers(w.to.tensor).includes(w.group) && !samePoints(a, w.group, w.node, w.to))) {
      for (const g of others) w.group.after.add(g);
      continue;
    }
    outputs.delete(w.node);
    const unit: Unit = { kind: "copy", node: w.node, into: w.to };
    const work = workOf(a, unit);
    const copy: Group = { index: grouping.groups.length, kind: "map", axes: work.axes, reduced: new Set(), members: [{ work, coords: symbols("g", work.axes) }], reads: new Set([w.node]), after: new Set(others) };
    grouping.groups.push(copy);
  }
  // Copies that were units from the start wait for readers too.
  for (const g of [...grouping.groups])
    g.members.forEach((m, i) => {
      const to = m.work.unit.into;
      if (!to || to.tensor.startsWith("out.")) return;
      const others = readers(to.tensor).filter((r) => r !== g);
      if (!others.some((r) => grouping.reaches(r, g))) {
        for (const r of others) g.after.add(r);
        return;
      }
      // Two states exchanged: the value waits in a tensor of its own until the old one has been read.
      const between: Storage = { ...to, tensor: `t${m.work.node.id}.for.${to.tensor}` };
      g.members[i] = { ...m, work: { ...m.work, unit: { ...m.work.unit, into: between } } };
      const work = workOf(a, { kind: "copy", node: m.work.node.id, from: between, into: to });
      grouping.groups.push({ index: grouping.groups.length, kind: "map", axes: work.axes, reduced: new Set(), members: [{ work, coords: symbols("g", work.axes) }], reads: new Set(), after: new Set([g, ...others]) });
    });
}

/** Whether a kernel reads the old value of a state only at the points where it writes the new one. */
function samePoints(a: Analysis, g: Group, id: NodeId, to: Storage): boolean {
  const writer = g.members.find((m) => m.work.node.id === id);
  if (!writer || (g.kind !== "map" && g.kind !== "product")) return false;
  return g.members.every((m) => {
    const operands = m.work.unit.kind === "product";
    const reads = operands ? unitReads(a, m.work, {}) : readsAt(a, [{ id: m.work.node.id, at: m.coords }], m.work.unit.kind === "copy" ? undefined : m.work.node.id);
    return reads.every((r) => {
      const n = a.graph.nodes[r.id] as Node;
      if (n.op !== "state" || n.attrs.name !== to.tensor) return true;
      return !operands && n.type.axes.every((x, i) => {
        const own = to.axes[i];
        const there = own && writer.coords[own.name];
        return there !== undefined && sameExpr(r.at[x.name] as ScalarExpr, there);
      });
    });
  });
}

function lengthsIn(graph: Graph, tensors: ReadonlyMap<string, ProgramTensor>): readonly string[] {
  const names = new Set(graph.lengths);
  const see = (e: ScalarExpr): void => {
    if (e.kind === "length") names.add(e.name);
    if (e.kind === "binary") { see(e.a); see(e.b); }
  };
  for (const t of tensors.values()) see(t.size);
  for (const n of graph.nodes) {
    for (const x of n.type.axes) see(dimExpr(x.size));
    if (n.op === "group_order" || n.op === "group_place" || n.op === "group_offset") see(dimExpr(n.attrs.classes));
  }
  names.delete("chunk");
  return [...names].sort();
}
