// What canonical text looks like. That it means the same and is its own fixed point: property.test.ts.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { format } from "../../compiler/ast/format.ts";
import { makeSource } from "../../grammar/source.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const formatted = (text: string): string => format(makeSource("a", text)).text;

test.each(readdirSync(fixtures))("%s", async (name) => {
  const text = formatted(readFileSync(join(fixtures, name), "utf8"));
  await expect(text).toMatchFileSnapshot(join(import.meta.dirname, "formatted", name));
});

describe("format", () => {
  test("leaves a file with syntax errors alone", () => {
    const source = makeSource("a", "fn  f(x) = (x\n");
    expect(format(source)).toMatchObject({ text: source.text, diagnostics: [{ code: "E0103" }] });
  });

  test("brings neighbouring `=` under each other, unless a gap would be wide", () => {
    expect(formatted("model m {\ntokens a = b()\nbody = c\n\nmask = d\n}")).toBe("model m {\n  tokens a = b()\n  body     = c\n\n  mask = d\n}\n");
    expect(formatted("model m {\na = b\na_name_that_is_rather_a_long_one = c\n}")).toContain("  a = b\n");
  });

  test("keeps comments where they were, and moves those inside an expression above it", () => {
    expect(formatted("//a\nfn f(x) =  x //b\n\n\n//c\nfn g(x) = f(x, // d\n  y)\n//e")).toBe("// a\nfn f(x) = x // b\n\n// c\n// d\nfn g(x) = f(x, y)\n// e\n");
    expect(formatted("fn f(x) = {\n  // above\n  let y = x // behind\n  // last\n  y\n  // end\n}")).toBe("fn f(x) = {\n  // above\n  let y = x // behind\n  // last\n  y\n  // end\n}\n");
    expect(formatted("layer l {\n  // nothing yet\n}")).toBe("layer l {\n  // nothing yet\n}\n");
  });

  test("breaks long lines at their outermost part", () => {
    const long = "a_long_name + ".repeat(10);
    expect(formatted(`fn f(x) = ${long}b`).split("\n").slice(0, 3)).toEqual(["fn f(x) = a_long_name", "  + a_long_name", "  + a_long_name"]);
    const args = Array.from({ length: 12 }, (_, i) => `argument_${i}: ${i}`).join(", ");
    expect(formatted(`fn f(x) = g(${args})`)).toMatch(/^fn f\(x\) = g\(\n {2}argument_0: 0,\n[\s\S]* {2}argument_11: 11,\n\)\n$/);
  });

  test("puts in only the parentheses that are needed", () => {
    expect(formatted("fn f(x) = ((a * (b)) + (c)) - (d - e)")).toBe("fn f(x) = a * b + c - (d - e)\n");
    expect(formatted("fn f(x) = (when a then b else c) + (stack(n) d)")).toBe("fn f(x) = (when a b else c) + (stack(n) d)\n");
  });

  test("keeps a short body on its line if it was there", () => {
    expect(formatted("variant w of m {d = 1;  e=2 }")).toBe("variant w of m { d = 1; e = 2 }\n");
    expect(formatted("variant w of m {\nd = 1 }")).toBe("variant w of m {\n  d = 1\n}\n");
  });

  test("an empty file stays empty", () => {
    expect(formatted("\n\n  \n")).toBe("");
  });
});
