// What inference refuses, as data and in words, and the memory order of what it accepts.

import { describe, expect, it } from "vitest";
import { dimAdd, dimConst, dimMul, dimText, dimVar } from "../../compiler/dim/dim.ts";
import type { Axis, TensorType } from "../../compiler/graph/graph.ts";
import { inferType } from "../../compiler/graph/infer.ts";
import type { InferError } from "../../compiler/graph/infer_checks.ts";
import { isInferError } from "../../compiler/graph/infer_checks.ts";
import type { OpAttrs, OpName } from "../../compiler/graph/ops.ts";
import { ax, B, F, I } from "./cases.ts";

const [t, s, d, e, h, batch] = [ax("t", "t"), ax("s", "s"), ax("d", 4), ax("e", 3), ax("h", 2), ax("batch", "batch")];

function refused<K extends OpName>(op: K, attrs: OpAttrs[K], ...args: TensorType[]): InferError {
  const r = inferType(op, attrs, args);
  if (!isInferError(r)) throw new Error(`${op} was accepted`);
  return r;
}
function order<K extends OpName>(op: K, attrs: OpAttrs[K], ...args: TensorType[]): string {
  const r = inferType(op, attrs, args);
  if (isInferError(r)) throw new Error(r.message);
  return r.axes.map((a) => a.name).join(" ");
}
const gd = { rows: ["s"], classes: "e", axes: ["d"] };
const slots = (n: string): TensorType => I({ name: "slot", size: dimVar(n) });
const offsets = (classes: number): TensorType => I(ax("class", classes + 1));
const attend = { query: "t", key: "s", width: "e", value: "e", scale: 1, queryAttrs: [], keyAttrs: [] };

describe("refusals name the axis, both sizes and both places", () => {
  it("sizes", () => {
    const r = refused("add", {}, F(t, d), F(ax("d", 6)));
    expect(r).toMatchObject({ kind: "axis_size", op: "add", axis: "d", message: "axis `d` is 4 here and 6 there" });
    expect([r.a!.arg, dimText(r.a!.dim!), r.b!.arg, dimText(r.b!.dim!)]).toEqual([0, "4", 1, "6"]);
    expect(refused("select", {}, B(t), F(t, d), F(ax("t", "s"))).message).toBe("axis `t` is t here and s there");
    expect(refused("linear_ce", { from: "d", vocab: "v" }, F(t, d), F(ax("d", 5), ax("v", 9)), I(t), F(t))).toMatchObject({ kind: "axis_size", axis: "d" });
  });
  const cases: [string, InferError, Partial<InferError>][] = [
    ["a missing axis", refused("sum", { axes: ["x"] }, F(t, d)), { kind: "missing_axis", axis: "x", message: "there is no axis `x` here; the axes are `t`, `d`" }],
    ["a contraction over one side", refused("dot", { axes: ["t"] }, F(t, d), F(d)), { kind: "missing_axis", axis: "t" }],
    ["a name taken twice", refused("rename", { from: "t", to: "d" }, F(t, d)), { kind: "duplicate_axis", axis: "d" }],
    ["a repeated axis that is there", refused("broadcast", { axis: t }, F(t)), { kind: "duplicate_axis", axis: "t" }],
    ["mixed dtypes", refused("add", {}, F(t), I(t)), { kind: "dtype", message: "f32 and i32 do not mix; cast one of them" }],
    ["a float condition", refused("select", {}, F(t), F(t), F(t)), { kind: "dtype", message: "an f32 value where bool is needed" }],
    ["parts that do not multiply up", refused("split", { axis: "d", into: [h, e] }, F(d)), { kind: "size", message: "axis `d` is 4, but `h` = 2 times `e` = 3 makes 6" }],
    ["a part outside", refused("slice", { axis: "d", start: ax("", 3).size, size: ax("", 2).size }, F(d)), { kind: "size" }],
    ["an odd rotary width", refused("rope", { axis: "e", base: 10, inverse: false }, F(t, e), F(t)), { kind: "size", axis: "e" }],
    ["a value that has the key axis", refused("attend", attend, F(t, s, e), F(s, e), F(s, e)), { kind: "duplicate_axis", axis: "s" }],
    ["keys with an axis of their own", refused("attend", attend, F(t, e), F(s, h, e), F(s, h, e)), { kind: "missing_axis", axis: "h" }],
    ["a cut that misses a row axis", refused("concat", { axis: "d" }, F(t, d), F(d)), { kind: "missing_axis", axis: "t" }],
    ["more of an axis than it has", refused("top", { axis: "h", choice: ax("k", 3) }, F(t, h)), { kind: "size", axis: "h" }],
    ["classes that miss an axis of the rows", refused("group_order", { rows: ["batch", "t"], classes: dimConst(3), slot: "slot" }, I(t)), { kind: "missing_axis", axis: "batch" }],
    ["classes with an axis beside the rows", refused("group_place", { rows: ["t"], classes: dimConst(3) }, I(batch, t)), { kind: "missing_axis", axis: "batch" }],
    ["an order of other rows", refused("grouped_dot", gd, F(s, d), F(e, d, h), slots("t"), offsets(3)), { kind: "size" }],
    ["rows with two axes unknown", refused("grouped_dot", { ...gd, rows: ["s", "k"] }, F(d), F(e, d, h), slots("s"), offsets(3)), { kind: "missing_axis", axis: "s" }],
    ["matrices of other classes", refused("grouped_dot", gd, F(s, d), F(e, d, h), slots("s"), offsets(4)), { kind: "axis_size", axis: "e" }],
    ["matrices that have an axis of the rows", refused("grouped_dot", gd, F(s, d), F(e, s, d), slots("s"), offsets(3)), { kind: "duplicate_axis", axis: "s" }],
    ["rows that have the axis of the classes", refused("grouped_dot", gd, F(s, e, d), F(e, d, h), slots("s"), offsets(3)), { kind: "duplicate_axis", axis: "e" }],
    ["classes past the last", refused("grouped_dw", { rows: ["s"], classes: ax("e", 2), first: 2, axes: [] }, F(s, d), F(s, h), slots("s"), offsets(3)), { kind: "size", axis: "e" }],
    ["values without the rows", refused("grouped_sum", { rows: ["t", "s"], classes: e, first: 0 }, F(t, d), slots("t"), offsets(3)), { kind: "missing_axis", axis: "s" }],
    ["operands left out", refused("add", {}, F(t)), { kind: "arity" }],
    ["a fractional index", refused("gather", { axis: "d" }, F(d), F(t)), { kind: "dtype" }],
  ];
  it.each(cases)("%s", (_, r, want) => expect(r).toMatchObject(want));
  it("speaks without ids or capitals", () => {
    for (const [, r] of cases) expect(r.message).toMatch(/^[a-z0-9`][^%]*[^.]$/);
  });
});

describe("memory order", () => {
  const rows: [string, string, string][] = [
    ["the longer operand leads", order("add", {}, F(d), F(batch, t, d)), "batch t d"],
    ["a missing outer axis goes to the front", order("add", {}, F(t, d), F(batch, d)), "batch t d"],
    ["a missing inner axis follows its neighbour", order("mul", {}, F(batch, t), F(t, d)), "batch t d"],
    ["nothing shared: lengths outside", order("mul", {}, F(d), F(t)), "t d"],
    ["nothing shared, both lengths: as written", order("mul", {}, F(s), F(t)), "s t"],
    ["dot: rest of a, then rest of b", order("dot", { axes: ["d"] }, F(batch, t, d), F(d, h, e)), "batch t h e"],
    ["dot keeps a shared axis at a's place", order("dot", { axes: ["d"] }, F(batch, t, d), F(s, d, batch)), "batch t s"],
    ["merge goes where its last part was", order("merge", { axes: ["h", "e"], into: "c" }, F(e, t, h)), "t c"],
    ["split opens in place", order("split", { axis: "d", into: [ax("a", 2), ax("b", 2)] }, F(t, d, e)), "t a b e"],
    ["gather: index axes, then the rest", order("gather", { axis: "d" }, F(e, d), I(batch, t)), "batch t e"],
    ["scatter_add: the axis, then the rest", order("scatter_add", { axis: ax("v", 9) }, F(batch, t, e), I(batch, t)), "v e"],
    ["top: the rest, then the choice", order("top", { axis: "d", choice: ax("k", 2) }, F(t, d, e)), "t e k"],
    ["grouped_dot: rows, rest of x, rest of w", order("grouped_dot", { rows: ["batch", "s"], classes: "e", axes: ["d"] }, F(h, s, d, batch), F(d, ax("u", 5), e, h), I({ name: "slot", size: dimMul(dimVar("batch"), dimVar("s")) }), offsets(3)), "batch s h u"],
    ["grouped_dw: classes, rest of x, rest of dy", order("grouped_dw", { rows: ["s"], classes: e, first: 0, axes: [] }, F(h, s, d), F(ax("u", 5), h, s), slots("s"), offsets(3)), "e h d u"],
    ["attend: the query's axes, then the value", order("attend", { ...attend, value: "u" }, F(t, e, h), F(s, h, e), F(h, s, ax("u", 5))), "t h u"],
    ["broadcast: lengths outside, widths inside", `${order("broadcast", { axis: t }, F(d))} / ${order("broadcast", { axis: e }, F(d))}`, "t d / d e"],
  ];
  it.each(rows)("%s", (_, got, want) => expect(got).toBe(want));
  it("sizes stay symbolic", () => {
    const r = inferType("concat", { axis: "t" }, [F(t), F(ax("t", "s"))]);
    expect(isInferError(r) ? r.message : r.axes.map((a: Axis) => dimText(a.size))).toEqual(["s + t"]);
  });
  it("a row axis that x lacks gets its size from the slots", () => {
    const tokens = dimAdd(dimVar("s"), dimVar("t"));
    const size = dimMul(dimMul(tokens, dimVar("batch")), dimConst(2));
    const r = inferType("grouped_dot", { rows: ["batch", "n", "k"], classes: "e", axes: ["d"] }, [F({ name: "n", size: tokens }, d, batch), F(e, d), I({ name: "slot", size }), offsets(3)]);
    expect(isInferError(r) ? r.message : r.axes.map((a: Axis) => `${a.name} ${dimText(a.size)}`)).toEqual(["batch batch", "n s + t", "k 2"]);
  });
});
