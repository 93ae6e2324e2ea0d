// How tokens come to know of each other in the network: its attentions in the order of application, and which feed which.
// In: the graph on which the network was applied once. Out: one Step an attention, or an op that mixes all tokens (`mean[t](x)`, an
// expert's choice among them).
// What is not a step works on each token by itself, so what a token can depend on is decided by the steps alone.

import { dimText } from "../dim/dim.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node, NodeId } from "../graph/graph.ts";
import { and, attr, mapExpr, type ScalarExpr } from "../scalar/expr.ts";
import { exprText } from "../scalar/print.ts";
import type { Attention, RoutedLayer, Step } from "./model.ts";
import type { RoutingNote } from "./network.ts";

/** The length of the sequence. What lies in a row beside it is given, and never made of what the sequence holds. */
const TOKENS = "t";

/** Ops other than attention whose result for one token depends on others. */
function mixes(b: GraphBuilder, n: Node): boolean {
  const along = (names: readonly string[]): boolean => n.args.some((a) => b.type(a).axes.some((x) => names.includes(x.name) && dimText(x.size) === TOKENS));
  switch (n.op) {
    case "sum": case "amax": case "dot": return along(n.attrs.axes);
    case "top": case "argmax": case "slice": case "concat": case "gather": return along([n.attrs.axis]);
    default: return false;
  }
}

/** Attention of the sequence to itself, not to or within a row beside it. */
function attends(b: GraphBuilder, n: Node): boolean {
  if (n.op !== "attend") return false;
  const [q, k] = n.args;
  const long = (node: number | undefined, axis: string): boolean => node !== undefined && b.type(node).axes.some((x) => x.name === axis && dimText(x.size) === TOKENS);
  return long(q, n.attrs.query) && long(k, n.attrs.key);
}

const toKey = (e: ScalarExpr): ScalarExpr => mapExpr(e, (x) => (x.kind === "attr" ? attr("k", x.name, x.type) : x));
const within = (path: string, of: string): boolean => path === of || path.startsWith(`${of}.`);

/** What a note says of every application. */
export const routedOf = (notes: readonly RoutingNote[]): RoutedLayer[] =>
  notes.map(({ path, route, dispatch, experts, branches, choices, capacity, couples, span, router, rows }) => ({ path, route, dispatch, experts, branches, choices, couples, span, ...(capacity === undefined ? {} : { capacity }), ...(router ? { router } : {}), ...(rows ? { rows } : {}) }));

/** The nodes that these read, and they themselves. */
function behind(b: GraphBuilder, from: readonly NodeId[]): boolean[] {
  const out = Array.from({ length: b.size }, () => false);
  for (const id of from) out[id] = true;
  for (let id = b.size - 1; id >= 0; id--) if (out[id]) for (const a of b.node(id).args) out[a] = true;
  return out;
}

/** `results`: what the heads of the network give. What routers say of themselves (loads, losses) counts all tokens and leads to none of them. */
export function flowOf(b: GraphBuilder, attentions: readonly Attention[], routed: readonly RoutedLayer[], results: readonly NodeId[]): Step[] {
  const leads = behind(b, results);
  const routers = routed.filter((r) => r.couples);
  const steps: Step[] = [];
  /** By node: the steps above it that no other one of them has read. */
  const above: (readonly number[])[] = [];
  const before: ReadonlySet<number>[] = [];
  const named = new Set<Attention>();
  for (let id = 0; id < b.size; id++) {
    const n = b.node(id);
    const found = [...new Set(n.args.flatMap((a) => above[a] ?? []))];
    const last = found.filter((s) => !found.some((t) => before[t]?.has(s)));
    if (!leads[id] || (!attends(b, n) && !mixes(b, n))) {
      above.push(last);
      continue;
    }
    const here = n.op === "attend" ? attentions.filter((a) => n.origin.path === a.path) : [];
    const alike = here.filter((a) => (a.mask && n.op === "attend" && n.attrs.mask ? exprText(n.attrs.mask).includes(exprText(a.mask.expr)) : !a.mask));
    const attention = alike.find((a) => !named.has(a)) ?? alike[0] ?? here[0];
    if (attention) named.add(attention);
    before.push(new Set(last.flatMap((s) => [s, ...(before[s] ?? [])])));
    above.push([steps.length]);
    // Of nested routers the inner one.
    const router = n.op === "attend" ? undefined : routers.filter((r) => within(n.origin.path, r.path) || (r.router && within(n.origin.path, r.router.path))).sort((x, y) => y.path.length - x.path.length)[0];
    // In a branch of a route its tokens are chosen among, and no others.
    const mask = n.op === "attend" ? n.attrs.mask : router?.rows && and(router.rows, toKey(router.rows));
    steps.push({ mask, heads: attention?.heads ?? 1, attention, after: last, span: attention?.span ?? router?.router?.span ?? n.origin.spans[0], ...(router ? { router } : {}) });
  }
  return steps;
}
