// The members of a model, or of a variant laid over its base, sorted by what they are.
// In: declarations. Out: one list a kind, with the scope each member's names come from. `when` and `repeat` are decided later, by
// the caller's evaluation. Refuses a variant that changes what its base does not have, and variants of each other in a circle.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type {
  Binding, EmbedMember, Expr, HeadMember, Ident, Member, ModelDecl, ProcessDecl, SampleMember, TaskMember, TokensMember, TrainDecl, VariantDecl,
} from "../ast/nodes.ts";
import type { Context } from "./context.ts";
import { newScope } from "./calls.ts";
import type { Scope } from "./values.ts";

export interface Plan {
  readonly name: Ident;
  readonly doc: string;
  readonly base: ModelDecl;
  readonly home: Scope;
  /** Values that a variant gives to parameters. */
  readonly parameters: ReadonlyMap<string, { readonly value: Expr; readonly span: Span }>;
  readonly members: readonly Member[];
}

/** The members of a model by what they are. */
export interface Sorted {
  readonly tokens: TokensMember[];
  readonly tasks: TaskMember[];
  readonly embeds: EmbedMember[];
  readonly heads: HeadMember[];
  readonly samples: SampleMember[];
  readonly processes: ProcessDecl[];
  readonly bindings: Binding[];
  readonly trains: TrainDecl[];
}

export type FindModel = (name: string) => { readonly decl: ModelDecl | VariantDecl; readonly scope: Scope } | undefined;

/** Members every model may have, whether its text sets them or not. */
const sections = ["mask", "score", "body", "loss", "mix", "train"];

export function planOf(cx: Context, decl: ModelDecl | VariantDecl, home: Scope, find: FindModel, names: readonly string[], trail: readonly string[] = []): Plan | undefined {
  if (decl.kind === "model") return { name: decl.name, doc: decl.doc?.text ?? "", base: decl, home, parameters: new Map(), members: decl.members };
  const { base } = decl;
  if (base.text === "") return undefined;
  if (trail.includes(decl.name.text)) {
    cx.report("E0223", `variant \`${decl.name.text}\` is a variant of itself`, base.span, { help: `${[...trail, decl.name.text].map((n) => `\`${n}\``).join(" of ")}` });
    return undefined;
  }
  const found = find(base.text);
  if (!found) {
    cx.report("E0201", `there is no model \`${base.text}\``, base.span, { help: didYouMean(base.text, names) });
    return undefined;
  }
  const under = planOf(cx, found.decl, found.scope, find, names, [...trail, decl.name.text]);
  if (!under) return undefined;
  return overlay(cx, decl, home, under);
}

const key = (m: Member): string | undefined => {
  switch (m.kind) {
    case "binding": return m.name.text;
    case "tokens": case "task": case "process": case "layer": case "fn": case "mask": case "score": case "router": case "route": case "network": case "stage": case "attribute":
      return `${m.kind} ${m.name.text}`;
    case "embed": case "head": case "sample": return `${m.kind} ${m.stream.text}`;
    case "train": return "train";
    default: return undefined;
  }
};

function overlay(cx: Context, v: VariantDecl, home: Scope, under: Plan): Plan {
  const parameters = new Map(under.parameters);
  const members = [...under.members];
  const streams = under.members.filter((m) => m.kind === "tokens").map((m) => m.name.text);
  const seen = new Map<string, Span>();
  for (const m of v.members) {
    const k = key(m);
    if (k === undefined) {
      members.push(m);
      continue;
    }
    const twice = seen.get(k);
    const at = "name" in m ? m.name.span : "stream" in m ? m.stream.span : m.span;
    if (twice) {
      cx.report("E0203", `the variant changes \`${k}\` twice`, at, { also: [{ span: twice, text: "first here" }] });
      continue;
    }
    seen.set(k, at);
    const parameter = m.kind === "binding" ? under.base.params.find((p) => p.name.text === m.name.text) : undefined;
    if (parameter && m.kind === "binding") {
      parameters.set(m.name.text, { value: m.value, span: m.name.span });
      continue;
    }
    const place = members.findIndex((x) => key(x) === k);
    const old = members[place];
    if (m.kind === "train" && old?.kind === "train") {
      // Settings are replaced one by one; the others stay.
      const named = new Set(m.members.map(key));
      members[place] = { ...m, members: [...old.members.filter((x) => !named.has(key(x))), ...m.members] };
    } else if (place >= 0) members[place] = m;
    else if (m.kind === "train" || (m.kind === "binding" && sections.includes(m.name.text)) || ((m.kind === "embed" || m.kind === "head" || m.kind === "sample") && streams.includes(m.stream.text))) members.push(m);
    else {
      const names = [...under.base.params.map((p) => p.name.text), ...under.members.map(key).filter((x) => x !== undefined).map((x) => x.split(" ")[1] ?? x)];
      const word = "name" in m ? m.name.text : "stream" in m ? m.stream.text : "";
      cx.report("E0312", `\`${under.name.text}\` has no ${k.includes(" ") ? `${k.split(" ")[0]} ` : ""}\`${word}\` to change`, at, {
        also: [{ span: under.name.span, text: "the base is declared here" }], help: didYouMean(word, names),
      });
    }
  }
  return { name: v.name, doc: v.doc?.text ?? under.doc, base: under.base, home: both(under.home, home), parameters, members };
}

/** The base's names, and where it has none the variant's. */
function both(base: Scope, own: Scope): Scope {
  if (base === own) return base;
  const out = newScope(base, true);
  for (const [n, e] of own.entries) if (!base.entries.has(n)) out.entries.set(n, e);
  return out;
}
