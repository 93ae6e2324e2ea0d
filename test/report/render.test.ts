// What the terminal shows, to the letter, and what the JSON form carries.

import { describe, expect, test } from "vitest";
import { diagnosticsToJson } from "../../compiler/report/json.ts";
import { render, renderAll, sourcesOf, summary } from "../../compiler/report/render.ts";
import { Bag, diagnostic } from "../../grammar/diagnostic.ts";
import { makeSource, span } from "../../grammar/source.ts";

const bagel = makeSource("bagel.heddle", `layer a(heads: int, kv: int) {\n${"\n".repeat(8)}  forward x[t] = {\n    let o = attend(q, k, v, over: t, mask: mask)\n    o\n  }\n}\n`);
const library = makeSource("std/attention.heddle", "layer attend(q, k) {}\n");
const sources = sourcesOf([bagel, library]);
const at = (word: string, from = 0): ReturnType<typeof span> => {
  const start = bagel.text.indexOf(word, from);
  return span(bagel.path, start, start + word.length);
};
const plain = { color: false };

describe("render", () => {
  test("one label, a text of two lines, help", () => {
    const d = diagnostic("E0214", "axis `kv` is 8 here and 6 there", at("attend"), {
      label: "`q` has kv = 8 (from `heads`, line 1)\n`k` has kv = 6 (from `kv`, line 1)", help: "`heads` must be a multiple of `kv`",
    });
    expect(render(d, sources, plain)).toMatchInlineSnapshot(`
      "error[E0214]: axis \`kv\` is 8 here and 6 there
        --> bagel.heddle:11:13
         |
      11 |     let o = attend(q, k, v, over: t, mask: mask)
         |             ^^^^^^ \`q\` has kv = 8 (from \`heads\`, line 1)
         |                    \`k\` has kv = 6 (from \`kv\`, line 1)
         = help: \`heads\` must be a multiple of \`kv\`
      "
    `);
  });

  test("several labels on a line, on other lines and in another file", () => {
    const d = diagnostic("E0214", "axis `kv` is 8 here and 6 there", at("attend"), {
      label: "applied here",
      also: [
        { span: at("q", at("attend").end), text: "kv = 8" },
        { span: at("k", at("attend").end), text: "kv = 6" },
        { span: at("heads"), text: "8 comes from here" },
        { span: span(library.path, 6, 12), text: "declared here" },
      ],
      notes: ["a fact\nof two lines"],
    });
    expect(render(d, sources, plain)).toMatchInlineSnapshot(`
      "error[E0214]: axis \`kv\` is 8 here and 6 there
        --> bagel.heddle:11:13
         |
       1 | layer a(heads: int, kv: int) {
         |         ----- 8 comes from here
      ...
      11 |     let o = attend(q, k, v, over: t, mask: mask)
         |             ^^^^^^ -  - kv = 6
         |             |      kv = 8
         |             applied here
        ::: std/attention.heddle:1:7
         |
       1 | layer attend(q, k) {}
         |       ------ declared here
         = note: a fact
                 of two lines
      "
    `);
  });

  test("a gap, the end of a file, tabs and wide letters", () => {
    const odd = makeSource("odd", "\t日本 x\ny");
    const d = diagnostic("E0100", "unexpected `x`", span("odd", 4, 5), { also: [{ span: span("odd", 7, 7), text: "end" }] });
    expect(render(d, sourcesOf([odd]), plain)).toMatchInlineSnapshot(`
      "error[E0100]: unexpected \`x\`
       --> odd:1:5
        |
      1 |     日本 x
        |          ^
      2 | y
        |  - end
      "
    `);
  });

  test("a diagnostic without a place, and one whose source is not at hand", () => {
    expect(render(diagnostic("B0000", "a pass lost an axis", null), sources, plain)).toMatchInlineSnapshot(`
      "bug[B0000]: a pass lost an axis
        = note: this is a mistake in the compiler, not in your file; please report it
      "
    `);
    expect(render(diagnostic("E0100", "unexpected text", span("gone.heddle", 3, 4)), sources, plain)).toContain("--> gone.heddle\n");
  });

  test("a fix stands in for help that is not there", () => {
    const fixes = [{ title: "write `&`", edits: [] }];
    expect(render(diagnostic("E0100", "x", null, { fixes }), sources, plain)).toContain("= help: write `&`");
    expect(render(diagnostic("E0100", "x", null, { fixes, help: "other" }), sources, plain)).not.toContain("write `&`");
  });

  test("colour only when asked for, and never in the text itself", () => {
    const d = diagnostic("E0214", "m", at("attend"), { label: "here", also: [{ span: at("heads"), text: "there" }], help: "h" });
    const colored = render(d, sources, { color: true });
    expect(colored).toContain("\u001b[31m");
    expect(colored.replace(/\u001b\[\d+m/g, "")).toBe(render(d, sources, plain));
  });

  test("all of them, with a count", () => {
    const all = [diagnostic("E0100", "one", null), diagnostic("E0100", "two", null)];
    expect(renderAll(all, sources, plain)).toBe("error[E0100]: one\n\nerror[E0100]: two\n\n2 errors\n");
    expect(renderAll([], sources, plain)).toBe("");
    expect(summary(all.slice(1))).toBe("1 error");
  });
});

test("a bag keeps one of each and sorts by place", () => {
  const bag = new Bag();
  bag.report("E0106", "later", span("a", 5, 6));
  bag.report("E0105", "sooner", span("a", 1, 2));
  bag.report("E0105", "sooner", span("a", 1, 2));
  bag.report("E0105", "nowhere", null);
  expect(bag.sorted().map((d) => d.message)).toEqual(["nowhere", "sooner", "later"]);
  expect(bag.hasErrors).toBe(true);
});

test("JSON has lines and columns", () => {
  const d = diagnostic("E0214", "m", at("attend"), { label: "here", fixes: [{ title: "t", edits: [{ span: at("heads"), text: "h" }] }] });
  expect(diagnosticsToJson([d], sources)).toMatchObject([{
    code: "E0214", severity: "error", help: null,
    labels: [{ primary: true, text: "here", span: { path: "bagel.heddle", from: { line: 11, column: 13 }, to: { line: 11, column: 19 } } }],
    fixes: [{ edits: [{ span: { from: { line: 1, column: 9 } }, text: "h" }] }],
  }]);
});
