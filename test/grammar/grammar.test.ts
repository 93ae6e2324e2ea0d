// The parser is valid in itself, agrees with the page that documents it, and ends lines where the language says.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HeddleParser } from "../../grammar/parser.ts";
import { parseFile } from "../../grammar/parse.ts";
import { makeSource } from "../../grammar/source.ts";
import { reservedWords } from "../../grammar/tokens.ts";

const ebnf = readFileSync(join(import.meta.dirname, "../../grammar/heddle.ebnf"), "utf8");
const clean = (text: string): boolean => parseFile(makeSource("a", text)).diagnostics.length === 0;
const items = (text: string): number => parseFile(makeSource("a", text)).cst.children["item"]?.length ?? 0;

test("the page has every rule of the parser, and no other", () => {
  const rules = Object.keys(new HeddleParser().getGAstProductions());
  const written = [...ebnf.matchAll(/^([a-z]\w*)\s*=/gm)].map((match) => match[1] ?? "");
  expect([...written].sort()).toEqual([...rules].sort());
});

test("the page uses no rule it does not have", () => {
  const body = ebnf.replace(/\(\*[\s\S]*?\*\)/g, "").replace(/"[^"]*"|'[^']*'/g, "").split("(* ---- words")[0] ?? "";
  const rules = new Set([...ebnf.matchAll(/^(\w+)\s*=/gm)].map((match) => match[1] ?? ""));
  const used = [...body.split(/^NAME/m)[0]?.matchAll(/[A-Za-z]\w*/g) ?? []].map((match) => match[0]);
  expect([...new Set(used)].filter((name) => !rules.has(name) && name !== "NEWLINE")).toEqual([]);
});

test("only the reserved words cannot be names", () => {
  const words = [...new Set([...ebnf.matchAll(/"([a-z]+)"/g)].map((match) => match[1] ?? ""))];
  const reserved = reservedWords.map((type) => (type.PATTERN as RegExp).source);
  for (const word of words) expect([word, clean(`fn f(x) = g(${word}: ${word} + 1)\nmodel m { ${word} = 1 }`)]).toEqual([word, !reserved.includes(word)]);
});

describe("lines", () => {
  test("go on inside parentheses and brackets, after an operator, and before one", () => {
    expect(clean("fn f(x) = g(\n  x,\n  y\n)\nfn g(x) = x +\n  1\nfn h(x) = x\n  + 1\n  & 2\nfn i(x) = [\n1,\n2,\n]")).toBe(true);
  });

  test("go on before `-` with a blank after it, and not without", () => {
    expect(clean("fn f(x) = {\n  let y = x\n  - 1\n  y\n}")).toBe(true);
    const negated = parseFile(makeSource("a", "fn f(x) = {\n  let y = x\n  -y\n}"));
    expect(negated.diagnostics).toEqual([]);
  });

  test("go on before `else` and `{`, but a case `else ->` is its own", () => {
    expect(clean("model m\n{\n  when a {\n    x = 1\n  }\n  else {\n    x = 2\n  }\n}")).toBe(true);
    expect(clean("route r = by stream {\n  text -> a\n  else -> b\n}")).toBe(true);
  });

  test("go on with the elements of a task, also inside a repetition", () => {
    expect(clean("model m {\n  task t(a: text) = <bos>\n    given text(a)\n    { <x>\n      predict text(a)\n    }*\n    <eos>\n  given = 1\n}")).toBe(true);
  });

  test("end a statement that a forgotten bracket would swallow", () => {
    const parsed = parseFile(makeSource("a", "layer a {\n  n = f(d\n  m = 3\n}\nlayer b(d: axis {\n  n = 2\n}\nlayer c {}"));
    expect(parsed.diagnostics.map((d) => [d.code, d.labels[0]?.span.start])).toEqual([["E0103", 19], ["E0103", 46]]);
  });

  test("`;` separates statements, and line ends of every system count", () => {
    expect(items("fn f(x) = x; fn g(x) = x;\r\nfn h(x) = x\rfn i(x) = x\n")).toBe(4);
  });
});
