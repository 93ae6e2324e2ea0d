// `param w[d, e] ~ normal(std: 0.02) by route when bias`: weights as parameters of the model being made, and their names bound.
// In: a line of a layer or router and the environment of its members. Out: bound names; parameters and ties in cx.made.
// Refuses axes that are none or occur twice, values that are no initialiser, ties between weights of other axes, and routes that are none.

import type { Expr, WeightMember, WeightName } from "../ast/nodes.ts";
import { dimEqual } from "../dim/dim.ts";
import { coerce } from "./calls.ts";
import type { Context } from "./context.ts";
import { branchMaking, startFrom, withoutBranches } from "./making.ts";
import type { Init, NamedSize, Parameter } from "./parameter.ts";
import { bind, lookUp } from "./scope.ts";
import type { Env, Making, RouteBy, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

const defaultInit: Init = { kind: "normal", std: 0.02 };

/** Binds the weights of one line, with a path each. */
export function addWeights(cx: Context, m: WeightMember, env: Env): void {
  if (m.condition) {
    const c = cx.evaluate.expr(cx, m.condition, { ...env, wants: "bool" });
    if (c.kind !== "bool" && c.kind !== "poison") cx.report("E0224", `\`when\` decides while the model is built, and this is ${describe(c)}`, m.condition.span);
    if (c.kind === "bool" && c.value === false) {
      for (const w of m.weights) bind(cx, env.scope, w.name, { kind: "absent" }, "member", "weight");
      return;
    }
  }
  const init = initOf(cx, m, env);
  const route = routeOf(cx, m, env);
  if (route && m.tie) cx.report("E0229", "a weight that is another one has no branches", m.by?.span ?? m.span, { help: "leave out `by`: it goes by the route of that weight" });
  for (const w of m.weights) {
    const axes = weightAxes(cx, w, env);
    if (m.tie) bind(cx, env.scope, w.name, tieTo(cx, m.tie, w, axes, env), "member", "weight");
    else if (!axes || route === null) bind(cx, env.scope, w.name, poison, "member", "weight");
    else bind(cx, env.scope, w.name, route ? weightBy(cx, route, w, axes, init, m.frozen, env) : { kind: "weight", parameter: makeWeight(cx, w, axes, init, m.frozen, env.path, env.making) }, "member", "weight");
  }
}

/** A weight of its own under `<path>.<name>`. */
function makeWeight(cx: Context, w: WeightName, axes: readonly NamedSize[], init: Init, frozen: boolean, within: string, making: Making | undefined): Parameter {
  const path = `${within}.${w.name.text}`;
  const experts = making?.experts ?? [];
  const dense = withoutBranches(making, path);
  const parameter: Parameter = {
    path, axes: [...experts.map(({ name, size, span }) => ({ name, size, span })), ...axes], init, decay: axes.length >= 2, frozen: frozen || (making?.frozen ?? false), span: w.name.span,
    ...(making?.frozen ? { frozenWithin: true } : {}), ...(dense === path ? {} : { dense }), ...(experts.length > 0 ? { experts: experts.map((a) => a.name), alike: making?.alike ?? false } : {}),
  };
  cx.made.parameters.push(parameter);
  return parameter;
}

/** `by projections`: one weight for each branch of the route. */
function weightBy(cx: Context, route: RouteBy, w: WeightName, axes: readonly NamedSize[], init: Init, frozen: boolean, env: Env): Value {
  const parameters = route.branches.map((b) => makeWeight(cx, w, axes, init, frozen, `${env.path}.${b.name}`, branchMaking(env.making, env.path, b)));
  for (const [i, b] of route.branches.entries()) {
    const [own, from] = [parameters[i], parameters[route.branches.findIndex((x) => x.name === b.from)]];
    if (own && from) startFrom(own, from);
  }
  const [parameter] = parameters;
  return parameter ? { kind: "weight", parameter, by: { route, parameters } } : poison;
}

/** The route after `by`, where it has branches. Undefined for `shared`, and where there is none; null after a report. */
function routeOf(cx: Context, m: WeightMember, env: Env): RouteBy | undefined | null {
  if (!m.by) return undefined;
  const v = coerce(cx, cx.evaluate.expr(cx, m.by, { ...env, wants: "route" }), { name: "by", kind: "route", span: null }, m.by.span, "param");
  if (v.kind !== "route") {
    if (v.kind === "decl") cx.report("E0209", `${v.decl.kind} \`${v.decl.name.text}\` takes arguments`, m.by.span);
    return null;
  }
  if (v.form.kind === "by") return v.form;
  if (v.form.kind === "router") {
    cx.report("E0256", "a weight goes by a route, and this is a router", m.by.span, { help: "give the layer to the router's experts instead: `routed(router, layer)`" });
    return null;
  }
  return undefined;
}

function initOf(cx: Context, m: WeightMember, env: Env): Init {
  if (!m.init) return defaultInit;
  const v = cx.evaluate.expr(cx, m.init, { ...env, wants: "init" });
  if (v.kind === "init") return v.init;
  if (v.kind === "builtin" && (v.name === "normal" || v.name === "uniform")) {
    cx.report("E0209", `\`${v.name}\` needs its numbers`, m.init.span, { help: v.name === "normal" ? "write `normal(std: 0.02)`" : "write `uniform(low: -1.0, high: 1.0)`" });
  } else if (v.kind !== "poison") {
    cx.report("E0202", `a weight starts from an initialiser, and this is ${describe(v)}`, m.init.span, { help: "the initialisers are `zeros`, `ones`, `normal(std: …)` and `uniform(low: …, high: …)`" });
  }
  return defaultInit;
}

function weightAxes(cx: Context, w: WeightName, env: Env): NamedSize[] | undefined {
  const axes: NamedSize[] = [];
  let sound = true;
  for (const a of w.axes) {
    const v = lookUp(cx, a, { ...env, wants: "axis" });
    const axis = v.kind === "axis" ? v : v.kind === "int" ? { name: a.text, size: v.dim } : undefined;
    if (!axis) {
      if (v.kind !== "poison") cx.report("E0202", `\`${a.text}\` is ${describe(v)}, not an axis`, a.span);
      sound = false;
    } else if (axes.some((x) => x.name === axis.name)) {
      cx.report("E0215", `weight \`${w.name.text}\` has axis \`${a.text}\` twice`, a.span, { help: "declare a second axis of the same size: `axis e = d`" });
      sound = false;
    } else axes.push({ name: axis.name, size: axis.size, span: a.span });
  }
  return sound ? axes : undefined;
}

function tieTo(cx: Context, tie: Expr, w: WeightName, axes: readonly NamedSize[] | undefined, env: Env): Value {
  const v = cx.evaluate.expr(cx, tie, { ...env, wants: "weight" });
  if (v.kind === "poison" || !axes) return poison;
  if (v.kind !== "weight") return cx.report("E0202", `a weight is tied to another weight, and this is ${describe(v)}`, tie.span);
  const target = v.parameter;
  // Inside experts each has its own of both; those that a weight from elsewhere leads with are none of ours.
  const experts = target.experts?.every((e, i) => e === env.making?.experts[i]?.name) ? target.experts.length : 0;
  const own = target.axes.slice(experts);
  const fits = own.length === axes.length && axes.every((a) => own.some((b) => b.name === a.name && (dimEqual(a.size, b.size) || cx.alone)));
  if (!fits) {
    const text = (all: readonly NamedSize[]): string => `[${all.map((a) => a.name).join(", ")}]`;
    return cx.report("E0228", `\`${w.name.text}${text(axes)}\` is tied to a weight with axes ${text(own)}`, tie.span, { also: [{ span: target.span, text: "that weight is declared here" }] });
  }
  cx.made.ties.push({ path: `${env.path}.${w.name.text}`, to: target.path, span: w.name.span });
  return v;
}
