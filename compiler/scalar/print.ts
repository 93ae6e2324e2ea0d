// In: a ScalarExpr. Out: text. `printExpr` is infix, for people; `exprText` is prefix, canonical, and read back by scalar/read.ts.

import type { BinaryOp, ScalarExpr } from "./expr.ts";

/** Numbers as text that `Number` reads back to the same value, -0 included. */
export const numberText = (x: number): string => (Object.is(x, -0) ? "-0" : String(x));

/** A bare name, or a quoted one when it has characters beyond letters, digits, `_` and `.`. */
export const nameText = (s: string): string => (/^[A-Za-z_][A-Za-z0-9_.]*$/.test(s) ? s : JSON.stringify(s));

/** Canonical text: equal texts mean equal expressions. */
export function exprText(e: ScalarExpr): string {
  switch (e.kind) {
    case "const":
      return e.type === "bool" ? (e.value !== 0 ? "true" : "false") : `${e.type} ${numberText(e.value)}`;
    case "name": return `$${nameText(e.name)}:${e.type}`;
    case "length": return `#${nameText(e.name)}`;
    case "builtin": return `@${e.name}`;
    case "attr": return `%${e.side}.${nameText(e.name)}:${e.type}`;
    case "unary": return `(${e.op} ${exprText(e.a)})`;
    case "binary": return `(${e.op} ${exprText(e.a)} ${exprText(e.b)})`;
    case "select": return `(select ${exprText(e.cond)} ${exprText(e.a)} ${exprText(e.b)})`;
  }
}

const infix: Partial<Record<BinaryOp, { text: string; level: number }>> = {
  or: { text: "|", level: 1 }, and: { text: "&", level: 2 }, xor: { text: "^", level: 2 },
  eq: { text: "==", level: 3 }, ne: { text: "!=", level: 3 }, lt: { text: "<", level: 3 }, le: { text: "<=", level: 3 },
  shl: { text: "<<", level: 4 }, shr: { text: ">>", level: 4 },
  add: { text: "+", level: 5 }, sub: { text: "-", level: 5 },
  mul: { text: "*", level: 6 }, div: { text: "/", level: 6 }, mod: { text: "%", level: 6 },
};

/** Infix text with as few parentheses as precedence allows. */
export function printExpr(e: ScalarExpr, level = 0): string {
  switch (e.kind) {
    case "const":
      return e.type === "bool" ? (e.value !== 0 ? "true" : "false") : e.type === "f32" && Number.isInteger(e.value) ? `${numberText(e.value)}.0` : numberText(e.value);
    case "name":
    case "length":
    case "builtin": return e.name;
    case "attr": return `${e.side}.${e.name}`;
    case "unary":
      if (e.op === "neg") return `-${printExpr(e.a, 7)}`;
      if (e.op === "not") return `!${printExpr(e.a, 7)}`;
      return `${e.op}(${printExpr(e.a)})`;
    case "binary": {
      const op = infix[e.op];
      if (!op) return `${e.op}(${printExpr(e.a)}, ${printExpr(e.b)})`;
      const text = `${printExpr(e.a, op.level)} ${op.text} ${printExpr(e.b, op.level + 1)}`;
      return op.level < level ? `(${text})` : text;
    }
    case "select": {
      const text = `if ${printExpr(e.cond, 1)} { ${printExpr(e.a)} } else { ${printExpr(e.b)} }`;
      return level > 0 ? `(${text})` : text;
    }
  }
}
