// Losses of routers: `loss balance * load_balance(choose) + z * z_loss(gate)`, each term with a name, over the tokens that are there.
// In: the lines of a router and what it chose. Out: f32 scalars for the training loss. A factor that is exactly 0 makes no nodes.
// Refuses terms that are no single number, and questions that a choice has no answer to.

import type { Span } from "../../grammar/source.ts";
import type { CallExpr, Expr } from "../ast/nodes.ts";
import { walk } from "../ast/walk.ts";
import { dimValue } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { BuiltinCall, Primitive } from "./builtin_call.ts";
import { bracketName, valueOf } from "./builtin_call.ts";
import { newScope } from "./calls.ts";
import { flagArg, somewhere, spanOf } from "./choices.ts";
import type { Context } from "./context.ts";
import type { Choice } from "./group_scope.ts";
import { applyLayer } from "./layers.ts";
import type { RoutingNote } from "./network.ts";
import { numberOf } from "./operators.ts";
import { axesOf, axesText, refuse, toNode } from "./tensors.ts";
import type { Env, Scope, Value } from "./values.ts";
import { describe, float, poison, tensor } from "./values.ts";

/** What a term is called in metrics, by the function it is made with. */
const names: Readonly<Record<string, string>> = { load_balance: "balance", z_loss: "z", importance: "importance", entropy: "entropy" };

/** The terms of a router's losses. `scope` has its input. */
export function lossesOf(cx: Context, all: readonly Expr[], scope: Scope, choice: Choice, path: string): RoutingNote["losses"] {
  const inner = newScope(scope);
  inner.set("choose", { kind: "choice", choice }, null, "let");
  const env: Env = { scope: inner, path, exact: false, inForward: true };
  const out: { readonly name: string; readonly node: NodeId; readonly span: Span }[] = [];
  for (const { expr, minus } of all.flatMap((e) => terms(e))) {
    const v = worth(cx, expr, env);
    const n = v.kind === "int" || v.kind === "float" ? numberOf(v) : undefined;
    if (v.kind === "poison" || n === 0) continue;
    const node = v.kind === "tensor" || v.kind === "weight" ? toNode(cx, v, expr.span, env) : undefined;
    if (v.kind !== "tensor" && v.kind !== "weight") {
      cx.report("E0261", `a loss of a router is a number that follows from what it chose, and this is ${describe(v)}`, expr.span, { help: "`load_balance(choose)`, `z_loss(gate)`, `importance(choose)` and `entropy(choose)` give such numbers" });
      continue;
    }
    if (node === undefined) continue;
    if (axesOf(cx, node).length > 0) {
      cx.report("E0261", "a loss of a router is one number", expr.span, { label: axesText(cx, node), help: "take the mean over its axes" });
      continue;
    }
    const signed = cx.emit(env, expr.span, (make) => (minus ? make.neg(make.cast(node, "f32")) : make.cast(node, "f32")), () => undefined);
    if (signed.kind === "tensor") out.push({ name: nameOf(expr, out.map((x) => x.name)), node: signed.node, span: expr.span });
  }
  return out;
}

interface Term {
  readonly expr: Expr;
  readonly minus: boolean;
}

function terms(e: Expr, minus = false): Term[] {
  if (e.kind === "binary" && (e.op === "+" || e.op === "-")) return [...terms(e.left, minus), ...terms(e.right, minus !== (e.op === "-"))];
  if (e.kind === "unary" && e.op === "-") return terms(e.operand, !minus);
  return [{ expr: e, minus }];
}

const calls = (e: Expr): CallExpr[] => {
  const out: CallExpr[] = [];
  walk(e, (n) => {
    if (n.kind === "call") out.push(n);
  });
  return out;
};

/** A product is worked out from its plain factors on, and not at all behind a 0. */
function worth(cx: Context, e: Expr, env: Env): Value {
  if (e.kind !== "binary" || e.op !== "*") return cx.evaluate.expr(cx, e, env);
  const first = calls(e.left).length > calls(e.right).length ? e.right : e.left;
  const a = worth(cx, first, env);
  if ((a.kind === "int" || a.kind === "float") && numberOf(a) === 0) return float(0);
  const second = first === e.left ? e.right : e.left;
  const b = worth(cx, second, env);
  if (a.kind === "poison" || b.kind === "poison") return poison;
  return cx.evaluate.join(cx, "*", { value: a, span: first.span }, { value: b, span: second.span }, e.span);
}

function nameOf(e: Expr, taken: readonly string[]): string {
  const known = calls(e).flatMap((c) => (c.callee.kind === "name" ? [names[c.callee.text]] : [])).find((n) => n !== undefined) ?? "loss";
  let name = known;
  for (let n = 2; taken.includes(name); n++) name = `${known}${n}`;
  return name;
}

// ---------------------------------------------------------------- what losses are made of

/** The choice that a loss is about; undefined after a report. */
function choiceOf(call: BuiltinCall): Choice | undefined {
  const v = valueOf(call, "choice");
  if (v.kind === "choice") return v.choice;
  if (v.kind === "poison") return undefined;
  call.cx.report("E0262", `\`${call.name}\` is about what a router chose, and this is ${describe(v)}`, spanOf(call, "choice"), { help: `write \`loss 0.01 * ${call.name}(choose)\` in a router` });
  return undefined;
}

/** Scores of a choice; undefined after a report. */
function scoresOf(call: BuiltinCall, choice: Choice): NodeId | undefined {
  if (choice.scores !== undefined && choice.how !== "soft") return choice.scores;
  call.cx.report("E0261", `\`${call.name}\` needs scores of experts, and ${choice.how === "soft" ? "a soft mixture sends every token everywhere" : "`pick` has none"}`, spanOf(call, "choice"));
  return undefined;
}

const number = (make: Make, live: NodeId): NodeId => make.max(make.sum(make.cast(live, "f32"), ...make.type(live).axes.map((a) => a.name)), make.const(1));

/** Mean over the tokens that are there, of a value without other axes than theirs. */
const meanOf = (make: Make, x: NodeId, live: NodeId): NodeId => {
  const there = make.select(live, x, make.const(0));
  return make.div(make.sum(there, ...make.type(there).axes.map((a) => a.name)), number(make, live));
};

/** Scores that sum to 1 for each token. */
const shares = (make: Make, scores: NodeId, experts: string): NodeId => make.div(scores, make.max(make.sum(scores, experts), make.const(1e-20)));

/** f32[experts]: mean share over the tokens that are there. */
function meanShares(make: Make, choice: Choice, scores: NodeId): NodeId {
  const p = make.select(choice.live, shares(make, scores, choice.experts.name), make.const(0));
  return make.div(make.sum(p, ...make.type(p).axes.flatMap((a) => (a.name === choice.experts.name ? [] : [a.name]))), number(make, choice.live));
}

const hit = (make: Make, choice: Choice, rows: NodeId): NodeId => make.eq(make.iota(choice.experts), rows);

/** experts * sum over experts of (share of rows that it got) * (mean share of its scores): 1 where all are even. Within each point of the axes beside `over`, and then their mean. */
function loadBalance(make: Make, choice: Choice, scores: NodeId, over: string | undefined): NodeId {
  const { experts, live } = choice;
  const n = dimValue(experts.size) ?? 1;
  if (over === undefined) {
    const rows = make.max(make.cast(somewhere(make, choice.wantedOffset, experts.size), "f32"), make.const(1));
    const f = make.div(make.cast(make.groupLoad(choice.wantedOffset, experts), "f32"), rows);
    return make.scale(make.dot(f, meanShares(make, choice, scores), experts.name), n);
  }
  const got = make.sum(make.cast(hit(make, choice, choice.wanted), "f32"), over, choice.choice);
  const there = make.sum(make.cast(live, "f32"), over);
  const p = make.sum(make.select(live, shares(make, scores, experts.name), make.const(0)), over);
  const one = make.const(1);
  const f = make.div(got, make.max(make.sum(got, experts.name), one));
  const each = make.scale(make.sum(make.mul(f, make.div(p, make.max(there, one))), experts.name), n);
  const rest = make.type(each).axes.map((a) => a.name);
  return rest.length === 0 ? each : make.div(make.sum(each, ...rest), make.max(make.sum(make.min(there, one), ...rest), one));
}

/** Squared coefficient of variation, over experts, of the weights that they were given. */
function importance(make: Make, choice: Choice): NodeId {
  const { experts } = choice;
  const w = choice.weights ?? make.const(1);
  const given = make.select(hit(make, choice, choice.expert), w, make.const(0));
  const total = make.sum(given, ...make.type(given).axes.flatMap((a) => (a.name === experts.name ? [] : [a.name])));
  const mean = make.mean(total, experts.name);
  const spread = make.mean(make.square(make.sub(total, mean)), experts.name);
  return make.div(spread, make.offset(make.square(mean), 1e-10));
}

/** -sum p log p, where 0 log 0 is 0. */
const entropyOf = (make: Make, p: NodeId, axis: string): NodeId => make.neg(make.sum(make.mul(p, make.log(make.max(p, make.const(1e-20)))), axis));

function emitted(call: BuiltinCall, body: (make: Make) => NodeId): Value {
  return call.cx.emit(call.env, call.expr.span, body, (f) => refuse(call.cx, f, call.expr.span, []));
}

/** The logits of `z_loss(gate)`: what the gate gave while choosing, or gives for the router's input; or a tensor. */
function logitsOf(call: BuiltinCall): NodeId | undefined {
  const { cx } = call;
  const { choosing } = cx;
  const v = valueOf(call, "gate");
  const at = spanOf(call, "gate");
  if (v.kind !== "layer") return v.kind === "poison" ? undefined : toNode(cx, v, at, call.env);
  if (!choosing) return void cx.report("E0262", "`z_loss` of a layer is about what it gives for a router's input, and this is no router", at);
  const out = choosing.heard.get(v.form) ?? applyLayer(cx, v, [tensor(choosing.input)], at);
  return out.kind === "tensor" ? out.node : undefined;
}

export const balancePrimitives: Readonly<Record<"load_balance" | "importance" | "entropy" | "z_loss", Primitive>> = {
  load_balance: {
    signature: "load_balance(choose, over: t)", doc: "In a router: 1 where all experts get the same, more where few get most. `over: t` balances each sample of the batch. Fedus et al. 2021.",
    brackets: "none", args: ["choice", "over?"],
    run: (call) => {
      const choice = choiceOf(call);
      const scores = choice && scoresOf(call, choice);
      const item = call.args.get("over")?.value;
      const over = item && bracketName(call, item);
      if (!choice || scores === undefined || (item && over === undefined)) return poison;
      if (over !== undefined && !axesOf(call.cx, choice.live).some((a) => a.name === over)) return call.cx.report("E0213", `what was chosen has no axis \`${over}\``, spanOf(call, "over"), { label: axesText(call.cx, choice.live) });
      return emitted(call, (make) => loadBalance(make, choice, scores, over));
    },
  },
  importance: {
    signature: "importance(choose)", doc: "In a router: variance over squared mean, over experts, of the weights that each was given. Shazeer et al. 2017.", brackets: "none", args: ["choice"],
    run: (call) => {
      const choice = choiceOf(call);
      if (choice?.how === "soft") return call.cx.report("E0261", "`importance` needs weights of experts, and a soft mixture sends every token everywhere", spanOf(call, "choice"));
      return choice ? emitted(call, (make) => importance(make, choice)) : poison;
    },
  },
  entropy: {
    signature: "entropy(choose, mean: false)", doc: "In a router: entropy of a token's scores, over experts, its mean over tokens; with `mean: true` that of the mean scores. Mustafa et al. 2022.",
    brackets: "none", args: ["choice", "mean?"],
    run: (call) => {
      const choice = choiceOf(call);
      const scores = choice && scoresOf(call, choice);
      const mean = flagArg(call, "mean");
      if (!choice || scores === undefined || mean === undefined) return poison;
      const axis = choice.experts.name;
      return emitted(call, (make) => (mean ? entropyOf(make, meanShares(make, choice, scores), axis) : meanOf(make, entropyOf(make, shares(make, scores, axis), axis), choice.live)));
    },
  },
  z_loss: {
    signature: "z_loss(gate)", doc: "In a router: mean over tokens of the squared log-sum-exp of the gate's logits. Zoph et al. 2022.", brackets: "none", args: ["gate"],
    run: (call) => {
      const { cx } = call;
      const x = logitsOf(call);
      if (x === undefined) return poison;
      const choice = cx.choosing?.said;
      if (!choice) return cx.report("E0262", "`z_loss` is a loss of a router", call.expr.callee.span, { help: "write `loss 0.001 * z_loss(gate)` beside `choose`" });
      const rows = axesOf(cx, choice.live).map((a) => a.name);
      const own = axesOf(cx, x).flatMap((a) => (rows.includes(a.name) ? [] : [a.name]));
      if (own.length === 0) return cx.report("E0258", `${cx.quote(spanOf(call, "gate"), "this")} has no axis that counts experts`, spanOf(call, "gate"), { label: axesText(cx, x) });
      return emitted(call, (make) => meanOf(make, make.square(make.logSumExp(make.cast(x, "f32"), ...own)), choice.live));
    },
  },
};
