// In: what Chevrotain could not read, with the tokens of the file. Out: diagnostics in the language's words.
// Each names what was expected and where, at the smallest span: the token that is wrong, or the gap where one is missing.
// It never guesses: a fix is offered only where one spelling is meant for sure.

import type { IParserErrorMessageProvider, IRecognitionException, IToken, TokenType } from "chevrotain";
import { isDoubled } from "./layout.ts";
import { diagnostic } from "./diagnostic.ts";
import type { Diagnostic, Details } from "./diagnostic.ts";
import type { Source, Span } from "./source.ts";
import * as t from "./tokens.ts";

/** Chevrotain keeps only a message; the name of the expected token type is all that is needed here. */
export const expectedTokenNames: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) => expected.name,
  buildNotAllInputParsedMessage: () => "EOF",
  buildNoViableAltMessage: () => "",
  buildEarlyExitMessage: () => "",
};

const closingOf = new Map<string, { readonly text: string; readonly opener: TokenType }>([
  ["RParen", { text: ")", opener: t.LParen }],
  ["RSquare", { text: "]", opener: t.LSquare }],
  ["RCurly", { text: "}", opener: t.LCurly }],
]);
const openerOf = new Map<TokenType, TokenType>([[t.RParen, t.LParen], [t.RSquare, t.LSquare], [t.RCurly, t.LCurly]]);
const statementRules = new Set(["members", "block", "by"]);

/** One parse of one file: its tokens after layout, and what went wrong. */
export function syntaxErrors(source: Source, tokens: readonly IToken[], errors: readonly IRecognitionException[]): Diagnostic[] {
  const reader = new Reader(source, tokens);
  return errors.map((error) => reader.explain(error));
}

class Reader {
  private readonly source: Source;
  private readonly tokens: readonly IToken[];
  private readonly indexAt = new Map<number, number>();

  constructor(source: Source, tokens: readonly IToken[]) {
    this.source = source;
    this.tokens = tokens;
    tokens.forEach((token, i) => this.indexAt.set(token.startOffset, i));
  }

  explain(error: IRecognitionException): Diagnostic {
    const stack = error.context.ruleStack;
    const rule = stack[stack.length - 1] ?? "file";
    // The end of the file has no offset.
    const at = this.indexAt.get(error.token.startOffset) ?? this.tokens.length;
    switch (error.name) {
      case "MismatchedTokenException":
        return this.mismatch(error.message, rule, at, stack);
      case "NotAllInputParsedException":
        return this.notADeclaration(at);
      case "EarlyExitException":
        return this.expected("E0105", "expected the layout of a task, such as `<bos> given text(caption)`", at, {
          help: "each part is `<name>`, `given stream(field)` or `predict stream(field)`, in a group as well",
        });
      default:
        return this.noAlternative(rule, at, stack);
    }
  }

  // ------------------------------------------------------------ a certain token was expected

  private mismatch(expected: string, rule: string, at: number, stack: readonly string[]): Diagnostic {
    const found = this.tokens[at];
    const closing = closingOf.get(expected);
    if (closing !== undefined) return this.notClosed(closing.text, closing.opener, rule, at, stack);
    if (expected === "EOF") return this.notADeclaration(at);
    if (expected === "Name" || expected === "Identifier") return this.nameMissing(at);
    const before = this.before(at);
    switch (expected) {
      case "Equals":
        return this.expected("E0105", `expected \`=\` after ${before}`, at);
      case "Else":
        return this.expected("E0105", "expected `else`: a `when` in an expression has a value for both cases", at, {
          help: "write `when condition value else other`, or use `when condition { … }` as a member",
        });
      case "LCurly":
        return this.expected("E0105", `expected \`{\` to begin the body of ${this.header(at)}`, at);
      case "Star":
        return this.expected("E0105", "expected `*` after the `}` of a repetition", at, { help: "write `{ … }*`" });
      case "Of":
        return this.expected("E0105", "expected `of` and the model that this is a variant of", at);
      case "In":
        return this.expected("E0105", "expected `in` and a range, such as `repeat i in 0..n`", at);
      case "Arrow":
        return this.expected("E0105", `expected \`->\` after ${before}`, at);
      case "LParen":
        return this.expected("E0105", `expected \`(\` after ${before}`, at);
      default:
        return this.expected("E0100", `unexpected ${describe(found)}`, at);
    }
  }

  private notClosed(text: string, opener: TokenType, rule: string, at: number, stack: readonly string[]): Diagnostic {
    const found = this.tokens[at];
    const open = this.openerBefore(at, opener);
    const what = open === undefined ? "the brackets" : this.bracketed(rule, open, stack);
    const ends = found === undefined || found.tokenType === t.Newline || found.tokenType === t.Semicolon;
    const bodyStarts = found?.tokenType === t.LCurly || found?.tokenType === t.Equals;
    const closes = found !== undefined && (openerOf.has(found.tokenType) || (bodyStarts && ["params", "axisNames"].includes(rule)));
    if (statementRules.has(rule) && !ends && !closes) return this.notAStatement(rule, at);
    if (ends || closes || !this.takesMore(rule)) {
      const also = open === undefined ? [] : [{ span: this.spanOf(open), text: "opened here" }];
      return this.expected("E0103", `expected \`${text}\` to close ${what}`, at, { also });
    }
    if (rule === "params" || rule === "args") {
      const wrong = this.methodWithoutEquals(at, stack);
      if (wrong !== undefined) return wrong;
    }
    const message = `expected \`,\` or \`${text}\` in ${what}`;
    const previous = this.tokens[at - 1];
    if (found === undefined || previous === undefined || !/[\r\n]/.test(this.source.text.slice(endOf(previous), found.startOffset))) {
      return this.expected("E0105", message, at);
    }
    // Both a forgotten comma and a forgotten bracket belong at the end of the line above.
    const gap = { source: this.source.path, start: endOf(previous), end: endOf(previous) };
    const also = open === undefined ? [] : [{ span: this.spanOf(open), text: "opened here" }];
    return diagnostic("E0105", message, gap, { label: `the next line goes on with ${describe(found)}`, also });
  }

  private takesMore(rule: string): boolean {
    return ["args", "params", "list", "axisNames", "brackets", "parens", "use"].includes(rule);
  }

  /** After a whole statement on the same line, or at the start of one that is none. */
  private notAStatement(rule: string, at: number): Diagnostic {
    const found = this.tokens[at];
    const previous = this.tokens[at - 1];
    if (found !== undefined && previous !== undefined && !startsAfter(previous)) {
      const start = this.tokens[this.statementStart(at)]?.tokenType;
      if (previous.tokenType === t.RSquare && (start === t.ParamWord || start === t.Frozen)) {
        return this.expected("E0105", `expected \`~\` before the initial value ${describe(found)}`, at, {
          fixes: [{ title: "write `~`", edits: [{ span: { ...this.spanOf(at), end: found.startOffset }, text: "~ " }] }],
        });
      }
      return this.expected("E0112", `expected the end of the line before ${describe(found)}`, at, {
        help: otherwise(found, previous) ?? "a line holds one statement; `;` separates two",
      });
    }
    if (rule === "members" && found?.tokenType === t.Let) {
      return this.expected("E0100", "`let` cannot start a member", at, {
        help: "a member is written `name = value`; `let` names a value inside a block, as in `forward x[t] = { let h = …`",
        fixes: [{ title: "remove `let`", edits: [{ span: this.spanFrom(at, at + 1), text: "" }] }],
      });
    }
    const kind = rule === "members" ? "a member" : rule === "by" ? "a case" : "a statement";
    return this.expected("E0100", `${describe(found)} cannot start ${kind}`, at);
  }

  private notADeclaration(at: number): Diagnostic {
    const found = this.tokens[at];
    const previous = this.tokens[at - 1];
    if (found !== undefined && openerOf.has(found.tokenType)) {
      return this.expected("E0104", `\`${found.image}\` closes nothing`, at, { label: "no bracket is open here" });
    }
    if (previous !== undefined && !startsAfter(previous)) {
      return this.expected("E0112", `expected the end of the line before ${describe(found)}`, at, {
        help: otherwise(found, previous) ?? "a line holds one statement; `;` separates two",
      });
    }
    return this.expected("E0108", `expected a declaration, such as \`layer\` or \`model\`, found ${describe(found)}`, at);
  }

  private nameMissing(at: number): Diagnostic {
    const found = this.tokens[at];
    const notes = found !== undefined && t.reservedWords.includes(found.tokenType)
      ? [`\`${found.image}\` is a word of the language and never a name`]
      : [];
    return this.expected("E0107", `expected a name after ${this.before(at)}`, at, { notes });
  }

  // ------------------------------------------------------------ none of several things was found

  private noAlternative(rule: string, at: number, stack: readonly string[]): Diagnostic {
    const found = this.tokens[at];
    switch (rule) {
      case "item":
        return this.notAnItem(at);
      case "valueOrMembers":
      case "method":
        return this.methodWithoutEquals(at, stack) ?? this.expected("E0105", `expected \`=\` or \`{\` after ${this.before(at)}`, at);
      case "paramKind":
        return this.expected("E0107", "expected a kind, such as `int`, `axis` or `mask`", at);
      case "taskSegment":
        return this.expected("E0107", `expected a stream after ${this.before(at)}`, at);
      case "taskElement":
        return this.expected("E0100", `unexpected ${describe(found)} in the layout of a task`, at);
      case "arg":
      case "weights":
        return this.expected("E0105", `expected \`=\` after ${this.before(at)}`, at);
      default:
        return this.expressionMissing(at);
    }
  }

  private expressionMissing(at: number): Diagnostic {
    const found = this.tokens[at];
    const previous = this.tokens[at - 1];
    if (found !== undefined && previous !== undefined && isDoubled(previous, found)) {
      const both = { source: this.source.path, start: previous.startOffset, end: endOf(found) };
      return diagnostic("E0100", `\`${previous.image}${found.image}\` is written \`${found.image}\``, both, {
        fixes: [{ title: `write \`${found.image}\``, edits: [{ span: both, text: found.image }] }],
      });
    }
    const notes = found !== undefined && t.reservedWords.includes(found.tokenType)
      ? [`\`${found.image}\` is a word of the language and never a name`]
      : [];
    return this.expected("E0106", `expected an expression after ${this.before(at)}`, at, { notes });
  }

  /** `at` is the first token of something that looks like a declaration or member and is none. */
  private notAnItem(at: number): Diagnostic {
    const first = this.tokens[at];
    const second = this.tokens[at + 1];
    if (first === undefined) return this.notADeclaration(at);
    const word = `\`${first.image}\``;
    switch (first.tokenType) {
      case t.Frozen:
        return this.expected("E0105", "expected `param` after `frozen`", at + 1);
      case t.Train:
        return this.expected("E0105", "expected `=` or `{` after `train`", at + 1);
      case t.Loss:
        return this.expected("E0106", "expected an expression after `loss`", at + 1);
      case t.Identifier:
        if (second !== undefined && t.reservedWords.includes(second.tokenType)) return this.nameMissing(at + 1);
        return this.expected("E0105", `expected \`=\` after ${word}`, at + 1);
      default:
        if (second !== undefined && isName(second)) return this.expected("E0105", `expected \`=\` after \`${second.image}\``, at + 2);
        return this.nameMissing(at + 1);
    }
  }

  /** `body stack(3) f(x)` reads like `forward x(…)`; what is missing is the `=` after the first word. */
  private methodWithoutEquals(at: number, stack: readonly string[]): Diagnostic | undefined {
    if (!stack.includes("method")) return undefined;
    const start = this.statementStart(at);
    const first = this.tokens[start];
    const second = this.tokens[start + 1];
    const third = this.tokens[start + 2];
    if (first === undefined || second === undefined || third === undefined) return undefined;
    if (!isName(first) || !isName(second) || third.tokenType !== t.LParen || this.tokens[at]?.tokenType === t.Equals) return undefined;
    return this.expected("E0105", `expected \`=\` after \`${first.image}\``, start + 1);
  }

  // ------------------------------------------------------------ places and words

  /** Points at a token, or at the gap before it where the line or the file ends. */
  private expected(code: Diagnostic["code"], message: string, at: number, details: Details = {}): Diagnostic {
    const found = this.tokens[at];
    const said = message.includes(describe(found));
    const label = details.label ?? (said ? "" : `found ${describe(found)}`);
    return diagnostic(code, message, this.spanOf(at), { ...details, label });
  }

  private spanOf(at: number): Span {
    const token = this.tokens[at];
    if (token !== undefined && token.tokenType !== t.Newline) return this.spanFrom(at, at + 1, true);
    let n = at - 1;
    while (n > 0 && this.tokens[n]?.tokenType === t.Newline) n--;
    const previous = this.tokens[n];
    const end = previous === undefined ? 0 : endOf(previous);
    return { source: this.source.path, start: end, end };
  }

  /** From the start of one token to the start of another, or, where `tight`, to the end of the one before it. */
  private spanFrom(from: number, to: number, tight = false): Span {
    const first = this.tokens[from];
    const last = this.tokens[to - 1];
    const next = this.tokens[to];
    const start = first?.startOffset ?? this.source.text.length;
    const end = tight || next === undefined ? (last === undefined ? start : endOf(last)) : next.startOffset;
    return { source: this.source.path, start, end };
  }

  private before(at: number): string {
    let n = at - 1;
    while (n >= 0 && this.tokens[n]?.tokenType === t.Newline) n--;
    return n < 0 ? "the start of the file" : describe(this.tokens[n]);
  }

  /** The bracket of that kind which is still open right before a token. */
  private openerBefore(at: number, opener: TokenType): number | undefined {
    const closed: TokenType[] = [];
    for (let i = at - 1; i >= 0; i--) {
      const type = this.tokens[i]?.tokenType;
      if (type === undefined) continue;
      const opens = openerOf.get(type);
      if (opens !== undefined) closed.push(opens);
      else if (closed[closed.length - 1] === type) closed.pop();
      else if (type === opener) return i;
    }
    return undefined;
  }

  /** First token of the statement around a token. */
  private statementStart(at: number): number {
    let depth = 0;
    for (let i = at - 1; i >= 0; i--) {
      const type = this.tokens[i]?.tokenType;
      if (type === undefined) continue;
      if (openerOf.has(type)) depth++;
      else if (type === t.LParen || type === t.LSquare || type === t.LCurly) depth--;
      if (depth < 0 && type === t.LCurly) return i + 1;
      if (depth <= 0 && (type === t.Newline || type === t.Semicolon)) return i + 1;
    }
    return 0;
  }

  /** The first two words of the statement around a token: `layer linear`. */
  private header(at: number): string {
    const start = this.statementStart(at);
    const words = this.tokens.slice(start, start + 2).filter(isName).map((token) => token.image);
    return words.length === 0 ? "this" : `\`${words.join(" ")}\``;
  }

  private bracketed(rule: string, open: number, stack: readonly string[]): string {
    const owner = this.ownerOf(open);
    const of = owner === "" ? "" : ` of \`${owner}\``;
    switch (rule) {
      case "args":
        return `the arguments${of}`;
      case "params":
        return `the parameters${of}`;
      case "axisNames":
        return `the axes${of}`;
      case "brackets":
      case "binding":
        return owner === "" ? "the brackets" : `the brackets after \`${owner}\``;
      case "list":
        return "the list";
      case "parens":
        return "the parenthesis";
      case "members":
        return `the body of ${this.header(open)}`;
      case "block":
        return stack.includes("method") || stack.includes("fn") ? `the body of ${this.header(open)}` : "the block";
      case "by":
        return "the cases of `by`";
      case "use":
        return "the names of `use`";
      case "stack":
        return "the count of `stack`";
      case "taskGroup":
        return "the group";
      case "taskRepeat":
        return "the repetition";
      default:
        return "the brackets";
    }
  }

  /** The name right before a bracket, past the axes of a call: `dot` for the second bracket of `dot[d](`. */
  private ownerOf(open: number): string {
    let n = open - 1;
    if (this.tokens[n]?.tokenType === t.RSquare) {
      let depth = 0;
      do {
        const type = this.tokens[n]?.tokenType;
        if (type === t.RSquare) depth++;
        else if (type === t.LSquare) depth--;
        n--;
      } while (n >= 0 && depth > 0);
    }
    const token = this.tokens[n];
    return token !== undefined && isName(token) ? token.image : "";
  }
}

/** A token in words: `name`, the end of the line, the end of the file. */
export function describe(token: IToken | undefined): string {
  if (token === undefined || Number.isNaN(token.startOffset)) return "the end of the file";
  if (token.tokenType === t.Newline) return "the end of the line";
  return `\`${token.image}\``;
}

/** What a word or sign of other languages is here, where one stands between two values. */
function otherwise(found: IToken | undefined, previous: IToken): string | undefined {
  if (found === undefined) return undefined;
  if (found.image === "and") return "`&` joins two conditions";
  if (found.image === "or") return "`|` joins two conditions";
  if (found.image === "=") return "`==` compares two values";
  if (previous.image === "not") return "`!` turns a condition round: `!within(image)`";
  if (previous.image === "if") return "`when condition then a else b` chooses between two";
  return undefined;
}

function startsAfter(previous: IToken): boolean {
  return previous.tokenType === t.Newline || previous.tokenType === t.Semicolon || previous.tokenType === t.LCurly;
}

function isName(token: IToken): boolean {
  return token.tokenType === t.Identifier || (token.tokenType.CATEGORIES ?? []).includes(t.Name);
}

function endOf(token: IToken): number {
  return token.startOffset + token.image.length;
}
