// A builder of kernel statements, and the seam between fusion and the templates.
// Templates (product, attention, row, ...) know coordinates on named axes; fusion knows tensors. They meet in `PointFn` (the
// value at a point, emitting its loads) and `SinkFn` (what to do with a result at a point: epilogue maps, then stores).

import { scalarOf } from "../graph/tensor.ts";
import type { ScalarExpr, ScalarType } from "../scalar/expr.ts";
import { add, builtin, i32, mul, name as ref } from "../scalar/expr.ts";
import type { LocalArray, Operand, Stmt, StorageType } from "./kernel.ts";

/** Coordinates by axis name; i32 each. */
export type Point = Readonly<Record<string, ScalarExpr>>;

/** Emits what it needs into `b` and returns the value at the point. Pure but for loads: may be called many times. */
export type PointFn = (b: Body, at: Point) => ScalarExpr;

/** Consumes a finished value at a point (epilogue, then stores). */
export type SinkFn = (b: Body, at: Point, value: ScalarExpr) => void;

/** An axis of an iteration space; size is a constant or an expression over lengths. */
export interface SpaceAxis {
  readonly name: string;
  readonly size: ScalarExpr;
}

/** Operands and arrays of one kernel under construction, shared by all its nested bodies. */
export class KernelParts {
  readonly operands = new Map<string, Operand & { access: Operand["access"] }>();
  readonly arrays: LocalArray[] = [];
  /** operand name -> tensor name; operands are named after their tensor, made fit for identifiers. */
  readonly bind = new Map<string, string>();
  /** The body in which a name is bound; names of vars are in `mutable` as well. Lets fusion place loads outside loops. */
  readonly home = new Map<string, Body>();
  readonly mutable = new Set<string>();
  #next = 0;

  fresh(prefix: string): string {
    return `${prefix}_${this.#next++}`;
  }

  /** The operand through which this kernel touches `tensor`; access widens as uses are added. */
  operand(tensor: string, dtype: StorageType, size: ScalarExpr, access: "read" | "write" | "readwrite"): string {
    for (const [op, t] of this.bind) {
      const old = this.operands.get(op);
      if (t !== tensor || !old) continue;
      if (old.access !== access && old.access !== "readwrite") this.operands.set(op, { ...old, access: "readwrite" });
      return op;
    }
    const op = `b${this.bind.size}_${tensor.replace(/[^A-Za-z0-9]+/g, "_")}`;
    this.bind.set(op, tensor);
    this.operands.set(op, { name: op, dtype, size, access });
    return op;
  }

  array(prefix: string, dtype: ScalarType, size: number, space: LocalArray["space"]): string {
    const name = this.fresh(prefix);
    this.arrays.push({ name, dtype, size, space });
    return name;
  }
}

export class Body {
  readonly stmts: Stmt[] = [];
  readonly parts: KernelParts;
  /** The enclosing body, and the statement through which it is nested. A statement is appended after its body is
   *  filled, so what is emitted into the enclosing body meanwhile runs before it. */
  readonly parent: Body | undefined;
  readonly via: "loop" | "if" | undefined;

  constructor(parts: KernelParts, parent?: Body, via?: "loop" | "if") {
    this.parts = parts;
    this.parent = parent;
    this.via = via;
  }

  #bind(name: string): void {
    this.parts.home.set(name, this);
  }

  /** Name a value; constants and names are passed through. */
  let(value: ScalarExpr, prefix = "v"): ScalarExpr {
    if (value.kind === "const" || value.kind === "name" || value.kind === "length") return value;
    const n = this.parts.fresh(prefix);
    this.#bind(n);
    this.stmts.push({ kind: "let", name: n, value });
    return ref(n, value.type);
  }

  var(value: ScalarExpr, prefix = "acc"): ScalarExpr {
    const n = this.parts.fresh(prefix);
    this.#bind(n);
    this.parts.mutable.add(n);
    this.stmts.push({ kind: "var", name: n, value });
    return ref(n, value.type);
  }

  assign(target: ScalarExpr, value: ScalarExpr): void {
    if (target.kind !== "name") throw new Error("assign needs a var");
    this.stmts.push({ kind: "assign", name: target.name, value });
  }

  load(operand: string, index: ScalarExpr): ScalarExpr {
    const op = this.parts.operands.get(operand);
    if (!op) throw new Error(`no operand ${operand}`);
    const n = this.parts.fresh("x");
    this.#bind(n);
    this.stmts.push({ kind: "load", name: n, type: scalarOf(op.dtype), from: operand, index });
    return ref(n, scalarOf(op.dtype));
  }

  /** The element `index` of the operand that `which` counts to. */
  loadAmong(operands: readonly string[], which: ScalarExpr, index: ScalarExpr): ScalarExpr {
    const [from = "", ...or] = operands;
    const loaded = this.load(from, index);
    const s = this.stmts.pop();
    if (s?.kind === "load") this.stmts.push({ ...s, among: { or, which } });
    return loaded;
  }

  store(operand: string, index: ScalarExpr, value: ScalarExpr): void {
    this.stmts.push({ kind: "store", to: operand, index, value });
  }

  /** `uniform`: one index for all lanes, in uniform control flow; the value is uniform, too. */
  aload(array: string, index: ScalarExpr, uniform = false): ScalarExpr {
    const arr = this.parts.arrays.find((a) => a.name === array);
    if (!arr) throw new Error(`no array ${array}`);
    const n = this.parts.fresh("s");
    this.#bind(n);
    this.stmts.push({ kind: "aload", name: n, from: array, index, ...(uniform ? { uniform } : {}) });
    return ref(n, arr.dtype);
  }

  astore(array: string, index: ScalarExpr, value: ScalarExpr): void {
    this.stmts.push({ kind: "astore", to: array, index, value });
  }

  loop(from: ScalarExpr, to: ScalarExpr, step: number, fill: (b: Body, i: ScalarExpr) => void, unroll = false): void {
    const n = this.parts.fresh("i");
    const body = new Body(this.parts, this, "loop");
    body.#bind(n);
    fill(body, ref(n, "i32"));
    this.stmts.push({ kind: "loop", name: n, from, to, step, unroll, body: body.stmts });
  }

  if(cond: ScalarExpr, then: (b: Body) => void, otherwise?: (b: Body) => void): void {
    if (cond.kind === "const") {
      const taken = cond.value !== 0 ? then : otherwise;
      taken?.(this);
      return;
    }
    const t = new Body(this.parts, this, "if");
    then(t);
    if (!otherwise) {
      this.stmts.push({ kind: "if", cond, then: t.stmts });
      return;
    }
    const e = new Body(this.parts, this, "if");
    otherwise(e);
    this.stmts.push({ kind: "if", cond, then: t.stmts, else: e.stmts });
  }

  barrier(): void {
    this.stmts.push({ kind: "barrier" });
  }

  laneReduce(op: "sum" | "max" | "min", value: ScalarExpr, scratch: string): ScalarExpr {
    const n = this.parts.fresh("r");
    this.#bind(n);
    this.stmts.push({ kind: "lane_reduce", name: n, op, value, scratch });
    return ref(n, value.type);
  }
}

/** Row-major element index of a point in a space; axes of size 1 constants cost nothing. */
export function elementIndex(axes: readonly SpaceAxis[], at: Point): ScalarExpr {
  let index: ScalarExpr = i32(0);
  for (const axis of axes) {
    const c = at[axis.name];
    if (!c) throw new Error(`no coordinate for axis ${axis.name}`);
    index = add(mul(index, axis.size), c);
  }
  return index;
}

export const spaceSize = (axes: readonly SpaceAxis[]): ScalarExpr => axes.reduce((n, a) => mul(n, a.size), i32(1) as ScalarExpr);

/** The linear invocation index within the dispatch along x, for a 1-D workgroup. */
export const flatInvocation = (workgroup: number): ScalarExpr => add(mul(builtin("group.x"), i32(workgroup)), builtin("lane.x"));
