// Every spec that ships is in canonical form and checks without an error.

import { describe, expect, test } from "vitest";
import { format } from "../../compiler/ast/format.ts";
import { checkFile } from "../../compiler/check.ts";
import { isFatal } from "../../grammar/diagnostic.ts";
import { makeSource } from "../../grammar/source.ts";
import { loaderOf } from "../types/loader.ts";
import { read, walk } from "./sources.ts";

const shipped = [...walk("stdlib"), ...walk("examples")].filter((f) => f.endsWith(".heddle"));
const drawn = walk("docs/masks").filter((f) => f.endsWith(".heddle"));
const loader = loaderOf();

describe("specs", () => {
  test("there are some", () => expect(shipped.length).toBeGreaterThan(8));

  test.each([...shipped, ...drawn])("%s is formatted", (file) => {
    expect(format(makeSource(file, read(file))).text).toBe(read(file));
  });

  test.each(shipped)("%s checks", (file) => {
    expect(checkFile(makeSource(file, read(file)), loader).diagnostics.filter(isFatal).map((d) => `${d.code} ${d.message}`)).toEqual([]);
  });

  test.each(shipped)("%s says what it is for", (file) => {
    expect(read(file)).toMatch(/^(\/\/|use )/);
    expect(read(file)).toMatch(/\/\/\/ /);
  });
});
