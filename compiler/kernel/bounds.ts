// In: a kernel. Out: the accesses that are not proven to lie inside their operand or array. A kernel without such accesses
// may run with the device's own bounds checks switched off. Knows: lengths are at least 0, invocation and workgroup ids stay
// below their counts, loops below their ends, guards of enclosing ifs hold, x = (x / c) * c + x % c.
// A loaded index has no bounds: builders clamp it, or keep it under a guard.

import type { ScalarExpr } from "../scalar/expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";
import { expandLaneReduce } from "./lane_reduce.ts";
import type { Poly } from "./polynomial.ts";
import { TooLarge, constant, plus, polyText } from "./polynomial.ts";
import { stmtText } from "./print.ts";
import type { Guard } from "./symbolic.ts";
import { Symbolic } from "./symbolic.ts";
import { eachStmt, loadedFrom } from "./walk.ts";

export interface Unproven {
  readonly statement: string;
  /** Operand or array. */
  readonly place: string;
  readonly bound: "below" | "above";
  /** What could not be shown to be at least 0. */
  readonly goal: string;
}

/** True when every access of the kernel is proven in bounds. */
export const kernelProven = (kernel: Kernel): boolean => unprovenAccesses(kernel, 1).length === 0;

/** Accesses without a proof, at most `most`. */
export function unprovenAccesses(kernel: Kernel, most = Number.POSITIVE_INFINITY): Unproven[] {
  try {
    const check = new BoundsCheck(expandLaneReduce(kernel), most);
    check.run();
    return check.unproven;
  } catch (e) {
    if (!(e instanceof TooLarge)) throw e;
    return [{ statement: "the whole kernel", place: "everything", bound: "above", goal: "its sizes, whose numbers are too large to reckon with," }];
  }
}

/** For people. */
export const unprovenText = (u: Unproven): string => `\`${u.statement}\`: ${u.place} may be passed ${u.bound}; could not show ${u.goal} >= 0`;

class BoundsCheck {
  readonly unproven: Unproven[] = [];
  readonly #kernel: Kernel;
  readonly #most: number;
  readonly #symbolic: Symbolic;
  readonly #proved = new Map<string, boolean>();
  #opaque = 0;

  constructor(kernel: Kernel, most: number) {
    this.#kernel = kernel;
    this.#most = most;
    this.#symbolic = new Symbolic(kernel);
  }

  run(): void {
    this.#block(this.#kernel.body);
  }

  #access(s: Stmt, place: string, index: ScalarExpr, size: Poly): void {
    const sym = this.#symbolic;
    const at = sym.poly(index);
    const goals = [["below", at], ["above", plus(plus(size, at, -1), constant(-1))]] as const;
    for (const [bound, goal] of goals) {
      const key = `${sym.scope}:${polyText(goal)}`;
      let ok = this.#proved.get(key);
      if (ok === undefined) this.#proved.set(key, (ok = sym.prove(goal)));
      if (!ok) this.unproven.push({ statement: stmtText(s), place, bound, goal: polyText(goal) });
    }
  }

  /** Vars that the statements assign have an unknown value from here on. */
  #forget(stmts: readonly Stmt[]): void {
    eachStmt(stmts, (s) => {
      if (s.kind === "assign") this.#symbolic.bindOpaque(s.name, `${s.name}'${this.#opaque++}`);
    });
  }

  #block(stmts: readonly Stmt[]): void {
    for (const s of stmts) {
      if (this.unproven.length >= this.#most) return;
      this.#stmt(s);
    }
  }

  #stmt(s: Stmt): void {
    const sym = this.#symbolic;
    switch (s.kind) {
      case "let": case "var": case "assign": sym.bind(s.name, s.value); break;
      case "load":
        for (const o of loadedFrom(s)) this.#access(s, o, s.index, sym.operandSize(o));
        sym.bindOpaque(s.name, s.name);
        break;
      case "store": this.#access(s, s.to, s.index, sym.operandSize(s.to)); break;
      case "aload":
        this.#access(s, s.from, s.index, sym.arraySize(s.from));
        sym.bindOpaque(s.name, s.name);
        break;
      case "astore": this.#access(s, s.to, s.index, sym.arraySize(s.to)); break;
      case "loop": {
        this.#forget(s.body);
        const facts = sym.bindLoop(s);
        sym.within(facts, () => this.#block(s.body));
        this.#forget(s.body);
        break;
      }
      case "if": {
        const guard: Guard = sym.guard(s.cond);
        sym.within(guard.holds, () => this.#block(s.then));
        // The branches see the same vars: forget what the first assigned before the second, and both afterwards.
        this.#forget(s.then);
        if (s.else) {
          const other = s.else;
          sym.within(guard.fails, () => this.#block(other));
          this.#forget(other);
        }
        break;
      }
      default: break;
    }
  }
}
