// The op vocabulary: one line an op, with the type of its attributes. Every rule table (infer, interpret, vjp, kernel
// lowering) is a mapped type over `OpAttrs`, so that a missing rule does not compile.

import type { Dim } from "../dim/dim.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Axis, DType, TensorType } from "./tensor.ts";

export type None = Record<string, never>;

/** Value at (head axes, index): the table's axes are `axis`, if any, and some of q's without tokens and width. */
export interface AttendTable {
  readonly name: string;
  /** The axis that `index` (i32, over attributes and `head`) counts along; held to 0 .. size - 1. Both or neither. */
  readonly axis?: string;
  readonly index?: ScalarExpr;
}

export interface AttendAttrs {
  /** Axis of the query tokens, and of the key tokens. They differ in name even in self-attention (`t` and `s`). */
  readonly query: string;
  readonly key: string;
  /** Axis contracted between q and k, and the value axis of v and of the result. */
  readonly width: string;
  readonly value: string;
  readonly scale: number;
  /** Predicate over q.* and k.* token attributes; undefined lets every pair through. Never contains a load. */
  readonly mask?: ScalarExpr;
  /** New logit from the name `s` (f32), attributes and tables; undefined leaves it alone. */
  readonly score?: ScalarExpr;
  /** Axes of q beside batch, tokens and width that the scalar name `head` (i32) counts in mask and score, major first; none: `head` is not read. */
  readonly heads?: readonly string[];
  /** Learned tables that the score reads as the names `b0`, `b1`, … (f32); their tensors follow the attributes in the args. */
  readonly tables?: readonly AttendTable[];
  /** The last arg is a logit a head (axes among q's) that joins the softmax's sum and brings no value: an attention sink. */
  readonly sink?: boolean;
  /** Names of the attribute tensors that follow q, k, v in the args: first those of the query, then those of the key. */
  readonly queryAttrs: readonly string[];
  readonly keyAttrs: readonly string[];
}

/** Rows are every point of the axes `rows`, counted major first; a class outside 0 .. classes - 1 is nowhere. */
export interface GroupAttrs {
  readonly rows: readonly string[];
  readonly classes: Dim;
}

/** Axes named in attrs are names; `args` order is given in the comment. */
export interface OpAttrs {
  // leaves
  input: { readonly name: string; readonly type: TensorType }; // a value handed in for one run
  state: { readonly name: string; readonly type: TensorType }; // a persistent buffer: parameter, moment, cache
  const: { readonly value: number; readonly dtype: DType };
  iota: { readonly axis: Axis }; // i32 index along one axis
  random: { readonly kind: "normal" | "uniform"; readonly stream: number; readonly axes: readonly Axis[] }; // (seed u32, step u32): Philox by element index
  // elementwise, one operand
  neg: None; abs: None; exp: None; log: None; sqrt: None; rsqrt: None; tanh: None; sigmoid: None; sin: None; cos: None; floor: None; not: None;
  cast: { readonly dtype: DType };
  // elementwise, two operands aligned by name; axes are the union
  add: None; sub: None; mul: None; div: None; max: None; min: None; pow: None; mod: None;
  eq: None; ne: None; lt: None; le: None; and: None; or: None;
  select: None; // (cond bool, a, b)
  // reductions
  sum: { readonly axes: readonly string[] };
  amax: { readonly axes: readonly string[] };
  argmax: { readonly axis: string }; // i32, first of equals
  dot: { readonly axes: readonly string[] }; // (a, b): sum of a*b over axes; shared axes that are not summed stay aligned
  // names
  rename: { readonly from: string; readonly to: string };
  split: { readonly axis: string; readonly into: readonly Axis[] }; // major first
  merge: { readonly axes: readonly string[]; readonly into: string }; // major first
  broadcast: { readonly axis: Axis };
  slice: { readonly axis: string; readonly start: Dim; readonly size: Dim };
  concat: { readonly axis: string }; // (x0, x1, ...)
  // data movement by index
  gather: { readonly axis: string }; // (table[axis, rest], index i32) -> index axes and rest; out-of-range indices are a bug of the caller
  scatter_add: { readonly axis: Axis }; // (value[index axes, rest], index i32) -> [axis, rest]; deterministic
  update: { readonly axis: string }; // (cache, value, at i32): cache with value written along axis from `at` on
  top: { readonly axis: string; readonly choice: Axis }; // (x[axis, rest]) -> i32[rest, choice]: places of the largest, largest first, first of equals
  // group-by: rows sorted by class, stable; rows that are nowhere come last
  group_order: GroupAttrs & { readonly slot: string }; // (class i32[rows]) -> i32[slot: number of rows]: the row in each slot
  group_place: GroupAttrs; // (class i32[rows]) -> i32[rows]: the slot of each row
  group_offset: GroupAttrs & { readonly axis: string }; // (class i32[rows]) -> i32[axis: classes + 1]: first slot of each class, then how many rows are somewhere
  // products of rows with the matrix of their class. order and offset are those of one group-by; x may lack some of `rows`
  grouped_dot: { readonly rows: readonly string[]; readonly classes: string; readonly axes: readonly string[] }; // (x, w[classes, axes, rest], order, offset) -> [rows, rest of x, rest of w]: sum over axes; 0 for rows nowhere
  grouped_dw: { readonly rows: readonly string[]; readonly classes: Axis; readonly first: number; readonly axes: readonly string[] }; // (x, dy, order, offset) -> [classes, rest]: for class first + i, sum of x*dy over its rows and over axes; axes of both that are not summed stay aligned
  grouped_sum: { readonly rows: readonly string[]; readonly classes: Axis; readonly first: number }; // (value[rows, rest], order, offset) -> [classes, rest]: for class first + i, sum over its rows
  // positions: rotates pairs (i, i + width/2) of `axis` by pos * base^(-2i/width)
  rope: { readonly axis: string; readonly base: number; readonly inverse: boolean }; // (x, pos f32)
  // attention: args are q, k, v, attributes of the query, of the key, tables, sink. One kernel makes `attend` and `attend_lse` together.
  attend: AttendAttrs; // softmax(score(q.k * scale)) v; a query with no visible key gives 0
  attend_lse: AttendAttrs; // log of the sum of exp of visible logits, per query; a very negative finite value when none is visible
  attend_dq: AttendAttrs; // (q, k, v, out, lse, dout, attributes, tables, sink)
  attend_dk: AttendAttrs; // likewise
  attend_dv: AttendAttrs; // likewise
  attend_dtable: AttendAttrs & { readonly table: number }; // likewise: the gradient of that table, of its type
  // linear + cross-entropy: never more than one chunk of logits. x[.., from], w[from, vocab], target i32[..], weight f32[..]
  linear_ce: { readonly from: string; readonly vocab: string }; // (x, w, target, weight): weight * -log softmax(x.w)[target], per token; weight 0 skips
  linear_ce_dx: { readonly from: string; readonly vocab: string }; // (x, w, target, weight, dloss)
  linear_ce_dw: { readonly from: string; readonly vocab: string }; // (x, w, target, weight, dloss)
}

export type OpName = keyof OpAttrs;
