// In: an i32 ScalarExpr over lengths. Out: the same as a plan's IntExpr. Refuses anything a size cannot be (a bug).

import type { ScalarExpr } from "../scalar/expr.ts";
import type { IntExpr } from "./expr.ts";

const ops = { add: "+", sub: "-", mul: "*", div: "/", mod: "%", min: "min", max: "max" } as const;

export function toIntExpr(e: ScalarExpr): IntExpr {
  if (e.kind === "const") return e.value;
  if (e.kind === "length") return e.name;
  if (e.kind === "unary" && e.op === "neg") return intBinary("-", 0, toIntExpr(e.a));
  if (e.kind === "binary" && e.op in ops) return intBinary(ops[e.op as keyof typeof ops], toIntExpr(e.a), toIntExpr(e.b));
  throw new Error(`not a size over lengths: ${e.kind}${"op" in e ? ` ${e.op}` : ""}`);
}

/** `a op b`, folded where both are numbers or one changes nothing. */
export function intBinary(op: (typeof ops)[keyof typeof ops], a: IntExpr, b: IntExpr): IntExpr {
  if (typeof a === "number" && typeof b === "number") {
    switch (op) {
      case "+": return a + b;
      case "-": return a - b;
      case "*": return a * b;
      case "/": return Math.floor(a / b);
      case "%": return a % b;
      case "min": return Math.min(a, b);
      case "max": return Math.max(a, b);
    }
  }
  if (op === "+" && a === 0) return b;
  if ((op === "+" || op === "-") && b === 0) return a;
  if (op === "*" && (a === 0 || b === 0)) return 0;
  if (op === "*" && a === 1) return b;
  if ((op === "*" || op === "/") && b === 1) return a;
  return { op, a, b };
}

export const intSum = (parts: readonly IntExpr[]): IntExpr => parts.reduce((n, p) => intBinary("+", n, p), 0 as IntExpr);
