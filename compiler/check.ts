// In: the source of one file and a Loader for what it uses. Out: its checked models, and every diagnostic of the file in one run.
// Declarations are checked standing alone first, then each model and variant with its own sizes.
// Never throws on any text. What is valid but does not lower yet stands in `notBuilt`, of the file and of each model.

import type { Diagnostic } from "../grammar/diagnostic.ts";
import type { Source } from "../grammar/source.ts";
import { maskDiagnostics } from "./mask/diagnostics.ts";
import { checkAlone } from "./types/alone.ts";
import { buildModel } from "./types/build_model.ts";
import { newContext } from "./types/elaborate.ts";
import { planOf } from "./types/members_of_model.ts";
import type { Model } from "./types/model.ts";
import { Files } from "./types/modules.ts";
import type { LinkedFile, Loader } from "./types/modules.ts";

export type { Loader } from "./types/modules.ts";

export interface CheckResult {
  /** Models and variants of the file itself, in the order of the text; those with errors are left out, unless the errors are about
   *  what a mask lets through: such a model is whole, and its mask can be drawn. */
  readonly models: readonly Model[];
  readonly diagnostics: readonly Diagnostic[];
  readonly notBuilt: readonly Diagnostic[];
}

export function checkFile(source: Source, loader: Loader): CheckResult {
  const cx = newContext();
  cx.read = (file, from) => loader.read?.(file, from);
  const files = new Files(cx, loader);
  const root = files.link(source);
  for (const f of files.all) {
    if (f.library && f !== root) continue;
    for (const d of f.module.decls) checkAlone(cx, d, f.scope);
  }
  const unread = cx.diagnostics().some((d) => d.code.startsWith("E01"));
  const models: Model[] = [];
  const declared = modelsOf(files.all);
  for (const d of root.module.decls) {
    if (d.kind !== "model" && d.kind !== "variant") {
      if (d.kind === "stage" || d.kind === "train") cx.later("E0405", `a \`${d.kind}\` outside a model is read, but it is not built yet`, d.span, { help: "write it inside the model" });
      continue;
    }
    const find = (name: string) => declared.find((m) => m.decl.name.text === name && m.file === root) ?? declared.find((m) => m.decl.name.text === name);
    const plan = planOf(cx, d, root.scope, (name) => {
      const found = find(name);
      return found && { decl: found.decl, scope: found.file.scope };
    }, declared.map((m) => m.decl.name.text));
    const model = plan && buildModel(cx, plan);
    if (!model) continue;
    // Where text was left out, the mask is not the one that was meant.
    if (!unread) cx.bag.addAll(maskDiagnostics(model));
    models.push(model);
  }
  return { models, diagnostics: cx.diagnostics(), notBuilt: cx.notBuilt.sorted() };
}

function modelsOf(files: readonly LinkedFile[]) {
  return files.flatMap((file) => file.module.decls.flatMap((decl) => (decl.kind === "model" || decl.kind === "variant" ? [{ decl, file }] : [])));
}
