// Everything an expression of the language can be worth while a model is built: numbers, axes, layers, masks, tensors, …
// One union for compile time and for tensors, so that `when`, `stack` and layers as arguments need no second language.
// A number whose value is not known (a layer checked alone) is symbolic: an int is a Dim, a float or bool is undefined.

import type { Span } from "../../grammar/source.ts";
import type {
  Expr, FnDecl, LambdaExpr, LayerDecl, MaskDecl, MethodMember, ProcessDecl, RouteDecl, RouterDecl, ScoreDecl, TokenizerDecl,
} from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimVar } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Clause } from "./clause.ts";
import type { Choice } from "./group_scope.ts";
import type { Init, Parameter } from "./parameter.ts";

/** Takes the place of a value whose error has been reported; whatever touches it stays silent. */
export interface PoisonValue { readonly kind: "poison" }
/** A weight whose condition is false: adding it or multiplying by it changes nothing. */
export interface AbsentValue { readonly kind: "absent" }
export interface IntValue { readonly kind: "int"; readonly dim: Dim }
export interface FloatValue { readonly kind: "float"; readonly value: number | undefined }
export interface BoolValue { readonly kind: "bool"; readonly value: boolean | undefined }
export interface StringValue { readonly kind: "string"; readonly value: string }

/** A name and a size. `name` is the one tensors carry; `span` is where the size was given. */
export interface AxisValue {
  readonly kind: "axis";
  readonly name: string;
  readonly size: Dim;
  readonly span: Span;
}

export interface StreamValue {
  readonly kind: "stream";
  readonly name: string;
  /** What `q.stream` holds; undefined where a declaration is checked alone. */
  readonly id: number | undefined;
  /** `features`, `vocab`, `rows`, … */
  readonly axes: ReadonlyMap<string, AxisValue>;
}

export interface TaskValue { readonly kind: "task"; readonly name: string; readonly id: number }
export interface ProcessValue { readonly kind: "process"; readonly name: string }
export interface MaskValue { readonly kind: "mask"; readonly expr: ScalarExpr; readonly text: string; readonly span: Span; readonly clause?: Clause }
/** `tables` are the tensors that it reads, by the names that stand for them in `expr`. */
export interface ScoreValue { readonly kind: "score"; readonly expr: ScalarExpr; readonly text: string; readonly span: Span; readonly tables?: ScoreTables }
/** A tensor that a score reads: at the heads of a pair and, where it has an axis of its own, at a whole number along it. */
export interface ScoreTable {
  readonly value: TensorValue | WeightValue;
  readonly axis?: string;
  readonly index?: ScalarExpr;
  readonly span: Span;
}
export type ScoreTables = ReadonlyMap<string, ScoreTable>;
/** Which expert a token goes to: by its attributes, or by a router. */
export interface RouteValue { readonly kind: "route"; readonly form: RouteForm; readonly span: Span | null }
export type RouteForm =
  /** `shared`: one branch, no choice. */
  | { readonly kind: "shared" }
  /** A route parameter of a declaration that is checked alone. */
  | { readonly kind: "unknown" }
  | RouteBy
  | RouterInstance;
/** `by stream { text -> understand; image -> generate }` */
export interface RouteBy {
  readonly kind: "by";
  /** As it was declared; a route without a name is called by its attribute. */
  readonly name: string;
  /** In the order in which the cases name them. */
  readonly branches: readonly Branch[];
  /** The number of the branch (i32, attributes of side q), -1 for none. */
  readonly key: ScalarExpr;
}
/** One branch of a route: `text -> frozen understand`, `image -> generate from understand`. */
export interface Branch {
  readonly name: string;
  readonly frozen: boolean;
  /** The branch whose initial weights it starts with. */
  readonly from?: string;
  readonly span: Span;
}
/** A router with weights of its own: `top_experts(d, 8, 2)`. */
export interface RouterInstance {
  readonly kind: "router";
  readonly decl: RouterDecl;
  readonly path: string;
  /** Its parts, weights and names, with `choose` as the method. */
  readonly parts: LayerInstance;
  /** `loss …`, in order; `choose` is bound in them. */
  readonly losses: readonly Expr[];
  /** The axis that counts experts; weights of routed layers lead with it. */
  readonly experts: AxisValue;
  /** Where it is made. */
  readonly span: Span;
}
/** What `choose` of a router gives. */
export interface ChoiceValue { readonly kind: "choice"; readonly choice: Choice }
export interface InitValue { readonly kind: "init"; readonly init: Init }
/** `q` or `k` in a mask, `token` in a layer. */
export interface SubjectValue { readonly kind: "subject"; readonly side: "q" | "k" | "token" }
/** A scalar of a mask, score or weight: `q.pos - k.pos`. */
export interface ScalarValue { readonly kind: "scalar"; readonly expr: ScalarExpr; readonly clause?: Clause }
export interface TensorValue { readonly kind: "tensor"; readonly node: NodeId }
/** A learned tensor, before it is on any graph. With `by`, one a branch of a route; `parameter` is the first. */
export interface WeightValue { readonly kind: "weight"; readonly parameter: Parameter; readonly by?: WeightBy }
export interface WeightBy { readonly route: RouteBy; readonly parameters: readonly Parameter[] }
export interface ListValue { readonly kind: "list"; readonly items: readonly Value[] }
export interface TupleValue { readonly kind: "tuple"; readonly items: readonly Value[] }
export interface RangeValue { readonly kind: "range"; readonly from: Dim; readonly to: Dim }
export interface LambdaValue { readonly kind: "lambda"; readonly expr: LambdaExpr; readonly env: Env }
/** A built-in function by name: `softmax`, `dot`, `attend`. */
export interface BuiltinValue { readonly kind: "builtin"; readonly name: string }
/** One word of a fixed list: `cosine`, `noise`. */
export interface WordValue { readonly kind: "word"; readonly text: string }
/** A file of the library, after `use std.blocks`. */
export interface ModuleValue { readonly kind: "module"; readonly name: string; readonly scope: Scope }
/** A token attribute as an argument: `same(doc)`. */
export interface AttributeValue { readonly kind: "attribute"; readonly name: string }

export type DeclNode = LayerDecl | FnDecl | MaskDecl | ScoreDecl | RouterDecl | RouteDecl | ProcessDecl | TokenizerDecl;

/** A declaration that takes arguments, before it is called, with the scope it was written in. */
export interface DeclValue {
  readonly kind: "decl";
  readonly decl: DeclNode;
  readonly scope: Scope;
}

export interface LayerValue {
  readonly kind: "layer";
  readonly form: LayerForm;
  readonly span: Span;
}

export type LayerForm =
  | LayerInstance
  /** `linear(…) + time(…)`: each is applied to the same input; `op` joins the results. */
  | { readonly kind: "joined"; readonly op: "+" | "-" | "*"; readonly left: LayerValue; readonly right: LayerValue }
  /** `stack(n) …`, `[a, b]`: one after the other. */
  | { readonly kind: "sequence"; readonly layers: readonly LayerValue[] }
  | RoutedForm
  /** A layer parameter of a declaration that is checked alone: its result is not known. */
  | { readonly kind: "unknown" };

/** `routed(route, …)` */
export type RoutedForm =
  /** One layer a branch. */
  | { readonly kind: "routed"; readonly route: RouteBy; readonly path: string; readonly layers: readonly LayerValue[]; readonly sets: readonly AlikeSet[] }
  /** One layer for all experts of a router: its weights lead with `axis`, a name that no text can say. */
  | { readonly kind: "routed"; readonly route: RouterInstance; readonly path: string; readonly layer: LayerValue; readonly axis: string };

/** Branches whose layers are alike but for their weights: the first one's layer is applied for all of them. */
export interface AlikeSet {
  readonly branches: readonly number[];
  /** By the path of the first branch's weight, the weights of all of them. */
  readonly variants: ReadonlyMap<string, readonly Parameter[]>;
}

/** What a caller's axis is called inside a layer, where two axis parameters were given the same axis. */
export interface AxisAlias {
  readonly formal: string;
  readonly inside: string;
  readonly outside: string;
}

export interface LayerInstance {
  readonly kind: "instance";
  readonly decl: LayerDecl | RouterDecl;
  /** `body[3].attn` */
  readonly path: string;
  readonly scope: Scope;
  readonly methods: ReadonlyMap<string, MethodMember>;
  readonly aliases: readonly AxisAlias[];
  /** Names of every axis this layer knows: its parameters and its own. */
  readonly axisNames: ReadonlySet<string>;
}

export type Value =
  | PoisonValue | AbsentValue | IntValue | FloatValue | BoolValue | StringValue | AxisValue | StreamValue | TaskValue | ProcessValue
  | MaskValue | ScoreValue | RouteValue | ChoiceValue | InitValue | SubjectValue | ScalarValue | TensorValue | WeightValue | ListValue | TupleValue
  | RangeValue | LambdaValue | BuiltinValue | WordValue | ModuleValue | AttributeValue | DeclValue | LayerValue;

export type ValueKind = Value["kind"];

/** Where a name was bound, which decides whether hiding it is a mistake. */
export type Origin = "builtin" | "library" | "file" | "parameter" | "member" | "input" | "axis" | "let";

export interface Entry {
  readonly span: Span | null;
  readonly origin: Origin;
  /** Worked out when first asked for; declarations may refer to later ones. */
  readonly value: () => Value;
  /** False while the value has not been worked out: asking for it now might go round in a circle. */
  readonly ready?: () => boolean;
}

/** Names of one region of text, inside those of its parent. */
export class Scope {
  readonly parent: Scope | null;
  /** The outermost scope of a declaration: names inside may hide names outside it without a word. */
  readonly outermost: boolean;
  readonly entries = new Map<string, Entry>();

  constructor(parent: Scope | null, outermost = false) {
    this.parent = parent;
    this.outermost = outermost;
  }

  find(name: string): Entry | undefined {
    return this.entries.get(name) ?? this.parent?.find(name);
  }

  set(name: string, value: Value, span: Span | null, origin: Origin): void {
    this.entries.set(name, { span, origin, value: () => value });
  }

  setLazy(name: string, make: () => Value, span: Span | null, origin: Origin): void {
    let made: Value | undefined;
    this.entries.set(name, { span, origin, value: () => (made ??= make()), ready: () => made !== undefined });
  }

  /** Every entry that can be seen from here, nearest first; a hidden one is left out. */
  visible(): Map<string, Entry> {
    const out = new Map<string, Entry>();
    for (let s: Scope | null = this; s; s = s.parent) for (const [n, e] of s.entries) if (!out.has(n)) out.set(n, e);
    return out;
  }
}

/** Where an expression stands. `path` is the model path of what it makes; `name` is set where it is the whole of a member. */
export interface Env {
  readonly scope: Scope;
  readonly path: string;
  /** True for the direct value of a member: a layer made here takes `path` as it is instead of adding its own name. */
  readonly exact: boolean;
  /** True inside `forward` and functions called from it: layers may be run, but not made. */
  readonly inForward: boolean;
  /** The kind of thing that is wanted here, as a parameter would write it (`mask`, `stream`); chooses what to suggest. */
  readonly wants?: string;
  /** What the weights made here have in common, inside `routed` and `frozen`. */
  readonly making?: Making;
}

/** What `routed` and `frozen` say of the weights that are made inside. */
export interface Making {
  readonly frozen: boolean;
  /** Axes of routers' experts, outermost first; every weight leads with them. */
  readonly experts: readonly AxisValue[];
  /** All experts start alike. */
  readonly alike: boolean;
  /** Paths below `inside`, a branch, would begin with `outside` if there were no branches. */
  readonly branch?: { readonly inside: string; readonly outside: string };
}

export const poison: PoisonValue = { kind: "poison" };
export const absent: AbsentValue = { kind: "absent" };
export const float = (value: number | undefined): FloatValue => ({ kind: "float", value });
export const boolean = (value: boolean | undefined): BoolValue => ({ kind: "bool", value });
export const int = (dim: Dim): IntValue => ({ kind: "int", dim });
export const tensor = (node: NodeId): TensorValue => ({ kind: "tensor", node });
export const scalar = (expr: ScalarExpr): ScalarValue => ({ kind: "scalar", expr });

/** A stream of which only the name is known, with the axes that it may have. */
export function someStream(name: string, at: Span): StreamValue {
  const axis = (part: string): [string, AxisValue] => [part, { kind: "axis", name: `${name}.${part}`, size: dimVar(`${name}.${part}`), span: at }];
  return { kind: "stream", name, id: undefined, axes: new Map(["features", "vocab", "rows", "cols", "count"].map(axis)) };
}

const declWords: Record<DeclNode["kind"], string> = {
  layer: "layer", fn: "function", mask: "mask", score: "score", router: "router", route: "route", process: "process", tokenizer: "tokenizer",
};

/** The word for a value's kind, with its article: `a mask`, `an axis`. */
export function describe(v: Value): string {
  switch (v.kind) {
    case "int": return "a whole number";
    case "float": return "a number with a fraction";
    case "bool": return "a truth value";
    case "string": return "a string";
    case "axis": return "an axis";
    case "init": return "an initialiser";
    case "attribute": return "a token attribute";
    case "subject": return v.side === "token" ? "the token" : "a token of the mask";
    case "scalar": return v.expr.type === "bool" ? "a condition" : "a number made of tokens";
    case "weight": return "a weight";
    case "builtin": return "a built-in function";
    case "route": return v.form.kind === "router" ? "a router" : "a route";
    case "decl": return `a ${declWords[v.decl.kind]} that takes arguments`;
    case "poison": case "absent": return "nothing";
    default: return `a ${v.kind}`;
  }
}
