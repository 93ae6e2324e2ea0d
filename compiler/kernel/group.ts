// In: the units of a graph in order. Out: groups, each to become one kernel (or one repeat), in an order that respects reads.
// A unit joins the group of something it reads when it reads it at its own point (a chain of maps, a row's statistics, a
// product's epilogue), or a group over the same space that reads the same tensor; never when that would close a cycle or
// exceed the target's storage buffers. Refuses nothing: what joins no group makes its own.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import { dimEqual, dimText, dimValue } from "../dim/dim.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { children } from "../scalar/expr.ts";
import type { Analysis, Unit, UnitKind } from "./analysis.ts";
import { isLeaf, storedAs } from "./analysis.ts";
import type { Point } from "./body.ts";
import { combine, coordinate, exprKey, mergedParts, quot, rem, sameExpr } from "./coords.ts";
import type { Target } from "./kernel.ts";
import { storageType } from "./evaluate.ts";
import type { Read, Work } from "./trace.ts";
import { elementsOf, isPointwise, symbol, symbols, unitReads, workOf } from "./trace.ts";

export interface Member {
  readonly work: Work;
  /** Its axes in coordinates of the group's space (symbols `g:axis`). */
  readonly coords: Point;
}

export interface Group {
  readonly index: number;
  kind: UnitKind | "row";
  axes: readonly Axis[];
  /** Axes reduced inside; empty but for rows. */
  reduced: ReadonlySet<string>;
  readonly members: Member[];
  /** Everything read that no member makes, with leaves. */
  readonly reads: Set<NodeId>;
  /** Groups that must run before, besides those whose results are read. */
  readonly after: Set<Group>;
}

export class Grouping {
  readonly groups: Group[] = [];
  readonly groupOf = new Map<NodeId, Group>();
  readonly #a: Analysis & { readonly unitOf: Map<NodeId, Unit> };
  readonly #target: Target;

  constructor(a: Analysis, target: Target) {
    this.#a = { ...a, unitOf: new Map(a.unitOf) };
    this.#target = target;
    for (const u of a.units) this.#place(u);
  }

  get analysis(): Analysis {
    return this.#a;
  }

  #node(id: NodeId): Node {
    return this.#a.graph.nodes[id] as Node;
  }

  before(g: Group): Group[] {
    const out = new Set<Group>(g.after);
    for (const id of g.reads) {
      const from = this.groupOf.get(id);
      if (from && from !== g) out.add(from);
    }
    return [...out];
  }

  /** Whether `later` needs `earlier`, however indirectly. */
  reaches(later: Group, earlier: Group, seen = new Set<Group>()): boolean {
    if (later === earlier) return true;
    if (seen.has(later)) return false;
    seen.add(later);
    return this.before(later).some((g) => this.reaches(g, earlier, seen));
  }

  #place(unit: Unit): void {
    let work = workOf(this.#a, unit);
    let reads = unitReads(this.#a, work, symbols("u", work.axes));
    while (this.#arenas(reads.map((r) => r.id), [work]).size > this.#target.storageBuffers) {
      const cut = this.#cut(work);
      if (cut === undefined) break;
      const made: Unit = { kind: "map", node: cut };
      this.#a.unitOf.set(cut, made);
      this.#place(made);
      work = workOf(this.#a, unit);
      reads = unitReads(this.#a, work, symbols("u", work.axes));
    }
    const group = this.#family(work, reads) ?? (isPointwise(unit) ? this.#join(work, reads) : undefined) ?? this.#open(work, reads);
    if (unit.kind !== "copy") this.groupOf.set(unit.node, group);
  }

  #open(work: Work, reads: readonly Read[]): Group {
    const kind = work.unit.kind === "reduce" ? "row" : work.unit.kind === "copy" || work.unit.kind === "update" ? "map" : work.unit.kind;
    const g: Group = {
      index: this.groups.length, kind, axes: work.axes, reduced: new Set(work.reduced),
      members: [{ work, coords: symbols("g", work.axes) }], reads: new Set(reads.map((r) => r.id)), after: new Set(),
    };
    this.groups.push(g);
    for (const d of this.#a.sums.get(work.node.id) ?? [])
      if (d.node.id !== work.node.id) for (const r of unitReads(this.#a, workOf(this.#a, { kind: "product", node: d.node.id }), {})) g.reads.add(r.id);
    return g;
  }

  #add(g: Group, work: Work, coords: Point, reads: readonly Read[]): Group {
    g.members.push({ work, coords });
    for (const r of reads) g.reads.add(r.id);
    // A copy makes nothing: what it copies is still read.
    for (const m of g.members) if (m.work.unit.kind !== "copy") g.reads.delete(m.work.node.id);
    return g;
  }

  /** Groups the unit reads from that do not depend on `g` through others: joining `g` then closes no cycle. */
  #acyclic(g: Group, reads: readonly Read[]): boolean {
    return reads.every((r) => {
      const from = this.groupOf.get(r.id);
      return !from || from === g || !this.reaches(from, g);
    });
  }

  /** Results that one kernel makes together because their operands are the same. */
  #family(work: Work, reads: readonly Read[]): Group | undefined {
    const { kind } = work.unit;
    if (kind === "product") return this.#sibling(work, reads);
    if (kind !== "attend" && kind !== "attend_dkv" && kind !== "ce" && kind !== "group_by") return undefined;
    const same = (n: Node): boolean => {
      if (kind === "group_by") return n.args[0] === work.node.args[0] && groupKey(n) === groupKey(work.node);
      const args = kind === "ce" ? 4 : n.args.length;
      const gradients = kind === "ce" && n.args.length > 4 && work.node.args.length > 4;
      return n.args.slice(0, args).every((x, i) => x === work.node.args[i]) && (!gradients || n.args[4] === work.node.args[4])
        && JSON.stringify(n.attrs) === JSON.stringify(work.node.attrs);
    };
    const g = this.groups.find((x) => x.kind === kind && x.members.every((m) => same(m.work.node)) && this.#acyclic(x, reads));
    return g && this.#add(g, work, {}, reads);
  }

  /** The kernel of a product that reads the same rows. */
  #sibling(work: Work, reads: readonly Read[]): Group | undefined {
    const g = this.groupOf.get(this.#a.siblings.get(work.node.id) ?? -1);
    if (!g || !this.#acyclic(g, reads)) return undefined;
    const works = [...g.members.map((m) => m.work), work];
    if (this.#arenas([...g.reads, ...reads.map((r) => r.id)], works).size > this.#target.storageBuffers) return undefined;
    return this.#add(g, work, symbols("g", work.axes), reads);
  }

  #join(work: Work, reads: readonly Read[]): Group | undefined {
    if (work.unit.kind === "partial") return undefined;
    const near = [...new Set(reads.map((r) => this.groupOf.get(r.id)).filter((g) => g !== undefined))].sort((x, y) => y.index - x.index);
    const shared = new Set(reads.filter((r) => this.#node(r.id).type.axes.length > 0 || this.#a.unitOf.get(r.id)?.kind === "partial").map((r) => r.id));
    const beside = this.groups.filter((g) => !near.includes(g) && (g.kind === "map" || g.kind === "row") && [...shared].some((id) => g.reads.has(id))).reverse();
    for (const g of [...near, ...beside]) {
      if (g.kind !== "map" && g.kind !== "row" && g.kind !== "product") continue;
      if (!this.#acyclic(g, reads)) continue;
      // A second copy of a result never goes into a state that its kernel still reads, whichever of the two came first.
      const copied = [...g.members.map((m) => m.work), work].map((w) => w.unit.into?.tensor).filter((x) => x !== undefined);
      if ([...g.reads, ...reads.map((r) => r.id)].some((id) => copied.includes(this.#stateName(id) ?? ""))) continue;
      const fit = this.#fit(work, reads, g);
      if (!fit) continue;
      if (this.#arenas([...g.reads, ...reads.map((r) => r.id)].filter((id) => !g.members.some((m) => m.work.unit.kind !== "copy" && m.work.node.id === id)), [...g.members.map((m) => m.work), work]).size > this.#target.storageBuffers) continue;
      if (fit.reduced) {
        g.kind = "row";
        g.reduced = fit.reduced;
      }
      return this.#add(g, work, fit.coords, reads);
    }
    return undefined;
  }

  /** The unit's axes in the group's coordinates, when it may run at the group's points. */
  #fit(work: Work, reads: readonly Read[], g: Group): { coords: Point; reduced?: Set<string> } | undefined {
    // What reads an updated state reads all of it, not the part that the update's kernel is at.
    if (work.unit.kind === "update" && g.kind === "row") return undefined;
    if (g.members.some((m) => m.work.unit.kind === "update" && reads.some((r) => r.id === m.work.node.id))) return undefined;
    const members = new Map(g.members.filter((m) => m.work.unit.kind !== "copy").map((m) => [m.work.node.id, m]));
    const solved = new Map<string, ScalarExpr>();
    const halves = new Map<string, { q?: ScalarExpr; r?: ScalarExpr }>();
    const solve = (mine: ScalarExpr, theirs: ScalarExpr): void => {
      if (mine.kind === "name") {
        if (mine.name.startsWith("u:") && !solved.has(mine.name.slice(2))) solved.set(mine.name.slice(2), theirs);
        return;
      }
      const parts = mergedParts(mine);
      if (parts) {
        solve(parts.high, quot(theirs, parts.size));
        solve(parts.low, rem(theirs, parts.size));
      } else if (mine.kind === "binary" && (mine.op === "div" || mine.op === "mod")) {
        const key = `${exprKey(mine.a)}|${exprKey(mine.b)}`;
        const half = { ...halves.get(key), [mine.op === "div" ? "q" : "r"]: theirs };
        halves.set(key, half);
        if (half.q && half.r) solve(mine.a, combine(half.q, mine.b, half.r));
      }
    };
    for (const r of reads) {
      const m = members.get(r.id);
      if (m) for (const [axis, mine] of Object.entries(r.at)) solve(mine, coordinate(m.coords, axis));
    }
    for (const axis of work.axes) {
      if (solved.has(axis.name)) continue;
      const same = g.axes.find((x) => x.name === axis.name && dimEqual(x.size, axis.size));
      if (dimValue(axis.size) !== 1 && !same) return undefined;
      solved.set(axis.name, same ? symbol("g", axis.name) : { kind: "const", type: "i32", value: 0 });
    }
    const coords: Point = Object.fromEntries(solved);
    const again = unitReads(this.#a, work, coords);
    for (const r of again) {
      const m = members.get(r.id);
      if (m && !Object.entries(r.at).every(([axis, e]) => sameExpr(e, coordinate(m.coords, axis)))) return undefined;
    }
    const touched = members.size > 0 && reads.some((r) => members.has(r.id));
    const covers = (axes: readonly string[]): Set<string> => {
      const names = new Set<string>();
      const see = (e: ScalarExpr): void => {
        if (e.kind === "name" && e.name.startsWith("g:")) names.add(e.name.slice(2));
        children(e).forEach(see);
      };
      for (const a of axes) see(coordinate(coords, a));
      return names;
    };
    const wide = (names: Iterable<string>): string[] => [...names].filter((n) => dimValue((g.axes.find((x) => x.name === n) as Axis).size) !== 1).sort();
    const equalSets = (x: Iterable<string>, y: Iterable<string>): boolean => wide(x).join() === wide(y).join();
    const all = g.axes.map((x) => x.name);
    const outer = all.filter((n) => !g.reduced.has(n));
    const groupOuter = g.axes.filter((x) => !g.reduced.has(x.name));
    if (work.unit.kind === "reduce") {
      if (g.kind === "product" || elementsOf(work.axes) !== elementsOf(g.axes)) return undefined;
      const inner = covers(work.reduced);
      const rest = covers(work.axes.map((x) => x.name).filter((n) => !work.reduced.includes(n)));
      if (!work.reduced.every((n) => coordinate(coords, n).kind === "name" || coordinate(coords, n).kind === "const")) return undefined;
      if (!equalSets([...inner, ...rest], all) || [...inner].some((n) => rest.has(n))) return undefined;
      if (g.kind === "row") return equalSets(inner, g.reduced) ? { coords } : undefined;
      // A map becomes rows when the reduction runs along its memory and leaves many rows.
      const last = g.axes[g.axes.length - 1];
      if (!touched || !last || !inner.has(last.name) || rest.size === 0) return undefined;
      if (g.members.some((m) => m.work.axes.length === 0)) return undefined;
      return { coords, reduced: inner };
    }
    const mine = covers(work.axes.map((x) => x.name));
    if (elementsOf(work.axes) === elementsOf(g.axes) && equalSets(mine, all)) return { coords };
    if (g.kind === "row" && elementsOf(work.axes) === elementsOf(groupOuter) && equalSets(mine, outer)) return { coords };
    // One number beside a map: the first invocation stores it.
    if (g.kind === "map" && elementsOf(work.axes) === "1" && this.#cheapBeside(g, reads)) return { coords };
    return undefined;
  }

  #stateName(id: NodeId): string | undefined {
    const n = this.#node(id);
    return n.op === "state" ? n.attrs.name : undefined;
  }

  /** Nothing else has to be awaited for it. */
  #cheapBeside(g: Group, reads: readonly Read[]): boolean {
    const before = this.before(g);
    return reads.every((r) => {
      const from = this.groupOf.get(r.id);
      return !from || from === g || before.includes(from);
    });
  }

  /** Storage bindings of a kernel, at most: one per arena. */
  #arenas(reads: readonly NodeId[], works: readonly Work[]): Set<string> {
    const out = new Set<string>();
    for (const id of reads) out.add(this.#arena(id));
    for (const w of works) out.add(w.unit.into ? arenaName(w.unit.into.tensor, storageType(w.unit.into.dtype)) : this.#arena(w.node.id));
    return out;
  }

  #arena(id: NodeId): string {
    const n = this.#node(id);
    if (n.op === "state") return `state:${n.attrs.name.split("/")[0]}`;
    if (n.op === "input") return `input:${storageType(n.type.dtype)}`;
    const out = this.#a.outputs.get(id);
    return out ? arenaName(out.tensor, storageType(n.type.dtype)) : `temp:${storageType(storedAs(this.#a, id))}`;
  }

  /** A recomputed node whose storing frees the most bindings of a unit that has too many. */
  #cut(work: Work): NodeId | undefined {
    let best: { id: NodeId; gain: number } | undefined;
    const seen = new Set<NodeId>();
    const walk = (id: NodeId): void => {
      const n = this.#node(id);
      if (seen.has(id) || isLeaf(n) || this.#a.unitOf.has(id)) return;
      seen.add(id);
      const made: Unit = { kind: "map", node: id };
      const own = unitReads(this.#a, workOf(this.#a, made), symbols("u", n.type.axes));
      const count = this.#arenas(own.map((r) => r.id), []).size;
      if (count < this.#target.storageBuffers && count > 1 && (!best || count > best.gain)) best = { id, gain: count };
      n.args.forEach(walk);
    };
    work.node.args.forEach(walk);
    return best?.id;
  }

  /** Groups in an order in which everything is made before it is read. */
  order(): Group[] {
    const waiting = new Set(this.groups);
    const out: Group[] = [];
    while (waiting.size > 0) {
      const next = [...waiting].find((g) => this.before(g).every((b) => !waiting.has(b)));
      if (!next) throw new Error(`graph ${this.#a.graph.name}: kernels wait for each other`);
      waiting.delete(next);
      out.push(next);
    }
    return out;
  }
}

/** What a group-by does, however its results' axes are called. */
const groupKey = (n: Node): string => (n.op === "group_order" || n.op === "group_place" || n.op === "group_offset" ? `${n.attrs.rows.join()};${dimText(n.attrs.classes)}` : "");

/** The arena of an output's tensor: one of its own class, or the state it goes into. */
const arenaName = (tensor: string, dtype: string): string => (tensor.startsWith("out.") ? `output:${dtype}` : `state:${tensor.split("/")[0]}`);
