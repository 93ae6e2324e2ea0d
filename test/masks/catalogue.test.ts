// The catalogue: for every mask of the library, `heddle explain mask --json` of its spec in docs/masks says of every pair what an
// independent definition says (definitions.ts, from the paper over places in the sample).

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { namesOf } from "../../compiler/types/library.ts";
import { definitions, placesOf } from "./definitions.ts";
import { reported, specFile } from "./specs.ts";

const masks = namesOf("std.masks") ?? [];

test("every mask of the library has a spec and a definition, and nothing else has", () => {
  expect([...new Set(Object.keys(definitions).map((d) => d.split("/")[0] ?? ""))].sort()).toEqual([...masks].sort());
  expect(masks.filter((m) => !existsSync(specFile(m)))).toEqual([]);
});

describe.each(Object.keys(definitions))("%s", (key) => {
  const [mask = "", task] = key.split("/");
  const definition = definitions[key];
  if (!definition) throw new Error(key);
  const places = placesOf(definition);

  test("explain mask --json is its definition, on every pair", async () => {
    expect(readFileSync(specFile(mask), "utf8"), "the spec uses the mask").toMatch(new RegExp(`\\b${mask}\\b.*\\b|mask +=.*\\b${mask}\\b`));
    const report = await reported(mask);
    const said = report.tasks.find((t) => task === undefined || t.task === task);
    expect(said?.pictures).toHaveLength(1);
    const picture = said?.pictures[0];
    expect(picture?.heads).toBe("all");
    expect(picture?.tokens.map((t) => t.label.replace(/\[.*\]$/, ""))).toEqual(places.map((p) => p.item));
    const rows = places.map((q) => places.map((k) => (q.doc === k.doc && definition.sees(q, k) ? "1" : "0")).join(""));
    expect(picture?.visible).toEqual(rows);
    // A definition that says the same of every pair would prove nothing of a mask that does.
    if (mask !== "full") expect(new Set(rows.join("")).size).toBe(2);
  });
});
