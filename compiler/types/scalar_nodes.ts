// A scalar over attributes of one token as graph ops: the formula of an attribute, the branch of a route.
// In: the expression, leaves of side q, and what reads an attribute. Out: its node on the axes of the attributes.
// Ops that no such expression holds are a bug of the caller.

import type { NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { ScalarExpr } from "../scalar/expr.ts";

export function scalarNode(make: Make, e: ScalarExpr, read: (name: string) => NodeId): NodeId {
  const of = (x: ScalarExpr): NodeId => scalarNode(make, x, read);
  switch (e.kind) {
    case "const": return make.const(e.value, e.type === "u32" ? "i32" : e.type);
    case "attr": return read(e.name);
    case "unary":
      if (e.op === "to_f32") return make.cast(of(e.a), "f32");
      if (e.op === "to_i32") return make.cast(of(e.a), "i32");
      if (e.op === "neg" || e.op === "abs" || e.op === "not" || e.op === "floor") return make[e.op](of(e.a));
      break;
    case "binary":
      if (e.op === "add" || e.op === "sub" || e.op === "mul" || e.op === "div" || e.op === "mod" || e.op === "min" || e.op === "max" || e.op === "eq" || e.op === "ne" || e.op === "lt" || e.op === "le" || e.op === "and" || e.op === "or") {
        return make.op(e.op, [of(e.a), of(e.b)], {});
      }
      break;
    case "select": return make.select(of(e.cond), of(e.a), of(e.b));
  }
  throw new Error(`no graph op for a formula's ${e.kind}`);
}
