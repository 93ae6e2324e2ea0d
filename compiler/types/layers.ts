// Making layers and applying them. Making: arguments bound, members worked out, weights given a path; no tensor exists yet.
// Applying: `forward` runs on the graph being filled. An axis parameter keeps the caller's axis name inside; where two
// parameters were given one axis, the second is called `d'` inside and `d` again outside.
// Refuses wrong axes at the door, names used twice, weights on unknown axes, and layers that contain themselves.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Arg, Expr, Ident, LayerDecl, Member, MethodMember, Param, RouterDecl } from "../ast/nodes.ts";
import { dimConst, dimEqual, dimValue, dimVar } from "../dim/dim.ts";
import { bindParameters, newScope, signatureOf, wantedOf } from "./calls.ts";
import type { Context } from "./context.ts";
import { bind } from "./scope.ts";
import { axesOf, axesText, refuse, reportSizes } from "./tensors.ts";
import type { AxisAlias, AxisValue, Env, LayerInstance, LayerValue, Making, Scope, Value } from "./values.ts";
import { describe, int, poison } from "./values.ts";
import { addWeights } from "./weights.ts";

const MAX_DEPTH = 120;

/** A path no other part of the model has. */
export function claimPath(cx: Context, env: Env, name: string): string {
  const wish = env.exact ? env.path : `${env.path}.${name}`;
  let path = wish;
  for (let n = 2; cx.made.paths.has(path); n++) path = `${wish}${n}`;
  cx.made.paths.add(path);
  return path;
}

/** `linear(d, hidden)`: a layer with weights of its own. */
export function makeLayer(cx: Context, decl: LayerDecl, home: Scope, args: readonly Arg[], at: Span, env: Env): Value {
  const name = decl.name.text;
  if (env.inForward) {
    return cx.report("E0222", `layer \`${name}\` is made inside \`forward\``, at, {
      help: `a layer with weights is a member: write \`${name}1 = ${name}(…)\` above, and apply it here`,
    });
  }
  if (cx.frames.length > MAX_DEPTH) return cx.report("E0223", `layer \`${name}\` contains itself without end`, at);
  return { kind: "layer", form: makeParts(cx, decl, home, args, at, env), span: at };
}

/** What a layer or router is made of: arguments bound, members worked out. `losses` takes what a router's `loss` lines say. */
export function makeParts(cx: Context, decl: LayerDecl | RouterDecl, home: Scope, args: readonly Arg[], at: Span, env: Env, losses?: Expr[]): LayerInstance {
  const name = decl.name.text;
  const path = claimPath(cx, env, name);
  const scope = newScope(home, true);
  const callee = { name, declared: decl.name.span, signature: signatureOf(cx, decl.name, decl.params) };
  return cx.within(`${decl.kind} \`${name}\``, at, () => {
    const bound = bindParameters(cx, callee, decl.params.map(wantedOf), args, at, env, scope, path);
    const aliases = separateAxes(scope, [...bound].map(([n, b]) => [n, b.value]));
    return partsOf(cx, decl, scope, path, aliases, losses, env.making);
  });
}

/** The layer of a declaration that is checked alone, its parameters given as variables. */
export function layerAlone(cx: Context, decl: LayerDecl, scope: Scope): LayerValue {
  return { kind: "layer", form: partsOf(cx, decl, scope, decl.name.text, []), span: decl.name.span };
}

/** Gives every axis parameter a name that no other one has. */
function separateAxes(scope: Scope, params: readonly (readonly [string, Value])[]): AxisAlias[] {
  const taken = new Set<string>();
  const aliases: AxisAlias[] = [];
  for (const [formal, v] of params) {
    if (v.kind !== "axis") continue;
    let inside = v.name;
    while (taken.has(inside)) inside += "'";
    taken.add(inside);
    aliases.push({ formal, inside, outside: v.name });
    if (inside !== v.name) {
      const old = scope.entries.get(formal);
      scope.set(formal, { ...v, name: inside }, old?.span ?? null, "parameter");
    }
  }
  return aliases;
}

/** The parts of a declaration whose parameters are bound in `scope`. */
export function partsOf(cx: Context, decl: LayerDecl | RouterDecl, scope: Scope, path: string, aliases: readonly AxisAlias[], losses?: Expr[], making?: Making): LayerInstance {
  const methods = new Map<string, MethodMember>();
  const axisNames = new Set<string>(aliases.map((a) => a.inside));
  for (const e of scope.entries.values()) {
    const v = e.value();
    if (v.kind === "axis") axisNames.add(v.name);
  }
  const instance: LayerInstance = { kind: "instance", decl, path, scope, methods, aliases, axisNames };
  const env: Env = { scope, path, exact: false, inForward: false, ...(making ? { making } : {}) };
  addMembers(cx, decl.members, { env, methods, axisNames, losses });
  return instance;
}

interface Place {
  readonly env: Env;
  readonly methods: Map<string, MethodMember>;
  readonly axisNames: Set<string>;
  /** Losses of a router; layers have none. */
  readonly losses: Expr[] | undefined;
}

function addMembers(cx: Context, members: readonly Member[], p: Place): void {
  const { env } = p;
  const { scope, path } = env;
  for (const m of members) {
    switch (m.kind) {
      case "binding": {
        const value = cx.evaluate.expr(cx, m.value, { ...env, path: m.index ? `${path}.${m.name.text}[${indexText(cx, m.index, env)}]` : `${path}.${m.name.text}`, exact: true });
        if (m.index) addEntry(scope, m.name, value);
        else bind(cx, scope, m.name, value, "member", "member");
        break;
      }
      case "axes":
        for (const a of m.axes) {
          const v = cx.evaluate.expr(cx, a.size, { ...env, wants: "int" });
          const size = v.kind === "int" ? v.dim : v.kind === "axis" ? v.size : undefined;
          if (!size) {
            if (v.kind !== "poison") cx.report("E0202", `the size of axis \`${a.name.text}\` is ${describe(v)}, not a whole number`, a.size.span);
            bind(cx, scope, a.name, poison, "axis", "axis");
            continue;
          }
          const n = dimValue(size);
          if (n !== undefined && n <= 0) cx.report("E0319", `axis \`${a.name.text}\` would have size ${n}`, a.size.span);
          let name = a.name.text;
          while (p.axisNames.has(name)) name += "'";
          p.axisNames.add(name);
          cx.noteSize(name, size, a.size.span);
          bind(cx, scope, a.name, { kind: "axis", name, size, span: a.size.span }, "axis", "axis");
        }
        break;
      case "weights":
        addWeights(cx, m, env);
        break;
      case "method":
        if (p.methods.has(m.name.text)) cx.report("E0203", `\`${m.name.text}\` is written twice`, m.name.span, { also: [{ span: p.methods.get(m.name.text)?.name.span ?? m.span, text: "first here" }] });
        else p.methods.set(m.name.text, m);
        break;
      case "fn":
      case "mask":
      case "score":
        bind(cx, scope, m.name, { kind: "decl", decl: m, scope }, "member", m.kind === "fn" ? "function" : m.kind);
        break;
      case "when_members": {
        const c = cx.evaluate.expr(cx, m.condition, { ...env, wants: "bool" });
        if (c.kind === "poison") break;
        if (c.kind !== "bool") {
          cx.report("E0224", `\`when\` decides while the model is built, and this is ${describe(c)}`, m.condition.span);
          break;
        }
        addMembers(cx, c.value ?? true ? m.members : (m.otherwise ?? []), p);
        break;
      }
      case "repeat_members":
        repeatMembers(cx, m.range, m.index, p, (inner) => addMembers(cx, m.members, inner));
        break;
      case "loss":
        if (p.losses) p.losses.push(m.value);
        else cx.later("E0408", "losses inside layers are not built yet", m.span);
        break;
      default:
        cx.report("E0229", "this does not belong in a layer", m.span);
    }
  }
}

function repeatMembers(cx: Context, range: Expr, index: Ident, p: Place, body: (p: Place) => void): void {
  const v = cx.evaluate.expr(cx, range, p.env);
  if (v.kind !== "range") {
    if (v.kind !== "poison") cx.report("E0202", `\`repeat\` goes over a range such as \`0..n\`, and this is ${describe(v)}`, range.span);
    return;
  }
  const [from, to] = [dimValue(v.from), dimValue(v.to)];
  const places = from === undefined || to === undefined ? [dimVar(index.text)] : Array.from({ length: Math.min(Math.max(0, to - from), 10_000) }, (_, i) => dimConst(from + i));
  for (const i of places) {
    // The index is a name of its own for each turn; members go to the layer itself.
    p.env.scope.set(index.text, int(i), null, "let");
    body(p);
  }
  p.env.scope.entries.delete(index.text);
}

function indexText(cx: Context, e: Expr, env: Env): string {
  const v = cx.evaluate.expr(cx, e, { ...env, wants: "int" });
  const n = v.kind === "int" ? dimValue(v.dim) : undefined;
  return n === undefined ? "i" : String(n);
}

/** `blocks[i] = …`: the next entry of a list. */
function addEntry(scope: Scope, name: Ident, value: Value): void {
  const old = scope.entries.get(name.text)?.value();
  scope.set(name.text, { kind: "list", items: [...(old?.kind === "list" ? old.items : []), value] }, name.span, "member");
}

// ---------------------------------------------------------------- applying

/** Applies a layer to inputs. */
export function applyLayer(cx: Context, layer: LayerValue, inputs: readonly Value[], at: Span): Value {
  const out = applyForm(cx, layer, inputs, at);
  cx.choosing?.heard.set(layer.form, out);
  return out;
}

function applyForm(cx: Context, layer: LayerValue, inputs: readonly Value[], at: Span): Value {
  const form = layer.form;
  switch (form.kind) {
    case "unknown": return poison;
    case "sequence": {
      let values = inputs;
      // What stands beside the sequence goes to every layer that takes it.
      const beside = inputs.slice(1);
      for (const l of form.layers) values = [applyLayer(cx, l, [...values.slice(0, 1), ...(takes(l) > 1 ? beside : [])], at)];
      return values[0] ?? poison;
    }
    case "joined": {
      const side = (l: LayerValue): Value => applyLayer(cx, l, takes(l) === 0 ? [] : inputs, at);
      const [a, b] = [side(form.left), side(form.right)];
      return cx.evaluate.join(cx, form.op, { value: a, span: form.left.span }, { value: b, span: form.right.span }, layer.span);
    }
    case "instance": return applyMethod(cx, form, "forward", inputs, at);
    case "routed": return cx.evaluate.routed(cx, form, inputs, at);
  }
}

/** How many inputs a layer takes. */
export function takes(layer: LayerValue): number {
  const form = layer.form;
  switch (form.kind) {
    case "unknown": return 1;
    case "sequence": return form.layers.reduce((n, l) => Math.max(n, takes(l)), form.layers[0] ? takes(form.layers[0]) : 1);
    case "joined": return Math.max(takes(form.left), takes(form.right));
    case "instance": return form.methods.get("forward")?.inputs.length ?? 1;
    case "routed": return "layers" in form ? form.layers.reduce((n, l) => Math.max(n, takes(l)), 0) : takes(form.layer);
  }
}

export function applyMethod(cx: Context, layer: LayerInstance, name: string, inputs: readonly Value[], at: Span): Value {
  const what = layer.decl.name.text;
  const method = layer.methods.get(name);
  if (!method) {
    if (cx.broken.has(layer.decl)) return cx.broke();
    return cx.report("E0212", `${layer.decl.kind} \`${what}\` has no \`${name}\``, at, { also: [{ span: layer.decl.name.span, text: "declared here" }], help: didYouMean(name, layer.methods.keys()) });
  }
  if (inputs.length !== method.inputs.length) {
    const n = method.inputs.length;
    return cx.report(inputs.length < n ? "E0209" : "E0210", `${layer.decl.kind} \`${what}\` is applied to ${n === 0 ? "nothing" : n === 1 ? "one tensor" : `${n} tensors`}, and there ${inputs.length === 1 ? "is 1" : `are ${inputs.length}`} here`, at, {
      also: [{ span: method.name.span, text: "its inputs are declared here" }],
    });
  }
  if (cx.broken.has(layer.decl) && !cx.alone) return cx.broke();
  // A layer that is made of itself has been reported where it is made.
  if (cx.frames.length > MAX_DEPTH) return cx.errors > 0 ? poison : cx.report("E0223", `${layer.decl.kind} \`${what}\` applies itself without end`, at);
  const scope = newScope(layer.scope);
  const ready = method.inputs.map((p, i) => bindInput(cx, layer, p, inputs[i] ?? poison, at, scope));
  if (ready.includes(false)) return poison;
  return cx.within(`${layer.decl.kind} \`${what}\``, at, () => {
    const out = cx.evaluate.expr(cx, method.body, { scope, path: layer.path, exact: false, inForward: true });
    return leave(cx, layer, out, at);
  });
}

/** Binds one input, under the names the layer uses for its axes. False where it does not fit. */
export function bindInput(cx: Context, layer: LayerInstance, p: Param, value: Value, at: Span, scope: Scope): boolean {
  const name = p.name;
  if (value.kind === "weight" && cx.run) {
    const env: Env = { scope, path: layer.path, exact: false, inForward: true };
    value = cx.evaluate.tensorOf(cx, value, at, env);
  }
  if (value.kind === "poison" || p.axes === null || value.kind !== "tensor") {
    if (p.axes !== null && value.kind !== "poison" && value.kind !== "tensor") {
      cx.report("E0202", `\`${name.text}\` of ${layer.decl.kind} \`${layer.decl.name.text}\` is a tensor, and this is ${describe(value)}`, at, { also: [{ span: name.span, text: "declared here" }] });
      return false;
    }
    for (const a of p.axes ?? []) if (!scope.find(a.text)) scope.set(a.text, poison, a.span, "axis");
    bind(cx, scope, name, value, "input", "input");
    return value.kind !== "poison" || p.axes === null;
  }
  let node = value.node;
  const listed = new Set<string>();
  for (const a of p.axes) {
    const known = scope.find(a.text)?.value();
    if (known?.kind === "poison") continue;
    const axis: AxisValue | undefined = known?.kind === "axis" ? known : undefined;
    if (known && !axis && known.kind !== "int") {
      cx.report("E0202", `\`${a.text}\` is ${describe(known)}, not an axis`, a.span);
      return false;
    }
    const alias = axis ? layer.aliases.find((x) => x.inside === axis.name) : undefined;
    const outside = alias?.outside ?? axis?.name ?? a.text;
    const found = axesOf(cx, node).find((x) => x.name === outside);
    if (!found) {
      cx.report("E0213", `${layer.decl.kind} \`${layer.decl.name.text}\` needs axis \`${outside}\`, which its input does not have`, at, {
        label: axesText(cx, node),
        also: [{ span: a.span, text: outside === a.text ? `\`${name.text}\` has \`${a.text}\` here` : `\`${a.text}\` of this ${layer.decl.kind} is \`${outside}\`` }],
        help: didYouMean(outside, axesOf(cx, node).map((x) => x.name)),
      });
      return false;
    }
    const size = axis?.size ?? (known?.kind === "int" ? known.dim : undefined);
    if (size && !dimEqual(size, found.size)) {
      if (!cx.alone) reportSizes(cx, at, outside, { span: a.span, size }, { span: at, size: found.size });
      return false;
    }
    const inside = axis?.name ?? a.text;
    listed.add(inside);
    if (inside !== outside) {
      const renamed = cx.emit({ scope, path: layer.path, exact: false, inForward: true }, a.span, (make) => make.rename(node, outside, inside), (f) => refuse(cx, f, at, [at]));
      if (renamed.kind !== "tensor") return false;
      node = renamed.node;
    }
    if (!known) scope.set(a.text, { kind: "axis", name: a.text, size: found.size, span: a.span }, a.span, "axis");
  }
  if (p.axes.length > 0) {
    const captured = axesOf(cx, node).find((x) => layer.axisNames.has(x.name) && !listed.has(x.name));
    if (captured) {
      cx.report("E0216", `the input has an axis \`${captured.name}\`, which ${layer.decl.kind} \`${layer.decl.name.text}\` uses for itself`, at, {
        label: axesText(cx, node), also: [{ span: layer.decl.name.span, text: `this ${layer.decl.kind} makes its own \`${captured.name}\`` }],
        help: `rename it first: \`rename[${captured.name} -> ${captured.name}2](…)\``,
      });
      return false;
    }
  }
  bind(cx, scope, name, { kind: "tensor", node }, "input", "input");
  return true;
}

/** Gives the caller's names back to axes that had another one inside. */
function leave(cx: Context, layer: LayerInstance, out: Value, at: Span): Value {
  if (out.kind === "tuple") return { kind: "tuple", items: out.items.map((v) => leave(cx, layer, v, at)) };
  if (out.kind !== "tensor") return out;
  let value: Value = out;
  for (const { inside, outside } of layer.aliases) {
    if (inside === outside || value.kind !== "tensor") continue;
    const node = value.node;
    if (!axesOf(cx, node).some((a) => a.name === inside)) continue;
    value = cx.emit({ scope: layer.scope, path: layer.path, exact: false, inForward: true }, at, (make) => make.rename(node, inside, outside), () =>
      cx.report("E0215", `the result of ${layer.decl.kind} \`${layer.decl.name.text}\` would have axis \`${outside}\` twice`, at, {
        help: `give the second one a name of its own: \`axis ${outside}2 = ${outside}\` as the argument`,
      }));
  }
  return value;
}
