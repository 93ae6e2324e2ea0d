// What a training program says of its routed layers. In: the RoutingNotes of a network that was applied. Out: terms of the loss, one
// vector `routing` of how many rows went where, and what moves the biases that balance experts, which autodiff never touches.
// Terms are means over one run of the program; `share` (1 / micro-batches) makes their sum over a step a mean again.

import { dimConst } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { NodeId } from "../graph/graph.ts";
import { CLASS, Make } from "../graph/make.ts";
import type { RouterSpec } from "../plan/manifest.ts";
import type { RoutingNote } from "../types/network.ts";
import type { Parameter } from "../types/parameter.ts";
import { axis, OpsOn } from "./ops_on.ts";

/** One entry a routed layer. Names of outputs are unique even where a layer is applied twice. */
export function routerSpecs(notes: readonly RoutingNote[]): RouterSpec[] {
  const taken = new Map<string, number>();
  const unique = (name: string): string => {
    const n = (taken.get(name) ?? 0) + 1;
    taken.set(name, n);
    return n === 1 ? name : `${name}#${n}`;
  };
  let offset = 0;
  return notes.map((n) => {
    const at = offset;
    offset += n.experts + 1;
    return {
      path: n.path, route: n.route, learned: n.learned, experts: n.experts, branches: n.branches, offset: at,
      losses: n.losses.map((l) => ({ name: l.name, output: unique(`loss.${n.path}.${l.name}`) })),
    };
  });
}

/** Makes each term an output and gives them all, to be added to the loss. */
export function routerLosses(builder: GraphBuilder, notes: readonly RoutingNote[], share: () => NodeId): NodeId[] {
  return routerSpecs(notes).flatMap((spec, i) =>
    spec.losses.flatMap(({ output }, j) => {
      const term = notes[i]?.losses[j];
      if (!term) return [];
      const o = new OpsOn(builder, { spans: [term.span], path: output, via: [] });
      const node = o.bin("mul", term.node, share());
      builder.output(output, node);
      return [node];
    }),
  );
}

/** The output `routing`: i32, what `RouterSpec.offset` says. */
export function routingOutput(builder: GraphBuilder, notes: readonly RoutingNote[]): void {
  const parts = notes.flatMap((n) => {
    const o = onNote(builder, n);
    return [loadOf(o, n.experts, n.offset), o.add("broadcast", [n.wanted], { axis: axis(CLASS, dimConst(1)) })];
  });
  const [first] = parts;
  if (first === undefined) return;
  const o = new OpsOn(builder, { spans: [], path: "routing", via: [] });
  builder.output("routing", parts.length === 1 ? first : o.add("concat", parts, { axis: CLASS }));
}

/** What stands in for the gradient of each bias: load - mean load, times the number of experts so that it is whole. Its sign moves the bias. */
export function balanceOutputs(builder: GraphBuilder, notes: readonly RoutingNote[]): void {
  const found = new Map<string, { readonly parameter: Parameter; readonly node: NodeId }>();
  for (const n of notes) {
    const { parameter, offset } = n.bias ?? {};
    if (!parameter || offset === undefined || parameter.frozen) continue;
    const o = onNote(builder, n);
    const load = loadOf(o, n.experts, offset);
    const total = o.sum(load, [CLASS]);
    const over = o.cast(o.bin("sub", o.num("mul", load, n.experts), total), "f32");
    const old = found.get(parameter.path)?.node;
    found.set(parameter.path, { parameter, node: old === undefined ? over : o.bin("add", old, over) });
  }
  for (const { parameter: p, node } of found.values()) {
    const [experts] = p.axes;
    if (p.axes.length !== 1 || !experts) throw new Error(`${p.path} balances experts and has ${p.axes.length} axes`);
    const o = new OpsOn(builder, { spans: [p.span], path: p.path, via: [] });
    builder.output(`grads/${p.path}`, o.add("rename", [node], { from: CLASS, to: experts.name }), `grads/${p.path}`);
  }
}

const onNote = (builder: GraphBuilder, n: RoutingNote): OpsOn => new OpsOn(builder, { spans: [n.span], path: n.path, via: [] });

/** i32[class: experts]: rows of each expert. */
const loadOf = (o: OpsOn, experts: number, offset: NodeId): NodeId => new Make(o.builder, o.origin).groupLoad(offset, axis(CLASS, dimConst(experts)));
