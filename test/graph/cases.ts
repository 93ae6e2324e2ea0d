// One or more small uses of every op, for the tests that walk the vocabulary: read-back, verification, gradients, f32 against f64.
// A case names what it feeds; f32 inputs are the ones whose gradient is checked. Values keep clear of kinks and ties.

import type { Dim } from "../../compiler/dim/dim.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId, TensorType } from "../../compiler/graph/graph.ts";
import type { Grouping } from "../../compiler/graph/make.ts";
import { Make } from "../../compiler/graph/make.ts";
import type { OpName } from "../../compiler/graph/ops.ts";
import type { Lengths } from "../../compiler/graph/value.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { add, and, attr, binary, f32, i32, mul, name, sub, unary } from "../../compiler/scalar/expr.ts";

export const ax = (n: string, size: number | string): Axis => ({ name: n, size: typeof size === "number" ? dimConst(size) : dimVar(size) });
export const F = (...axes: Axis[]): TensorType => ({ dtype: "f32", axes });
export const I = (...axes: Axis[]): TensorType => ({ dtype: "i32", axes });
export const B = (...axes: Axis[]): TensorType => ({ dtype: "bool", axes });

export interface Case {
  readonly title: string;
  readonly build: (m: Make, x: (name: string, type: TensorType) => NodeId) => NodeId;
  /** Values by input name; f32 inputs that are not named get distinct values in `range`. */
  readonly values?: Readonly<Record<string, readonly number[]>>;
  readonly range?: readonly [number, number];
  readonly lengths?: Lengths;
  /** f32 inputs whose gradient is not compared: the result has a jump there. */
  readonly still?: readonly string[];
}

/** Distinct, reproducible numbers spread over a range, in scrambled order. */
export function spread(n: number, seed: number, [lo, hi]: readonly [number, number] = [-1.5, 1.5]): number[] {
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => hash(a, seed) - hash(b, seed));
  return order.map((k) => lo + ((hi - lo) * (k + 0.2 + ((seed * 0.31) % 0.6))) / n);
}
const hash = (i: number, seed: number): number => Math.abs(Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453) % 1;

export interface Built {
  readonly builder: GraphBuilder;
  readonly result: NodeId;
  readonly inputs: Record<string, number[]>;
  readonly nodes: Record<string, NodeId>;
  readonly lengths: Lengths;
}

export function buildCase(c: Case): Built {
  const builder = new GraphBuilder("case");
  const lengths = c.lengths ?? { t: 3, s: 4, batch: 2 };
  const inputs: Record<string, number[]> = {};
  const nodes: Record<string, NodeId> = {};
  const m = new Make(builder, originAt("case"));
  const result = c.build(m, (n, type) => {
    const size = product(shapeOf(type, lengths));
    inputs[n] = [...(c.values?.[n] ?? (type.dtype === "f32" ? spread(size, Object.keys(inputs).length, c.range) : Array.from({ length: size }, (_, i) => i % 2)))];
    return (nodes[n] = m.input(n, type));
  });
  return { builder, result, inputs, nodes, lengths };
}

export function graphOf(c: Case): Graph {
  const b = buildCase(c);
  b.builder.output("y", b.result);
  return b.builder.finish();
}

const [t, s, d, e, h, g, batch] = [ax("t", "t"), ax("s", "s"), ax("d", 4), ax("e", 3), ax("h", 2), ax("g", 2), ax("batch", "batch")];

const un = (op: "neg" | "abs" | "exp" | "log" | "sqrt" | "rsqrt" | "tanh" | "sigmoid" | "sin" | "cos" | "floor", range?: readonly [number, number]): Case[] => [
  { title: "matrix", range, build: (m, x) => m[op](x("x", F(t, d))) },
  { title: "scalar", range, build: (m, x) => m[op](x("x", F())) },
];
type Bin = "add" | "sub" | "mul" | "div" | "max" | "min" | "pow" | "mod" | "eq" | "ne" | "lt" | "le";
const bin = (op: Bin, range?: readonly [number, number]): Case[] => [
  { title: "same axes", range, build: (m, x) => m[op](x("a", F(t, d)), x("b", F(t, d))) },
  { title: "one side repeated", range, build: (m, x) => m[op](x("a", F(d)), x("b", F(batch, t, d))) },
  { title: "outer product", range, build: (m, x) => m[op](x("a", F(t)), x("b", F(d))) },
  { title: "other memory order", range, build: (m, x) => m[op](x("a", F(d, t)), x("b", F(t, d))) },
  { title: "with itself's cosine", range, build: (m, x) => { const a = x("a", F(d)); return m[op](a, m.offset(m.cos(a), 1.3)); } },
];
const bools: Case[] = [{ title: "matrix and row", build: (m, x) => m.and(x("a", B(t, d)), x("b", B(d))) }];

const capped = mul(f32(1.5), unary("tanh", binary("div", name("s", "f32"), f32(1.5))));
const slope = add(name("s", "f32"), mul(f32(-0.3), unary("to_f32", binary("sub", attr("q", "pos"), attr("k", "pos")))));
const causal = binary("le", attr("k", "pos"), attr("q", "pos"));
const sameDoc = binary("eq", attr("q", "doc"), attr("k", "doc"));

const far = binary("min", binary("max", add(sub(attr("q", "pos"), attr("k", "pos")), i32(2)), i32(0)), i32(4));
/** s * exp(b0) + b1[distance] - head * distance / 10. */
const tabled = sub(
  add(mul(name("s", "f32"), unary("exp", name("b0", "f32"))), name("b1", "f32")),
  mul(f32(0.1), unary("to_f32", mul(name("head", "i32"), sub(attr("q", "pos"), attr("k", "pos"))))),
);

type AttendOp = "attend" | "attend_lse" | "attend_dq" | "attend_dk" | "attend_dv" | "attend_dtable";
function attendCases(op: AttendOp): Case[] {
  const wrap = (m: Make, x: (n: string, ty: TensorType) => NodeId, parts: readonly [NodeId, NodeId, NodeId], o: Parameters<Make["attend"]>[3]): NodeId => {
    if (op === "attend") return m.attend(...parts, o);
    if (op === "attend_lse") return m.attendLse(...parts, o);
    const [out, lse] = [m.attend(...parts, o), m.attendLse(...parts, o)];
    const node = m.builder.node(out);
    if (node.op !== "attend") throw new Error("attend was rewritten");
    const args = [...parts, out, lse, x("dout", node.type), ...node.args.slice(3)];
    return op === "attend_dtable" ? m.op(op, args, { ...node.attrs, table: (node.attrs.tables?.length ?? 0) - 1 }) : m.op(op, args, node.attrs);
  };
  const u = ax("u", 3);
  const bucket = ax("bucket", 5);
  const learned: Case[] = [
    {
      title: "tables by distance and by head, a sink, groups, rows that see nothing",
      build: (m, x) => wrap(m, x, [x("q", F(batch, h, t, g, e)), x("k", F(batch, s, h, e)), x("v", F(batch, h, s, u))], {
        query: "t", key: "s", width: "e", value: "u", mask: causal, score: tabled, heads: ["h", "g"],
        tables: [{ node: x("tau", F(g, h)) }, { node: x("bias", F(bucket, h, g)), axis: "bucket", index: far }], sink: x("sink", F(h, g)),
        queryAttrs: { pos: x("qpos", I(t)) }, keyAttrs: { pos: x("kpos", I(s)) },
      }),
      values: { qpos: [0, 4, 6], kpos: [1, 3, 5, 6] },
    },
    {
      title: "one table for all heads, one of the batch, an index by head, a sink of the groups",
      build: (m, x) => wrap(m, x, [x("q", F(batch, t, h, g, e)), x("k", F(batch, s, h, e)), x("v", F(batch, s, h, e))], {
        query: "t", key: "s", width: "e", score: add(mul(name("s", "f32"), name("b0", "f32")), mul(name("b1", "f32"), name("b1", "f32"))), heads: ["g", "h"],
        tables: [{ node: x("gain", F(batch)) }, { node: x("bias", F(bucket)), axis: "bucket", index: add(name("head", "i32"), sub(attr("q", "pos"), attr("k", "pos"))) }],
        sink: x("sink", F(g)), queryAttrs: { pos: x("qpos", I(t)) }, keyAttrs: { pos: x("kpos", I(batch, s)) },
      }),
      values: { qpos: [0, 2], kpos: [0, 1, 2, 1, 1, 3] },
      lengths: { batch: 2, t: 2, s: 3 },
    },
  ];
  if (op === "attend_dtable") return learned;
  return [
    ...learned,
    { title: "plain", build: (m, x) => wrap(m, x, [x("q", F(t, e)), x("k", F(s, e)), x("v", F(s, e))], { query: "t", key: "s", width: "e" }) },
    {
      title: "heads, groups, batch, another value width, soft cap",
      build: (m, x) => wrap(m, x, [x("q", F(batch, t, h, g, e)), x("k", F(batch, s, h, e)), x("v", F(batch, h, s, u))],
        { query: "t", key: "s", width: "e", value: "u", score: capped, scale: 0.9 }),
      lengths: { batch: 2, t: 2, s: 3 },
    },
    {
      title: "a mask with rows that see nothing, and a score of positions",
      build: (m, x) => wrap(m, x, [x("q", F(batch, t, e)), x("k", F(batch, s, e)), x("v", F(batch, s, e))], {
        query: "t", key: "s", width: "e", mask: and(causal, sameDoc), score: slope,
        queryAttrs: { pos: x("qpos", I(t)), doc: x("qdoc", I(batch, t)) }, keyAttrs: { pos: x("kpos", I(s)), doc: x("kdoc", I(batch, s)) },
      }),
      values: { qpos: [0, 2, 3], kpos: [1, 2, 2, 3], qdoc: [0, 0, 1, 2, 1, 0], kdoc: [0, 0, 1, 1, 0, 1, 1, 2] },
    },
  ];
}

function ceCases(op: "linear_ce" | "linear_ce_dx" | "linear_ce_dw"): Case[] {
  const v = ax("v", 5);
  const make = (...rows: Axis[]): Case["build"] => (m, x) => {
    const args = [x("x", F(...rows, d)), x("w", F(d, v)), x("target", I(...rows)), x("weight", F(...rows))];
    if (op !== "linear_ce") args.push(x("dloss", F(...rows)));
    return m.op(op, args, { from: "d", vocab: "v" });
  };
  return [
    { title: "rows", build: make(t), values: { target: [4, 0, 2], weight: [1, 0.5, 2] } },
    { title: "batch, one weight is 0", build: make(batch, t), values: { target: [4, 0, 2, 1, 9, 3], weight: [1, 0.5, 2, 1, 0, 1] }, still: ["weight"] },
  ];
}

type X = (name: string, type: TensorType) => NodeId;

/** Where the 6 rows of [batch, t] go among 3 classes. */
const routes: Readonly<Record<string, readonly number[]>> = {
  "some nowhere": [2, 0, -1, 2, 1, 2],
  "a class is empty": [2, 0, 2, 2, 0, 0],
  "all in one class": [1, 1, 1, 1, 1, 1],
  "all nowhere": [-1, -1, 3, -1, 7, -1],
};
const [experts, choice] = [ax("experts", 3), ax("choice", 2)];

const routed = (f: (m: Make, g: Grouping, x: X) => NodeId): Case[] =>
  Object.entries(routes).map(([title, where]) => ({ title, build: (m, x) => f(m, m.groupBy(x("e", I(batch, t)), dimConst(3)), x), values: { e: where } }));

/** Rows [t, choice] of a router that chooses two: 6 rows among 3 classes, one dropped. */
const chosen = (f: (m: Make, g: Grouping, x: X) => NodeId): Pick<Case, "build" | "values"> => ({
  build: (m, x) => f(m, m.groupBy(x("e", I(t, choice)), dimConst(3)), x), values: { e: [2, 0, 0, 1, -1, 2] },
});

const groupings = (f: (m: Make, cls: NodeId, classes: Dim, rows: readonly string[]) => NodeId): Case[] => [
  ...Object.entries(routes).map(([title, where]): Case => ({ title, build: (m, x) => f(m, x("e", I(batch, t)), dimConst(3), ["batch", "t"]), values: { e: where } })),
  { title: "the other axis is major", build: (m, x) => f(m, x("e", I(batch, t)), dimConst(3), ["t", "batch"]), values: { e: [2, 0, -1, 2, 1, 2] } },
  { title: "one axis, one class", build: (m, x) => f(m, x("e", I(t)), dimConst(1), ["t"]), values: { e: [0, -1, 0] } },
  { title: "choices, more classes than rows", build: (m, x) => f(m, x("e", I(t, choice)), dimConst(9), ["t", "choice"]), values: { e: [8, 0, 3, 3, 8, 5] } },
  { title: "classes of run-time size", build: (m, x) => f(m, m.sub(x("e", I(batch, t)), m.iota(t)), dimVar("s"), ["batch", "t"]), values: { e: [3, 1, 2, 5, 1, 8] } },
];

const groupedDots: Case[] = [
  ...routed((m, g, x) => m.groupedDot(x("x", F(batch, t, d)), x("w", F(experts, d, h)), g, "experts", "d")),
  { title: "the operand lacks the choice", ...chosen((m, g, x) => m.groupedDot(x("x", F(t, d)), x("w", F(experts, d, h)), g, "experts", "d")) },
  { title: "the operand lacks the batch", build: (m, x) => m.groupedDot(x("x", F(t, d)), x("w", F(experts, d, h)), m.groupBy(x("e", I(batch, t)), dimConst(3)), "experts", "d"), values: { e: [2, 0, -1, 2, 1, 2] } },
  { title: "several summed, memory in other orders", ...chosen((m, g, x) => m.groupedDot(x("x", F(h, choice, e, t)), x("w", F(e, d, experts, h)), g, "experts", "h", "e")) },
  { title: "an aligned axis, a rest of the rows", ...chosen((m, g, x) => m.groupedDot(x("x", F(t, choice, h, e, d)), x("w", F(experts, h, d, ax("u", 3))), g, "experts", "d")) },
  { title: "no axis of its own on the side of the matrices", ...chosen((m, g, x) => m.groupedDot(x("x", F(t, choice, d)), x("w", F(experts, d)), g, "experts", "d")) },
  { title: "summed over nothing: each row's gain", ...chosen((m, g, x) => m.groupedDot(x("x", F(t, d)), x("w", F(experts, d)), g, "experts")) },
  { title: "two products of one kind, then a third", ...chosen((m, g, x) => {
    const a = x("x", F(t, d));
    const [gate, up] = [m.groupedDot(a, x("gate", F(experts, d, h)), g, "experts", "d"), m.groupedDot(a, x("up", F(experts, d, h)), g, "experts", "d")];
    return m.sum(m.mul(m.groupedDot(m.mul(m.silu(gate), up), x("down", F(experts, h, d)), g, "experts", "h"), x("weight", F(t, choice))), "choice");
  }) },
  { title: "classes of run-time size", build: (m, x) => m.groupedDot(x("x", F(batch, t, d)), x("w", F(s, d, h)), m.groupBy(x("e", I(batch, t)), dimVar("s")), "s", "d"), values: { e: [3, 0, -1, 3, 1, 2] } },
];

const dw = (m: Make, g: Grouping, x: NodeId, dy: NodeId, axes: readonly string[], first = 0, classes = experts): NodeId =>
  m.op("grouped_dw", [x, dy, g.order, g.offset], { rows: g.rows, classes, first, axes });
const groupedDws: Case[] = [
  ...routed((m, g, x) => dw(m, g, x("x", F(batch, t, d)), x("dy", F(batch, t, h)), [])),
  { title: "the operand lacks the choice", ...chosen((m, g, x) => dw(m, g, x("x", F(t, d)), x("dy", F(t, choice, h)), [])) },
  { title: "the cotangent lacks it", ...chosen((m, g, x) => dw(m, g, x("x", F(choice, t, d)), x("dy", F(t, h)), [])) },
  { title: "some classes", ...chosen((m, g, x) => dw(m, g, x("x", F(t, d)), x("dy", F(t, choice, h)), [], 1, ax("experts", 2))) },
  { title: "the middle class", ...chosen((m, g, x) => dw(m, g, x("x", F(t, d)), x("dy", F(t, choice, h)), [], 1, ax("experts", 1))) },
  { title: "a summed and an aligned axis, other orders", ...chosen((m, g, x) => dw(m, g, x("x", F(h, e, t, choice, d)), x("dy", F(choice, e, h, t, ax("u", 3))), ["e"])) },
  { title: "all axes aligned: a gain", ...chosen((m, g, x) => dw(m, g, x("x", F(t, d)), x("dy", F(t, choice, d)), [])) },
  { title: "classes of run-time size", build: (m, x) => dw(m, m.groupBy(x("e", I(batch, t)), dimVar("s")), x("x", F(batch, t, d)), x("dy", F(batch, t, h)), [], 0, s), values: { e: [3, 0, -1, 3, 1, 2] } },
];

export const cases: { readonly [K in OpName]: readonly Case[] } = {
  input: [{ title: "alone", build: (_, x) => x("x", F(t, d)) }],
  state: [{ title: "alone", build: (m, x) => m.add(x("x", F(d)), m.const(0)) }],
  const: [{ title: "alone", build: (m) => m.const(2.5) }],
  iota: [{ title: "alone", build: (m) => m.iota(t) }],
  random: [
    { title: "normal", build: (m) => m.random("normal", 3, [batch, t], m.const(1, "u32"), m.const(2, "u32")) },
    { title: "uniform", build: (m) => m.random("uniform", 4, [d], m.const(1, "u32"), m.const(2, "u32")) },
  ],
  neg: un("neg"), abs: un("abs"), exp: un("exp"), log: un("log", [0.3, 3]), sqrt: un("sqrt", [0.3, 3]), rsqrt: un("rsqrt", [0.3, 3]),
  tanh: un("tanh"), sigmoid: un("sigmoid"), sin: un("sin"), cos: un("cos"), floor: un("floor"),
  not: [{ title: "row", build: (m, x) => m.not(x("a", B(d))) }],
  cast: [
    { title: "to i32", range: [-5.13, 4.7], build: (m, x) => m.cast(x("x", F(t, d)), "i32") },
    { title: "to bool and back", build: (m, x) => m.cast(m.cast(x("x", F(d)), "bool"), "f32") },
    { title: "from i32", build: (m, x) => m.cast(x("i", I(t)), "f32") },
  ],
  add: bin("add"), sub: bin("sub"), mul: bin("mul"), div: bin("div", [0.4, 2]), max: bin("max"), min: bin("min"),
  pow: bin("pow", [0.4, 2]), mod: bin("mod", [0.4, 2]),
  eq: bin("eq"), ne: bin("ne"), lt: bin("lt"), le: bin("le"),
  and: bools, or: [{ title: "matrix and row", build: (m, x) => m.or(x("a", B(t, d)), x("b", B(d))) }],
  select: [
    { title: "rows", build: (m, x) => m.select(x("c", B(t)), x("a", F(t, d)), x("b", F(d))) },
    { title: "by comparison", build: (m, x) => { const a = x("a", F(t, d)); return m.select(m.lt(a, m.const(0.1)), m.square(a), x("b", F())); } },
  ],
  sum: [
    { title: "inner", build: (m, x) => m.sum(x("x", F(t, d)), "d") },
    { title: "outer and middle", build: (m, x) => m.sum(x("x", F(batch, t, d)), "t", "batch") },
    { title: "all", build: (m, x) => m.sum(x("x", F(t, d)), "t", "d") },
  ],
  amax: [
    { title: "inner", build: (m, x) => m.amax(x("x", F(t, d)), "d") },
    { title: "two", build: (m, x) => m.amax(x("x", F(batch, t, d)), "batch", "d") },
  ],
  argmax: [{ title: "inner", build: (m, x) => m.argmax(x("x", F(t, d)), "d") }],
  dot: [
    { title: "matrix product", build: (m, x) => m.dot(x("x", F(batch, t, d)), x("w", F(d, h, e)), "d") },
    { title: "two contracted", build: (m, x) => m.dot(x("x", F(t, h, e)), x("w", F(e, d, h)), "h", "e") },
    { title: "shared axis kept", build: (m, x) => m.dot(x("x", F(batch, t, d)), x("y", F(s, d, batch)), "d") },
    { title: "row by row", build: (m, x) => m.dot(x("x", F(t, d)), x("y", F(d, t)), "d") },
    { title: "with itself", build: (m, x) => { const a = x("x", F(t, d)); return m.dot(a, a, "d"); } },
  ],
  rename: [{ title: "row", build: (m, x) => m.rename(x("x", F(t, d)), "t", "n") }],
  split: [
    { title: "two", build: (m, x) => m.split(x("x", F(t, d, e)), "d", [ax("a", 2), ax("b", 2)]) },
    { title: "keeps a name", build: (m, x) => m.split(x("x", F(d)), "d", [ax("d", 2), ax("b", 2)]) },
  ],
  merge: [
    { title: "side by side", build: (m, x) => m.merge(x("x", F(t, h, e)), ["h", "e"], "c") },
    { title: "apart and turned", build: (m, x) => m.merge(x("x", F(e, t, h)), ["h", "e"], "h") },
    { title: "run-time length", build: (m, x) => m.merge(x("x", F(batch, t, d)), ["batch", "t"], "n") },
  ],
  broadcast: [
    { title: "new inner", build: (m, x) => m.broadcast(x("x", F(t)), d) },
    { title: "new outer", build: (m, x) => m.broadcast(x("x", F(d)), batch) },
  ],
  slice: [
    { title: "inner", build: (m, x) => m.slice(x("x", F(t, d)), "d", dimConst(1), dimConst(2)) },
    { title: "run-time", build: (m, x) => m.slice(x("x", F(t, d)), "t", dimConst(1), dimConst(2)) },
    { title: "first and all", build: (m, x) => m.mul(m.slice(x("x", F(d, e)), "d", dimConst(0), dimConst(4)), m.slice(x("x", F(d, e)), "e", dimConst(0), dimConst(3))) },
  ],
  concat: [
    { title: "inner", build: (m, x) => m.concat("d", x("a", F(t, d)), x("b", F(t, ax("d", 2)))) },
    { title: "other order, three", build: (m, x) => m.concat("t", x("a", F(t, d)), x("b", F(d, t)), x("c", F(ax("t", 1), d))) },
    { title: "with itself", build: (m, x) => { const a = x("a", F(t, d)); return m.concat("t", a, m.square(a)); } },
  ],
  gather: [
    { title: "rows, some twice", build: (m, x) => m.gather(x("table", F(ax("v", 3), d)), "v", x("i", I(batch, t))), values: { i: [2, 0, 2, 1, 2, 0] } },
    { title: "aligned", build: (m, x) => m.gather(x("table", F(t, d)), "d", x("i", I(t))), values: { i: [2, 0, 3] } },
    { title: "inner axis, index has its name", build: (m, x) => m.gather(x("table", F(d, t)), "t", x("i", I(t))), values: { i: [2, 0, 2] } },
    { title: "aligned, a few of each row", build: (m, x) => m.gather(x("table", F(t, d)), "d", x("i", I(t, ax("k", 2)))), values: { i: [2, 0, 3, 3, 1, 2] } },
    { title: "one index", build: (m, x) => m.gather(x("table", F(d, t)), "d", x("i", I())), values: { i: [2] } },
    { title: "aligned, many of each row", build: (m, x) => m.gather(x("table", F(batch, t, d)), "t", x("i", I(batch, g, s))), values: { i: [2, 0, 2, 1, 1, 0, 1, 1, 0, 2, 0, 0, 0, 2, 1, 2] } },
    { title: "aligned, index has its name", build: (m, x) => m.gather(x("table", F(batch, t, d)), "t", x("i", I(batch, t))), values: { i: [2, 0, 2, 1, 1, 0] } },
  ],
  scatter_add: [
    { title: "one index", build: (m, x) => m.scatterAdd(x("x", F(d)), ax("v", 3), x("i", I())), values: { i: [1] } },
    { title: "rows", build: (m, x) => m.scatterAdd(x("x", F(batch, t, d)), ax("v", 4), x("i", I(batch, t))), values: { i: [2, 0, 2, 1, 2, 0] } },
    { title: "axis keeps its name", build: (m, x) => m.scatterAdd(x("x", F(d, t)), ax("t", 4), x("i", I(t))), values: { i: [3, 3, 0] } },
  ],
  update: [
    { title: "inside", build: (m, x) => m.update(x("cache", F(s, d)), "s", x("value", F(ax("s", 2), d)), x("at", I())), values: { at: [1] } },
    { title: "by row, one over the end", build: (m, x) => m.update(x("cache", F(batch, s, d)), "s", x("value", F(d, batch, ax("s", 2))), x("at", I(batch))), values: { at: [0, 3] } },
  ],
  top: [
    { title: "inner, all equal in one row", build: (m, x) => m.topOrder(x("x", F(t, d)), "d", ax("choice", 2)), values: { x: [0.1, 0.9, -0.3, 0.5, 0.7, 0.7, 0.7, 0.7, -1, -3, -2, -0.5] } },
    { title: "outer, run-time length", build: (m, x) => m.topOrder(x("x", F(batch, t, d)), "t", ax("choice", 2)) },
    { title: "all of them", build: (m, x) => m.topOrder(x("x", F(d, t)), "d", ax("d", 4)) },
    { title: "integers", build: (m, x) => m.topOrder(x("x", I(t, s)), "s", ax("k", 3)), values: { x: [1, 5, 5, -2, 0, 0, 1, 1, 7, 3, 9, 3] } },
    { title: "a choice of run-time size", build: (m, x) => m.topOrder(x("x", F(batch, s, e)), "s", ax("t", "t")) },
  ],
  group_order: groupings((m, cls, classes, rows) => m.groupBy(cls, classes, rows).order),
  group_place: groupings((m, cls, classes, rows) => m.groupPlace(cls, m.groupBy(cls, classes, rows))),
  group_offset: groupings((m, cls, classes, rows) => m.groupBy(cls, classes, rows).offset),
  grouped_dot: groupedDots,
  grouped_dw: groupedDws,
  grouped_sum: [
    ...routed((m, g, x) => m.groupedSum(x("x", F(batch, t, d)), g, "experts")),
    { title: "some classes", build: (m, x) => {
      const g = m.groupBy(x("e", I(batch, t)), dimConst(3));
      return m.op("grouped_sum", [x("x", F(d, batch, t)), g.order, g.offset], { rows: g.rows, classes: ax("experts", 2), first: 1 });
    }, values: { e: [2, 0, 1, 2, -1, 2] } },
    { title: "turned, no rest, whole numbers", build: (m, x) => m.groupedSum(x("x", I(t, batch)), m.groupBy(x("e", I(batch, t)), dimConst(3)), "c"), values: { e: [2, -1, 0, 2, 2, 0] } },
    { title: "rows between other axes, classes of run-time size", build: (m, x) => m.groupedSum(x("x", F(d, t, e, batch)), m.groupBy(x("e", I(batch, t)), dimVar("s"), ["t", "batch"]), "s"), values: { e: [3, -1, 0, 1, 3, 9] } },
  ],
  rope: [
    { title: "tokens", build: (m, x) => m.rope(x("x", F(t, h, d)), "d", m.cast(x("p", I(t)), "f32"), 10), values: { p: [0, 5, 2] } },
    { title: "inverse, fractional positions that carry a gradient", build: (m, x) => m.rope(x("x", F(t, d)), "d", x("p", F(t)), 10, true) },
  ],
  attend: attendCases("attend"),
  attend_lse: attendCases("attend_lse").slice(0, 4),
  attend_dq: attendCases("attend_dq"),
  attend_dk: attendCases("attend_dk"),
  attend_dv: attendCases("attend_dv"),
  attend_dtable: attendCases("attend_dtable"),
  linear_ce: ceCases("linear_ce"),
  linear_ce_dx: ceCases("linear_ce_dx"),
  linear_ce_dw: ceCases("linear_ce_dw"),
};

/** Every case with its op, for `it.each`. */
export const allCases: readonly (readonly [OpName, string, Case])[] = (Object.keys(cases) as OpName[]).flatMap((op) =>
  cases[op].map((c) => [op, c.title, c] as const));
