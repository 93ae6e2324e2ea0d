// In: the attributes of an op, or their text. Out: the other one. The text is canonical (it is the interning key of
// graph/builder.ts), read back by graph/read.ts, and the table of fields is exhaustive over the vocabulary.

import { Cursor } from "../scalar/cursor.ts";
import { exprText, nameText, numberText } from "../scalar/print.ts";
import { readExprAt } from "../scalar/read.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Dim } from "../dim/dim.ts";
import { dimAdd, dimConst, dimDiv, dimMul, dimText, dimVar } from "../dim/dim.ts";
import type { Axis, DType, TensorType } from "./graph.ts";
import type { AttendTable, OpAttrs, OpName } from "./ops.ts";

/** How one kind of field is written and read. */
interface Codec<T> {
  readonly print: (value: T) => string;
  readonly read: (c: Cursor) => T;
}

const oneOf = <T extends string>(...all: readonly T[]): Codec<T> => ({
  print: (v) => v,
  read: (c) => {
    const word = c.word();
    return all.find((x) => x === word) ?? c.fail(`one of ${all.join(", ")}`);
  },
});
const list = <T>(item: Codec<T>): Codec<readonly T[]> => ({
  print: (v) => `(${v.map(item.print).join(", ")})`,
  read: (c) => c.list("(", ")", () => item.read(c)),
});
const number: Codec<number> = { print: numberText, read: (c) => c.number() };
const name: Codec<string> = { print: nameText, read: (c) => c.name() };
const flag: Codec<boolean> = { print: String, read: (c) => c.take("true") || (c.expect("false"), false) };
const expr: Codec<ScalarExpr> = { print: exprText, read: readExprAt };
export const dtype: Codec<DType> = oneOf<DType>("f32", "f16", "i32", "u32", "bool");

/** A size: `4*d + 1`, with exact quotients in parentheses, `(d/heads)`. */
export const dim: Codec<Dim> = {
  print: dimText,
  read: (c) => {
    let sum = dimConst(0);
    do {
      let product = factor(c);
      while (c.take("*")) product = dimMul(product, factor(c));
      sum = dimAdd(sum, product);
    } while (c.take("+"));
    return sum;
  },
};

function factor(c: Cursor): Dim {
  if (c.take("(")) {
    const num = dim.read(c);
    c.expect("/");
    const den = dim.read(c);
    c.expect(")");
    return dimDiv(num, den) ?? c.fail("an exact quotient");
  }
  const n = c.tryMatch(/-?[0-9]+/);
  return n === undefined ? dimVar(c.match(/[A-Za-z_][A-Za-z0-9_.]*/, "a size")) : dimConst(Number(n));
}

/** `t` when the size is the variable of the same name, else `d: 64`. */
export const axis: Codec<Axis> = {
  print: (a) => (dimText(a.size) === a.name ? nameText(a.name) : `${nameText(a.name)}: ${dimText(a.size)}`),
  read: (c) => {
    const n = c.name();
    return { name: n, size: c.take(":") ? dim.read(c) : dimVar(n) };
  },
};
/** As a field of its own an axis stands in brackets, so that a `:` after it is not taken for its size. */
const axisField: Codec<Axis> = {
  print: (a) => `[${axis.print(a)}]`,
  read: (c) => {
    c.expect("[");
    const a = axis.read(c);
    c.expect("]");
    return a;
  },
};
const names = list(name);
const axes = list(axis);

export const tensorType: Codec<TensorType> = {
  print: (t) => `${t.dtype}[${t.axes.map(axis.print).join(", ")}]`,
  read: (c) => {
    const d = dtype.read(c);
    return { dtype: d, axes: c.list("[", "]", () => axis.read(c)) };
  },
};

type Fields<A> = { readonly [F in keyof A]-?: Codec<NonNullable<A[F]>> };

const none = {};
/** `b0`, or `b0[bucket = (sub q.pos k.pos)]`. */
const table: Codec<AttendTable> = {
  print: (t) => (t.axis === undefined || !t.index ? nameText(t.name) : `${nameText(t.name)}[${nameText(t.axis)} = ${exprText(t.index)}]`),
  read: (c) => {
    const n = c.name();
    if (!c.take("[")) return { name: n };
    const along = c.name();
    c.expect("=");
    const index = readExprAt(c);
    c.expect("]");
    return { name: n, axis: along, index };
  },
};
const attend: Fields<OpAttrs["attend"]> = {
  query: name, key: name, width: name, value: name, scale: number, mask: expr, score: expr, heads: names, tables: list(table), sink: flag,
  queryAttrs: names, keyAttrs: names,
};
const group: Fields<OpAttrs["group_place"]> = { rows: names, classes: dim };
const ce: Fields<OpAttrs["linear_ce"]> = { from: name, vocab: name };

const fields: { readonly [K in OpName]: Fields<OpAttrs[K]> } = {
  input: { name, type: tensorType },
  state: { name, type: tensorType },
  const: { value: number, dtype },
  iota: { axis: axisField },
  random: { kind: oneOf("normal", "uniform"), stream: number, axes },
  neg: none, abs: none, exp: none, log: none, sqrt: none, rsqrt: none, tanh: none, sigmoid: none, sin: none, cos: none, floor: none, not: none,
  cast: { dtype },
  add: none, sub: none, mul: none, div: none, max: none, min: none, pow: none, mod: none,
  eq: none, ne: none, lt: none, le: none, and: none, or: none, select: none,
  sum: { axes: names }, amax: { axes: names }, argmax: { axis: name }, dot: { axes: names },
  rename: { from: name, to: name }, split: { axis: name, into: axes }, merge: { axes: names, into: name },
  broadcast: { axis: axisField }, slice: { axis: name, start: dim, size: dim }, concat: { axis: name },
  gather: { axis: name }, scatter_add: { axis: axisField }, update: { axis: name }, top: { axis: name, choice: axisField },
  group_order: { ...group, slot: name }, group_place: group, group_offset: { ...group, axis: name },
  grouped_dot: { rows: names, classes: name, axes: names }, grouped_dw: { rows: names, classes: axisField, first: number, axes: names },
  grouped_sum: { rows: names, classes: axisField, first: number },
  rope: { axis: name, base: number, inverse: flag },
  attend, attend_lse: attend, attend_dq: attend, attend_dk: attend, attend_dv: attend, attend_dtable: { ...attend, table: number },
  linear_ce: ce, linear_ce_dx: ce, linear_ce_dw: ce,
};

type AnyFields = Readonly<Record<string, Codec<unknown>>>;

/** `name=value name=value`, in the order of the vocabulary; fields that are undefined are left out. */
export function attrsText<K extends OpName>(op: K, attrs: OpAttrs[K]): string {
  const values = attrs as Readonly<Record<string, unknown>>;
  return Object.entries(fields[op] as AnyFields)
    .filter(([f]) => values[f] !== undefined)
    .map(([f, codec]) => `${f}=${codec.print(values[f])}`)
    .join(" ");
}

/** Fields that may be missing. */
const optional: ReadonlySet<string> = new Set<string>(["mask", "score", "heads", "tables", "sink"]);

/** Reads fields until none follows; which ones an op needs is known from its table entry. */
export function readAttrs<K extends OpName>(op: K, c: Cursor): OpAttrs[K] {
  const out: Record<string, unknown> = {};
  for (const [f, codec] of Object.entries(fields[op] as AnyFields)) if (c.take(`${f}=`)) out[f] = codec.read(c);
  for (const f of Object.keys(fields[op])) if (out[f] === undefined && !optional.has(f)) c.fail(`\`${f}=\``);
  return out as OpAttrs[K];
}
