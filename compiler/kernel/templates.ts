// What fusion asks of the kernel templates. One interface a template, in coordinates of named axes; no tensors, no graph.
// Implementations: product.ts, attention_forward.ts, attention_backward.ts, attention_table.ts, cross_entropy.ts, gathered in all_templates.ts.

import type { ScalarExpr } from "../scalar/expr.ts";
import type { TileTruth } from "../scalar/tile_truth.ts";
import type { Body, KernelParts, Point, PointFn, SinkFn, SpaceAxis } from "./body.ts";
import type { Kernel, Target } from "./kernel.ts";
import type { RowClasses } from "./row_classes.ts";

/** What a template returns; fusion adds name, operands (from the parts) and origins. */
export type KernelShape = Pick<Kernel, "workgroup" | "grid" | "arrays" | "body">;

/** One contraction; a product may be the sum of several over the same output (dX of q, k and v projections). */
export interface ProductTerm {
  /** Contracted axes, major first. */
  readonly k: readonly SpaceAxis[];
  /** Value at batch, m and k coordinates. */
  readonly a: PointFn;
  /** Value at batch, n and k coordinates. */
  readonly b: PointFn;
  /** Axis along which loads of a / of b are contiguous, when known: guides the lane order and the unrolling. */
  readonly aContiguous?: string;
  readonly bContiguous?: string;
  /** Further right operands for the same `a`: each makes a result of its own, as many in every term. */
  readonly also?: readonly { readonly b: PointFn; readonly bContiguous?: string }[];
}

export interface ProductSpec {
  readonly batch: readonly SpaceAxis[];
  readonly m: readonly SpaceAxis[];
  readonly n: readonly SpaceAxis[];
  readonly terms: readonly ProductTerm[];
  /** Called once per output element with all batch, m and n coordinates; `more` are the results of the terms' `also`. */
  readonly sink: (b: Body, at: Point, value: ScalarExpr, ...more: readonly ScalarExpr[]) => void;
  /** The rows of the output are these times `m`, and `b` is also given the class of the row. Rows in no class get 0. */
  readonly rows?: RowClasses;
  /** Rows in no class are not handed to the sink. */
  readonly leaveNowhere?: boolean;
  /** The contraction runs over the rows of a class, then over `k`; the class is among the batch. */
  readonly sum?: RowClasses;
}

export interface AttendSpec {
  /** Axes of q, out and lse besides query, width and value: batch and heads, major first. `group` are those k and v lack (grouped queries). */
  readonly outer: readonly SpaceAxis[];
  readonly group: readonly SpaceAxis[];
  readonly query: SpaceAxis;
  readonly key: SpaceAxis;
  readonly width: SpaceAxis;
  readonly value: SpaceAxis;
  readonly scale: number;
  readonly q: PointFn; // outer, group, query, width
  readonly k: PointFn; // outer, key, width
  readonly v: PointFn; // outer, key, value
  /** The gradient of the result, in backward kernels. */
  readonly dout?: PointFn; // outer, group, query, value
  /** Predicate and score with attrs still as `attr` leaves and the logit as the name `s`. */
  readonly mask?: ScalarExpr;
  readonly score?: ScalarExpr;
  /** Attribute values, at outer (batch) and query / key coordinates, by attribute name. */
  readonly qAttr: Readonly<Record<string, PointFn>>;
  readonly kAttr: Readonly<Record<string, PointFn>>;
  /** Axes among outer and group that the name `head` of mask and score counts, major first. */
  readonly heads?: readonly SpaceAxis[];
  /** What the score reads by further names. */
  readonly tables?: readonly ScoreTable[];
  /** What the mask says of whole tiles of tokens; without it every pair is tested. */
  readonly tiles?: AttendTiles;
}

export interface AttendTiles {
  readonly truth: TileTruth;
  /** A fact (`pos.lo`) of one tile of tokens of a side, at outer and, for queries, group coordinates. */
  readonly fact: (b: Body, side: "q" | "k", fact: string, at: Point, tile: ScalarExpr) => ScalarExpr;
}

/** A table of the score: its value at outer and group coordinates and, where it has an axis, at `index` held inside it. */
export interface ScoreTable {
  readonly name: string;
  readonly value: PointFn;
  readonly axis?: SpaceAxis;
  readonly index?: ScalarExpr;
}

export interface AttendForwardSpec extends AttendSpec {
  readonly out?: SinkFn; // outer, group, query, value
  readonly lse?: SinkFn; // outer, group, query
  /** A logit that joins the sum of every row and brings no value. */
  readonly sink?: PointFn; // outer, group
}

export interface AttendBackwardSpec extends AttendSpec {
  readonly lse: PointFn; // outer, group, query
  readonly dout: PointFn; // outer, group, query, value
  /** Sum over value of dout * out, made once a query by `attendDelta`: `out` itself is not needed any more. */
  readonly delta: PointFn; // outer, group, query
  readonly dq?: SinkFn; // outer, group, query, width
  readonly dk?: SinkFn; // outer, key, width (summed over group)
  readonly dv?: SinkFn; // outer, key, value (summed over group)
}

export interface AttendDeltaSpec {
  /** All axes of a row, the query tokens last. */
  readonly rows: readonly SpaceAxis[];
  readonly value: SpaceAxis;
  readonly out: PointFn; // rows, value
  readonly dout: PointFn; // rows, value
  readonly delta: SinkFn; // rows
}

/** The gradient of one table, in as many pieces as `piece` has: each is the sum over its own share of the query rows. */
export interface AttendTableSpec extends AttendSpec {
  readonly lse: PointFn; // outer, group, query
  readonly dout: PointFn; // outer, group, query, value
  readonly delta: PointFn; // outer, group, query
  /** Which of `tables`. */
  readonly table: ScoreTable;
  /** Of constant size. */
  readonly piece: SpaceAxis;
  /** Where the sums go, and where large ones are kept on the way: outer, group, piece, and the table's axis if it has one. */
  readonly load: PointFn;
  readonly store: SinkFn;
}

/** Softmax row pass over a chunk of logits, in place: loss and dlogits. */
export interface CrossEntropyRowSpec {
  readonly rows: readonly SpaceAxis[];
  readonly vocab: SpaceAxis;
  readonly logits: PointFn;
  readonly target: PointFn; // i32, at rows
  readonly weight: PointFn; // f32, at rows
  readonly loss?: SinkFn; // at rows: weight * nll
  /** How many rows count, the first ones: the others have a loss of 0 and no logits. */
  readonly live?: (b: Body) => ScalarExpr;
  readonly dloss?: PointFn; // at rows; with dlogits
  readonly dlogits?: SinkFn; // at rows, vocab
}

export interface Templates {
  product(parts: KernelParts, spec: ProductSpec, target: Target): KernelShape;
  attendForward(parts: KernelParts, spec: AttendForwardSpec, target: Target): KernelShape;
  attendDelta(parts: KernelParts, spec: AttendDeltaSpec, target: Target): KernelShape;
  /** The query side (dq) when spec.dq is set, else the key side (dk, dv): two kernels, two calls. */
  attendBackward(parts: KernelParts, spec: AttendBackwardSpec, target: Target): KernelShape;
  attendTable(parts: KernelParts, spec: AttendTableSpec, target: Target): KernelShape;
  crossEntropyRows(parts: KernelParts, spec: CrossEntropyRowSpec, target: Target): KernelShape;
}
