// Model -> the `step` and `denoise` graphs of generation: new tokens behind a cache of keys and values.
// `step` commits its tokens and gives logits at one picked token a row; it is prefill (no slots yet) and decode (one token)
// alike. `denoise` gives a process's prediction for the new tokens; what it leaves in the cache is written over later.
// `beside` makes what they look at beside the sequence: keys and values of the rows there, once for all steps.
// Lengths: batch, t new tokens, s = slots before + t; the cache holds s + spare slots, so that
// every read of the first s is in bounds whatever the capacity.

import { dimAdd, dimConst, dimValue, dimVar } from "../dim/dim.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Axis, Graph, NodeId } from "../graph/graph.ts";
import type { IntExpr } from "../plan/expr.ts";
import type { StateBuffer } from "../plan/plan.ts";
import { elaborateNetwork } from "../types/elaborate_network.ts";
import type { Model } from "../types/model.ts";
import { besideLength } from "../types/streams.ts";
import type { AttendInputs } from "../types/network.ts";
import { BATCH, ModelLeaves, TOKENS } from "./leaves.ts";
import { axis, OpsOn } from "./ops_on.ts";

export interface StepGraph {
  readonly graph: Graph;
  readonly caches: readonly StateBuffer[];
}

/** `store`: how keys and values are kept. */
export function lowerStep(model: Model, name: "step" | "denoise", store: "f32" | "f16" = "f32"): StepGraph {
  const builder = new GraphBuilder(name);
  const keys = axis("s", dimVar("s"));
  const caches: StateBuffer[] = [];
  const beside = lowerBeside(model, store);
  const leaves: ModelLeaves = new ModelLeaves(model, builder, (attribute) => leaves.input(`key.${attribute}`, "i32", [BATCH, keys]));
  const hook = (path: string, k: NodeId, v: NodeId, row?: string): AttendInputs => {
    if (row !== undefined) return beside.paths.has(path) ? { k: kept(leaves, `beside.k.${path}`, k, store).read(), v: kept(leaves, `beside.v.${path}`, v, store).read() } : { k, v };
    return { k: cached(leaves, caches, `cache.k.${path}`, path, k, store), v: cached(leaves, caches, `cache.v.${path}`, path, v, store) };
  };
  const network = elaborateNetwork(model, builder, leaves.leaves(hook));
  const x = leaves.embed(network, (s) => leaves.clean(s));
  const h = network.body(x, leaves.beside(network));
  if (name === "step") {
    for (const s of model.streams) {
      if (s.kind !== "text" || !model.network.head.has(s.name)) continue;
      const o = new OpsOn(builder, { spans: [s.span], path: `head.${s.name}`, via: [] });
      const pick = leaves.input("pick", "i32", [BATCH]);
      const here = o.bin("eq", o.add("iota", [], { axis: TOKENS }), pick);
      const last = o.add("broadcast", [o.sum(o.select(here, h, o.zero(h)), ["t"])], { axis: axis("t", dimConst(1)) });
      builder.output(`${s.name}.logits`, network.head(s.name, last));
    }
  } else
    for (const p of model.processes) {
      const stream = model.streams.find((s) => s.name === p.stream);
      if (stream) builder.output(`${p.name}.out`, network.head(stream.name, h));
    }
  return { graph: builder.finish(), caches: [...caches, ...beside.caches] };
}

/** The keys and values of rows beside the sequence that nothing in the sequence changes, by the path of the attention that reads them. */
export function lowerBeside(model: Model, store: "f32" | "f16" = "f32"): StepGraph & { readonly paths: ReadonlySet<string> } {
  const builder = new GraphBuilder("beside");
  const caches: StateBuffer[] = [];
  const paths = new Set<string>();
  if (model.streams.some((s) => s.beside)) {
    const leaves = new ModelLeaves(model, builder);
    const hook = (path: string, k: NodeId, v: NodeId, row?: string): AttendInputs => {
      if (row === undefined || readsSequence(builder, model, [k, v])) return { k, v };
      paths.add(path);
      for (const [part, node] of [["k", k], ["v", v]] as const) caches.push(kept(leaves, `beside.${part}.${path}`, node, store).write(besideLength(row)));
      return { k, v };
    };
    const network = elaborateNetwork(model, builder, leaves.leaves(hook));
    network.body(leaves.embed(network, (s) => leaves.clean(s)), leaves.beside(network));
  }
  return { graph: builder.finish(), caches, paths };
}

/** Whether some input of the sequence itself leads to one of these nodes. */
function readsSequence(builder: GraphBuilder, model: Model, nodes: readonly NodeId[]): boolean {
  const own = model.streams.filter((s) => s.beside).map((s) => `${s.name}.`);
  const seen = new Set<NodeId>();
  const visit = (id: NodeId): boolean => {
    if (seen.has(id)) return false;
    seen.add(id);
    const n = builder.node(id);
    if (n.op === "input") return !own.some((o) => n.attrs.name.startsWith(o));
    return n.args.some(visit);
  };
  return nodes.some(visit);
}

/** Keys or values of a row beside: [batch, s, …], written whole by one program and read whole by others. */
function kept(leaves: ModelLeaves, name: string, fresh: NodeId, store: "f32" | "f16") {
  const { axes } = leaves.builder.type(fresh);
  const rest = axes.filter((a) => a.name !== "batch" && a.name !== "s");
  const row = axes.filter((a) => a.name === "s");
  const each = rest.reduce((n, a) => n * (dimValue(a.size) ?? 0), 1);
  // Rows are moved as whole words.
  const dtype = each % 2 === 0 ? store : "f32";
  const o = leaves.ops.at(name);
  return {
    read: (): NodeId => o.cast(o.state(name, { dtype, axes: [BATCH, ...row, ...rest] }), "f32"),
    write(length: string): StateBuffer {
      const ordered = leaves.builder.ordered(o.cast(fresh, dtype), ["batch", "s", ...rest.map((a) => a.name)], o.origin);
      leaves.builder.output(name, ordered, name);
      return { name, dtype, size: { op: "*", a: { op: "*", a: "batch", b: length }, b: each }, fields: [] };
    },
  };
}

/** Write the new keys or values at slot `at` and give the first s slots. */
function cached(leaves: ModelLeaves, caches: StateBuffer[], name: string, path: string, fresh: NodeId, store: "f32" | "f16"): NodeId {
  const o = new OpsOn(leaves.builder, { ...leaves.ops.origin, path });
  const rest: Axis[] = leaves.builder.type(fresh).axes.filter((a) => a.name !== "batch" && a.name !== "s");
  const each = rest.reduce((n, a) => n * (dimValue(a.size) ?? 0), 1);
  // Rows of a cache are moved as whole words.
  const dtype = each % 2 === 0 ? store : "f32";
  const slots = axis("s", dimAdd(dimVar("s"), dimVar("spare")));
  const state = o.state(name, { dtype, axes: [BATCH, slots, ...rest] });
  const written = o.add("update", [state, o.cast(fresh, dtype), leaves.input("at", "i32", [])], { axis: "s" });
  leaves.builder.output(name, written, name);
  const size: IntExpr = { op: "*", a: { op: "*", a: "batch", b: { op: "+", a: "s", b: "spare" } }, b: each };
  caches.push({ name, dtype, size, fields: [] });
  return o.cast(o.add("slice", [written], { axis: "s", start: { terms: [] }, size: dimVar("s") }), "f32");
}
