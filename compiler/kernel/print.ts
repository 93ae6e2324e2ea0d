// In: kernels and programs. Out: text, one statement a line, that kernel/read.ts reads back to the same data.
// Expressions are in the canonical prefix form of scalar/print.ts; `stmtText` is infix, for messages.

import { exprText, nameText, printExpr } from "../scalar/print.ts";
import type { Dispatch, Kernel, Program, ProgramStep, Stmt } from "./kernel.ts";

/** One statement for people; nested statements are left out. */
export function stmtText(s: Stmt): string {
  switch (s.kind) {
    case "let": return `let ${s.name} = ${printExpr(s.value)}`;
    case "var": return `var ${s.name} = ${printExpr(s.value)}`;
    case "assign": return `${s.name} = ${printExpr(s.value)}`;
    case "load": return `let ${s.name} = ${s.among ? `(${[s.from, ...s.among.or].join(", ")}).${printExpr(s.among.which)}` : s.from}[${printExpr(s.index)}]`;
    case "aload": return `let ${s.name} = ${s.from}[${printExpr(s.index)}]`;
    case "store": case "astore": return `${s.to}[${printExpr(s.index)}] = ${printExpr(s.value)}`;
    case "loop": return `for ${s.name} = ${printExpr(s.from)} to ${printExpr(s.to)} step ${s.step}`;
    case "if": return `if ${printExpr(s.cond)}`;
    case "barrier": return "barrier";
    case "lane_reduce": return `let ${s.name} = lane_${s.op}(${printExpr(s.value)})`;
    case "comment": return `// ${s.text}`;
  }
}

/** A kernel as text. */
export const printKernel = (kernel: Kernel): string => kernelLines(kernel, "").join("\n") + "\n";

/** A program with all its kernels as text. */
export function printProgram(program: Program): string {
  const out = [`program ${nameText(program.name)}`, ...program.lengths.map((n) => `length ${nameText(n)}`)];
  for (const t of program.tensors)
    out.push(`tensor ${nameText(t.name)} ${t.dtype} ${t.kind} ${exprText(t.size)}${t.axes.map((a) => ` ${nameText(a.name)} ${exprText(a.size)}`).join("")}`);
  for (const [name, tensor] of Object.entries(program.outputs)) out.push(`output ${nameText(name)} ${nameText(tensor)}`);
  for (const s of program.steps) out.push(...stepLines(s, ""));
  return out.join("\n") + "\n";
}

function stepLines(s: ProgramStep, pad: string): string[] {
  if (s.kind === "dispatch") return dispatchLines(s.dispatch, pad);
  return [`${pad}repeat ${nameText(s.name)} ${exprText(s.count)} {`, ...s.steps.flatMap((x) => stepLines(x, `${pad}  `)), `${pad}}`];
}

function dispatchLines(d: Dispatch, pad: string): string[] {
  const bind = Object.entries(d.bind).map(([op, tensor]) => `${pad}  bind ${nameText(op)} ${nameText(tensor)}`);
  return [`${pad}dispatch {`, ...bind, ...kernelLines(d.kernel, `${pad}  `), `${pad}}`];
}

function kernelLines(k: Kernel, pad: string): string[] {
  const inner = `${pad}  `;
  return [
    `${pad}kernel ${nameText(k.name)} {`,
    ...k.lengths.map((n) => `${inner}length ${nameText(n)}`),
    `${inner}workgroup ${k.workgroup.join(" ")}`,
    `${inner}grid ${k.grid.map(exprText).join(" ")}`,
    ...k.operands.map((o) => `${inner}operand ${nameText(o.name)} ${o.dtype} ${o.access} ${exprText(o.size)}`),
    ...k.arrays.map((a) => `${inner}array ${nameText(a.name)} ${a.dtype} ${a.size} ${a.space}`),
    ...k.origins.map((o) => `${inner}origin ${JSON.stringify(o)}`),
    ...bodyLines(k.body, inner),
    `${pad}}`,
  ];
}

function bodyLines(stmts: readonly Stmt[], pad: string): string[] {
  return stmts.flatMap((s) => stmtLines(s, pad));
}

function stmtLines(s: Stmt, pad: string): string[] {
  switch (s.kind) {
    case "let": return [`${pad}let ${nameText(s.name)} ${exprText(s.value)}`];
    case "var": return [`${pad}var ${nameText(s.name)} ${exprText(s.value)}`];
    case "assign": return [`${pad}set ${nameText(s.name)} ${exprText(s.value)}`];
    case "load": {
      const among = s.among ? ` among ${exprText(s.among.which)} ${s.among.or.map(nameText).join(" ")}` : "";
      return [`${pad}load ${nameText(s.name)} ${s.type} ${nameText(s.from)} ${exprText(s.index)}${among}`];
    }
    case "store": return [`${pad}store ${nameText(s.to)} ${exprText(s.index)} ${exprText(s.value)}`];
    case "aload": return [`${pad}aload ${nameText(s.name)} ${nameText(s.from)} ${exprText(s.index)}${s.uniform ? " uniform" : ""}`];
    case "astore": return [`${pad}astore ${nameText(s.to)} ${exprText(s.index)} ${exprText(s.value)}`];
    case "loop": {
      const head = `${pad}for ${nameText(s.name)} ${exprText(s.from)} ${exprText(s.to)} ${s.step}${s.unroll ? " unroll" : ""} {`;
      return [head, ...bodyLines(s.body, `${pad}  `), `${pad}}`];
    }
    case "if":
      return [
        `${pad}if ${exprText(s.cond)} {`, ...bodyLines(s.then, `${pad}  `),
        ...(s.else ? [`${pad}} else {`, ...bodyLines(s.else, `${pad}  `)] : []), `${pad}}`,
      ];
    case "barrier": return [`${pad}barrier`];
    case "lane_reduce": return [`${pad}lane_${s.op} ${nameText(s.name)} ${exprText(s.value)} ${nameText(s.scratch)}`];
    case "comment": return [`${pad}comment ${JSON.stringify(s.text)}`];
  }
}
