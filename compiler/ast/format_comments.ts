// Where comments go when a file is printed anew. A comment keeps its place among the statements around it: it stands above the
// statement it stood above, or behind the one it followed on a line. A comment inside an expression moves above its statement.
// At most one blank line is kept between two things, and none at the edges of a body. Neighbouring `=` are aligned.

import type { Comment } from "../../grammar/parse.ts";
import type { Source, Span } from "../../grammar/source.ts";

/** Lines are broken at this column where they can be. */
export const lineWidth = 120;

/** Stands in the text of an entry for the blank before its `=`; `aligned` makes it as many blanks as the run of lines needs. */
export const beforeEquals = "\u0001";

/** One line-oriented thing: a declaration, a member, a statement, a case. */
export interface Entry {
  readonly span: Span;
  /** Where the first body inside begins; comments before it go above the entry. */
  readonly bodyStart?: number | undefined;
  readonly print: () => string;
}

export class Comments {
  private readonly source: Source;
  private readonly all: readonly Comment[];
  private next = 0;

  constructor(source: Source, all: readonly Comment[]) {
    this.source = source;
    this.all = all;
  }

  /** Whether a comment that is not yet printed starts inside. */
  anyIn(span: Span): boolean {
    return this.all.some((comment, i) => i >= this.next && comment.span.start >= span.start && comment.span.start < span.end);
  }

  /** Prints entries in order, each on its own lines, with the comments up to `end`. */
  lines(indent: string, entries: readonly Entry[], end: number): string {
    let text = "";
    let last: number | null = null;
    const comment = (one: Comment, inside: boolean): void => {
      text += this.gap(last, one.span.start) + indent + canonical(one, inside) + "\n";
      last = one.span.end;
    };
    for (const entry of entries) {
      const above = entry.bodyStart ?? entry.span.end;
      for (let one = this.peek(above); one !== undefined; one = this.peek(above)) {
        const inside = one.span.start >= entry.span.start;
        // A comment from inside the entry stands directly above it, whatever blank lines are around.
        if (inside) text += (last === null || last >= entry.span.start ? "" : this.gap(last, entry.span.start)) + indent + canonical(one, true) + "\n";
        else comment(one, false);
        last = inside ? entry.span.start : last;
        this.next++;
      }
      text += (last === entry.span.start ? "" : this.gap(last, entry.span.start)) + indent + oneLine(entry.print());
      last = entry.span.end;
      const trailing = this.peek(end);
      if (trailing !== undefined && this.sameLine(entry.span.end, trailing.span.start)) {
        text += ` ${canonical(trailing, false)}`;
        last = trailing.span.end;
        this.next++;
      }
      text += "\n";
    }
    for (let one = this.peek(end); one !== undefined; one = this.peek(end)) {
      comment(one, false);
      this.next++;
    }
    return aligned(text);
  }

  private peek(before: number): Comment | undefined {
    const comment = this.all[this.next];
    return comment !== undefined && comment.span.start < before ? comment : undefined;
  }

  private sameLine(from: number, to: number): boolean {
    return /^[^\r\n]*$/.test(this.source.text.slice(from, to));
  }

  private gap(last: number | null, start: number): string {
    if (last === null) return "";
    return /\n[^\S\n]*\r?\n/.test(this.source.text.slice(last, start)) ? "\n" : "";
  }
}

/**
 * Brings the `=` of neighbouring one-line members under each other. Where that would make a line too long or leave a gap
 * wider than a few words, the run stays as it is.
 */
function aligned(text: string): string {
  if (!text.includes(beforeEquals)) return text;
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; ) {
    let end = i;
    while (lines[end]?.includes(beforeEquals) === true) end++;
    const run = lines.slice(i, end);
    const heads = run.map((line) => line.indexOf(beforeEquals));
    const widest = Math.max(...heads);
    const fits = widest - Math.min(...heads) <= 24 && run.every((line, n) => line.length + widest - (heads[n] ?? 0) <= lineWidth);
    run.forEach((line, n) => {
      lines[i + n] = line.replace(beforeEquals, " ".repeat(fits ? widest - (heads[n] ?? 0) + 1 : 1));
    });
    i = Math.max(end, i + 1);
  }
  return lines.join("\n");
}

/** Only an entry on one line takes part in a run. */
function oneLine(text: string): string {
  return text.includes("\n") ? text.replaceAll(beforeEquals, " ") : text;
}

/** `//text` becomes `// text`. A doc line that is moved above a statement would become its doc, so it turns into a comment. */
function canonical(comment: Comment, moved: boolean): string {
  const slashes = comment.doc ? "///" : "//";
  const body = comment.text.slice(slashes.length).trimEnd();
  const lead = body === "" || body.startsWith(" ") || body.startsWith("/") ? "" : " ";
  return (comment.doc && moved ? "//" : slashes) + lead + body;
}
