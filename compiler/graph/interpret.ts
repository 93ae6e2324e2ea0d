// The definition of what a graph means: one rule an op, on plain numbers. In: a graph, inputs, states and lengths. Out: outputs
// and the new states. float64 throughout, or rounded to f32 after every op. Nothing that compiles a graph may import this file.
// Refuses (throws) what the vocabulary calls a bug of the caller: a missing input, an index out of range.

import type { Dim } from "../dim/dim.ts";
import { dimEval, dimText } from "../dim/dim.ts";
import { evalBinary, evalUnary } from "../scalar/eval.ts";
import { roundHalf } from "../scalar/half.ts";
import type { BinaryOp, UnaryOp } from "../scalar/expr.ts";
import type { Graph, Node, NodeOf, TensorType } from "./graph.ts";
import { groupedDot, groupedDw, groupedSum, groupOffset, groupOrder, groupPlace, top } from "./interpret_group.ts";
import { attend, linearCe } from "./interpret_tokens.ts";
import type { OpName } from "./ops.ts";
import { scalarOf } from "./tensor.ts";
import { normalAt, uniformAt } from "./philox.ts";
import type { Lengths, Value } from "./value.ts";
import { allocate, inOrder, offsets, offsetsIn, product, shapeOf, stridesOf, valueOf } from "./value.ts";

/** A tensor handed in: elements in the axis order of its type in the graph, a value with its own order, or one number. */
export type Given = number | ArrayLike<number> | Value;

export interface RunOptions {
  readonly inputs?: Readonly<Record<string, Given>>;
  readonly state?: Readonly<Record<string, Given>>;
  readonly lengths?: Lengths;
  /** Round to single precision after every op. */
  readonly f32?: boolean;
  /** Sees every node's value; for debugging and tests. */
  readonly watch?: (node: Node, value: Value) => void;
}

export interface RunResult {
  readonly outputs: Readonly<Record<string, Value>>;
  /** Every state that was given or written, after the run. */
  readonly state: Readonly<Record<string, Value>>;
}

/** What a rule sees besides its node: operands, the result's sizes, and the run. */
interface Run {
  readonly args: readonly Value[];
  readonly shape: readonly number[];
  readonly lengths: Lengths;
  readonly options: RunOptions;
}

/** What most rules need of a node. */
type Typed = Pick<Node, "type">;

type Rule<K extends OpName> = (node: NodeOf<K>, run: Run) => Value;

const get = (d: ArrayLike<number>, i: number | undefined): number => d[i ?? 0] ?? 0;

const arg = (run: Run, i: number): Value => run.args[i] ?? missing(`operand ${i}`);
const missing = (what: string): never => {
  throw new Error(`${what} is missing`);
};

const sizeUnder = (d: Dim, lengths: Lengths): number => dimEval(d, lengths) ?? missing(`a length of ${dimText(d)}`);

function give(given: Given | undefined, name: string, type: TensorType, lengths: Lengths): Value {
  if (given === undefined) throw new Error(`no value for \`${name}\``);
  if (typeof given === "number") return valueOf(type, lengths, [given]);
  if (!("data" in given)) return valueOf(type, lengths, given);
  const value = inOrder(given, type);
  const shape = shapeOf(type, lengths);
  if (value.shape.length !== shape.length || value.shape.some((n, i) => n !== shape[i]))
    throw new RangeError(`\`${name}\` has sizes ${value.shape.join(", ")} where ${shape.join(", ")} are needed`);
  return { ...value, data: value.data.slice() };
}

/** A result filled point by point. */
function fill(node: Typed, run: Run, f: (n: number) => number): Value {
  const data = allocate(node.type.dtype, product(run.shape));
  for (let n = 0; n < data.length; n++) data[n] = f(n);
  return { type: node.type, shape: run.shape, data };
}

const place = (node: Typed, run: Run): Pick<Value, "type" | "shape"> => ({ type: node.type, shape: run.shape });
const sizeOfAxis = (v: Value, name: string): number => v.shape[v.type.axes.findIndex((a) => a.name === name)] ?? 0;
const hasAxis = (v: Pick<Value, "type">, name: string): boolean => v.type.axes.some((a) => a.name === name);

/** The elements of operand `i`, at every point of the result: axes it lacks are repeated. */
function aligned(node: Typed, run: Run, i: number): (n: number) => number {
  const v = arg(run, i);
  const at = offsetsIn(v, place(node, run));
  return (n) => get(v.data, at[n]);
}

const unary = (node: Typed & { readonly op: UnaryOp & OpName }, run: Run): Value => {
  const a = aligned(node, run, 0);
  const from = scalarOf(arg(run, 0).type.dtype);
  return fill(node, run, (n) => evalUnary(node.op, from, a(n)));
};

const binary = (node: Typed & { readonly op: BinaryOp & OpName }, run: Run): Value => {
  const [a, b] = [aligned(node, run, 0), aligned(node, run, 1)];
  const type = scalarOf(arg(run, 0).type.dtype);
  return fill(node, run, (n) => evalBinary(node.op, type, a(n), b(n)));
};

/** Offsets over the named axes of `v`, and at every point of the result. */
function reduced(node: Node, run: Run, v: Value, axes: readonly string[]): { outer: Int32Array; inner: Int32Array } {
  return { outer: offsetsIn(v, place(node, run)), inner: offsets(axes.map((n) => sizeOfAxis(v, n)), stridesOf(v, axes)) };
}

/** An index that must lie inside the axis it points into. */
function inside(i: number, size: number, axis: string): number {
  if (i < 0 || i >= size) throw new RangeError(`index ${i} is outside axis \`${axis}\` of ${size}`);
  return i;
}

function dot(node: NodeOf<"dot">, run: Run): Value {
  const [a, b] = [arg(run, 0), arg(run, 1)];
  const [ra, rb] = [reduced(node, run, a, node.attrs.axes), reduced(node, run, b, node.attrs.axes)];
  const int = node.type.dtype !== "f32";
  return fill(node, run, (n) => {
    let sum = 0;
    const [oa, ob] = [get(ra.outer, n), get(rb.outer, n)];
    for (let c = 0; c < ra.inner.length; c++) {
      const [x, y] = [get(a.data, oa + get(ra.inner, c)), get(b.data, ob + get(rb.inner, c))];
      sum += int ? Math.imul(x, y) : x * y;
    }
    return sum;
  });
}

/** Copies along one axis: `from(j)` says which operand and place gives place j of the result. */
function alongAxis(node: Node, run: Run, axis: string, from: (j: number) => { v: Value; j: number }): Value {
  const at = node.type.axes.findIndex((a) => a.name === axis);
  const step = product(run.shape.slice(at + 1));
  const size = run.shape[at] ?? 0;
  const names = node.type.axes.map((a) => (a.name === axis ? "" : a.name));
  const bases = new Map<Value, Int32Array>();
  const data = allocate(node.type.dtype, product(run.shape));
  const parts = Array.from({ length: size }, (_, j) => {
    const { v, j: k } = from(j);
    let base = bases.get(v);
    if (!base) bases.set(v, (base = offsets(run.shape, stridesOf(v, names))));
    return { v, base, plus: k * (stridesOf(v, [axis])[0] ?? 0) };
  });
  for (let n = 0; n < data.length; n++) {
    const p = parts[Math.floor(n / step) % size];
    if (p) data[n] = get(p.v.data, get(p.base, n) + p.plus);
  }
  return { type: node.type, shape: run.shape, data };
}

/** `split` and `merge` of axes that lie side by side, as a copy in the result's order: one place per point. */
function regroup(node: Node, run: Run, whole: Pick<Value, "type" | "shape">, axis: string, parts: readonly string[], v: Value, merging: boolean): Value {
  const fine = merging ? v : place(node, run);
  const sizes = parts.map((p) => fine.shape[fine.type.axes.findIndex((a) => a.name === p)] ?? 0);
  const index = offsets(sizes, sizes.map((_, i) => product(sizes.slice(i + 1))));
  const rest = whole.type.axes.filter((a) => a.name !== axis).map((a) => a.name);
  const restShape = rest.map((n) => whole.shape[whole.type.axes.findIndex((a) => a.name === n)] ?? 0);
  const [from, to] = [v, place(node, run)];
  const [restFrom, restTo] = [offsets(restShape, stridesOf(from, rest)), offsets(restShape, stridesOf(to, rest))];
  const points = (p: Pick<Value, "type" | "shape">, isFine: boolean): Int32Array =>
    isFine ? offsets(sizes, stridesOf(p, parts)) : index.map((i) => i * (stridesOf(p, [axis])[0] ?? 0));
  const [inFrom, inTo] = [points(from, merging), points(to, !merging)];
  const data = allocate(node.type.dtype, product(run.shape));
  for (let r = 0; r < restFrom.length; r++)
    for (let i = 0; i < inFrom.length; i++) data[get(restTo, r) + get(inTo, i)] = get(v.data, get(restFrom, r) + get(inFrom, i));
  return { type: node.type, shape: run.shape, data };
}

function rope(node: NodeOf<"rope">, run: Run): Value {
  const { axis, base, inverse } = node.attrs;
  const [x, pos] = [arg(run, 0), arg(run, 1)];
  const at = offsetsIn(x, place(node, run));
  const posAt = offsetsIn(pos, place(node, run));
  const half = sizeOfAxis(x, axis) / 2;
  const step = stridesOf(x, [axis])[0] ?? 0;
  const index = offsets(run.shape, node.type.axes.map((a) => (a.name === axis ? 1 : 0)));
  return fill(node, run, (n) => {
    const i = get(index, n);
    const low = i < half;
    const angle = get(pos.data, posAt[n]) * base ** (-(low ? i : i - half) / half) * (inverse ? -1 : 1);
    const [mine, other] = [get(x.data, at[n]), get(x.data, get(at, n) + (low ? half : -half) * step)];
    return mine * Math.cos(angle) + (low ? -other : other) * Math.sin(angle);
  });
}

/** One rule an op. A missing rule does not compile. */
export const interpretRules: { readonly [K in OpName]: Rule<K> } = {
  input: (n, r) => give(r.options.inputs?.[n.attrs.name], n.attrs.name, n.type, r.lengths),
  state: (n, r) => give(r.options.state?.[n.attrs.name], n.attrs.name, n.type, r.lengths),
  const: (n, r) => fill(n, r, () => n.attrs.value),
  iota: (n, r) => fill(n, r, (i) => i),
  random: (n, r) => {
    const [seed, step] = [get(arg(r, 0).data, 0), get(arg(r, 1).data, 0)];
    const f = n.attrs.kind === "normal" ? normalAt : uniformAt;
    return fill(n, r, (i) => f(i, n.attrs.stream, seed, step));
  },
  neg: unary, abs: unary, exp: unary, log: unary, sqrt: unary, rsqrt: unary, tanh: unary, sigmoid: unary, sin: unary, cos: unary, floor: unary, not: unary,
  cast: (n, r) => {
    const a = aligned(n, r, 0);
    const from = scalarOf(arg(r, 0).type.dtype);
    const to = n.attrs.dtype;
    return fill(n, r, (i) => (to === "bool" ? (a(i) !== 0 ? 1 : 0) : evalUnary(`to_${to}`, from, a(i))));
  },
  add: binary, sub: binary, mul: binary, div: binary, max: binary, min: binary, pow: binary, mod: binary,
  eq: binary, ne: binary, lt: binary, le: binary, and: binary, or: binary,
  select: (n, r) => {
    const [c, a, b] = [aligned(n, r, 0), aligned(n, r, 1), aligned(n, r, 2)];
    return fill(n, r, (i) => (c(i) !== 0 ? a(i) : b(i)));
  },
  sum: (n, r) => {
    const v = arg(r, 0);
    const { outer, inner } = reduced(n, r, v, n.attrs.axes);
    return fill(n, r, (i) => inner.reduce((s, k) => s + get(v.data, get(outer, i) + k), 0));
  },
  amax: (n, r) => {
    const v = arg(r, 0);
    const { outer, inner } = reduced(n, r, v, n.attrs.axes);
    return fill(n, r, (i) => inner.reduce((s, k) => Math.max(s, get(v.data, get(outer, i) + k)), -Infinity));
  },
  argmax: (n, r) => {
    const v = arg(r, 0);
    const { outer, inner } = reduced(n, r, v, [n.attrs.axis]);
    return fill(n, r, (i) => {
      let best = 0;
      inner.forEach((k, j) => {
        if (get(v.data, get(outer, i) + k) > get(v.data, get(outer, i) + get(inner, best))) best = j;
      });
      return best;
    });
  },
  dot,
  rename: (n, r) => ({ type: n.type, shape: r.shape, data: arg(r, 0).data }),
  split: (n, r) => regroup(n, r, arg(r, 0), n.attrs.axis, n.attrs.into.map((a) => a.name), arg(r, 0), false),
  merge: (n, r) => regroup(n, r, place(n, r), n.attrs.into, n.attrs.axes, arg(r, 0), true),
  broadcast: (n, r) => fill(n, r, aligned(n, r, 0)),
  slice: (n, r) => {
    const [v, start] = [arg(r, 0), sizeUnder(n.attrs.start, r.lengths)];
    return alongAxis(n, r, n.attrs.axis, (j) => ({ v, j: inside(start + j, sizeOfAxis(v, n.attrs.axis), n.attrs.axis) }));
  },
  concat: (n, r) => {
    const places = r.args.flatMap((v) => Array.from({ length: sizeOfAxis(v, n.attrs.axis) }, (_, j) => ({ v, j })));
    return alongAxis(n, r, n.attrs.axis, (j) => places[j] ?? missing("a part"));
  },
  gather: (n, r) => {
    const [table, index] = [arg(r, 0), arg(r, 1)];
    const { axis } = n.attrs;
    // The index may itself have an axis of the gathered name; the table is then read along the index's value only.
    const names = n.type.axes.map((a) => (a.name === axis ? "" : a.name));
    const rest = offsets(r.shape, stridesOf(table, names));
    const at = aligned(n, { ...r, args: [index] }, 0);
    const [size, step] = [sizeOfAxis(table, axis), stridesOf(table, [axis])[0] ?? 0];
    return fill(n, r, (i) => get(table.data, get(rest, i) + inside(at(i), size, axis) * step));
  },
  scatter_add: (n, r) => {
    const [v, index] = [arg(r, 0), arg(r, 1)];
    const { axis } = n.attrs;
    const size = sizeUnder(axis.size, r.lengths);
    const out = { type: n.type, shape: r.shape, data: allocate(n.type.dtype, product(r.shape)) };
    // Axes of the value that the index has are summed away, also when the result's axis has the same name.
    const names = v.type.axes.map((a) => (hasAxis(index, a.name) ? "" : a.name));
    const to = offsets(v.shape, stridesOf(out, names));
    const from = offsetsIn(index, v);
    const step = stridesOf(out, [axis.name])[0] ?? 0;
    v.data.forEach((x, i) => {
      const at = get(to, i) + inside(get(index.data, from[i]), size, axis.name) * step;
      out.data[at] = get(out.data, at) + x;
    });
    return out;
  },
  update: (n, r) => {
    const [cache, value, start] = [arg(r, 0), arg(r, 1), arg(r, 2)];
    const { axis } = n.attrs;
    const out = { type: n.type, shape: r.shape, data: cache.data.slice() };
    const names = value.type.axes.map((a) => a.name);
    const base = offsets(value.shape, stridesOf(out, names.map((a) => (a === axis ? "" : a))));
    const along = offsets(value.shape, names.map((a) => (a === axis ? 1 : 0)));
    const at = offsetsIn(start, value);
    const [size, step] = [sizeOfAxis(cache, axis), stridesOf(cache, [axis])[0] ?? 0];
    value.data.forEach((x, i) => {
      const j = get(along, i) + get(start.data, at[i]);
      if (j >= 0 && j < size) out.data[get(base, i) + j * step] = x;
    });
    return out;
  },
  top,
  group_order: groupOrder, group_place: groupPlace, group_offset: groupOffset,
  grouped_dot: groupedDot, grouped_dw: groupedDw, grouped_sum: groupedSum,
  rope,
  attend: (n, r) => attend(n.op, n.attrs, r.args, n.type, r.shape, r.options.f32 ?? false),
  attend_lse: (n, r) => attend(n.op, n.attrs, r.args, n.type, r.shape, r.options.f32 ?? false),
  attend_dq: (n, r) => attend(n.op, n.attrs, r.args, n.type, r.shape, r.options.f32 ?? false),
  attend_dk: (n, r) => attend(n.op, n.attrs, r.args, n.type, r.shape, r.options.f32 ?? false),
  attend_dv: (n, r) => attend(n.op, n.attrs, r.args, n.type, r.shape, r.options.f32 ?? false),
  attend_dtable: (n, r) => attend(n.op, n.attrs, r.args, n.type, r.shape, r.options.f32 ?? false),
  linear_ce: (n, r) => linearCe(n.op, n.attrs, r.args, n.type, r.shape),
  linear_ce_dx: (n, r) => linearCe(n.op, n.attrs, r.args, n.type, r.shape),
  linear_ce_dw: (n, r) => linearCe(n.op, n.attrs, r.args, n.type, r.shape),
};

/** Runs a graph on numbers. States are read before any is written. */
export function interpret(graph: Graph, options: RunOptions = {}): RunResult {
  const lengths = options.lengths ?? {};
  const values: Value[] = [];
  const stateTypes = new Map<string, TensorType>();
  for (const node of graph.nodes) {
    const args = node.args.map((a) => values[a] ?? missing(`operand ${a}`));
    const rule = interpretRules[node.op] as Rule<OpName>;
    const value = rule(node as NodeOf<OpName>, { args, shape: shapeOf(node.type, lengths), lengths, options });
    if (options.f32 && node.type.dtype === "f32" && node.op !== "rename") value.data.set(value.data.map(Math.fround));
    if (node.type.dtype === "f16" && node.op !== "rename") value.data.set(value.data.map(roundHalf));
    if (node.op === "state") stateTypes.set(node.attrs.name, node.type);
    values.push(value);
    options.watch?.(node, value);
  }
  const outputs: Record<string, Value> = {};
  const state: Record<string, Value> = {};
  for (const [name, given] of Object.entries(options.state ?? {})) {
    const type = stateTypes.get(name);
    if (type) state[name] = give(given, name, type, lengths);
    else if (typeof given !== "number" && "data" in given) state[name] = given;
  }
  for (const o of graph.outputs) {
    const value = values[o.node] ?? missing(`output ${o.name}`);
    outputs[o.name] = value;
    if (o.into !== undefined) state[o.into] = inOrder(value, stateTypes.get(o.into) ?? value.type);
  }
  return { outputs, state };
}
