// In: the canonical prefix text of scalar/print.ts. Out: the expression, node for node as it was printed.

import { Cursor } from "./cursor.ts";
import type { BinaryOp, Builtin, ScalarExpr, ScalarType, UnaryOp } from "./expr.ts";

export const scalarTypes: readonly ScalarType[] = ["f32", "i32", "u32", "bool"];
export const unaryOps: readonly UnaryOp[] = [
  "neg", "abs", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos", "floor", "not",
  "to_f32", "to_f16", "to_i32", "to_u32", "bits_f32", "bits_u32",
];
export const binaryOps: readonly BinaryOp[] = [
  "add", "sub", "mul", "div", "mod", "min", "max", "pow", "eq", "ne", "lt", "le", "and", "or", "xor", "shl", "shr", "mulhi",
];
const builtins: readonly Builtin[] = ["group.x", "group.y", "group.z", "lane.x", "lane.y", "lane.z"];
const casts: Partial<Record<UnaryOp, ScalarType>> = { to_f32: "f32", to_f16: "f32", to_i32: "i32", to_u32: "u32", bits_f32: "f32", bits_u32: "u32" };

export const readExpr = (text: string): ScalarExpr => {
  const c = new Cursor(text);
  const e = readExprAt(c);
  if (!c.done()) c.fail("the end");
  return e;
};

function oneOf<T extends string>(c: Cursor, word: string, all: readonly T[], what: string): T {
  return all.find((x) => x === word) ?? c.fail(what);
}

const typeAt = (c: Cursor): ScalarType => (c.expect(":"), oneOf(c, c.word(), scalarTypes, "a scalar type"));

export function readExprAt(c: Cursor): ScalarExpr {
  if (c.take("(")) return operation(c);
  if (c.take("$")) {
    const name = c.name();
    return { kind: "name", name, type: typeAt(c) };
  }
  if (c.take("#")) return { kind: "length", type: "i32", name: c.name() };
  if (c.take("@")) return { kind: "builtin", type: "i32", name: oneOf(c, c.name(), builtins, "a builtin") };
  if (c.take("%")) {
    const side = c.take("q.") ? "q" : (c.expect("k."), "k");
    const name = c.name();
    return { kind: "attr", side, name, type: typeAt(c) };
  }
  const word = c.word();
  if (word === "true" || word === "false") return { kind: "const", type: "bool", value: word === "true" ? 1 : 0 };
  return { kind: "const", type: oneOf(c, word, scalarTypes, "an expression"), value: c.number() };
}

function operation(c: Cursor): ScalarExpr {
  const op = c.word();
  const a = readExprAt(c);
  let out: ScalarExpr;
  if (op === "select") {
    const b = readExprAt(c);
    out = { kind: "select", type: b.type, cond: a, a: b, b: readExprAt(c) };
  } else if (unaryOps.some((u) => u === op)) {
    const u = oneOf(c, op, unaryOps, "an operation");
    out = { kind: "unary", op: u, type: casts[u] ?? a.type, a };
  } else {
    const o = oneOf(c, op, binaryOps, "an operation");
    const type = o === "eq" || o === "ne" || o === "lt" || o === "le" ? "bool" : a.type;
    out = { kind: "binary", op: o, type, a, b: readExprAt(c) };
  }
  c.expect(")");
  return out;
}
