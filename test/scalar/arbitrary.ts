// Random well-typed scalar expressions over the leaves i, j (i32), m (u32), x, y (f32), p (bool), and values for them.

import fc from "fast-check";
import type { BinaryOp, ScalarExpr, ScalarType, UnaryOp } from "../../compiler/scalar/expr.ts";

/** Raw nodes: the smart constructors would fold what the tests want to see. */
const un = (op: UnaryOp, type: ScalarType, a: ScalarExpr): ScalarExpr => ({ kind: "unary", op, type, a });
const bin = (op: BinaryOp, type: ScalarType, a: ScalarExpr, b: ScalarExpr): ScalarExpr => ({ kind: "binary", op, type, a, b });

const leafNames: Readonly<Record<ScalarType, readonly string[]>> = { i32: ["i", "j"], u32: ["m"], f32: ["x", "y"], bool: ["p"] };

const numbers: Readonly<Record<ScalarType, fc.Arbitrary<number>>> = {
  i32: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.integer()),
  u32: fc.oneof(fc.nat(9), fc.nat(0xffffffff)),
  f32: fc.oneof(fc.integer({ min: -4, max: 4 }), fc.float({ noNaN: true, min: -100, max: 100 })),
  bool: fc.nat(1),
};

function leaf(type: ScalarType): fc.Arbitrary<ScalarExpr> {
  return fc.oneof(
    numbers[type].map((value): ScalarExpr => ({ kind: "const", type, value: value === 0 ? 0 : value })),
    fc.constantFrom(...leafNames[type]).map((name): ScalarExpr => ({ kind: "name", type, name })),
  );
}

const unaryBy: Readonly<Record<ScalarType, readonly (readonly [UnaryOp, ScalarType])[]>> = {
  f32: [...(["neg", "abs", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos", "floor"] as const).map((o) => [o, "f32"] as const), ["to_f32", "i32"], ["to_f32", "u32"], ["to_f32", "bool"]],
  i32: [["neg", "i32"], ["abs", "i32"], ["to_i32", "f32"], ["to_i32", "u32"], ["to_i32", "bool"]],
  u32: [["to_u32", "f32"], ["to_u32", "i32"], ["to_u32", "bool"], ["bits_u32", "i32"]],
  bool: [["not", "bool"]],
};
const binaryBy: Readonly<Record<Exclude<ScalarType, "bool">, readonly BinaryOp[]>> = {
  f32: ["add", "sub", "mul", "div", "min", "max"],
  i32: ["add", "sub", "mul", "div", "mod", "min", "max", "and", "or", "xor", "shl", "shr"],
  u32: ["add", "sub", "mul", "div", "mod", "min", "max", "and", "or", "xor", "shl", "shr", "mulhi"],
};

export const exprOf = fc.memo((depth): fc.Arbitrary<ScalarExpr> => depthOf("bool", depth));

export function depthOf(type: ScalarType, depth: number): fc.Arbitrary<ScalarExpr> {
  if (depth <= 1) return leaf(type);
  const sub = (t: ScalarType): fc.Arbitrary<ScalarExpr> => depthOf(t, depth - 1);
  const unary = fc.constantFrom(...unaryBy[type]).chain(([op, from]) => sub(from).map((a) => un(op, type, a)));
  const choose = fc.tuple(sub("bool"), sub(type), sub(type)).map(([cond, a, b]): ScalarExpr => ({ kind: "select", type, cond, a, b }));
  if (type !== "bool") {
    const binary = fc.tuple(fc.constantFrom(...binaryBy[type]), sub(type), sub(type)).map(([op, a, b]) => bin(op, type, a, b));
    return fc.oneof(leaf(type), unary, { weight: 3, arbitrary: binary }, choose);
  }
  const compare = fc.constantFrom<ScalarType>("i32", "u32", "f32").chain((t) =>
    fc.tuple(fc.constantFrom<BinaryOp>("eq", "ne", "lt", "le"), sub(t), sub(t)).map(([op, a, b]) => bin(op, "bool", a, b)));
  const logic = fc.tuple(fc.constantFrom<BinaryOp>("and", "or"), sub("bool"), sub("bool")).map(([op, a, b]) => bin(op, "bool", a, b));
  return fc.oneof(leaf("bool"), unary, { weight: 3, arbitrary: compare }, { weight: 3, arbitrary: logic }, choose);
}

export type Env = Record<"i" | "j" | "m" | "x" | "y" | "p", number>;
export const envOf: fc.Arbitrary<Env> = fc.record({ i: numbers.i32, j: numbers.i32, m: numbers.u32, x: numbers.f32, y: numbers.f32, p: numbers.bool });
