// The interpreter against formulas written out by hand.

import { describe, expect, it } from "vitest";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, InferFailure, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, NodeId, TensorType } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import type { RunOptions } from "../../compiler/graph/interpret.ts";
import { LSE_EMPTY } from "../../compiler/graph/interpret_tokens.ts";
import { Make } from "../../compiler/graph/make.ts";
import { normalAt, philox, uniformAt } from "../../compiler/graph/philox.ts";
import { add, attr, binary, f32, i32, mul, name, sub, unary } from "../../compiler/scalar/expr.ts";

const ax = (n: string, size: number | string): Axis => ({ name: n, size: typeof size === "number" ? dimConst(size) : dimVar(size) });
const F = (...axes: Axis[]): TensorType => ({ dtype: "f32", axes });
const I = (...axes: Axis[]): TensorType => ({ dtype: "i32", axes });

function run(f: (m: Make) => NodeId, options: RunOptions = {}): { axes: string[]; data: number[] } {
  const b = new GraphBuilder("test");
  b.output("y", f(new Make(b, originAt("test"))));
  const y = interpret(b.finish(), options).outputs.y!;
  return { axes: y.type.axes.map((a) => a.name), data: [...y.data] };
}

const [t, d] = [ax("t", "t"), ax("d", 3)];
const x = [1, 2, 3, 4, 5, 6];
const lengths = { t: 2 };

describe("elementwise ops align by name", () => {
  it("repeats an axis that one side lacks", () => {
    const y = run((m) => m.add(m.input("x", F(t, d)), m.input("b", F(d))), { inputs: { x, b: [10, 20, 30] }, lengths });
    expect(y).toEqual({ axes: ["t", "d"], data: [11, 22, 33, 14, 25, 36] });
  });
  it("aligns operands whose memory order differs", () => {
    const y = run((m) => m.sub(m.input("x", F(t, d)), m.input("z", F(d, t))), { inputs: { x, z: [1, 4, 2, 5, 3, 6] }, lengths });
    expect(y.data).toEqual([0, 0, 0, 0, 0, 0]);
  });
  it("puts run-time lengths outside when nothing is shared", () => {
    expect(run((m) => m.mul(m.input("b", F(d)), m.input("p", F(t))), { inputs: { b: [1, 2, 3], p: [10, 20] }, lengths }))
      .toEqual({ axes: ["t", "d"], data: [10, 20, 30, 20, 40, 60] });
  });
  it("wraps integers and truncates their quotients", () => {
    const i = (v: number) => (m: Make) => m.const(v, "i32");
    expect(run((m) => m.add(i(2147483647)(m), i(1)(m))).data).toEqual([-2147483648]);
    expect(run((m) => m.div(i(-7)(m), i(2)(m))).data).toEqual([-3]);
    expect(run((m) => m.mod(i(7)(m), i(0)(m))).data).toEqual([0]);
    expect(run((m) => m.sub(m.const(1, "u32"), m.const(2, "u32"))).data).toEqual([4294967295]);
    expect(run((m) => m.cast(m.const(-3.7), "i32")).data).toEqual([-3]);
    expect(run((m) => m.cast(m.const(0.1), "bool")).data).toEqual([1]);
  });
  it("rounds to single precision when asked", () => {
    expect(run((m) => m.add(m.const(0.1), m.const(0.2))).data[0]).toBe(0.1 + 0.2);
    expect(run((m) => m.add(m.const(0.1), m.const(0.2)), { f32: true }).data[0]).toBe(Math.fround(Math.fround(0.1) + Math.fround(0.2)));
  });
});

describe("rows in classes", () => {
  const [r, k, e, h] = [ax("t", "t"), ax("k", 2), ax("e", 3), ax("h", 2)];
  // Rows t k: 0, 1 | 2, 3 | 4, 5. Class 1 is empty, row 3 is nowhere.
  const c = [2, 0, 0, -1, 2, 0];
  const o = { inputs: { c, x: [1, 2, 3], y: [1, 2, 3, 4, 5, 6], w: [1, 10, 0, 0, 2, 20] }, lengths: { t: 3 } };
  const C = (m: Make) => m.groupBy(m.input("c", I(r, k)), dimConst(3));
  it("are sorted by class, those of a class in their order, those nowhere last", () => {
    expect(run((m) => C(m).order, o)).toEqual({ axes: ["slot"], data: [1, 2, 5, 0, 4, 3] });
    expect(run((m) => C(m).offset, o)).toEqual({ axes: ["class"], data: [0, 3, 3, 5] });
    expect(run((m) => m.groupPlace(m.input("c", I(r, k)), C(m)), o)).toEqual({ axes: ["t", "k"], data: [3, 0, 1, 5, 4, 2] });
    expect(run((m) => m.groupBy(m.input("c", I(r, k)), dimConst(3), ["k", "t"]).order, o).data).toEqual([1, 3, 5, 0, 2, 4]);
  });
  it("meet the matrix of their class, or nothing", () => {
    const x = (m: Make): NodeId => m.input("x", F(r));
    const w = (m: Make): NodeId => m.input("w", F(e, h));
    // x lacks the choice and shares no axis with w: each row's outer product with its class's vector.
    expect(run((m) => m.groupedDot(x(m), w(m), C(m), "e"), o)).toEqual({ axes: ["t", "k", "h"], data: [2, 20, 1, 10, 2, 20, 0, 0, 6, 60, 3, 30] });
    const y = (m: Make): NodeId => m.input("y", F(r, h));
    expect(run((m) => m.groupedDot(y(m), w(m), C(m), "e", "h"), o)).toEqual({ axes: ["t", "k"], data: [42, 21, 43, 0, 130, 65] });
  });
  it("are summed by class", () => {
    const y = (m: Make): NodeId => m.input("y", F(r, k));
    expect(run((m) => m.groupedSum(y(m), C(m), "e"), o)).toEqual({ axes: ["e"], data: [2 + 3 + 6, 0, 1 + 5] });
    const dw = (first: number, size: number) => run((m) => {
      const g = C(m);
      return m.op("grouped_dw", [m.input("x", F(r)), y(m), g.order, g.offset], { rows: g.rows, classes: ax("e", size), first, axes: [] });
    }, o);
    expect(dw(0, 3)).toEqual({ axes: ["e"], data: [1 * 2 + 2 * 3 + 3 * 6, 0, 1 * 1 + 3 * 5] });
    expect(dw(2, 1).data).toEqual([16]);
  });
});

describe("reductions and contractions", () => {
  const X = (m: Make): NodeId => m.input("x", F(t, d));
  it("sum, amax, argmax, mean", () => {
    const o = { inputs: { x: [1, 9, 9, 4, 5, -6] }, lengths };
    expect(run((m) => m.sum(X(m), "t"), o)).toEqual({ axes: ["d"], data: [5, 14, 3] });
    expect(run((m) => m.sum(X(m), "d", "t"), o).data).toEqual([22]);
    expect(run((m) => m.amax(X(m), "d"), o).data).toEqual([9, 5]);
    expect(run((m) => m.argmax(X(m), "d"), o).data).toEqual([1, 1]);
    expect(run((m) => m.mean(X(m), "t"), o).data).toEqual([2.5, 7, 1.5]);
  });
  it("dot sums what it names and keeps what is shared", () => {
    const w = [1, 0, 0, 1, 1, 1];
    const o = { inputs: { x, w }, lengths };
    expect(run((m) => m.dot(X(m), m.input("w", F(d, ax("e", 2))), "d"), o)).toEqual({ axes: ["t", "e"], data: [4, 5, 10, 11] });
    expect(run((m) => m.dot(X(m), m.input("w", F(t, d)), "d"), o)).toEqual({ axes: ["t"], data: [1, 15] });
  });
  it("softmax sums to one and log_softmax is its log", () => {
    const o = { inputs: { x }, lengths };
    const s = run((m) => m.softmax(X(m), "d"), o).data;
    const l = run((m) => m.logSoftmax(X(m), "d"), o).data;
    expect(s[0]! + s[1]! + s[2]!).toBeCloseTo(1, 12);
    s.forEach((p, i) => expect(Math.log(p)).toBeCloseTo(l[i]!, 12));
  });
  it("norms have unit square mean", () => {
    const y = run((m) => m.layerNorm(X(m), 0, "d"), { inputs: { x: [1, 2, 4, -3, 0, 8] }, lengths }).data;
    expect((y[0]! ** 2 + y[1]! ** 2 + y[2]! ** 2) / 3).toBeCloseTo(1, 12);
    expect(y[0]! + y[1]! + y[2]!).toBeCloseTo(0, 12);
  });
  it("top picks the largest, first of equals", () => {
    const o = { inputs: { x: [3, 7, 7, 1, 0, 2] }, lengths };
    expect(run((m) => m.top(X(m), "d", 2)[0]!.index, o).data).toEqual([1, 2]);
    expect(run((m) => m.top(X(m), "d", 2)[1]!.index, o).data).toEqual([2, 0]);
    expect(run((m) => m.top(X(m), "d", 2)[1]!.value, o).data).toEqual([7, 1]);
  });
});

describe("names and movement", () => {
  const o = { inputs: { x, i: [2, 0, 2, 1] }, lengths };
  const X = (m: Make): NodeId => m.input("x", F(t, d));
  it("split and merge are inverse, also when the parts are not side by side", () => {
    const y = run((m) => m.merge(X(m), ["d", "t"], "n"), o);
    expect(y).toEqual({ axes: ["n"], data: [1, 4, 2, 5, 3, 6] });
    expect(run((m) => m.split(m.merge(X(m), ["d", "t"], "n"), "n", [d, t]), o).data).toEqual(y.data);
  });
  it("slice, concat, rename, broadcast", () => {
    expect(run((m) => m.slice(X(m), "d", dimConst(1), dimConst(2)), o).data).toEqual([2, 3, 5, 6]);
    expect(run((m) => m.concat("d", X(m), m.slice(X(m), "d", dimConst(0), dimConst(1))), o).data).toEqual([1, 2, 3, 1, 4, 5, 6, 4]);
    expect(run((m) => m.rename(X(m), "d", "e"), o).axes).toEqual(["t", "e"]);
    expect(run((m) => m.broadcast(m.const(7), ax("h", 2)), o).data).toEqual([7, 7]);
  });
  it("gather takes index axes first, and aligns shared ones", () => {
    const i = (m: Make, ...axes: Axis[]): NodeId => m.input("i", I(...axes));
    expect(run((m) => m.gather(X(m), "d", i(m, ax("n", 4))), o)).toEqual({ axes: ["n", "t"], data: [3, 6, 1, 4, 3, 6, 2, 5] });
    expect(run((m) => m.gather(X(m), "d", m.input("j", I(t))), { ...o, inputs: { x, j: [2, 0] } })).toEqual({ axes: ["t"], data: [3, 4] });
    expect(run((m) => m.gather(X(m), "t", m.input("j", I(t))), { ...o, inputs: { x, j: [1, 1] } }).data).toEqual([4, 5, 6, 4, 5, 6]);
    expect(() => run((m) => m.gather(X(m), "d", m.input("j", I(t))), { ...o, inputs: { x, j: [3, 0] } })).toThrow("outside axis `d` of 3");
  });
  it("scatter_add is the transpose of gather", () => {
    expect(run((m) => m.scatterAdd(X(m), ax("v", 3), m.input("j", I(t))), { ...o, inputs: { x, j: [2, 2] } }))
      .toEqual({ axes: ["v", "d"], data: [0, 0, 0, 0, 0, 0, 5, 7, 9] });
    expect(run((m) => m.scatterAdd(X(m), ax("t", 3), m.input("j", I(t))), { ...o, inputs: { x, j: [2, 0] } }).data).toEqual([4, 5, 6, 0, 0, 0, 1, 2, 3]);
  });
  it("top gives places, largest first, equals in their order", () => {
    expect(run((m) => m.topOrder(X(m), "d", ax("k", 2)), { ...o, inputs: { x: [1, 3, 3, 0, -1, 5] } })).toEqual({ axes: ["t", "k"], data: [1, 2, 2, 0] });
  });
  it("update writes from a place on and drops what does not fit", () => {
    const upd = (at: number) => run((m) => m.update(X(m), "t", m.slice(X(m), "t", dimConst(0), dimConst(1)), m.const(at, "i32")), o).data;
    expect(upd(1)).toEqual([1, 2, 3, 1, 2, 3]);
    expect(upd(2)).toEqual(x);
  });
  it("rope turns pairs and its inverse turns them back", () => {
    const e = ax("e", 4);
    const at = { inputs: { x: [1, 2, 3, 4, 5, 6, 7, 8], p: [0, 3] }, lengths };
    const once = (m: Make): NodeId => m.rope(m.input("x", F(t, e)), "e", m.input("p", F(t)), 100);
    const y = run(once, at).data;
    expect(y.slice(0, 4)).toEqual([1, 2, 3, 4]);
    expect(y[4]).toBeCloseTo(5 * Math.cos(3) - 7 * Math.sin(3), 12);
    expect(y[7]).toBeCloseTo(8 * Math.cos(0.3) + 6 * Math.sin(0.3), 12);
    run((m) => m.rope(once(m), "e", m.input("p", F(t)), 100, true), at).data.forEach((v, i) => expect(v).toBeCloseTo(i + 1, 12));
  });
});

describe("attention", () => {
  const [h, g, s, e] = [ax("h", 2), ax("g", 2), ax("s", "t"), ax("e", 2)];
  const q = Array.from({ length: 16 }, (_, i) => Math.sin(i * 1.7));
  const k = Array.from({ length: 8 }, (_, i) => Math.cos(i * 2.3));
  const v = Array.from({ length: 8 }, (_, i) => Math.sin(i * 0.9 + 1));
  const inputs = { q, k, v, qp: [0, 1], kp: [1, 2] };
  const mask = binary("le", attr("k", "pos"), attr("q", "pos"));
  const capped = mul(f32(2), unary("tanh", binary("div", name("s", "f32"), f32(2))));
  const parts = (m: Make) => [m.input("q", F(t, h, g, e)), m.input("k", F(s, h, e)), m.input("v", F(s, h, e))] as const;
  it("equals softmax written out, with grouped queries, a score and no mask", () => {
    const fused = run((m) => m.attend(...parts(m), { query: "t", key: "s", width: "e", score: capped }), { inputs, lengths });
    const plain = run((m) => {
      const [Q, K, V] = parts(m);
      const logits = m.scale(m.dot(Q, K, "e"), 1 / Math.sqrt(2));
      return m.dot(m.softmax(m.scale(m.tanh(m.scale(logits, 0.5)), 2), "s"), V, "s");
    }, { inputs, lengths });
    expect(fused.axes).toEqual(["t", "h", "g", "e"]);
    fused.data.forEach((y, i) => expect(y).toBeCloseTo(plain.data[i]!, 12));
  });
  it("gives 0 where nothing is visible, and the only value where one key is", () => {
    const o = { query: "t", key: "s", width: "e", mask };
    const attrs = (m: Make) => ({ ...o, queryAttrs: { pos: m.input("qp", I(t)) }, keyAttrs: { pos: m.input("kp", I(s)) } });
    const y = run((m) => m.attend(...parts(m), attrs(m)), { inputs, lengths }).data;
    expect(y.slice(0, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    [v[0], v[1], v[0], v[1], v[2], v[3], v[2], v[3]].forEach((w, i) => expect(y[8 + i]).toBeCloseTo(w!, 12));
    expect(run((m) => m.attendLse(...parts(m), attrs(m)), { inputs, lengths }).data[0]).toBe(LSE_EMPTY);
  });
  it("equals softmax written out, with a sink, a table by distance and a number of each head", () => {
    const bucket = ax("bucket", 3);
    const learned = { tau: [0.3, -0.2], table: Array.from({ length: 12 }, (_, i) => Math.cos(i * 1.3)), sinks: [0.4, -0.7, 0.1, 0.9] };
    const given = { inputs: { ...inputs, ...learned }, lengths };
    const weights = (m: Make) => [m.input("tau", F(g)), m.input("table", F(bucket, g, h)), m.input("sinks", F(h, g))] as const;
    const fused = run((m) => {
      const [tau, table, sink] = weights(m);
      return m.attend(...parts(m), {
        query: "t", key: "s", width: "e", sink, heads: ["g", "h"],
        score: add(add(mul(name("s", "f32"), name("b0", "f32")), name("b1", "f32")), unary("to_f32", name("head", "i32"))),
        tables: [{ node: tau }, { node: table, axis: "bucket", index: add(sub(attr("q", "pos"), attr("k", "pos")), i32(1)) }],
        queryAttrs: { pos: m.input("qp", I(t)) }, keyAttrs: { pos: m.input("kp", I(s)) },
      });
    }, given);
    const plain = run((m) => {
      const [Q, K, V] = parts(m);
      const [tau, table, sink] = weights(m);
      // -2 and below is the first entry, 0 and above the last but one: what lies outside is held inside.
      const place = m.clamp(m.offset(m.sub(m.input("qp", I(t)), m.input("kp", I(s))), 1), 0, 2);
      const bias = m.add(m.gather(table, "bucket", place), m.cast(m.add(m.scale(m.iota(g), 2), m.iota(h)), "f32"));
      const logits = m.add(m.mul(m.scale(m.dot(Q, K, "e"), 1 / Math.sqrt(2)), tau), bias);
      const e = m.exp(logits);
      return m.dot(m.div(e, m.add(m.sum(e, "s"), m.exp(sink))), V, "s");
    }, given);
    expect(fused.axes).toEqual(["t", "h", "g", "e"]);
    const at = (x: typeof fused, ...place: number[]): number => x.data[offset(x, place)]!;
    const offset = (x: typeof fused, place: readonly number[]): number => x.axes.reduce((n, a) => n * 2 + place[["t", "h", "g", "e"].indexOf(a)]!, 0);
    for (let i = 0; i < 16; i++) {
      const place = [i >> 3, (i >> 2) & 1, (i >> 1) & 1, i & 1];
      expect(at(fused, ...place)).toBeCloseTo(at(plain, ...place), 12);
    }
  });
  it("gives 0 to a row that sees nothing but its sink, which is then the log of its sum", () => {
    const attrs = (m: Make) => ({ query: "t", key: "s", width: "e", mask, queryAttrs: { pos: m.input("qp", I(t)) }, keyAttrs: { pos: m.input("kp", I(s)) }, sink: m.input("sinks", F(h, g)) });
    const given = { inputs: { ...inputs, sinks: [0.5, -1, 2, 3] }, lengths };
    expect(run((m) => m.attend(...parts(m), attrs(m)), given).data.slice(0, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    run((m) => m.attendLse(...parts(m), attrs(m)), given).data.slice(0, 4).forEach((x, i) => expect(x).toBeCloseTo([0.5, -1, 2, 3][i]!, 12));
  });
  it("refuses tables and sinks that do not fit in words", () => {
    const b = ax("b", 3);
    const refused = (o: (m: Make) => Partial<Parameters<Make["attend"]>[3]>) => () => run((m) => m.attend(...parts(m), { query: "t", key: "s", width: "e", ...o(m) }), { inputs, lengths });
    expect(refused((m) => ({ sink: m.input("x", F(e)) }))).toThrow(/`e` is not an axis/);
    expect(refused((m) => ({ sink: m.input("x", F(t)) }))).toThrow(/`t` is not an axis/);
    expect(refused((m) => ({ tables: [{ node: m.input("x", F(b)) }] }))).toThrow(/`b` is not an axis/);
    expect(refused((m) => ({ tables: [{ node: m.input("x", F(b)), axis: "b", index: name("head", "f32") }] }))).toThrow(/f32 value where i32/);
    expect(refused((m) => ({ tables: [{ node: m.input("x", F(h)), axis: "h", index: name("head", "i32") }] }))).toThrow(/must not have the axis `h`/);
    expect(refused(() => ({ heads: ["e"] }))).toThrow(/no axis `e`/);
  });
  it("refuses a key axis on the query in words", () => {
    const bad = () => run((m) => m.attend(m.input("q", F(s, t, e)), m.input("k", F(s, e)), m.input("v", F(s, e)), { query: "t", key: "s", width: "e" }));
    expect(bad).toThrow(InferFailure);
    expect(bad).toThrow("must not have the key axis `s`");
  });
});

it("linear_ce equals log_softmax of the product, and skips weight 0", () => {
  const c = ax("c", 4);
  const inputs = { x, w: Array.from({ length: 12 }, (_, i) => Math.sin(i)), y: [2, 99], weight: [3, 0] };
  const fused = run((m) => m.linearCe(m.input("x", F(t, d)), m.input("w", F(d, c)), m.input("y", I(t)), m.input("weight", F(t)), "d", "c"), { inputs, lengths });
  const plain = run((m) => m.logSoftmax(m.dot(m.input("x", F(t, d)), m.input("w", F(d, c)), "d"), "c"), { inputs, lengths });
  expect(fused.data[0]).toBeCloseTo(-3 * plain.data[2]!, 12);
  expect(fused.data[1]).toBe(0);
});

describe("random", () => {
  it("is Philox4x32-10", () => {
    // Known answers of the Random123 distribution.
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const all = 0xffffffff;
    expect(philox([all, all, all, all], [all, all])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
  });
  it("counts elements in row-major order and has the right moments", () => {
    const y = run((m) => m.random("normal", 5, [t, d], m.const(7, "u32"), m.const(9, "u32")), { lengths }).data;
    expect(y).toEqual([0, 1, 2, 3, 4, 5].map((n) => normalAt(n, 5, 7, 9)));
    const n = 4000;
    let [sum, square, low] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      sum += normalAt(i, 0, 1, 2);
      square += normalAt(i, 0, 1, 2) ** 2;
      low += uniformAt(i, 0, 1, 2) < 0.25 ? 1 : 0;
    }
    expect(Math.abs(sum / n)).toBeLessThan(0.05);
    expect(Math.abs(square / n - 1)).toBeLessThan(0.07);
    expect(Math.abs(low / n - 0.25)).toBeLessThan(0.03);
  });
});

it("reads every state before it writes one, in the state's own order", () => {
  const b = new GraphBuilder("swap");
  const m = new Make(b, originAt("swap"));
  b.output("a", m.state("b", F(d, t)), "a");
  b.output("b", m.state("a", F(t, d)), "b");
  const r = interpret(b.finish(), { state: { a: x, b: [7, 8, 9, 10, 11, 12] }, lengths });
  expect([...r.state.a!.data]).toEqual([7, 9, 11, 8, 10, 12]);
  expect([...r.state.b!.data]).toEqual([1, 4, 2, 5, 3, 6]);
});
