// Every diagnostic code, once, sorted, one a line. A code is one mistake a reader can look up in docs/errors/CODE.md.
// E01xx syntax · E02xx names, axes, types · E03xx checks of a model (streams, tasks, losses, masks)
// E04xx not built yet · E05xx files, data, bundles, run time · W06xx warnings · B0000 a bug of the compiler itself.

export type Severity = "bug" | "error" | "warning" | "note";

export interface CodeInfo {
  readonly title: string;
  readonly severity: Severity;
}

export const codes = {
  B0000: { title: "the compiler broke one of its own rules", severity: "bug" },
  E0100: { title: "unexpected text", severity: "error" },
  E0101: { title: "character that the language does not use", severity: "error" },
  E0102: { title: "string without a closing quote", severity: "error" },
  E0103: { title: "bracket that is never closed", severity: "error" },
  E0104: { title: "closing bracket without an opening one", severity: "error" },
  E0105: { title: "something is missing", severity: "error" },
  E0106: { title: "an expression is missing", severity: "error" },
  E0107: { title: "a name is missing", severity: "error" },
  E0108: { title: "not a declaration", severity: "error" },
  E0109: { title: "comparisons in a chain", severity: "error" },
  E0110: { title: "member in the wrong kind of block", severity: "error" },
  E0111: { title: "unknown kind of member", severity: "error" },
  E0112: { title: "two statements on one line", severity: "error" },
  E0113: { title: "argument by position after an argument by name", severity: "error" },
  E0114: { title: "named argument written with `=`", severity: "error" },
  E0115: { title: "unknown escape in a string", severity: "error" },
  E0116: { title: "block without a value", severity: "error" },
  E0117: { title: "malformed number", severity: "error" },
} as const satisfies Record<string, CodeInfo>;

export type Code = keyof typeof codes;

export function codeInfo(code: Code): CodeInfo {
  return codes[code];
}
