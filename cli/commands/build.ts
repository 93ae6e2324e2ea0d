// heddle build SPEC -o DIR: a bundle that runs without the compiler. The folder appears whole or not at all.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Command } from "commander";
import { INFERENCE, trainingPrograms } from "../../compiler/compile.ts";
import type { ProgramName } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../../runtime/error.ts";
import { writeError } from "../../runtime/weights/file.ts";
import { loadParameters, parameterTensors } from "../../runtime/weights/parameters.ts";
import { writeSafetensors } from "../../runtime/weights/safetensors.ts";
import { compileFor, kernelsFor } from "../compile.ts";
import { gpuPackages, packageRoot, version } from "../package_root.ts";
import { modelOf } from "../spec.ts";
import { readWeights } from "../weights.ts";

interface Options {
  out: string;
  weights?: string;
  raw?: boolean;
  model?: string;
  target: string;
  precision: string;
  train?: boolean;
  json?: boolean;
}

export function addBuild(program: Command): void {
  program
    .command("build")
    .description("compile a spec to a bundle: manifest, WGSL, weights, typed client")
    .argument("<spec>", ".heddle file")
    .requiredOption("-o, --out <dir>", "folder of the bundle; replaced when it is a bundle already")
    .option("--weights <path>", "safetensors file, checkpoint, or --out folder of a training run")
    .option("--raw", "the weights themselves where a run also keeps their average (EMA)")
    .option("--model <name>", "which model or variant of the spec")
    .option("--target <name>", "kernels for: auto, guaranteed, software", "auto")
    .option("--precision <name>", "storage of what attention reads and of the cache: f32, f16; arithmetic is f32", "f32")
    .option("--train", "add the training programs")
    .option("--json", "what was built as JSON on stdout")
    .action(build);
}

async function build(file: string, options: Options): Promise<void> {
  const { model, checked: spec } = modelOf(file, options.model);
  const { target, precision } = await kernelsFor(options);
  if (existsSync(options.out) && readdirSync(options.out).length > 0 && !existsSync(path.join(options.out, "manifest.json")))
    throw new HeddleError({ code: "E0574", message: `\`${options.out}\` is not empty and not a bundle`, place: options.out, help: "choose another folder", exit: 2 });
  const weights = options.weights === undefined ? undefined : await readWeights(options.weights, options.raw ?? false);
  const programs: ProgramName[] = [...INFERENCE, ...(options.train ? trainingPrograms(model) : [])];
  const compiled = compileFor(model, target, programs, { precision, sources: spec.sources });
  // Read and written again: a file of other shapes is refused here, not when the bundle is opened.
  const checked = weights && writeSafetensors(parameterTensors(compiled.spec, loadParameters(compiled.spec, weights.bytes, weights.file)), { format: "heddle" });
  const tokenizers = new Map<string, Uint8Array>();
  for (const s of compiled.spec.streams)
    if (s.kind === "text" && s.tokenizer.kind === "bpe") tokenizers.set(s.tokenizer.file, new Uint8Array(readFileSync(path.join(path.dirname(file), s.tokenizer.file))));
  const { bundleFiles } = await import("../../compiler/bundle/files.ts");
  const files = bundleFiles({ compiled, version, ...(checked ? { weights: checked } : {}), tokenizers, runtime: portableRuntime(), packages: gpuPackages, lengths: { batch: 1, t: 64, s: 128, spare: 0 } });
  await writeFolder(options.out, files);
  const bytes = [...files.values()].reduce((n, b) => n + b.length, 0);
  const dispatches = Object.fromEntries(Object.entries(compiled.plans).map(([n, p]) => [n, p.cost.dispatches]));
  if (options.json) process.stdout.write(`${JSON.stringify({ out: options.out, files: files.size, bytes, target: target.name, dispatches })}\n`);
  else process.stdout.write(`${options.out}: ${files.size} files, ${(bytes / 2 ** 20).toFixed(2)} MiB, ${Object.entries(dispatches).map(([n, d]) => `${n} ${d} dispatches`).join(", ")}\n`);
}

/** Files of dist/portable: the runtime that bundles carry. */
function portableRuntime(): Map<string, Uint8Array> {
  const folder = path.join(packageRoot, "dist", "portable");
  if (!existsSync(folder)) throw new HeddleError({ code: "E0583", message: "the package is not built", help: "run `npm run build` first" });
  return new Map(readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(path.join(folder, name)))]));
}

/** Into a temporary folder beside, then renamed; an old bundle is moved out of the way and removed last. */
async function writeFolder(out: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const target = path.resolve(out);
  let temp: string | undefined;
  try {
    await mkdir(path.dirname(target), { recursive: true });
    temp = await mkdtemp(path.join(path.dirname(target), ".heddle-build-"));
    for (const [name, bytes] of files) {
      await mkdir(path.dirname(path.join(temp, name)), { recursive: true });
      await writeFile(path.join(temp, name), bytes);
    }
    const old = existsSync(target) && (await readdir(target)).length > 0 ? `${temp}.old` : undefined;
    if (old !== undefined) await rename(target, old);
    else await rm(target, { recursive: true, force: true });
    await rename(temp, target);
    if (old !== undefined) await rm(old, { recursive: true, force: true });
  } catch (thrown) {
    if (temp !== undefined) await rm(temp, { recursive: true, force: true }).catch(() => {});
    throw writeError(out, thrown);
  }
}
