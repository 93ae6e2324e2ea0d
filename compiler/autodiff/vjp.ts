// One entry an op: how the cotangent of its result becomes cotangents of its operands. An entry may also say that the op is flat
// (its derivative is zero by meaning, so the sweep stops there) or that no rule exists, with the reason shown to the user.
// Cotangents have exactly the axes of the value they belong to. At a tie, `max` and `min` follow the first operand and `amax`
// shares equally among equals; `abs` has slope 1 at 0.

import { dimAdd, dimConst, dimMul, dimSub, dimValue } from "../dim/dim.ts";
import type { Axis, NodeId } from "../graph/graph.ts";
import { without } from "../graph/infer_checks.ts";
import type { Make } from "../graph/make.ts";
import type { OpName } from "../graph/ops.ts";
import type { NoGradient, Sweep, VjpRule } from "./sweep.ts";
import { argOf, flat, freshAxis, names, notDifferentiable, reduceTo, zerosLike } from "./sweep.ts";
import { attendLseVjp, attendVjp } from "./vjp_attend.ts";
import { groupedDotVjp, groupedDwVjp, groupedSumVjp } from "./vjp_group.ts";

/** Elementwise, one operand: g times a slope made from x and y. */
const unary = <K extends OpName>(f: (m: Make, g: NodeId, x: NodeId, y: NodeId) => NodeId): VjpRule<K> => (s) =>
  [s.needs(0) ? f(s.m, s.g, argOf(s, 0), s.node.id) : undefined];

type Side = (m: Make, g: NodeId, a: NodeId, b: NodeId, y: NodeId) => NodeId;

/** Elementwise, two operands; each cotangent is summed over the axes its operand was repeated along. */
const binary = <K extends OpName>(fa: Side, fb: Side): VjpRule<K> => (s) =>
  [fa, fb].map((f, i) => (s.needs(i) ? reduceTo(s.m, f(s.m, s.g, argOf(s, 0), argOf(s, 1), s.node.id), s.m.type(argOf(s, i))) : undefined));

const chosen = (first: "a <= b" | "b <= a", side: "a" | "b"): Side => (m, g, a, b) => {
  const takesA = first === "a <= b" ? m.le(a, b) : m.le(b, a);
  const zero = m.const(0);
  return side === "a" ? m.select(takesA, g, zero) : m.select(takesA, zero, g);
};

const compare = flat("a comparison has no slope");
const place = flat("a place has no slope");
const logic = flat("a truth value has no slope");
const twice = notDifferentiable("a gradient of a gradient through attention or the fused loss is not built");

function dot(s: Sweep<"dot">): readonly (NodeId | undefined)[] {
  const [a, b] = [argOf(s, 0), argOf(s, 1)];
  const only = (x: NodeId, y: NodeId): string[] => names(without(s.m.type(x).axes, names(s.m.type(y).axes)));
  return [
    s.needs(0) ? s.m.dot(s.g, b, ...only(b, a)) : undefined,
    s.needs(1) ? s.m.dot(a, s.g, ...only(a, b)) : undefined,
  ];
}

/** The part of a larger axis that a slice took, put back between zeros. */
function slice(s: Sweep<"slice">): readonly (NodeId | undefined)[] {
  const { axis, start, size } = s.node.attrs;
  const x = argOf(s, 0);
  const whole = s.m.axis(x, axis);
  const zeros = (n: typeof start): NodeId[] =>
    dimValue(n) === 0 ? [] : [zerosLike(s.m, { dtype: "f32", axes: s.node.type.axes.map((a) => (a.name === axis ? { name: axis, size: n } : a)) })];
  return [s.m.concat(axis, ...zeros(start), s.g, ...zeros(dimSub(whole.size, dimAdd(start, size))))];
}

function concat(s: Sweep<"concat">): readonly (NodeId | undefined)[] {
  const { axis } = s.node.attrs;
  let start = dimConst(0);
  return s.node.args.map((a, i) => {
    const size = s.m.axis(a, axis).size;
    const from = start;
    start = dimAdd(start, size);
    return s.needs(i) ? s.m.slice(s.g, axis, from, size) : undefined;
  });
}

function gather(s: Sweep<"gather">): readonly (NodeId | undefined)[] {
  const [table, index] = [argOf(s, 0), argOf(s, 1)];
  const axis = s.m.axis(table, s.node.attrs.axis);
  const rest = names(without(s.m.type(table).axes, [axis.name]));
  const indexAxes = names(s.m.type(index).axes);
  const shared = indexAxes.filter((n) => rest.includes(n));
  if (shared.length === 0) return [s.m.scatterAdd(s.g, axis, index)];
  // Aligned axes: each row of the table has its own indices. Few of them are placed by comparing each with every row;
  // many are counted through rows and axis together.
  const own = without(s.m.type(index).axes, shared);
  if (own.some((a) => (dimValue(a.size) ?? Infinity) > fewIndices)) return [scatterAligned(s, axis, shared)];
  const fresh = freshAxis(axis.name, s.m.type(table), s.m.type(index));
  const here = s.m.oneHot(index, { name: fresh, size: axis.size });
  return [s.m.rename(s.m.dot(s.g, here, ...names(own)), fresh, axis.name)];
}

/** So many indices of one row are compared with every place of the axis. */
const fewIndices = 16;

/** The cotangent of a table whose rows `shared` have indices of their own: rows and axis make one axis, and the index counts along it. */
function scatterAligned(s: Sweep<"gather">, axis: Axis, shared: readonly string[]): NodeId {
  const { m } = s;
  const [table, index] = [m.type(argOf(s, 0)), argOf(s, 1)];
  const parts = [...shared.map((n) => m.axis(index, n)), { name: freshAxis(axis.name, table, m.type(index)), size: axis.size }];
  const whole = freshAxis("place", table, m.type(index));
  const all = { name: whole, size: parts.reduce((p, a) => dimMul(p, a.size), dimConst(1)) };
  // Number of each place; what the first place of a row has is where the row begins.
  const numbers = m.split(m.iota(all), whole, parts);
  const last = parts[parts.length - 1]?.name ?? "";
  const begin = m.sum(m.slice(numbers, last, dimConst(0), dimConst(1)), last);
  return m.rename(m.split(m.scatterAdd(s.g, all, m.add(index, begin)), whole, parts), last, axis.name);
}

function update(s: Sweep<"update">): readonly (NodeId | undefined)[] {
  const { axis } = s.node.attrs;
  const [, value, start] = [argOf(s, 0), argOf(s, 1), argOf(s, 2)];
  const zeros = zerosLike(s.m, s.m.type(value));
  // Padding lets a value that runs over the end read zeros there.
  const padded = (): NodeId => s.m.concat(axis, s.g, zeros);
  return [
    s.needs(0) ? s.m.update(s.g, axis, zeros, start) : undefined,
    s.needs(1) ? s.m.gather(padded(), axis, s.m.add(start, s.m.iota(s.m.axis(value, axis)))) : undefined,
  ];
}

function rope(s: Sweep<"rope">): readonly (NodeId | undefined)[] {
  const { axis, base, inverse } = s.node.attrs;
  const { m, g } = s;
  const [x, pos] = [argOf(s, 0), argOf(s, 1)];
  const turn = (): NodeId => {
    // d out / d angle turns the result by another quarter: low -> -high, high -> low.
    const size = dimValue(m.axis(x, axis).size);
    if (size === undefined) throw new Error("rope: the width is not a constant");
    const half = dimConst(size / 2);
    const low = (v: NodeId): NodeId => m.slice(v, axis, dimConst(0), half);
    const high = (v: NodeId): NodeId => m.slice(v, axis, half, half);
    const cross = m.sub(m.mul(high(g), low(s.node.id)), m.mul(low(g), high(s.node.id)));
    const rate = m.exp(m.scale(m.cast(m.iota({ name: axis, size: half }), "f32"), -Math.log(base) / (size / 2)));
    return reduceTo(m, m.mul(cross, inverse ? m.neg(rate) : rate), m.type(pos));
  };
  return [s.needs(0) ? m.rope(g, axis, pos, base, !inverse) : undefined, s.needs(1) ? turn() : undefined];
}

function amax(s: Sweep<"amax">): readonly (NodeId | undefined)[] {
  const { m, g } = s;
  const x = argOf(s, 0);
  const equal = m.cast(m.eq(x, s.node.id), "f32");
  return [m.mul(equal, m.div(g, m.sum(equal, ...s.node.attrs.axes)))];
}

function linearCe(s: Sweep<"linear_ce">): readonly (NodeId | undefined)[] {
  const { m, g } = s;
  const args = [...s.node.args, g];
  const weight = argOf(s, 3);
  // A weight of 0 skips its token, so it gets no gradient either.
  const share = (): NodeId => m.select(m.eq(weight, m.const(0)), m.const(0), m.mul(g, m.div(s.node.id, weight)));
  return [
    s.needs(0) ? m.op("linear_ce_dx", args, s.node.attrs) : undefined,
    s.needs(1) ? m.op("linear_ce_dw", args, s.node.attrs) : undefined,
    undefined,
    s.needs(3) ? share() : undefined,
  ];
}

/** One entry an op. A missing entry does not compile. */
export const vjpRules: { readonly [K in OpName]: VjpRule<K> | NoGradient } = {
  input: flat("an input has no operands"),
  state: flat("a state has no operands"),
  const: flat("a constant has no operands"),
  iota: flat("an index has no slope"),
  random: flat("random numbers do not depend on anything that is learned"),
  neg: unary((m, g) => m.neg(g)),
  abs: unary((m, g, x) => m.select(m.lt(x, m.const(0)), m.neg(g), g)),
  exp: unary((m, g, _, y) => m.mul(g, y)),
  log: unary((m, g, x) => m.div(g, x)),
  sqrt: unary((m, g, _, y) => m.div(m.scale(g, 0.5), y)),
  rsqrt: unary((m, g, _, y) => m.mul(m.scale(g, -0.5), m.mul(y, m.square(y)))),
  tanh: unary((m, g, _, y) => m.mul(g, m.oneMinus(m.square(y)))),
  sigmoid: unary((m, g, _, y) => m.mul(g, m.mul(y, m.oneMinus(y)))),
  sin: unary((m, g, x) => m.mul(g, m.cos(x))),
  cos: unary((m, g, x) => m.neg(m.mul(g, m.sin(x)))),
  floor: flat("`floor` is a step, so its slope is 0"),
  not: logic,
  cast: (s) => [s.node.type.dtype === "f32" ? s.g : undefined],
  add: binary((_, g) => g, (_, g) => g),
  sub: binary((_, g) => g, (m, g) => m.neg(g)),
  mul: binary((m, g, _, b) => m.mul(g, b), (m, g, a) => m.mul(g, a)),
  div: binary((m, g, _, b) => m.div(g, b), (m, g, _, b, y) => m.neg(m.mul(g, m.div(y, b)))),
  max: binary(chosen("b <= a", "a"), chosen("b <= a", "b")),
  min: binary(chosen("a <= b", "a"), chosen("a <= b", "b")),
  pow: binary(
    (m, g, a, b) => m.mul(g, m.mul(b, m.pow(a, m.offset(b, -1)))),
    (m, g, a, _, y) => m.mul(g, m.mul(y, m.log(a))),
  ),
  // a mod b = a - b * trunc(a / b), and the quotient is flat
  mod: binary((_, g) => g, (m, g, a, b, y) => m.mul(g, m.div(m.sub(y, a), b))),
  eq: compare, ne: compare, lt: compare, le: compare, and: logic, or: logic,
  select: (s) => {
    const [c, zero] = [argOf(s, 0), s.m.const(0)];
    return [
      undefined,
      s.needs(1) ? reduceTo(s.m, s.m.select(c, s.g, zero), s.m.type(argOf(s, 1))) : undefined,
      s.needs(2) ? reduceTo(s.m, s.m.select(c, zero, s.g), s.m.type(argOf(s, 2))) : undefined,
    ];
  },
  sum: (s) => [s.m.expand(s.g, s.m.type(argOf(s, 0)))],
  amax,
  argmax: place,
  dot,
  rename: (s) => [s.m.rename(s.g, s.node.attrs.to, s.node.attrs.from)],
  split: (s) => [s.m.merge(s.g, names(s.node.attrs.into), s.node.attrs.axis)],
  merge: (s) => [s.m.split(s.g, s.node.attrs.into, s.node.attrs.axes.map((n) => s.m.axis(argOf(s, 0), n)))],
  broadcast: (s) => [s.m.sum(s.g, s.node.attrs.axis.name)],
  slice,
  concat,
  gather,
  scatter_add: (s) => [s.m.gather(s.g, s.node.attrs.axis.name, argOf(s, 1))],
  update,
  top: place,
  group_order: place, group_place: place, group_offset: place,
  grouped_dot: groupedDotVjp, grouped_dw: groupedDwVjp, grouped_sum: groupedSumVjp,
  rope,
  attend: attendVjp,
  attend_lse: attendLseVjp,
  attend_dq: twice, attend_dk: twice, attend_dv: twice, attend_dtable: twice,
  linear_ce: linearCe,
  linear_ce_dx: twice, linear_ce_dw: twice,
};
