// In: the statements of a kernel. Out: the names whose value differs between lanes of a workgroup, and the statements that
// need all lanes together but stand where some may be missing. Loads count as different: which buffers are read-only is
// only known once arenas are.

import type { ScalarExpr } from "../scalar/expr.ts";
import { children } from "../scalar/expr.ts";
import type { Stmt } from "./kernel.ts";

export function divergent(body: readonly Stmt[]): { readonly names: ReadonlySet<string>; readonly misplaced: readonly Stmt[] } {
  const names = new Set<string>();
  const varies = (e: ScalarExpr): boolean =>
    (e.kind === "builtin" && e.name.startsWith("lane.")) || (e.kind === "name" && names.has(e.name)) || children(e).some(varies);
  let misplaced: Stmt[] = [];
  const walk = (stmts: readonly Stmt[], apart: boolean): void => {
    for (const s of stmts) {
      switch (s.kind) {
        case "let": case "var": if (varies(s.value)) names.add(s.name); break;
        // A var set by some lanes only differs afterwards.
        case "assign": if (apart || varies(s.value)) names.add(s.name); break;
        case "load": names.add(s.name); break;
        case "aload":
          if (!s.uniform) names.add(s.name);
          else if (apart || varies(s.index)) misplaced.push(s);
          break;
        case "loop": {
          const ragged = varies(s.from) || varies(s.to);
          if (ragged) names.add(s.name);
          walk(s.body, apart || ragged);
          break;
        }
        case "if": {
          const split = apart || varies(s.cond);
          walk(s.then, split);
          walk(s.else ?? [], split);
          break;
        }
        case "barrier": case "lane_reduce": if (apart) misplaced.push(s); break;
        default: break;
      }
    }
  };
  for (let size = -1; size !== names.size; ) {
    size = names.size;
    misplaced = [];
    walk(body, false);
  }
  return { names, misplaced };
}
