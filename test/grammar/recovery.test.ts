// Every mistake of a file is reported in one run: a mistake in one statement hides none in another.

import { expect, test } from "vitest";
import { parseModule } from "../../compiler/ast/parse_module.ts";
import { makeSource, placeAt } from "../../grammar/source.ts";

function mistakes(text: string): string[] {
  const source = makeSource("a", text);
  return parseModule(source).diagnostics.map((d) => {
    const at = d.labels[0]?.span;
    return `${d.code}@${at === undefined ? 0 : placeAt(source, at.start).line}`;
  });
}

const statements: readonly [string, string][] = [
  ["a = f(x", "E0103"],
  ["a = [1, 2", "E0103"],
  ["a = f(x y)", "E0105"],
  ["a = 3 +", "E0106"],
  ["a = * 3", "E0106"],
  ["a 3", "E0105"],
  ["a = b c", "E0112"],
  ["a = f(p = 1)", "E0114"],
  ["a = f(p: 1, 2)", "E0113"],
  ["a = 1 < 2 < 3", "E0109"],
  ["a = \"open", "E0102"],
  ["a = 'one'", "E0101"],
  ["a = 3x", "E0117"],
  ["a = b § c", "E0101"],
  ["let a = 3", "E0100"],
  ["a = x && y", "E0100"],
  ["param", "E0107"],
  ["param w[", "E0103"],
  ["param w[d] zeros", "E0105"],
  ["frozen w[d]", "E0105"],
  ["param w[d] ~ zeros by", "E0106"],
  ["a = by turn { 0 -> b from }", "E0107"],
  ["a = by turn { 0 -> }", "E0106"],
  ["forward x[t, d x", "E0105"],
  ["foward x[t] = x", "E0111"],
  ["a = when b c", "E0105"],
  ["axis g 3", "E0105"],
  ["loss", "E0106"],
  ["a = x.", "E0107"],
  ["a = {}", "E0116"],
  ["tokens t = bpe()", "E0110"],
  ["a = ]", "E0106"],
  ["a = \"\\q\"", "E0115"],
];

test.each(statements)("`%s` is %s, once", (statement, code) => {
  expect(mistakes(`layer l(d: axis) {\n  n = 1\n  ${statement}\n  m = 2\n  forward x[d] = x\n}\nfn f(x) = x\n`)).toEqual([`${code}@3`]);
});

/** A line that stays open, and lines that could as well go on with it. */
const open = ["a = f(x", "a = [1, 2", "a = 3 +", "param w[", "forward x[t, d x", "a = x."];
const vague = ["a 3", "param", "loss", "axis g 3"];

test("every pair of mistakes is reported in full", () => {
  const wrong: string[][] = [];
  for (const [first, code] of statements) {
    for (const [second, other] of statements) {
      if (open.includes(first) && vague.includes(second)) continue;
      const found = mistakes(`layer l(d: axis) {\n  ${first}\n  ${second}\n}\nfn f(x) = x\n`);
      if (found.join() !== `${code}@2,${other}@3`) wrong.push([first, second, ...found]);
    }
  }
  expect(wrong).toEqual([]);
});

test("what stands around a mistake is still in the tree", () => {
  const { module } = parseModule(makeSource("a", "layer l(d: axis) {\n  a = f(x\n  b = 2\n  forward x[d] = x +\n}\nfn f(x) = x\n"));
  expect(module.decls.map((decl) => decl.kind)).toEqual(["layer", "fn"]);
  const layer = module.decls[0];
  expect(layer?.kind === "layer" ? layer.members.map((member) => member.kind) : []).toEqual(["binding", "binding", "method"]);
});
