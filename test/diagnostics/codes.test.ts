// Every code has a page, and something that triggers it: a file with its rendered diagnostics, or, where no file can
// (weights, data, devices), a test that names it. A file must give its own code and only what its snapshot says.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseModule } from "../../compiler/ast/parse_module.ts";
import { renderAll, sourcesOf } from "../../compiler/report/render.ts";
import { codes } from "../../grammar/codes.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { makeSource } from "../../grammar/source.ts";
import type { Source } from "../../grammar/source.ts";

const here = import.meta.dirname;
const root = join(here, "../..");
const all = Object.keys(codes);

/** Modules that the files here import: the library, and what lies in modules/. */
class Modules {
  readonly given: Source[] = [];

  load(module: string): Source | undefined {
    const path = module.startsWith("std.") ? `stdlib/${module.slice(4).replaceAll(".", "/")}.heddle` : `test/diagnostics/modules/${module}.heddle`;
    if (!existsSync(join(root, path))) return undefined;
    const source = this.given.find((one) => one.path === path) ?? makeSource(path, readFileSync(join(root, path), "utf8"));
    this.given.push(source);
    return source;
  }
}

type CheckFile = (source: Source, modules: Modules) => { readonly models: readonly { readonly notBuilt: readonly Diagnostic[] }[]; readonly diagnostics: readonly Diagnostic[] };
const checker = join(root, "compiler/check.ts");
const checkFile = existsSync(checker) ? ((await import(checker)) as { checkFile: CheckFile }).checkFile : undefined;

/** What the compiler says to a file: its syntax alone for E01xx, else everything up to what is not built yet. */
function diagnose(code: string, source: Source, modules: Modules): readonly Diagnostic[] {
  if (code.startsWith("E01") || checkFile === undefined) return parseModule(source).diagnostics;
  const { models, diagnostics } = checkFile(source, modules);
  return [...diagnostics, ...models.flatMap((model) => model.notBuilt)];
}

/** Names of codes in the tests, this folder left out. */
function mentioned(): Set<string> {
  const found = new Set<string>();
  const look = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && path !== here) look(path);
      else if (entry.name.endsWith(".test.ts")) for (const [code] of readFileSync(path, "utf8").matchAll(/[BEW]\d{4}/g)) found.add(code);
    }
  };
  look(join(root, "test"));
  return found;
}

describe("codes", () => {
  const tested = mentioned();

  test("are sorted, and every file here belongs to one", () => {
    expect(all).toEqual([...all].sort());
    const named = readdirSync(here).filter((name) => /\.(heddle|txt)$/.test(name)).map((name) => name.replace(/\.\w+$/, ""));
    expect(named.filter((name) => !all.includes(name))).toEqual([]);
  });

  test("have a page each that starts with the code and its title", () => {
    const wrong = all.filter((code) => {
      const path = join(root, "docs/errors", `${code}.md`);
      return !existsSync(path) || !readFileSync(path, "utf8").startsWith(`# ${code}: ${codes[code as keyof typeof codes].title}\n`);
    });
    expect(wrong).toEqual([]);
  });

  test("are each triggered by a file here or by a test", () => {
    expect(all.filter((code) => !existsSync(join(here, `${code}.heddle`)) && !tested.has(code))).toEqual([]);
  });

  for (const code of all.filter((name) => existsSync(join(here, `${name}.heddle`)))) {
    test(`${code} is what its file gives`, async () => {
      const path = `${code}.heddle`;
      const source = makeSource(path, readFileSync(join(here, path), "utf8"));
      const modules = new Modules();
      const found = diagnose(code, source, modules);
      expect(found.map((d) => d.code as string)).toContain(code);
      const rendered = renderAll(found, sourcesOf([source, ...modules.given]), { color: false });
      await expect(rendered).toMatchFileSnapshot(join(here, `${code}.txt`));
    });
  }
});
