// In: every token of a file, newlines included. Out: the tokens the parser sees, where a Newline ends a statement.
// A line goes on where brackets are open, after an operator, `=` or a comma, and before an operator, `{`, `else` or a task element.
// A bracket that was never closed must not swallow the rest of the file: a line that clearly starts a statement ends it.

import type { IToken, TokenType } from "chevrotain";
import {
  Amp, Arrow, Axis, Bang, Bar, Beside, binaryOperators, By, Colon, Comma, Dot, DotDot, Else, Equals, FatArrow, Given,
  Identifier, LCurly, Let, LiteralToken, LParen, LSquare, Minus, Name, Newline, Predict, RCurly, RParen, RSquare, Star,
  Then, Tilde, Train,
} from "./tokens.ts";

/** Words that another name may follow inside an expression or a task; two other names in a row start a statement. */
const leadsExpression = new Set<TokenType>([Axis, By, Then, Given, Predict, Beside]);
const goOnAfter = new Set<TokenType>([...binaryOperators, Equals, Comma, Arrow, FatArrow, Colon, Tilde, Dot, DotDot, Bang, Let]);
const goOnBefore = new Set<TokenType>([
  ...binaryOperators.filter((type) => type !== Minus),
  Equals, Comma, Arrow, FatArrow, Colon, Tilde, Dot, DotDot, RParen, RSquare, LiteralToken, LCurly,
]);
const closers = new Map<TokenType, TokenType>([[RParen, LParen], [RSquare, LSquare], [RCurly, LCurly]]);

export function layOut(tokens: readonly IToken[]): IToken[] {
  const out: IToken[] = [];
  const open: TokenType[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (token === undefined) continue;
    const type = token.tokenType;
    if (type === Newline) {
      if (endsStatement(tokens, i, out, open)) out.push(token);
      continue;
    }
    if (type === LParen || type === LSquare || type === LCurly) open.push(type);
    const opener = closers.get(type);
    if (opener !== undefined) closeTo(open, opener);
    out.push(token);
  }
  return out;
}

/** Closes the nearest bracket of that kind; a `}` closes forgotten parentheses too, a `)` never closes a `{`. */
function closeTo(open: TokenType[], opener: TokenType): void {
  const at = open.lastIndexOf(opener);
  if (at < 0 || (opener !== LCurly && open.indexOf(LCurly, at) >= 0)) return;
  open.length = at;
}

function endsStatement(tokens: readonly IToken[], i: number, out: readonly IToken[], open: TokenType[]): boolean {
  let n = i + 1;
  while (tokens[n]?.tokenType === Newline) n++;
  const next = tokens[n];
  const previous = out[out.length - 1];
  if (previous === undefined || previous.tokenType === Newline) return false;
  if (next === undefined) return true;
  const inner = open[open.length - 1];
  if (inner === LParen || inner === LSquare) {
    // `name = value` after a comma is a parameter with a default.
    const mayBeParam = tokens[n + 1]?.tokenType === Equals && (previous.tokenType === Comma || previous.tokenType === LParen);
    if (next.tokenType !== RCurly && (mayBeParam || !startsStatement(next, tokens[n + 1]))) return false;
    while (open.length > 0 && open[open.length - 1] !== LCurly) open.pop();
    return true;
  }
  if (next.tokenType === RCurly) return true;
  if (previous.tokenType === Comma) return false;
  if (goOnAfter.has(previous.tokenType) && !closesRepetition(out)) return startsStatement(next, tokens[n + 1]);
  return !goesOn(next, tokens[n + 1]);
}

/** `}*` at the end of a line is a repetition in a task, not a product. */
function closesRepetition(out: readonly IToken[]): boolean {
  return out[out.length - 1]?.tokenType === Star && out[out.length - 2]?.tokenType === RCurly;
}

function goesOn(next: IToken, after: IToken | undefined): boolean {
  const type = next.tokenType;
  if (goOnBefore.has(type)) return true;
  // `else -> x` is a case of `by`; any other `else` belongs to the line above.
  if (type === Else) return after?.tokenType !== Arrow;
  // `- x` goes on with the sum above; `-x` starts a statement.
  if (type === Minus) return after !== undefined && after.startOffset > next.startOffset + 1;
  if (type === Then) return after?.tokenType !== Equals;
  if (type === Given || type === Predict || type === Beside) {
    return after !== undefined && (isName(after) || after.tokenType === LParen || after.tokenType === LCurly);
  }
  return false;
}

/** True where a line can only be the start of a statement, whatever is still open above it. */
function startsStatement(token: IToken, after: IToken | undefined): boolean {
  if (after === undefined) return false;
  if (token.tokenType === Let) return true;
  if (after.tokenType === Equals) return isName(token);
  if (token.tokenType === Train) return after.tokenType === LCurly;
  return isName(token) && isName(after) && !leadsExpression.has(token.tokenType);
}

function isName(token: IToken): boolean {
  return token.tokenType === Identifier || (token.tokenType.CATEGORIES ?? []).includes(Name);
}

/** `a && b` and `a || b`: the operators are single here. */
export function isDoubled(previous: IToken, token: IToken): boolean {
  return previous.tokenType === token.tokenType && (token.tokenType === Amp || token.tokenType === Bar);
}
