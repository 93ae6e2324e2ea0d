// Builds the package: tsc for every module, then esbuild for the portable runtime that bundles carry (browser and Node alike).
// `node scripts/build.mjs` does nothing when dist/ is newer than every source.

import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const stamp = path.join(root, "dist", ".built");
const newest = (folder) =>
  readdirSync(folder, { withFileTypes: true }).reduce((t, e) => {
    const p = path.join(folder, e.name);
    return Math.max(t, e.isDirectory() ? newest(p) : statSync(p).mtimeMs);
  }, 0);
const sources = ["grammar", "compiler", "runtime", "cli", "scripts"].map((d) => newest(path.join(root, d)));
const fresh = Math.max(...sources, statSync(path.join(root, "tsconfig.json")).mtimeMs);
if (!process.argv.includes("--force") && existsSync(stamp) && statSync(stamp).mtimeMs > fresh) process.exit(0);

process.stderr.write("building heddle ... ");
const started = Date.now();
rmSync(path.join(root, "dist"), { recursive: true, force: true });
const require = createRequire(import.meta.url);
const tsc = path.join(path.dirname(require.resolve("typescript/package.json")), "bin", "tsc");
try {
  execFileSync(process.execPath, [tsc, "-p", path.join(root, "tsconfig.json")], { stdio: ["ignore", "pipe", "inherit"], cwd: root });
} catch (error) {
  process.stderr.write(`failed\n${error.stdout ?? error}\n`);
  process.exit(1);
}
const { build } = await import("esbuild");
await build({
  entryPoints: [
    { in: path.join(root, "dist/runtime/index.js"), out: "runtime" },
    { in: path.join(root, "dist/runtime/device/node.js"), out: "node" },
  ],
  outdir: path.join(root, "dist/portable"),
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "neutral",
  mainFields: ["module", "main"],
  target: "es2022",
  external: ["node:*", "webgpu", "@sparticuz/chromium"],
  logLevel: "warning",
});
// `npx heddle` in the repository runs this file itself.
chmodSync(path.join(root, "dist/cli/main.js"), 0o755);
writeFileSync(stamp, "");
process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1)} s\n`);
