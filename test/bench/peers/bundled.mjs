// Imports what Node cannot import as it stands (TypeScript, modules written for bundlers), through esbuild.
// In: a name and esbuild's entry. Out: the module's exports. The file is written beneath node_modules, so that the packages
// which are left out of it (native ones, and node's own) resolve, and removed once imported.

import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

export const root = join(import.meta.dirname, "../../..");

/**
 * @param {string} name of the temporary file
 * @param {Pick<import("esbuild").BuildOptions, "entryPoints" | "stdin" | "external">} entry
 */
export async function bundled(name, entry) {
  const folder = join(root, "node_modules/.cache/heddle-bench");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `${name}-${process.pid}.mjs`);
  await build({
    external: ["webgpu", "@sparticuz/chromium", "node-fetch"],
    ...entry,
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    mainFields: ["module", "main"],
    banner: { js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);' },
    logLevel: "error",
  });
  try {
    return await import(pathToFileURL(outfile).href);
  } finally {
    rmSync(outfile, { force: true });
  }
}
