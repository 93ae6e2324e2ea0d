// One call of a built-in function while it is worked out: its arguments' values and nodes, and the axes in its brackets.
// In: the call's tree and environment. Out: values, nodes, axis names; mistakes are reported at the operand they concern.

import type { Arg, CallExpr, Expr } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import type { Context } from "./context.ts";
import { lookUp } from "./scope.ts";
import { refuse, toNode, unify } from "./tensors.ts";
import type { Env, Value } from "./values.ts";
import { describe, poison } from "./values.ts";

export interface BuiltinCall {
  readonly cx: Context;
  readonly env: Env;
  readonly expr: CallExpr;
  readonly name: string;
  readonly args: ReadonlyMap<string, Arg>;
  /** Values already worked out, so that no argument runs twice. */
  readonly values: Map<string, Value>;
}

type Brackets = "none" | "some" | "one" | "arrow" | "optional";

/** A built-in function: how it is called and what it does. */
export interface Primitive {
  readonly signature: string;
  readonly doc: string;
  readonly brackets: Brackets;
  /** Names of the arguments; `?` marks one that may be left out, `*` any number. */
  readonly args: readonly string[];
  /** Other arguments may be given by name: branches of a route. */
  readonly named?: boolean;
  readonly run: (call: BuiltinCall) => Value;
}

/** The value of an argument; `absent` where it was left out. */
export function valueOf(call: BuiltinCall, name: string): Value {
  const old = call.values.get(name);
  if (old) return old;
  const arg = call.args.get(name);
  const { wants: _, ...env } = call.env;
  const v: Value = arg ? call.cx.evaluate.expr(call.cx, arg.value, { ...env, exact: name === "layer" && env.exact, ...(name === "mask" || name === "score" || name === "process" || name === "layer" || name === "route" || name === "attribute" ? { wants: name } : {}) }) : { kind: "absent" };
  call.values.set(name, v);
  return v;
}

/** The node of an argument; undefined after a report, or where it was left out. */
export function nodeOf(call: BuiltinCall, name: string): NodeId | undefined {
  const v = valueOf(call, name);
  if (v.kind === "absent" || v.kind === "poison") return undefined;
  return toNode(call.cx, v, call.args.get(name)?.value.span ?? call.expr.span, call.env);
}

/** Runs `body` on the nodes of these arguments, brought to one dtype where they are operands of one op. */
export function withNodes(call: BuiltinCall, names: readonly string[], body: (make: Make, nodes: readonly [NodeId, NodeId, NodeId, ...NodeId[]]) => NodeId): Value {
  const { cx, env, expr } = call;
  const nodes: NodeId[] = [];
  for (const n of names) {
    const node = nodeOf(call, n);
    if (node === undefined) return poison;
    nodes.push(node);
  }
  const mixed = call.name === "gather" ? nodes : unify(cx, env, expr.span, nodes);
  const spans = names.map((n) => call.args.get(n)?.value.span ?? expr.span);
  return cx.emit(env, expr.span, (make) => body(make, mixed as unknown as readonly [NodeId, NodeId, NodeId]), (f) => refuse(cx, f, expr.span, spans));
}

/** The axis name of an item in brackets. A name nobody declared stands for itself: it may be an axis of the operand alone. */
export function bracketName(call: BuiltinCall, e: Expr): string | undefined {
  const { cx, env } = call;
  if (e.kind === "name" && !env.scope.find(e.text)) return e.text;
  const v = e.kind === "name" ? lookUp(cx, e, env) : cx.evaluate.expr(cx, e, env);
  if (v.kind === "axis") return v.name;
  if (v.kind === "poison") return undefined;
  // A built-in or library name may also be an axis of the operand; so may a number, as in `axis experts`.
  if (e.kind === "name") return e.text;
  cx.report("E0202", `brackets hold axes, and this is ${describe(v)}`, e.span);
  return undefined;
}

/** An axis with its size, which must be known here. */
export function bracketAxis(call: BuiltinCall, e: Expr): { name: string; size: Dim } | undefined {
  const { cx, env } = call;
  const v = e.kind === "name" ? lookUp(cx, e, { ...env, wants: "axis" }) : cx.evaluate.expr(cx, e, env);
  if (v.kind === "axis") return { name: v.name, size: v.size };
  if (v.kind === "int" && e.kind === "name") return { name: e.text, size: v.dim };
  if (v.kind !== "poison") cx.report("E0202", `an axis with a size is needed, and this is ${describe(v)}`, e.span, { help: e.kind === "name" ? undefined : "declare it: `axis e = d / heads`" });
  return undefined;
}
