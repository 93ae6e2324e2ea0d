// What must hold for every text and every tree: reading never throws, formatting says the same and is its own fixed point.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { format, print } from "../../compiler/ast/format.ts";
import type { Module } from "../../compiler/ast/nodes.ts";
import { parseModule } from "../../compiler/ast/parse_module.ts";
import { makeSource } from "../../grammar/source.ts";
import { module } from "./arbitrary.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const texts = readdirSync(fixtures).map((name) => readFileSync(join(fixtures, name), "utf8"));

/** A tree without its places, and without what only records how a thing was spelled. */
function meaning(tree: Module): unknown {
  return JSON.parse(JSON.stringify(tree, (key, value: unknown) => (key === "span" || key === "opSpan" ? undefined : value)));
}

const words = ["layer", "model", "fn", "mask", "param", "when", "else", "let", "by", "stack", "task", "given", "predict", "x", "heads", "3e-4", "1.", "\"s\"", "\"", "'", "<bos>",
  "(", ")", "[", "]", "{", "}", "=", "=>", "->", "+", "-", "*", "**", "&", "|", "<", "==", "..", ".", ",", ":", ";", "~", "!", "\n", "\n", "// c\n", "/// d\n", "#", "$"];
const soup = fc.array(fc.constantFrom(...words), { maxLength: 40 }).map((parts) => parts.join(" "));

test("reading never throws, and every label lies inside the text", () => {
  const damaged = fc.tuple(fc.constantFrom(...texts), fc.nat(), fc.nat(40), fc.oneof(fc.string(), soup)).map(([text, at, cut, insert]) => {
    const start = at % text.length;
    return text.slice(0, start) + insert + text.slice(start + cut);
  });
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "grapheme" }), soup, damaged), (text) => {
    for (const d of parseModule(makeSource("a", text)).diagnostics) {
      for (const { span } of d.labels) {
        expect(span.start).toBeGreaterThanOrEqual(0);
        expect(span.end).toBeGreaterThanOrEqual(span.start);
        expect(span.end).toBeLessThanOrEqual(text.length);
      }
    }
  }), { numRuns: 200, seed: 7 });
});

test("a tree that is printed and read again is the same tree", () => {
  fc.assert(fc.property(module, (tree) => {
    const text = print(tree, makeSource("a", ""));
    const source = makeSource("a", text);
    const read = parseModule(source);
    expect(read.diagnostics.map((d) => `${d.message} in\n${text}`)).toEqual([]);
    expect(meaning(read.module)).toEqual(meaning(tree));
    expect(format(source).text).toBe(text);
  }), { numRuns: 200, seed: 7 });
});

test("comments and blank lines anywhere survive, once each, and formatting is its own fixed point", () => {
  fc.assert(fc.property(fc.constantFrom(...texts), fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), fc.boolean(), (text, places, blank) => {
    const lines = text.split("\n");
    places.forEach((place, n) => {
      const at = place % lines.length;
      if ((lines[at] ?? "").includes("//")) return;
      lines[at] += blank ? `\n\n\n  // note ${n}` : ` // note ${n}`;
    });
    const source = makeSource("a", lines.join("\n"));
    const before = parseModule(source);
    if (before.diagnostics.length > 0) return;
    const once = format(source).text;
    const again = makeSource("a", once);
    expect(format(again).text).toBe(once);
    expect(meaning(parseModule(again).module)).toEqual(meaning(before.module));
    expect([...once.matchAll(/\/\/ note \d/g)].map(String).sort()).toEqual([...source.text.matchAll(/\/\/ note \d/g)].map(String).sort());
  }), { numRuns: 80, seed: 7 });
});
