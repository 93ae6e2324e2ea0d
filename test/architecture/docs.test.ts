// Docs that cannot drift: the import table and the passes in docs/architecture.md are those of the code, links lead somewhere,
// commands in the README exist, and every error code is both known and used.
// `UPDATE_DOCS=1 npx vitest run test/architecture` writes the import table anew.

import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { checkFile } from "../../compiler/check.ts";
import { graphPasses, programPasses, schedulePass } from "../../compiler/passes.ts";
import { codes } from "../../grammar/codes.ts";
import { isFatal } from "../../grammar/diagnostic.ts";
import { makeSource } from "../../grammar/source.ts";
import { layerTable } from "./layers.ts";
import { read, root, sources, walk } from "./sources.ts";

const PAGE = "docs/architecture.md";

/** The text between `<!-- name -->` and `<!-- /name -->`; written anew on request where the code knows all of it. */
function held(name: string, now?: string): string {
  const text = read(PAGE);
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = text.indexOf(open);
  const to = text.indexOf(close);
  expect(from >= 0 && to > from, `${PAGE} has no ${open}`).toBe(true);
  if (now === undefined || process.env.UPDATE_DOCS !== "1") return text.slice(from + open.length, to).trim();
  writeFileSync(path.join(root, PAGE), `${text.slice(0, from + open.length)}\n${now}\n${text.slice(to)}`);
  return now;
}

describe("docs/architecture.md", () => {
  test("has the import table that the tests hold the code to", () => {
    expect(held("layers", layerTable())).toBe(layerTable());
  });

  test("names the passes of compiler/passes.ts, in order", () => {
    const passes = [...graphPasses, schedulePass, ...programPasses].map((p, i) => `${i + 1}. \`${p.name}\``);
    const page = held("passes");
    expect(page.split("\n").map((line) => /^\d+\. `[^`]+`/.exec(line)?.[0])).toEqual(passes);
  });

  test("speaks of files and folders that exist", () => {
    const named = [...read(PAGE).matchAll(/`((?:grammar|compiler|runtime|cli|stdlib|examples|test|docs|scripts)\/[\w./-]*)`/g)].map((m) => m[1] ?? "");
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((f) => !existsSync(path.join(root, f)) && !existsSync(path.join(root, `${f}.ts`)))).toEqual([]);
  });
});

describe("pages", () => {
  const pages = ["README.md", ...walk("docs"), ...walk("examples")].filter((f) => f.endsWith(".md"));

  test("link to what is there", () => {
    const broken = pages.flatMap((page) =>
      [...read(page).replace(/^```[\s\S]*?^```|`[^`\n]*`/gm, "").matchAll(/\]\(([^)\s]+)\)/g)]
        .map((m) => (m[1] ?? "").replace(/#.*$/, ""))
        .filter((to) => to !== "" && !/^[a-z]+:/.test(to) && !existsSync(path.join(root, path.dirname(page), to)))
        .map((to) => `${page} -> ${to}`),
    );
    expect(broken).toEqual([]);
  });

  test("give npm commands that package.json has", () => {
    const scripts = Object.keys((JSON.parse(read("package.json")) as { scripts: Record<string, string> }).scripts);
    const wrong = pages.flatMap((page) => [...read(page).matchAll(/npm (?:run ([\w:-]+)|(start|test)\b)/g)].map((m) => m[1] ?? m[2] ?? "").filter((name) => !scripts.includes(name)).map((name) => `${page}: npm run ${name}`));
    expect(wrong).toEqual([]);
  });

  test("about errors are one a code", () => {
    const named = walk("docs/errors").map((f) => path.basename(f, ".md"));
    expect(named.sort()).toEqual(Object.keys(codes).sort());
  });
});

describe("error codes", () => {
  const used = new Map<string, string[]>();
  for (const s of sources()) if (s.path !== "grammar/codes.ts") for (const m of s.text.matchAll(/"([BEW]\d{4})"/g)) used.set(m[1] ?? "", [...(used.get(m[1] ?? "") ?? []), s.path]);

  test("that the code gives are known", () => {
    expect([...used].filter(([code]) => !(code in codes)).map(([code, where]) => `${code} in ${where.join(", ")}`)).toEqual([]);
  });

  test("that are known are given somewhere", () => {
    expect(Object.keys(codes).filter((code) => !used.has(code))).toEqual([]);
  });

  test("of the runtime and of the command line are not those of the language", () => {
    const mixed = [...used].filter(([code]) => code !== "B0000").filter(([code, where]) => /^E05/.test(code) === where.some((f) => f.startsWith("compiler/") || f.startsWith("grammar/"))).map(([code, where]) => `${code} in ${where.join(", ")}`);
    expect(mixed).toEqual([]);
  });
});

describe("specs in the pages", () => {
  const root = (name: string): string => read(`stdlib/${name.slice(4).replaceAll(".", "/")}.heddle`);
  const pages = ["README.md", "docs/training.md"];
  const blocks = pages.flatMap((page) => [...read(page).matchAll(/```heddle\n([\s\S]*?)```/g)].map((m, i) => [`${page} ${i + 1}`, m[1] ?? ""] as const));

  test.each(blocks)("%s checks", (name, text) => {
    // A fragment stands in the smallest model that gives it meaning.
    const whole = /^model |\nmodel /.test(text) ? text : `${read("examples/digits/digits.heddle").replace(/ {2}train \{[\s\S]*?\n {2}\}\n/, text.replace(/^/gm, "  "))}`;
    const result = checkFile(makeSource(name, whole), { load: (module) => (module.startsWith("std.") ? makeSource(`${module}.heddle`, root(module)) : undefined) });
    expect(result.diagnostics.filter(isFatal).map((d) => d.message)).toEqual([]);
    expect(result.notBuilt).toEqual([]);
    expect(result.models.length).toBeGreaterThan(0);
  });
});
