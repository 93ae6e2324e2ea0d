// In: an expression. Out: an equal one, smaller or the same. Every rule holds for every value of its type, up to the sign of a
// float zero; rules that would need finite floats are not here.

import { evalBinary, evalUnary } from "./eval.ts";
import type { ScalarExpr, ScalarType } from "./expr.ts";
import { binary, bool, mapExpr, select, unary } from "./expr.ts";
import { exprText } from "./print.ts";

const same = (a: ScalarExpr, b: ScalarExpr): boolean => a === b || exprText(a) === exprText(b);
const constant = (e: ScalarExpr): number | undefined => (e.kind === "const" ? e.value : undefined);
const literal = (type: ScalarType, value: number): ScalarExpr => ({ kind: "const", type, value });

interface ScalarRule {
  readonly name: string;
  readonly apply: (e: ScalarExpr) => ScalarExpr | undefined;
}

type Unary = Extract<ScalarExpr, { kind: "unary" }>;
type Binary = Extract<ScalarExpr, { kind: "binary" }>;
const onUnary = (f: (e: Unary) => ScalarExpr | undefined) => (e: ScalarExpr): ScalarExpr | undefined => (e.kind === "unary" ? f(e) : undefined);
const onBinary = (f: (e: Binary) => ScalarExpr | undefined) => (e: ScalarExpr): ScalarExpr | undefined => (e.kind === "binary" ? f(e) : undefined);

/** Operands of a chain of one logical op, left to right. */
function chain(e: ScalarExpr, op: "and" | "or"): ScalarExpr[] {
  return e.kind === "binary" && e.type === "bool" && e.op === op ? [...chain(e.a, op), ...chain(e.b, op)] : [e];
}

/** The opposite of a predicate, when it is no larger; ordering of floats has none because of NaN. */
function opposite(e: ScalarExpr): ScalarExpr | undefined {
  if (e.kind === "const") return bool(e.value === 0);
  if (e.kind === "unary" && e.op === "not") return e.a;
  if (e.kind !== "binary") return undefined;
  if (e.op === "eq") return binary("ne", e.a, e.b);
  if (e.op === "ne") return binary("eq", e.a, e.b);
  if (e.a.type === "f32") return undefined;
  if (e.op === "lt") return binary("le", e.b, e.a);
  return e.op === "le" ? binary("lt", e.b, e.a) : undefined;
}

export const scalarRules: readonly ScalarRule[] = [
  {
    name: "fold_constants",
    apply: (e) => {
      if (e.kind === "unary") {
        const a = constant(e.a);
        const v = a === undefined ? NaN : evalUnary(e.op, e.a.type, a);
        return Number.isFinite(v) ? literal(e.type, v) : undefined;
      }
      if (e.kind === "binary") {
        const [a, b] = [constant(e.a), constant(e.b)];
        const v = a === undefined || b === undefined ? NaN : evalBinary(e.op, e.a.type, a, b);
        return Number.isFinite(v) ? literal(e.type, v) : undefined;
      }
      return e.kind === "select" && e.cond.kind === "const" ? (e.cond.value !== 0 ? e.a : e.b) : undefined;
    },
  },
  { name: "not", apply: onUnary((e) => (e.op === "not" && e.type === "bool" ? opposite(e.a) : undefined)) },
  { name: "neg_of_neg", apply: onUnary((e) => (e.op === "neg" && e.a.kind === "unary" && e.a.op === "neg" ? e.a.a : undefined)) },
  {
    name: "float_identity",
    apply: onBinary((e) => {
      if (e.type !== "f32" || e.a.type !== "f32") return undefined;
      const [a, b] = [constant(e.a), constant(e.b)];
      if (e.op === "add") return a === 0 ? e.b : b === 0 ? e.a : undefined;
      if (e.op === "sub") return b === 0 ? e.a : undefined;
      if (e.op === "mul") return a === 1 ? e.b : b === 1 ? e.a : undefined;
      return e.op === "div" && b === 1 ? e.a : undefined;
    }),
  },
  {
    name: "same_operands",
    apply: onBinary((e) => {
      if (!same(e.a, e.b)) return undefined;
      if (e.op === "min" || e.op === "max" || e.op === "and" || e.op === "or") return e.a;
      if (e.a.type === "f32") return undefined;
      if (e.op === "eq" || e.op === "le") return bool(true);
      if (e.op === "ne" || e.op === "lt") return bool(false);
      return e.op === "sub" || e.op === "xor" ? literal(e.type, 0) : undefined;
    }),
  },
  {
    name: "sum_of_constants", // (x + c1) + c2: integers wrap, so their order does not matter
    apply: onBinary((e) => {
      const c = constant(e.b);
      if (e.type !== "i32" || c === undefined || (e.op !== "add" && e.op !== "sub") || e.a.kind !== "binary") return undefined;
      const inner = constant(e.a.b);
      if (inner === undefined || (e.a.op !== "add" && e.a.op !== "sub")) return undefined;
      const total = ((e.a.op === "add" ? inner : -inner) + (e.op === "add" ? c : -c)) | 0;
      return binary("add", e.a.a, literal("i32", total));
    }),
  },
  {
    name: "logic_chain", // drops what occurs twice; x & !x is false, x | !x is true
    apply: onBinary((e) => {
      if (e.type !== "bool" || (e.op !== "and" && e.op !== "or")) return undefined;
      const { op } = e;
      const parts = chain(e, op);
      const texts = parts.map(exprText);
      const unique = parts.filter((_, i) => texts.indexOf(texts[i] ?? "") === i);
      const clash = unique.some((p) => { const o = opposite(p); return o !== undefined && texts.includes(exprText(o)); });
      if (clash) return bool(op === "or");
      // x & (x | y) is x, and the other way round
      const other = op === "and" ? "or" : "and";
      const kept = unique.filter((p) => !chain(p, other).some((q) => !same(p, q) && texts.includes(exprText(q))));
      if (kept.length === parts.length) return undefined;
      return kept.slice(1).reduce((a, b) => binary(op, a, b), kept[0] ?? bool(op === "and"));
    }),
  },
  {
    name: "select",
    apply: (e) => {
      if (e.kind !== "select") return undefined;
      if (same(e.a, e.b)) return e.a;
      if (e.cond.kind === "unary" && e.cond.op === "not") return select(e.cond.a, e.b, e.a);
      if (e.type !== "bool") return undefined;
      const [a, b] = [constant(e.a), constant(e.b)];
      if (a === 1 && b === 0) return e.cond;
      return a === 0 && b === 1 ? unary("not", e.cond) : undefined;
    },
  },
];

function step(e: ScalarExpr): ScalarExpr {
  for (const r of scalarRules) {
    const out = r.apply(e);
    if (out !== undefined) return simplify(out);
  }
  return e;
}

/** Simplifies bottom up until no rule applies. */
export const simplify = (e: ScalarExpr): ScalarExpr => mapExpr(e, step);
