// One model, from its members to the checked Model. In: the plan of a model or variant. Out: the Model, or nothing where it has errors.
// Order: parameters, literals, streams, tasks, processes, then the rest by name when first needed; then the network is applied
// once on a graph that is thrown away, and the checks of check_model.ts look at the whole.

import { Bag } from "../../grammar/diagnostic.ts";
import type { Binding, Ident, Member } from "../ast/nodes.ts";
import { dimConst, dimValue } from "../dim/dim.ts";
import { declareFormula, isAttribute, isFormula, settable, TOKEN_ID } from "./attributes.ts";
import { coerce, newScope, wantedOf } from "./calls.ts";
import { checkModel } from "./check_model.ts";
import type { Context } from "./context.ts";
import { nothingMade } from "./context.ts";
import { makeLosses, makeMix } from "./losses.ts";
import type { Plan, Sorted } from "./members_of_model.ts";
import type { Attribute, Constant, Model, Predicate, Process, Sampler, Task } from "./model.ts";
import { buildNetwork } from "./build_network.ts";
import type { NamedSize } from "./parameter.ts";
import { setInfo } from "./functions.ts";
import { makeProcess, makeSampler } from "./processes.ts";
import { bind, mayBind } from "./scope.ts";
import { besideOf, literalsOf, makeStreams } from "./streams.ts";
import { makeTask, segmentsOf } from "./tasks.ts";
import { makeTrain } from "./train.ts";
import type { Env, MaskValue, Scope, ScoreValue, Value } from "./values.ts";
import { describe, int, poison } from "./values.ts";

const sections = ["mask", "score", "body", "loss", "mix", "train"];

export function buildModel(cx: Context, plan: Plan): Model | undefined {
  const before = cx.errors;
  const outerLater = cx.notBuilt;
  cx.notBuilt = new Bag();
  const scope = newScope(plan.home, true);
  const env: Env = { scope, path: plan.name.text, exact: false, inForward: false };
  cx.made = nothingMade();
  cx.modelScope = scope;
  const { axes, constants } = parameters(cx, plan, env);
  const m: Sorted = { tokens: [], tasks: [], embeds: [], heads: [], samples: [], processes: [], bindings: [], trains: [] };
  const attributes: Attribute[] = [];
  sort(cx, plan.members, env, m, attributes, axes);
  cx.attributes = attributes.map((a) => a.name);

  const { streams, specials, values } = makeStreams(cx, m.tokens.map((member) => ({ member, env })), literalsOf(m.tasks.map((t) => t.layout)), besideOf(m.tasks.map((t) => t.layout)));
  cx.besides = streams.filter((s) => s.beside).map((s) => s.name);
  for (const t of m.tokens) bind(cx, scope, t.name, values.get(t.name.text) ?? poison, "member", "stream");
  const known = new Set(values.keys());
  const beforeTasks = cx.errors;
  const tasks: Task[] = m.tasks.map((t, id) => makeTask(cx, t, id, env, streams, known, specials));
  const tasksSound = cx.errors === beforeTasks;
  m.tasks.forEach((t, id) => bind(cx, scope, t.name, { kind: "task", name: t.name.text, id }, "member", "task"));
  for (const p of m.processes) bind(cx, scope, p.name, { kind: "process", name: p.name.text }, "member", "process");
  const processes: Process[] = [];
  for (const p of m.processes) {
    for (const made of makeProcess(cx, p, env, streams, known)) {
      const old = processes.find((x) => x.stream === made.stream);
      if (old) cx.report("E0203", `stream \`${made.stream}\` has two processes`, made.span, { also: [{ span: old.span, text: "first here" }] });
      else processes.push(made);
    }
  }
  bindings(cx, m.bindings, env);
  // Formulas may name streams and tasks, so they are looked at once those are there.
  const formulas = new Map([...cx.formulas].map(([name, make]) => [name, make()]));

  const find = (name: string): Binding | undefined => m.bindings.find((b) => b.name.text === name);
  const mask = predicateOf(cx, find("mask"), "mask", env);
  const score = predicateOf(cx, find("score"), "score", env);
  const predicted = new Set(tasks.flatMap((t) => [...segmentsOf(t.items)].filter((i) => i.kind === "predict").map((i) => i.stream)));
  const network = buildNetwork(cx, plan.name, m, find("body"), env, streams, values, predicted);
  const lossMember = find("loss");
  const beforeLosses = cx.errors;
  const losses = lossMember ? makeLosses(cx, lossMember.value, env, streams, known, processes, predicted) : [];
  const lossesSound = cx.errors === beforeLosses;
  const mixMember = find("mix");
  const mix = mixMember ? makeMix(cx, mixMember.value, env, tasks) : tasks.map((t) => ({ task: t.name, weight: 1, span: t.span }));
  const samplers: Sampler[] = [];
  for (const s of m.samples) {
    const sampler = makeSampler(cx, s, env, streams, known, processes);
    const old = samplers.find((x) => x.stream === s.stream.text);
    if (old) cx.report("E0203", `stream \`${s.stream.text}\` has two samplers`, s.stream.span, { also: [{ span: old.span, text: "first here" }] });
    else if (sampler) samplers.push(sampler);
  }
  const trainBinding = find("train");
  if (m.trains[1]) cx.report("E0203", "there are two `train` blocks", m.trains[1].span, { also: [{ span: m.trains[0]?.span ?? m.trains[1].span, text: "first here" }] });
  const train = makeTrain(cx, m.trains[0]?.members ?? [], env, trainBinding?.value ?? null, plan.name.span);
  const unused = new Set<string>();
  for (const b of m.bindings) {
    if (sections.includes(b.name.text) || b.index) continue;
    const entry = scope.entries.get(b.name.text);
    entry?.value();
    if (!entry?.span || cx.seen.has(entry.span)) continue;
    unused.add(b.name.text);
    cx.report("W0603", `\`${b.name.text}\` is not used`, b.name.span, { help: "remove it, or check the spelling of what should use it" });
  }

  const model: Model | undefined = network && {
    name: plan.name.text, doc: plan.doc, span: plan.name.span, source: plan.name.span.source, axes, constants, streams, specials, tasks,
    attributes: attributes.map((a) => {
      const formula = formulas.get(a.name);
      return formula ? { ...a, formula } : a;
    }),
    mask: mask && predicate(mask), score: score && predicate(score), attentions: [...cx.made.attentions.values()], crossAttentions: [...cx.made.crossAttentions.values()], flow: network.flow, routed: network.routed, processes, network: network.layers, losses, mix, samplers, train,
    parameters: cx.made.parameters, ties: cx.made.ties, reads: [...cx.made.reads].sort(),
    ...(network.maxTokens === undefined ? {} : { maxTokens: network.maxTokens }),
    notBuilt: cx.notBuilt.sorted(),
  };
  const parts = { streams, tasks, processes, losses, mix, samplers, hasLoss: lossMember !== undefined, hasMix: mixMember !== undefined, lossSpan: lossMember?.value.span, mixSpan: mixMember?.value.span, sampleSpans: m.samples, lossesSound, tasksSound, unused };
  checkModel(cx, plan.name, parts, network);
  cx.modelScope = null;
  cx.attributes = [];
  cx.besides = [];
  cx.formulas.clear();
  outerLater.addAll(cx.notBuilt.sorted());
  cx.notBuilt = outerLater;
  return cx.errors > before ? undefined : model;
}

const predicate = (v: MaskValue | ScoreValue): Predicate => ({ expr: v.expr, text: v.text, span: v.span, ...(v.kind === "mask" && v.clause ? { clause: v.clause } : {}) });

// ---------------------------------------------------------------- parameters and members

function parameters(cx: Context, plan: Plan, env: Env): { axes: NamedSize[]; constants: Constant[] } {
  const axes: NamedSize[] = [];
  const constants: Constant[] = [];
  for (const p of plan.base.params) {
    const over = plan.parameters.get(p.name.text);
    const e = over?.value ?? p.fallback;
    const kind = p.paramKind?.name.text ?? null;
    if (!e) {
      cx.report("E0209", `parameter \`${p.name.text}\` of a model needs a value`, p.span, { help: `write \`${p.name.text}: ${kind ?? "int"} = …\`` });
      env.scope.set(p.name.text, poison, p.name.span, "parameter");
      continue;
    }
    if (kind && !["axis", "int", "float", "bool", "string"].includes(kind)) {
      cx.report("E0202", `a model takes axes, numbers, truth values and strings, and \`${p.name.text}\` is a ${kind}`, p.paramKind?.span ?? p.span, { help: "make it a member of the model" });
    }
    const v = coerce(cx, cx.evaluate.expr(cx, e, { ...env, ...(kind ? { wants: kind } : {}) }), wantedOf(p), e.span, plan.name.text);
    if (v.kind === "axis") {
      const n = dimValue(v.size);
      if (n !== undefined && n <= 0) cx.report("E0319", `axis \`${p.name.text}\` would have size ${n}`, e.span);
      axes.push({ name: v.name, size: v.size, span: e.span });
    } else if (v.kind === "int") constants.push({ name: p.name.text, value: dimValue(v.dim) ?? 0, span: e.span });
    else if (v.kind === "float" || v.kind === "bool" || v.kind === "string") constants.push({ name: p.name.text, value: v.value ?? 0, span: e.span });
    bind(cx, env.scope, p.name, v, "parameter", "parameter");
  }
  return { axes, constants };
}

/** Members by kind; `when` and `repeat` taken apart, declarations bound. */
function sort(cx: Context, members: readonly Member[], env: Env, out: Sorted, attributes: Attribute[], axes: NamedSize[]): void {
  const { scope } = env;
  const once = <T extends { readonly span: Ident["span"] }>(all: readonly T[], name: (x: T) => string, x: T, what: string): boolean => {
    const old = all.find((y) => name(y) === name(x));
    if (old) cx.report("E0203", `${what} \`${name(x)}\` is written twice`, x.span, { also: [{ span: old.span, text: "first here" }] });
    return !old;
  };
  for (const m of members) {
    switch (m.kind) {
      case "tokens": out.tokens.push(m); break;
      case "task": out.tasks.push(m); break;
      case "embed": if (once(out.embeds, (x) => x.stream.text, m, "embed")) out.embeds.push(m); break;
      case "head": if (once(out.heads, (x) => x.stream.text, m, "head")) out.heads.push(m); break;
      case "sample": out.samples.push(m); break;
      case "process": out.processes.push(m); break;
      case "train": out.trains.push(m); break;
      case "binding": out.bindings.push(m); break;
      case "layer": case "fn": case "mask": case "score": case "router": case "route":
        bind(cx, scope, m.name, { kind: "decl", decl: m, scope }, "file", m.kind);
        break;
      case "attribute": {
        if (!once(attributes, (x) => x.name, { name: m.name.text, fallback: 0, span: m.name.span }, "attribute")) break;
        if (isAttribute(cx, m.name.text) || m.name.text === TOKEN_ID) {
          cx.report("E0235", `every token has an attribute \`${m.name.text}\``, m.name.span, { help: settable.includes(m.name.text) ? `it needs no declaration: a task sets it with \`given …(field, ${m.name.text}: 1)\`` : "give it another name" });
          break;
        }
        if (isFormula(m.fallback)) {
          attributes.push({ name: m.name.text, fallback: 0, span: m.name.span });
          declareFormula(cx, m, env);
          break;
        }
        const v = m.fallback ? cx.evaluate.expr(cx, m.fallback, env) : int(dimConst(0));
        const fallback = v.kind === "int" ? dimValue(v.dim) : v.kind === "bool" ? Number(v.value) : undefined;
        if (fallback === undefined && v.kind !== "poison") cx.report("E0202", `attribute \`${m.name.text}\` is a whole number, and this is ${describe(v)}`, m.fallback?.span ?? m.span);
        attributes.push({ name: m.name.text, fallback: fallback ?? 0, span: m.name.span });
        break;
      }
      case "axes":
        for (const a of m.axes) {
          const v = coerce(cx, cx.evaluate.expr(cx, a.size, { ...env, wants: "int" }), { name: a.name.text, kind: "axis", span: a.name.span }, a.size.span, "axis");
          const axis: Value = v.kind === "axis" ? { ...v, name: a.name.text } : v;
          if (axis.kind === "axis") {
            cx.noteSize(axis.name, axis.size, a.size.span);
            axes.push({ name: axis.name, size: axis.size, span: a.size.span });
          }
          bind(cx, scope, a.name, axis, "axis", "axis");
        }
        break;
      case "when_members": {
        const c = cx.evaluate.expr(cx, m.condition, { ...env, wants: "bool" });
        if (c.kind === "bool") sort(cx, c.value ? m.members : (m.otherwise ?? []), env, out, attributes, axes);
        else if (c.kind !== "poison") cx.report("E0224", `\`when\` decides while the model is built, and this is ${describe(c)}`, m.condition.span);
        break;
      }
      case "repeat_members": {
        const r = cx.evaluate.expr(cx, m.range, env);
        if (r.kind !== "range") {
          if (r.kind !== "poison") cx.report("E0202", `\`repeat\` goes over a range such as \`0..n\`, and this is ${describe(r)}`, m.range.span);
          break;
        }
        repeatBindings(cx, m.members, m.index, dimValue(r.from) ?? 0, dimValue(r.to) ?? 0, env);
        break;
      }
      case "network":
        cx.later("E0404", `network \`${m.name.text}\` is read, but several networks in one model are not built yet`, m.name.span);
        bind(cx, scope, m.name, poison, "member", "network");
        break;
      case "stage":
        cx.later("E0405", `stage \`${m.name.text}\` is read, but training stages are not built yet`, m.name.span);
        bind(cx, scope, m.name, poison, "member", "stage");
        break;
      default:
        cx.report("E0229", "this does not belong in a model", m.span);
    }
  }
}

function repeatBindings(cx: Context, members: readonly Member[], index: Ident, from: number, to: number, env: Env): void {
  const lists = new Map<string, Value[]>();
  for (let i = from; i < Math.min(to, from + 10_000); i++) {
    const scope = newScope(env.scope);
    scope.set(index.text, int(dimConst(i)), index.span, "let");
    for (const b of members) {
      if (b.kind !== "binding" || !b.index) {
        cx.report("E0229", "`repeat` in a model holds lines such as `blocks[i] = …`", b.span);
        return;
      }
      const all = lists.get(b.name.text) ?? [];
      all.push(cx.evaluate.expr(cx, b.value, { ...env, scope, path: `${b.name.text}[${all.length}]`, exact: true }));
      lists.set(b.name.text, all);
    }
  }
  for (const b of members) {
    if (b.kind !== "binding" || env.scope.entries.has(b.name.text)) continue;
    env.scope.set(b.name.text, { kind: "list", items: lists.get(b.name.text) ?? [] }, b.name.span, "member");
  }
}

/** `name = …` in a model: worked out when something asks for it. */
function bindings(cx: Context, all: readonly Binding[], env: Env): void {
  for (const b of all) {
    const name = b.name.text;
    if (name === "loss" || name === "mix" || name === "train") {
      if (mayBind(cx, env.scope, b.name)) env.scope.set(name, poison, b.name.span, "member");
      continue;
    }
    if (!mayBind(cx, env.scope, b.name, "member")) continue;
    let open = false;
    env.scope.setLazy(name, () => {
      if (open) return cx.report("E0223", `\`${name}\` is made of itself`, b.name.span);
      open = true;
      const wants = name === "mask" || name === "score" ? { wants: name } : name === "body" ? { wants: "layer" } : {};
      const { run } = cx;
      const v = cx.evaluate.expr(cx, b.value, { ...env, scope: name === "mask" || name === "score" ? ofPairs(env.scope) : env.scope, path: name, exact: true, ...wants });
      cx.run = run;
      open = false;
      return v;
    }, b.name.span, "member");
  }
}

/** Names of a model's `mask` and `score`: `head` and `layer` too, where the model has no such names of its own. */
function ofPairs(outer: Scope): Scope {
  const scope = newScope(outer);
  for (const n of ["head", "layer"]) {
    const own = outer.find(n);
    if (own) scope.entries.set(n, own);
  }
  setInfo(scope);
  return scope;
}

function predicateOf<K extends "mask" | "score">(cx: Context, b: Binding | undefined, kind: K, env: Env): (K extends "mask" ? MaskValue : ScoreValue) | null {
  if (!b) return null;
  const entry = env.scope.entries.get(kind);
  if (!entry) return null;
  if (entry.span) cx.seen.add(entry.span);
  const v = coerce(cx, entry.value(), { name: kind, kind, span: b.name.span }, b.value.span, "the model");
  if (v.kind !== kind) {
    // Said here; the layers that are given it say no more.
    env.scope.entries.set(kind, { ...entry, value: () => poison });
    return null;
  }
  const text = cx.text(b.value.span) ?? cx.sources.get(b.value.span.source)?.text.slice(b.value.span.start, b.value.span.end).replace(/\s+/g, " ") ?? kind;
  return { ...v, text, span: b.value.span } as K extends "mask" ? MaskValue : ScoreValue;
}

