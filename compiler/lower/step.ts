// Model -> the `step` and `denoise` graphs of generation: new tokens behind a cache of keys and values.
// `step` commits its tokens and gives logits at one picked token a row; it is prefill (no slots yet) and decode (one token)
// alike. `denoise` gives a process's prediction for the new tokens; what it leaves in the cache is written over later.
// Lengths: batch, t new tokens, s = slots before + t; the cache holds s + spare slots, so that
// every read of the first s is in bounds whatever the capacity.

import { dimAdd, dimConst, dimValue, dimVar } from "../dim/dim.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Axis, Graph, NodeId } from "../graph/graph.ts";
import type { IntExpr } from "../plan/expr.ts";
import type { StateBuffer } from "../plan/plan.ts";
import { elaborateNetwork } from "../types/elaborate_network.ts";
import type { Model } from "../types/model.ts";
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
  const leaves: ModelLeaves = new ModelLeaves(model, builder, (attribute) => leaves.input(`key.${attribute}`, "i32", [BATCH, keys]));
  const hook = (path: string, k: NodeId, v: NodeId): AttendInputs => ({
    k: cached(leaves, caches, `cache.k.${path}`, path, k, store),
    v: cached(leaves, caches, `cache.v.${path}`, path, v, store),
  });
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
  return { graph: builder.finish(), caches };
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
