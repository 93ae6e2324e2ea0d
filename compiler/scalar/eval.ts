// In: a ScalarExpr and the values of its leaves. Out: a number; bool is 0 or 1. This is the definition of the scalar language,
// and of the elementwise graph ops of the same names: i32 and u32 wrap, f32 is float64 unless rounding is asked for.
// Integer division by zero gives the dividend, its remainder 0, and float-to-integer casts saturate, as WGSL has it.

import { roundHalf } from "./half.ts";
import type { BinaryOp, Builtin, ScalarExpr, ScalarType, UnaryOp } from "./expr.ts";

export interface Rounding {
  /** Round every f32 result to single precision. */
  readonly f32: boolean;
}

const scratch = new DataView(new ArrayBuffer(4));
const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

const floatUnary: Partial<Record<UnaryOp, (x: number) => number>> = {
  neg: (x) => -x, abs: Math.abs, exp: Math.exp, log: Math.log, sqrt: Math.sqrt, rsqrt: (x) => 1 / Math.sqrt(x),
  tanh: Math.tanh, sigmoid, sin: Math.sin, cos: Math.cos, floor: Math.floor,
};

const toInt = (x: number): number => (Number.isNaN(x) ? 0 : Math.max(-2147483648, Math.min(2147483647, Math.trunc(x))));
const toUint = (x: number): number => (Number.isNaN(x) ? 0 : Math.max(0, Math.min(4294967295, Math.trunc(x))));

/** `wrap` brings a number into the range of a type. */
export const wrap = (type: ScalarType, x: number): number => (type === "i32" ? x | 0 : type === "u32" ? x >>> 0 : x);

function bits(from: ScalarType, to: ScalarType, x: number): number {
  if (from === "f32") scratch.setFloat32(0, x);
  else scratch.setUint32(0, x >>> 0);
  return to === "f32" ? scratch.getFloat32(0) : to === "i32" ? scratch.getInt32(0) : scratch.getUint32(0);
}

/** `op` on an operand of type `from`. */
export function evalUnary(op: UnaryOp, from: ScalarType, x: number): number {
  switch (op) {
    case "not": return from === "bool" ? (x === 0 ? 1 : 0) : wrap(from, ~x);
    case "to_f32": return x;
    case "to_f16": return roundHalf(x);
    case "to_i32": return from === "f32" ? toInt(x) : x | 0;
    case "to_u32": return from === "f32" ? toUint(x) : x >>> 0;
    case "bits_f32": return bits(from, "f32", x);
    case "bits_u32": return bits(from, "u32", x);
    default: {
      const f = floatUnary[op];
      if (!f) throw new Error(`no scalar op ${op}`);
      return wrap(from, f(x));
    }
  }
}

/** High 32 bits of the product of two u32. */
export function mulhi(a: number, b: number): number {
  const [ah, al, bh, bl] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const mid = al * bh + ((al * bl) >>> 16);
  const mid2 = ah * bl + (mid % 65536);
  return (ah * bh + Math.floor(mid / 65536) + Math.floor(mid2 / 65536)) >>> 0;
}

/** `op` on two operands of one type. */
export function evalBinary(op: BinaryOp, type: ScalarType, a: number, b: number): number {
  const float = type === "f32";
  switch (op) {
    case "add": return wrap(type, a + b);
    case "sub": return wrap(type, a - b);
    case "mul": return float ? a * b : wrap(type, Math.imul(a, b));
    case "div": return float ? a / b : b === 0 ? a : wrap(type, Math.trunc(a / b));
    case "mod": return float ? a % b : b === 0 ? 0 : wrap(type, a % b);
    case "min": return Math.min(a, b);
    case "max": return Math.max(a, b);
    case "pow": return a ** b;
    case "eq": return a === b ? 1 : 0;
    case "ne": return a !== b ? 1 : 0;
    case "lt": return a < b ? 1 : 0;
    case "le": return a <= b ? 1 : 0;
    case "and": return wrap(type === "bool" ? "i32" : type, a & b);
    case "or": return wrap(type === "bool" ? "i32" : type, a | b);
    case "xor": return wrap(type === "bool" ? "i32" : type, a ^ b);
    case "shl": return wrap(type, a << (b & 31));
    case "shr": return type === "u32" ? a >>> (b & 31) : a >> (b & 31);
    case "mulhi": return mulhi(a, b);
  }
}

export type Leaf = Extract<ScalarExpr, { kind: "name" | "length" | "builtin" | "attr" }>;

/** Turns an expression into a closure; `leaf` gives for each leaf a getter that is called at every evaluation. */
export function compileExpr(e: ScalarExpr, leaf: (l: Leaf) => () => number, round: Rounding = { f32: false }): () => number {
  const finish = (type: ScalarType, f: () => number): (() => number) => (round.f32 && type === "f32" ? () => Math.fround(f()) : f);
  switch (e.kind) {
    case "const": {
      const v = round.f32 && e.type === "f32" ? Math.fround(e.value) : e.value;
      return () => v;
    }
    case "unary": {
      const a = compileExpr(e.a, leaf, round);
      return finish(e.type, () => evalUnary(e.op, e.a.type, a()));
    }
    case "binary": {
      const a = compileExpr(e.a, leaf, round);
      const b = compileExpr(e.b, leaf, round);
      return finish(e.type, () => evalBinary(e.op, e.a.type, a(), b()));
    }
    case "select": {
      const [c, a, b] = [compileExpr(e.cond, leaf, round), compileExpr(e.a, leaf, round), compileExpr(e.b, leaf, round)];
      return () => (c() !== 0 ? a() : b());
    }
    default: return leaf(e);
  }
}

export interface ScalarEnv {
  readonly names?: Readonly<Record<string, number>>;
  readonly lengths?: Readonly<Record<string, number>>;
  readonly builtins?: Readonly<Partial<Record<Builtin, number>>>;
  readonly q?: Readonly<Record<string, number>>;
  readonly k?: Readonly<Record<string, number>>;
}

/** The value of an expression; a leaf without a value is a bug of the caller. */
export function evalExpr(e: ScalarExpr, env: ScalarEnv, round?: Rounding): number {
  const leaf = (l: Leaf): (() => number) => {
    const v =
      l.kind === "name" ? env.names?.[l.name]
      : l.kind === "length" ? env.lengths?.[l.name]
      : l.kind === "builtin" ? env.builtins?.[l.name]
      : env[l.side]?.[l.name];
    if (v === undefined) throw new Error(`no value for ${l.kind} ${l.name}`);
    return () => v;
  };
  return compileExpr(e, leaf, round)();
}
