// Whether an embed or a head works on every token by itself. In: a Model and a stream. Out: yes or no; no where in doubt.
// What joins tokens (attention, a mean over them, a router that ranks them) gives other numbers when some tokens are left out.

import { GraphBuilder, originAt } from "../graph/builder.ts";
import type { Node, NodeId } from "../graph/graph.ts";
import { elaborateNetwork } from "../types/elaborate_network.ts";
import type { Model, Stream } from "../types/model.ts";
import { BATCH, ModelLeaves, TOKENS } from "./leaves.ts";
import { axis } from "./ops_on.ts";

/** `part` of the stream applied to nothing but its input: every step keeps the axis of the tokens and moves nothing along it. */
export function isTokenwise(model: Model, stream: Stream, part: "embed" | "head"): boolean {
  const builder = new GraphBuilder("tokenwise");
  const network = elaborateNetwork(model, builder, new ModelLeaves(model, builder).leaves(undefined, true));
  const own = part === "embed" ? stream.axis : model.network.width;
  const discrete = part === "embed" && stream.kind === "text";
  const type = { dtype: discrete ? "i32" as const : "f32" as const, axes: [BATCH, TOKENS, ...(discrete ? [] : [axis(own.name, own.size)])] };
  const input = builder.add("input", [], { name: "tokenwise", type }, originAt(part));
  network[part](stream.name, input);
  const from = new Set<NodeId>([input]);
  for (let id = input + 1; id < builder.size; id++) {
    const n = builder.node(id);
    if (!n.args.some((a) => from.has(a))) continue;
    if (!keepsTokens(n)) return false;
    from.add(id);
  }
  return true;
}

function keepsTokens(n: Node): boolean {
  if (!n.type.axes.some((a) => a.name === TOKENS.name) || n.op.startsWith("attend")) return false;
  const along = "axis" in n.attrs ? n.attrs.axis : undefined;
  return !(typeof along === "string" ? along === TOKENS.name : along?.name === TOKENS.name);
}
