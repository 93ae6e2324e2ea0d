// In: kernels and programs. Out: text, one statement a line. `stmtText` is infix, for messages.

import { printExpr } from "../scalar/print.ts";
import type { Stmt } from "./kernel.ts";

/** One statement for people; nested statements are left out. */
export function stmtText(s: Stmt): string {
  switch (s.kind) {
    case "let": return `let ${s.name} = ${printExpr(s.value)}`;
    case "var": return `var ${s.name} = ${printExpr(s.value)}`;
    case "assign": return `${s.name} = ${printExpr(s.value)}`;
    case "load": case "aload": return `let ${s.name} = ${s.from}[${printExpr(s.index)}]`;
    case "store": case "astore": return `${s.to}[${printExpr(s.index)}] = ${printExpr(s.value)}`;
    case "loop": return `for ${s.name} = ${printExpr(s.from)} to ${printExpr(s.to)} step ${s.step}`;
    case "if": return `if ${printExpr(s.cond)}`;
    case "barrier": return "barrier";
    case "lane_reduce": return `let ${s.name} = lane_${s.op}(${printExpr(s.value)})`;
    case "comment": return `// ${s.text}`;
  }
}
