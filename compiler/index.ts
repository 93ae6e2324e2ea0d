// The public compiler: check a spec, format it, compile a checked model to plans. In: text and a Loader. Out: data.
// Writing bundles is the command's (`heddle build`), so that this stays free of files and of the code writer.

export { format } from "./ast/format.ts";
export { checkFile as check, type CheckResult, type Loader } from "./check.ts";
export { compileModel as compile, type CompiledModel, type CompileOptions, type CompileResult, INFERENCE, trainingPrograms } from "./compile.ts";
export { guaranteed, software, type Target } from "./kernel/kernel.ts";
export type { Manifest, ModelSpec, ProgramName } from "./plan/manifest.ts";
export type { Plan } from "./plan/plan.ts";
export { diagnosticsToJson, type JsonDiagnostic } from "./report/json.ts";
export { renderAll, type Sources, sourcesOf } from "./report/render.ts";
export type { Model } from "./types/model.ts";
export { codes, type Code } from "../grammar/codes.ts";
export { type Diagnostic, isFatal } from "../grammar/diagnostic.ts";
export { makeSource, type Source, type Span } from "../grammar/source.ts";
