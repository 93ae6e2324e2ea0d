// The pages of names, axes, models and warnings are true: what they call wrong gives the code, what they call right gives nothing.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { check, root } from "./loader.ts";

const folder = join(root, "docs/errors");
const pages = readdirSync(folder).filter((name) => /^[EW]0[2346]\d\d\.md$/.test(name));
const modules = Object.fromEntries(["circle", "ring"].map((name) => [name, readFileSync(join(root, `test/diagnostics/modules/${name}.heddle`), "utf8")]));

test("there are pages", () => {
  expect(pages.length).toBeGreaterThan(55);
});

test.each(pages)("%s", (name) => {
  const text = readFileSync(join(folder, name), "utf8");
  const [wrong, right] = [...text.matchAll(/```heddle\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  const said = (block: string): string[] => {
    const r = check(block, modules);
    return [...r.diagnostics, ...r.notBuilt].map((d) => `${d.code} ${d.message}`);
  };
  const found = said(wrong ?? "").map((line) => line.slice(0, 5));
  expect(found).toContain(name.slice(0, 5));
  // One mistake, one message: a page shows its own code and nothing that follows from it.
  expect([...new Set(found)]).toEqual([name.slice(0, 5)]);
  if (name.startsWith("E0408")) return;
  expect(said(right ?? "model")).toEqual([]);
});
