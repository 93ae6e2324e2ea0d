// In: a kernel. Out: the same with the loops marked `unroll` and a constant trip count written out, and with private
// arrays that are then only touched at constant places turned into vars. Registers, not memory: software adapters and
// some drivers keep a private array in memory even when every index is constant.

import type { ScalarExpr } from "../scalar/expr.ts";
import { i32, name as ref } from "../scalar/expr.ts";
import type { Kernel, LocalArray, Stmt } from "./kernel.ts";
import { copyStmts, eachStmt } from "./walk.ts";

/** Unrolls what is marked, then scalarises private arrays. */
export function unrollKernel(kernel: Kernel): Kernel {
  return scalarise({ ...kernel, body: unrollStmts(kernel.body) });
}

function unrollStmts(stmts: readonly Stmt[]): Stmt[] {
  return stmts.flatMap((s): Stmt[] => {
    if (s.kind === "if") {
      const then = unrollStmts(s.then);
      if (s.cond.kind === "const") return s.cond.value !== 0 ? then : unrollStmts(s.else ?? []);
      return [s.else ? { ...s, then, else: unrollStmts(s.else) } : { ...s, then }];
    }
    if (s.kind !== "loop") return [s];
    const { from, to } = s;
    if (!s.unroll || from.kind !== "const" || to.kind !== "const") return [{ ...s, body: unrollStmts(s.body) }];
    const out: Stmt[] = [];
    for (let v = from.value, k = 0; v < to.value; v += s.step, k++)
      out.push(...unrollStmts(copyStmts(s.body, (n) => `${n}u${k}`, new Map([[s.name, i32(v)]]))));
    return out;
  });
}

function scalarise(kernel: Kernel): Kernel {
  const fixed = new Set(kernel.arrays.filter((a) => a.space === "private").map((a) => a.name));
  eachStmt(kernel.body, (s) => {
    if (s.kind !== "aload" && s.kind !== "astore") return;
    const array = s.kind === "aload" ? s.from : s.to;
    const size = kernel.arrays.find((a) => a.name === array)?.size ?? 0;
    if (s.index.kind !== "const" || s.index.value < 0 || s.index.value >= size) fixed.delete(array);
  });
  if (fixed.size === 0) return kernel;
  const cell = (array: string, index: ScalarExpr): string => `${array}c${index.kind === "const" ? index.value : 0}`;
  const types = new Map(kernel.arrays.map((a) => [a.name, a.dtype]));
  const used = new Map<string, LocalArray["dtype"]>();
  const each = (s: Stmt): Stmt => {
    switch (s.kind) {
      case "aload": {
        const type = types.get(s.from);
        if (!fixed.has(s.from) || !type) return s;
        used.set(cell(s.from, s.index), type);
        return { kind: "let", name: s.name, value: ref(cell(s.from, s.index), type) };
      }
      case "astore": {
        const type = types.get(s.to);
        if (!fixed.has(s.to) || !type) return s;
        used.set(cell(s.to, s.index), type);
        return { kind: "assign", name: cell(s.to, s.index), value: s.value };
      }
      case "loop": return { ...s, body: s.body.map(each) };
      case "if": return s.else ? { ...s, then: s.then.map(each), else: s.else.map(each) } : { ...s, then: s.then.map(each) };
      default: return s;
    }
  };
  const body = kernel.body.map(each);
  const vars: Stmt[] = [...used].map(([n, type]) => ({ kind: "var", name: n, value: { kind: "const", type, value: 0 } }));
  return { ...kernel, arrays: kernel.arrays.filter((a) => !fixed.has(a.name)), body: [...vars, ...body] };
}
