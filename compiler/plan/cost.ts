// In: a program. Out: dispatch count, an estimate of the floating-point operations and of the bytes moved, over the lengths.
// Bytes: each operand once a dispatch, in full. Operations: f32 arithmetic times the trips of the loops around it; a loop
// whose bounds are not sizes counts its body once. Estimates for people and tuners; nothing is decided by them.

import type { ScalarExpr } from "../scalar/expr.ts";
import { add, binary, children, div, i32, mapExpr, mul, sub } from "../scalar/expr.ts";
import type { Kernel, Program, ProgramStep, Stmt } from "../kernel/kernel.ts";
import { exprsOf } from "../kernel/walk.ts";
import type { IntExpr } from "./expr.ts";
import type { Plan } from "./plan.ts";
import { elementBytes } from "./plan.ts";
import { intBinary, intSum, toIntExpr } from "./sizes.ts";

export function planCost(program: Program): Plan["cost"] {
  let dispatches = 0;
  const flops = new Sums();
  const bytes = new Sums();
  /** The number of a repeat's turn is no length of the plan: its first turn, the longest, stands for all. */
  const turns = new Set<string>();
  const cost = (e: ScalarExpr): IntExpr => toIntExpr(mapExpr(e, (x) => (x.kind === "length" && turns.has(x.name) ? i32(0) : x)));
  const each = (steps: readonly ProgramStep[], times: IntExpr): void => {
    for (const s of steps) {
      if (s.kind === "repeat") {
        turns.add(s.name);
        each(s.steps, intBinary("*", times, cost(s.count)));
        turns.delete(s.name);
        continue;
      }
      dispatches++;
      const { kernel } = s.dispatch;
      flops.add(intBinary("*", times, cost(kernelFlops(kernel))));
      const size = kernel.operands.reduce((n, op) => add(n, mul(op.size, i32((op.access === "readwrite" ? 2 : 1) * elementBytes(op.dtype)))), i32(0) as ScalarExpr);
      bytes.add(intBinary("*", times, cost(size)));
    }
  };
  each(program.steps, 1);
  return { dispatches, flops: flops.total(), bytesMoved: bytes.total() };
}

/** A sum in which equal terms are counted instead of repeated: layers are alike. */
class Sums {
  readonly #terms = new Map<string, { e: IntExpr; n: number }>();

  add(e: IntExpr): void {
    const key = JSON.stringify(e);
    const old = this.#terms.get(key);
    if (old) old.n++;
    else this.#terms.set(key, { e, n: 1 });
  }

  total(): IntExpr {
    return intSum([...this.#terms.values()].map(({ e, n }) => intBinary("*", n, e)));
  }
}

/** Floating-point operations of one dispatch, over lengths. */
export function kernelFlops(kernel: Kernel): ScalarExpr {
  const [x, y, z] = kernel.workgroup;
  const groups = mul(mul(kernel.grid[0], kernel.grid[1]), kernel.grid[2]);
  return mul(mul(groups, i32(x * y * z)), bodyFlops(kernel.body));
}

function bodyFlops(stmts: readonly Stmt[]): ScalarExpr {
  let here = 0;
  let nested: ScalarExpr = i32(0);
  for (const s of stmts) {
    for (const e of exprsOf(s)) here += exprFlops(e);
    if (s.kind === "loop") nested = add(nested, mul(trips(s), bodyFlops(s.body)));
    if (s.kind === "if") nested = add(nested, binary("max", bodyFlops(s.then), bodyFlops(s.else ?? [])));
  }
  return add(i32(here), nested);
}

function exprFlops(e: ScalarExpr): number {
  const own = (e.kind === "unary" || e.kind === "binary") && e.a.type === "f32" ? 1 : 0;
  return children(e).reduce((n, c) => n + exprFlops(c), own);
}

function trips(s: Stmt & { kind: "loop" }): ScalarExpr {
  if (!isSize(s.from) || !isSize(s.to)) return i32(1);
  const span = sub(s.to, s.from);
  return s.step === 1 ? span : div(add(span, i32(s.step - 1)), i32(s.step));
}

function isSize(e: ScalarExpr): boolean {
  if (e.kind === "const" || e.kind === "length") return true;
  return e.kind === "binary" && ["add", "sub", "mul", "div", "mod", "min", "max"].includes(e.op) && children(e).every(isSize);
}
