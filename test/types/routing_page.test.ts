// docs/routing.md is true: its base model and every variant of it are formatted and check without a word, and their training and generation programs lower.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { format } from "../../compiler/ast/format.ts";
import { lowerForward } from "../../compiler/lower/forward.ts";
import { routingLayers } from "../../compiler/lower/routing.ts";
import { lowerTraining } from "../../compiler/lower/train.ts";
import { cacheSoundness } from "../../compiler/mask/soundness.ts";
import { makeSource } from "../../grammar/source.ts";
import { check, lines, root } from "./loader.ts";

const page = readFileSync(join(root, "docs/routing.md"), "utf8");
const [base = "", ...blocks] = [...page.matchAll(/```heddle\n([\s\S]*?)```/g)].map((m) => m[1] ?? "");
const uses = (text: string): string => text.match(/^use .*$/gm)?.join("\n") ?? "";
const rest = (text: string): string => text.replace(/^use .*\n/gm, "");
/** Names of the same file are imported once. */
function whole(block: string): string {
  const names = new Map<string, Set<string>>();
  for (const [, file = "", list = ""] of `${uses(base)}\n${uses(block)}`.matchAll(/use ([\w.]+) \{ (.*) \}/g)) names.set(file, new Set([...(names.get(file) ?? []), ...list.split(", ")]));
  return `${[...names].map(([file, list]) => `use ${file} { ${[...list].join(", ")} }`).join("\n")}\n${rest(base)}\n${rest(block)}`;
}

test("the base checks", () => {
  expect(base).toContain("model base(");
  expect(lines(check(base), base)).toEqual([]);
  expect(blocks.length).toBeGreaterThan(10);
});

describe.each(blocks.map((b) => [[...b.matchAll(/^variant (\w+)/gm)].map((m) => m[1] ?? "").join(", "), b] as const))("%s", (names, block) => {
  const text = whole(block);
  const result = check(text);
  const models = result.models.filter((m) => m.name !== "base");

  test("is formatted", () => expect(format(makeSource("page.heddle", block)).text).toBe(block));

  test("says nothing", () => {
    expect(lines(result, text)).toEqual([]);
    expect(models.map((m) => m.name).join(", ")).toBe(names);
  });

  test("routes, trains and keeps its cache", () => {
    expect(models.length).toBeGreaterThan(0);
    for (const m of models) {
      expect(routingLayers(m).length).toBeGreaterThan(0);
      expect(lowerTraining(m, "grad").outputs.length).toBeGreaterThan(3);
      expect(lowerForward(m).outputs.map((o) => o.name).sort()).toEqual(["image.out", "text.logits"]);
      expect(cacheSoundness(m).sound).toBe(true);
    }
  });
});

test("every router and every block of the library with experts is spoken of", () => {
  for (const file of ["routers", "moe"]) {
    const all = [...readFileSync(join(root, `stdlib/${file}.heddle`), "utf8").matchAll(/^(?:router|layer) (\w+)/gm)].map((m) => m[1] ?? "");
    expect(all.length).toBeGreaterThan(2);
    expect(all.filter((n) => !page.includes(`\`${n}\``) && !page.includes(`${n}(`))).toEqual([]);
  }
});
