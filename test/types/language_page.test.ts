// docs/language.md is true: every block of Heddle text on it checks, formats, and its models elaborate; every function is listed.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder } from "../../compiler/graph/builder.ts";
import { checkingLeaves } from "../../compiler/types/checking_leaves.ts";
import { primitives } from "../../compiler/types/builtins.ts";
import { elaborateNetwork } from "../../compiler/types/elaborate_network.ts";
import { folders, libraryFiles } from "../../compiler/types/library.ts";
import { defaults } from "../../compiler/types/train.ts";
import { check, lines, loaderOf, root } from "./loader.ts";

const page = readFileSync(join(root, "docs/language.md"), "utf8");
const blocks = [...page.matchAll(/```heddle\n([\s\S]*?)```/g)].map((m) => m[1] ?? "");

test("there are blocks", () => {
  expect(blocks.length).toBeGreaterThan(5);
});

test.each(blocks.map((b, i) => [`block ${i + 1}`, b] as const))("%s", (_, text) => {
  const r = check(text);
  expect(lines(r, text)).toEqual([]);
  expect(r.models.length).toBe([...text.matchAll(/^(model|variant) /gm)].length);
  for (const m of r.models) {
    const b = new GraphBuilder("page");
    const leaves = checkingLeaves(b);
    const net = elaborateNetwork(m, b, leaves);
    expect(b.type(net.head("text", net.body(net.embed("text", leaves.attribute("query", "id", dimVar("t")))))).axes.map((a) => a.name).sort()).toEqual(["t", "text.vocab"]);
  }
});

test("every built-in function is listed as it is called", () => {
  const missing = Object.entries(primitives).filter(([, p]) => !page.includes(`| \`${p.signature}\` | ${p.doc} |`));
  expect(missing.map(([n]) => n)).toEqual([]);
});

test("every name of the library is listed", () => {
  const loader = loaderOf();
  // A file of a folder gives one name; what helps it is its own.
  const single = (m: string): boolean => Object.keys(folders).some((f) => m.startsWith(`${f}.`));
  const names = libraryFiles.flatMap((m) => (single(m) ? m.slice(m.lastIndexOf(".") + 1) : [...(loader.load(m, "")?.text.matchAll(/^(?:layer|mask|score|router|route|fn) (\w+)/gm) ?? [])].map((x) => x[1] ?? "")));
  expect(names.filter((n) => !new RegExp(`\`${n}\\b`).test(page))).toEqual([]);
});

test("the defaults of training are the ones written", () => {
  expect(page).toContain("| `lr`, `min_lr` | 3e-4, a tenth of `lr` |");
  expect([defaults.lr, defaults.warmup, defaults.steps, defaults.batch, defaults.accumulate, defaults.decay, defaults.clip, defaults.ema, defaults.seed, ...defaults.betas]).toEqual([3e-4, 100, 2000, 16, 1, 0.1, 1, 0, 1, 0.9, 0.95]);
});
