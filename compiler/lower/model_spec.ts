// Model -> what a bundle says of it (ModelSpec) and the state buffers of its parameters.
// Parameters under weight decay come first and those that balance experts last, so that the optimizer needs a few numbers instead of a table.

import { dimValue } from "../dim/dim.ts";
import type { ModelSpec, ParameterSpec, StreamSpec, TaskItem } from "../plan/manifest.ts";
import type { StateBuffer } from "../plan/plan.ts";
import type { Model, Stream, TaskItem as ModelItem } from "../types/model.ts";
import type { Parameter } from "../types/parameter.ts";
import type { FlatParameters } from "./optimizer.ts";
import { routerSpecs } from "./routers.ts";
import { routingsOf } from "./train.ts";

export interface ParameterLayout extends FlatParameters {
  readonly parameters: readonly ParameterSpec[];
}

/** Offsets in elements; each parameter starts at a multiple of 4. */
export function layoutParameters(model: Model): ParameterLayout {
  // A rate of 0 is a rate: what such a bias is told is no slope either.
  const rate = (p: Parameter): number | undefined => (p.frozen ? undefined : p.balance);
  const decayed = model.parameters.filter((p) => p.decay && !p.frozen && rate(p) === undefined);
  const rates = [...new Set(model.parameters.map(rate).filter((r) => r !== undefined))].sort((a, b) => a - b);
  const parameters: ParameterSpec[] = [];
  let offset = 0;
  const place = (group: readonly Parameter[]): number => {
    for (const p of group) {
      parameters.push(parameterSpec(p, offset));
      offset += Math.ceil(sizeOf(p) / 4) * 4;
    }
    return offset;
  };
  const first = place(decayed);
  place(model.parameters.filter((p) => rate(p) === undefined && !decayed.includes(p)));
  const balanced = rates.map((r) => ({ start: offset, end: place(model.parameters.filter((p) => rate(p) === r)), rate: r }));
  return { parameters, count: Math.max(4, offset), decayed: first, ...(balanced.length > 0 ? { balanced } : {}) };
}

const sizeOf = (p: Parameter): number => p.axes.reduce((n, a) => n * (dimValue(a.size) ?? 0), 1);

function parameterSpec(p: Parameter, offset: number): ParameterSpec {
  return {
    path: p.path, axes: p.axes.map((a) => ({ name: a.name, size: dimValue(a.size) ?? 0 })), init: p.init, decay: p.decay, frozen: p.frozen, offset,
    ...(p.from === undefined ? {} : { from: p.from }),
    ...(p.dense === undefined ? {} : { dense: p.dense }),
    ...(p.experts && p.experts.length > 0 ? { experts: p.experts.length } : {}),
    ...(p.alike ? { alike: true } : {}),
    ...(p.router ? { router: true } : {}),
    ...(p.balance === undefined ? {} : { balance: p.balance }),
  };
}

/** params, grads, moments, EMA and accumulator: one layout, several buffers. */
export function parameterStates(model: Model, layout: ParameterLayout): StateBuffer[] {
  const fields = layout.parameters.map((p) => ({ name: p.path, shape: p.axes.map((a) => a.size), axes: p.axes.map((a) => a.name), offset: p.offset }));
  const names = ["params", "grads", "adam.m", "adam.v", ...(model.train.ema > 0 ? ["ema"] : []), ...(model.train.accumulate > 1 ? ["accum"] : [])];
  return names.map((name) => ({ name, dtype: "f32" as const, size: layout.count, fields }));
}

export function modelSpec(model: Model, layout: ParameterLayout, cache: ModelSpec["cache"]): ModelSpec {
  const notes = routingsOf(model);
  const coupling = notes.find((n) => n.couples);
  const coupled = coupling && `router \`${coupling.route}\` of \`${coupling.path}\` chooses among all tokens of a sample`;
  return {
    name: model.name,
    streams: model.streams.map(streamSpec),
    tasks: model.tasks.map((t) => ({
      name: t.name,
      id: t.id,
      fields: t.fields.map((f) => ({ name: f.name, stream: f.stream })),
      items: t.items.map((i) => item(model, i)),
    })),
    // A formula is put in wherever it is read.
    attributes: model.attributes.filter((a) => !a.formula).map((a) => ({ name: a.name, fallback: a.fallback })),
    processes: model.processes.map((p) => {
      if (p.kind === "other") throw new Error(`process ${p.name} is not built`);
      return { name: p.name, stream: p.stream, kind: p.kind, schedule: p.schedule, predict: p.predict, levels: p.levels };
    }),
    samplers: model.samplers.map((s) => ({ stream: s.stream, kind: s.kind, args: s.args })),
    losses: model.losses.map((l) => ({ name: l.name, kind: l.kind, stream: l.stream, weight: l.weight.kind === "const" ? String(l.weight.value) : "by step" })),
    mix: model.mix.map((m) => ({ task: m.task, weight: m.weight })),
    train: model.train,
    parameters: layout.parameters,
    parameterCount: layout.count,
    decayed: layout.decayed,
    ...(notes.length === 0 ? {} : { routers: routerSpecs(notes) }),
    ...(coupled === undefined ? {} : { coupled }),
    cache,
    ...(model.maxTokens === undefined ? {} : { maxTokens: model.maxTokens }),
  };
}

function streamSpec(s: Stream): StreamSpec {
  const t = s.tokenizer;
  if (t.kind === "patches")
    return { name: s.name, id: s.id, kind: "patches", patch: t.patch, height: t.height, width: t.width, channels: t.channels, features: t.patch * t.patch * t.channels, ...(s.beside ? { beside: true } : {}) };
  if (t.kind === "other") throw new Error(`stream ${s.name} is not built`);
  return { name: s.name, id: s.id, kind: "text", tokenizer: t.kind === "bpe" ? { kind: "bpe", file: t.file } : { kind: t.kind }, vocab: s.vocab, ...(s.beside ? { beside: true } : {}) };
}

function item(model: Model, i: ModelItem): TaskItem {
  if (i.kind === "repeat") throw new Error("repetition in a task is not built");
  const drop = { drop: i.drop, dropGroup: i.dropGroup };
  if (i.kind === "literal") return { kind: "literal", text: i.name, id: i.id, stream: model.streams.find((s) => s.kind === "text" && !s.beside)?.id ?? 0, ...(i.attributes ? { attributes: i.attributes } : {}), ...drop };
  return { kind: i.kind, field: i.field, stream: i.stream, attributes: i.attributes, ...drop };
}
