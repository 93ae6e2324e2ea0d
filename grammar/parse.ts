// In: a source. Out: its concrete syntax tree, its comments, and every mistake of spelling and grammar.
// Never throws on any text; a tree comes back even for a file full of mistakes. Holds the one lexer and the one parser.

import { Lexer } from "chevrotain";
import type { CstNode, ILexingError, IToken } from "chevrotain";
import { Bag, diagnostic, primarySpan } from "./diagnostic.ts";
import type { Diagnostic } from "./diagnostic.ts";
import { layOut } from "./layout.ts";
import { HeddleParser } from "./parser.ts";
import type { Source, Span } from "./source.ts";
import { syntaxErrors } from "./syntax_errors.ts";
import * as t from "./tokens.ts";

/** A `//` comment; `doc` for the three slashes of a documentation line. */
export interface Comment {
  readonly text: string;
  readonly doc: boolean;
  readonly span: Span;
}

export interface ParseResult {
  readonly cst: CstNode;
  /** In the order they stand in the file. */
  readonly comments: readonly Comment[];
  readonly diagnostics: readonly Diagnostic[];
}

const lexer = new Lexer(t.allTokens, { positionTracking: "onlyOffset" });
const parser = new HeddleParser();

export function parseFile(source: Source): ParseResult {
  const lexed = lexer.tokenize(source.text);
  const bag = new Bag();
  for (const error of lexed.errors) bag.add(unknownCharacter(source, error));
  for (const hash of lexed.groups["hashes"] ?? []) bag.add(hashComment(source, hash));
  for (const token of lexed.tokens) bag.addAll(badToken(source, token));
  const tokens = layOut(lexed.tokens);
  parser.input = tokens;
  const cst = parser.file();
  // What follows a stray character or an open string on its line is not what was meant, so no more is said about it.
  const spoiled = [
    ...lexed.errors.map((error) => error.offset),
    ...tokens.filter((token) => token.tokenType === t.OpenString).map((token) => token.startOffset),
  ];
  bag.addAll(syntaxErrors(source, tokens, parser.errors).filter((d) => !followsOnLine(source, spoiled, primarySpan(d))));
  return { cst, comments: comments(source, lexed.groups), diagnostics: bag.sorted() };
}

function followsOnLine(source: Source, offsets: readonly number[], at: Span | null): boolean {
  if (at === null) return false;
  return offsets.some((offset) => offset <= at.start && !/[\r\n]/.test(source.text.slice(offset, at.start)));
}

function comments(source: Source, groups: Readonly<Record<string, IToken[]>>): Comment[] {
  const all = [...(groups["comments"] ?? []), ...(groups["docs"] ?? [])].map((token): Comment => {
    return { text: token.image, doc: token.tokenType === t.DocComment, span: spanOf(source, token) };
  });
  return all.sort((a, b) => a.span.start - b.span.start);
}

function unknownCharacter(source: Source, error: ILexingError): Diagnostic {
  const at = { source: source.path, start: error.offset, end: error.offset + error.length };
  const text = source.text.slice(at.start, at.end);
  const character = String.fromCodePoint(text.codePointAt(0) ?? 0);
  const first = { ...at, end: at.start + character.length };
  const help = "“”„«»".includes(character) ? "strings are written with straight quotes, `\"`" : undefined;
  return diagnostic("E0101", `\`${character}\` means nothing here`, first, { help });
}

function hashComment(source: Source, token: IToken): Diagnostic {
  const at = { source: source.path, start: token.startOffset, end: token.startOffset + 1 };
  return diagnostic("E0101", "`#` means nothing here", at, {
    help: "comments start with `//`",
    fixes: [{ title: "write `//`", edits: [{ span: at, text: "//" }] }],
  });
}

function badToken(source: Source, token: IToken): Diagnostic[] {
  const at = spanOf(source, token);
  switch (token.tokenType) {
    case t.OpenString:
      return [diagnostic("E0102", "this string has no closing quote", { ...at, end: at.start + 1 }, {
        label: "opened here",
        help: "a string ends on the line it starts on; a line break inside one is written `\\n`",
      })];
    case t.SingleQuoted: {
      const text = `"${token.image.slice(1, -1).replaceAll("\"", "\\\"")}"`;
      return [diagnostic("E0101", "strings are written with double quotes", at, {
        fixes: [{ title: `write \`${text}\``, edits: [{ span: at, text }] }],
      })];
    }
    case t.BadNumber:
      return [badNumber(at, token.image)];
    case t.String:
      return badEscapes(at, token.image);
    default:
      return [];
  }
}

function badNumber(at: Span, image: string): Diagnostic {
  if (image.startsWith(".")) {
    return diagnostic("E0117", `\`${image}\` needs a digit before the point`, at, { fixes: [{ title: `write \`0${image}\``, edits: [{ span: at, text: `0${image}` }] }] });
  }
  if (image.endsWith(".")) {
    return diagnostic("E0117", `\`${image}\` needs a digit after the point`, at, { fixes: [{ title: `write \`${image}0\``, edits: [{ span: at, text: `${image}0` }] }] });
  }
  return diagnostic("E0117", `\`${image}\` is neither a number nor a name`, at, {
    help: "a number is digits, one point and an exponent, such as `0.95` or `3e-4`; a name starts with a letter",
  });
}

function badEscapes(at: Span, image: string): Diagnostic[] {
  const found: Diagnostic[] = [];
  for (const match of image.matchAll(/\\(u\{[0-9a-fA-F]{1,6}\}|[\s\S])/g)) {
    const escape = match[1] ?? "";
    const known = ["n", "t", "r", "\\", "\"", "0"].includes(escape) || (escape.startsWith("u{") && parseInt(escape.slice(2), 16) <= 0x10ffff);
    if (known) continue;
    const start = at.start + (match.index ?? 0);
    found.push(diagnostic("E0115", `\`${match[0]}\` is not an escape`, { ...at, start, end: start + match[0].length }, {
      help: "the escapes are `\\n`, `\\t`, `\\r`, `\\0`, `\\\"`, `\\\\` and `\\u{…}`",
    }));
  }
  return found;
}

function spanOf(source: Source, token: IToken): Span {
  return { source: source.path, start: token.startOffset, end: token.startOffset + token.image.length };
}
