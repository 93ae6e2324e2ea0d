// In: the linear index of an element, a stream and the rank-0 seed and step. Out: its random number, as statements: Philox4x32-10
// with counter (index, stream, 0, 0) and key (seed, step), the same words as graph/philox.ts defines. Refuses nothing.

import { PHILOX } from "../graph/philox.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, f32, i32, mul, u32, unary } from "../scalar/expr.ts";
import type { Body } from "./body.ts";

export function randomPoint(b: Body, kind: "normal" | "uniform", index: ScalarExpr, stream: number, seed: ScalarExpr, step: ScalarExpr): ScalarExpr {
  let c: ScalarExpr[] = [b.let(unary("to_u32", index)), u32(stream), u32(0), u32(0)];
  let [k0, k1] = [seed, step];
  const [m0, m1] = [u32(PHILOX.multiplier[0]), u32(PHILOX.multiplier[1])];
  const xor = (x: ScalarExpr, y: ScalarExpr): ScalarExpr => binary("xor", x, y);
  for (let r = 0; r < PHILOX.rounds; r++) {
    const [c0, c1, c2, c3] = c as [ScalarExpr, ScalarExpr, ScalarExpr, ScalarExpr];
    c = [
      b.let(xor(xor(binary("mulhi", m1, c2), c1), k0)), b.let(mul(m1, c2)),
      b.let(xor(xor(binary("mulhi", m0, c0), c3), k1)), b.let(mul(m0, c0)),
    ];
    k0 = b.let(add(k0, u32(PHILOX.weyl[0])));
    k1 = b.let(add(k1, u32(PHILOX.weyl[1])));
  }
  const [w0, w1] = c as [ScalarExpr, ScalarExpr];
  // 24 bits, so that the conversion is exact.
  const top = (w: ScalarExpr, plus: number): ScalarExpr => {
    const bits = unary("to_i32", binary("shr", w, u32(8)));
    return mul(unary("to_f32", add(bits, i32(plus))), f32(2 ** -24));
  };
  if (kind === "uniform") return top(w0, 0);
  const radius = unary("sqrt", mul(f32(-2), unary("log", top(w0, 1))));
  return mul(radius, unary("cos", mul(f32(2 * Math.PI), top(w1, 0))));
}
