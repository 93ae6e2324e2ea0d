// In: an expression. Out: its canonical text, on one line where it fits, else broken at its outermost part.
// Parentheses stand only where the grammar needs them, so reading the text back gives the same tree.
// Comments live between statements: a block or a `by` with a comment inside is never put on one line.

import { lineWidth } from "./format_comments.ts";
import type { Comments } from "./format_comments.ts";
import type { Arg, Brackets, ByCase, Expr, LetTarget, Statement } from "./nodes.ts";

const step = "  ";

/** How tightly an expression holds together; the numbers follow the grammar's rules from `expression` to `primary`. */
const operatorLevel: Readonly<Record<string, number>> = {
  "|": 1, "&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6, "**": 8,
};
const rangeLevel = 4;
const prefixLevel = 7;
const postfixLevel = 9;

function levelOf(e: Expr): number {
  switch (e.kind) {
    case "binary":
      return operatorLevel[e.op] ?? 0;
    case "range":
      return rangeLevel;
    case "unary":
      return prefixLevel;
    // These take everything to their right, so as an operand they need parentheses.
    case "when":
    case "lambda":
    case "stack":
    case "axis":
      return 0;
    case "call":
    case "index":
    case "member":
      return postfixLevel;
    default:
      return postfixLevel + 1;
  }
}

export class ExprPrinter {
  private readonly comments: Comments;

  constructor(comments: Comments) {
    this.comments = comments;
  }

  /** The text on one line, or null where that cannot be. */
  flat(e: Expr): string | null {
    switch (e.kind) {
      case "number":
        return e.text;
      case "string":
        return quote(e.value);
      case "bool":
        return String(e.value);
      case "name":
        return e.text;
      case "missing":
        return "";
      case "member": {
        const target = this.operand(e.target, postfixLevel);
        return target === null ? null : `${target}.${e.name.text}`;
      }
      case "index": {
        const target = this.operand(e.target, postfixLevel);
        const inner = this.brackets(e.brackets);
        return target === null || inner === null ? null : target + inner;
      }
      case "call": {
        const head = this.callHead(e);
        const args = this.all(e.args.map((arg) => this.arg(arg)), ", ");
        return head === null || args === null ? null : `${head}(${args})`;
      }
      case "unary": {
        const operand = this.operand(e.operand, prefixLevel);
        return operand === null ? null : e.op + operand;
      }
      case "binary": {
        const [left, right] = this.sides(e);
        return left === null || right === null ? null : `${left} ${e.op} ${right}`;
      }
      case "range": {
        const from = this.operand(e.from, rangeLevel + 1);
        const to = this.operand(e.to, rangeLevel + 1);
        return from === null || to === null ? null : `${from}..${to}`;
      }
      case "when": {
        const condition = this.operand(e.condition, 1);
        const value = this.operand(e.value, 1);
        const otherwise = this.flat(e.otherwise);
        if (condition === null || value === null || otherwise === null) return null;
        return `when ${condition} ${thenFor(value)}${value} else ${otherwise}`;
      }
      case "by": {
        if (this.comments.anyIn(e.span)) return null;
        const subject = this.flat(e.subject);
        const cases = this.all(e.cases.map((one) => this.byCase(one)), "; ");
        return subject === null || cases === null ? null : `by ${subject} { ${cases} }`;
      }
      case "lambda": {
        const body = this.flat(e.body);
        return body === null ? null : `${e.parameter.text} => ${body}`;
      }
      case "stack": {
        const count = this.flat(e.count);
        const body = this.flat(e.body);
        return count === null || body === null ? null : `stack(${count}) ${body}`;
      }
      case "axis": {
        if (e.size === null) return `axis ${e.name.text}`;
        const size = this.flat(e.size);
        return size === null ? null : `axis ${e.name.text} = ${size}`;
      }
      case "list": {
        const items = this.all(e.items.map((item) => this.flat(item)), ", ");
        return items === null ? null : `[${items}]`;
      }
      case "tuple": {
        const items = this.all(e.items.map((item) => this.flat(item)), ", ");
        return items === null ? null : `(${items})`;
      }
      case "block": {
        if (e.statements.length > 0 || this.comments.anyIn(e.span)) return null;
        const value = this.flat(e.value);
        return value === null ? null : `{ ${value} }`;
      }
    }
  }

  /** The text that starts at `column` of a line indented by `indent`; later lines are indented further. */
  pretty(e: Expr, indent: string, column: number): string {
    const flat = this.flat(e);
    if (flat !== null && column + flat.length <= lineWidth) return flat;
    const inner = indent + step;
    switch (e.kind) {
      case "block":
        return this.block(e.statements, e.value, e.span.end, indent);
      case "by":
        return this.by(e.subject, e.cases, e.span.end, indent);
      case "call": {
        const head = this.callHead(e)
          ?? this.wrapped(e.callee, postfixLevel, indent, column) + (e.brackets === null ? "" : this.prettyBrackets(e.brackets, indent, column));
        return this.listed(`${head}(`, e.args.map((arg) => (): string => this.prettyArg(arg, inner)), ")", indent);
      }
      case "list":
        return this.listed("[", e.items.map((item) => (): string => this.pretty(item, inner, inner.length)), "]", indent);
      case "tuple":
        return this.tuple(e.items, indent);
      case "binary":
        return this.broken(e, indent, column);
      case "unary":
        return e.op + this.wrapped(e.operand, prefixLevel, indent, column + 1);
      case "range":
        return `${this.wrapped(e.from, rangeLevel + 1, indent, column)}..${this.wrapped(e.to, rangeLevel + 1, indent, column)}`;
      case "member":
        return `${this.wrapped(e.target, postfixLevel, indent, column)}.${e.name.text}`;
      case "index":
        return `${this.wrapped(e.target, postfixLevel, indent, column)}${this.prettyBrackets(e.brackets, indent, column)}`;
      case "when": {
        const condition = this.wrapped(e.condition, 1, indent, column + 5);
        const value = this.wrapped(e.value, 1, indent, column + 6 + condition.length);
        const head = `when ${condition} ${thenFor(value)}${value}`;
        const otherwise = this.pretty(e.otherwise, e.otherwise.kind === "block" ? indent : inner, inner.length + 5);
        return e.value.kind === "block" ? `${head} else ${otherwise}` : `${head}\n${inner}else ${otherwise}`;
      }
      case "lambda":
        return `${e.parameter.text} => ${this.pretty(e.body, indent, column + e.parameter.text.length + 4)}`;
      case "stack": {
        const count = this.pretty(e.count, indent, column + 6);
        return `stack(${count}) ${this.pretty(e.body, indent, column + 8 + count.length)}`;
      }
      case "axis":
        return e.size === null ? flat ?? "" : `axis ${e.name.text} = ${this.pretty(e.size, indent, column)}`;
      default:
        return flat ?? "";
    }
  }

  /** `{`, statements and value a line each, `}`; comments stay in front of what they preceded. */
  private block(statements: readonly Statement[], value: Expr, end: number, indent: string): string {
    const inner = indent + step;
    const lines = this.comments.lines(inner, [
      ...statements.map((one) => ({ span: one.span, print: (): string => this.statement(one, inner) })),
      ...(value.kind === "missing" ? [] : [{ span: value.span, print: (): string => guarded(this.pretty(value, inner, inner.length)) }]),
    ], end);
    return `{\n${lines}${indent}}`;
  }

  private by(subject: Expr, cases: readonly ByCase[], end: number, indent: string): string {
    const inner = indent + step;
    const head = `by ${this.flat(subject) ?? ""} {\n`;
    const lines = this.comments.lines(inner, cases.map((one) => ({
      span: one.span,
      print: (): string => `${this.caseHead(one, inner)} -> ${branch(one, this.pretty(one.value, inner, inner.length + 8))}`,
    })), end);
    return `${head}${lines}${indent}}`;
  }

  private statement(one: Statement, indent: string): string {
    switch (one.kind) {
      case "let": {
        const head = `let ${one.targets.map(target).join(", ")} = `;
        return head + this.pretty(one.value, indent, indent.length + head.length);
      }
      case "assign": {
        const head = `${one.name.text} = `;
        return head + this.pretty(one.value, indent, indent.length + head.length);
      }
      case "repeat": {
        const inner = indent + step;
        const head = `repeat ${one.index.text} in ${this.pretty(one.range, indent, indent.length + 12)}`;
        const lines = this.comments.lines(inner, one.statements.map((nested) => ({
          span: nested.span,
          print: (): string => this.statement(nested, inner),
        })), one.span.end);
        return `${head} {\n${lines}${indent}}`;
      }
    }
  }

  // -------------------------------------------------------------- parts

  private sides(e: Extract<Expr, { kind: "binary" }>): [string | null, string | null] {
    const [left, right] = sideLevels(e.op);
    return [this.operand(e.left, left), this.operand(e.right, right)];
  }

  /** A chain of one operator level, an operand a line, operators in front. */
  private broken(e: Extract<Expr, { kind: "binary" }>, indent: string, column: number): string {
    const level = operatorLevel[e.op] ?? 0;
    const inner = indent + step;
    const [left, right] = sideLevels(e.op);
    const breaks = level <= 2 || level === 5 || level === 6;
    const first = e.left.kind === "binary" && operatorLevel[e.left.op] === level && left === level
      ? this.broken(e.left, indent, column)
      : this.wrapped(e.left, left, indent, column);
    const rest = this.wrapped(e.right, right, breaks ? inner : indent, inner.length + e.op.length + 1);
    return breaks ? `${first}\n${inner}${e.op} ${rest}` : `${first} ${e.op} ${rest}`;
  }

  private operand(e: Expr, level: number): string | null {
    const text = this.flat(e);
    return text === null ? null : levelOf(e) < level ? `(${text})` : text;
  }

  private wrapped(e: Expr, level: number, indent: string, column: number): string {
    return levelOf(e) < level ? `(${this.pretty(e, indent, column + 1)})` : this.pretty(e, indent, column);
  }

  private callHead(e: Extract<Expr, { kind: "call" }>): string | null {
    // `stack` and `axis` as plain names read differently in front of a bracket or a name.
    const plain = e.callee.kind === "name" && e.callee.text === "stack" && e.brackets === null;
    const callee = plain ? "(stack)" : this.operand(e.callee, postfixLevel);
    const inner = e.brackets === null ? "" : this.brackets(e.brackets);
    // `(a[i])(x)` is not `a[i](x)`; the tree has no such call, brackets always join the call after them.
    return callee === null || inner === null ? null : callee + inner;
  }

  private brackets(b: Brackets): string | null {
    const items = this.all(b.items.map((item) => this.flat(item)), ", ");
    if (b.to === null) return items === null ? null : `[${items}]`;
    const to = this.all(b.to.map((item) => this.flat(item)), ", ");
    return items === null || to === null ? null : `[${items} -> ${to}]`;
  }

  private prettyBrackets(b: Brackets, indent: string, column: number): string {
    const text = (items: readonly Expr[]): string => items.map((item) => this.pretty(item, indent, column)).join(", ");
    return b.to === null ? `[${text(b.items)}]` : `[${text(b.items)} -> ${text(b.to)}]`;
  }

  private arg(arg: Arg): string | null {
    const value = this.flat(arg.value);
    return value === null ? null : arg.name === null ? value : `${arg.name.text}: ${value}`;
  }

  private prettyArg(arg: Arg, indent: string): string {
    const name = arg.name === null ? "" : `${arg.name.text}: `;
    return name + this.pretty(arg.value, indent, indent.length + name.length);
  }

  private byCase(one: ByCase): string | null {
    const value = this.flat(one.value);
    const keys = one.keys === null ? "else" : this.all(one.keys.map((key) => this.flat(key)), ", ");
    return value === null || keys === null ? null : `${keys} -> ${branch(one, value)}`;
  }

  private caseHead(one: ByCase, indent: string): string {
    return one.keys === null ? "else" : one.keys.map((key) => guarded(this.pretty(key, indent, indent.length))).join(", ");
  }

  /** Arguments on the line they start on, broken only where a block inside breaks them. */
  args(all: readonly Arg[], indent: string): string {
    return all.map((arg) => this.arg(arg) ?? this.prettyArg(arg, indent)).join(", ");
  }

  /** Opening text, then every item on its own line with a comma, then the closing text. */
  listed(open: string, items: readonly (() => string)[], close: string, indent: string): string {
    if (items.length === 0) return open + close;
    return `${open}\n${items.map((item) => `${indent}${step}${item()},\n`).join("")}${indent}${close}`;
  }

  /** Unlike a list, a tuple may not end with a comma. */
  private tuple(items: readonly Expr[], indent: string): string {
    const inner = indent + step;
    return `(\n${items.map((item) => inner + this.pretty(item, inner, inner.length)).join(",\n")}\n${indent})`;
  }

  private all(parts: readonly (string | null)[], separator: string): string | null {
    return parts.some((part) => part === null) ? null : parts.join(separator);
  }
}

/** A line that starts with `{` or `then` would go on with the line above. */
function guarded(text: string): string {
  return /^(?:\{|then\b)/.test(text) ? `(${text})` : text;
}

function sideLevels(op: string): [number, number] {
  const level = operatorLevel[op] ?? 0;
  if (op === "**") return [postfixLevel, prefixLevel];
  return level === 3 ? [4, 4] : [level, level + 1];
}

function thenFor(value: string): string {
  return /^(?:[([-]|then\b)/.test(value) ? "then " : "";
}

function target(one: LetTarget): string {
  return one.name.text + (one.axes === null ? "" : `[${one.axes.map((axis) => axis.text).join(", ")}]`);
}

export function quote(value: string): string {
  const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\"": "\\\"", "\\": "\\\\" };
  return `"${value.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029"\\]/g, (c) => escapes[c] ?? `\\u{${c.charCodeAt(0).toString(16)}}`)}"`;
}

/** `frozen understand from base` */
const branch = (one: ByCase, value: string): string => `${one.frozen ? "frozen " : ""}${value}${one.from === null ? "" : ` from ${one.from.text}`}`;
