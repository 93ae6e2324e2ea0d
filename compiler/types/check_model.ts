// What must hold of a model as a whole: nothing that is predicted lacks a head, a loss or a sampler; nothing is trained that no task
// reaches; every weight learns or is frozen. In: the parts of a model. Out: diagnostics at the part that is missing or in vain.

import type { Span } from "../../grammar/source.ts";
import type { Ident, SampleMember } from "../ast/nodes.ts";
import type { CheckedNetwork } from "./build_network.ts";
import type { Context } from "./context.ts";
import type { LossTerm, MixEntry, Process, Sampler, Stream, Task, TaskItem } from "./model.ts";
import { segmentsOf } from "./tasks.ts";

export interface Parts {
  readonly streams: readonly Stream[];
  readonly tasks: readonly Task[];
  readonly processes: readonly Process[];
  readonly losses: readonly LossTerm[];
  readonly mix: readonly MixEntry[];
  readonly samplers: readonly Sampler[];
  readonly hasLoss: boolean;
  readonly hasMix: boolean;
  readonly lossSpan: Span | undefined;
  readonly mixSpan: Span | undefined;
  readonly sampleSpans: readonly SampleMember[];
  /** Whether tasks and loss were read without an error; else what they lack is not held against the model. */
  readonly tasksSound: boolean;
  readonly lossesSound: boolean;
  /** Members that nothing uses; their weights are not looked at. */
  readonly unused: ReadonlySet<string>;
}

export function checkModel(cx: Context, name: Ident, p: Parts, network: CheckedNetwork | undefined): void {
  const before = cx.errors;
  if (p.streams.length === 0) cx.report("E0315", `model \`${name.text}\` has no tokens`, name.span, { help: "write `tokens text = bytes()`" });
  if (p.tasks.length === 0) cx.report("E0315", `model \`${name.text}\` has no task`, name.span, { help: "write `task write(line: text) = <bos> predict text(line) <eos>`" });
  if (!p.hasLoss && p.tasks.length > 0) cx.report("E0315", `model \`${name.text}\` has no loss`, name.span, { help: `write \`loss = next_token(${p.streams.find((s) => s.kind === "text")?.name ?? "text"})\`` });
  predictions(cx, p);
  losses(cx, p);
  mixes(cx, p);
  literals(cx, p);
  if (p.tasksSound) guidance(cx, p);
  if (network && cx.errors === before && p.hasLoss && p.lossesSound && p.tasksSound) gradients(cx, p, network);
}

/** Where each stream is predicted first. */
function predicted(p: Parts): Map<string, { readonly task: Task; readonly span: Span }> {
  const out = new Map<string, { task: Task; span: Span }>();
  for (const task of p.tasks) for (const s of segmentsOf(task.items)) if (s.kind === "predict" && !out.has(s.stream)) out.set(s.stream, { task, span: s.span });
  return out;
}

function predictions(cx: Context, p: Parts): void {
  const unmade = new Set<string>();
  for (const [name, where] of predicted(p)) {
    const stream = p.streams.find((s) => s.name === name);
    if (!stream) continue;
    const also = [{ span: where.span, text: `task \`${where.task.name}\` predicts it here` }];
    const continuous = stream.kind === "continuous";
    if (continuous && !p.processes.some((x) => x.stream === name)) {
      unmade.add(name);
      cx.report("E0314", `stream \`${name}\` holds numbers and is predicted without a process`, stream.span, { also, help: `write \`process noising on ${name} = diffusion()\`` });
    }
    if (p.hasLoss && p.lossesSound && !unmade.has(name) && !p.losses.some((l) => l.stream === name)) {
      cx.report("E0302", `stream \`${name}\` is predicted and has no loss`, stream.span, { also, help: `add \`${continuous ? "denoise" : "next_token"}(${name})\` to \`loss\`` });
    }
    if (!p.samplers.some((s) => s.stream === name) && !p.sampleSpans.some((s) => s.stream.text === name)) {
      cx.report("E0303", `stream \`${name}\` is predicted and has no sampler`, stream.span, { also, help: `write \`sample ${name} = ${continuous ? (p.processes.find((x) => x.stream === name)?.kind === "flow" ? "euler(steps: 50)" : "ddim(steps: 50)") : "nucleus(p: 0.9)"}\`` });
    }
  }
}

function losses(cx: Context, p: Parts): void {
  if (!p.tasksSound) return;
  const reached = predicted(p);
  for (const l of p.losses) {
    if (reached.has(l.stream) || p.tasks.length === 0) continue;
    cx.report("E0304", `no task predicts stream \`${l.stream}\`, so \`${l.name}\` is never counted`, l.span, { help: `predict it in a task, or remove the term` });
  }
}

function mixes(cx: Context, p: Parts): void {
  if (!p.hasMix) return;
  for (const t of p.tasks) {
    if (p.mix.some((m) => m.task === t.name)) continue;
    cx.report("E0305", `task \`${t.name}\` is not in the mix`, t.span, { also: p.mixSpan ? [{ span: p.mixSpan, text: "the mix" }] : [], help: `add it, with weight 0 where it is only sampled: \`+ 0.0 * ${t.name}\`` });
  }
  if (p.mix.length > 0 && p.mix.every((m) => m.weight === 0)) cx.report("E0319", "every task has weight 0", p.mixSpan ?? p.mix[0]?.span ?? { source: "", start: 0, end: 0 }, { help: "give one of them a weight above 0" });
}

/** Guidance follows away from what is made without a condition; a task that drops none has nothing to follow away from. */
function guidance(cx: Context, p: Parts): void {
  for (const s of p.samplers) {
    if ((s.args["guidance"] ?? 1) === 1) continue;
    const plain = p.tasks.find((t) => [...segmentsOf(t.items)].some((i) => i.kind === "predict" && i.stream === s.stream) && !dropsSomething(t.items));
    if (!plain) continue;
    cx.report("W0613", `guidance changes nothing in task \`${plain.name}\`, which never drops a condition`, s.span, {
      also: [{ span: plain.span, text: "no condition is dropped here" }], help: "write `given drop(0.1) …` for the condition, so that the model learns to do without it",
    });
  }
}

const dropsSomething = (items: readonly TaskItem[]): boolean => items.some((i) => (i.kind === "repeat" ? dropsSomething(i.items) : i.drop > 0));

/** Literal tokens are words of a text stream. */
function literals(cx: Context, p: Parts): void {
  if (p.streams.some((s) => s.kind === "text" && !s.beside)) return;
  for (const t of p.tasks) {
    const literal = t.items.find((i) => i.kind === "literal");
    if (!literal) continue;
    cx.report("E0315", "literal tokens belong to a text stream, and the model has none", literal.span, { help: "add one: `tokens text = bytes()`" });
    return;
  }
}

function gradients(cx: Context, p: Parts, network: CheckedNetwork): void {
  // What is not built yet may be what a weight is for.
  if (cx.notBuilt.sorted().length > 0) return;
  const learned = new Set<string>();
  const counted = new Set(p.losses.map((l) => l.stream));
  for (const [stream, weights] of network.reached) if (counted.has(stream)) for (const w of weights) learned.add(w);
  for (const w of cx.made.parameters) {
    if (w.balance !== undefined) {
      if (learned.has(w.path)) cx.report("E0260", `weight \`${w.path.split(".").pop() ?? w.path}\` is moved by the load of the experts, and has a gradient too`, w.span, { help: "add it in `balance` alone, which selects and weighs nothing" });
      continue;
    }
    if (learned.has(w.path) || w.frozen || p.unused.has(w.path.split(/[.[]/)[0] ?? "")) continue;
    const read = cx.made.used.has(w.path);
    cx.report("E0308", `weight \`${w.path.split(".").pop() ?? w.path}\` gets no gradient`, w.span, {
      label: read ? "no loss depends on it smoothly" : "never read", notes: [`the first one is \`${w.path}\``],
      help: read ? "write `frozen param` where that is meant" : "use it, or remove it",
    });
  }
}
