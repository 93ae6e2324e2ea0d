// Offsets, lines and columns agree, whatever the line ends and however wide the letters.

// Places in a text: lines, columns and offsets, whatever ends a line.

import fc from "fast-check";
import { expect, test } from "vitest";
import { lineText, makeSource, offsetAt, placeAt } from "../../grammar/source.ts";

test("lines end at \\n, \\r\\n and a lone \\r", () => {
  const source = makeSource("a", "one\r\ntwo\nthree\rfour");
  expect([1, 2, 3, 4, 5].map((line) => lineText(source, line))).toEqual(["one", "two", "three", "four", ""]);
  expect(placeAt(source, 5)).toEqual({ line: 2, column: 1 });
});

test("columns count code points, offsets count UTF-16 units", () => {
  const source = makeSource("a", "x\n🧵🧵b");
  expect(placeAt(source, 6)).toEqual({ line: 2, column: 3 });
  expect(offsetAt(source, { line: 2, column: 3 })).toBe(6);
});

test("an offset outside the text is moved to its nearest end", () => {
  const source = makeSource("a", "ab");
  expect(placeAt(source, -3)).toEqual({ line: 1, column: 1 });
  expect(placeAt(source, 99)).toEqual({ line: 1, column: 3 });
});

test("offset to place and back is the same offset", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.nat(), (text, n) => {
    const source = makeSource("a", `${text}\n${text}`);
    const boundaries = [...source.text].reduce<number[]>((all, c) => [...all, (all[all.length - 1] ?? 0) + c.length], [0]);
    const offset = boundaries[n % boundaries.length] ?? 0;
    // Between \r and \n lies no place of its own.
    if (source.text[offset] === "\n" && source.text[offset - 1] === "\r") return;
    expect(offsetAt(source, placeAt(source, offset))).toBe(offset);
  }));
});
