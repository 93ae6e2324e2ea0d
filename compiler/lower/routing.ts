// Model -> the `routing` graph: where every routed layer sends the tokens of a batch. In: a checked Model, and which of its layers.
// Out: for layer i `routing.<i>.expert` i32[batch, t, others], `routing.<i>.weight` on the same axes where there are weights, and
// `routing.<i>.share` f32[batch, t, experts] of soft mixtures. Predicted numbers are noised as in training; capacity, jitter and
// noise of gates are off, as when generating. Layers on rows beside the sequence are left out.

import { dimEqual, dimVar } from "../dim/dim.ts";
import { behind } from "../graph/behind.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph, NodeId } from "../graph/graph.ts";
import { Make } from "../graph/make.ts";
import { elaborateNetwork } from "../types/elaborate_network.ts";
import { routedOf } from "../types/flow.ts";
import type { Model, RoutedLayer } from "../types/model.ts";
import type { RoutingNote } from "../types/network.ts";
import { ModelLeaves } from "./leaves.ts";
import { bodyOf } from "./train.ts";

export interface RoutingLayer {
  readonly layer: RoutedLayer;
  /** Where a token goes depends on weights; else its attributes decide. */
  readonly weighed: boolean;
}

/** The layers that the graph speaks of, in the order of application: number i there is place i here. */
export function routingLayers(model: Model): RoutingLayer[] {
  const builder = new GraphBuilder("routing");
  const notes = notesOf(model, builder);
  const layers = routedOf(notes);
  return notes.flatMap((n, i) => (layers[i] ? [{ layer: layers[i], weighed: readsWeights(builder, n.expert) || (n.dispatch !== "route" && n.weights !== undefined && readsWeights(builder, n.weights)) }] : []));
}

/** `only`: numbers of layers; all of them unless told. */
export function lowerRouting(model: Model, only?: readonly number[]): Graph {
  const builder = new GraphBuilder("routing");
  notesOf(model, builder).forEach((n, i) => {
    if (only && !only.includes(i)) return;
    const make = new Make(builder, { spans: [n.span], path: n.path, via: [] });
    // A copy, whose order of axes is nobody else's matter.
    const output = (name: string, node: NodeId, axes: readonly string[]): void => builder.output(`routing.${i}.${name}`, builder.ordered(make.cast(node, make.type(node).dtype), axes, make.origin));
    const rest = make.type(n.expert).axes.filter((a) => a.name !== "batch" && a.name !== "t").map((a) => a.name);
    output("expert", n.expert, ["batch", "t", ...rest]);
    if (n.dispatch === "soft" && n.scores !== undefined) {
      const experts = make.type(n.scores).axes.filter((a) => a.name !== "batch" && a.name !== "t").map((a) => a.name);
      output("share", n.scores, ["batch", "t", ...experts]);
    } else if (n.weights !== undefined) output("weight", make.expand(n.weights, { dtype: "f32", axes: make.type(n.expert).axes }), ["batch", "t", ...rest]);
  });
  return builder.finish();
}

/** The notes of the layers that tokens of the sequence go through. */
function notesOf(model: Model, builder: GraphBuilder): RoutingNote[] {
  const leaves = new ModelLeaves(model, builder);
  const network = elaborateNetwork(model, builder, leaves.leaves());
  const { h } = bodyOf(leaves, network);
  for (const s of model.streams) if (model.network.head.has(s.name)) network.head(s.name, h);
  return network.routings().filter((n) => builder.type(n.expert).axes.some((a) => a.name === "t" && dimEqual(a.size, dimVar("t"))));
}

function readsWeights(b: GraphBuilder, from: NodeId): boolean {
  for (const n of behind(b, from)) if (n.op === "state") return true;
  return false;
}
