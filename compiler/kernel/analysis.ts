// In: a graph and a target. Out: which nodes are units of work (each is later placed in a kernel), which are recomputed where
// they are read, which dots are summed in one product, and where outputs are stored. Decides by cost alone; places nothing.
// Refuses nothing: whatever is not recomputed is stored.

import { dimConst, dimMul, dimText, dimValue } from "../dim/dim.ts";
import type { Axis, DType, Graph, Node, NodeId, NodeOf } from "../graph/graph.ts";
import type { OpName } from "../graph/ops.ts";
import { spaceAxis } from "./coords.ts";
import type { Storage } from "./evaluate.ts";
import { placesOf, sumOfChoices } from "./short_sum.ts";
import type { ProductNode } from "./siblings.ts";
import { siblingProducts } from "./siblings.ts";
import { isStack } from "./stack.ts";

/** One dot of a sum of dots: its axes by the names the carrying dot gives them. */
export interface SummedDot {
  readonly node: ProductNode;
  readonly names: Readonly<Record<string, string>>;
}

export type UnitKind = "map" | "reduce" | "partial" | "product" | "attend" | "attend_dq" | "attend_dkv" | "attend_dtable" | "ce" | "group_by" | "top" | "grouped_sum" | "update" | "copy";

export interface Unit {
  readonly kind: UnitKind;
  readonly node: NodeId;
  /** copy: where to, and where from when not from where the node is. */
  readonly into?: Storage;
  readonly from?: Storage;
}

export interface Analysis {
  readonly graph: Graph;
  readonly units: readonly Unit[];
  readonly unitOf: ReadonlyMap<NodeId, Unit>;
  readonly absent: ReadonlySet<NodeId>;
  readonly sums: ReadonlyMap<NodeId, readonly SummedDot[]>;
  /** Product -> the one in whose kernel it is made, because both read the same rows. */
  readonly siblings: ReadonlyMap<NodeId, NodeId>;
  /** Results whose only reader is a cast to f16, and which are stored as that cast wants them. */
  readonly narrow: ReadonlySet<NodeId>;
  /** Graph users of a node, outputs not counted. */
  readonly users: readonly (readonly NodeId[])[];
  /** Destinations fixed by outputs. */
  readonly outputs: ReadonlyMap<NodeId, Storage>;
  /** Output name -> tensor. */
  readonly outputTensors: Readonly<Record<string, string>>;
}

/** Pieces into which a long reduction is cut; each reader adds them up itself. */
export const pieces = 64;
/** Recomputing costs at most this much when several kernels read a value; a load counts 3, a transcendental 6. */
const recompute = 20;
/** An operand that is read many times may cost a load and a little. */
const prologue = 4;

const views: ReadonlySet<OpName> = new Set<OpName>(["rename", "split", "merge", "broadcast"]);
const regroupings: ReadonlySet<OpName> = new Set<OpName>(["rename", "split", "merge"]);
const heavy: ReadonlySet<OpName> = new Set<OpName>(["exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos", "pow"]);
const moving: ReadonlySet<OpName> = new Set<OpName>(["concat", "slice", "gather", "rope", "update", "random", "iota", "const"]);

export const isLeaf = (n: Node): boolean => n.op === "input" || n.op === "state";

const elements = (axes: readonly Axis[]): string => dimText(axes.reduce((p, a) => dimMul(p, a.size), dimConst(1)));

/** A dot with both m and n axes is a product; the others are sums over rows. */
export function isProduct(graph: Graph, n: Node): n is NodeOf<"dot"> {
  if (n.op !== "dot" || n.attrs.axes.length === 0 || n.type.dtype !== "f32") return false;
  const names = (i: number): string[] => (graph.nodes[n.args[i] ?? -1]?.type.axes ?? []).map((a) => a.name);
  const [a, b] = [names(0), names(1)];
  const only = (x: string[], y: string[]): boolean => x.some((name) => !y.includes(name));
  return only(a, b) && only(b, a);
}

/** A product of which several may be added up in one kernel. */
const isSummand = (graph: Graph, n: Node): n is ProductNode => isProduct(graph, n) || (n.op === "grouped_dot" && n.attrs.axes.length > 0);

/** How a node's elements are stored, if they are. */
export const storedAs = (a: Pick<Analysis, "graph" | "narrow">, id: NodeId): DType => (a.narrow.has(id) ? "f16" : (a.graph.nodes[id] as Node).type.dtype);

/** What kind of unit a node is by its op alone; undefined for maps and leaves. */
function anchorKind(graph: Graph, n: Node): UnitKind | undefined {
  switch (n.op) {
    case "dot": return n.attrs.axes.length === 0 ? undefined : isProduct(graph, n) ? "product" : "reduce";
    case "sum": case "amax": return n.attrs.axes.length === 0 || sumOfChoices(graph, n) ? undefined : "reduce";
    case "argmax": return "reduce";
    case "grouped_dot": case "grouped_dw": return "product";
    case "attend": case "attend_lse": return "attend";
    case "attend_dq": return "attend_dq";
    case "attend_dk": case "attend_dv": return "attend_dkv";
    case "attend_dtable": return "attend_dtable";
    case "linear_ce": case "linear_ce_dx": case "linear_ce_dw": return "ce";
    case "group_order": case "group_place": case "group_offset": return "group_by";
    case "top": return "top";
    case "grouped_sum": return "grouped_sum";
    case "scatter_add": throw new Error("scatter_add has no kernel: the pass `sums` comes first");
    default: return undefined;
  }
}

export function analyse(graph: Graph): Analysis {
  const node = (id: NodeId): Node => {
    const n = graph.nodes[id];
    if (!n) throw new Error(`no node ${id}`);
    return n;
  };
  const users: NodeId[][] = graph.nodes.map(() => []);
  const live = new Set<NodeId>(graph.outputs.map((o) => o.node));
  for (let id = graph.nodes.length - 1; id >= 0; id--)
    if (live.has(id)) for (const a of new Set(node(id).args)) {
      live.add(a);
      users[a]?.push(id);
    }
  const outputNodes = new Set(graph.outputs.map((o) => o.node));
  const usersOf = (id: NodeId): readonly NodeId[] => users[id] ?? [];
  /** Users with views looked through. */
  const isWidening = (n: Node): boolean => n.op === "cast" && node(n.args[0] ?? -1).type.dtype === "f16";
  const isNarrowing = (n: Node): boolean => n.op === "cast" && n.type.dtype === "f16" && !isWidening(n);
  const readers = (id: NodeId): NodeId[] =>
    usersOf(id).flatMap((u) => (views.has(node(u).op) ? (outputNodes.has(u) ? [u, ...readers(u)] : readers(u)) : [u]));

  const anchors = new Map<NodeId, UnitKind>();
  for (const n of graph.nodes) {
    const kind = live.has(n.id) ? anchorKind(graph, n) : undefined;
    if (kind) anchors.set(n.id, kind);
  }
  for (const o of graph.outputs) {
    const n = node(o.node);
    const cache = n.op === "update" ? node(n.args[0] ?? -1) : undefined;
    // In place when nobody else wants the old cache; otherwise it is a map like others.
    if (cache?.op === "state" && cache.attrs.name === o.into && usersOf(cache.id).length === 1) anchors.set(n.id, "update");
  }

  // Nothing can join the kernels of these, so a cast of their result is not a step of its own: the store rounds.
  const narrow = new Set<NodeId>();
  for (const [id, kind] of anchors) {
    const [only, ...more] = usersOf(id);
    if (kind === "product" || kind === "reduce" || kind === "update" || only === undefined || more.length > 0 || outputNodes.has(id)) continue;
    if (isNarrowing(node(only)) && !outputNodes.has(only)) narrow.add(id);
  }

  const { absent, sums } = sumsOfDots(graph, live, usersOf, outputNodes);
  const roots = new Set<NodeId>();
  const siblings = siblingProducts(
    graph, graph.nodes.filter((n): n is ProductNode => live.has(n.id) && isSummand(graph, n) && !absent.has(n.id) && !sums.has(n.id)), usersOf,
    (n) => !isLeaf(n) && !anchors.has(n.id) && !moving.has(n.op) && n.op !== "broadcast" && !isWidening(n), (x, y) => elements(x.type.axes) === elements(y.type.axes),
  );

  // A product's sink goes on through the maps that are its only readers.
  for (const [id, kind] of anchors) {
    if (kind !== "product" || absent.has(id)) continue;
    let at = id;
    let end = id;
    for (;;) {
      const next = usersOf(at).length === 1 && !outputNodes.has(at) ? node(usersOf(at)[0] ?? -1) : undefined;
      if (!next || anchors.has(next.id) || moving.has(next.op) || next.op === "broadcast" || isLeaf(next) || isWidening(next)) break;
      if (elements(next.type.axes) !== elements(node(id).type.axes)) break;
      at = next.id;
      if (!regroupings.has(next.op)) end = at;
    }
    if (end !== id) roots.add(end);
  }

  const { outputs, outputTensors, copies } = placeOutputs(graph, node, (id) => anchors.has(id));
  for (const id of outputs.keys()) if (!anchors.has(id)) roots.add(id);

  // Costs and the roots they call for, operands first.
  const costs: number[] = [];
  const cost = (id: NodeId): number => costs[id] ?? 0;
  const ownCost = (n: Node): number => {
    if (isLeaf(n) || anchors.has(n.id) || roots.has(n.id)) return 3;
    const inner = n.args.reduce((s, a) => s + cost(a), 0);
    if (n.op === "const" || n.op === "iota") return 0;
    if (n.op === "random") return 60;
    if (n.op === "rope") return 2 * cost(n.args[0] ?? 0) + cost(n.args[1] ?? 0) + 20;
    if (sumOfChoices(graph, n)) return (placesOf(graph, n)?.length ?? 1) * (inner + 1);
    // One load, from where the part lies.
    if (isStack(graph, n)) return 3;
    if (views.has(n.op) || n.op === "slice" || n.op === "cast") return inner;
    return inner + (heavy.has(n.op) || n.op === "gather" ? 6 : 1);
  };
  const readByAnchor = (id: NodeId): boolean =>
    usersOf(id).some((u) => {
      const kind = anchors.get(u);
      if (kind === undefined) return ((views.has(node(u).op) && !roots.has(u)) || isWidening(node(u))) ? readByAnchor(u) : false;
      if (kind === "reduce" || kind === "partial" || kind === "update") return false;
      // Sums by class read every value once, wherever it is.
      return kind !== "grouped_sum" || node(u).args[0] !== id;
    });
  for (const n of graph.nodes) {
    if (!live.has(n.id)) continue;
    let c = ownCost(n);
    const isMap = !isLeaf(n) && !anchors.has(n.id) && !views.has(n.op);
    if (isMap && !roots.has(n.id)) {
      const wider = (): boolean => n.type.axes.length > 0 && usersOf(n.id).some((u) => node(u).type.axes.length > n.type.axes.length);
      if (((c > prologue || (isNarrowing(n) && !narrow.has(n.args[0] ?? -1))) && readByAnchor(n.id)) || (c > recompute && new Set(readers(n.id)).size > 1) || (c > 12 && wider())) {
        roots.add(n.id);
        c = 3;
      }
    }
    costs[n.id] = n.type.axes.length === 0 ? Math.min(c, 1) : c;
  }

  const partial = (id: NodeId): boolean => longSum(graph, node(id)) && readers(id).every((r) => !anchors.has(r)) && !outputs.has(id);
  const units: Unit[] = [];
  for (const n of graph.nodes) {
    if (!live.has(n.id) || absent.has(n.id)) continue;
    const kind = anchors.get(n.id) ?? (roots.has(n.id) ? "map" : undefined);
    if (kind) units.push({ kind: kind === "reduce" && partial(n.id) ? "partial" : kind, node: n.id });
  }
  const unitOf = new Map(units.map((u) => [u.node, u]));
  units.push(...copies.map(({ node: id, into }): Unit => ({ kind: "copy", node: id, into })));
  return { graph, units, unitOf, absent, sums, siblings, narrow, users, outputs, outputTensors };
}

/** A sum over so many elements into so few that one kernel cannot keep a device busy. */
function longSum(graph: Graph, n: Node): boolean {
  if (n.op !== "sum" && n.op !== "amax") return false;
  const axes = graph.nodes[n.args[0] ?? -1]?.type.axes ?? [];
  const size = (list: readonly Axis[]): number => list.reduce((p, a) => p * (dimValue(a.size) ?? 128), 1);
  return size(axes.filter((a) => n.attrs.axes.includes(a.name))) >= 32768 && n.type.axes.every((a) => dimValue(a.size) !== undefined) && size(n.type.axes) <= 16;
}

/** Adds whose operands are dots of one output space that nothing else reads become one product: the last dot carries the others. */
function sumsOfDots(graph: Graph, live: ReadonlySet<NodeId>, usersOf: (id: NodeId) => readonly NodeId[], outputNodes: ReadonlySet<NodeId>): { absent: Set<NodeId>; sums: Map<NodeId, readonly SummedDot[]> } {
  const absent = new Set<NodeId>();
  const sums = new Map<NodeId, readonly SummedDot[]>();
  const node = (id: NodeId): Node => graph.nodes[id] as Node;
  const single = (id: NodeId): boolean => usersOf(id).length === 1 && !outputNodes.has(id);
  type Leaf = { readonly node: ProductNode; /** axis of the add -> axis of the dot */ readonly names: Record<string, string> };
  const leaves = (id: NodeId, names: Record<string, string>, top: boolean): Leaf[] => {
    const n = node(id);
    if (!top && !single(id)) return [];
    if (n.op === "add" && n.args[0] !== n.args[1] && n.type.dtype === "f32") {
      const kept = (a: NodeId): Record<string, string> =>
        Object.fromEntries(Object.entries(names).filter(([, own]) => node(a).type.axes.some((x) => x.name === own)));
      return n.args.flatMap((a) => leaves(a, kept(a), false));
    }
    if (n.op === "rename") {
      const { from, to } = n.attrs;
      return leaves(n.args[0] as NodeId, Object.fromEntries(Object.entries(names).map(([k, own]) => [k, own === to ? from : own])), false);
    }
    return isSummand(graph, n) ? [{ node: n, names }] : [];
  };
  for (const n of graph.nodes) {
    if (n.op !== "add" || !live.has(n.id)) continue;
    const above = single(n.id) ? node(usersOf(n.id)[0] as NodeId) : undefined;
    if (above?.op === "add" && above.args[0] !== above.args[1]) continue;
    const found = leaves(n.id, Object.fromEntries(n.type.axes.map((a) => [a.name, a.name])), true)
      .filter((l) => Object.keys(l.names).length === n.type.axes.length && l.node.type.axes.length === n.type.axes.length);
    const split = (l: Leaf): string => sides(graph, l.node, Object.fromEntries(Object.entries(l.names).map(([axis, own]) => [own, axis])));
    const alike = found.filter((l) => split(l) === split(found[found.length - 1] as Leaf));
    found.splice(0, found.length, ...alike);
    if (found.length < 2) continue;
    const carrier = found.reduce((x, y) => (y.node.id > x.node.id ? y : x));
    sums.set(carrier.node.id, found.map((l) => ({
      node: l.node,
      names: Object.fromEntries(Object.entries(carrier.names).map(([axis, own]) => [own, l.names[axis] as string])),
    })));
    for (const l of found) if (l !== carrier) absent.add(l.node.id);
  }
  return { absent, sums };
}

/** Which result axes only one operand has, as text that does not depend on the operands' order; and whose rows they are. */
function sides(graph: Graph, dot: ProductNode, names: Readonly<Record<string, string>>): string {
  const axes = dot.args.slice(0, 2).map((a) => (graph.nodes[a]?.type.axes ?? []).map((x) => x.name).filter((n) => !dot.attrs.axes.includes(n)));
  const [a, b] = [axes[0] ?? [], axes[1] ?? []];
  const only = (x: string[], y: string[]): string => x.filter((n) => !y.includes(n)).map((n) => names[n]).sort().join();
  if (dot.op === "dot") return [only(a, b), only(b, a)].sort().join("|");
  const { rows, classes } = dot.attrs;
  return [rows.map((n) => names[n]).join(), ...dot.args.slice(2), only(a, [...b, ...rows]), only(b, [...a, classes])].join("|");
}

/** A merge of one axis with others of one place each: those, and the one. */
function takenIn(n: NodeOf<"merge">, arg: Node): { readonly ones: readonly Axis[]; readonly rest: Axis } | undefined {
  const parts = n.attrs.axes.flatMap((name) => arg.type.axes.filter((a) => a.name === name));
  const rest = parts.find((a) => dimValue(a.size) !== 1) ?? parts[0];
  const ones = parts.filter((a) => a !== rest);
  return rest && ones.every((a) => dimValue(a.size) === 1) ? { ones, rest } : undefined;
}

interface Placed {
  readonly outputs: Map<NodeId, Storage>;
  readonly outputTensors: Record<string, string>;
  readonly copies: { readonly node: NodeId; readonly into: Storage }[];
}

export const outputTensor = (name: string): string => `out.${name}`;

/** Gives every output a tensor: the state it goes into, or one of its own. A node with two destinations is copied to the second. */
function placeOutputs(graph: Graph, node: (id: NodeId) => Node, anchored: (id: NodeId) => boolean): Placed {
  const computed = (id: NodeId): boolean => !isLeaf(node(id));
  const outputs = new Map<NodeId, Storage>();
  const outputTensors: Record<string, string> = {};
  const copies: { node: NodeId; into: Storage }[] = [];
  const states = new Map(graph.nodes.flatMap((n) => (n.op === "state" ? [[n.attrs.name, n.type.axes] as const] : [])));
  for (const o of graph.outputs) {
    const type = node(o.node).type;
    const order = (o.into === undefined ? undefined : states.get(o.into)) ?? type.axes;
    const tensor = o.into ?? outputTensor(o.name);
    // Through renames, and through axes of one place that a neighbour took in, the same memory serves, under the names of the
    // node that is computed.
    let id = o.node;
    let names = new Map(type.axes.map((a) => [a.name, a.name]));
    const ones: Axis[] = [];
    for (let n = node(id); ; n = node(id)) {
      const taken = n.op === "merge" ? takenIn(n, node(n.args[0] ?? -1)) : undefined;
      if (n.op !== "rename" && !taken) break;
      const [from, to] = n.op === "rename" ? [n.attrs.from, n.attrs.to] : [taken?.rest.name ?? "", n.op === "merge" ? n.attrs.into : ""];
      names = new Map([...names].map(([k, own]) => [k, own === to ? from : own]));
      for (let i = 0; n.op === "rename" && i < ones.length; i++) if (ones[i]?.name === to) ones[i] = { name: from, size: dimConst(1) };
      ones.push(...(taken?.ones ?? []));
      id = n.args[0] as NodeId;
    }
    const into = (as: ReadonlyMap<string, string>): Storage =>
      ({ tensor, dtype: type.dtype, axes: [...(as.size > 0 ? ones : []).map(spaceAxis), ...order.map((a) => spaceAxis({ name: as.get(a.name) ?? a.name, size: a.size }))] });
    outputTensors[o.name] = tensor;
    const taken = outputs.get(id);
    const n = node(id);
    // One number that is cheap to compute is stored beside whatever else computes it.
    const number = n.type.axes.length === 0 && !anchored(id);
    if (!computed(id)) {
      const old = node(id);
      if (old.op === "state" && old.attrs.name === o.into) {
        // A state turned in its own memory: the turned value is made first, then stored.
        if (id !== o.node) outputs.set(o.node, into(new Map()));
        continue;
      }
      copies.push({ node: o.node, into: into(new Map()) });
    } else if (number || longSum(graph, n)) copies.push({ node: o.node, into: into(new Map()) });
    else if (!taken) outputs.set(id, into(names));
    else if (o.into === undefined && taken.tensor.startsWith("out.")) outputTensors[o.name] = taken.tensor;
    else copies.push({ node: o.node, into: into(new Map()) });
  }
  return { outputs, outputTensors, copies };
}
