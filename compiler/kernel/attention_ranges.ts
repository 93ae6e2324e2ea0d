// In: the attribute tensors that a mask reads. Out: for every tile of a few tokens the facts that scalar/tile_truth.ts
// asks for (least, greatest, small values) in i32 tensors of their own, made by one small dispatch and shared by every
// attention of the program that reads the same attribute, forward and backward. Nothing here is of size queries x keys.

import type { Axis, Node, NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, and, binary, builtin, i32, lt, mul, select } from "../scalar/expr.ts";
import { bitValues } from "../scalar/tile_truth.ts";
import { Body, KernelParts, spaceSize } from "./body.ts";
import type { Point, SpaceAxis } from "./body.ts";
import { coordinate, spaceAxis, splitPoint } from "./coords.ts";
import type { Evaluator, Storage } from "./evaluate.ts";
import { constant } from "./evaluate.ts";
import type { Group } from "./group.ts";
import type { ProgramStep } from "./kernel.ts";
import type { Lowering } from "./lowering.ts";
import { ceilBy, dispatchOf, groupEvaluator, groupRange, guarded } from "./lowering.ts";
import { max, min } from "./space.ts";
import { tidy } from "./tidy.ts";

/** Tokens of a tile, on either side. */
export const tileTokens = 16;

const factNames = ["lo", "hi", "bits"] as const;

/** The facts of one attribute, by tile. */
export interface Ranges {
  readonly storage: Storage;
  /** Axis of the attribute as the attention knows it -> axis of the storage. */
  readonly names: Readonly<Record<string, string>>;
}

/** An attribute through renames: who makes it, and which of its axes counts the tokens. */
interface Source {
  readonly node: Node;
  readonly tokens: string;
  readonly names: Readonly<Record<string, string>>;
}

const tileAxis = "tile";
const factAxis = "fact";

function sourceOf(low: Lowering, id: NodeId, tokens: string): Source {
  let node = low.analysis.graph.nodes[id] as Node;
  let names = Object.fromEntries(node.type.axes.map((a) => [a.name, a.name]));
  while (node.op === "rename" && !low.analysis.unitOf.has(node.id)) {
    const { from, to } = node.attrs;
    names = Object.fromEntries(Object.entries(names).map(([k, own]) => [k, own === to ? from : own]));
    node = low.analysis.graph.nodes[node.args[0] as NodeId] as Node;
  }
  return { node, tokens: names[tokens] ?? tokens, names };
}

/** Makes sure of the ranges of attributes: what exists is shared, the rest is made by the steps given back. */
export class RangeTable {
  readonly #known = new Map<string, Ranges>();

  /** `wanted`: attribute nodes with their token axis. Answers by position. */
  make(low: Lowering, g: Group, wanted: readonly { readonly id: NodeId; readonly tokens: string }[]): { readonly ranges: readonly Ranges[]; readonly steps: ProgramStep[] } {
    const fresh: { source: Source; storage: Storage }[] = [];
    const ranges = wanted.map(({ id, tokens }): Ranges => {
      const source = sourceOf(low, id, tokens);
      const key = `${source.node.id}:${source.tokens}`;
      let made = this.#known.get(key);
      if (!made) {
        const axis = source.node.type.axes.find((a) => a.name === source.tokens);
        const axes: SpaceAxis[] = [
          ...source.node.type.axes.filter((a) => a.name !== source.tokens).map(spaceAxis),
          { name: tileAxis, size: axis ? ceilBy(spaceAxis(axis).size, tileTokens) : i32(1) }, { name: factAxis, size: i32(factNames.length) },
        ];
        const storage = low.temp(`ranges.${source.node.id}.${source.tokens}`, { dtype: "i32", axes });
        made = { storage, names: source.names };
        this.#known.set(key, made);
        fresh.push({ source, storage });
      }
      return { storage: made.storage, names: source.names };
    });
    // One dispatch for all that are counted over the same axes.
    const alike = new Map<string, { source: Source; storage: Storage }[]>();
    for (const f of fresh) {
      const key = JSON.stringify([f.source.node.type.axes, f.source.tokens]);
      alike.set(key, [...(alike.get(key) ?? []), f]);
    }
    return { ranges, steps: [...alike.values()].map((list) => rangeStep(low, g, list)) };
  }
}

/** The fact of a tile, at the attention's coordinates. */
export function loadFact(b: Body, ev: Evaluator, r: Ranges, fact: string, at: Point, tile: ScalarExpr): ScalarExpr {
  const place: Record<string, ScalarExpr> = {};
  for (const [own, axis] of Object.entries(r.names)) if (r.storage.axes.some((x) => x.name === axis)) place[axis] = coordinate(at, own);
  const tiles = r.storage.axes.find((x) => x.name === tileAxis);
  const single = tiles?.size.kind === "const" && tiles.size.value === 1;
  return ev.load(b, r.storage, { ...place, [tileAxis]: single ? i32(0) : tile, [factAxis]: i32(factNames.findIndex((f) => f === fact)) });
}

function rangeStep(low: Lowering, g: Group, list: readonly { source: Source; storage: Storage }[]): ProgramStep {
  const parts = new KernelParts();
  const ev = groupEvaluator(low, { ...g, members: [] }, parts);
  const b = new Body(parts);
  const { source, storage } = list[0] as { source: Source; storage: Storage };
  const axes = storage.axes.filter((a) => a.name !== factAxis);
  const tokens = source.node.type.axes.find((a: Axis) => a.name === source.tokens);
  const lanes = 64;
  const total = spaceSize(axes);
  const range = groupRange(ceilBy(total, lanes), low.target);
  const i = b.let(add(mul(range.index, i32(lanes)), builtin("lane.x")), "tile");
  guarded(b, false, i, total, (body) => {
    const at = splitPoint(axes, i);
    const first = mul(coordinate(at, tileAxis), i32(tileTokens));
    const size = tokens ? spaceAxis(tokens).size : i32(1);
    const state = list.map(() => ({ lo: body.var(i32(2 ** 31 - 1), "lo"), hi: body.var(i32(-(2 ** 31)), "hi"), bits: body.var(i32(0), "bits") }));
    body.loop(i32(0), i32(tokens ? tileTokens : 1), 1, (inner, j) => {
      // Past the end the last token counts again.
      const token = inner.let(min(add(first, j), add(size, i32(-1))), "token");
      list.forEach(({ source: s }, n) => {
        const raw = ev.value(inner, s.node.id, { ...at, ...(tokens ? { [s.tokens]: token } : {}) });
        const v = inner.let(raw.type === "bool" ? select(raw, i32(1), i32(0)) : raw, "value");
        const to = state[n];
        if (!to) return;
        inner.assign(to.lo, min(to.lo, v));
        inner.assign(to.hi, max(to.hi, v));
        const small = and(binary("le", i32(0), v), lt(v, i32(bitValues)));
        inner.assign(to.bits, binary("or", to.bits, select(small, binary("shl", i32(1), select(small, v, i32(0))), i32(-(2 ** 31)))));
      });
    });
    list.forEach((x, n) => factNames.forEach((f, j) => ev.store(body, x.storage, { ...at, [factAxis]: i32(j) }, state[n]?.[f] ?? constant(0, "i32"))));
  });
  return dispatchOf(low, g, "attend tiles", parts, { workgroup: [lanes, 1, 1], grid: range.grid, arrays: parts.arrays, body: tidy(parts, b.stmts) });
}
