// In: a ScalarExpr. Out: WGSL text with the parentheses WGSL asks for and no more (long sums would otherwise pass the
// parser's nesting limit). Collects the helper functions the text calls.
// Numeric choices: sigmoid, tanh and pow go through helpers, because drivers return NaN where the exact value is finite.

import type { BinaryOp, ScalarExpr, UnaryOp } from "../scalar/expr.ts";
import { literal } from "./literal.ts";

/** How leaves are spelled, and what else the module must hold. */
export interface Scope {
  readonly nameOf: (e: ScalarExpr & { kind: "name" | "length" | "builtin" }) => string;
  readonly helpers: Set<HelperName>;
}

export type HelperName = "f16" | "half" | "bits" | "sigmoid" | "tanh" | "pow" | "mulhi";

export const helperText: Readonly<Record<HelperName, string>> = {
  // WGSL lets a conversion to f16 round either way, and gives anything out of range; quantizeToF16 truncates and flushes on some
  // drivers. In bits it is one thing everywhere, and the conversion of the result is exact.
  f16:
    "fn h_f16(x: f32) -> f32 { let c = clamp(x, -65504.0f, 65504.0f); let b = bitcast<u32>(c); " +
    "return select(bitcast<f32>((b + 0xfffu + ((b >> 13u) & 1u)) & 0xffffe000u), round(c * 16777216.0f) * 5.9604644775390625e-8f, abs(c) < 6.103515625e-5f); }",
  // Two halves a word, the even element low: element i of a word, and the bits of one element.
  half: "fn h_half(w: u32, i: i32) -> f32 { return unpack2x16float(w >> (u32(i & 1i) << 4u)).x; }",
  bits: "fn h_bits(x: f32) -> u32 { return pack2x16float(vec2<f32>(h_f16(x), 0.0f)) & 0xffffu; }",
  sigmoid: "fn h_sigmoid(x: f32) -> f32 { return 1.0f / (1.0f + exp(-clamp(x, -80.0f, 80.0f))); }",
  // tanh(15) is 1 in f32; beyond it some drivers divide one overflow by another.
  tanh: "fn h_tanh(x: f32) -> f32 { return tanh(clamp(x, -15.0f, 15.0f)); }",
  // pow(x, 0) = 1, pow(0, y) = 0; a negative base takes the sign of an odd whole exponent and is otherwise the caller's mistake.
  pow:
    "fn h_pow(x: f32, y: f32) -> f32 { let m = pow(max(abs(x), 1e-37f), y); let odd = x < 0.0f && abs(y - 2.0f * floor(y * 0.5f)) == 1.0f; " +
    "return select(select(select(m, -m, odd), 0.0f, x == 0.0f), 1.0f, y == 0.0f); }",
  mulhi:
    "fn h_mulhi(a: u32, b: u32) -> u32 { let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u; " +
    "let t = ah * bl + ((al * bl) >> 16u); let w = (t & 0xffffu) + al * bh; return ah * bh + (t >> 16u) + (w >> 16u); }",
};

/** Binding strength of the text's outermost operator. */
const primary = 9;
const unaryLevel = 8;

interface Text {
  readonly text: string;
  readonly level: number;
}

export function expression(e: ScalarExpr, scope: Scope): string {
  return print(e, scope).text;
}

/** Text that stands safely beside an operator: 6 beside a comparison or after `+`. */
export function atLeast(e: ScalarExpr, level: number, scope: Scope): string {
  const p = print(e, scope);
  return p.level >= level ? p.text : `(${p.text})`;
}

const call = (fn: string, ...args: string[]): Text => ({ text: `${fn}(${args.join(", ")})`, level: primary });

function print(e: ScalarExpr, scope: Scope): Text {
  switch (e.kind) {
    case "const": return { text: literal(e.type, e.value), level: primary };
    case "name": case "length": case "builtin": return { text: scope.nameOf(e), level: primary };
    case "attr": throw new Error(`attribute ${e.side}.${e.name} reached the emitter`);
    case "select": return call("select", expression(e.b, scope), expression(e.a, scope), expression(e.cond, scope));
    case "unary": return unaryText(e.op, e.a, scope);
    case "binary": return binaryText(e.op, e.a, e.b, scope);
  }
}

function unaryText(op: UnaryOp, a: ScalarExpr, scope: Scope): Text {
  const inner = (): string => expression(a, scope);
  const prefix = (sign: string): Text => ({ text: sign + atLeast(a, primary, scope), level: unaryLevel });
  switch (op) {
    case "neg": return a.type === "u32" ? { text: `0u - ${atLeast(a, 7, scope)}`, level: 6 } : prefix("-");
    case "not": return prefix(a.type === "bool" ? "!" : "~");
    case "abs": case "exp": case "log": case "sqrt": case "sin": case "cos": return call(op, inner());
    case "floor": return a.type === "f32" ? call("floor", inner()) : print(a, scope);
    case "rsqrt": return call("inverseSqrt", inner());
    case "tanh": case "sigmoid":
      scope.helpers.add(op);
      return call(`h_${op}`, inner());
    case "to_f32": case "to_i32": case "to_u32": return call(op.slice(3), inner());
    case "to_f16":
      scope.helpers.add("f16");
      return call("h_f16", a.type === "f32" ? inner() : `f32(${inner()})`);
    case "bits_f32": return call("bitcast<f32>", inner());
    case "bits_u32": return call("bitcast<u32>", inner());
  }
}

const symbols: Partial<Record<BinaryOp, string>> = {
  add: "+", sub: "-", mul: "*", div: "/", mod: "%", eq: "==", ne: "!=", lt: "<", le: "<=", xor: "^",
};

function binaryText(op: BinaryOp, a: ScalarExpr, b: ScalarExpr, scope: Scope): Text {
  const infix = (symbol: string, level: number, left: number, right: number): Text => ({
    text: `${atLeast(a, left, scope)} ${symbol} ${atLeast(b, right, scope)}`,
    level,
  });
  const isBool = a.type === "bool";
  switch (op) {
    case "min": case "max": return call(op, expression(a, scope), expression(b, scope));
    case "pow":
      scope.helpers.add("pow");
      return call("h_pow", expression(a, scope), expression(b, scope));
    case "mulhi":
      scope.helpers.add("mulhi");
      return call("h_mulhi", expression(a, scope), expression(b, scope));
    case "add": case "sub": return infix(symbols[op] ?? "", 6, 6, 7);
    case "mul": case "div": case "mod": return infix(symbols[op] ?? "", 7, 7, 8);
    case "eq": case "ne": case "lt": case "le": return infix(symbols[op] ?? "", 5, 6, 6);
    // `&`, `|`, `^` do not mix without parentheses; a chain of one of them is left open on the left only. Never `&&` or `||`:
    // they are control flow, and SwiftShader's compile time doubles with every link of a chain of them.
    case "and": return logic("&", op, a, b, scope);
    case "or": return logic("|", op, a, b, scope);
    case "xor": return isBool ? infix("!=", 5, 6, 6) : logic("^", op, a, b, scope);
    case "shl": case "shr": {
      const amount = b.type === "u32" ? atLeast(b, unaryLevel, scope) : call("u32", expression(b, scope)).text;
      return { text: `${atLeast(a, unaryLevel, scope)} ${op === "shl" ? "<<" : ">>"} ${amount}`, level: 3 };
    }
  }
}

function logic(symbol: string, op: BinaryOp, a: ScalarExpr, b: ScalarExpr, scope: Scope): Text {
  const free = unaryLevel;
  const left = a.kind === "binary" && a.op === op ? expression(a, scope) : atLeast(a, free, scope);
  return { text: `${left} ${symbol} ${atLeast(b, free, scope)}`, level: 2 };
}
