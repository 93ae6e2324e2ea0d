// In: an f32 expression and one of its names. Out: its derivative, an expression over the same leaves.
// Comparisons, floor and integers are flat; at a kink of abs, min or max one side is taken. Refuses nothing.

import type { ScalarExpr } from "./expr.ts";
import { add, binary, div, f32, mul, select, sub, unary } from "./expr.ts";

const isZero = (e: ScalarExpr): boolean => e.kind === "const" && e.value === 0;
const isOne = (e: ScalarExpr): boolean => e.kind === "const" && e.value === 1;
// `expr.ts` folds no f32 products, since x * 0 is not 0 for every x; a derivative that is absent is absent, though.
const times = (d: ScalarExpr, x: ScalarExpr): ScalarExpr => (isZero(d) ? d : isOne(d) ? x : isOne(x) ? d : mul(d, x));
const plus = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => (isZero(a) ? b : isZero(b) ? a : add(a, b));
const minus = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => (isZero(b) ? a : isZero(a) ? unary("neg", b) : sub(a, b));

/** d e / d `wrt`. */
export function derive(e: ScalarExpr, wrt: string): ScalarExpr {
  const zero = f32(0);
  if (e.type !== "f32") return zero;
  switch (e.kind) {
    case "name": return e.name === wrt ? f32(1) : zero;
    case "unary": {
      const d = derive(e.a, wrt);
      if (isZero(d)) return zero;
      switch (e.op) {
        case "neg": return unary("neg", d);
        case "abs": return select(binary("lt", e.a, f32(0)), unary("neg", d), d);
        case "exp": return times(d, e);
        case "log": return div(d, e.a);
        case "sqrt": return div(d, mul(f32(2), e));
        case "rsqrt": return times(d, mul(f32(-0.5), div(e, e.a)));
        case "tanh": return times(d, sub(f32(1), mul(e, e)));
        case "sigmoid": return times(d, mul(e, sub(f32(1), e)));
        case "sin": return times(d, unary("cos", e.a));
        case "cos": return times(d, unary("neg", unary("sin", e.a)));
        default: return zero;
      }
    }
    case "binary": {
      const [da, db] = [derive(e.a, wrt), derive(e.b, wrt)];
      if (isZero(da) && isZero(db)) return zero;
      switch (e.op) {
        case "add": return plus(da, db);
        case "sub": return minus(da, db);
        case "mul": return plus(times(da, e.b), times(db, e.a));
        case "div": {
          const left = isZero(da) ? zero : div(da, e.b);
          return minus(left, isZero(db) ? zero : times(db, div(e, e.b)));
        }
        // a % b = a - b * trunc(a / b), and the quotient is flat
        case "mod": return minus(da, isZero(db) ? zero : times(db, div(sub(e.a, e), e.b)));
        case "min": return select(binary("le", e.a, e.b), da, db);
        case "max": return select(binary("lt", e.a, e.b), db, da);
        case "pow": {
          const left = times(da, mul(e.b, binary("pow", e.a, sub(e.b, f32(1)))));
          return plus(left, isZero(db) ? zero : times(db, mul(e, unary("log", e.a))));
        }
        default: return zero;
      }
    }
    case "select": {
      const [da, db] = [derive(e.a, wrt), derive(e.b, wrt)];
      return isZero(da) && isZero(db) ? zero : select(e.cond, da, db);
    }
    default: return zero;
  }
}
