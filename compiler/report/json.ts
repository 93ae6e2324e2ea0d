// In: diagnostics and their sources. Out: plain data for editors, pages and other programs, with lines and columns worked out.
// Offsets are UTF-16 code units, lines and columns start at 1 and count code points. The shape is part of the public interface.

import { codes } from "../../grammar/codes.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { placeAt } from "../../grammar/source.ts";
import type { Place, Span } from "../../grammar/source.ts";
import type { Sources } from "./render.ts";

export interface JsonSpan {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  /** Null where the source is not at hand. */
  readonly from: Place | null;
  readonly to: Place | null;
}

export interface JsonDiagnostic {
  readonly code: string;
  readonly title: string;
  readonly severity: string;
  readonly message: string;
  readonly labels: readonly { readonly span: JsonSpan; readonly text: string; readonly primary: boolean }[];
  readonly notes: readonly string[];
  readonly help: string | null;
  readonly fixes: readonly { readonly title: string; readonly edits: readonly { readonly span: JsonSpan; readonly text: string }[] }[];
}

export function diagnosticToJson(d: Diagnostic, sources: Sources): JsonDiagnostic {
  return {
    code: d.code,
    title: codes[d.code].title,
    severity: d.severity,
    message: d.message,
    labels: d.labels.map((label) => ({ span: jsonSpan(label.span, sources), text: label.text, primary: label.primary })),
    notes: d.notes,
    help: d.help ?? null,
    fixes: d.fixes.map((fix) => ({
      title: fix.title,
      edits: fix.edits.map((edit) => ({ span: jsonSpan(edit.span, sources), text: edit.text })),
    })),
  };
}

export function diagnosticsToJson(all: readonly Diagnostic[], sources: Sources): JsonDiagnostic[] {
  return all.map((d) => diagnosticToJson(d, sources));
}

function jsonSpan(span: Span, sources: Sources): JsonSpan {
  const source = sources(span.source);
  return {
    path: span.source,
    start: span.start,
    end: span.end,
    from: source === undefined ? null : placeAt(source, span.start),
    to: source === undefined ? null : placeAt(source, span.end),
  };
}
