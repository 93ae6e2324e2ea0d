// `a + b` for every pair of values: sizes, numbers, truth values, scalars of a mask, masks, layers and tensors.
// In: two values and the places they stand at. Out: their value, or a report that names both kinds.

import type { Span } from "../../grammar/source.ts";
import type { BinaryOp, UnaryOp } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimAdd, dimConst, dimDiv, dimEqual, dimMul, dimScale, dimSub, dimText, dimValue } from "../dim/dim.ts";
import type { DType } from "../graph/graph.ts";
import * as S from "../scalar/expr.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { floorDiv, floorMod, floorModFloat } from "../scalar/whole.ts";
import type { Context, Operand } from "./context.ts";
import { isNumeric, isTensor, refuse, toNode, unify } from "./tensors.ts";
import type { Env, LayerValue, MaskValue, Value } from "./values.ts";
import { boolean, describe, float, int, poison, scalar } from "./values.ts";

const graphOps = {
  "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod", "**": "pow", "==": "eq", "!=": "ne", "<": "lt", "<=": "le", "&": "and", "|": "or",
} as const;

const sizeOf = (v: Value): Dim | undefined => (v.kind === "int" ? v.dim : v.kind === "axis" ? v.size : undefined);

export function binaryValue(cx: Context, op: BinaryOp, opSpan: Span, a: Operand, b: Operand, at: Span, env: Env): Value {
  const [x, y] = [a.value, b.value];
  if (x.kind === "poison" || y.kind === "poison") return poison;
  if (x.kind === "absent" || y.kind === "absent") {
    if (op === "+" || op === "*") return x.kind === "absent" ? y : x;
    if (op === "-" && y.kind === "absent") return x;
  }
  if (isTensor(x) || isTensor(y)) return tensorBinary(cx, op, a, b, at, env);
  if (x.kind === "layer" && y.kind === "layer") return layerBinary(cx, op, x, y, at);
  if (x.kind === "mask" && y.kind === "mask" && (op === "&" || op === "|")) return joinMasks(op, x, y, at);
  if (isScalar(x) || isScalar(y)) return scalarBinary(cx, op, opSpan, a, b);
  const [dx, dy] = [sizeOf(x), sizeOf(y)];
  if (dx && dy) return sizeBinary(cx, op, a, b, dx, dy, at);
  if (isNumber(x) && isNumber(y)) return numberBinary(op, numberOf(x), numberOf(y));
  if (x.kind === "bool" && y.kind === "bool") {
    const [p, q] = [x.value, y.value];
    if (op === "&") return boolean(p === false || q === false ? false : p === undefined || q === undefined ? undefined : true);
    if (op === "|") return boolean(p === true || q === true ? true : p === undefined || q === undefined ? undefined : false);
    if (op === "==" || op === "!=") return boolean(p === undefined || q === undefined ? undefined : (p === q) === (op === "=="));
  }
  if ((op === "==" || op === "!=") && x.kind === y.kind) {
    const same = sameThing(x, y);
    if (same !== undefined) return boolean(same === (op === "=="));
  }
  return mismatch(cx, op, opSpan, a, b);
}

function sameThing(x: Value, y: Value): boolean | undefined {
  if (x.kind === "string" && y.kind === "string") return x.value === y.value;
  if (x.kind === "stream" && y.kind === "stream") return x.name === y.name;
  if (x.kind === "task" && y.kind === "task") return x.name === y.name;
  return undefined;
}

function mismatch(cx: Context, op: string, opSpan: Span, a: Operand, b: Operand): Value {
  return cx.report("E0202", `\`${op}\` does not join ${describe(a.value)} and ${describe(b.value)}`, opSpan, {
    also: [{ span: a.span, text: describe(a.value) }, { span: b.span, text: describe(b.value) }],
    help: a.value.kind === "decl" || b.value.kind === "decl" ? "call it with its arguments first" : undefined,
  });
}

// ---------------------------------------------------------------- sizes and numbers

const isNumber = (v: Value): boolean => v.kind === "int" || v.kind === "float" || v.kind === "axis";
export const numberOf = (v: Value): number | undefined =>
  v.kind === "float" ? v.value : v.kind === "int" ? dimValue(v.dim) : v.kind === "axis" ? dimValue(v.size) : undefined;

function sizeBinary(cx: Context, op: BinaryOp, a: Operand, b: Operand, x: Dim, y: Dim, at: Span): Value {
  const [p, q] = [dimValue(x), dimValue(y)];
  switch (op) {
    case "+": return int(dimAdd(x, y));
    case "-": return int(dimSub(x, y));
    case "*": return int(dimMul(x, y));
    case "/": {
      const out = dimDiv(x, y);
      if (out) return int(out);
      return cx.report("E0217", `${dimText(x)} does not divide by ${dimText(y)}`, at, {
        label: q === 0 ? "division by zero" : `${cx.quote(a.span, "this")} is ${dimText(x)}, ${cx.quote(b.span, "that")} is ${dimText(y)}`,
        help: `whole numbers divide without remainder; write \`1.0 * ${cx.text(a.span) ?? dimText(x)}\` for a quotient with a fraction`,
      });
    }
    case "%": return p !== undefined && q !== undefined && q !== 0 ? int(dimConst(((p % q) + q) % q)) : int(x);
    case "**": return p !== undefined && q !== undefined ? int(dimConst(p ** q)) : int(x);
    case "==": case "!=": {
      const known = p !== undefined && q !== undefined ? p === q : dimEqual(x, y) ? true : undefined;
      return boolean(known === undefined ? undefined : known === (op === "=="));
    }
    default: return p === undefined || q === undefined ? boolean(undefined) : numberBinary(op, p, q);
  }
}

function numberBinary(op: BinaryOp, p: number | undefined, q: number | undefined): Value {
  const comparison = op === "==" || op === "!=" || op === "<" || op === "<=" || op === ">" || op === ">=";
  if (p === undefined || q === undefined) return comparison ? boolean(undefined) : float(undefined);
  switch (op) {
    case "+": return float(p + q);
    case "-": return float(p - q);
    case "*": return float(p * q);
    case "/": return float(p / q);
    case "%": return float(p - q * Math.floor(p / q));
    case "**": return float(p ** q);
    case "==": return boolean(p === q);
    case "!=": return boolean(p !== q);
    case "<": return boolean(p < q);
    case "<=": return boolean(p <= q);
    case ">": return boolean(p > q);
    case ">=": return boolean(p >= q);
    default: return float(undefined);
  }
}

// ---------------------------------------------------------------- masks and their scalars

const isScalar = (v: Value): boolean => v.kind === "scalar" || v.kind === "mask";

/** A value as a scalar of a mask: a whole number as i32, a stream as its id. */
export function toScalar(v: Value): ScalarExpr | undefined {
  switch (v.kind) {
    case "scalar": case "mask": return v.expr;
    case "int": case "axis": {
      const size = v.kind === "int" ? v.dim : v.size;
      const n = dimValue(size);
      return n === undefined ? S.name(dimText(size), "i32") : S.i32(n);
    }
    case "float": return v.value === undefined ? S.name("unknown", "f32") : S.f32(v.value);
    case "bool": return v.value === undefined ? S.name("unknown", "bool") : S.bool(v.value);
    case "stream": return v.id === undefined ? S.name(`stream.${v.name}`, "i32") : S.i32(v.id);
    case "task": return S.i32(v.id);
    default: return undefined;
  }
}

function joinMasks(op: "&" | "|", a: MaskValue, b: MaskValue, at: Span): Value {
  const side = (m: MaskValue): string => (op === "&" && /[|]/.test(m.text) ? `(${m.text})` : m.text);
  return { kind: "mask", expr: S.binary(op === "&" ? "and" : "or", a.expr, b.expr), text: `${side(a)} ${op} ${side(b)}`, span: at };
}

function scalarBinary(cx: Context, op: BinaryOp, opSpan: Span, a: Operand, b: Operand): Value {
  let x = toScalar(a.value);
  let y = toScalar(b.value);
  if (!x || !y) return mismatch(cx, op, opSpan, a, b);
  const logic = op === "&" || op === "|";
  if (logic || x.type === "bool" || y.type === "bool") {
    if (x.type !== "bool" || y.type !== "bool" || !(logic || op === "==" || op === "!=")) {
      const wrong = x.type === "bool" ? b : a;
      return cx.report("E0219", logic ? `\`${op}\` joins conditions, and this is a number` : `\`${op}\` joins numbers, and one side is a condition`, logic ? wrong.span : opSpan, {
        help: logic ? "compare it with something: `q.pos == 0`" : undefined,
      });
    }
    return scalar(S.binary(logic ? (op === "&" ? "and" : "or") : op === "==" ? "eq" : "ne", x, y));
  }
  if (x.type !== y.type || op === "**") {
    x = S.unary("to_f32", x);
    y = S.unary("to_f32", y);
  }
  const strange = unlike(cx, op, opSpan, a, b) ?? tooLarge(cx, [[a, x], [b, y]]);
  if (strange) return strange;
  const whole = x.type === "i32" && y.type === "i32";
  if ((op === "/" || op === "%") && whole && y.kind === "const" && y.value === 0) {
    return cx.report("E0239", `\`${op}\` by zero`, b.span, { label: cx.quote(b.span, "this") === "`0`" ? undefined : "this is 0" });
  }
  switch (op) {
    case ">": return scalar(S.binary("lt", y, x));
    case ">=": return scalar(S.binary("le", y, x));
    case "/": return scalar(whole ? floorDiv(x, y) : S.div(x, y));
    case "%": return scalar(whole ? floorMod(x, y) : floorModFloat(x, y));
    default: return scalar(S.binary(graphOps[op], x, y));
  }
}

/** What an attribute is compared with by name, and with nothing else that has a name. */
const named: ReadonlyMap<string, string> = new Map([["stream", "a stream"], ["task", "a task"], ["role", "`given` or `predicted`"]]);

function sortOf(cx: Context, { value, span }: Operand): string | undefined {
  if (value.kind === "stream" || value.kind === "task") return value.kind;
  const name = cx.text(span);
  return value.kind === "int" && (name === "given" || name === "predicted") ? "role" : undefined;
}

/** A stream, task or role beside what holds another sort of thing, or in an order: numbers to the kernel, a slip in the text. */
function unlike(cx: Context, op: BinaryOp, opSpan: Span, a: Operand, b: Operand): Value | undefined {
  for (const [one, other] of [[a, b], [b, a]] as const) {
    const sort = sortOf(cx, one);
    const expr = toScalar(other.value);
    if (sort === undefined || expr?.kind !== "attr") continue;
    const holds = named.get(expr.name);
    const help = `write \`${expr.side}.${sort} == ${cx.text(one.span) ?? "…"}\``;
    if (expr.name !== sort) {
      return cx.report("E0202", `${cx.quote(other.span, "this")} is ${holds ?? "a number"}, and ${cx.quote(one.span, "that")} is a ${sort}`, opSpan, { help });
    }
    if (op !== "==" && op !== "!=") return cx.report("E0202", `\`${op}\` asks for numbers, and ${cx.quote(one.span, "this")} is a ${sort}`, opSpan, { help });
  }
  return undefined;
}

/** Whole numbers in masks have 32 bits. */
function tooLarge(cx: Context, sides: readonly (readonly [Operand, ScalarExpr])[]): Value | undefined {
  for (const [{ span }, e] of sides) {
    if (e.kind !== "const" || e.type !== "i32" || Math.abs(e.value) <= 2147483647) continue;
    return cx.report("E0202", "a whole number in a mask lies between -2147483647 and 2147483647", span, { label: cx.text(span) === String(e.value) ? undefined : `this is ${e.value}` });
  }
  return undefined;
}

// ---------------------------------------------------------------- layers and tensors

function layerBinary(cx: Context, op: BinaryOp, left: LayerValue, right: LayerValue, at: Span): Value {
  if (op === "+" || op === "-" || op === "*") return { kind: "layer", form: { kind: "joined", op, left, right }, span: at };
  return cx.report("E0202", `\`${op}\` does not join two layers`, at, { help: "layers can be added, subtracted and multiplied" });
}

function tensorBinary(cx: Context, op: BinaryOp, a: Operand, b: Operand, at: Span, env: Env): Value {
  for (const o of [a, b]) {
    if (!isNumeric(o.value)) return cx.report("E0202", `\`${op}\` does not join a tensor and ${describe(o.value)}`, o.span, { label: describe(o.value) });
  }
  if (!cx.run || !env.inForward) return cx.report("E0227", "tensors exist only while a layer is applied", at, { help: "put this in the `forward` of a layer" });
  const like = (o: Operand): DType => (o.value.kind === "tensor" ? (cx.run?.builder.type(o.value.node).dtype ?? "f32") : "f32");
  const x = toNode(cx, a.value, a.span, env, isTensor(b.value) ? like(b) : "f32");
  const y = toNode(cx, b.value, b.span, env, isTensor(a.value) ? like(a) : "f32");
  if (x === undefined || y === undefined) return poison;
  const needFloat = op === "/" || op === "**";
  let [l, r] = unify(cx, env, at, [x, y]) as [number, number];
  return cx.emit(env, at, (make) => {
    if (needFloat) [l, r] = [make.cast(l, "f32"), make.cast(r, "f32")];
    if (op === ">") return make.op("lt", [r, l], {});
    if (op === ">=") return make.op("le", [r, l], {});
    return make.op(graphOps[op], [l, r], {});
  }, (f) => refuse(cx, f, at, op === ">" || op === ">=" ? [b.span, a.span] : [a.span, b.span]));
}

export function unaryValue(cx: Context, op: UnaryOp, a: Operand, at: Span, env: Env): Value {
  const v = a.value;
  if (v.kind === "poison" || v.kind === "absent") return v;
  if (op === "-") {
    const size = sizeOf(v);
    if (size) return int(dimScale(size, -1));
    if (v.kind === "float") return float(v.value === undefined ? undefined : -v.value);
    if (v.kind === "scalar" && v.expr.type !== "bool") return scalar(S.unary("neg", v.expr));
  } else {
    if (v.kind === "bool") return boolean(v.value === undefined ? undefined : !v.value);
    if (v.kind === "mask") return { ...v, expr: S.unary("not", v.expr), text: `!(${v.text})`, span: at };
    if (v.kind === "scalar" && v.expr.type === "bool") return scalar(S.unary("not", v.expr));
  }
  if (isTensor(v)) {
    const n = toNode(cx, v, a.span, env);
    if (n === undefined) return poison;
    return cx.emit(env, at, (make) => (op === "-" ? make.neg(n) : make.not(n)), (f) => refuse(cx, f, at, [a.span]));
  }
  return cx.report("E0202", `\`${op}\` does not apply to ${describe(v)}`, at);
}
