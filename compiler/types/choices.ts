// `top` and `pick`: what `choose` of a router may say of single tokens, and what every choice needs: which tokens are there at all,
// which axis counts experts, rows in classes, capacity. Selection has no gradient; it flows through the weights of what was chosen.
// Refuses choices outside a router, scores without one axis of experts, and more experts than there are.

import type { Dim } from "../dim/dim.ts";
import { dimConst, dimDiv, dimEqual, dimValue } from "../dim/dim.ts";
import type { Axis, NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import { CLASS } from "../graph/make.ts";
import type { BuiltinCall, Primitive } from "./builtin_call.ts";
import { bracketAxis, nodeOf, valueOf } from "./builtin_call.ts";
import type { Choosing, Context } from "./context.ts";
import type { Choice } from "./group_scope.ts";
import { numberOf } from "./operators.ts";
import type { Parameter } from "./parameter.ts";
import { axesOf, axesText, refuse } from "./tensors.ts";
import type { Value } from "./values.ts";
import { describe, poison } from "./values.ts";

/** Lower than every score, and finite. */
export const NEVER = -3e38;
const TOKENS = "t";

/** The router that is choosing; undefined after a report. */
export function choosingOf(call: BuiltinCall): Choosing | undefined {
  const { choosing } = call.cx;
  if (choosing) return choosing;
  call.cx.report("E0262", `\`${call.name}\` chooses experts, and this is no router`, call.expr.callee.span, { help: `write it in a router: \`router mine(…) { … choose x[t, d] = ${call.name}(…) }\`` });
  return undefined;
}

export const spanOf = (call: BuiltinCall, name: string) => call.args.get(name)?.value.span ?? call.expr.span;

/** A number that is known when the model is built. `unknown` where a declaration is checked alone; undefined after a report. */
export function numberArg(call: BuiltinCall, name: string, fallback: number, least: number, whole = false): number | "unknown" | undefined {
  if (!call.args.has(name)) return fallback;
  const v = valueOf(call, name);
  if (v.kind === "poison") return undefined;
  const at = spanOf(call, name);
  if (v.kind !== "int" && v.kind !== "axis" && (whole || v.kind !== "float")) {
    return void call.cx.report("E0202", `\`${name}\` of \`${call.name}\` is a ${whole ? "whole " : ""}number, and this is ${describe(v)}`, at);
  }
  const n = numberOf(v);
  if (n === undefined) return "unknown";
  if (n < least) return void call.cx.report("E0319", `\`${name}\` of \`${call.name}\` is ${n}, and at least ${least} is needed`, at);
  return n;
}

export function flagArg(call: BuiltinCall, name: string): boolean | undefined {
  if (!call.args.has(name)) return false;
  const v = valueOf(call, name);
  if (v.kind === "bool") return v.value ?? false;
  if (v.kind !== "poison") call.cx.report("E0202", `\`${name}\` of \`${call.name}\` is \`true\` or \`false\`, and this is ${describe(v)}`, spanOf(call, name));
  return undefined;
}

/** A name that none of these axes has. */
export function freeName(wish: string, taken: readonly string[]): string {
  let name = wish;
  while (taken.includes(name)) name += "'";
  return name;
}

/** The document of each token, -1 for padding. */
function documents(cx: Context): NodeId | undefined {
  cx.made.reads.add("doc");
  return cx.run?.leaves.attribute("query", "doc", cx.run.tokens);
}

/**
 * The axes of which every point is a row: those of the tokens, those of an enclosing expert's rows, and those of the router's input that it
 * does not list and that `said`, its scores, have too.
 */
export function rowAxes(cx: Context, c: Choosing, said: NodeId): Axis[] {
  const doc = documents(cx);
  const tokens = doc === undefined ? [] : axesOf(cx, doc).map((a) => a.name);
  const own = axesOf(cx, c.input).filter((a) => !c.features.includes(a.name) && (tokens.includes(a.name) || axesOf(cx, said).some((x) => x.name === a.name)));
  const outer = cx.group ? axesOf(cx, cx.group.expert).filter((a) => !own.some((x) => x.name === a.name)) : [];
  return [...own, ...outer];
}

/** bool over the rows: padding and tokens outside the branch around are nowhere. */
export function liveRows(cx: Context, make: Make, rows: readonly Axis[]): NodeId {
  const zero = make.const(0, "i32");
  let live = make.le(zero, documents(cx) ?? zero);
  if (cx.group) live = make.and(live, make.le(zero, cx.group.expert));
  return make.expand(live, { dtype: "bool", axes: rows });
}

/** The one axis of `node` that is no row and none of `others`; undefined after a report. */
export function expertsOf(call: BuiltinCall, node: NodeId, at: BuiltinCall["expr"]["span"], rows: readonly Axis[], others: readonly string[] = []): Axis | undefined {
  const { cx } = call;
  if (!rows.some((a) => a.name === TOKENS)) {
    cx.report("E0213", "a router sends the tokens of axis `t`, which its input does not have", cx.choosing?.span ?? at, { label: cx.choosing ? axesText(cx, cx.choosing.input) : undefined });
    return undefined;
  }
  const own = axesOf(cx, node).filter((a) => !others.includes(a.name) && !rows.some((r) => r.name === a.name));
  const [experts] = own;
  if (experts && own.length === 1) {
    const n = dimValue(experts.size);
    if (n === undefined || n >= 1) return experts;
    cx.report("E0319", `axis \`${experts.name}\` would have size ${n}`, at);
    return undefined;
  }
  cx.report("E0258", own.length === 0 ? `${cx.quote(at, "this")} has no axis that counts experts` : `${cx.quote(at, "this")} has ${own.length} axes that could count experts`, at, {
    label: axesText(cx, node), help: own.length === 0 ? "the gate gives one number for each expert: `gate = linear(d, axis experts)`" : `one of ${own.map((a) => `\`${a.name}\``).join(", ")} counts experts; sum over the others`,
  });
  return undefined;
}

/** x at whole numbers along `axis`, as a sum over the axis: its gradient needs no scatter. */
const valueAt = (make: Make, x: NodeId, axis: Axis, index: NodeId): NodeId => make.sum(make.select(make.eq(make.iota(axis), index), x, make.const(0)), axis.name);

/** How many rows went somewhere, as an i32 value. */
export const somewhere = (make: Make, offset: NodeId, experts: Dim): NodeId => make.sum(make.slice(offset, CLASS, experts, dimConst(1)), CLASS);

interface Said extends Pick<Choice, "how" | "experts" | "choice" | "live" | "wanted" | "weights" | "scores" | "choices" | "bias"> {
  readonly capacity: number;
}

/** The choice of rows that go to experts as they are: x is read through the order of its rows, and results are summed over the choice. */
function ofRows(cx: Context, make: Make, said: Said): Choice {
  const { experts, choice, wanted, capacity, weights, scores, bias } = said;
  const first = make.groupBy(wanted, experts.size);
  const none = make.const(-1, "i32");
  const zero = make.const(0, "i32");
  let [expert, grouping] = [wanted, first];
  if (capacity > 0 && cx.run?.leaves.training) {
    const rank = make.sub(make.groupPlace(wanted, first), make.gather(first.offset, CLASS, make.max(wanted, zero)));
    const rows = make.cast(somewhere(make, first.offset, experts.size), "f32");
    // A hair less, so that 1.1 * 20 / 2 is 11 in every precision.
    const most = make.neg(make.floor(make.neg(make.scale(rows, (capacity * (1 - 1e-6)) / (dimValue(experts.size) ?? 1)))));
    expert = make.select(make.lt(make.cast(rank, "f32"), most), wanted, none);
    grouping = make.groupBy(expert, experts.size);
  }
  const there = make.le(zero, expert);
  const kept = weights === undefined ? undefined : make.select(there, weights, make.const(0));
  return {
    how: said.how, experts, choice, live: said.live, wanted, expert, wantedOffset: first.offset, grouping, choices: said.choices, couples: false,
    ...(kept === undefined ? {} : { weights: kept }), ...(scores === undefined ? {} : { scores }), ...(capacity > 0 ? { capacity } : {}), ...(bias ? { bias } : {}),
    dispatch: (x) => ({
      input: x, scope: { expert, grouping, axis: experts },
      back: (y) => {
        const weighed = kept === undefined ? make.select(there, y, make.const(0)) : make.mul(y, kept);
        return make.hasAxis(weighed, choice) ? make.sum(weighed, choice) : weighed;
      },
    }),
  };
}

// ---------------------------------------------------------------- top

function runTop(call: BuiltinCall): Value {
  const { cx, env, expr } = call;
  const c = choosingOf(call);
  const given = nodeOf(call, "scores");
  const by = call.args.has("by") ? nodeOf(call, "by") : given;
  const k = numberArg(call, "k", 1, 1, true);
  const [groups, keep, best] = [numberArg(call, "groups", 1, 1, true), numberArg(call, "keep", 1, 1, true), numberArg(call, "best", 2, 1, true)];
  const [scale, capacity, rate] = [numberArg(call, "scale", 1, -Infinity), numberArg(call, "capacity", 0, 0), numberArg(call, "rate", 0.001, 0)];
  const renormalise = flagArg(call, "renormalise");
  if (!c || given === undefined || by === undefined || k === undefined || groups === undefined || keep === undefined || best === undefined) return poison;
  if (scale === undefined || capacity === undefined || rate === undefined || renormalise === undefined) return poison;
  const rows = rowAxes(cx, c, given);
  const experts = expertsOf(call, given, spanOf(call, "scores"), rows);
  if (!experts) return poison;
  const other = by === given ? experts : expertsOf(call, by, spanOf(call, "by"), rows);
  if (!other) return poison;
  if (other.name !== experts.name || !dimEqual(other.size, experts.size)) {
    return cx.report("E0258", `\`by\` selects along \`${other.name}\`, and the scores count experts along \`${experts.name}\``, spanOf(call, "by"), { also: [{ span: spanOf(call, "scores"), text: axesText(cx, given) }] });
  }
  const bias = biasOf(call, experts, rate === "unknown" ? 0 : rate);
  if (bias === null || !fits(call, experts, k, groups, keep, best)) return poison;
  return cx.emit(env, expr.span, (make): Value => {
    const live = liveRows(cx, make, rows);
    const whole = { dtype: "f32" as const, axes: [...rows, experts] };
    const scores = make.expand(make.cast(given, "f32"), whole);
    let selected = by === given ? scores : make.expand(make.cast(by, "f32"), whole);
    if (bias) selected = make.add(selected, bias.node);
    if (groups !== "unknown" && keep !== "unknown" && best !== "unknown" && keep < groups) selected = keptGroups(make, selected, experts, groups, keep, best);
    const choice = freeName("choice", whole.axes.map((a) => a.name));
    const size = valueOf(call, "k");
    const index = make.topOrder(selected, experts.name, { name: choice, size: k === "unknown" && size.kind === "int" ? size.dim : dimConst(k === "unknown" ? 1 : k) });
    let weights = valueAt(make, scores, experts, index);
    if (renormalise) weights = make.div(weights, make.max(make.sum(weights, choice), make.const(1e-20)));
    if (scale !== "unknown" && scale !== 1) weights = make.scale(weights, scale);
    const wanted = make.select(live, index, make.const(-1, "i32"));
    const said: Said = { how: "top", experts, choice, live, wanted, weights, scores, choices: k === "unknown" ? null : k, capacity: capacity === "unknown" ? 0 : capacity, ...(bias ? { bias } : {}) };
    return { kind: "choice", choice: ofRows(cx, make, said) };
  }, (f) => refuse(cx, f, expr.span, [spanOf(call, "scores")]));
}

/** Scores of experts in the `keep` groups with the largest sums of their `best` scores; NEVER elsewhere. */
function keptGroups(make: Make, scores: NodeId, experts: Axis, groups: number, keep: number, best: number): NodeId {
  const taken = make.type(scores).axes.map((a) => a.name);
  const group: Axis = { name: freeName("group", taken), size: dimConst(groups) };
  const member: Axis = { name: freeName("member", taken), size: dimDiv(experts.size, dimConst(groups)) ?? dimConst(1) };
  const chosen = (x: NodeId, along: Axis, n: number): NodeId => {
    const place: Axis = { name: freeName("place", taken), size: dimConst(n) };
    return make.amax(make.cast(make.eq(make.iota(along), make.topOrder(x, along.name, place)), "i32"), place.name);
  };
  const parts = make.split(scores, experts.name, [group, member]);
  const one = make.const(1, "i32");
  const sums = best === 1 ? make.amax(parts, member.name) : make.sum(make.select(make.eq(chosen(parts, member, best), one), parts, make.const(0)), member.name);
  return make.merge(make.select(make.eq(chosen(sums, group, keep), one), parts, make.const(NEVER)), [group.name, member.name], experts.name);
}

type Known = number | "unknown";

/** Whether so many experts can be chosen; reported where not. */
function fits(call: BuiltinCall, experts: Axis, k: Known, groups: Known, keep: Known, best: Known): boolean {
  const { cx } = call;
  const n = dimValue(experts.size);
  if (n === undefined) return true;
  const bad = (message: string, arg: string): boolean => (cx.report("E0257", message, spanOf(call, arg), { also: [{ span: spanOf(call, "scores"), text: `the scores count ${n} experts` }] }), false);
  if (k !== "unknown" && k > n) return bad(`${k} experts are chosen, and there are ${n}`, "k");
  if (groups === "unknown") return true;
  if (n % groups !== 0) return bad(`${n} experts do not make ${groups} equal groups`, "groups");
  if (keep === "unknown" || groups === 1) return true;
  if (keep > groups) return bad(`${keep} groups are kept, and there are ${groups}`, "keep");
  if (k !== "unknown" && k > keep * (n / groups)) return bad(`${k} experts are chosen, and the groups that are kept have ${keep * (n / groups)}`, "k");
  if (best !== "unknown" && best > n / groups) return bad(`a group is ranked by its ${best} best experts, and has ${n / groups}`, call.args.has("best") ? "best" : "groups");
  return true;
}

/** The weight of `balance`; undefined where there is none, null after a report. */
function biasOf(call: BuiltinCall, experts: Axis, rate: number): (Required<Pick<Choice, "bias">>["bias"] & { readonly node: NodeId }) | undefined | null {
  const { cx, env } = call;
  const v = valueOf(call, "balance");
  const at = spanOf(call, "balance");
  if (v.kind === "absent") return undefined;
  if (v.kind === "poison") return null;
  const bad = (message: string, p?: Parameter): null => {
    cx.report("E0260", message, at, { also: p ? [{ span: p.span, text: "declared here" }] : [], help: `declare it in the router: \`param bias[${experts.name}] ~ zeros\`` });
    return null;
  };
  if (v.kind !== "weight") return bad(`\`balance\` is a weight that follows the load of the experts, and this is ${describe(v)}`);
  const p = v.parameter;
  if ((p.experts ?? []).length > 0) return bad("inside an expert nothing follows the load of the experts", p);
  const own = p.axes;
  const [axis] = own;
  if (!axis || own.length !== 1 || axis.name !== experts.name || !dimEqual(axis.size, experts.size)) {
    return bad(`${cx.quote(at, "the weight")} has axes ${own.map((a) => `\`${a.name}\``).join(", ") || "none"}, and one number for each expert is needed`, p);
  }
  // In a layer that is frozen as a whole the bias stays where it is, as all else does.
  if (p.frozen && !p.frozenWithin) return bad(`${cx.quote(at, "the weight")} is frozen, and balancing moves it`, p);
  if (p.init.kind !== "zeros") return bad(`${cx.quote(at, "the weight")} does not start at zero, so some experts would be preferred from the start`, p);
  (p as { balance?: number }).balance = rate;
  const t = cx.evaluate.tensorOf(cx, v, at, env);
  return t.kind === "tensor" ? { parameter: p, rate, node: t.node } : null;
}

// ---------------------------------------------------------------- pick

function runPick(call: BuiltinCall): Value {
  const { cx, env, expr } = call;
  const c = choosingOf(call);
  const item = expr.brackets?.items[0];
  const experts = item && bracketAxis(call, item);
  const index = nodeOf(call, "index");
  if (!c || !experts || index === undefined) return poison;
  const rows = rowAxes(cx, c, index);
  const at = spanOf(call, "index");
  if (cx.run?.builder.type(index).dtype !== "i32") return cx.report("E0219", "`pick` takes the number of an expert, and this is no whole number", at, { help: "`int(…)` leaves the fraction off" });
  const more = axesOf(cx, index).find((a) => !rows.some((r) => r.name === a.name));
  if (more) return cx.report("E0258", `\`pick\` takes one whole number a token, and ${cx.quote(at, "this")} has an axis \`${more.name}\``, at, { label: axesText(cx, index) });
  return cx.emit(env, expr.span, (make): Value => {
    const live = liveRows(cx, make, rows);
    const none = make.const(-1, "i32");
    const one = make.and(make.le(make.const(0, "i32"), index), make.lt(index, make.const(dimValue(experts.size) ?? 1, "i32")));
    const choice = freeName("choice", [...rows, experts].map((a) => a.name));
    const wanted = make.broadcast(make.select(make.and(live, one), index, none), { name: choice, size: dimConst(1) });
    return { kind: "choice", choice: ofRows(cx, make, { how: "pick", experts, choice, live, wanted, choices: 1, capacity: 0 }) };
  }, (f) => refuse(cx, f, expr.span, [at]));
}

export const choicePrimitives: Readonly<Record<"top" | "pick", Primitive>> = {
  top: {
    signature: "top(k, scores, by: scores, balance: bias, rate: 0.001, groups: 1, keep: 1, best: 2, renormalise: false, scale: 1.0, capacity: 0.0)",
    doc: "In a router: each token goes to the k experts with the largest scores, weighted by them.", brackets: "none",
    args: ["k", "scores", "by?", "balance?", "rate?", "groups?", "keep?", "best?", "renormalise?", "scale?", "capacity?"], run: runTop,
  },
  pick: {
    signature: "pick[experts](index)", doc: "In a router: each token goes to the expert of this number, with weight 1. A number that no expert has sends it nowhere.",
    brackets: "one", args: ["index"], run: runPick,
  },
};
