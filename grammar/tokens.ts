// The words and signs of the language as Chevrotain token types, in the order the lexer tries them.
// Most words are contextual: they belong to the category Name, so `mask`, `head` or `on` may still name things.
// Only the words in `reservedWords` are never names. Comments and doc comments go to groups the parser does not see.

import { createToken, Lexer } from "chevrotain";
import type { TokenType } from "chevrotain";

/** Anything that can be a name: an identifier or a contextual word. */
export const Name = createToken({ name: "Name", pattern: Lexer.NA, label: "a name" });

export const Identifier = createToken({
  name: "Identifier",
  pattern: /[A-Za-z_]\w*/,
  categories: [Name],
  label: "a name",
});

function word(name: string, text: string): TokenType {
  return createToken({ name, pattern: new RegExp(text), categories: [Name], longer_alt: Identifier, label: `\`${text}\`` });
}

function reserved(name: string, text: string): TokenType {
  return createToken({ name, pattern: new RegExp(text), longer_alt: Identifier, label: `\`${text}\`` });
}

function sign(name: string, text: string): TokenType {
  return createToken({ name, pattern: text, label: `\`${text}\`` });
}

export const When = reserved("When", "when");
export const Else = reserved("Else", "else");
export const Let = reserved("Let", "let");
export const True = reserved("True", "true");
export const False = reserved("False", "false");
export const reservedWords: readonly TokenType[] = [When, Else, Let, True, False];

export const Use = word("Use", "use");
export const As = word("As", "as");
export const Layer = word("Layer", "layer");
export const Fn = word("Fn", "fn");
export const Mask = word("Mask", "mask");
export const Score = word("Score", "score");
export const Router = word("Router", "router");
export const Route = word("Route", "route");
export const Process = word("Process", "process");
export const Tokenizer = word("Tokenizer", "tokenizer");
export const Model = word("Model", "model");
export const Variant = word("Variant", "variant");
export const Of = word("Of", "of");
export const Stage = word("Stage", "stage");
export const Train = word("Train", "train");
export const ParamWord = word("ParamWord", "param");
export const Frozen = word("Frozen", "frozen");
export const Axis = word("Axis", "axis");
export const Loss = word("Loss", "loss");
export const Repeat = word("Repeat", "repeat");
export const In = word("In", "in");
export const Tokens = word("Tokens", "tokens");
export const Task = word("Task", "task");
export const Given = word("Given", "given");
export const Predict = word("Predict", "predict");
export const Beside = word("Beside", "beside");
export const Drop = word("Drop", "drop");
export const Attribute = word("Attribute", "attribute");
export const Embed = word("Embed", "embed");
export const Head = word("Head", "head");
export const Sample = word("Sample", "sample");
export const Network = word("Network", "network");
export const On = word("On", "on");
export const By = word("By", "by");
export const From = word("From", "from");
export const Stack = word("Stack", "stack");
export const Then = word("Then", "then");

const contextualWords = [
  Use, As, Layer, Fn, Mask, Score, Router, Route, Process, Tokenizer, Model, Variant, Of, Stage, Train, ParamWord, Frozen,
  Axis, Loss, Repeat, In, Tokens, Task, Given, Predict, Beside, Drop, Attribute, Embed, Head, Sample, Network, On, By, From, Stack, Then,
];

/** `1`, `0.95`, `3e-4`, `100_000`. Malformed ones are numbers too, so that one mistake is one message. */
export const NumberToken = createToken({ name: "NumberToken", pattern: Lexer.NA, label: "a number" });
export const Number = createToken({
  name: "Number",
  pattern: /\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?(?!\w|\.(?![.\w]))/,
  categories: [NumberToken],
  label: "a number",
});
export const BadNumber = createToken({
  name: "BadNumber",
  pattern: /\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?[A-Za-z_]\w*|\d[\d_]*\.(?![.\w])|\.\d[\d_]*(?:[eE][+-]?\d+)?/,
  categories: [NumberToken],
  label: "a number",
});

/** `"…"`; the two others are mistakes that still stand for a string. */
export const StringToken = createToken({ name: "StringToken", pattern: Lexer.NA, label: "a string" });
export const String = createToken({
  name: "String",
  pattern: /"(?:[^"\\\r\n]|\\[^\r\n])*"/,
  categories: [StringToken],
  label: "a string",
});
export const OpenString = createToken({
  name: "OpenString",
  pattern: /"(?:[^"\\\r\n]|\\[^\r\n])*\\?/,
  categories: [StringToken],
  label: "a string",
});
export const SingleQuoted = createToken({
  name: "SingleQuoted",
  pattern: /'[^'\r\n]*'/,
  categories: [StringToken],
  label: "a string",
});

/** `<boi>` in the layout of a task. */
export const LiteralToken = createToken({ name: "LiteralToken", pattern: /<[A-Za-z_][\w-]*>/, label: "a literal token such as `<bos>`" });

export const FatArrow = sign("FatArrow", "=>");
export const Arrow = sign("Arrow", "->");
export const EqualEqual = sign("EqualEqual", "==");
export const NotEqual = sign("NotEqual", "!=");
export const LessEqual = sign("LessEqual", "<=");
export const GreaterEqual = sign("GreaterEqual", ">=");
export const Less = sign("Less", "<");
export const Greater = sign("Greater", ">");
export const Equals = sign("Equals", "=");
export const StarStar = sign("StarStar", "**");
export const Star = sign("Star", "*");
export const Plus = sign("Plus", "+");
export const Minus = sign("Minus", "-");
export const Slash = sign("Slash", "/");
export const Percent = sign("Percent", "%");
export const Amp = sign("Amp", "&");
export const Bar = sign("Bar", "|");
export const Bang = sign("Bang", "!");
export const Tilde = sign("Tilde", "~");
export const DotDot = sign("DotDot", "..");
export const Dot = sign("Dot", ".");
export const Comma = sign("Comma", ",");
export const Colon = sign("Colon", ":");
export const Semicolon = sign("Semicolon", ";");
export const LParen = sign("LParen", "(");
export const RParen = sign("RParen", ")");
export const LSquare = sign("LSquare", "[");
export const RSquare = sign("RSquare", "]");
export const LCurly = sign("LCurly", "{");
export const RCurly = sign("RCurly", "}");

/** Kept by the layout step only where a statement ends. */
export const Newline = createToken({ name: "Newline", pattern: /\r\n|\n|\r/, line_breaks: true, label: "the end of the line" });

export const DocComment = createToken({ name: "DocComment", pattern: /\/\/\/[^\r\n]*/, group: "docs" });
export const Comment = createToken({ name: "Comment", pattern: /\/\/[^\r\n]*/, group: "comments" });
/** Not a comment here, but read as one, so that a habit from another language is one message. */
export const HashComment = createToken({ name: "HashComment", pattern: /#[^\r\n]*/, group: "hashes" });
export const Space = createToken({ name: "Space", pattern: /[ \t\f\u00a0\ufeff]+/, group: Lexer.SKIPPED });

/** Operators with two sides: a line may end or start with one and go on. */
export const binaryOperators: readonly TokenType[] = [
  Plus, Minus, Star, Slash, Percent, StarStar, EqualEqual, NotEqual, LessEqual, GreaterEqual, Less, Greater, Amp, Bar,
];

export const allTokens: TokenType[] = [
  Newline, Space, DocComment, Comment, HashComment,
  Name, NumberToken, StringToken,
  Number, BadNumber, String, OpenString, SingleQuoted, LiteralToken,
  FatArrow, Arrow, EqualEqual, NotEqual, LessEqual, GreaterEqual, Less, Greater, Equals,
  StarStar, Star, Plus, Minus, Slash, Percent, Amp, Bar, Bang, Tilde, DotDot, Dot, Comma, Colon, Semicolon,
  LParen, RParen, LSquare, RSquare, LCurly, RCurly,
  ...reservedWords, ...contextualWords, Identifier,
];
