// Spec files on disk to checked models. In: a path. Out: models, or rendered diagnostics and exit code 1.
// Modules: `std.x` is stdlib/x.heddle of the package, anything else a path relative to the file that uses it.

import { readFileSync } from "node:fs";
import path from "node:path";
import { checkFile, type Loader } from "../compiler/check.ts";
import { diagnosticsToJson } from "../compiler/report/json.ts";
import { renderAll, type Sources } from "../compiler/report/render.ts";
import type { Model } from "../compiler/types/model.ts";
import type { Code } from "../grammar/codes.ts";
import type { Diagnostic } from "../grammar/diagnostic.ts";
import { makeSource, type Source } from "../grammar/source.ts";
import { HeddleError } from "../runtime/error.ts";
import { EXIT, Exit } from "./exit_code.ts";
import { packageRoot } from "./package_root.ts";
import { takesColour } from "./show/preview.ts";

/** Reads modules from disk and keeps every source it gave out, for rendering. */
export class FileLoader implements Loader {
  readonly #sources = new Map<string, Source>();

  load(module: string, from: string): Source | undefined {
    const file = module.startsWith("std.")
      ? path.join(packageRoot, "stdlib", `${module.slice(4).replaceAll(".", "/")}.heddle`)
      : path.join(path.dirname(from), module.endsWith(".heddle") ? module : `${module.replace(/(?<=[^./])\.(?=[^./])/g, "/")}.heddle`);
    const shown = module.startsWith("std.") ? `stdlib/${path.relative(path.join(packageRoot, "stdlib"), file)}` : file;
    const old = this.#sources.get(shown);
    if (old) return old;
    try {
      return this.add(makeSource(shown, readFileSync(file, "utf8")));
    } catch {
      return undefined;
    }
  }

  read(file: string, from: string): string | undefined {
    try {
      return readFileSync(path.join(path.dirname(from), file), "utf8");
    } catch {
      return undefined;
    }
  }

  add(source: Source): Source {
    this.#sources.set(source.path, source);
    return source;
  }

  readonly sources: Sources = (name) => this.#sources.get(name);
}

/** The text of a spec; E0580 when it cannot be read. */
export function readSource(file: string): Source {
  try {
    return makeSource(file, readFileSync(file, "utf8"));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why = code === "ENOENT" ? "does not exist" : code === "EISDIR" ? "is a folder, not a spec" : `cannot be read (${code ?? "unknown"})`;
    throw new HeddleError({ code: "E0580", message: `\`${file}\` ${why}`, help: "give the path of a `.heddle` file", exit: 2 });
  }
}

export interface Checked {
  readonly source: Source;
  readonly models: readonly Model[];
  readonly diagnostics: readonly Diagnostic[];
  readonly sources: Sources;
}

export function checkSpec(file: string): Checked {
  const loader = new FileLoader();
  const source = loader.add(readSource(file));
  const { models, diagnostics } = checkFile(source, loader);
  return { source, models, diagnostics, sources: loader.sources };
}

/** Diagnostics to stderr, or to stdout as JSON. */
export function report(checked: Pick<Checked, "diagnostics" | "sources">, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ diagnostics: diagnosticsToJson(checked.diagnostics, checked.sources) }, null, 2)}\n`);
    return;
  }
  if (checked.diagnostics.length === 0) return;
  const forced = (process.env.FORCE_COLOR ?? "") !== "" && (process.env.NO_COLOR ?? "") === "";
  process.stderr.write(renderAll(checked.diagnostics, checked.sources, { color: forced || takesColour(process.stderr, process.env) }));
}

export const hasErrors = (diagnostics: readonly Diagnostic[]): boolean => diagnostics.some((d) => d.severity === "error" || d.severity === "bug");

/** Warnings about masks, which `check`, `build` and `train` say. */
export const maskWarnings: readonly Code[] = ["W0602", "W0604", "W0605", "W0606"];

/** Errors about masks: the model is known all the same, and can be looked at. */
export const maskErrors: readonly Code[] = ["E0307", "E0321", "E0322", "E0323"];

/**
 * The one model of a spec that a command works on; ends the command when the spec has errors. `unsaid` are warnings that do not matter
 * to it, `despite` errors that are said and do not end it.
 */
export function modelOf(file: string, name: string | undefined, unsaid: readonly Code[] = [], despite: readonly Code[] = []): { model: Model; checked: Checked } {
  const checked = checkSpec(file);
  report({ diagnostics: checked.diagnostics.filter((d) => !unsaid.includes(d.code)), sources: checked.sources }, false);
  if (hasErrors(checked.diagnostics.filter((d) => !despite.includes(d.code)))) throw new Exit(EXIT.failed);
  const names = checked.models.map((m) => m.name).join(", ");
  const model = name === undefined ? checked.models[0] : checked.models.find((m) => m.name === name);
  if (!model)
    throw new HeddleError({
      code: "E0581",
      message: name === undefined ? `\`${file}\` has no model` : `\`${file}\` has no model \`${name}\``,
      help: names === "" ? "declare one with `model`" : `it has ${names}; choose with --model`,
      exit: 2,
    });
  if (model.notBuilt.length > 0) {
    report({ diagnostics: model.notBuilt, sources: checked.sources }, false);
    throw new Exit(EXIT.failed);
  }
  return { model, checked };
}
