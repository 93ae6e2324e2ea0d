// Sources for tests: the library from disk, other modules from a record.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkFile } from "../../compiler/check.ts";
import type { CheckResult, Loader } from "../../compiler/check.ts";
import { makeSource } from "../../grammar/source.ts";
import type { Source } from "../../grammar/source.ts";

export const root = process.env["HEDDLE_ROOT"] ?? join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const library = new Map<string, Source>();

export const loaderOf = (files: Readonly<Record<string, string>> = {}): Loader => ({
  load(module) {
    if (module.startsWith("std.")) {
      const path = `stdlib/${module.slice(4).replaceAll(".", "/")}.heddle`;
      const old = library.get(path);
      if (old) return old;
      if (!existsSync(join(root, path))) return undefined;
      const source = makeSource(path, readFileSync(join(root, path), "utf8"));
      library.set(path, source);
      return source;
    }
    const text = files[module];
    return text === undefined ? undefined : makeSource(`${module}.heddle`, text);
  },
});

export const check = (text: string, files: Readonly<Record<string, string>> = {}): CheckResult => checkFile(makeSource("spec.heddle", text), loaderOf(files));

/** `E0214 axis `kv` is 8 here and 6 there @ q`: code, message and the text under the primary label. */
export function lines(result: CheckResult, text: string): string[] {
  return [...result.diagnostics, ...result.notBuilt].map((d) => {
    const at = d.labels.find((l) => l.primary)?.span;
    return `${d.code} ${d.message}${at && at.source === "spec.heddle" ? ` @ ${text.slice(at.start, at.end)}` : at ? ` @ ${at.source}` : ""}`;
  });
}
