// `routed(route, layer)` and `frozen(layer)`. Making: the layer's text is worked out once for each branch of a route, under `<path>.<branch>`,
// or once for all experts of a router, whose weights lead with an axis. Applying: branches that are alike are applied once, to all rows, with
// the weights of their own; branches that differ one after the other, and each token takes the result of its own.
// Refuses branches without a layer, layers without a branch, copies of what has other weights, and results that differ in their axes.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Arg } from "../ast/nodes.ts";
import { dimConst, dimEqual, dimText } from "../dim/dim.ts";
import * as S from "../scalar/expr.ts";
import { mapExpr } from "../scalar/expr.ts";
import { alike, sameAxes } from "./alike.ts";
import type { Own } from "./alike.ts";
import type { BuiltinCall } from "./builtin_call.ts";
import { coerce, newScope } from "./calls.ts";
import type { Context } from "./context.ts";
import type { GroupScope } from "./group_scope.ts";
import { applyLayer, claimPath, takes } from "./layers.ts";
import { branchMaking, plainMaking, startFrom } from "./making.ts";
import type { Parameter } from "./parameter.ts";
import { dispatch } from "./routers.ts";
import { noteRouting } from "./routing_notes.ts";
import { branchClasses } from "./stacks.ts";
import { axesOf, refuse } from "./tensors.ts";
import type { AlikeSet, AxisValue, Branch, Env, LayerValue, Making, RouteBy, RoutedForm, RouterInstance, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

/** Arguments of `routed` that are no branch. */
const OWN = new Set(["route", "layer", "alike"]);

// ---------------------------------------------------------------- making

export function makeRouted(call: BuiltinCall): Value {
  const { cx, env, expr, args } = call;
  if (env.inForward) {
    return cx.report("E0222", "a routed layer is made inside `forward`", expr.span, { help: "a layer with weights is a member: write `ffn = routed(…)` above, and apply it here" });
  }
  const routeArg = args.get("route");
  if (!routeArg) return poison;
  const path = env.exact ? env.path : freePath(cx, env);
  const { wants: _, ...outer } = env;
  const at = routeArg.value.span;
  const route = coerce(cx, cx.evaluate.expr(cx, routeArg.value, { ...outer, path: `${path}.router`, exact: true, wants: "route" }), { name: "route", kind: "route", span: null }, at, "routed");
  const given = args.get("layer");
  const own = new Map([...args].filter(([name]) => !OWN.has(name)));
  const make = (arg: Arg, inside: Partial<Env>): Value => layerOf(cx, arg, { ...outer, ...inside });
  const same = makesAlike(call);
  if (route.kind === "decl") return cx.report("E0209", `${route.decl.kind} \`${route.decl.name.text}\` takes arguments`, at);
  const form = route.kind === "route" ? route.form : undefined;
  if (form?.kind === "by" && same) {
    return cx.report("E0256", "`alike` is for the experts of a router", args.get("alike")?.value.span ?? at, { also: [{ span: at, text: "this is a route" }], help: "a branch says itself what it starts as: `image -> generate from understand`" });
  }
  if (form?.kind === "by") return byBranch(call, form, at, given, own, outer);
  // Without branches, every layer is looked at for mistakes of its own.
  const named = form?.kind === "unknown" || form === undefined ? [...own.values()].map((a) => make(a, { path: `${path}.${a.name?.text ?? "branch"}`, exact: true })) : [];
  const [stray] = own.values();
  if ((form?.kind === "shared" || form?.kind === "router") && stray) {
    const name = stray.name?.text ?? "";
    return cx.report("E0256", `${form.kind === "shared" ? "`shared` has" : "a router has experts, and"} no branch \`${name}\``, stray.span, {
      also: [{ span: at, text: form.kind === "shared" ? "the route" : "the router" }],
      help: form.kind === "shared" ? undefined : (didYouMean(name, [...OWN]) ?? "its experts are alike: `routed(router, layer)`"),
    });
  }
  if (!given) return form?.kind === "shared" || form?.kind === "router" ? cx.report("E0209", "`routed` needs `layer`", expr.span, { help: "write `routed(route, layer)`" }) : (named[0] ?? poison);
  if (form?.kind !== "router") {
    const layer = make(given, { path: env.exact ? env.path : outer.path, exact: env.exact });
    return form ? layer : poison;
  }
  const depth = (env.making?.experts.length ?? 0) + 1;
  const axis: AxisValue = { ...form.experts, name: `${form.experts.name}#${depth}` };
  const making: Making = { ...(env.making ?? plainMaking), experts: [...(env.making?.experts ?? []), axis], alike: same || (env.making?.alike ?? false) };
  const layer = make(given, { path, exact: true, making });
  return layer.kind === "layer" ? { kind: "layer", form: { kind: "routed", route: form, path, layer, axis: axis.name }, span: expr.span } : poison;
}

/** `frozen(layer)` */
export function makeFrozen(call: BuiltinCall): Value {
  const { cx, env, args } = call;
  const arg = args.get("layer");
  if (!arg) return poison;
  if (env.inForward) return cx.report("E0222", "a layer is frozen inside `forward`", call.expr.span, { help: "write `name = frozen(…)` as a member, and apply it here" });
  return layerOf(cx, arg, { ...env, making: { ...(env.making ?? plainMaking), frozen: true } }, "frozen");
}

/** The path of a routed layer that is not the whole of a member; its own layers claim it. */
function freePath(cx: Context, env: Env): string {
  const wish = `${env.path}.routed`;
  let path = wish;
  for (let n = 2; cx.made.paths.has(path); n++) path = `${wish}${n}`;
  return path;
}

function layerOf(cx: Context, arg: Arg, env: Env, callee = "routed"): Value {
  const v = cx.evaluate.expr(cx, arg.value, { ...env, wants: "layer" });
  return coerce(cx, v, { name: arg.name?.text ?? "layer", kind: "layer", span: null }, arg.value.span, callee);
}

function makesAlike(call: BuiltinCall): boolean {
  const arg = call.args.get("alike");
  if (!arg) return false;
  const { wants: _, ...env } = call.env;
  const v = call.cx.evaluate.expr(call.cx, arg.value, { ...env, exact: false, wants: "bool" });
  if (v.kind === "bool") return v.value ?? false;
  if (v.kind === "poison") return false;
  call.cx.report("E0224", `\`alike\` is \`true\` or \`false\`, and this is ${describe(v)}`, arg.value.span, {
    help: v.kind === "layer" ? "give the layers of branches by name: `routed(route, understand: a, generate: b)`" : undefined,
  });
  return false;
}

function byBranch(call: BuiltinCall, route: RouteBy, at: Span, given: Arg | undefined, own: ReadonlyMap<string, Arg>, env: Omit<Env, "wants">): Value {
  const { cx, expr } = call;
  const names = route.branches.map((b) => b.name);
  for (const [name, arg] of own) {
    if (!names.includes(name)) {
      return cx.report("E0256", `route \`${route.name}\` has no branch \`${name}\``, arg.name?.span ?? arg.span, { also: [{ span: at, text: "the route" }], help: didYouMean(name, names) ?? `its branches are ${listed(names)}` });
    }
  }
  const bare = names.filter((n) => !own.has(n));
  if (!given && bare.length > 0) {
    return cx.report("E0256", `branch \`${bare[0]}\` has no layer`, expr.span, { also: [{ span: at, text: "the route" }], help: `write \`${bare[0]}: …\`, or one layer for every branch: \`routed(route, layer)\`` });
  }
  if (given && bare.length === 0) {
    return cx.report("E0256", "this layer is for no branch", given.span, { also: [{ span: at, text: "the route" }], help: `${listed(names)} each have one of their own` });
  }
  const path = claimPath(cx, env, "routed");
  const layers: LayerValue[] = [];
  const weights: Own[] = [];
  for (const b of route.branches) {
    const arg = own.get(b.name) ?? given;
    if (!arg) return poison;
    const before = cx.made.parameters.length;
    const inside = `${path}.${b.name}`;
    const layer = layerOf(cx, arg, { ...env, path: inside, exact: true, making: branchMaking(env.making, path, b) });
    if (layer.kind !== "layer") return poison;
    layers.push(layer);
    weights.push(new Map(cx.made.parameters.slice(before).filter((p) => p.path.startsWith(`${inside}.`)).map((p) => [p.path.slice(inside.length + 1), p])));
  }
  if (!copies(cx, route, weights, expr.span)) return poison;
  return { kind: "layer", form: { kind: "routed", route, path, layers, sets: setsOf(layers, weights) }, span: expr.span };
}

const listed = (names: readonly string[]): string => names.map((n) => `\`${n}\``).join(", ");

/** Weights of branches that start from others. False after a report. */
function copies(cx: Context, route: RouteBy, weights: readonly Own[], at: Span): boolean {
  for (const [i, b] of route.branches.entries()) {
    const other = route.branches.findIndex((x) => x.name === b.from);
    const [own, from] = [weights[i], weights[other]];
    if (!own || !from) continue;
    for (const [inside, p] of own) {
      const source = from.get(inside);
      if (source && sameAxes(p, source)) {
        startFrom(p, source);
        continue;
      }
      cx.report("E0254", `branch \`${b.name}\` starts from \`${b.from}\`, and their weights differ`, at, {
        label: source ? `\`${inside}\` has other axes` : `\`${b.from}\` has no weight \`${inside}\``, also: [{ span: b.span, text: `\`${b.name}\` is declared here` }],
      });
      return false;
    }
  }
  return true;
}

/** Branches whose layers are alike, together. */
function setsOf(layers: readonly LayerValue[], weights: readonly Own[]): AlikeSet[] {
  const sets: number[][] = [];
  layers.forEach((layer, i) => {
    const set = sets.find(([first]) => first !== undefined && alike(layers[first] ?? layer, layer, weights[first] ?? new Map(), weights[i] ?? new Map()));
    if (set) set.push(i);
    else sets.push([i]);
  });
  return sets.map((branches) => {
    const variants = new Map<string, Parameter[]>();
    for (const [inside, p] of weights[branches[0] ?? 0] ?? []) variants.set(p.path, branches.map((b) => weights[b]?.get(inside) ?? p));
    return { branches, variants };
  });
}

// ---------------------------------------------------------------- applying

export function applyRouted(cx: Context, form: RoutedForm, inputs: readonly Value[], at: Span): Value {
  return "layers" in form ? applyBranches(cx, form, inputs, at) : applyExperts(cx, form, inputs, at);
}

/** Applies layers under a scope. */
function underScope<T>(cx: Context, scope: GroupScope | null, body: () => T): T {
  const outer = cx.group;
  cx.group = scope && { ...scope, ...(outer ? { outer } : {}) };
  try {
    return body();
  } finally {
    cx.group = outer;
  }
}

const toKey = (e: S.ScalarExpr): S.ScalarExpr => mapExpr(e, (x) => (x.kind === "attr" ? S.attr("k", x.name, x.type) : x));

function applyBranches(cx: Context, form: RoutedForm & { readonly route: RouteBy }, inputs: readonly Value[], at: Span): Value {
  const run = cx.run;
  if (!run || !("layers" in form) || cx.withoutTokens("a route", at)) return poison;
  const { route, sets, layers } = form;
  const env: Env = { scope: newScope(null), path: form.path, exact: false, inForward: true };
  const all = route.branches.length;
  const key = route.key;
  const total = cx.group === null || cx.group.total === true;
  const start = { layer: run.layer, cross: run.cross };
  const end = { ...start };
  const done: { readonly scope: GroupScope; readonly value: Value }[] = [];
  cx.emit(env, at, (make) => {
    const classes = branchClasses(cx, make, route);
    noteRouting(cx, {
      path: form.path, route: route.name, dispatch: "route", learned: false, experts: all, choices: 1, branches: route.branches.map((b) => b.name),
      expert: classes.expert, offset: classes.grouping.offset, losses: [], couples: false, span: at,
      wanted: make.sum(make.cast(make.le(make.const(0, "i32"), classes.expert), "i32"), ...make.type(classes.expert).axes.map((a) => a.name)),
    });
    return poison;
  }, (f) => refuse(cx, f, at, [at]));
  for (const set of sets) {
    const layer = layers[set.branches[0] ?? 0];
    if (!layer) return poison;
    let scope: GroupScope | undefined;
    cx.emit(env, at, (make) => {
      const classes = branchClasses(cx, make, route, set.branches);
      const one = set.branches.map((b) => S.binary("eq", key, S.i32(b))).reduce((a, b) => S.binary("or", a, b));
      const same = S.binary("eq", key, toKey(key));
      const partial = set.branches.length < all;
      scope = {
        ...classes, axis: { name: "#branch", size: dimConst(set.branches.length) }, variants: set.variants, total: total && !partial,
        sees: set.branches.length === 1 ? S.and(one, toKey(one)) : partial ? S.and(same, one) : same, ...(partial ? { rows: one } : {}),
      };
      return poison;
    }, (f) => refuse(cx, f, at, [at]));
    if (!scope) return poison;
    // Branches stand beside each other: what `layer` is in one does not depend on the others.
    Object.assign(run, start);
    const value = underScope(cx, scope, () => applyLayer(cx, layer, takes(layer) === 0 ? [] : inputs.slice(0, Math.max(1, takes(layer))), at));
    end.layer = Math.max(end.layer, run.layer);
    end.cross = Math.max(end.cross, run.cross);
    if (value.kind === "poison") return poison;
    done.push({ scope, value });
  }
  Object.assign(run, end);
  return done.length === 1 ? (done[0]?.value ?? poison) : chosen(cx, form, done, env, at);
}

/** For every token the result of its own branch. */
function chosen(cx: Context, form: RoutedForm, done: readonly { readonly scope: GroupScope; readonly value: Value }[], env: Env, at: Span): Value {
  const nodes = done.map(({ value }) => (value.kind === "tensor" ? value.node : undefined));
  const [first] = nodes;
  for (const [i, node] of nodes.entries()) {
    if (node === undefined || first === undefined) return cx.report("E0256", "a branch gives no tensor", at);
    const [a, b] = [axesOf(cx, first), axesOf(cx, node)].map((axes) => axes.filter((x) => x.name !== "t" && x.name !== "batch"));
    const same = a?.length === b?.length && a?.every((x) => b?.some((y) => y.name === x.name && dimEqual(x.size, y.size)));
    if (!same) {
      if (cx.alone) return poison;
      const sizes = a?.length === b?.length && a?.every((x) => b?.some((y) => y.name === x.name));
      return cx.report("E0256", sizes ? "the branches give axes of different sizes" : "the branches give different axes", at, { label: [a, b].map((axes, n) => `\`${"layers" in form ? form.route.branches[form.sets[n === 0 ? 0 : i]?.branches[0] ?? 0]?.name : ""}\` gives ${axes && axes.length > 0 ? axes.map((x) => `\`${x.name}\`${sizes ? ` of ${dimText(x.size)}` : ""}`).join(", ") : "none"}`).join(", ") });
    }
  }
  return cx.emit(env, at, (make) => {
    let out = nodes[nodes.length - 1] ?? 0;
    for (let i = nodes.length - 2; i >= 0; i--) {
      const [node, scope] = [nodes[i], done[i]?.scope];
      if (node !== undefined && scope) out = make.select(make.le(make.const(0, "i32"), scope.expert), node, out);
    }
    return out;
  }, (f) => refuse(cx, f, at, [at]));
}

function applyExperts(cx: Context, form: RoutedForm & { readonly route: RouterInstance }, inputs: readonly Value[], at: Span): Value {
  if (!("layer" in form)) return poison;
  const { route, layer, axis } = form;
  const env: Env = { scope: newScope(null), path: form.path, exact: false, inForward: true };
  const [x, ...rest] = inputs;
  if (!x || takes(layer) === 0) return cx.report("E0256", "a layer without inputs cannot be routed by a router", layer.span, { help: "a router looks at what the layer is applied to" });
  const input = cx.evaluate.tensorOf(cx, x, at, env);
  if (input.kind !== "tensor") return poison;
  const d = dispatch(cx, route, input.node, form.path, at, env);
  if (!d) return poison;
  const named = (node: number, from: string, to: string): Value => cx.emit(env, at, (make) => (make.hasAxis(node, from) ? make.rename(node, from, to) : node), (f) => refuse(cx, f, at, [at]));
  // Where experts are an axis of the rows, weights meet it by name.
  const rows = d.scope ? ({ kind: "tensor", node: d.input } as const) : named(d.input, route.experts.name, axis);
  const scope = d.scope && { ...d.scope, axis: { ...d.scope.axis, name: axis } };
  const tokens = cx.slots;
  cx.slots = d.slots ? route.decl.name.text : null;
  const y = underScope(cx, scope ?? null, () => applyLayer(cx, layer, [rows, ...(takes(layer) > 1 ? rest : [])], at));
  cx.slots = tokens;
  if (y.kind !== "tensor") return y.kind === "poison" ? poison : cx.report("E0256", "a routed layer gives one tensor", at);
  const out = d.scope ? y : named(y.node, axis, route.experts.name);
  return out.kind === "tensor" ? cx.emit(env, at, () => d.back(out.node), (f) => refuse(cx, f, at, [at])) : poison;
}
