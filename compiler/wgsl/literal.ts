// In: a number and its scalar type. Out: a WGSL literal that means exactly that number, always typed by suffix, because
// an untyped WGSL constant expression is computed at another precision. Refuses infinities and NaN: WGSL has no such constant.

import type { ScalarType } from "../scalar/expr.ts";

export function literal(type: ScalarType, value: number): string {
  switch (type) {
    case "bool": return value !== 0 ? "true" : "false";
    case "i32":
      if (!Number.isInteger(value) || value < -2147483648 || value > 2147483647) throw new Error(`${value} is not an i32`);
      if (value === -2147483648) return "(-2147483647i - 1i)";
      return value < 0 ? `(${value}i)` : `${value === 0 ? 0 : value}i`;
    case "u32":
      if (!Number.isInteger(value) || value < 0 || value > 4294967295) throw new Error(`${value} is not a u32`);
      return `${value}u`;
    case "f32": return floatLiteral(value);
  }
}

const largest = Math.fround(3.4028234663852886e38);

function floatLiteral(value: number): string {
  const v = Math.fround(value);
  if (!Number.isFinite(v)) throw new Error(`${value} is not a finite f32`);
  if (v === 0) return Object.is(v, -0) ? "(-0.0f)" : "0.0f";
  // The shortest text that rounds to the number; never one beyond the largest f32, which compilers refuse instead of rounding.
  let text = v.toString();
  for (let digits = 1; digits <= 9; digits++) {
    const shorter = v.toPrecision(digits);
    if (Math.fround(Number(shorter)) === v && Math.abs(Number(shorter)) <= largest) {
      text = shorter;
      break;
    }
  }
  if (!/[.e]/.test(text)) text += ".0";
  return v < 0 ? `(${text}f)` : `${text}f`;
}
