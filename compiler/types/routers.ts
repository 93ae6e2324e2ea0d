// Routers: `router top_experts(d: axis, experts: int, k: int) { gate = …  choose x[t, d] = …  loss … }`, made and applied.
// Making binds arguments and parts as a layer does, and applies `choose` once on a graph that is thrown away, since how many experts
// there are shapes the weights of routed layers. Applying works the choice and the losses out and hands rows to the experts.
// Refuses a router without `choose`, and a `choose` that gives no choice.

import type { Span } from "../../grammar/source.ts";
import type { Arg, Expr, MethodMember, RouterDecl } from "../ast/nodes.ts";
import { dimValue, dimVar } from "../dim/dim.ts";
import { GraphBuilder, originAt } from "../graph/builder.ts";
import type { Axis, NodeId } from "../graph/graph.ts";
import type { InferFailure } from "../graph/builder.ts";
import { Make } from "../graph/make.ts";
import { and, type ScalarExpr } from "../scalar/expr.ts";
import { checkingLeaves } from "./checking_leaves.ts";
import { lossesOf } from "./balance.ts";
import { newScope } from "./calls.ts";
import { somewhere } from "./choices.ts";
import type { Choosing, Context, Run } from "./context.ts";
import { newRun } from "./context.ts";
import type { Choice, Dispatch } from "./group_scope.ts";
import { bindInput, makeParts, partsOf } from "./layers.ts";
import type { RoutingNote } from "./network.ts";
import { noteRouting } from "./routing_notes.ts";
import { scopesOf } from "./stacks.ts";
import { refuse } from "./tensors.ts";
import type { Env, LayerInstance, RouterInstance, Scope, Value } from "./values.ts";
import { describe, poison, tensor } from "./values.ts";

/** `top_experts(d, 8, 2)`: a router with weights of its own. */
export function makeRouter(cx: Context, decl: RouterDecl, home: Scope, args: readonly Arg[], at: Span, env: Env): Value {
  const name = decl.name.text;
  if (env.inForward) {
    return cx.report("E0222", `router \`${name}\` is made inside \`forward\``, at, { help: `a router has weights: write \`${name}1 = ${name}(…)\` above` });
  }
  const before = cx.errors;
  const losses: Expr[] = [];
  const made = cx.made.parameters.length;
  const parts = makeParts(cx, decl, home, args, at, env, losses);
  for (const p of cx.made.parameters.slice(made)) (p as { router?: boolean }).router = true;
  if (cx.errors > before || cx.broken.has(decl)) return cx.errors > before ? poison : cx.broke();
  return cx.within(`router \`${name}\``, at, () => {
    const experts = expertsOf(cx, decl, parts, at, env.making?.experts ?? []);
    if (!experts) return poison;
    const form: RouterInstance = { kind: "router", decl, path: parts.path, parts, losses, experts: { kind: "axis", name: experts.name, size: experts.size, span: decl.name.span }, span: at };
    return { kind: "route", form, span: at };
  });
}

/** A router declaration checked alone: `choose` on `input`, then its losses. */
export function routerAlone(cx: Context, decl: RouterDecl, scope: Scope, input: (method: MethodMember) => Value): void {
  const losses: Expr[] = [];
  const parts = partsOf(cx, decl, scope, decl.name.text, [], losses);
  const method = chooseOf(cx, decl, parts, decl.name.span);
  const x = method && input(method);
  if (x?.kind !== "tensor") return;
  choose(cx, decl, parts, losses, ofTokens(cx, x.node), decl.name.span);
}

/** A declaration alone does not say that its input has tokens: `choose x[d]`. */
function ofTokens(cx: Context, x: NodeId): NodeId {
  const b = cx.run?.builder;
  return !b || b.type(x).axes.some((a) => a.name === "t") ? x : b.add("broadcast", [x], { axis: { name: "t", size: dimVar("t") } }, originAt("token"));
}

function chooseOf(cx: Context, decl: RouterDecl, parts: LayerInstance, at: Span): MethodMember | undefined {
  const method = parts.methods.get("choose");
  if (!method) {
    cx.report("E0212", `router \`${decl.name.text}\` has no \`choose\``, at, { also: at === decl.name.span ? [] : [{ span: decl.name.span, text: "declared here" }], help: "write `choose x[t, d] = top(2, softmax[experts](gate(x)))`" });
    return undefined;
  }
  const [input, more] = method.inputs;
  if (input?.axes && input.axes.length > 0 && !more) return method;
  cx.report("E0259", `\`choose\` of router \`${decl.name.text}\` takes one tensor and names its axes`, method.name.span, { help: "write `choose x[t, d] = …`" });
  return undefined;
}

/** The axis that counts experts, from `choose` on a graph of its own. Undefined after a report. */
function expertsOf(cx: Context, decl: RouterDecl, parts: LayerInstance, at: Span, outside: readonly Axis[]): Axis | undefined {
  const method = chooseOf(cx, decl, parts, at);
  if (!method) return undefined;
  const axes = (method.inputs[0]?.axes ?? []).map((a): Axis => {
    const v = parts.scope.find(a.text)?.value();
    const alias = v?.kind === "axis" ? parts.aliases.find((x) => x.inside === v.name) : undefined;
    return v?.kind === "axis" ? { name: alias?.outside ?? v.name, size: v.size } : { name: a.text, size: v?.kind === "int" ? v.dim : dimVar(a.text) };
  });
  if (new Set(axes.map((a) => a.name)).size < axes.length) {
    cx.report("E0215", `\`choose\` of router \`${decl.name.text}\` would have one axis twice`, at);
    return undefined;
  }
  const builder = new GraphBuilder("router");
  const outer = { made: cx.made, run: cx.run, group: cx.group };
  // What is read and noted on this graph is said again where the router is applied.
  cx.made = { ...cx.made, reads: new Set(), used: new Set(), attentions: new Map(), crossAttentions: new Map(), routings: [] };
  cx.run = newRun(builder, checkingLeaves(builder));
  cx.group = null;
  const rows: Axis[] = [{ name: "t", size: dimVar("t") }];
  for (const axis of outside) {
    rows.push({ name: `choice#${rows.length}`, size: dimVar(`choice${rows.length}`) });
    const make = new Make(builder, originAt(parts.path));
    const expert = make.input(`expert.${rows.length}`, { dtype: "i32", axes: rows });
    cx.group = { expert, grouping: make.groupBy(expert, axis.size), axis, ...(cx.group ? { outer: cx.group } : {}) };
  }
  try {
    const x = builder.add("input", [], { name: "x", type: { dtype: "f32", axes } }, originAt(parts.path));
    return choose(cx, decl, parts, [], ofTokens(cx, x), at)?.choice.experts;
  } finally {
    Object.assign(cx, outer);
  }
}

interface Chosen {
  readonly choice: Choice;
  readonly losses: RoutingNote["losses"];
}

/** What a router says about x. Undefined after a report. */
function choose(cx: Context, decl: RouterDecl, parts: LayerInstance, losses: readonly Expr[], x: NodeId, at: Span): Chosen | undefined {
  const method = parts.methods.get("choose");
  const input = method?.inputs[0];
  if (!method || !input) return undefined;
  const scope = newScope(parts.scope);
  if (!bindInput(cx, parts, input, tensor(x), at, scope)) return undefined;
  const bound = scope.entries.get(input.name.text)?.value();
  if (bound?.kind !== "tensor") return undefined;
  const features = (input.axes ?? []).flatMap((a) => {
    const v = scope.find(a.text)?.value();
    const name = v?.kind === "axis" ? v.name : a.text;
    return name === "t" ? [] : [name];
  });
  const choosing: Choosing = { router: decl.name.text, input: bound.node, features, heard: new Map(), said: null, span: at };
  const outer = cx.choosing;
  cx.choosing = choosing;
  try {
    return cx.within(`router \`${decl.name.text}\``, at, () => {
      const v = cx.evaluate.expr(cx, method.body, { scope, path: parts.path, exact: false, inForward: true });
      if (v.kind === "poison") return undefined;
      if (v.kind !== "choice") {
        cx.report("E0259", `\`choose\` of router \`${decl.name.text}\` gives ${describe(v)}, not a choice of experts`, method.body.span, { help: "a choice is made by `top(k, scores)`, `pick[experts](index)`, `expert_choice(k, scores)` or `soft(slots, logits)`" });
        return undefined;
      }
      choosing.said = v.choice;
      return { choice: v.choice, losses: lossesOf(cx, losses, scope, v.choice, parts.path) };
    });
  } finally {
    cx.choosing = outer;
  }
}

/** Sends x to experts, and notes it under the path of the routed layer. Undefined after a report. */
export function dispatch(cx: Context, router: RouterInstance, input: NodeId, path: string, at: Span, env: Env): Dispatch | undefined {
  const { run } = cx;
  const x = cx.alone ? ofTokens(cx, input) : input;
  if (!run) return void cx.report("E0227", "tensors exist only while a layer is applied", at);
  if (cx.broken.has(router.decl) && !cx.alone) return void cx.broke();
  if (cx.withoutTokens("a router", at)) return undefined;
  const asked = askedBefore(cx, run, router, x);
  const chosen = asked ?? choose(cx, router.decl, router.parts, router.losses, x, at);
  if (!chosen) return undefined;
  const { choice } = chosen;
  answers(run, router).set(keyOf(cx, x), choice);
  let out: Dispatch | undefined;
  cx.emit({ ...env, path, inForward: true }, at, (make) => {
    noteRouting(cx, noteOf(cx, make, router, { choice, losses: asked ? [] : chosen.losses }, path, at, asked !== undefined));
    out = choice.dispatch(x);
    return poison;
  }, (f: InferFailure) => refuse(cx, f, at, [at]));
  return out;
}

const keyOf = (cx: Context, x: NodeId): string => `${x} ${cx.group?.expert ?? ""}`;

function answers(run: Run, router: RouterInstance): Map<string, Choice> {
  let all = run.choices.get(router);
  if (!all) run.choices.set(router, (all = new Map()));
  return all;
}

function askedBefore(cx: Context, run: Run, router: RouterInstance, x: NodeId): Chosen | undefined {
  const choice = answers(run, router).get(keyOf(cx, x));
  return choice && { choice, losses: [] };
}

function noteOf(cx: Context, make: Make, router: RouterInstance, { choice, losses }: Chosen, path: string, span: Span, again: boolean): RoutingNote {
  const { experts, weights, scores, capacity, bias } = choice;
  const rows = scopesOf(cx).flatMap((s) => s.rows ?? []).reduce<ScalarExpr | undefined>((a, b) => (a ? and(a, b) : b), undefined);
  return {
    path, route: router.decl.name.text, dispatch: choice.how, learned: choice.how !== "pick", experts: dimValue(experts.size) ?? 1, choices: choice.choices, branches: [],
    expert: choice.expert, offset: choice.grouping.offset, wanted: somewhere(make, choice.wantedOffset, experts.size),
    ...(weights === undefined ? {} : { weights }), ...(scores === undefined ? {} : { scores }), ...(capacity === undefined ? {} : { capacity }),
    losses, ...(bias && !again ? { bias: { parameter: bias.parameter, rate: bias.rate, offset: choice.wantedOffset } } : {}), couples: choice.couples, span, router: { path: router.path, span: router.span }, ...(rows ? { rows } : {}),
  };
}
