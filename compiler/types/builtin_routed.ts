// Built-in functions of routed layers: `routed`, `frozen`, and what `dot` and `gather` do with weights that each row has its own of.
// In: the call. Out: a layer, or a tensor; undefined where a product or look-up is an ordinary one.

import { dimText } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { BuiltinCall, Primitive } from "./builtin_call.ts";
import { nodeOf, valueOf } from "./builtin_call.ts";
import type { Context } from "./context.ts";
import { makeFrozen, makeRouted } from "./routed.ts";
import { stackedDot, stackedRows } from "./stacks.ts";
import { besideLength } from "./streams.ts";
import { refuse } from "./tensors.ts";
import type { Value } from "./values.ts";
import { poison } from "./values.ts";

export const routedPrimitives: Readonly<Record<string, Primitive>> = {
  routed: {
    signature: "routed(route, layer, alike: false)", doc: "One copy of the layer for every branch of a route, or every expert of a router. Branches may have layers of their own, by name: `routed(modality, understand: a, generate: b)`. `alike: true`: all experts start with the same values.",
    brackets: "none", args: ["route", "layer?", "alike?"], named: true, run: makeRouted,
  },
  frozen: { signature: "frozen(layer)", doc: "The layer, with weights that are not trained.", brackets: "none", args: ["layer"], run: makeFrozen },
};

/** `dot` with a weight that rows have each their own of. Undefined where it is an ordinary product. */
export function stackedProduct(call: BuiltinCall, axes: readonly string[]): Value | undefined {
  const { cx, env, expr } = call;
  const [a, b] = [valueOf(call, "a"), valueOf(call, "b")];
  if ([a, b].some((v) => v.kind === "weight" && v.by) && cx.withoutTokens("a weight by a route", expr.span)) return poison;
  const [w, x] = a.kind === "weight" ? [a, "b"] : b.kind === "weight" ? [b, "a"] : [undefined, ""];
  if (!w || (a.kind === "weight" && b.kind === "weight") || !(cx.group || w.by)) return undefined;
  const node = nodeOf(call, x);
  if (node === undefined) return poison;
  let plain = false;
  const out = cx.emit(env, expr.span, (make) => {
    const product = stackedDot(cx, make, node, w, axes);
    if (product !== undefined && besideSequence(cx, make, node)) {
      return cx.report("E0256", `${cx.quote(call.args.get(x)?.value.span ?? expr.span, "this")} stands beside the sequence, and this weight goes by tokens of the sequence`, call.args.get(x)?.value.span ?? expr.span, {
        also: [{ span: w.parameter.span, text: "one for each branch" }], help: "give it a weight that is one for all branches, or each branch a layer of its own: `routed(route, a: …, b: …)`",
      });
    }
    return product ?? ((plain = true), poison);
  }, (f) => refuse(cx, f, expr.span, [x, x === "a" ? "b" : "a"].map((n) => call.args.get(n)?.value.span ?? expr.span)));
  return plain ? undefined : out;
}

/** `gather` from a weight that rows have each their own of. Undefined where it is one table. */
export function stackedLookUp(call: BuiltinCall, axis: string): Value | undefined {
  const { cx, env, expr } = call;
  const w = valueOf(call, "table");
  if (w.kind !== "weight" || !(cx.group || w.by)) return undefined;
  const index = nodeOf(call, "index");
  if (index === undefined) return poison;
  let plain = false;
  const out = cx.emit(env, expr.span, (make) => stackedRows(cx, make, w, axis, index) ?? ((plain = true), poison), (f) => refuse(cx, f, expr.span, [...call.args.values()].map((a) => a.value.span)));
  return plain ? undefined : out;
}

/** Whether a value lies along a row of tokens beside the sequence, and not along the sequence. */
function besideSequence(cx: Context, make: Make, x: NodeId): boolean {
  const axes = make.type(x).axes;
  return !axes.some((a) => a.name === "t") && axes.some((a) => cx.besides.some((s) => dimText(a.size) === besideLength(s)));
}
