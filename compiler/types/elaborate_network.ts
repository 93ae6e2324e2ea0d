// A checked model's layers on the graph builder of a program. In: Model, builder, leaves. Out: embed, body, head as functions.
// The layers are those the check made, so weights and paths are the same in every program. A diagnostic here is a bug.

import { dimConst, dimVar } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { originAt } from "../graph/builder.ts";
import type { NodeId } from "../graph/graph.ts";
import { Make } from "../graph/make.ts";
import { newRun } from "./context.ts";
import { newContext } from "./elaborate.ts";
import type { GroupScope } from "./group_scope.ts";
import { applyLayer, takes } from "./layers.ts";
import type { Model } from "./model.ts";
import type { ElaborateNetwork, Leaves, Network } from "./network.ts";
import type { LayerValue } from "./values.ts";
import { besideLength } from "./streams.ts";
import { tensor } from "./values.ts";

export const elaborateNetwork: ElaborateNetwork = (model: Model, builder: GraphBuilder, leaves: Leaves): Network => {
  const cx = newContext();
  cx.attributes = model.attributes.map((a) => a.name);
  for (const a of model.attributes) if (a.formula) cx.formulas.set(a.name, () => a.formula);
  cx.modelScope = model.network.scope;
  cx.besides = model.streams.filter((s) => s.beside).map((s) => s.name);
  const main = newRun(builder, leaves);
  const apply = (layer: LayerValue | undefined, what: string, x: NodeId, beside: readonly NodeId[] = [], run = main, only?: NodeId): NodeId => {
    if (!layer) throw new Error(`model ${model.name} has no ${what}`);
    cx.run = run;
    cx.group = only === undefined ? null : scopeOf(builder, only, what);
    run.layer = 0;
    run.cross = 0;
    const wanted = takes(layer);
    const out = applyLayer(cx, layer, wanted === 0 ? [] : wanted === 1 ? [tensor(x)] : [x, ...beside].map(tensor), layer.span);
    cx.group = null;
    const [first] = cx.diagnostics();
    if (first) throw new Error(`${what} of a checked model does not elaborate: ${first.code} ${first.message}`);
    if (out.kind !== "tensor") throw new Error(`${what} of a checked model gives no tensor`);
    return out.node;
  };
  return {
    embed: (stream, input, only) => {
      const row = model.streams.some((s) => s.name === stream && s.beside) ? newRun(builder, leaves, dimVar(besideLength(stream))) : main;
      return apply(model.network.embed.get(stream), `embed of ${stream}`, input, [], row, only);
    },
    body: (x, beside = []) => apply(model.network.body, "body", x, beside),
    head: (stream, h, only) => apply(model.network.head.get(stream), `head of ${stream}`, h, [], main, only),
    routings: () => cx.made.routings,
  };
};

/** One class for every weight: the tokens that are wanted. */
function scopeOf(builder: GraphBuilder, only: NodeId, what: string): GroupScope {
  const size = dimConst(1);
  return { expert: only, grouping: new Make(builder, originAt(what)).groupBy(only, size), axis: { name: "#only", size }, every: true };
}
