// The built-in functions: the short list of what cannot be said in the language, and how each becomes graph ops.
// `primitives` is the table that docs/language.md prints. The same names work on numbers while a model is built, on scalars
// of a mask, and on tensors. Refuses wrong brackets, wrong operands and axes that are not there.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { CallExpr } from "../ast/nodes.ts";
import type { Dim } from "../dim/dim.ts";
import { dimConst, dimSub, dimVar } from "../dim/dim.ts";
import type { NodeId } from "../graph/graph.ts";
import type { Make } from "../graph/make.ts";
import * as S from "../scalar/expr.ts";
import { asWhole } from "../scalar/whole.ts";
import { attendValue } from "./attend.ts";
import { attributeOn } from "./attributes.ts";
import { balancePrimitives } from "./balance.ts";
import type { BuiltinCall, Primitive } from "./builtin_call.ts";
import { bracketAxis, bracketName, nodeOf, valueOf, withNodes } from "./builtin_call.ts";
import { listPrimitives } from "./builtin_lists.ts";
import { routedPrimitives, stackedLookUp, stackedProduct } from "./builtin_routed.ts";
import { choicePrimitives } from "./choices.ts";
import { coupledPrimitives } from "./coupled.ts";
import { noisePrimitives } from "./noise.ts";
import { matchArguments } from "./calls.ts";
import type { Wanted } from "./calls.ts";
import type { Context } from "./context.ts";
import { numberOf, toScalar } from "./operators.ts";
import { gatherInScore } from "./score_tables.ts";
import { axesOf, isTensor, refuse, unify } from "./tensors.ts";
import type { Env, Value } from "./values.ts";
import { describe, float, int, poison, scalar } from "./values.ts";

type Numeric = (x: number) => number;

/** An elementwise function of one operand, on numbers, scalars and tensors. */
function elementwise(name: string, doc: string, number: Numeric, tensorOp: (make: Make, x: NodeId) => NodeId, scalarOp?: (x: S.ScalarExpr) => S.ScalarExpr): Primitive {
  return {
    signature: `${name}(x)`, doc, brackets: "none", args: ["x"],
    run: (call) => {
      const v = valueOf(call, "x");
      if (v.kind === "poison" || v.kind === "absent") return v;
      if (v.kind === "int" || v.kind === "float" || v.kind === "axis") {
        const n = numberOf(v);
        const out = n === undefined ? undefined : number(n);
        const whole = name === "int" || (v.kind !== "float" && (name === "abs" || name === "floor"));
        if (name === "int" && out === undefined) return int(dimVar("unknown"));
        return whole && out !== undefined && Number.isFinite(out) ? int(dimConst(out)) : float(out);
      }
      if (v.kind === "scalar" && scalarOp) return scalar(scalarOp(v.expr));
      return withNodes(call, ["x"], (make, [x]) => tensorOp(make, name === "abs" || name === "int" ? x : make.cast(x, "f32")));
    },
  };
}

const onFloat = (op: S.UnaryOp) => (x: S.ScalarExpr): S.ScalarExpr => S.unary(op, S.unary("to_f32", x));

/** `max(a, b)` on anything, `max[t](x)` over axes. */
function extreme(name: "max" | "min", doc: string): Primitive {
  return {
    signature: `${name}(a, b) or ${name}[axes](x)`, doc, brackets: "optional", args: ["a", "b?"],
    run: (call) => {
      const a = valueOf(call, "a");
      if (a.kind === "poison") return poison;
      if (call.expr.brackets) {
        const axes = bracketAxes(call);
        return withNodes(call, ["a"], (make, [x]) => (name === "max" ? make.amax(x, ...axes) : make.neg(make.amax(make.neg(x), ...axes))));
      }
      const b = valueOf(call, "b");
      if (b.kind === "poison") return poison;
      if (b.kind === "absent") return call.cx.report("E0209", `\`${name}\` needs two numbers, or an axis in brackets`, call.expr.span, { help: `write \`${name}[t](x)\` or \`${name}(a, b)\`` });
      if (isTensor(a) || isTensor(b)) return withNodes(call, ["a", "b"], (make, [x, y]) => make[name](x, y));
      if (a.kind === "scalar" || b.kind === "scalar") return scalarPair(call, a, b, (x, y) => S.binary(name, x, y));
      const [p, q] = [numberOf(a), numberOf(b)];
      const out = p === undefined || q === undefined ? undefined : Math[name](p, q);
      const whole = a.kind !== "float" && b.kind !== "float";
      if (whole) return int(out === undefined ? (a.kind === "int" ? a.dim : a.kind === "axis" ? a.size : dimConst(1)) : dimConst(out));
      return float(out);
    },
  };
}

function scalarPair(call: BuiltinCall, a: Value, b: Value, make: (x: S.ScalarExpr, y: S.ScalarExpr) => S.ScalarExpr): Value {
  let [x, y] = [toScalar(a), toScalar(b)];
  if (!x || !y || x.type === "bool" || y.type === "bool") return call.cx.report("E0219", `\`${call.name}\` needs numbers`, call.expr.span);
  if (x.type !== y.type) [x, y] = [S.unary("to_f32", x), S.unary("to_f32", y)];
  return scalar(make(x, y));
}

const bracketAxes = (call: BuiltinCall): string[] => (call.expr.brackets?.items ?? []).map((e) => bracketName(call, e)).filter((n) => n !== undefined);

function reduction(name: string, doc: string, op: (make: Make, x: NodeId, axes: readonly string[]) => NodeId): Primitive {
  return {
    signature: `${name}[axes](x)`, doc, brackets: "some", args: ["x"],
    run: (call) => {
      const axes = bracketAxes(call);
      const has = nodeOf(call, "x");
      if (has === undefined) return poison;
      // Composed functions look at the axis before any op does, so a missing one is found here.
      const missing = axes.find((a) => !axesOf(call.cx, has).some((x) => x.name === a));
      if (missing !== undefined) return missingAxis(call, missing, has);
      return withNodes(call, ["x"], (make, [x]) => op(make, make.type(x).dtype === "bool" || name !== "sum" ? make.cast(x, "f32") : x, axes));
    },
  };
}

function missingAxis(call: BuiltinCall, axis: string, node: NodeId, arg = "x"): Value {
  const names = axesOf(call.cx, node).map((a) => a.name);
  const at = call.args.get(arg)?.value.span ?? call.expr.span;
  const item = call.expr.brackets?.items.find((e) => bracketName(call, e) === axis);
  return call.cx.report("E0213", `${call.cx.quote(at, "this")} has no axis \`${axis}\``, at, {
    label: names.length === 0 ? "it has no axes" : `its axes are ${names.map((n) => `\`${n}\``).join(", ")}`,
    also: item ? [{ span: item.span, text: `\`${axis}\` is asked for here` }] : [], help: didYouMean(axis, names),
  });
}

export const primitives: Readonly<Record<string, Primitive>> = {
  dot: {
    signature: "dot[axes](a, b)", doc: "Multiplies and sums over the axes; other shared axes stay aligned.", brackets: "some", args: ["a", "b"],
    run: (call) => {
      const axes = bracketAxes(call);
      const stacked = stackedProduct(call, axes);
      if (stacked) return stacked;
      return withNodes(call, ["a", "b"], (make, [a, b]) => make.dot(make.cast(a, "f32"), make.cast(b, "f32"), ...axes));
    },
  },
  sum: reduction("sum", "Sum over the axes.", (m, x, axes) => m.sum(x, ...axes)),
  mean: reduction("mean", "Mean over the axes.", (m, x, axes) => m.mean(x, ...axes)),
  max: extreme("max", "The larger of two, or the largest along axes."),
  min: extreme("min", "The smaller of two, or the smallest along axes."),
  argmax: {
    signature: "argmax[axis](x)", doc: "Where the largest is, as a whole number; the first of equals.", brackets: "one", args: ["x"],
    run: (call) => withNodes(call, ["x"], (make, [x]) => make.argmax(x, bracketAxes(call)[0] ?? "")),
  },
  softmax: reduction("softmax", "Exponentials that sum to 1 along the axes.", (m, x, axes) => m.softmax(x, ...axes)),
  log_softmax: reduction("log_softmax", "Logarithm of `softmax`, without overflow.", (m, x, axes) => m.logSoftmax(x, ...axes)),
  exp: elementwise("exp", "e to the power x.", Math.exp, (m, x) => m.exp(x), onFloat("exp")),
  log: elementwise("log", "Natural logarithm.", Math.log, (m, x) => m.log(x), onFloat("log")),
  sqrt: elementwise("sqrt", "Square root.", Math.sqrt, (m, x) => m.sqrt(x), onFloat("sqrt")),
  rsqrt: elementwise("rsqrt", "1 / sqrt(x).", (x) => 1 / Math.sqrt(x), (m, x) => m.rsqrt(x), onFloat("rsqrt")),
  tanh: elementwise("tanh", "Hyperbolic tangent.", Math.tanh, (m, x) => m.tanh(x), onFloat("tanh")),
  sigmoid: elementwise("sigmoid", "1 / (1 + exp(-x)).", (x) => 1 / (1 + Math.exp(-x)), (m, x) => m.sigmoid(x), onFloat("sigmoid")),
  silu: elementwise("silu", "x * sigmoid(x).", (x) => x / (1 + Math.exp(-x)), (m, x) => m.silu(x), (x) => S.mul(S.unary("to_f32", x), S.unary("sigmoid", S.unary("to_f32", x)))),
  gelu: elementwise("gelu", "x times the normal distribution function, by its tanh form.", (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))), (m, x) => m.gelu(x)),
  relu: elementwise("relu", "max(x, 0).", (x) => Math.max(x, 0), (m, x) => m.relu(x), (x) => S.binary("max", S.unary("to_f32", x), S.f32(0))),
  softplus: elementwise("softplus", "log(1 + exp(x)), without overflow.", (x) => Math.log1p(Math.exp(x)), (m, x) => m.softplus(x)),
  square: elementwise("square", "x * x.", (x) => x * x, (m, x) => m.square(x), (x) => S.mul(x, x)),
  sin: elementwise("sin", "Sine.", Math.sin, (m, x) => m.sin(x), onFloat("sin")),
  cos: elementwise("cos", "Cosine.", Math.cos, (m, x) => m.cos(x), onFloat("cos")),
  abs: elementwise("abs", "Without sign.", Math.abs, (m, x) => m.abs(x), (x) => S.unary("abs", x)),
  floor: elementwise("floor", "The whole number below.", Math.floor, (m, x) => m.floor(x), onFloat("floor")),
  int: elementwise("int", "As a whole number, without its fraction.", Math.trunc, (m, x) => m.cast(x, "i32"), (x) => S.unary("to_i32", x.type === "bool" ? asWhole(x) : x)),
  float: elementwise("float", "As a float: true and false become 1 and 0.", (x) => x, (m, x) => m.cast(x, "f32"), (x) => S.unary("to_f32", x)),
  pow: {
    signature: "pow(x, y)", doc: "x to the power y; also `x ** y`.", brackets: "none", args: ["x", "y"],
    run: (call) => {
      const [a, b] = [valueOf(call, "x"), valueOf(call, "y")];
      if (a.kind === "poison" || b.kind === "poison") return poison;
      if (a.kind === "scalar" || b.kind === "scalar") return scalarPair(call, a, b, (x, y) => S.binary("pow", S.unary("to_f32", x), S.unary("to_f32", y)));
      const [x, y] = [numberOf(a), numberOf(b)];
      if (!isTensor(valueOf(call, "x")) && !isTensor(valueOf(call, "y"))) return float(x === undefined || y === undefined ? undefined : x ** y);
      return withNodes(call, ["x", "y"], (make, [a, b]) => make.pow(make.cast(a, "f32"), make.cast(b, "f32")));
    },
  },
  where: {
    signature: "where(condition, a, b)", doc: "Element by element: a where the condition holds, else b.", brackets: "none", args: ["condition", "a", "b"],
    run: (call) => {
      const c = valueOf(call, "condition");
      if (c.kind === "scalar" || c.kind === "mask") return scalarPair(call, valueOf(call, "a"), valueOf(call, "b"), (x, y) => S.select(c.expr, x, y));
      const { cx, env } = call;
      const nodes = ["condition", "a", "b"].map((n) => nodeOf(call, n));
      const [p, a, b] = nodes;
      if (p === undefined || a === undefined || b === undefined) return poison;
      const [x, y] = unify(cx, env, call.expr.span, [a, b]);
      return cx.emit(env, call.expr.span, (make) => make.select(p, x ?? a, y ?? b), (f) => refuse(cx, f, call.expr.span, argSpans(call)));
    },
  },
  split: {
    signature: "split[d -> h, e](x)", doc: "Takes one axis apart, the slowest part first. Sizes come from the axes in scope.", brackets: "arrow", args: ["x"],
    run: (call) => {
      const from = bracketAxes(call)[0];
      const into = (call.expr.brackets?.to ?? []).map((e) => bracketAxis(call, e));
      if (from === undefined || into.some((a) => a === undefined)) return poison;
      return withNodes(call, ["x"], (make, [x]) => make.split(x, from, into.filter((a) => a !== undefined)));
    },
  },
  merge: {
    signature: "merge[h, e -> d](x)", doc: "Puts axes together into one, the slowest first.", brackets: "arrow", args: ["x"],
    run: (call) => {
      const axes = bracketAxes(call);
      const into = (call.expr.brackets?.to ?? []).map((e) => bracketName(call, e))[0];
      if (into === undefined) return poison;
      return withNodes(call, ["x"], (make, [x]) => make.merge(x, axes, into));
    },
  },
  rename: {
    signature: "rename[a -> b](x)", doc: "Calls an axis by another name.", brackets: "arrow", args: ["x"],
    run: (call) => {
      const [from] = bracketAxes(call);
      const into = (call.expr.brackets?.to ?? []).map((e) => bracketName(call, e))[0];
      if (from === undefined || into === undefined) return poison;
      return withNodes(call, ["x"], (make, [x]) => make.rename(x, from, into));
    },
  },
  slice: {
    signature: "slice[axis](x, from: 0, size: n)", doc: "A part of an axis.", brackets: "one", args: ["x", "from", "size?"],
    run: (call) => {
      const axis = bracketAxes(call)[0] ?? "";
      const x = nodeOf(call, "x");
      const whole = x === undefined ? undefined : axesOf(call.cx, x).find((a) => a.name === axis);
      const start = sizeArg(call, "from");
      if (x === undefined || !start) return poison;
      if (!whole) return missingAxis(call, axis, x);
      const size = call.args.has("size") ? sizeArg(call, "size") : dimSub(whole.size, start);
      return size ? withNodes(call, ["x"], (make, [n]) => make.slice(n, axis, start, size)) : poison;
    },
  },
  concat: {
    signature: "concat[axis](a, b, …)", doc: "One after the other along an axis.", brackets: "one", args: ["*"],
    run: (call) => {
      const axis = bracketAxes(call)[0] ?? "";
      return withNodes(call, [...call.args.keys()], (make, nodes) => make.concat(axis, ...nodes));
    },
  },
  gather: {
    signature: "gather[axis](table, index)", doc: "Rows of a table by whole numbers; in a score, a number of a table, and the first or last one where the number lies outside.", brackets: "one", args: ["table", "index"],
    run: (call) => {
      const { pair } = call.cx;
      if (pair instanceof Map) return gatherInScore(call, pair);
      const axis = bracketAxes(call)[0] ?? "";
      return stackedLookUp(call, axis) ?? withNodes(call, ["table", "index"], (make, [t, i]) => make.gather(t, axis, i));
    },
  },
  one_hot: {
    signature: "one_hot(index, axis)", doc: "1 at the index along a new axis, 0 elsewhere.", brackets: "none", args: ["index", "axis"],
    run: (call) => {
      const axis = axisArg(call, "axis");
      return axis ? withNodes(call, ["index"], (make, [i]) => make.oneHot(i, axis)) : poison;
    },
  },
  iota: {
    signature: "iota(axis)", doc: "0, 1, 2, … along an axis, as whole numbers.", brackets: "none", args: ["axis"],
    run: (call) => {
      const axis = axisArg(call, "axis");
      return axis ? withNodes(call, [], (make) => make.iota(axis)) : poison;
    },
  },
  rope: {
    signature: "rope[axis](x, at: token.pos, base: 10000)", doc: "Rotary positions: turns pairs (i, i + n/2) of the axis by the position. Su et al. 2021.", brackets: "one", args: ["x", "at?", "base?"],
    run: (call) => {
      const { cx } = call;
      const axis = bracketAxes(call)[0] ?? "";
      let at = nodeOf(call, "at");
      if (!call.args.has("at") && cx.run) {
        if (cx.withoutTokens("a position", call.expr.callee.span)) return poison;
        cx.made.reads.add("pos");
        at = cx.run.leaves.attribute("query", "pos", cx.run.tokens);
      }
      const base = call.args.has("base") ? numberOf(valueOf(call, "base")) : 10000;
      const position = at;
      if (position === undefined) return poison;
      return withNodes(call, ["x"], (make, [x]) => make.rope(x, axis, make.cast(position, "f32"), base ?? 10000));
    },
  },
  attend: {
    signature: "attend[axis](q, k, v, over: t, mask: …, score: …, sink: …, scale: …)",
    doc: "Attention: every token of `over` looks at the tokens its mask lets it see. The axis in brackets is contracted between q and k.",
    brackets: "optional", args: ["q", "k", "v", "over", "mask?", "score?", "scale?", "keys?", "width?", "sink?", "heads?"], run: attendValue,
  },
  level: {
    signature: "level(process)", doc: "The noise level of each token: 0 is clean, 1 is noise alone.", brackets: "none", args: ["process"],
    run: (call) => {
      const v = valueOf(call, "process");
      const { cx, env } = call;
      if (v.kind === "poison") return poison;
      if (v.kind !== "process") return cx.report("E0202", `\`level\` needs a process, and this is ${describe(v)}`, call.expr.span);
      if (cx.withoutTokens("a noise level", call.expr.span)) return poison;
      return cx.emit(env, call.expr.span, () => cx.run?.leaves.level(v.name, cx.run.tokens) ?? poison, () => undefined);
    },
  },
  dropout: {
    signature: "dropout(x, p: 0.1)", doc: "In training, zeroes elements with probability p and scales the rest.", brackets: "none", args: ["x", "p"],
    run: (call) => {
      const { cx } = call;
      const p = numberOf(valueOf(call, "p"));
      if (p !== undefined && (p < 0 || p >= 1)) return cx.report("E0319", `a probability of ${p} cannot be dropped`, call.args.get("p")?.value.span ?? call.expr.span, { help: "give a number from 0 up to, and not including, 1" });
      const uniform = cx.run?.leaves.uniform;
      const x = nodeOf(call, "x");
      if (x === undefined || p === undefined || p === 0 || !uniform || !cx.run) return x === undefined ? poison : { kind: "tensor", node: x };
      const noise = uniform(cx.run.builder.type(x).axes, call.env.path);
      return withNodes(call, ["x"], (make, [n]) => make.select(make.op("le", [make.const(p), noise], {}), make.scale(n, 1 / (1 - p)), make.const(0)));
    },
  },
  same: {
    signature: "same(attribute)", doc: "Mask: query and key agree in an attribute (`same(doc)`).", brackets: "none", args: ["attribute"],
    run: (call) => {
      const { cx } = call;
      const v = valueOf(call, "attribute");
      if (v.kind === "poison") return poison;
      const at = call.args.get("attribute")?.value.span ?? call.expr.span;
      if (v.kind !== "attribute") return cx.report("E0202", `\`same\` needs a token attribute, and this is ${describe(v)}`, at, { help: "name one: `same(doc)`" });
      const [q, k] = [attributeOn(cx, "q", v.name), attributeOn(cx, "k", v.name)];
      return q && k ? { kind: "mask", expr: S.binary("eq", q, k), text: `same(${v.name})`, span: call.expr.span } : poison;
    },
  },
  ...listPrimitives,
  ...routedPrimitives,
  ...choicePrimitives,
  ...coupledPrimitives,
  ...balancePrimitives,
  ...noisePrimitives,
  normal: {
    signature: "normal(std: 0.02)", doc: "Initial value: normal numbers around 0.", brackets: "none", args: ["std"],
    run: (call) => {
      const std = numberOf(valueOf(call, "std"));
      return { kind: "init", init: { kind: "normal", std: std ?? 0.02 } };
    },
  },
  uniform: {
    signature: "uniform(low: -1.0, high: 1.0)", doc: "Initial value: uniform numbers.", brackets: "none", args: ["low", "high"],
    run: (call) => ({ kind: "init", init: { kind: "uniform", low: numberOf(valueOf(call, "low")) ?? -1, high: numberOf(valueOf(call, "high")) ?? 1 } }),
  },
};

function sizeArg(call: BuiltinCall, name: string): Dim | undefined {
  const v = valueOf(call, name);
  if (v.kind === "int") return v.dim;
  if (v.kind === "axis") return v.size;
  if (v.kind !== "poison") call.cx.report("E0202", `\`${name}\` is a whole number, and this is ${describe(v)}`, call.args.get(name)?.value.span ?? call.expr.span);
  return undefined;
}

function axisArg(call: BuiltinCall, name: string): { name: string; size: Dim } | undefined {
  const e = call.args.get(name)?.value;
  return e ? bracketAxis(call, e) : undefined;
}

const argSpans = (call: BuiltinCall): Span[] => [...call.args.values()].map((a) => a.value.span);

/** Names that are always there besides functions. */
export const constants: readonly (readonly [string, Value])[] = [
  ["zeros", { kind: "init", init: { kind: "zeros" } }],
  ["ones", { kind: "init", init: { kind: "ones" } }],
  ["token", { kind: "subject", side: "token" }],
  ["given", int(dimConst(0))],
  ["predicted", int(dimConst(1))],
  ["shared", { kind: "route", form: { kind: "shared" }, span: null }],
  ["pi", float(Math.PI)],
];

export function callBuiltin(cx: Context, name: string, expr: CallExpr, env: Env): Value {
  const p = primitives[name];
  if (!p) throw new Error(`no built-in function ${name}`);
  const help = `it is called as \`${p.signature}\``;
  const { brackets } = expr;
  const items = brackets?.items.length ?? 0;
  const bad =
    p.brackets === "none" ? (brackets ? "takes no brackets" : undefined)
    : p.brackets === "optional" ? (brackets?.to ? "takes no arrow" : undefined)
    : !brackets || items === 0 ? "needs an axis in brackets"
    : p.brackets === "arrow" ? (brackets.to && brackets.to.length > 0 ? undefined : "needs an arrow in its brackets")
    : brackets.to ? "takes no arrow"
    : p.brackets === "one" && items > 1 ? "takes one axis" : undefined;
  if (bad) return cx.report("E0226", `\`${name}\` ${bad}`, brackets?.span ?? expr.callee.span, { help });
  const callee = { name, signature: p.signature, declared: null };
  const wanted: Wanted[] = p.args[0] === "*"
    ? expr.args.map((_, i) => ({ name: `operand ${i + 1}`, kind: null, span: null }))
    : p.args.map((a) => ({ name: a.replace("?", ""), kind: null, optional: a.endsWith("?"), span: null }));
  if (p.named) for (const a of expr.args) if (a.name && !wanted.some((w) => w.name === a.name?.text)) wanted.push({ name: a.name.text, kind: null, optional: true, span: null });
  const before = cx.bag.size;
  const args = matchArguments(cx, callee, wanted, expr.args, expr.span);
  const call: BuiltinCall = { cx, env, expr, name, args, values: new Map() };
  if (cx.bag.size > before) {
    for (const a of args.keys()) valueOf(call, a);
    return poison;
  }
  const joined = joinsTokens(call);
  return joined === undefined ? p.run(call) : cx.report("E0265", `${cx.quote(expr.span, `\`${name}\``)} joins tokens of every branch`, joined, {
    label: "the axis of the tokens", help: "inside a routed layer tokens meet in attention alone, those of one branch; work along the tokens before or after it",
  });
}

/** The tokens' axis in the brackets of what is applied to some tokens alone. */
function joinsTokens({ cx, name, expr }: BuiltinCall): Span | undefined {
  if (name === "attend" || (cx.slots === null && (!cx.group || cx.group.every))) return undefined;
  return expr.brackets?.items.find((e) => e.kind === "name" && e.text === "t")?.span;
}

