// The tests type-check like the code they test.

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { expect, test } from "vitest";
import { root } from "./sources.ts";

test("the tests type-check", { timeout: 180_000 }, () => {
  const tsc = path.join(path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
  const done = spawnSync(process.execPath, [tsc, "--noEmit", "--pretty", "false", "-p", path.join(root, "tsconfig.test.json")], { cwd: root, encoding: "utf8" });
  expect(done.stdout).toBe("");
  expect(done.status).toBe(0);
});
