// The meaning of ops on rows in classes, as plain loops. In: operands as values. Out: the result.
// A row's class is known from an order and offsets: the rows at slots offset[c] to offset[c + 1] are those of class c, and what
// stands in no such range is nowhere. Refuses nothing that inference let through.

import { dimEval } from "../dim/dim.ts";
import type { NodeOf } from "./graph.ts";
import type { GroupAttrs, OpName } from "./ops.ts";
import type { Lengths, Value } from "./value.ts";
import { allocate, offsets, offsetsIn, product, stridesOf } from "./value.ts";

interface Run {
  readonly args: readonly Value[];
  readonly shape: readonly number[];
  readonly lengths: Lengths;
}
type Shaped = Pick<Value, "type" | "shape">;

const get = (d: ArrayLike<number>, i: number | undefined): number => d[i ?? 0] ?? 0;
const missing = (what: string): never => {
  throw new Error(`${what} is missing`);
};
const arg = (run: Run, i: number): Value => run.args[i] ?? missing(`operand ${i}`);
const blank = (node: NodeOf<OpName>, run: Run): Value => ({ type: node.type, shape: run.shape, data: allocate(node.type.dtype, product(run.shape)) });

/** The axes `names`, with the sizes that some of `values` has. */
function spaceOf(names: readonly string[], ...values: readonly Shaped[]): Shaped {
  const found = names.map((n) => {
    for (const v of values) {
      const i = v.type.axes.findIndex((a) => a.name === n);
      const axis = v.type.axes[i];
      if (axis) return { axis, size: v.shape[i] ?? 0 };
    }
    return missing(`axis ${n}`);
  });
  return { type: { dtype: "f32", axes: found.map((f) => f.axis) }, shape: found.map((f) => f.size) };
}

/** The axes of `v` without `names`. */
const restOf = (v: Shaped, names: readonly string[]): Shaped => spaceOf(v.type.axes.map((a) => a.name).filter((n) => !names.includes(n)), v);

/** Rows sorted by class, those of a class in their own order, those that are nowhere last; and the first slot of each class. */
function sorted(attrs: GroupAttrs, run: Run): { rows: Shaped; order: number[]; offset: number[] } {
  const cls = arg(run, 0);
  const rows = spaceOf(attrs.rows, cls);
  const classes = dimEval(attrs.classes, run.lengths) ?? missing("the number of classes");
  const of: number[][] = Array.from({ length: classes + 1 }, () => []);
  offsetsIn(cls, rows).forEach((at, row) => {
    const c = get(cls.data, at);
    of[c >= 0 && c < classes ? c : classes]?.push(row);
  });
  let slot = 0;
  return { rows, order: of.flat(), offset: of.map((list) => (slot += list.length) - list.length) };
}

export function groupOrder(node: NodeOf<"group_order">, run: Run): Value {
  const out = blank(node, run);
  out.data.set(sorted(node.attrs, run).order);
  return out;
}

export function groupOffset(node: NodeOf<"group_offset">, run: Run): Value {
  const out = blank(node, run);
  out.data.set(sorted(node.attrs, run).offset);
  return out;
}

export function groupPlace(node: NodeOf<"group_place">, run: Run): Value {
  const out = blank(node, run);
  const { rows, order } = sorted(node.attrs, run);
  const at = offsetsIn(out, rows);
  order.forEach((row, slot) => (out.data[get(at, row)] = slot));
  return out;
}

/** The rows of each class, in the order they are summed in. */
const rowsByClass = (order: Value, offset: Value): Int32Array[] =>
  Array.from({ length: offset.data.length - 1 }, (_, c) => Int32Array.from(order.data.slice(get(offset.data, c), get(offset.data, c + 1))));

export function groupedDot(node: NodeOf<"grouped_dot">, run: Run): Value {
  const { rows, classes, axes } = node.attrs;
  const [x, w] = [arg(run, 0), arg(run, 1)];
  const out = blank(node, run);
  const space = spaceOf(rows, out);
  const rest = restOf(out, rows);
  const [rowX, rowOut] = [offsetsIn(x, space), offsetsIn(out, space)];
  const [restX, restW, restOut] = [offsetsIn(x, rest), offsetsIn(w, rest), offsetsIn(out, rest)];
  const over = spaceOf(axes, x);
  const [sumX, sumW] = [offsetsIn(x, over), offsetsIn(w, over)];
  const step = stridesOf(w, [classes])[0] ?? 0;
  rowsByClass(arg(run, 2), arg(run, 3)).forEach((members, c) => {
    for (const row of members)
      restOut.forEach((to, n) => {
        let sum = 0;
        for (let i = 0; i < sumX.length; i++)
          sum += get(x.data, get(rowX, row) + get(restX, n) + get(sumX, i)) * get(w.data, c * step + get(restW, n) + get(sumW, i));
        out.data[get(rowOut, row) + to] = sum;
      });
  });
  return out;
}

export function groupedDw(node: NodeOf<"grouped_dw">, run: Run): Value {
  const { rows, classes, first, axes } = node.attrs;
  const [x, dy] = [arg(run, 0), arg(run, 1)];
  const out = blank(node, run);
  const space = spaceOf(rows, x, dy);
  const rest = restOf(out, [classes.name]);
  const [rowX, rowDy] = [offsetsIn(x, space), offsetsIn(dy, space)];
  const [restX, restDy, restOut] = [offsetsIn(x, rest), offsetsIn(dy, rest), offsetsIn(out, rest)];
  const over = spaceOf(axes, x);
  const [sumX, sumDy] = [offsetsIn(x, over), offsetsIn(dy, over)];
  const step = stridesOf(out, [classes.name])[0] ?? 0;
  const members = rowsByClass(arg(run, 2), arg(run, 3));
  for (let c = 0; c < (spaceOf([classes.name], out).shape[0] ?? 0); c++)
    restOut.forEach((to, n) => {
      let sum = 0;
      for (const row of members[first + c] ?? [])
        for (let i = 0; i < sumX.length; i++)
          sum += get(x.data, get(rowX, row) + get(restX, n) + get(sumX, i)) * get(dy.data, get(rowDy, row) + get(restDy, n) + get(sumDy, i));
      out.data[c * step + to] = sum;
    });
  return out;
}

export function groupedSum(node: NodeOf<"grouped_sum">, run: Run): Value {
  const { rows, classes, first } = node.attrs;
  const v = arg(run, 0);
  const out = blank(node, run);
  const rowAt = offsetsIn(v, spaceOf(rows, v));
  const rest = restOf(out, [classes.name]);
  const [restV, restOut] = [offsetsIn(v, rest), offsetsIn(out, rest)];
  const step = stridesOf(out, [classes.name])[0] ?? 0;
  const members = rowsByClass(arg(run, 1), arg(run, 2));
  for (let c = 0; c < (spaceOf([classes.name], out).shape[0] ?? 0); c++)
    restOut.forEach((to, n) => {
      const at = c * step + to;
      for (const row of members[first + c] ?? []) out.data[at] = get(out.data, at) + get(v.data, get(rowAt, row) + get(restV, n));
    });
  return out;
}

export function top(node: NodeOf<"top">, run: Run): Value {
  const { axis, choice } = node.attrs;
  const x = arg(run, 0);
  const out = blank(node, run);
  const rest = restOf(out, [choice.name]);
  const [restX, restOut] = [offsetsIn(x, rest), offsetsIn(out, rest)];
  const [along, chosen] = [offsetsIn(x, spaceOf([axis], x)), offsetsIn(out, spaceOf([choice.name], out))];
  restX.forEach((from, n) => {
    const places = Array.from(along.keys()).sort((a, b) => get(x.data, from + get(along, b)) - get(x.data, from + get(along, a)) || a - b);
    chosen.forEach((to, k) => (out.data[get(restOut, n) + to] = places[k] ?? 0));
  });
  return out;
}
