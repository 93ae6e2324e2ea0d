// Draws every mask of the library again: the pictures in stdlib/masks and the page docs/masks.md. test/masks/gallery.ts makes the texts.

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const vitest = path.join(path.dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const run = spawnSync(process.execPath, [vitest, "run", "test/masks/gallery.test.ts", "--update"], { cwd: root, stdio: "inherit" });
process.exit(run.status ?? 1);
