// The meaning of attention and of the fused linear + cross-entropy, as plain loops. Slow on purpose: this is the definition.
// In: operands as values. Out: the result. A query that sees no key gives 0; the log of its sum is LSE_EMPTY, or its sink.

import { compileExpr } from "../scalar/eval.ts";
import { derive } from "../scalar/derive.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { TensorType } from "./graph.ts";
import { firstTableOf } from "./infer_attend.ts";
import type { AttendAttrs, OpAttrs } from "./ops.ts";
import type { Data, Value } from "./value.ts";
import { allocate, offsets, offsetsIn, product, stridesOf } from "./value.ts";

/** `attend_lse` of a query that sees no key and has no sink. */
export const LSE_EMPTY = -1e30;

export type Attend = "attend" | "attend_lse" | "attend_dq" | "attend_dk" | "attend_dv" | "attend_dtable";

const get = (d: ArrayLike<number>, i: number | undefined): number => d[i ?? 0] ?? 0;

/** Offsets along one axis of a value. */
function along(v: Value, axis: string): Int32Array {
  const n = v.shape[v.type.axes.findIndex((a) => a.name === axis)] ?? 0;
  return offsets([n], stridesOf(v, [axis]));
}

/** The rows of attention: every point of q's axes without the width. */
function rowsOf(q: Value, width: string): Value {
  const keep = q.type.axes.map((a, i) => ({ a, n: q.shape[i] ?? 0 })).filter(({ a }) => a.name !== width);
  return { type: { dtype: "f32", axes: keep.map((x) => x.a) }, shape: keep.map((x) => x.n), data: new Float64Array(0) };
}

/** At every row, the number of its head: the axes `heads`, major first. */
function headsOf(rows: Value, heads: readonly string[]): Int32Array {
  let step = 1;
  const steps = new Map<string, number>();
  for (const n of [...heads].reverse()) {
    steps.set(n, step);
    step *= rows.shape[rows.type.axes.findIndex((a) => a.name === n)] ?? 1;
  }
  return offsets(rows.shape, rows.type.axes.map((a) => steps.get(a.name) ?? 0));
}

export function attend(op: Attend, attrs: AttendAttrs & { readonly table?: number }, args: readonly Value[], type: TensorType, shape: readonly number[], f32: boolean): Value {
  const [q, k, v] = args;
  if (!q || !k || !v) throw new Error("attend needs q, k and v");
  const backward = op !== "attend" && op !== "attend_lse";
  const [out, lse, dout] = backward ? args.slice(3) : [];
  const attrArgs = args.slice(backward ? 6 : 3);
  const rows = rowsOf(q, attrs.width);
  const result: Value = { type, shape, data: allocate("f32", product(shape)) };
  const data = result.data;

  const row = { q: offsetsIn(q, rows), k: offsetsIn(k, rows), v: offsetsIn(v, rows), out: offsetsIn(result, rows) };
  const rowOut = out && offsetsIn(out, rows);
  const rowLse = lse && offsetsIn(lse, rows);
  const rowDout = dout && offsetsIn(dout, rows);
  const [keyK, keyV] = [along(k, attrs.key), along(v, attrs.key)];
  const [widthQ, widthK] = [along(q, attrs.width), along(k, attrs.width)];
  const valueV = along(v, attrs.value);
  const valueOf = (x: Value | undefined): Int32Array => (x ? along(x, attrs.value) : new Int32Array(0));
  const [valueOut, valueDout] = [valueOf(backward ? out : result), valueOf(dout)];

  let s = 0;
  let [rowAt, keyAt] = [0, 0];
  const sides = [...attrs.queryAttrs.map((n) => ({ side: "q", n })), ...attrs.keyAttrs.map((n) => ({ side: "k", n }))];
  const getter = (side: "q" | "k", n: string): (() => number) => {
    const value = attrArgs[sides.findIndex((x) => x.side === side && x.n === n)];
    if (!value) throw new Error(`attend has no attribute ${side}.${n}`);
    const base = offsetsIn(value, rows);
    const step = side === "k" ? offsets([keyK.length], stridesOf(value, [attrs.key])) : undefined;
    return () => get(value.data, get(base, rowAt) + (step ? get(step, keyAt) : 0));
  };
  const head = headsOf(rows, attrs.heads ?? []);
  const compile = (e: ScalarExpr): (() => number) =>
    compileExpr(e, (l) => {
      if (l.kind === "attr") return getter(l.side, l.name);
      if (l.kind === "name" && l.name === "s") return () => s;
      if (l.kind === "name" && l.name === "head") return () => get(head, rowAt);
      const table = l.kind === "name" ? tables.find((x) => x.name === l.name) : undefined;
      if (table) return () => get(table.data, table.at());
      throw new Error(`a mask or score cannot read ${l.kind} ${l.name}`);
    }, { f32 });
  const tables = (attrs.tables ?? []).map(({ name, axis, index }, i) => {
    const value = args[firstTableOf(attrs, backward ? 6 : 3) + i];
    if (!value) throw new Error(`attend has no table ${name}`);
    const base = offsetsIn(value, rows);
    const steps = axis === undefined ? Int32Array.of(0) : along(value, axis);
    const bucket = index ? compile(index) : () => 0;
    return { name, data: value.data, at: () => get(base, rowAt) + get(steps, Math.min(Math.max(bucket(), 0), steps.length - 1)) };
  });
  const sinkValue = attrs.sink ? args[args.length - 1] : undefined;
  const sinkAt = sinkValue && offsetsIn(sinkValue, rows);
  const chosen = tables[attrs.table ?? -1];
  const visible = attrs.mask ? compile(attrs.mask) : () => 1;
  const score = attrs.score ? compile(attrs.score) : () => s;
  const slope = attrs.score ? compile(derive(attrs.score, chosen?.name ?? "s")) : () => 1;

  const p = new Float64Array(keyK.length);
  for (rowAt = 0; rowAt < row.q.length; rowAt++) {
    const [q0, k0, v0, o0] = [get(row.q, rowAt), get(row.k, rowAt), get(row.v, rowAt), get(row.out, rowAt)];
    const raw = (): number => {
      let sum = 0;
      for (let e = 0; e < widthQ.length; e++) sum += get(q.data, q0 + get(widthQ, e)) * get(k.data, k0 + get(keyK, keyAt) + get(widthK, e));
      return sum * attrs.scale;
    };
    if (!backward) {
      let top = -Infinity;
      for (keyAt = 0; keyAt < p.length; keyAt++) {
        s = raw();
        p[keyAt] = visible() !== 0 ? score() : -Infinity;
        top = Math.max(top, get(p, keyAt));
      }
      const sink = sinkValue && sinkAt ? get(sinkValue.data, get(sinkAt, rowAt)) : -Infinity;
      top = Math.max(top, sink);
      const none = top === -Infinity;
      let total = none ? 0 : Math.exp(sink - top);
      for (let j = 0; j < p.length; j++) total += p[j] = none ? 0 : Math.exp(get(p, j) - top);
      if (op === "attend_lse") data[o0] = none ? LSE_EMPTY : top + Math.log(total);
      else if (!none)
        for (let j = 0; j < p.length; j++)
          for (let u = 0; u < valueV.length; u++) {
            const to = o0 + get(valueOut, u);
            data[to] = get(data, to) + (get(p, j) / total) * get(v.data, v0 + get(keyV, j) + get(valueV, u));
          }
      continue;
    }
    if (!out || !lse || !dout || !rowOut || !rowLse || !rowDout) throw new Error(`${op} needs out, lse and dout`);
    const [out0, d0] = [get(rowOut, rowAt), get(rowDout, rowAt)];
    let delta = 0; // sum[value] out * dout
    for (let u = 0; u < valueV.length; u++) delta += get(out.data, out0 + get(valueOut, u)) * get(dout.data, d0 + get(valueDout, u));
    for (keyAt = 0; keyAt < p.length; keyAt++) {
      s = raw();
      if (visible() === 0) continue;
      const weight = Math.exp(score() - get(lse.data, get(rowLse, rowAt)));
      if (op === "attend_dv") {
        for (let u = 0; u < valueV.length; u++) {
          const to = o0 + get(keyV, keyAt) + get(valueV, u);
          data[to] = get(data, to) + weight * get(dout.data, d0 + get(valueDout, u));
        }
        continue;
      }
      let dp = 0;
      for (let u = 0; u < valueV.length; u++) dp += get(v.data, v0 + get(keyV, keyAt) + get(valueV, u)) * get(dout.data, d0 + get(valueDout, u));
      const ds = weight * (dp - delta) * slope() * (chosen ? 1 : attrs.scale);
      if (chosen) {
        const to = chosen.at();
        data[to] = get(data, to) + ds;
        continue;
      }
      for (let e = 0; e < widthQ.length; e++) {
        const [qi, ki] = [q0 + get(widthQ, e), k0 + get(keyK, keyAt) + get(widthK, e)];
        const to = op === "attend_dq" ? qi : ki;
        data[to] = get(data, to) + ds * get(op === "attend_dq" ? k.data : q.data, op === "attend_dq" ? ki : qi);
      }
    }
  }
  return result;
}

/** linear_ce and its two gradients: logits of one token at a time. */
export function linearCe(op: "linear_ce" | "linear_ce_dx" | "linear_ce_dw", attrs: OpAttrs["linear_ce"], args: readonly Value[], type: TensorType, shape: readonly number[]): Value {
  const [x, w, target, weight, dloss] = args;
  if (!x || !w || !target || !weight) throw new Error(`${op} needs x, w, target and weight`);
  const rows = rowsOf(x, attrs.from);
  const result: Value = { type, shape, data: allocate("f32", product(shape)) };
  const data: Data = result.data;
  const [rowX, rowT, rowW] = [offsetsIn(x, rows), offsetsIn(target, rows), offsetsIn(weight, rows)];
  const rowD = dloss && offsetsIn(dloss, rows);
  const [fromX, fromW, vocabW] = [along(x, attrs.from), along(w, attrs.from), along(w, attrs.vocab)];
  const rowOut = offsetsIn(result, rows);
  const logits = new Float64Array(vocabW.length);
  for (let n = 0; n < rowX.length; n++) {
    const scale = get(weight.data, rowW[n]);
    if (scale === 0) continue;
    const t = get(target.data, rowT[n]);
    if (t < 0 || t >= logits.length) throw new RangeError(`target ${t} is outside the ${logits.length} classes of \`${attrs.vocab}\``);
    let top = -Infinity;
    for (let c = 0; c < logits.length; c++) {
      let sum = 0;
      for (let d = 0; d < fromX.length; d++) sum += get(x.data, get(rowX, n) + get(fromX, d)) * get(w.data, get(fromW, d) + get(vocabW, c));
      logits[c] = sum;
      top = Math.max(top, sum);
    }
    let total = 0;
    for (const l of logits) total += Math.exp(l - top);
    if (op === "linear_ce") {
      data[get(rowOut, n)] = scale * (top + Math.log(total) - get(logits, t));
      continue;
    }
    const up = scale * (dloss && rowD ? get(dloss.data, rowD[n]) : 0);
    for (let c = 0; c < logits.length; c++) {
      const g = up * (Math.exp(get(logits, c) - top) / total - (c === t ? 1 : 0));
      for (let d = 0; d < fromX.length; d++) {
        const [xi, wi] = [get(rowX, n) + get(fromX, d), get(fromW, d) + get(vocabW, c)];
        const to = op === "linear_ce_dx" ? xi : wi;
        data[to] = get(data, to) + g * get(op === "linear_ce_dx" ? w.data : x.data, op === "linear_ce_dx" ? wi : xi);
      }
    }
  }
  return result;
}
