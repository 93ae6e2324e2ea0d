// In: a ScalarExpr. Out: the first operation in it that its operand types do not allow, in words. The types a language of
// kernels must agree on: the emitters rely on them.

import type { BinaryOp, ScalarExpr, ScalarType, UnaryOp } from "../scalar/expr.ts";
import { children } from "../scalar/expr.ts";

const floats: readonly ScalarType[] = ["f32"];
const integers: readonly ScalarType[] = ["i32", "u32"];
const numbers: readonly ScalarType[] = ["f32", "i32", "u32"];
const all: readonly ScalarType[] = ["f32", "i32", "u32", "bool"];
const bits: readonly ScalarType[] = ["i32", "u32", "bool"];

const unaryTypes: Readonly<Record<UnaryOp, readonly ScalarType[]>> = {
  neg: numbers, abs: ["f32", "i32"], exp: floats, log: floats, sqrt: floats, rsqrt: floats, tanh: floats, sigmoid: floats,
  sin: floats, cos: floats, floor: numbers, not: bits, to_f32: all, to_f16: all, to_i32: all, to_u32: all, bits_f32: integers, bits_u32: numbers,
};

const binaryTypes: Readonly<Record<BinaryOp, readonly ScalarType[]>> = {
  add: numbers, sub: numbers, mul: numbers, div: numbers, mod: numbers, min: numbers, max: numbers, pow: floats,
  eq: all, ne: all, lt: numbers, le: numbers, and: bits, or: bits, xor: bits, shl: integers, shr: integers, mulhi: ["u32"],
};

export function typeProblem(e: ScalarExpr): string | undefined {
  for (const c of children(e)) {
    const inner = typeProblem(c);
    if (inner !== undefined) return inner;
  }
  switch (e.kind) {
    case "const": {
      const { type, value } = e;
      const fits =
        type === "f32" ? Number.isFinite(Math.fround(value))
        : type === "i32" ? Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31
        : type === "u32" ? Number.isInteger(value) && value >= 0 && value < 2 ** 32
        : value === 0 || value === 1;
      return fits ? undefined : `${value} is not a ${type}`;
    }
    case "unary": return unaryTypes[e.op].includes(e.a.type) ? undefined : `${e.op} of ${e.a.type}`;
    case "binary":
      if (e.a.type !== e.b.type) return `${e.op} of ${e.a.type} and ${e.b.type}`;
      return binaryTypes[e.op].includes(e.a.type) ? undefined : `${e.op} of ${e.a.type}`;
    case "select":
      if (e.cond.type !== "bool") return "select by a value that is no bool";
      return e.a.type === e.b.type ? undefined : `select of ${e.a.type} and ${e.b.type}`;
    default: return undefined;
  }
}
