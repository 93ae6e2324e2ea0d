// What a file says, node by node, before any name is resolved. Every union is discriminated by `kind`; every node has a span.
// A file with syntax errors has an AST too: a missing expression is `MissingExpr`, a missing name is an Ident with empty text.
// Nothing here has a meaning yet: which member belongs to which declaration is checked in placement.ts, the rest in compiler/types.

import type { Span } from "../../grammar/source.ts";

export interface Ident {
  readonly kind: "ident";
  readonly text: string;
  readonly span: Span;
}

/** The text of the `///` lines right above a declaration or member, without the slashes. */
export interface Doc {
  readonly text: string;
  readonly span: Span;
}

export interface Module {
  readonly kind: "module";
  readonly path: string;
  readonly uses: readonly UseDecl[];
  readonly decls: readonly Decl[];
  readonly span: Span;
}

// ---------------------------------------------------------------- declarations

/** `use std.blocks { decoder_block, swiglu as gated }`; `names` is null for `use std.blocks`. */
export interface UseDecl {
  readonly kind: "use";
  readonly path: readonly Ident[];
  readonly names: readonly UseName[] | null;
  readonly doc: Doc | null;
  readonly span: Span;
}

export interface UseName {
  readonly kind: "use_name";
  readonly name: Ident;
  /** The name it has here: the one after `as`, or `name` itself. */
  readonly local: Ident;
  readonly span: Span;
}

export type Decl =
  | LayerDecl
  | FnDecl
  | MaskDecl
  | ScoreDecl
  | RouterDecl
  | RouteDecl
  | ProcessDecl
  | TokenizerDecl
  | ModelDecl
  | VariantDecl
  | StageDecl
  | TrainDecl;

/** One entry of a parameter list: `d: axis = 512`, `x[t, d]`, `q`, `turns: [text]`. */
export interface Param {
  readonly kind: "param";
  readonly name: Ident;
  /** `x[t, d]`: the axes of a tensor input; null where no brackets stand. */
  readonly axes: readonly Ident[] | null;
  /** `axis`, `int`, `float`, `bool`, `mask`, `layer`, `route`, `stream`, …; in a task, a stream of the model. */
  readonly paramKind: ParamKind | null;
  readonly fallback: Expr | null;
  readonly span: Span;
}

export interface ParamKind {
  readonly kind: "param_kind";
  readonly name: Ident;
  /** `[int]`: a list of them. */
  readonly list: boolean;
  readonly span: Span;
}

interface DeclBase {
  readonly name: Ident;
  readonly doc: Doc | null;
  readonly span: Span;
}

/** `layer linear(from: axis, to: axis) { … }` */
export interface LayerDecl extends DeclBase {
  readonly kind: "layer";
  readonly params: readonly Param[];
  readonly members: readonly Member[];
}

/** `fn silu(x) = x * sigmoid(x)` */
export interface FnDecl extends DeclBase {
  readonly kind: "fn";
  readonly params: readonly Param[];
  readonly body: Expr;
}

/** `mask window(n: int)(q, k) = q.pos - k.pos < n`; `subjects` are `q, k`, empty for `mask prefix(n: int) = causal | …`. */
export interface MaskDecl extends DeclBase {
  readonly kind: "mask";
  readonly params: readonly Param[];
  readonly subjects: readonly Ident[];
  readonly body: Expr;
}

/** `score soft_cap(limit: float)(s) = limit * tanh(s / limit)`; `subjects` are `s`, then `q, k` where they are named. */
export interface ScoreDecl extends DeclBase {
  readonly kind: "score";
  readonly params: readonly Param[];
  readonly subjects: readonly Ident[];
  readonly body: Expr;
}

/** `router top_experts(d: axis, …) { gate = …  choose x[t, d] = …  loss … }` */
export interface RouterDecl extends DeclBase {
  readonly kind: "router";
  readonly params: readonly Param[];
  readonly members: readonly Member[];
}

/** `route modality = by stream { … }` */
export interface RouteDecl extends DeclBase {
  readonly kind: "route";
  readonly params: readonly Param[];
  readonly body: Expr;
}

/**
 * In a model, `process noising on image = diffusion(…)` (`on` has streams). At the top of a file,
 * `process edm(sigma: float) { … }` or `process edm(…) = …` (`on` is empty). Exactly one of `value` and `members` is set.
 */
export interface ProcessDecl extends DeclBase {
  readonly kind: "process";
  readonly params: readonly Param[];
  readonly on: readonly Ident[];
  readonly value: Expr | null;
  readonly members: readonly Member[] | null;
}

/** `tokenizer vq(codes: int) { encode x[…] = …  decode z[…] = … }` or `tokenizer words = bpe("…")`; one of the two is set. */
export interface TokenizerDecl extends DeclBase {
  readonly kind: "tokenizer";
  readonly params: readonly Param[];
  readonly value: Expr | null;
  readonly members: readonly Member[] | null;
}

/** `model transfusion(d: axis = 512) { … }` */
export interface ModelDecl extends DeclBase {
  readonly kind: "model";
  readonly params: readonly Param[];
  readonly members: readonly Member[];
}

/** `variant wide of transfusion { d = 1024 }`: members replace those of the base; a binding may also name a parameter. */
export interface VariantDecl extends DeclBase {
  readonly kind: "variant";
  readonly base: Ident;
  readonly members: readonly Member[];
}

/** `stage align { steps = 2000  freeze = [llm]  mix = 1.0 * describe }`; stages run in the order they are written. */
export interface StageDecl extends DeclBase {
  readonly kind: "stage";
  readonly members: readonly Member[];
}

/** `train { optimizer = adamw(…)  clip = 1.0 }`. `train = adamw(…)` is a Binding instead. */
export interface TrainDecl {
  readonly kind: "train";
  readonly members: readonly Member[];
  readonly doc: Doc | null;
  readonly span: Span;
}

// ---------------------------------------------------------------- members

/** What may stand between the braces of a declaration. Which of them may stand where: placement.ts. */
export type Member =
  | Binding
  | WeightMember
  | AxisMember
  | MethodMember
  | LossMember
  | WhenMember
  | RepeatMember
  | TokensMember
  | TaskMember
  | AttributeMember
  | EmbedMember
  | HeadMember
  | SampleMember
  | NetworkMember
  | LayerDecl
  | FnDecl
  | MaskDecl
  | ScoreDecl
  | RouterDecl
  | RouteDecl
  | ProcessDecl
  | StageDecl
  | TrainDecl;

interface MemberBase {
  readonly doc: Doc | null;
  readonly span: Span;
}

/**
 * `norm1 = rms_norm(d)`; in a model also `mask = …`, `score = …`, `body = …`, `loss = …`, `mix = …`, `train = …`.
 * `blocks[i] = …` has an index (inside `repeat`).
 */
export interface Binding extends MemberBase {
  readonly kind: "binding";
  readonly name: Ident;
  readonly index: Expr | null;
  readonly value: Expr;
}

/** `param wq[d, h, e], wk[d, h, e] ~ normal(std: 0.02) when bias`; the initial value and the condition hold for every name. */
export interface WeightMember extends MemberBase {
  readonly kind: "weights";
  readonly frozen: boolean;
  readonly weights: readonly WeightName[];
  /** After `~`. */
  readonly init: Expr | null;
  /** After `=`: the weight is another one (`param w[vocab, d] = embed.w`). */
  readonly tie: Expr | null;
  /** `by projections`: one weight for each branch of a route. */
  readonly by: Expr | null;
  readonly condition: Expr | null;
}

export interface WeightName {
  readonly kind: "weight_name";
  readonly name: Ident;
  readonly axes: readonly Ident[];
  readonly span: Span;
}

/** `axis g = heads / kv, h = kv` */
export interface AxisMember extends MemberBase {
  readonly kind: "axes";
  readonly axes: readonly AxisDef[];
}

export interface AxisDef {
  readonly kind: "axis_def";
  readonly name: Ident;
  readonly size: Expr;
  readonly span: Span;
}

/** `forward x[t, d] = …`, `choose x[t, d] = …`, `encode`, `decode`, …: a word, its inputs, and what it gives. */
export interface MethodMember extends MemberBase {
  readonly kind: "method";
  readonly name: Ident;
  readonly inputs: readonly Param[];
  readonly body: Expr;
}

/** `loss balance * load_balance(choose)`, in a layer or a router. */
export interface LossMember extends MemberBase {
  readonly kind: "loss";
  readonly value: Expr;
}

/** `when bias { … } else { … }`, decided when the model is built. `else when …` nests in `otherwise`. */
export interface WhenMember extends MemberBase {
  readonly kind: "when_members";
  readonly condition: Expr;
  readonly members: readonly Member[];
  readonly otherwise: readonly Member[] | null;
}

/** `repeat i in 0..n { blocks[i] = … }`, unrolled when the model is built. */
export interface RepeatMember extends MemberBase {
  readonly kind: "repeat_members";
  readonly index: Ident;
  readonly range: Expr;
  readonly members: readonly Member[];
}

/** `tokens image = patches(4, of: pixels(28, 28))` */
export interface TokensMember extends MemberBase {
  readonly kind: "tokens";
  readonly name: Ident;
  readonly value: Expr;
}

/** `attribute turn: int = 0`: a token attribute that segments of tasks set by name (`given text(question, turn: 1)`). */
export interface AttributeMember extends MemberBase {
  readonly kind: "attribute";
  readonly name: Ident;
  readonly attributeKind: ParamKind;
  readonly fallback: Expr | null;
}

/** `embed image = linear(image.features, d)` */
export interface EmbedMember extends MemberBase {
  readonly kind: "embed";
  readonly stream: Ident;
  readonly value: Expr;
}

/** `head image = linear(d, image.features)` */
export interface HeadMember extends MemberBase {
  readonly kind: "head";
  readonly stream: Ident;
  readonly value: Expr;
}

/** `sample image = ddim(steps: 50)` */
export interface SampleMember extends MemberBase {
  readonly kind: "sample";
  readonly stream: Ident;
  readonly value: Expr;
}

/** `network llm { … }`: one of several networks in a model, with its own `mask`, `embed`, `body`, `head` (`llm.hidden[3]`). */
export interface NetworkMember extends MemberBase {
  readonly kind: "network";
  readonly name: Ident;
  readonly members: readonly Member[];
}

// ---------------------------------------------------------------- tasks

/** `task draw(caption: text, picture: image) = <bos> given text(caption) predict image(picture)` */
export interface TaskMember extends MemberBase {
  readonly kind: "task";
  readonly name: Ident;
  readonly fields: readonly Param[];
  readonly layout: readonly TaskElement[];
}

export type TaskElement = TaskLiteral | TaskSegment | TaskGroup | TaskRepeat | TaskChoice;

/** `<boi>`; `name` is `boi`. */
export interface TaskLiteral {
  readonly kind: "literal_token";
  readonly name: Ident;
  /** `<eos>(turn: 1)`: attributes, by name. */
  readonly args: readonly Arg[];
  readonly span: Span;
}

/** `given drop(0.1) text(caption)`: modifiers, then a stream with its field and, by name, options and attributes. */
export interface TaskSegment {
  readonly kind: "segment";
  /** `beside`: a condition in a row of tokens of its own, which attention reaches by `keys: …`. */
  readonly role: "given" | "predict" | "beside";
  readonly modifiers: readonly TaskModifier[];
  readonly stream: Ident;
  readonly args: readonly Arg[];
  readonly span: Span;
}

/** `drop(0.1)` */
export interface TaskModifier {
  readonly kind: "modifier";
  readonly name: Ident;
  readonly args: readonly Arg[];
  readonly span: Span;
}

/** `(…)`, or `given drop(0.1) (…)`: modifiers for all of the group; segments inside keep their own role. */
export interface TaskGroup {
  readonly kind: "group";
  readonly role: "given" | "predict" | "beside" | null;
  readonly modifiers: readonly TaskModifier[];
  readonly elements: readonly TaskElement[];
  readonly span: Span;
}

/** `{ … }*`: as often as the list fields inside have entries. */
export interface TaskRepeat {
  readonly kind: "repeat_elements";
  readonly elements: readonly TaskElement[];
  readonly span: Span;
}

/** `a | b` inside a group or a repetition: one of them. */
export interface TaskChoice {
  readonly kind: "choice";
  readonly options: readonly (readonly TaskElement[])[];
  readonly span: Span;
}

// ---------------------------------------------------------------- expressions

export type Expr =
  | NumberExpr
  | StringExpr
  | BoolExpr
  | NameExpr
  | MemberExpr
  | IndexExpr
  | CallExpr
  | UnaryExpr
  | BinaryExpr
  | RangeExpr
  | WhenExpr
  | ByExpr
  | LambdaExpr
  | StackExpr
  | AxisExpr
  | ListExpr
  | TupleExpr
  | BlockExpr
  | MissingExpr;

export interface NumberExpr {
  readonly kind: "number";
  readonly value: number;
  /** As written; `1e-4` and `0.0001` are one value. */
  readonly text: string;
  /** Written without a point or an exponent. */
  readonly integer: boolean;
  readonly span: Span;
}

export interface StringExpr {
  readonly kind: "string";
  readonly value: string;
  readonly span: Span;
}

export interface BoolExpr {
  readonly kind: "bool";
  readonly value: boolean;
  readonly span: Span;
}

export interface NameExpr {
  readonly kind: "name";
  readonly text: string;
  readonly span: Span;
}

/** `k.pos`, `image.features` */
export interface MemberExpr {
  readonly kind: "member";
  readonly target: Expr;
  readonly name: Ident;
  readonly span: Span;
}

/** `llm.hidden[16 + i]`; brackets right before a call belong to the call instead. */
export interface IndexExpr {
  readonly kind: "index";
  readonly target: Expr;
  readonly brackets: Brackets;
  readonly span: Span;
}

/** What stands in `[…]`: `[d]`, `[h, e]`, `[16 + i]`, `[d -> h, e]` (`to` is null without an arrow). */
export interface Brackets {
  readonly kind: "brackets";
  readonly items: readonly Expr[];
  readonly to: readonly Expr[] | null;
  readonly span: Span;
}

/** `f(x)`, `dot[d](x, w)`, `linear(a, b)(x)`, `blocks[i](x)` (callee `blocks`, brackets `[i]`). */
export interface CallExpr {
  readonly kind: "call";
  readonly callee: Expr;
  readonly brackets: Brackets | null;
  readonly args: readonly Arg[];
  readonly span: Span;
}

/** `x` or `mask: x`. */
export interface Arg {
  readonly kind: "arg";
  readonly name: Ident | null;
  readonly value: Expr;
  readonly span: Span;
}

export type UnaryOp = "-" | "!";

export interface UnaryExpr {
  readonly kind: "unary";
  readonly op: UnaryOp;
  readonly operand: Expr;
  readonly span: Span;
}

export type BinaryOp =
  | "+" | "-" | "*" | "/" | "%" | "**"
  | "==" | "!=" | "<" | "<=" | ">" | ">="
  | "&" | "|";

export interface BinaryExpr {
  readonly kind: "binary";
  readonly op: BinaryOp;
  readonly opSpan: Span;
  readonly left: Expr;
  readonly right: Expr;
  readonly span: Span;
}

/** `0..n`: from 0, without n. */
export interface RangeExpr {
  readonly kind: "range";
  readonly from: Expr;
  readonly to: Expr;
  readonly span: Span;
}

/** `when c a else b`, also spelled `when c then a else b` where `a` would read as part of `c`. */
export interface WhenExpr {
  readonly kind: "when";
  readonly condition: Expr;
  readonly value: Expr;
  readonly otherwise: Expr;
  readonly span: Span;
}

/** `by stream { text, view -> frozen understand; else -> generate from understand }` */
export interface ByExpr {
  readonly kind: "by";
  readonly subject: Expr;
  readonly cases: readonly ByCase[];
  readonly span: Span;
}

export interface ByCase {
  readonly kind: "by_case";
  /** Null for `else`. */
  readonly keys: readonly Expr[] | null;
  /** `text -> frozen understand`: its weights are not trained. */
  readonly frozen: boolean;
  /** The branch, a name. */
  readonly value: Expr;
  /** `image -> generate from understand`: it starts as a copy of that branch. */
  readonly from: Ident | null;
  readonly span: Span;
}

/** `i => …` */
export interface LambdaExpr {
  readonly kind: "lambda";
  readonly parameter: Ident;
  readonly body: Expr;
  readonly span: Span;
}

/** `stack(layers) decoder_block(d, heads, mask)`; `body` is a lambda where the layer index is named. */
export interface StackExpr {
  readonly kind: "stack";
  readonly count: Expr;
  readonly body: Expr;
  readonly span: Span;
}

/** `axis experts` as an argument; `axis k = 3` gives a size too. */
export interface AxisExpr {
  readonly kind: "axis";
  readonly name: Ident;
  readonly size: Expr | null;
  readonly span: Span;
}

export interface ListExpr {
  readonly kind: "list";
  readonly items: readonly Expr[];
  readonly span: Span;
}

/** `(a, b)`: several results; one expression in parentheses is that expression. */
export interface TupleExpr {
  readonly kind: "tuple";
  readonly items: readonly Expr[];
  readonly span: Span;
}

/** `{ let q = …  …  value }` */
export interface BlockExpr {
  readonly kind: "block";
  readonly statements: readonly Statement[];
  readonly value: Expr;
  readonly span: Span;
}

/** Stands where an expression was expected; a syntax error has been reported there. */
export interface MissingExpr {
  readonly kind: "missing";
  readonly span: Span;
}

// ---------------------------------------------------------------- statements of a block

export type Statement = LetStatement | AssignStatement | RepeatStatement;

/** `let h = …`, `let h[t, d] = …` (axes are checked), `let a, b = …` (a tuple is taken apart). */
export interface LetStatement {
  readonly kind: "let";
  readonly targets: readonly LetTarget[];
  readonly value: Expr;
  readonly span: Span;
}

export interface LetTarget {
  readonly kind: "let_target";
  readonly name: Ident;
  readonly axes: readonly Ident[] | null;
  readonly span: Span;
}

/** `h = …` inside `repeat`: gives a name of the enclosing block its next value. */
export interface AssignStatement {
  readonly kind: "assign";
  readonly name: Ident;
  readonly value: Expr;
  readonly span: Span;
}

/** `repeat i in 0..n { h = h + blocks[i](h) }` */
export interface RepeatStatement {
  readonly kind: "repeat";
  readonly index: Ident;
  readonly range: Expr;
  readonly statements: readonly Statement[];
  readonly span: Span;
}

export type Node =
  | Module | UseDecl | UseName | Decl | Member | Param | ParamKind | WeightName | AxisDef
  | TaskElement | TaskModifier | Expr | Brackets | Arg | ByCase | Statement | LetTarget | Ident;
