// In: the concrete tree of an expression, a parameter list or a block. Out: its AST.
// A hole in the tree becomes MissingExpr or an empty name. Reports what the grammar lets through to say it better:
// chained comparisons, `name = value` arguments, arguments out of order, blocks without a value.

import type { CstNode, IToken } from "chevrotain";
import type { Bag } from "../../grammar/diagnostic.ts";
import type { Source, Span } from "../../grammar/source.ts";
import { inOrder, isNode, node, nodes, nodeSpan, token, tokens, tokenSpan } from "./cst.ts";
import type {
  Arg, BinaryOp, Brackets, ByCase, Expr, Ident, LetTarget, NumberExpr, Param, ParamKind, Statement,
} from "./nodes.ts";

/** What every builder needs: the source, a place for diagnostics, and where the parser has already complained. */
export interface Building {
  readonly source: Source;
  readonly bag: Bag;
  readonly broken: readonly Span[];
}

export function spanAt(b: Building, at: CstNode, fallback?: Span): Span {
  return nodeSpan(b.source.path, at) ?? fallback ?? { source: b.source.path, start: 0, end: 0 };
}

export function identOf(b: Building, at: IToken | undefined, near: Span): Ident {
  if (at === undefined) return { kind: "ident", text: "", span: { ...near, start: near.end } };
  return { kind: "ident", text: at.image, span: tokenSpan(b.source.path, at) };
}

export function missing(near: Span): Expr {
  return { kind: "missing", span: { ...near, start: near.end } };
}

export function isBroken(b: Building, at: Span): boolean {
  // A mistake right after a node, one blank away, is a mistake of that node too.
  return b.broken.some((span) => span.start <= at.end + 1 && span.end >= at.start);
}

/** The expression below a node, or a hole at its end. */
export function exprOf(b: Building, at: CstNode | undefined, near: Span): Expr {
  if (at === undefined) return missing(near);
  switch (at.name) {
    case "expression":
    case "conjunction":
    case "sum":
    case "product":
      return chain(b, at, near);
    case "comparison":
      return comparison(b, at, near);
    case "range":
      return range(b, at, near);
    case "prefix":
      return prefix(b, at, near);
    case "power":
      return power(b, at, near);
    case "postfix":
      return postfix(b, at, near);
    case "primary":
      return primary(b, at, near);
    default:
      return missing(near);
  }
}

/** Operators of one strength, from left to right. */
function chain(b: Building, at: CstNode, near: Span): Expr {
  let left: Expr | undefined;
  let op: IToken | undefined;
  for (const child of inOrder(at)) {
    if (!isNode(child)) {
      op = child;
      continue;
    }
    const right = exprOf(b, child, near);
    const end = spanAt(b, child, near);
    left = left === undefined || op === undefined ? right : binary(b, op, left, right, spanAt(b, at, near).start, end.end);
  }
  if (left === undefined) return missing(near);
  // `a +` and nothing: the operator stays, with a hole on its right.
  const rest = inOrder(at);
  const last = rest[rest.length - 1];
  if (last !== undefined && !isNode(last)) {
    const opSpan = tokenSpan(b.source.path, last);
    return binary(b, last, left, missing(opSpan), spanAt(b, at, near).start, opSpan.end);
  }
  return left;
}

function binary(b: Building, op: IToken, left: Expr, right: Expr, start: number, end: number): Expr {
  const span = { source: b.source.path, start, end };
  return { kind: "binary", op: op.image as BinaryOp, opSpan: tokenSpan(b.source.path, op), left, right, span };
}

function comparison(b: Building, at: CstNode, near: Span): Expr {
  const operators = inOrder(at).filter((child): child is IToken => !isNode(child));
  const second = operators[1];
  if (second !== undefined) {
    b.bag.report("E0109", "comparisons cannot be chained", tokenSpan(b.source.path, second), {
      help: "join two comparisons with `&`, as in `a < b & b < c`",
    });
    // Nothing is known of what was meant: a hole, so that nothing more is said of it.
    return missing(spanAt(b, at, near));
  }
  return chain(b, at, near);
}

function range(b: Building, at: CstNode, near: Span): Expr {
  const [from, to] = nodes(at, "sum");
  const start = exprOf(b, from, near);
  if (token(at, "DotDot") === undefined) return start;
  const span = spanAt(b, at, near);
  return { kind: "range", from: start, to: exprOf(b, to, span), span };
}

function prefix(b: Building, at: CstNode, near: Span): Expr {
  const span = spanAt(b, at, near);
  const op = token(at, "Minus") ?? token(at, "Bang");
  if (op === undefined) return exprOf(b, node(at, "power"), span);
  return { kind: "unary", op: op.image === "-" ? "-" : "!", operand: exprOf(b, node(at, "prefix"), span), span };
}

function power(b: Building, at: CstNode, near: Span): Expr {
  const span = spanAt(b, at, near);
  const base = exprOf(b, node(at, "postfix"), span);
  const op = token(at, "StarStar");
  if (op === undefined) return base;
  return binary(b, op, base, exprOf(b, node(at, "prefix"), span), span.start, span.end);
}

function postfix(b: Building, at: CstNode, near: Span): Expr {
  const whole = spanAt(b, at, near);
  let result = exprOf(b, node(at, "primary"), whole);
  for (const suffix of nodes(at, "suffix")) {
    const own = spanAt(b, suffix, whole);
    const span = { ...whole, end: own.end };
    const args = node(suffix, "args");
    const brackets = node(suffix, "brackets");
    if (args !== undefined) {
      // `dot[d](x)`: the brackets belong to the call.
      const indexed = result.kind === "index" ? result : undefined;
      const callee = indexed?.target ?? result;
      result = { kind: "call", callee, brackets: indexed?.brackets ?? null, args: argsOf(b, args), span };
    } else if (brackets !== undefined) {
      result = { kind: "index", target: result, brackets: bracketsOf(b, brackets), span };
    } else if (token(suffix, "Dot") !== undefined) {
      result = { kind: "member", target: result, name: identOf(b, token(suffix, "Name"), own), span };
    }
  }
  return result;
}

function bracketsOf(b: Building, at: CstNode): Brackets {
  const span = spanAt(b, at);
  const [items, to] = nodes(at, "items");
  return {
    kind: "brackets",
    items: items === undefined ? [] : itemsOf(b, items),
    to: token(at, "Arrow") === undefined ? null : to === undefined ? [] : itemsOf(b, to),
    span,
  };
}

function itemsOf(b: Building, at: CstNode): Expr[] {
  return nodes(at, "expression").map((item) => exprOf(b, item, spanAt(b, at)));
}

export function argsOf(b: Building, at: CstNode): Arg[] {
  const result: Arg[] = [];
  for (const child of nodes(at, "arg")) {
    const span = nodeSpan(b.source.path, child);
    if (span === undefined) continue;
    const nameToken = token(child, "Name");
    const name = nameToken === undefined ? null : identOf(b, nameToken, span);
    const equals = token(child, "Equals");
    if (equals !== undefined && name !== null) {
      const at = tokenSpan(b.source.path, equals);
      b.bag.report("E0114", `the argument \`${name.text}\` is named with \`:\``, at, {
        help: `write \`${name.text}: …\``,
        fixes: [{ title: "write `:`", edits: [{ span: { ...at, start: name.span.end }, text: ":" }] }],
      });
    }
    const value = exprOf(b, node(child, "expression"), span);
    const named = result.find((other) => other.name !== null);
    if (name === null && named !== undefined && value.kind !== "missing") {
      b.bag.report("E0113", "an argument by position cannot follow one by name", span, {
        also: [{ span: named.span, text: "by name" }],
        help: "put it first, or give it its name",
      });
    }
    result.push({ kind: "arg", name, value, span });
  }
  return result;
}

function primary(b: Building, at: CstNode, near: Span): Expr {
  const span = spanAt(b, at, near);
  const [child] = inOrder(at);
  if (child === undefined) return missing(near);
  if (isNode(child)) return compound(b, child, span);
  if (token(at, "NumberToken") !== undefined) return numberOf(child, span);
  if (token(at, "StringToken") !== undefined) return { kind: "string", value: unquote(child.image), span };
  if (token(at, "True") !== undefined || token(at, "False") !== undefined) return { kind: "bool", value: child.image === "true", span };
  return { kind: "name", text: child.image, span };
}

function compound(b: Building, at: CstNode, span: Span): Expr {
  const expressions = nodes(at, "expression");
  const part = (n: number): Expr => exprOf(b, expressions[n], span);
  const nameAt = (n: number): Ident => identOf(b, tokens(at, "Name")[n], span);
  switch (at.name) {
    case "when":
      return { kind: "when", condition: part(0), value: part(1), otherwise: part(2), span };
    case "by": {
      const [first, ...rest] = tokens(at, "Name");
      let subject: Expr = first === undefined ? missing(span) : { kind: "name", text: first.image, span: tokenSpan(b.source.path, first) };
      for (const next of rest) {
        const name = identOf(b, next, span);
        subject = { kind: "member", target: subject, name, span: { ...subject.span, end: name.span.end } };
      }
      return { kind: "by", subject, cases: nodes(at, "byCase").map((one) => byCase(b, one, span)), span };
    }
    case "lambda":
      return { kind: "lambda", parameter: nameAt(0), body: part(0), span };
    case "stack":
      return { kind: "stack", count: part(0), body: part(1), span };
    case "axis":
      return { kind: "axis", name: nameAt(0), size: token(at, "Equals") === undefined ? null : part(0), span };
    case "parens": {
      const items = node(at, "items");
      const inner = items === undefined ? [] : itemsOf(b, items);
      const [only] = inner;
      return inner.length === 1 && only !== undefined ? only : inner.length === 0 ? missing(span) : { kind: "tuple", items: inner, span };
    }
    case "list":
      return { kind: "list", items: expressions.map((item) => exprOf(b, item, span)), span };
    case "block":
      return blockOf(b, at, span);
    default:
      return missing(span);
  }
}

function byCase(b: Building, at: CstNode, near: Span): ByCase {
  const span = spanAt(b, at, near);
  const items = node(at, "items");
  const keys = items === undefined ? null : itemsOf(b, items);
  const from = token(at, "From") === undefined ? null : identOf(b, token(at, "Name"), span);
  return { kind: "by_case", keys, frozen: token(at, "Frozen") !== undefined, value: exprOf(b, node(at, "expression"), span), from, span };
}

export function numberOf(at: IToken, span: Span): NumberExpr {
  const value = Number(at.image.replaceAll("_", ""));
  return { kind: "number", value: Number.isNaN(value) ? 0 : value, text: at.image, integer: /^[\d_]+$/.test(at.image), span };
}

/** The value of a string as written, closed or not. */
export function unquote(image: string): string {
  const quote = image[0] ?? "";
  const body = image.slice(1, image.length > 1 && image.endsWith(quote) ? -1 : undefined);
  if (quote === "'") return body;
  return body.replace(/\\(?:u\{([0-9a-fA-F]{1,6})\}|([\s\S]))/g, (whole, code: string | undefined, letter: string | undefined) => {
    if (code !== undefined) {
      const point = parseInt(code, 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
    }
    const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "0": "\0" };
    return escapes[letter ?? ""] ?? letter ?? "";
  });
}

// ---------------------------------------------------------------- blocks

function blockOf(b: Building, at: CstNode, span: Span): Expr {
  const { statements, values } = statementsOf(b, at, span);
  const last = values[values.length - 1];
  const ends = last !== undefined && statements.every((one) => one.span.start < last.span.start);
  for (const value of values) if (value !== last || !ends) unused(b, value);
  if (ends) return { kind: "block", statements, value: last, span };
  if (!isBroken(b, span)) {
    const close = { ...span, start: span.end - 1 };
    b.bag.report("E0116", "this block has no value", close, { help: "end the block with an expression: that is what it gives" });
  }
  return { kind: "block", statements, value: missing(span), span };
}

function unused(b: Building, value: Expr): void {
  if (value.kind === "missing" || isBroken(b, value.span)) return;
  b.bag.report("E0116", "nothing takes this value", value.span, {
    help: "name it with `let`, or make it the last line of the block",
  });
}

/** Statements of a block, and apart from them the bare expressions, of which the last is the value. */
function statementsOf(b: Building, at: CstNode, near: Span): { statements: Statement[]; values: Expr[] } {
  const statements: Statement[] = [];
  const values: Expr[] = [];
  for (const child of nodes(at, "statement")) {
    const [inner] = inOrder(child);
    if (inner === undefined || !isNode(inner)) continue;
    const span = spanAt(b, inner, near);
    const value = exprOf(b, node(inner, "expression"), span);
    switch (inner.name) {
      case "expression":
        values.push(exprOf(b, inner, span));
        break;
      case "letStatement":
        statements.push({ kind: "let", targets: nodes(inner, "letTarget").map((one) => letTarget(b, one, span)), value, span });
        break;
      case "assignment":
        statements.push({ kind: "assign", name: identOf(b, token(inner, "Name"), span), value, span });
        break;
      case "repeatStatement": {
        const body = node(inner, "block");
        const nested = body === undefined ? { statements: [], values: [] } : statementsOf(b, body, span);
        for (const bare of nested.values) unused(b, bare);
        statements.push({ kind: "repeat", index: identOf(b, token(inner, "Name"), span), range: value, statements: nested.statements, span });
        break;
      }
    }
  }
  return { statements, values };
}

function letTarget(b: Building, at: CstNode, near: Span): LetTarget {
  const span = spanAt(b, at, near);
  return { kind: "let_target", name: identOf(b, token(at, "Name"), span), axes: axisNamesOf(b, node(at, "axisNames")), span };
}

// ---------------------------------------------------------------- parameter lists

export function axisNamesOf(b: Building, at: CstNode | undefined): Ident[] | null {
  return at === undefined ? null : tokens(at, "Name").map((one) => identOf(b, one, spanAt(b, at)));
}

export function paramsOf(b: Building, at: CstNode | undefined): Param[] {
  if (at === undefined) return [];
  return nodes(at, "param").flatMap((one): Param[] => {
    const span = nodeSpan(b.source.path, one);
    if (span === undefined) return [];
    const kind = node(one, "paramKind");
    return [{
      kind: "param",
      name: identOf(b, token(one, "Name"), span),
      axes: axisNamesOf(b, node(one, "axisNames")),
      paramKind: kind === undefined ? null : paramKindOf(b, kind, span),
      fallback: token(one, "Equals") === undefined ? null : exprOf(b, node(one, "expression"), span),
      span,
    }];
  });
}

export function paramKindOf(b: Building, at: CstNode | undefined, near: Span): ParamKind {
  const span = at === undefined ? near : spanAt(b, at, near);
  const name = identOf(b, at === undefined ? undefined : token(at, "Name"), span);
  return { kind: "param_kind", name, list: at !== undefined && token(at, "LSquare") !== undefined, span };
}
