// The meaning of proofs about masks, by trying: samples laid out one token after the other, and what reaches what by definition.
// Written apart from compiler/mask on purpose; shares only the evaluation of expressions with it.

import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { compileExpr } from "../../compiler/scalar/eval.ts";
import type { Model, Task } from "../../compiler/types/model.ts";

export interface Token {
  readonly item: number;
  readonly attributes: Readonly<Record<string, number>>;
}

/** One sample: `lengths` of texts by field, items left out. */
export function layOut(model: Model, task: Task, lengths: Readonly<Record<string, number>>, dropped: ReadonlySet<number>): Token[] {
  const out: Token[] = [];
  let [span, time] = [0, 0];
  const text = model.streams.findIndex((s) => s.kind === "text");
  task.items.forEach((item, i) => {
    if (dropped.has(i) || item.kind === "repeat" || item.kind === "beside") return;
    if (item.kind === "literal") {
      const before = task.items[i - 1];
      const ends = before?.kind === "predict" && model.streams.find((s) => s.name === before.stream)?.kind === "text";
      out.push({ item: i, attributes: { pos: out.length, doc: 0, span: span++, index: 0, stream: text, task: task.id, role: ends ? 1 : 0, row: 0, col: 0, frame: 0, scale: 0, time: 0 } });
      return;
    }
    const stream = model.streams.findIndex((s) => s.name === item.stream);
    const t = model.streams[stream]?.tokenizer;
    const cols = t?.kind === "patches" ? t.width / t.patch : 0;
    const count = t?.kind === "patches" ? cols * (t.height / t.patch) : (lengths[item.field] ?? 0);
    if (item.kind === "predict" && cols > 0) time++;
    for (let n = 0; n < count; n++) {
      out.push({
        item: i,
        attributes: {
          pos: out.length, doc: 0, span, index: n, stream, task: task.id, role: item.kind === "predict" ? 1 : 0, row: cols > 0 ? Math.floor(n / cols) : 0, col: cols > 0 ? n % cols : 0,
          frame: item.attributes["frame"] ?? 0, scale: item.attributes["scale"] ?? 0, time: item.kind === "predict" && cols > 0 ? time : 0,
        },
      });
    }
    span++;
  });
  return out;
}

export type SeesFn = (q: number, k: number, head: number) => boolean;

export function seesOf(mask: ScalarExpr | undefined, tokens: readonly Token[]): SeesFn {
  if (!mask) return () => true;
  let [q, k, h] = [0, 0, 0];
  const run = compileExpr(mask, (l) => {
    if (l.kind === "name") return () => h;
    if (l.kind !== "attr") throw new Error(l.kind);
    return l.side === "q" ? () => tokens[q]?.attributes[l.name] ?? NaN : () => tokens[k]?.attributes[l.name] ?? NaN;
  });
  return (a, b, head) => {
    [q, k, h] = [a, b, head];
    return run() !== 0;
  };
}

/** For every token the tokens that its final state depends on, layer by layer. */
export function dependencies(model: Model, tokens: readonly Token[]): Set<number>[] {
  const outs: Set<number>[][] = [];
  const before = (after: readonly number[]): Set<number>[] => tokens.map((_, i) => new Set([i, ...after.flatMap((s) => [...(outs[s]?.[i] ?? [])])]));
  for (const step of model.flow) {
    const into = before(step.after);
    const sees = seesOf(step.mask, tokens);
    outs.push(tokens.map((_, q) => {
      const set = new Set(into[q]);
      for (let h = 0; h < step.heads; h++) tokens.forEach((_t, k) => {
        if (sees(q, k, h)) for (const x of into[k] ?? []) set.add(x);
      });
      return set;
    }));
  }
  return before(model.flow.map((_, i) => i));
}

export type Kind = "leak" | "copy" | "noised" | "ahead";

/** `leak 3`: what predictions of item 3 depend on and must not. */
export function mistakes(model: Model, task: Task, tokens: readonly Token[]): Set<string> {
  const out = new Set<string>();
  const reach = dependencies(model, tokens);
  const continuous = (i: number): boolean => {
    const item = task.items[i];
    return item !== undefined && "stream" in item && model.streams.find((s) => s.name === item.stream)?.kind === "continuous";
  };
  tokens.forEach((t, at) => {
    if (t.attributes["role"] !== 1) return;
    const span = continuous(t.item);
    const query = span ? at : at - 1;
    if (query < 0) return;
    const own = task.items[t.item];
    for (const k of reach[query] ?? []) {
      const x = tokens[k];
      const item = x && task.items[x.item];
      if (!x || !item) continue;
      const noised = item.kind === "predict" && continuous(x.item);
      const alike = x.item !== t.item && own !== undefined && "field" in own && "field" in item && own.field === item.field && !noised && (item.kind === "given" || x.item < t.item);
      if (!span && k === at) out.add(`leak ${t.item}`);
      if (alike && x.attributes["index"] === t.attributes["index"]) out.add(`copy ${t.item}`);
      if (noised && x.item < t.item) out.add(`noised ${t.item}`);
      if ((x.item > t.item && !alike) || (!span && x.item === t.item && k > at)) out.add(`ahead ${t.item}`);
    }
  });
  return out;
}

/** Whether some token that is kept while generating sees one that is made after it. */
export function looksAhead(model: Model, task: Task, tokens: readonly Token[]): boolean {
  const last = task.items.findLastIndex((i) => i.kind === "predict");
  const first = task.items.findIndex((i) => i.kind === "predict");
  const text = (i: number): boolean => {
    const item = task.items[i];
    return item?.kind === "predict" && model.streams.find((s) => s.name === item.stream)?.kind === "text";
  };
  /** When a token is made: a number an event. */
  const when = tokens.map((t, at) => {
    if (t.item > last) return undefined;
    if (t.item < first) return -1;
    if (text(t.item)) return t.item * 1000 + at;
    if (task.items[t.item]?.kind === "predict") return t.item * 1000;
    return (task.items.findLastIndex((i, n) => n < t.item && i.kind === "predict") + 1) * 1000 - 1;
  });
  return model.flow.some((step) => {
    const sees = seesOf(step.mask, tokens);
    return tokens.some((_, q) => tokens.some((_t, k) => {
      const [a, b] = [when[q], when[k]];
      if (a === undefined || b === undefined || b <= a) return false;
      return Array.from({ length: step.heads }, (_h, h) => h).some((h) => sees(q, k, h));
    }));
  });
}
