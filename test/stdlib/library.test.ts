// The library as the compiler knows it is the library on disk; its folders are used whole, by name and by path.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folders, libraryFiles } from "../../compiler/types/library.ts";
import { check, lines, root } from "../types/loader.ts";

test("the list of files is what lies in stdlib/", () => {
  const found = readdirSync(join(root, "stdlib"), { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? readdirSync(join(root, "stdlib", e.name)).map((f) => `std.${e.name}.${f}`) : [`std.${e.name}`]);
  expect(found.map((f) => f.replace(/\.heddle$/, "")).sort()).toEqual([...libraryFiles].sort());
});

test.each(Object.keys(folders))("a file of %s declares its own name", (folder) => {
  for (const name of [...(folders[folder]?.everyday ?? []), ...(folders[folder]?.more ?? [])]) {
    const path = join(root, "stdlib", `${folder.slice(4)}/${name}.heddle`);
    expect(existsSync(path), path).toBe(true);
    expect(readFileSync(path, "utf8")).toMatch(new RegExp(`^(mask|score|layer) ${name}\\b`, "m"));
  }
});

const spec = (use: string, mask: string): string => `${use}
use std.blocks { decoder_block }

model small(d: axis = 8) {
  tokens text = bytes()
  task write(line: text) = <bos> predict text(line) <eos>
  body = decoder_block(d, 2, ${mask})
  loss = next_token(text)
  sample text = greedy()
}
`;

test.each([
  ["use std.masks { window }", "causal & window(4)"],
  ["use std.masks { window as near_by }", "causal & near_by(4)"],
  ["use std.masks.window", "causal & window(4)"],
  ["use std.masks", "masks.causal & masks.window(4)"],
  ["", "causal & window(4)"],
  ["use std.masks.window { window as w }", "causal & w(4)"],
])("%s", (use, mask) => {
  const text = spec(use, mask);
  expect(lines(check(text), text)).toEqual([]);
});

test.each([
  ["use std.masks { windows }", "E0207 module `std.masks` has no `windows` @ windows"],
  ["use std.masks.windows", "E0207 module `std.masks` has no `windows` @ windows"],
  ["use std.mask { window }", "E0205 there is no module `std.mask` @ std.mask"],
])("%s is refused", (use, message) => {
  const text = spec(use, "causal");
  const found = check(text);
  expect(lines(found, text)).toEqual([message]);
  expect(found.diagnostics[0]?.help).toMatch(/did you mean `(window|std\.masks)`/);
});
