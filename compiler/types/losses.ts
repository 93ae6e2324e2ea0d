// `loss = 1.0 * next_token(text) + …` and `mix = 0.8 * draw + …`: weighted sums of terms. In: their expressions. Out: LossTerm, MixEntry.
// A loss weight may depend on the step (`min(1.0, step / 1000) * denoise(image)`); a mix weight is a number.
// Refuses unknown terms, negative weights, and losses that do not fit their stream.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { CallExpr, Expr } from "../ast/nodes.ts";
import * as S from "../scalar/expr.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { newScope } from "./calls.ts";
import type { Context } from "./context.ts";
import type { LossTerm, MixEntry, Process, Stream, Task } from "./model.ts";
import { numberOf, toScalar } from "./operators.ts";
import type { Env } from "./values.ts";
import { describe, scalar } from "./values.ts";

const terms = ["next_token", "denoise"] as const;
/** Terms of published systems that parse and check, and are not built yet. */
const laterTerms = ["masked_token", "contrastive", "codebook", "distill", "load_balance"];

const isTerm = (e: Expr): e is CallExpr => e.kind === "call" && e.callee.kind === "name" && ([...terms, ...laterTerms] as string[]).includes(e.callee.text);

interface Weighted {
  readonly factors: readonly { readonly e: Expr; readonly inverse: boolean }[];
  readonly item: Expr;
  readonly negative: Span | null;
}

/** A sum of products, each with one item that `is` tells; undefined entries have been reported. */
function weighted(cx: Context, e: Expr, is: (e: Expr) => boolean, what: string, negative: Span | null = null): Weighted[] {
  if (e.kind === "missing") return [];
  if (e.kind === "binary" && (e.op === "+" || e.op === "-")) {
    return [...weighted(cx, e.left, is, what, negative), ...weighted(cx, e.right, is, what, e.op === "-" ? e.opSpan : negative)];
  }
  if (e.kind === "unary" && e.op === "-") return weighted(cx, e.operand, is, what, { ...e.span, end: e.span.start + 1 });
  const factors: { e: Expr; inverse: boolean }[] = [];
  let item: Expr | undefined;
  const visit = (x: Expr, inverse: boolean): void => {
    if (x.kind === "binary" && (x.op === "*" || x.op === "/") && holds(x, is)) {
      visit(x.left, inverse);
      visit(x.right, x.op === "/" ? !inverse : inverse);
    } else if (is(x) && !item && !inverse) item = x;
    else factors.push({ e: x, inverse });
  };
  visit(e, false);
  if (item) return [{ factors, item, negative }];
  // A name that is meant to be an item is told apart from a stray number by the caller.
  const last = factors[factors.length - 1]?.e ?? e;
  const candidate = last.kind === "binary" && last.op === "*" ? last.right : last;
  if (candidate.kind === "name" || candidate.kind === "call") return [{ factors: [], item: candidate, negative }];
  cx.report("E0202", `${what}`, e.span);
  return [];
}

function holds(e: Expr, is: (e: Expr) => boolean): boolean {
  return is(e) || (e.kind === "binary" && (holds(e.left, is) || holds(e.right, is)));
}

function weightOf(cx: Context, w: Weighted, env: Env): ScalarExpr | undefined {
  let number = 1;
  let expr: ScalarExpr | undefined;
  for (const f of w.factors) {
    const v = cx.evaluate.expr(cx, f.e, env);
    if (v.kind === "poison") return undefined;
    const n = numberOf(v);
    if (n !== undefined) {
      number = f.inverse ? number / n : number * n;
      continue;
    }
    const s = toScalar(v);
    if (!s || s.type === "bool") {
      cx.report("E0202", `a weight is a number, and this is ${describe(v)}`, f.e.span);
      return undefined;
    }
    const real = S.unary("to_f32", s);
    expr = expr ? S.binary(f.inverse ? "div" : "mul", expr, real) : f.inverse ? S.binary("div", S.f32(1), real) : real;
  }
  if (number < 0 || (w.negative && number !== 0)) {
    const at = number < 0 ? (w.factors.find((f) => (numberOf(cx.evaluate.expr(cx, f.e, env)) ?? 0) < 0)?.e.span ?? w.item.span) : (w.negative ?? w.item.span);
    cx.report("E0306", "the weight is negative", at, { help: "weights are 0 or more" });
    return undefined;
  }
  if (!expr) return S.f32(number);
  return number === 1 ? expr : S.binary("mul", S.f32(number), expr);
}

export function makeLosses(cx: Context, e: Expr, env: Env, streams: readonly Stream[], known: ReadonlySet<string>, processes: readonly Process[], predicted: ReadonlySet<string>): LossTerm[] {
  const scope = newScope(env.scope);
  scope.set("step", scalar(S.name("step", "f32")), null, "builtin");
  const inner: Env = { ...env, scope };
  const out: LossTerm[] = [];
  for (const w of weighted(cx, e, isTerm, "a loss is a sum of weighted terms such as `1.0 * next_token(text)`")) {
    const weight = weightOf(cx, w, inner);
    const term = lossTerm(cx, w.item, streams, known, processes, predicted);
    if (!term || !weight) continue;
    const old = out.find((t) => t.name === term.name);
    if (old) cx.report("E0203", `the loss has \`${term.name}\` twice`, w.item.span, { also: [{ span: old.span, text: "first here" }], help: "add their weights" });
    else out.push({ ...term, weight });
  }
  return out;
}

function lossTerm(cx: Context, e: Expr, streams: readonly Stream[], known: ReadonlySet<string>, processes: readonly Process[], predicted: ReadonlySet<string>): Omit<LossTerm, "weight"> | undefined {
  if (e.kind !== "call" || e.callee.kind !== "name" || !isTerm(e)) {
    const callee = e.kind === "call" ? e.callee : e;
    const word = callee.kind === "name" ? callee.text : "";
    if (callee.kind === "name" && e.kind === "name" && (terms as readonly string[]).includes(word)) {
      cx.report("E0209", `\`${word}\` names no stream`, e.span, { help: `write \`${word}(${streams[0]?.name ?? "text"})\`` });
    } else cx.report("E0201", `there is no loss term ${cx.quote(callee.span, "like this")}`, callee.span, { help: didYouMean(word, terms) ?? "there are `next_token` and `denoise`" });
    return undefined;
  }
  const kind = e.callee.text;
  if (laterTerms.includes(kind)) {
    cx.later("E0411", `the loss term \`${kind}\` checks, but it is not built yet`, e.span);
    return undefined;
  }
  const arg = e.args[0];
  if (!arg) {
    cx.report("E0209", `\`${kind}\` names no stream`, e.span, { help: `write \`${kind}(${streams[0]?.name ?? "text"})\`` });
    return undefined;
  }
  if (e.args[1]) cx.report("E0210", `\`${kind}\` takes one stream`, e.args[1].span);
  const name = arg.value.kind === "name" ? arg.value.text : "";
  const stream = streams.find((s) => s.name === name);
  if (!stream) {
    if (!known.has(name) && arg.value.kind !== "missing") cx.report("E0201", `there is no stream ${cx.quote(arg.value.span, "like this")}`, arg.value.span, { help: didYouMean(name, known) });
    return undefined;
  }
  if (kind === "next_token" && stream.kind !== "text" && stream.kind !== "codes") {
    cx.report("E0318", `\`next_token\` scores a choice among tokens, and stream \`${name}\` holds numbers`, arg.value.span, { also: [{ span: stream.span, text: "declared here" }], help: `use \`denoise(${name})\`` });
    return undefined;
  }
  if (kind === "denoise" && !processes.some((p) => p.stream === name)) {
    // That the stream is predicted without a process is said where the stream is declared.
    if (stream.kind === "continuous" && predicted.has(name)) return undefined;
    cx.report("E0318", `\`denoise\` needs a process, and stream \`${name}\` has none`, arg.value.span, {
      also: [{ span: stream.span, text: "declared here" }], help: stream.kind === "text" ? `use \`next_token(${name})\`` : `declare one: \`process noising on ${name} = diffusion()\``,
    });
    return undefined;
  }
  return { name: `${kind}(${name})`, kind: kind === "denoise" ? "denoise" : "next_token", stream: name, span: e.span };
}

export function makeMix(cx: Context, e: Expr, env: Env, tasks: readonly Task[]): MixEntry[] {
  const isTask = (x: Expr): boolean => x.kind === "name" && tasks.some((t) => t.name === x.text);
  const out: MixEntry[] = [];
  for (const w of weighted(cx, e, isTask, "a mix is a sum of weighted tasks such as `0.8 * draw`")) {
    const { item } = w;
    if (item.kind !== "name" || !isTask(item)) {
      const word = item.kind === "name" ? item.text : "";
      cx.report("E0201", `there is no task ${cx.quote(item.span, "like this")}`, item.span, { help: didYouMean(word, tasks.map((t) => t.name)) });
      continue;
    }
    const weight = weightOf(cx, w, env);
    if (!weight) continue;
    if (weight.kind !== "const") {
      cx.report("E0202", "the weight of a task is a number", item.span);
      continue;
    }
    const old = out.find((m) => m.task === item.text);
    if (old) cx.report("E0203", `the mix has \`${item.text}\` twice`, item.span, { also: [{ span: old.span, text: "first here" }] });
    else out.push({ task: item.text, weight: weight.value, span: item.span });
  }
  return out;
}
