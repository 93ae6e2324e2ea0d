// Elementwise rules: identities, constants, signs, casts.

import { evalBinary, evalUnary } from "../../scalar/eval.ts";
import type { BinaryOp, UnaryOp } from "../../scalar/expr.ts";
import type { GraphBuilder } from "../builder.ts";
import type { DType, Node, NodeId } from "../graph.ts";
import type { OpName } from "../ops.ts";
import { scalarOf } from "../tensor.ts";
import type { RewriteRule } from "../rewrite.ts";
import { rule } from "../rewrite.ts";

export const unaryNames = ["neg", "abs", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos", "floor", "not"] as const satisfies readonly (OpName & UnaryOp)[];
export const binaryNames = ["add", "sub", "mul", "div", "max", "min", "pow", "mod", "eq", "ne", "lt", "le", "and", "or"] as const satisfies readonly (OpName & BinaryOp)[];

/** The number that a node is everywhere: a constant, or a constant repeated. */
export function constantOf(b: GraphBuilder, n: Node): number | undefined {
  let at = n;
  while (at.op === "broadcast") at = b.node(at.args[0] ?? -1);
  return at.op === "const" ? at.attrs.value : undefined;
}

/** `x op c -> x`, on either side when the op commutes. */
const identity = (name: string, op: "add" | "sub" | "mul" | "div", value: number, sides: readonly number[]): RewriteRule =>
  rule(name, "exact", [op], ({ m, node, arg }) => {
    for (const side of sides) {
      if (constantOf(m.builder, arg(side)) !== value) continue;
      return m.expand(arg(1 - side).id, node.type);
    }
    return undefined;
  });

const inner = (b: GraphBuilder, n: Node): Node => b.node(n.args[0] ?? -1);

export const algebra: readonly RewriteRule[] = [
  identity("add_zero", "add", 0, [0, 1]),
  identity("sub_zero", "sub", 0, [1]),
  identity("mul_one", "mul", 1, [0, 1]),
  identity("div_one", "div", 1, [1]),
  rule("mul_zero", "assumes-finite", ["mul"], ({ m, node, arg }) =>
    [0, 1].some((i) => constantOf(m.builder, arg(i)) === 0) ? m.expand(m.const(0, node.type.dtype), node.type) : undefined),
  rule("neg_of_neg", "exact", ["neg"], ({ m, arg }) => (arg(0).op === "neg" ? inner(m.builder, arg(0)).id : undefined)),
  rule("not_of_not", "exact", ["not"], ({ m, arg }) => (arg(0).op === "not" ? inner(m.builder, arg(0)).id : undefined)),
  rule("add_of_neg", "exact", ["add"], ({ m, arg }) =>
    arg(1).op === "neg" ? m.sub(arg(0).id, inner(m.builder, arg(1)).id) : arg(0).op === "neg" ? m.sub(arg(1).id, inner(m.builder, arg(0)).id) : undefined),
  rule("sub_of_neg", "exact", ["sub"], ({ m, arg }) => (arg(1).op === "neg" ? m.add(arg(0).id, inner(m.builder, arg(1)).id) : undefined)),
  rule("mul_of_scale", "reassociates", ["mul"], ({ m, node, arg }) => {
    if (node.type.dtype !== "f32") return undefined;
    for (const side of [0, 1]) {
      const [c, x] = [constantOf(m.builder, arg(side)), arg(1 - side)];
      if (c === undefined || x.op !== "mul") continue;
      for (const k of [0, 1]) {
        const factor = constantOf(m.builder, m.builder.node(x.args[k] ?? -1));
        if (factor !== undefined) return m.expand(m.scale(x.args[1 - k] ?? -1, c * factor), node.type);
      }
    }
    return undefined;
  }),
  rule("div_by_constant", "reassociates", ["div"], ({ m, node, arg }) => {
    const c = constantOf(m.builder, arg(1));
    return c === undefined || c === 0 || c === 1 || node.type.dtype !== "f32" ? undefined : m.expand(m.scale(arg(0).id, 1 / c), node.type);
  }),
  rule("fold_constants", "exact", [...unaryNames, ...binaryNames, "cast"], ({ m, node, arg }) => {
    const values: number[] = [];
    for (let i = 0; i < node.args.length; i++) {
      const a = arg(i);
      if (a.op !== "const") return undefined;
      values.push(a.attrs.value);
    }
    const [x = 0, y = 0] = values;
    const value = fold(node.op, node.type.dtype, arg(0).type.dtype, x, y);
    // Infinities and NaNs stay where they are computed: no constant may spell them.
    return Number.isFinite(value) ? m.const(value, node.type.dtype) : undefined;
  }),
  rule("select_constant", "exact", ["select"], ({ m, node, arg }) => {
    const c = constantOf(m.builder, arg(0));
    return c === undefined ? undefined : m.expand(arg(c !== 0 ? 1 : 2).id, node.type);
  }),
  rule("select_same", "exact", ["select"], ({ m, node, arg }) => (arg(1).id === arg(2).id ? m.expand(arg(1).id, node.type) : undefined)),
  rule("same_operands", "exact", ["max", "min", "and", "or"], ({ arg }) => (arg(0).id === arg(1).id ? arg(0).id : undefined)),
  rule("logic_constant", "exact", ["and", "or"], ({ m, node, arg }): NodeId | undefined => {
    for (const side of [0, 1]) {
      const c = constantOf(m.builder, arg(side));
      if (c === undefined) continue;
      const decides = (node.op === "and") === (c === 0);
      return m.expand(decides ? m.const(c, "bool") : arg(1 - side).id, node.type);
    }
    return undefined;
  }),
  rule("cast_same", "exact", ["cast"], ({ node, arg }) => {
    // A cast to the same type in another memory order is a copy that somebody asked for.
    const same = arg(0).type.dtype === node.attrs.dtype && arg(0).type.axes.every((a, i) => a.name === node.type.axes[i]?.name);
    return same ? arg(0).id : undefined;
  }),
  rule("cast_of_cast", "exact", ["cast"], ({ m, node, arg }) => {
    // Truth values pass through any type unharmed.
    const x = arg(0);
    return x.op === "cast" && inner(m.builder, x).type.dtype === "bool" ? m.cast(inner(m.builder, x).id, node.attrs.dtype) : undefined;
  }),
];

function fold(op: OpName, to: DType, from: DType, x: number, y: number): number {
  if (op === "cast") return to === "bool" ? (x !== 0 ? 1 : 0) : evalUnary(`to_${to}`, scalarOf(from), x);
  const u = unaryNames.find((n) => n === op);
  if (u) return evalUnary(u, scalarOf(from), x);
  const b = binaryNames.find((n) => n === op);
  return b ? evalBinary(b, scalarOf(from), x, y) : NaN;
}
