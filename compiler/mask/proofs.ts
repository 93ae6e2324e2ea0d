// What a model's masks do on samples of every length: proven, refuted by a witness, or left for the data to show.
// In: a checked Model. Out: findings with witnesses, predictions that never see anything, and what stays open.
// First the three-valued analysis over Nodes: what it rules out cannot happen. The rest is tried on samples of many lengths; where
// those are all the samples there are, finding nothing is a proof too.

import type { ScalarExpr } from "../scalar/expr.ts";
import { children } from "../scalar/expr.ts";
import type { Model, Task } from "../types/model.ts";
import type { Finding, Lone, Seen } from "./find.ts";
import { loneIn, seenIn } from "./find.ts";
import type { Ground, Node } from "./nodes.ts";
import { exact, groundOf, isContinuous, whole } from "./nodes.ts";
import type { Kind } from "./questions.ts";
import { Sees, questionsOf, reachable } from "./questions.ts";
import type { Lengths, Sample } from "./sample.ts";
import { makeSample } from "./sample.ts";
import type { Views } from "./sight.ts";
import { viewsOf } from "./sight.ts";

/** A predicted item none of whose queries sees a token in any step. */
export interface Never {
  readonly kind: "never";
  readonly sample: Sample;
  readonly item: number;
  readonly query: number;
}

export interface Open {
  readonly task: string;
  readonly kind: Kind | "lone";
  /** The predicted item; for `lone` the predicate, a number of Views.groups. */
  readonly at: number;
}

export interface Proof {
  readonly views: Views;
  readonly findings: readonly Finding[];
  readonly never: readonly Never[];
  /** Neither proven nor refuted: to be looked at on real samples. */
  readonly open: readonly Open[];
}

/** Samples are tried until so many pairs have been evaluated, a task. */
const WORK = 6_000_000;
/** Images of at most so many patches are taken apart to single tokens where ranges of them are not enough. */
const SINGLE = 64;

const known = new WeakMap<Model, Proof>();

/** Tasks whose samples are laid out as their items say; repetition and choice are not built yet. */
export const provable = (model: Model): boolean => model.flow.length > 0 && !model.notBuilt.some((d) => d.code === "E0406");

export function proveMasks(model: Model): Proof {
  const old = known.get(model);
  if (old) return old;
  const views = viewsOf(model);
  const findings: Finding[] = [];
  const never: Never[] = [];
  const open: Open[] = [];
  if (provable(model)) for (const task of model.tasks) prove(model, task, views, findings, never, open);
  const made = { views, findings, never, open };
  known.set(model, made);
  return made;
}

function prove(model: Model, task: Task, views: Views, findings: Finding[], never: Never[], open: Open[]): void {
  const g = groundOf(model, task);
  const sees = new Sees(g, views);
  // A task that is only sampled has no loss that a leak could spoil.
  const trained = model.mix.some((m) => m.task === task.name && m.weight > 0);
  const doubts = trained ? doubtsOf(g, sees) : new Map<string, Doubt>();
  const lone = views.groups.flatMap((_, group) => (mayBeLone(g, sees, group) ? [group] : []));
  for (const item of neverSeeing(g, sees)) {
    const sample = makeSample(model, task, { text: 4 });
    const target = sample.kept.find((i) => sample.item[i] === item);
    if (target !== undefined) never.push({ kind: "never", sample, item, query: isContinuous(g, item) ? target : Math.max(0, target - 1) });
  }
  if (doubts.size === 0 && lone.length === 0) return;
  const { all, complete } = samplesOf(g, views);
  const seen = new Map<string, Seen>();
  const alone = new Map<number, Lone>();
  let work = 0;
  let skipped = false;
  for (const lengths of all) {
    const left = [...doubts.keys()].some((d) => !seen.has(d));
    const leftLone = lone.filter((x) => !alone.has(x));
    if (!left && leftLone.length === 0) break;
    const sample = makeSample(model, task, lengths);
    if (sample.count === 0) continue;
    const cost = sample.kept.length ** 2 * views.groups.length;
    if (work + cost > WORK && work > 0) {
      skipped = true;
      continue;
    }
    work += cost;
    if (sample.kept.length < sample.count) skipped = true;
    if (left) for (const s of seenIn(model, views, sample, (kind, item) => doubts.has(`${kind} ${item}`) && !seen.has(`${kind} ${item}`))) seen.set(`${s.kind} ${s.item}`, s);
    for (const s of loneIn(views, sample, leftLone)) alone.set(s.group, s);
  }
  findings.push(...alone.values(), ...seen.values());
  if (complete && !skipped) return;
  for (const [key, { kind, item }] of doubts) if (!seen.has(key)) open.push({ task: task.name, kind, at: item });
  for (const at of lone) if (!alone.has(at)) open.push({ task: task.name, kind: "lone", at });
}

interface Doubt {
  readonly kind: Kind;
  readonly item: number;
}

/** `leak 3`: what the analysis cannot rule out, by predicted item. */
function doubtsOf(g: Ground, sees: Sees): Map<string, Doubt> {
  const out = new Map<string, Doubt>();
  const single = new Map<number, boolean>();
  for (const q of questionsOf(g)) {
    const sets = reachable(sees, q.nodes, q.queries, q.absent);
    for (const kind of ["leak", "copy", "noised", "ahead"] as const) {
      if (!q.hidden[kind].some((x) => sets.some((s) => s.has(x)))) continue;
      if (kind === "copy" && isContinuous(g, q.item)) {
        const apart = single.get(q.item) ?? copyByToken(g, sees, q.item, [...new Set(q.hidden.copy.map((x) => q.nodes[x]?.item ?? 0))]);
        single.set(q.item, apart);
        if (!apart) continue;
      }
      out.set(`${kind} ${q.item}`, { kind, item: q.item });
    }
  }
  return out;
}

/** Whether a span's tokens may see their own copies, asked token by token. */
function copyByToken(g: Ground, sees: Sees, item: number, copies: readonly number[]): boolean {
  const count = g.counts[item]?.hi ?? 0;
  if (count > SINGLE) return true;
  const alike = new Set([item, ...copies]);
  const tokens = Array.from({ length: count }, (_, i) => i);
  const nodes = g.items.flatMap((_, i): Node[] => (alike.has(i) ? tokens.map((x) => ({ item: i, index: exact(x), after: exact(count - 1 - x) })) : [whole(g, i)]));
  const numbers = (of: number): number[] => nodes.flatMap((n, i) => (n.item === of ? [i] : []));
  const sets = reachable(sees, nodes, numbers(item), new Set());
  return copies.some((c) => numbers(c).some((at, i) => sets[i]?.has(at)));
}

/** Whether some token may see nothing under a predicate. */
function mayBeLone(g: Ground, sees: Sees, group: number): boolean {
  const none: ReadonlySet<number> = new Set();
  const sure = g.items.flatMap((_, i) => (!g.droppable[i] && (g.counts[i]?.lo ?? 0) > 0 ? [whole(g, i)] : []));
  const looks = (q: Node): boolean => sees.counts(group, q) === "false" || sees.self(group, q) === "true" || sure.some((k) => k.item !== q.item && sees.truth(group, q, k, none) === "true");
  return g.items.some((_, i) => {
    if (looks(whole(g, i))) return false;
    const count = g.counts[i]?.hi ?? 0;
    if (!isContinuous(g, i) || count > 4 * SINGLE) return true;
    return Array.from({ length: count }, (_, x): Node => ({ item: i, index: exact(x), after: exact(count - 1 - x) })).some((q) => !looks(q));
  });
}

/** Predicted items whose queries see no token in any step, whatever the sample. */
function neverSeeing(g: Ground, sees: Sees): number[] {
  const { views } = sees;
  // Experts that choose among tokens do not look: without any attention there is no mask to speak of.
  if (views.steps.every((v) => v.step.router)) return [];
  if (views.groups.some((x) => !x.expr) || g.model.crossAttentions.length > 0) return [];
  const blind = (q: Node, nodes: readonly Node[], absent: ReadonlySet<number>): boolean =>
    views.groups.every((_, group) => nodes.every((k) => sees.truth(group, q, k, absent) === "false"));
  const seeing = new Set<number>();
  const asked = new Set<number>();
  for (const q of questionsOf(g)) {
    asked.add(q.item);
    if (!q.queries.every((x) => q.nodes[x] && blind(q.nodes[x], q.nodes, q.absent))) seeing.add(q.item);
  }
  return [...asked].filter((i) => !seeing.has(i) && g.items[i]?.kind === "predict");
}

/** Lengths and choices to try: short and long texts, lengths around the numbers in the masks, items left out alone and together. */
export function samplesOf(g: Ground, views: Views): { readonly all: Lengths[]; readonly complete: boolean } {
  const texts = g.items.filter((x, i) => x.kind !== "literal" && g.counts[i]?.lo !== g.counts[i]?.hi);
  const fields = [...new Set(texts.flatMap((x) => (x.kind === "literal" ? [] : [x.field])))];
  const units = new Map<string, number[]>();
  g.items.forEach((x, i) => {
    if (x.drop > 0) {
      const key = x.dropGroup > 0 ? `group ${x.dropGroup}` : `item ${i}`;
      units.set(key, [...(units.get(key) ?? []), i]);
    }
  });
  const drops: ReadonlySet<number>[] = [new Set()];
  const all = [...units.values()];
  if (all.length <= 3) for (let m = 1; m < 2 ** all.length; m++) drops.push(new Set(all.flatMap((u, i) => ((m >> i) & 1 ? u : []))));
  else drops.push(new Set(all.flat()), ...all.map((u) => new Set(u)));
  const one: Lengths = { text: 4 };
  if (fields.length === 0) return { all: drops.map((dropped) => ({ ...one, dropped })), complete: all.length <= 3 };
  const numbers = new Set<number>([2, 1, 3, 7, 0]);
  for (const n of constantsOf(views)) if (n > 1 && n <= 200) for (const x of [n, n + 2]) numbers.add(x);
  return {
    all: [
      one, ...drops.slice(1).map((dropped) => ({ ...one, dropped })), ...[...numbers].slice(0, 12).map((text) => ({ text })),
      ...fields.flatMap((f) => [{ text: 4, fields: { [f]: 0 } }, { text: 4, fields: { [f]: 1 } }, { text: 1, fields: { [f]: 9 } }]), ...drops.slice(1).map((dropped) => ({ text: 0, dropped })),
    ],
    complete: false,
  };
}

function constantsOf(views: Views): Set<number> {
  const out = new Set<number>();
  const visit = (e: ScalarExpr): void => {
    if (e.kind === "const" && e.type === "i32") out.add(Math.abs(e.value));
    children(e).forEach(visit);
  };
  for (const g of views.groups) if (g.expr) visit(g.expr);
  return out;
}
