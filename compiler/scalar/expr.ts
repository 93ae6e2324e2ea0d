// In: numbers, names, other expressions. Out: `ScalarExpr`, the pure scalar language shared by masks, scores and kernels.
// Values only: no loads, no effects. i32 is the type of every index. Refuses mixed dtypes (a bug of the caller, so it throws).

export type ScalarType = "f32" | "i32" | "u32" | "bool";

/** Unary: cast ops keep value, `bits_*` keep bits. `floor` rounds to minus infinity. `to_f16` gives the f32 that f16 storage would keep (half.ts). */
export type UnaryOp =
  | "neg" | "abs" | "exp" | "log" | "sqrt" | "rsqrt" | "tanh" | "sigmoid" | "sin" | "cos" | "floor" | "not"
  | "to_f32" | "to_f16" | "to_i32" | "to_u32" | "bits_f32" | "bits_u32";

/** Binary: `div` and `mod` on i32 truncate and are used on non-negative values only; `mulhi` is the high 32 bits of a u32 product. */
export type BinaryOp =
  | "add" | "sub" | "mul" | "div" | "mod" | "min" | "max" | "pow"
  | "eq" | "ne" | "lt" | "le" | "and" | "or" | "xor" | "shl" | "shr" | "mulhi";

export type Builtin = "group.x" | "group.y" | "group.z" | "lane.x" | "lane.y" | "lane.z";

export type ScalarExpr =
  | { readonly kind: "const"; readonly type: ScalarType; readonly value: number }
  /** A name bound by a statement (let, var, loop, load) or by the host language of the expression. */
  | { readonly kind: "name"; readonly type: ScalarType; readonly name: string }
  /** A run-time length such as `batch` or `t`; always i32 and at least 0. */
  | { readonly kind: "length"; readonly type: "i32"; readonly name: string }
  /** workgroup id and local invocation id; i32. */
  | { readonly kind: "builtin"; readonly type: "i32"; readonly name: Builtin }
  /** A token attribute of the query or the key (`q.pos`); replaced by names before a kernel is made. */
  | { readonly kind: "attr"; readonly type: ScalarType; readonly side: "q" | "k"; readonly name: string }
  | { readonly kind: "unary"; readonly type: ScalarType; readonly op: UnaryOp; readonly a: ScalarExpr }
  | { readonly kind: "binary"; readonly type: ScalarType; readonly op: BinaryOp; readonly a: ScalarExpr; readonly b: ScalarExpr }
  | { readonly kind: "select"; readonly type: ScalarType; readonly cond: ScalarExpr; readonly a: ScalarExpr; readonly b: ScalarExpr };

export const f32 = (value: number): ScalarExpr => ({ kind: "const", type: "f32", value });
export const i32 = (value: number): ScalarExpr => ({ kind: "const", type: "i32", value });
export const u32 = (value: number): ScalarExpr => ({ kind: "const", type: "u32", value: value >>> 0 });
export const bool = (value: boolean): ScalarExpr => ({ kind: "const", type: "bool", value: value ? 1 : 0 });
export const name = (n: string, type: ScalarType): ScalarExpr => ({ kind: "name", type, name: n });
export const length = (n: string): ScalarExpr => ({ kind: "length", type: "i32", name: n });
export const builtin = (n: Builtin): ScalarExpr => ({ kind: "builtin", type: "i32", name: n });
export const attr = (side: "q" | "k", n: string, type: ScalarType = "i32"): ScalarExpr => ({ kind: "attr", type, side, name: n });

const castType: Partial<Record<UnaryOp, ScalarType>> = {
  to_f32: "f32", to_f16: "f32", to_i32: "i32", to_u32: "u32", bits_f32: "f32", bits_u32: "u32",
};

export function unary(op: UnaryOp, a: ScalarExpr): ScalarExpr {
  const type = castType[op] ?? a.type;
  if (op === "to_i32" && a.type === "i32") return a;
  if (op === "to_f32" && a.type === "f32") return a;
  if (a.kind === "const") {
    if (op === "neg" && type === "f32") return { kind: "const", type, value: -a.value };
    // Folded to the end: WGSL refuses a constant that overflows, and the least i32 is its own negative.
    if (type === "i32" && (op === "neg" || (op === "abs" && a.type === "i32"))) return i32((op === "neg" ? -a.value : Math.abs(a.value)) | 0);
    if (op === "to_f32" && a.type === "i32") return f32(a.value);
    if (op === "not" && type === "bool") return bool(a.value === 0);
  }
  return { kind: "unary", type, op, a };
}

const comparisons = new Set<BinaryOp>(["eq", "ne", "lt", "le"]);

/** Builds `a op b`; folds i32 constants and the identities that hold for every value (never `x * 0` on f32). */
export function binary(op: BinaryOp, a: ScalarExpr, b: ScalarExpr): ScalarExpr {
  if (a.type !== b.type) throw new Error(`scalar ${op}: ${a.type} and ${b.type} do not mix`);
  const type: ScalarType = comparisons.has(op) ? "bool" : a.type;
  const ca = a.kind === "const" ? a.value : undefined;
  const cb = b.kind === "const" ? b.value : undefined;
  if (a.type === "i32") {
    if (ca !== undefined && cb !== undefined) {
      const folded = foldInt(op, ca, cb);
      if (folded !== undefined) return type === "bool" ? bool(folded !== 0) : i32(folded);
    }
    if (op === "add" && ca === 0) return b;
    if ((op === "add" || op === "sub") && cb === 0) return a;
    if (op === "mul" && (ca === 0 || cb === 0)) return i32(0);
    if (op === "mul" && ca === 1) return b;
    if ((op === "mul" || op === "div") && cb === 1) return a;
    if (op === "mod" && cb === 1) return i32(0);
    // What scalar/eval.ts says of a zero below; WGSL refuses it where it can see it.
    if (op === "div" && cb === 0) return a;
    if (op === "mod" && cb === 0) return i32(0);
  }
  if (a.type === "bool" && type === "bool") {
    if (op === "and") {
      if (ca === 1) return b;
      if (cb === 1) return a;
      if (ca === 0 || cb === 0) return bool(false);
    }
    if (op === "or") {
      if (ca === 0) return b;
      if (cb === 0) return a;
      if (ca === 1 || cb === 1) return bool(true);
    }
  }
  return { kind: "binary", type, op, a, b };
}

function foldInt(op: BinaryOp, a: number, b: number): number | undefined {
  switch (op) {
    case "add": return (a + b) | 0;
    case "sub": return (a - b) | 0;
    case "mul": return Math.imul(a, b);
    case "div": return b === 0 ? a : Math.trunc(a / b) | 0;
    case "mod": return b === 0 ? 0 : (a % b) | 0;
    case "min": return Math.min(a, b);
    case "max": return Math.max(a, b);
    case "eq": return a === b ? 1 : 0;
    case "ne": return a !== b ? 1 : 0;
    case "lt": return a < b ? 1 : 0;
    case "le": return a <= b ? 1 : 0;
    default: return undefined;
  }
}

export const select = (cond: ScalarExpr, a: ScalarExpr, b: ScalarExpr): ScalarExpr =>
  cond.kind === "const" ? (cond.value !== 0 ? a : b) : { kind: "select", type: a.type, cond, a, b };

export const add = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("add", a, b);
export const sub = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("sub", a, b);
export const mul = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("mul", a, b);
export const div = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("div", a, b);
export const mod = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("mod", a, b);
export const lt = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("lt", a, b);
export const and = (a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary("and", a, b);

/** Children of an expression, in order. */
export function children(e: ScalarExpr): readonly ScalarExpr[] {
  switch (e.kind) {
    case "unary": return [e.a];
    case "binary": return [e.a, e.b];
    case "select": return [e.cond, e.a, e.b];
    default: return [];
  }
}

/** Rebuild bottom-up; `f` may replace a leaf or a rebuilt node by returning something else. */
export function mapExpr(e: ScalarExpr, f: (e: ScalarExpr) => ScalarExpr): ScalarExpr {
  switch (e.kind) {
    case "unary": return f(unary(e.op, mapExpr(e.a, f)));
    case "binary": return f(binary(e.op, mapExpr(e.a, f), mapExpr(e.b, f)));
    case "select": return f(select(mapExpr(e.cond, f), mapExpr(e.a, f), mapExpr(e.b, f)));
    default: return f(e);
  }
}
