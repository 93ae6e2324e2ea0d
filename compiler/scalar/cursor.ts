// In: one line of a text form. Out: its words, one after the other. Shared by the readers of scalars, attributes and graphs.
// Refuses what it does not expect with a TextError that names the line and the column; only hand-written text can cause one.

export class TextError extends Error {
  readonly line: number;
  readonly column: number;
  constructor(message: string, line: number, column: number) {
    super(`line ${line}, column ${column}: ${message}`);
    this.line = line;
    this.column = column;
  }
}

export class Cursor {
  readonly text: string;
  readonly line: number;
  at = 0;

  constructor(text: string, line = 1) {
    this.text = text;
    this.line = line;
  }

  fail(expected: string): never {
    throw new TextError(`expected ${expected}, found \`${this.text.slice(this.at, this.at + 12)}\``, this.line, this.at + 1);
  }

  space(): void {
    while (this.text[this.at] === " ") this.at++;
  }

  done(): boolean {
    this.space();
    return this.at >= this.text.length;
  }

  /** Takes `s` when it comes next. */
  take(s: string): boolean {
    this.space();
    if (!this.text.startsWith(s, this.at)) return false;
    this.at += s.length;
    return true;
  }

  expect(s: string): void {
    if (!this.take(s)) this.fail(`\`${s}\``);
  }

  /** Matches a sticky regular expression. */
  match(re: RegExp, what: string): string {
    return this.tryMatch(re) ?? this.fail(what);
  }

  tryMatch(re: RegExp): string | undefined {
    this.space();
    const sticky = new RegExp(re.source, "y");
    sticky.lastIndex = this.at;
    const m = sticky.exec(this.text);
    if (!m) return undefined;
    this.at = sticky.lastIndex;
    return m[0];
  }

  word(): string {
    return this.match(/[A-Za-z_][A-Za-z0-9_]*/, "a word");
  }

  string(): string {
    return JSON.parse(this.match(/"(?:[^"\\]|\\.)*"/, "a quoted text")) as string;
  }

  /** A bare or a quoted name. */
  name(): string {
    this.space();
    return this.text[this.at] === '"' ? this.string() : this.match(/[A-Za-z_][A-Za-z0-9_.]*/, "a name");
  }

  number(): number {
    return Number(this.match(/-?Infinity|NaN|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?/, "a number"));
  }

  /** `open item, item close`. */
  list<T>(open: string, close: string, item: () => T): T[] {
    this.expect(open);
    const out: T[] = [];
    while (!this.take(close)) {
      if (out.length > 0) this.expect(",");
      out.push(item());
    }
    return out;
  }
}
