// What the compiler has to say to a person, as data. Rendering lives in compiler/report.
// Messages are lower case, without a full stop, and stand alone; `notes` hold facts, `help` says what to do.
// The primary label is the smallest span that is at fault; further labels may lie in other files.

import { codes } from "./codes.ts";
import type { Code, Severity } from "./codes.ts";
import type { Span } from "./source.ts";

export interface Label {
  readonly span: Span;
  readonly text: string;
  readonly primary: boolean;
}

export interface Edit {
  readonly span: Span;
  readonly text: string;
}

/** A change that an editor can apply: all edits of one fix together. */
export interface Fix {
  readonly title: string;
  readonly edits: readonly Edit[];
}

export interface Diagnostic {
  readonly code: Code;
  readonly severity: Severity;
  readonly message: string;
  readonly labels: readonly Label[];
  readonly notes: readonly string[];
  readonly help?: string;
  readonly fixes: readonly Fix[];
}

/** What may be said beyond code, message and place. */
export interface Details {
  /** Text under the primary span. */
  readonly label?: string;
  /** Further places; never primary. */
  readonly also?: readonly { readonly span: Span; readonly text: string }[];
  readonly notes?: readonly string[];
  readonly help?: string | undefined;
  readonly fixes?: readonly Fix[];
}

/** Makes a diagnostic; its severity is the one its code has in `codes`. */
export function diagnostic(code: Code, message: string, at: Span | null, details: Details = {}): Diagnostic {
  const labels: Label[] = at === null ? [] : [{ span: at, text: details.label ?? "", primary: true }];
  for (const other of details.also ?? []) labels.push({ span: other.span, text: other.text, primary: false });
  return {
    code,
    severity: codes[code].severity,
    message,
    labels,
    notes: details.notes ?? [],
    ...(details.help === undefined ? {} : { help: details.help }),
    fixes: details.fixes ?? [],
  };
}

/** The span a diagnostic is about, or null where it has no place in a file. */
export function primarySpan(d: Diagnostic): Span | null {
  return d.labels.find((label) => label.primary)?.span ?? null;
}

export function isFatal(d: Diagnostic): boolean {
  return d.severity === "error" || d.severity === "bug";
}

/** Collects diagnostics; the same mistake at the same place is kept once. */
export class Bag {
  private readonly items: Diagnostic[] = [];
  private readonly seen = new Set<string>();

  add(d: Diagnostic): void {
    const at = primarySpan(d);
    const key = `${d.code}|${at?.source ?? ""}|${at?.start ?? -1}|${at?.end ?? -1}|${d.message}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    this.items.push(d);
  }

  addAll(all: Iterable<Diagnostic>): void {
    for (const d of all) this.add(d);
  }

  report(code: Code, message: string, at: Span | null, details: Details = {}): void {
    this.add(diagnostic(code, message, at, details));
  }

  get hasErrors(): boolean {
    return this.items.some(isFatal);
  }

  get size(): number {
    return this.items.length;
  }

  /** Everything reported, by file and position; what has no position comes first. */
  sorted(): Diagnostic[] {
    return sortDiagnostics(this.items);
  }
}

export function sortDiagnostics(all: readonly Diagnostic[]): Diagnostic[] {
  return [...all].sort((a, b) => {
    const x = primarySpan(a);
    const y = primarySpan(b);
    if (x === null || y === null) return (x === null ? 0 : 1) - (y === null ? 0 : 1);
    if (x.source !== y.source) return x.source < y.source ? -1 : 1;
    return x.start - y.start || x.end - y.end;
  });
}
