// In: a graph. Out: every rule of the form that it breaks, empty when it is sound. Run at each pass boundary and in tests.
// Whatever it finds is a bug of the pass before it, not of the user.

import { dimEqual } from "../dim/dim.ts";
import { tensorType } from "./attrs.ts";
import { fixedOrder, lengthsOf } from "./builder.ts";
import type { Graph, NodeId, Origin, TensorType } from "./graph.ts";
import { inferType } from "./infer.ts";
import { isInferError } from "./infer_checks.ts";

export interface GraphProblem {
  readonly message: string;
  readonly node?: NodeId;
  readonly origin?: Origin;
}

/** Same dtype, same axes in the same order. */
export const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && a.axes.length === b.axes.length && a.axes.every((x, i) => x.name === b.axes[i]?.name && dimEqual(x.size, b.axes[i].size));

/** Same dtype, same set of axes: what a state needs of its new value, which is stored in the state's order. */
export const sameAxes = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && a.axes.length === b.axes.length && a.axes.every((x) => b.axes.some((y) => y.name === x.name && dimEqual(x.size, y.size)));

export function verifyGraph(graph: Graph): readonly GraphProblem[] {
  const problems: GraphProblem[] = [];
  const states = new Map<string, TensorType>();
  const inputs = new Map<string, TensorType>();
  graph.nodes.forEach((n, i) => {
    const report = (message: string): void => void problems.push({ message: `${n.op}: ${message}`, node: i, origin: n.origin });
    if (n.id !== i) report(`has id ${n.id} at place ${i}`);
    if (n.origin.path === "" && n.origin.spans.length === 0) report("has no origin");
    const late = n.args.find((a) => a >= i || a < 0 || !Number.isInteger(a));
    if (late !== undefined) return report(`reads ${late}, which does not come before it`);
    const args = n.args.map((a) => graph.nodes[a]?.type ?? { dtype: "f32" as const, axes: [] });
    const type = inferType(n.op, n.attrs, args);
    if (isInferError(type)) report(type.message);
    else if (!(fixedOrder.has(n.op) ? sameType : sameAxes)(type, n.type)) report(`has type ${tensorType.print(n.type)}, but its operands make ${tensorType.print(type)}`);
    if (n.op === "state" || n.op === "input") {
      const seen = n.op === "state" ? states : inputs;
      const before = seen.get(n.attrs.name);
      if (before && !sameType(before, n.type)) report(`\`${n.attrs.name}\` has two types`);
      seen.set(n.attrs.name, n.type);
    }
  });
  const names = new Set<string>();
  const written = new Set<string>();
  for (const o of graph.outputs) {
    const node = graph.nodes[o.node];
    const report = (message: string): void => void problems.push({ message: `output ${o.name}: ${message}`, node: o.node, origin: node?.origin });
    if (names.has(o.name)) report("is named twice");
    names.add(o.name);
    if (!node) report("has no node");
    if (o.into === undefined) continue;
    if (written.has(o.into)) report(`state \`${o.into}\` is written twice`);
    written.add(o.into);
    const state = states.get(o.into);
    if (node && state && !sameAxes(state, node.type)) report(`${tensorType.print(node.type)} does not fit state \`${o.into}\` of ${tensorType.print(state)}`);
  }
  for (const l of lengthsOf(graph.nodes)) if (!graph.lengths.includes(l)) problems.push({ message: `length \`${l}\` is not declared` });
  return problems;
}

/** Throws when the graph is unsound; `when` names the pass. */
export function assertGraph(graph: Graph, when: string): void {
  const problems = verifyGraph(graph);
  if (problems.length === 0) return;
  const lines = problems.slice(0, 10).map((p) => `  ${p.origin?.path ?? ""} %${p.node ?? ""} ${p.message}`);
  throw new Error(`graph ${graph.name} is unsound ${when}:\n${lines.join("\n")}`);
}
