// `task NAME(fields) = …`: one sample's layout. In: the members of a model and its streams. Out: Task data, groups flattened.
// Refuses fields that are no stream, fields that are not declared or of another stream, and dropping what is predicted.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Arg, TaskElement, TaskMember, TaskModifier, TaskSegment } from "../ast/nodes.ts";
import { isAttribute, settable } from "./attributes.ts";
import { setting } from "./configured.ts";
import type { Context } from "./context.ts";
import type { Special, Stream, Task, TaskField, TaskItem } from "./model.ts";
import { numberOf } from "./operators.ts";
import type { Env } from "./values.ts";

interface Place {
  readonly cx: Context;
  readonly env: Env;
  readonly fields: readonly TaskField[];
  readonly streams: readonly Stream[];
  readonly specials: readonly Special[];
  readonly attributes: readonly string[];
  readonly used: Set<string>;
  groups: number;
}

/** What a group's modifiers give its elements. */
interface Inherited {
  readonly drop: number;
  readonly group: number;
}

export function makeTask(cx: Context, m: TaskMember, id: number, env: Env, streams: readonly Stream[], known: ReadonlySet<string>, specials: readonly Special[]): Task {
  const fields: TaskField[] = [];
  for (const f of m.fields) {
    const kind = f.paramKind?.name;
    if (f.name.text === "") continue;
    const old = fields.find((x) => x.name === f.name.text);
    if (old) {
      cx.report("E0203", `field \`${f.name.text}\` is declared twice`, f.name.span, { also: [{ span: old.span, text: "first here" }] });
      continue;
    }
    if (!kind) cx.report("E0313", `field \`${f.name.text}\` has no stream`, f.span, { help: `write \`${f.name.text}: ${streams[0]?.name ?? "text"}\`` });
    else if (!known.has(kind.text)) cx.report("E0201", `there is no stream \`${kind.text}\``, kind.span, { help: didYouMean(kind.text, known) });
    if (f.paramKind?.list) cx.later("E0406", "list fields check, but repetition in tasks is not built yet", f.span);
    fields.push({ name: f.name.text, stream: kind?.text ?? "", span: f.name.span });
  }
  const place: Place = { cx, env, fields, streams, specials, attributes: cx.attributes, used: new Set(), groups: 0 };
  const before = cx.errors;
  if (!cx.understood(m.span)) cx.errors++;
  const items = elements(place, m.layout, { drop: 0, group: 0 });
  if (cx.errors === before) for (const f of fields) {
    if (!place.used.has(f.name)) cx.report("W0601", `field \`${f.name}\` of task \`${m.name.text}\` is not used`, f.span, { help: `lay it out: \`given ${f.stream}(${f.name})\`` });
  }
  return { name: m.name.text, id, fields, items, span: m.name.span };
}

function elements(p: Place, all: readonly TaskElement[], from: Inherited): TaskItem[] {
  return all.flatMap((e): TaskItem[] => {
    switch (e.kind) {
      case "literal_token": {
        const special = p.specials.find((s) => s.name === e.name.text);
        const surplus = e.args.find((a) => !a.name);
        if (surplus) p.cx.report("E0210", "a literal token holds nothing", surplus.span, { help: "only attributes are set here, by name: `<eos>(turn: 1)`" });
        const attributes = e.args.length > 0 ? { attributes: attributesSet(p, e.args) } : {};
        return [{ kind: "literal", name: e.name.text, id: special?.id ?? 0, ...attributes, drop: from.drop, dropGroup: from.group, span: e.span }];
      }
      case "segment": return segment(p, e, from);
      case "group": {
        const drop = modifiers(p, e.modifiers, from);
        const group = e.modifiers.length > 0 && drop.drop > 0 ? ++p.groups : from.group;
        return elements(p, e.elements, { drop: drop.drop, group });
      }
      case "repeat_elements":
        p.cx.later("E0406", "repetition checks, but it is not built yet", e.span);
        return [{ kind: "repeat", items: elements(p, e.elements, from), span: e.span }];
      case "choice":
        p.cx.later("E0406", "a choice between layouts checks, but it is not built yet", e.span);
        return e.options.flatMap((o) => elements(p, o, from));
    }
  });
}

function modifiers(p: Place, all: readonly TaskModifier[], from: Inherited): { drop: number } {
  let drop = from.drop;
  for (const m of all) {
    if (m.name.text !== "drop") {
      p.cx.report("E0208", `there is no modifier \`${m.name.text}\``, m.name.span, { help: didYouMean(m.name.text, ["drop"]) ?? "the only one is `drop(p)`" });
      continue;
    }
    const arg = m.args[0];
    if (!arg || m.args.length > 1) {
      p.cx.report(arg ? "E0210" : "E0209", "`drop` takes one probability", m.span);
      continue;
    }
    const out = { numbers: {} as Record<string, number>, words: {}, lists: {}, exprs: {} };
    setting(p.cx, { name: "p", kind: "float", min: 0, max: 1 }, arg.value, "drop", p.env, out);
    drop = out.numbers["p"] ?? drop;
  }
  return { drop };
}

function segment(p: Place, e: TaskSegment, from: Inherited): TaskItem[] {
  const { cx } = p;
  const own = modifiers(p, e.modifiers, from);
  const stream = p.streams.find((s) => s.name === e.stream.text);
  if (!stream && !p.env.scope.find(e.stream.text)) {
    cx.report("E0201", `there is no stream \`${e.stream.text}\``, e.stream.span, { help: didYouMean(e.stream.text, p.streams.map((s) => s.name)) });
  }
  const positional = e.args.filter((a) => !a.name);
  const field = positional[0]?.value;
  if (!field && stream?.kind === "queries") {
    return [{ kind: e.role, stream: stream.name, field: "", drop: 0, dropGroup: 0, attributes: {}, span: e.span }];
  }
  if (!field) {
    cx.report("E0320", `\`${e.role} ${e.stream.text}\` names no field`, e.span, { help: `name the field in parentheses: \`${e.role} ${e.stream.text}(${p.fields.find((f) => f.stream === e.stream.text)?.name ?? "field"})\`` });
    return [];
  }
  if (positional[1]) cx.report("E0210", "a segment lays out one field", positional[1].span);
  if (field.kind !== "name") {
    if (field.kind !== "missing") cx.report("E0320", "a segment names a field of its task", field.span);
    return [];
  }
  const declared = p.fields.find((f) => f.name === field.text);
  if (!declared) {
    cx.report("E0201", `the task has no field \`${field.text}\``, field.span, { help: didYouMean(field.text, p.fields.map((f) => f.name)) });
    return [];
  }
  p.used.add(declared.name);
  if (stream?.beside && e.role !== "beside") {
    cx.report("E0245", `stream \`${stream.name}\` stands beside the sequence, and here it stands in it`, e.span, { help: `write \`beside ${stream.name}(${declared.name})\`, or declare a second stream` });
  }
  if (stream && declared.stream !== e.stream.text) {
    cx.report("E0313", `field \`${declared.name}\` is of stream \`${declared.stream}\`, not \`${e.stream.text}\``, e.stream.span, { also: [{ span: declared.span, text: "declared here" }] });
  }
  if (e.role === "predict" && own.drop > 0) {
    const m = e.modifiers[0];
    cx.report("E0319", "what is predicted cannot be dropped", m?.span ?? e.span, { help: "`drop` belongs to a condition: `given drop(0.1) …`" });
  }
  const attributes = attributesSet(p, e.args);
  if (!stream) return [];
  return [{ kind: e.role, stream: stream.name, field: declared.name, drop: e.role === "predict" ? 0 : own.drop, dropGroup: e.modifiers.length > 0 ? 0 : from.group, attributes, span: e.span }];
}

/** What named arguments give the tokens of an item. */
function attributesSet(p: Place, args: readonly Arg[]): Record<string, number> {
  const { cx } = p;
  const out: Record<string, number> = {};
  for (const a of args) {
    if (!a.name) continue;
    const name = a.name.text;
    const mayBe = [...p.attributes.filter((x) => !cx.formulas.has(x)), ...settable];
    if (cx.formulas.has(name) || (isAttribute(cx, name) && !mayBe.includes(name))) {
      cx.report("E0238", cx.formulas.has(name) ? `attribute \`${name}\` has a formula, so a task cannot set it` : `\`${name}\` follows from the layout, so a task cannot set it`, a.name.span, { help: `a task sets ${mayBe.map((x) => `\`${x}\``).join(", ")}` });
      continue;
    }
    if (!mayBe.includes(name)) {
      cx.report("E0221", `the model declares no attribute \`${name}\``, a.name.span, { help: didYouMean(name, mayBe) ?? `declare it: \`attribute ${name}: int = 0\`` });
      continue;
    }
    const v = cx.evaluate.expr(cx, a.value, p.env);
    const n = v.kind === "bool" ? (v.value ? 1 : 0) : numberOf(v);
    if (n === undefined || !Number.isInteger(n)) {
      if (v.kind !== "poison") cx.report("E0202", `attribute \`${name}\` is a whole number`, a.value.span);
    } else if (n < 0 && settable.includes(name)) cx.report("E0319", `\`${name}\` is counted from 0, and this is ${n}`, a.value.span);
    else out[name] = n;
  }
  return out;
}

/** Every given and predicted segment of a layout, repetitions included. */
export function* segmentsOf(items: readonly TaskItem[]): Generator<Extract<TaskItem, { readonly field: string }>> {
  for (const i of items) {
    if (i.kind === "repeat") yield* segmentsOf(i.items);
    else if (i.kind !== "literal") yield i;
  }
}
