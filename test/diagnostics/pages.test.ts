// The pages of the syntax codes are true: what they call wrong gives the code, what they call right gives nothing.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseModule } from "../../compiler/ast/parse_module.ts";
import { makeSource } from "../../grammar/source.ts";

const folder = join(import.meta.dirname, "../../docs/errors");
const pages = readdirSync(folder).filter((name) => /^E01\d\d\.md$/.test(name));

test("there are pages", () => {
  expect(pages.length).toBeGreaterThan(15);
});

test.each(pages)("%s", (name) => {
  const text = readFileSync(join(folder, name), "utf8");
  const [wrong, right] = [...text.matchAll(/```heddle\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  const codes = (block: string): string[] => parseModule(makeSource(name, block)).diagnostics.map((d) => d.code);
  expect(codes(wrong ?? "")).toContain(name.slice(0, 5));
  expect(codes(right ?? "error")).toEqual([]);
});
