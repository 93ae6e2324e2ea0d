// Model -> the `forward` graph: whole rows of tokens to what every head says of every token, without caches, noise or loss.
// Outputs: `<stream>.logits` [batch, t, vocab] of text, `<stream>.out` [batch, t, features] of a continuous stream, whose
// features go in as `<stream>.clean`, noised or not, with `<process>.level` saying which.

import { GraphBuilder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { elaborateNetwork } from "../types/elaborate_network.ts";
import type { Model } from "../types/model.ts";
import { ModelLeaves } from "./leaves.ts";

export function lowerForward(model: Model): Graph {
  const builder = new GraphBuilder("forward");
  const leaves = new ModelLeaves(model, builder);
  const network = elaborateNetwork(model, builder, leaves.leaves());
  const h = network.body(leaves.embed(network, (s) => leaves.clean(s)), leaves.beside(network));
  for (const s of model.streams)
    if (model.network.head.has(s.name)) builder.output(s.kind === "text" ? `${s.name}.logits` : `${s.name}.out`, network.head(s.name, h));
  return builder.finish();
}
