// In: a builder and an origin. Out: one short method an op, and the composed functions that models are written with.
// Composed functions use primitive ops only, so that every pass and every gradient sees through them.
// Numbers become constants without axes; elementwise ops align by name, so nothing else is needed to broadcast them.

import type { Dim } from "../dim/dim.ts";
import { dimConst, dimDiv, dimValue } from "../dim/dim.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { GraphBuilder } from "./builder.ts";
import type { Axis, DType, NodeId, Origin, TensorType } from "./graph.ts";
import { findAxis } from "./infer_checks.ts";
import type { None, OpAttrs, OpName } from "./ops.ts";

/** Ops without attributes. */
type Plain = { [K in OpName]: OpAttrs[K] extends None ? (None extends OpAttrs[K] ? K : never) : never }[OpName];

/** What `attend` needs besides q, k and v. */
export interface AttendOptions {
  readonly query: string;
  readonly key: string;
  readonly width: string;
  /** Defaults to `width`. */
  readonly value?: string;
  /** Defaults to 1 / sqrt(width). */
  readonly scale?: number;
  readonly mask?: ScalarExpr;
  readonly score?: ScalarExpr;
  readonly queryAttrs?: Readonly<Record<string, NodeId>>;
  readonly keyAttrs?: Readonly<Record<string, NodeId>>;
  /** Axes of q that the scalar name `head` counts, major first. */
  readonly heads?: readonly string[];
  /** What the score reads as the names `b0`, `b1`, …. */
  readonly tables?: readonly { readonly node: NodeId; readonly axis?: string; readonly index?: ScalarExpr }[];
  /** A logit a head that joins every row's sum. */
  readonly sink?: NodeId;
}

/** Rows in classes: what grouped products are given. */
export interface Grouping {
  /** Axes whose points are the rows, major first. */
  readonly rows: readonly string[];
  readonly classes: Dim;
  /** i32[slot], i32[class: classes + 1]. */
  readonly order: NodeId;
  readonly offset: NodeId;
}

/** The axis of a group-by's offsets. */
export const CLASS = "class";

const noAttrs: None = {};

export class Make {
  readonly builder: GraphBuilder;
  readonly origin: Origin;

  constructor(builder: GraphBuilder, origin: Origin) {
    this.builder = builder;
    this.origin = origin;
  }

  /** The same builder, under another origin. */
  at(origin: Origin): Make {
    return new Make(this.builder, origin);
  }

  type(x: NodeId): TensorType {
    return this.builder.type(x);
  }

  /** The axis `name` of `x`; a missing one is a bug of the caller. */
  axis(x: NodeId, name: string): Axis {
    const a = findAxis(this.type(x), name);
    if (!a) throw new Error(`no axis ${name} in [${this.type(x).axes.map((y) => y.name).join(", ")}]`);
    return a;
  }

  hasAxis(x: NodeId, name: string): boolean {
    return findAxis(this.type(x), name) !== undefined;
  }

  op<K extends OpName>(op: K, args: readonly NodeId[], attrs: OpAttrs[K]): NodeId {
    return this.builder.add(op, args, attrs, this.origin);
  }

  #plain(op: Plain, ...args: readonly NodeId[]): NodeId {
    return this.builder.add(op, args, noAttrs, this.origin);
  }

  // leaves
  input = (name: string, type: TensorType): NodeId => this.op("input", [], { name, type });
  state = (name: string, type: TensorType): NodeId => this.op("state", [], { name, type });
  const = (value: number, dtype: DType = "f32"): NodeId => this.op("const", [], { value, dtype });
  iota = (axis: Axis): NodeId => this.op("iota", [], { axis });
  random = (kind: "normal" | "uniform", stream: number, axes: readonly Axis[], seed: NodeId, step: NodeId): NodeId =>
    this.op("random", [seed, step], { kind, stream, axes });

  // elementwise
  neg = (x: NodeId): NodeId => this.#plain("neg", x);
  abs = (x: NodeId): NodeId => this.#plain("abs", x);
  exp = (x: NodeId): NodeId => this.#plain("exp", x);
  log = (x: NodeId): NodeId => this.#plain("log", x);
  sqrt = (x: NodeId): NodeId => this.#plain("sqrt", x);
  rsqrt = (x: NodeId): NodeId => this.#plain("rsqrt", x);
  tanh = (x: NodeId): NodeId => this.#plain("tanh", x);
  sigmoid = (x: NodeId): NodeId => this.#plain("sigmoid", x);
  sin = (x: NodeId): NodeId => this.#plain("sin", x);
  cos = (x: NodeId): NodeId => this.#plain("cos", x);
  floor = (x: NodeId): NodeId => this.#plain("floor", x);
  not = (x: NodeId): NodeId => this.#plain("not", x);
  cast = (x: NodeId, dtype: DType): NodeId => (this.type(x).dtype === dtype ? x : this.op("cast", [x], { dtype }));
  add = (a: NodeId, b: NodeId): NodeId => this.#plain("add", a, b);
  sub = (a: NodeId, b: NodeId): NodeId => this.#plain("sub", a, b);
  mul = (a: NodeId, b: NodeId): NodeId => this.#plain("mul", a, b);
  div = (a: NodeId, b: NodeId): NodeId => this.#plain("div", a, b);
  max = (a: NodeId, b: NodeId): NodeId => this.#plain("max", a, b);
  min = (a: NodeId, b: NodeId): NodeId => this.#plain("min", a, b);
  pow = (a: NodeId, b: NodeId): NodeId => this.#plain("pow", a, b);
  mod = (a: NodeId, b: NodeId): NodeId => this.#plain("mod", a, b);
  eq = (a: NodeId, b: NodeId): NodeId => this.#plain("eq", a, b);
  ne = (a: NodeId, b: NodeId): NodeId => this.#plain("ne", a, b);
  lt = (a: NodeId, b: NodeId): NodeId => this.#plain("lt", a, b);
  le = (a: NodeId, b: NodeId): NodeId => this.#plain("le", a, b);
  and = (a: NodeId, b: NodeId): NodeId => this.#plain("and", a, b);
  or = (a: NodeId, b: NodeId): NodeId => this.#plain("or", a, b);
  select = (cond: NodeId, a: NodeId, b: NodeId): NodeId => this.#plain("select", cond, a, b);

  // reductions; no axes leaves the value alone
  sum = (x: NodeId, ...axes: readonly string[]): NodeId => (axes.length === 0 ? x : this.op("sum", [x], { axes }));
  amax = (x: NodeId, ...axes: readonly string[]): NodeId => (axes.length === 0 ? x : this.op("amax", [x], { axes }));
  argmax = (x: NodeId, axis: string): NodeId => this.op("argmax", [x], { axis });
  dot = (a: NodeId, b: NodeId, ...axes: readonly string[]): NodeId =>
    axes.length === 0 ? this.mul(a, b) : this.op("dot", [a, b], { axes });

  // names
  rename = (x: NodeId, from: string, to: string): NodeId => (from === to ? x : this.op("rename", [x], { from, to }));
  split = (x: NodeId, axis: string, into: readonly Axis[]): NodeId => this.op("split", [x], { axis, into });
  merge = (x: NodeId, axes: readonly string[], into: string): NodeId => this.op("merge", [x], { axes, into });
  broadcast = (x: NodeId, ...axes: readonly Axis[]): NodeId => axes.reduce((y, axis) => this.op("broadcast", [y], { axis }), x);
  /** Repeats `x` along the axes of `like` that it lacks, in the memory order of `like`. */
  expand = (x: NodeId, like: TensorType): NodeId =>
    like.axes.filter((a) => !this.hasAxis(x, a.name)).reduce((y, axis) => {
      const own = this.type(y).axes.map((a) => a.name);
      const order = like.axes.map((a) => a.name).filter((n) => n === axis.name || own.includes(n));
      // Axes of its own leave x as it lies.
      return this.builder.add("broadcast", [y], { axis }, this.origin, order.length === own.length + 1 ? order : undefined);
    }, x);
  slice = (x: NodeId, axis: string, start: Dim, size: Dim): NodeId => this.op("slice", [x], { axis, start, size });
  concat = (axis: string, ...xs: readonly NodeId[]): NodeId => (xs.length === 1 && xs[0] !== undefined ? xs[0] : this.op("concat", xs, { axis }));

  // movement
  gather = (table: NodeId, axis: string, index: NodeId): NodeId => this.op("gather", [table, index], { axis });
  scatterAdd = (value: NodeId, axis: Axis, index: NodeId): NodeId => this.op("scatter_add", [value, index], { axis });
  update = (cache: NodeId, axis: string, value: NodeId, at: NodeId): NodeId => this.op("update", [cache, value, at], { axis });
  /** The places of the `choice.size` largest along `axis`, as i32[rest, choice]. */
  topOrder = (x: NodeId, axis: string, choice: Axis): NodeId => this.op("top", [x], { axis, choice });
  /** Groups rows, every point of the axes of `cls` (i32), by class; a class below 0 or from `classes` on is nowhere. */
  groupBy = (cls: NodeId, classes: Dim, rows: readonly string[] = this.type(cls).axes.map((a) => a.name)): Grouping => ({
    rows, classes, order: this.op("group_order", [cls], { rows, classes, slot: "slot" }), offset: this.op("group_offset", [cls], { rows, classes, axis: CLASS }),
  });
  /** i32[classes]: how many rows each class has, from the offsets of a group-by. */
  groupLoad = (offset: NodeId, classes: Axis): NodeId => {
    const from = (start: number): NodeId => this.slice(offset, CLASS, dimConst(start), classes.size);
    return this.rename(this.sub(from(1), from(0)), CLASS, classes.name);
  };
  groupPlace = (cls: NodeId, g: Grouping): NodeId => this.op("group_place", [cls], { rows: g.rows, classes: g.classes });
  /** Each row times the matrix of its class: w has the axis `classes`. */
  groupedDot = (x: NodeId, w: NodeId, g: Grouping, classes: string, ...axes: readonly string[]): NodeId =>
    this.op("grouped_dot", [x, w, g.order, g.offset], { rows: g.rows, classes, axes });
  groupedSum = (value: NodeId, g: Grouping, classes: string): NodeId =>
    this.op("grouped_sum", [value, g.order, g.offset], { rows: g.rows, classes: { name: classes, size: g.classes }, first: 0 });
  rope = (x: NodeId, axis: string, pos: NodeId, base = 10000, inverse = false): NodeId => this.op("rope", [x, pos], { axis, base, inverse });

  attend(q: NodeId, k: NodeId, v: NodeId, o: AttendOptions): NodeId {
    const { args, attrs } = this.#attendParts(q, k, v, o);
    return this.op("attend", args, attrs);
  }

  attendLse(q: NodeId, k: NodeId, v: NodeId, o: AttendOptions): NodeId {
    const { args, attrs } = this.#attendParts(q, k, v, o);
    return this.op("attend_lse", args, attrs);
  }

  #attendParts(q: NodeId, k: NodeId, v: NodeId, o: AttendOptions): { args: NodeId[]; attrs: OpAttrs["attend"] } {
    const width = dimValue(this.axis(q, o.width).size);
    if (o.scale === undefined && width === undefined) throw new Error("attend: the width is not a constant, so scale must be given");
    const queryAttrs = Object.keys(o.queryAttrs ?? {}).sort();
    const keyAttrs = Object.keys(o.keyAttrs ?? {}).sort();
    const args = [q, k, v, ...queryAttrs.map((n) => o.queryAttrs?.[n] ?? -1), ...keyAttrs.map((n) => o.keyAttrs?.[n] ?? -1)];
    const tables = (o.tables ?? []).map(({ node, axis, index }, i) => {
      args.push(node);
      return { name: `b${i}`, ...(axis !== undefined && index ? { axis, index } : {}) };
    });
    if (o.sink !== undefined) args.push(o.sink);
    const attrs: OpAttrs["attend"] = {
      query: o.query, key: o.key, width: o.width, value: o.value ?? o.width, scale: o.scale ?? 1 / Math.sqrt(width ?? 1),
      ...(o.mask ? { mask: o.mask } : {}), ...(o.score ? { score: o.score } : {}),
      ...(o.heads ? { heads: o.heads } : {}), ...(tables.length > 0 ? { tables } : {}), ...(o.sink === undefined ? {} : { sink: true }),
      queryAttrs, keyAttrs,
    };
    return { args, attrs };
  }

  /** weight * cross-entropy of softmax(x . w) and target, per token. */
  linearCe = (x: NodeId, w: NodeId, target: NodeId, weight: NodeId, from: string, vocab: string): NodeId =>
    this.op("linear_ce", [x, w, target, weight], { from, vocab });

  // composed
  scale = (x: NodeId, k: number): NodeId => this.mul(x, this.const(k, this.type(x).dtype));
  offset = (x: NodeId, k: number): NodeId => this.add(x, this.const(k, this.type(x).dtype));
  square = (x: NodeId): NodeId => this.mul(x, x);
  oneMinus = (x: NodeId): NodeId => this.sub(this.const(1), x);
  relu = (x: NodeId): NodeId => this.max(x, this.const(0));
  silu = (x: NodeId): NodeId => this.mul(x, this.sigmoid(x));
  clamp = (x: NodeId, lo: number, hi: number): NodeId => {
    const d = this.type(x).dtype;
    return this.min(this.max(x, this.const(lo, d)), this.const(hi, d));
  };

  /** The tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
  gelu(x: NodeId): NodeId {
    const inner = this.mul(x, this.offset(this.scale(this.square(x), 0.044715 * Math.sqrt(2 / Math.PI)), Math.sqrt(2 / Math.PI)));
    return this.mul(this.scale(x, 0.5), this.offset(this.tanh(inner), 1));
  }

  /** log(1 + exp x), without overflow. */
  softplus(x: NodeId): NodeId {
    return this.add(this.relu(x), this.log(this.offset(this.exp(this.neg(this.abs(x))), 1)));
  }

  /** How many elements the axes have, as an f32 value: a constant, or a sum of ones over run-time lengths. */
  count(axes: readonly Axis[]): NodeId {
    let constant = 1;
    const open: Axis[] = [];
    for (const a of axes) {
      const n = dimValue(a.size);
      if (n === undefined) open.push(a);
      else constant *= n;
    }
    const c = this.const(constant);
    return open.length === 0 ? c : this.sum(this.broadcast(c, ...open), ...open.map((a) => a.name));
  }

  mean(x: NodeId, ...axes: readonly string[]): NodeId {
    const over = axes.map((n) => this.axis(x, n));
    const total = this.sum(x, ...axes);
    return over.every((a) => dimValue(a.size) !== undefined)
      ? this.scale(total, 1 / over.reduce((p, a) => p * (dimValue(a.size) ?? 1), 1))
      : this.div(total, this.count(over));
  }

  softmax(x: NodeId, ...axes: readonly string[]): NodeId {
    const e = this.exp(this.sub(x, this.amax(x, ...axes)));
    return this.div(e, this.sum(e, ...axes));
  }

  logSumExp(x: NodeId, ...axes: readonly string[]): NodeId {
    const m = this.amax(x, ...axes);
    return this.add(m, this.log(this.sum(this.exp(this.sub(x, m)), ...axes)));
  }

  logSoftmax(x: NodeId, ...axes: readonly string[]): NodeId {
    return this.sub(x, this.logSumExp(x, ...axes));
  }

  /** x / rms(x) over the axes; the gain is the caller's. */
  rmsNorm(x: NodeId, eps: number, ...axes: readonly string[]): NodeId {
    return this.mul(x, this.rsqrt(this.offset(this.mean(this.square(x), ...axes), eps)));
  }

  /** (x - mean) / deviation over the axes; gain and bias are the caller's. */
  layerNorm(x: NodeId, eps: number, ...axes: readonly string[]): NodeId {
    return this.rmsNorm(this.sub(x, this.mean(x, ...axes)), eps, ...axes);
  }

  /** 1 at `index` along `axis`, 0 elsewhere. */
  oneHot(index: NodeId, axis: Axis): NodeId {
    return this.cast(this.eq(index, this.iota(axis)), "f32");
  }

  /** The k largest along `axis`, largest first, first of equals: their places (i32) and values. */
  top(x: NodeId, axis: string, k: number): { index: NodeId; value: NodeId }[] {
    const places = this.iota(this.axis(x, axis));
    const out: { index: NodeId; value: NodeId }[] = [];
    let rest = x;
    for (let i = 0; i < k; i++) {
      const index = this.argmax(rest, axis);
      const here = this.eq(places, index);
      out.push({ index, value: this.sum(this.select(here, x, this.const(0)), axis) });
      rest = this.select(here, this.const(-3e38), rest);
    }
    return out;
  }

  /** pos * base^(-i / size) along a new axis: the angles of sinusoidal tables. */
  angles(pos: NodeId, axis: Axis, base = 10000): NodeId {
    const n = dimValue(axis.size);
    if (n === undefined) throw new Error(`the size of axis ${axis.name} is not a constant`);
    return this.mul(pos, this.exp(this.scale(this.cast(this.iota(axis), "f32"), -Math.log(base) / n)));
  }

  /** Sinusoidal features of `pos`: first half cos, second half sin, along `axis` of even size. */
  sinCos(pos: NodeId, axis: Axis, base = 10000): NodeId {
    const half = dimDiv(axis.size, dimConst(2));
    if (!half) throw new Error(`axis ${axis.name} must be even`);
    const a = this.angles(pos, { name: axis.name, size: half }, base);
    return this.concat(axis.name, this.cos(a), this.sin(a));
  }
}
