// What every part of the front end shares while it works on one file: diagnostics, sources, the graph being filled, and
// what has been made so far. Functions of other files arrive through `evaluate`, so that imports go one way.
// Reports name places and read the text of operands from the sources; nothing here decides a rule of the language.

import { Bag, diagnostic, isFatal, primarySpan } from "../../grammar/diagnostic.ts";
import type { Code } from "../../grammar/codes.ts";
import type { Details, Diagnostic } from "../../grammar/diagnostic.ts";
import type { Source, Span } from "../../grammar/source.ts";
import { lineText, placeAt } from "../../grammar/source.ts";
import type { BinaryOp, Expr } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimEqual, dimVar } from "../dim/dim.ts";
import { InferFailure } from "../graph/builder.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { NodeId, Origin } from "../graph/graph.ts";
import { Make } from "../graph/make.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Attention, CrossAttention, Predicate } from "./model.ts";
import type { Choice, GroupScope } from "./group_scope.ts";
import type { Leaves, RoutingNote } from "./network.ts";
import type { Parameter, Tie } from "./parameter.ts";
import type { Env, MaskValue, RoutedForm, Scope, ScoreTable, ScoreValue, Value } from "./values.ts";
import { poison } from "./values.ts";

/** The graph being filled, while layers are applied. */
export interface Run {
  readonly builder: GraphBuilder;
  readonly leaves: Leaves;
  /** How many attentions each path has had on this graph. */
  readonly attended: Map<string, number>;
  /** How many attentions the embed, body or head being applied has had: what `layer` is in the next one. Those to rows beside the sequence apart. */
  layer: number;
  cross: number;
  /** Length of the row of tokens that layers are applied to: `t`, or that of a stream beside it. */
  readonly tokens: Dim;
  /** What routers said on this graph, by router and input, so that one that is shared chooses once. */
  readonly choices: Map<object, Map<string, Choice>>;
}

export const newRun = (builder: GraphBuilder, leaves: Leaves, tokens: Dim = dimVar("t")): Run => ({ builder, leaves, attended: new Map(), layer: 0, cross: 0, tokens, choices: new Map() });

/** A router while it chooses. */
export interface Choosing {
  readonly router: string;
  /** What it is applied to, and those of its axes that the router lists as features: all others but the experts' are rows. */
  readonly input: NodeId;
  readonly features: readonly string[];
  /** What the layers of the router gave, by layer: `z_loss(gate)` is about these logits. */
  readonly heard: Map<object, Value>;
  /** Once it has chosen, while its losses are worked out. */
  said: Choice | null;
  readonly span: Span;
}

/** A call being worked out, for the places of an error inside it. */
interface Frame {
  readonly what: string;
  readonly span: Span;
}

interface SizeNote {
  readonly name: string;
  readonly size: Dim;
  readonly span: Span;
}

/** What a model's parts have made so far. */
export interface Made {
  readonly parameters: Parameter[];
  readonly ties: Tie[];
  readonly paths: Set<string>;
  readonly reads: Set<string>;
  readonly attentions: Map<string, Attention>;
  readonly crossAttentions: Map<string, CrossAttention>;
  /** Weights that were read while layers were applied. */
  readonly used: Set<string>;
  /** Routed layers as they were applied, in order. */
  readonly routings: RoutingNote[];
}

export const nothingMade = (): Made => ({
  parameters: [], ties: [], paths: new Set(), reads: new Set(), attentions: new Map(), crossAttentions: new Map(), used: new Set(), routings: [],
});

/** A value and the place it stands at. */
export interface Operand {
  readonly value: Value;
  readonly span: Span;
}

/** What elaborate.ts can do, for files that it imports itself. */
export interface Evaluate {
  expr(cx: Context, e: Expr, env: Env): Value;
  join(cx: Context, op: BinaryOp, a: Operand, b: Operand, at: Span): Value;
  tensorOf(cx: Context, v: Value, at: Span, env: Env): Value;
  routed(cx: Context, layer: RoutedForm, inputs: readonly Value[], at: Span): Value;
}

const plain = (v: MaskValue | ScoreValue | null): Predicate | null =>
  v ? { expr: v.expr, text: v.text, span: v.span, ...(v.kind === "mask" && v.clause ? { clause: v.clause } : {}) } : null;

export class Context {
  readonly bag = new Bag();
  /** Valid, but not lowered yet; a model takes its own. */
  notBuilt = new Bag();
  /** Errors so far, those that were said before included: a second model with the same mistake has it too. */
  errors = 0;
  readonly sources = new Map<string, Source>();
  readonly evaluate: Evaluate;
  readonly frames: Frame[] = [];
  readonly #sizes: SizeNote[] = [];
  made: Made = nothingMade();
  run: Run | null = null;
  /** A declaration checked alone: sizes are variables, and some values are not known. */
  alone = false;
  /** Names that masks and routes of other files may use: the streams, tasks and attributes of the model being made. */
  modelScope: Scope | null = null;
  /** Files that a spec names; see Loader. */
  read: (file: string, from: string) => string | undefined = () => undefined;
  /** Streams whose tokens lie beside the sequence of the model being made. */
  besides: readonly string[] = [];
  /** Attributes the model declares. */
  attributes: readonly string[] = [];
  /** Those of them that follow from others by a formula, over leaves of side q; undefined where its error has been reported. */
  readonly formulas = new Map<string, () => ScalarExpr | undefined>();
  /** What is being evaluated about a pair of tokens: a mask, or a score with the tensors that it reads so far. */
  pair: "mask" | Map<string, ScoreTable> | null = null;
  /** What layers are applied under inside `routed`. */
  group: GroupScope | null = null;
  /** The router whose `choose` is worked out; `top` and the like stand nowhere else. */
  choosing: Choosing | null = null;
  /** The router whose experts are being applied, where it gives them slots instead of tokens. */
  slots: string | null = null;
  /** Declarations with errors of their own; they are made, but not applied. */
  readonly broken = new Set<object>();
  /** Declarations whose value was too large to go on with; said once, and not made again. */
  readonly outgrown = new Set<object>();
  /** Entries of scopes that were looked at, for unused members. */
  readonly seen = new Set<Span>();

  constructor(evaluate: Evaluate) {
    this.evaluate = evaluate;
  }

  report(code: Code, message: string, at: Span, details: Details = {}): Value {
    const outer = this.frames.filter((f) => f.span.source !== at.source || f.span.start > at.start || f.span.end < at.end);
    const inner = outer[outer.length - 1];
    const first = outer[0];
    const also = [...(details.also ?? [])];
    if (inner && !this.alone) also.push({ span: inner.span, text: `in ${inner.what}, applied here` });
    if (first && first !== inner && first.span.source !== inner?.span.source && !this.alone) also.push({ span: first.span, text: `reached from ${first.what}` });
    const d = diagnostic(code, message, at, { ...details, also });
    if (isFatal(d)) this.errors++;
    this.bag.add(d);
    return poison;
  }

  /** Whether the parser understood all of this text; what it skipped is no further mistake. */
  understood(text: Span): boolean {
    return !this.bag.sorted().some((d) => {
      const at = primarySpan(d);
      return d.code.startsWith("E01") && at?.source === text.source && at.start >= text.start && at.start <= text.end;
    });
  }

  /** Whether there are no tokens here, only slots of an expert; reported where `what` asks for some. */
  withoutTokens(what: string, at: Span): boolean {
    if (this.slots === null) return false;
    this.report("E0264", `${what} is about tokens, and router \`${this.slots}\` gives its experts slots`, at, { help: "a slot holds what was picked from a sample or mixed of it; work on tokens before the routed layer, or choose with `top`" });
    return true;
  }

  /** Poison for the use of a declaration whose own errors have been reported. */
  broke(): Value {
    this.errors++;
    return poison;
  }

  /** Says that something is valid but does not lower yet. */
  later(code: Code, message: string, at: Span, details: Details = {}): void {
    this.notBuilt.add(diagnostic(code, message, at, details));
  }

  within<T>(what: string, span: Span, body: () => T): T {
    this.frames.push({ what, span });
    try {
      return body();
    } finally {
      this.frames.pop();
    }
  }

  /** The text under a span where it is short enough to stand in a sentence. */
  text(at: Span): string | undefined {
    const text = this.sources.get(at.source)?.text.slice(at.start, at.end);
    return text === undefined || text.length > 32 || /[\r\n]/.test(text) ? undefined : text;
  }

  /** As `text`, in backticks, or `fallback`. */
  quote(at: Span, fallback: string): string {
    const text = this.text(at);
    return text === undefined || text === "" ? fallback : `\`${text}\``;
  }

  place(at: Span): string {
    const source = this.sources.get(at.source);
    if (!source) return "";
    return `line ${placeAt(source, at.start).line}`;
  }

  /** The line a span starts on, without indentation. */
  line(at: Span): string {
    const source = this.sources.get(at.source);
    return source ? lineText(source, placeAt(source, at.start).line).trim() : "";
  }

  /** Remembers where a size was given, so that a clash can say where each one comes from. */
  noteSize(name: string, size: Dim, at: Span): void {
    this.#sizes.push({ name, size, span: at });
  }

  /** Where axis `name` got this size; undefined where nothing says. */
  sizeFrom(name: string, size: Dim): Span | undefined {
    return this.#sizes.findLast((n) => n.name === name && dimEqual(n.size, size))?.span;
  }

  origin(at: Span, env: Env): Origin {
    return { spans: [at], path: env.path, via: [] };
  }

  /** Runs `body` on a Make for this place. A refused op becomes what `refused` reports, and poison. */
  emit(env: Env, at: Span, body: (make: Make) => NodeId | Value, refused: (failure: InferFailure) => void): Value {
    const run = this.run;
    if (!run || !env.inForward) {
      return this.report("E0227", "tensors exist only while a layer is applied", at, {
        help: "put this in the `forward` of a layer",
      });
    }
    try {
      const out = body(new Make(run.builder, this.origin(at, env)));
      return typeof out === "number" ? { kind: "tensor", node: out } : out;
    } catch (e) {
      if (!(e instanceof InferFailure)) throw e;
      refused(e);
      return poison;
    }
  }

  /** Says once what an attention of a layer sees. `rows`: whose tokens look and are looked at, where keys stand beside the sequence. */
  noteAttention(path: string, mask: MaskValue | null, score: ScoreValue | null, sizes: Pick<Attention, "layer" | "heads" | "width" | "valueWidth" | "rows">, at: Span, rows?: Pick<CrossAttention, "queries" | "keys">): void {
    const { attentions, crossAttentions } = this.made;
    const key = `${path}@${at.start}#${sizes.layer}`;
    const note: Attention = { path, ...sizes, mask: plain(mask), score: plain(score), span: at };
    if (rows && !crossAttentions.has(key)) crossAttentions.set(key, { ...note, ...rows });
    if (!rows && !attentions.has(key)) attentions.set(key, note);
  }

  diagnostics(): Diagnostic[] {
    return this.bag.sorted();
  }
}
