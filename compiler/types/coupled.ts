// `expert_choice` and `soft`: choices in which tokens of one sample compete, so that where a token goes depends on others.
// In: scores or logits over tokens and experts. Out: a Choice whose experts get slots instead of tokens, on an axis called `t`, so that
// a layer that asks for tokens takes them; nothing of experts x tokens x width is ever made.
// Refuses both inside another expert, whose rows are no sample.

import type { Dim } from "../dim/dim.ts";
import { dimConst, dimMul, dimScale, dimValue } from "../dim/dim.ts";
import type { Axis, NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { BuiltinCall, Primitive } from "./builtin_call.ts";
import { bracketName, nodeOf } from "./builtin_call.ts";
import { choosingOf, expertsOf, freeName, liveRows, NEVER, numberArg, rowAxes, somewhere, spanOf } from "./choices.ts";
import type { Choosing } from "./context.ts";
import type { Choice } from "./group_scope.ts";
import { axesOf, axesText, refuse } from "./tensors.ts";
import type { Value } from "./values.ts";
import { poison } from "./values.ts";

const TOKENS = "t";

/** The router, where tokens may compete; undefined after a report. */
function ofSample(call: BuiltinCall): Choosing | undefined {
  const c = choosingOf(call);
  // In a branch of a route the tokens of the branch compete; the rows of a router's expert are no sample.
  let group = call.cx.group ?? undefined;
  while (group?.sees) group = group.outer;
  if (!c || !group) return c;
  call.cx.report("E0263", `\`${call.name}\` lets the tokens of a sample compete, and inside an expert there are only those that were sent to it`, c.span, {
    also: [{ span: call.expr.callee.span, text: `router \`${c.router}\` chooses here` }], help: "inside an expert, choose token by token: `top(k, scores)`",
  });
  return undefined;
}

const product = (axes: readonly Axis[]): Dim => axes.reduce((p, a) => dimMul(p, a.size), dimConst(1));

// ---------------------------------------------------------------- expert choice

function runExpertChoice(call: BuiltinCall): Value {
  const { cx, env, expr } = call;
  const c = ofSample(call);
  const given = nodeOf(call, "scores");
  const k = numberArg(call, "k", 1, 1, true);
  if (!c || given === undefined || k === undefined) return poison;
  const rows = rowAxes(cx, c, given);
  const at = spanOf(call, "scores");
  const experts = expertsOf(call, given, at, rows);
  if (!experts) return poison;
  const n = dimValue(experts.size);
  if (n !== undefined && k !== "unknown" && k > n) return cx.report("E0257", `a token would go to ${k} experts on average, and there are ${n}`, spanOf(call, "k"), { also: [{ span: at, text: `the scores count ${n} experts` }] });
  const most = k === "unknown" ? 1 : k;
  return cx.emit(env, expr.span, (make): Value => {
    const live = liveRows(cx, make, rows);
    const names = [...rows.map((a) => a.name), experts.name];
    const choice: Axis = { name: freeName("choice", names), size: experts.size };
    const scores = make.expand(make.cast(given, "f32"), { dtype: "f32", axes: [...rows, experts] });
    const own = make.rename(scores, experts.name, choice.name);
    const chosen = bestTokens(make, own, live, most, n ?? 1, freeName("other", names));
    const expert = make.select(chosen, make.iota(choice), make.const(-1, "i32"));
    const grouping = make.groupBy(expert, experts.size, [...rows.map((a) => a.name), choice.name]);
    const weights = make.select(chosen, own, make.const(0));
    const made: Choice = {
      how: "expert_choice", experts, choice: choice.name, live, wanted: expert, expert, wantedOffset: grouping.offset, grouping, weights, scores, choices: null, couples: true,
      dispatch: (x) => toSlots(make, x, made, rows, most),
    };
    return { kind: "choice", choice: made };
  }, (f) => refuse(cx, f, expr.span, [at]));
}

/** bool[.., t, choice]: whether a token is among the floor(k * tokens / experts) best ones of its sample for an expert; of equals the earlier. */
function bestTokens(make: Make, scores: NodeId, live: NodeId, k: number, experts: number, other: string): NodeId {
  const theirs = make.rename(scores, TOKENS, other);
  const place = make.iota(make.axis(scores, TOKENS));
  const before = make.and(make.eq(theirs, scores), make.lt(make.rename(place, TOKENS, other), place));
  const ahead = make.and(make.or(make.lt(scores, theirs), before), make.rename(live, TOKENS, other));
  const rank = make.sum(make.cast(ahead, "i32"), other);
  const tokens = make.sum(make.cast(live, "i32"), TOKENS);
  const quota = make.op("div", [make.scale(tokens, k), make.const(experts, "i32")], {});
  return make.and(live, make.lt(rank, quota));
}

/** Pairs of an expert and a token of its own, side by side: sorted by expert, never more than k times the tokens. */
function toSlots(make: Make, x: NodeId, c: Choice, rows: readonly Axis[], k: number): ReturnType<Choice["dispatch"]> {
  const { experts, grouping } = c;
  const n = make.const(dimValue(experts.size) ?? 1, "i32");
  const slot: Axis = { name: TOKENS, size: dimScale(product(rows), k) };
  const pair = make.rename(make.slice(grouping.order, "slot", dimConst(0), slot.size), "slot", TOKENS);
  const filled = make.lt(make.iota(slot), somewhere(make, grouping.offset, experts.size));
  const zero = make.const(0, "i32");
  const token = make.select(filled, make.div(pair, n), zero);
  const expert = make.select(filled, make.mod(pair, n), make.const(-1, "i32"));
  const own = make.groupBy(expert, experts.size);
  const flat = (y: NodeId, axes: readonly string[], into: string): NodeId => {
    const [first, second] = axes;
    return first !== undefined && second === undefined ? make.rename(y, first, into) : make.merge(y, axes, into);
  };
  const names = rows.map((a) => a.name);
  return {
    input: make.gather(flat(x, names, "token'"), "token'", token),
    slots: true, scope: { expert, grouping: own, axis: experts },
    back: (y) => {
      const each = make.gather(flat(c.weights ?? zero, [...names, c.choice], "pair'"), "pair'", make.select(filled, pair, zero));
      const weighed = make.select(filled, make.mul(y, each), make.const(0));
      const out = make.scatterAdd(weighed, { name: "token'", size: product(rows) }, token);
      const [first, second] = rows;
      return first && !second ? make.rename(out, "token'", first.name) : make.split(out, "token'", rows);
    },
  };
}

// ---------------------------------------------------------------- soft mixtures

function runSoft(call: BuiltinCall): Value {
  const { cx, env, expr } = call;
  const c = ofSample(call);
  const item = call.args.get("slots")?.value;
  const slots = item && bracketName(call, item);
  const given = nodeOf(call, "logits");
  if (!c || slots === undefined || given === undefined) return poison;
  const rows = rowAxes(cx, c, given);
  const at = spanOf(call, "logits");
  const slot = axesOf(cx, given).find((a) => a.name === slots);
  if (!slot || rows.some((a) => a.name === slots)) {
    return cx.report("E0258", `${cx.quote(at, "this")} has no axis \`${slots}\` that counts slots`, at, { label: axesText(cx, given), help: "every expert has slots of its own: `param slot[d, experts, slots]`, `soft(slots, dot[d](x, slot))`" });
  }
  const experts = expertsOf(call, given, at, rows, [slots]);
  if (!experts) return poison;
  return cx.emit(env, expr.span, (make): Value => {
    const live = liveRows(cx, make, rows);
    const logits = make.expand(make.cast(given, "f32"), { dtype: "f32", axes: [...rows, experts, slot] });
    const there = make.select(live, logits, make.const(NEVER));
    const mass = make.select(live, make.exp(make.sub(there, make.amax(there, TOKENS))), make.const(0));
    const sent = make.div(mass, make.max(make.sum(mass, TOKENS), make.const(1e-30)));
    const brought = make.softmax(logits, experts.name, slots);
    const share = make.sum(brought, slots);
    const choice = freeName("choice", [...rows, experts, slot].map((a) => a.name));
    const one: Axis = { name: choice, size: dimConst(1) };
    const expert = make.broadcast(make.select(live, make.argmax(share, experts.name), make.const(-1, "i32")), one);
    const grouping = make.groupBy(expert, experts.size);
    return {
      kind: "choice",
      choice: {
        how: "soft", experts, choice, live, wanted: expert, expert, wantedOffset: grouping.offset, grouping, choices: null, couples: true,
        weights: make.select(make.le(make.const(0, "i32"), expert), make.broadcast(make.amax(share, experts.name), one), make.const(0)), scores: make.sum(sent, slots),
        dispatch: (x) => ({
          slots: true, input: make.rename(make.dot(sent, x, TOKENS), slots, TOKENS),
          back: (y) => make.select(live, make.dot(brought, make.rename(y, TOKENS, slots), experts.name, slots), make.const(0)),
        }),
      },
    };
  }, (f) => refuse(cx, f, expr.span, [at]));
}

export const coupledPrimitives: Readonly<Record<"expert_choice" | "soft", Primitive>> = {
  expert_choice: {
    signature: "expert_choice(k, scores)", doc: "In a router: each expert takes its best tokens of a sample, k * tokens / experts of them. Later tokens decide with: not causal. Zhou et al. 2022.",
    brackets: "none", args: ["k", "scores"], run: runExpertChoice,
  },
  soft: {
    signature: "soft(slots, logits)", doc: "In a router: each slot of an expert takes a mean of all tokens of a sample, and each token one of all slots. Not causal. Puigcerver et al. 2024.",
    brackets: "none", args: ["slots", "logits"], run: runSoft,
  },
};
