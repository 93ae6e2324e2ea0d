// Sequences packed into rows: nothing overlaps, nothing is lost, padding is recognisable, and packing changes no sequence.

import fc from "fast-check";
import { expect, test } from "vitest";
import { packSequences, type TokenTable } from "../../runtime/sequence/batch.ts";
import { attributesOf, layoutSample, paddingOf, type Sequence } from "../../runtime/sequence/layout.ts";
import { picture, text, tinySpec } from "./tiny_spec.ts";

const draw = (caption: string): Sequence => layoutSample(tinySpec, "draw", { caption: text(caption), picture: picture(caption.length) });
const sequences = fc.array(fc.string({ maxLength: 12, unit: "grapheme-ascii" }), { minLength: 1, maxLength: 9 }).map((all) => all.map(draw));

/** What a table holds, read back: one list of (attribute, value) a sequence. */
function check(table: TokenTable, given: readonly Sequence[]): void {
  const size = table.rows * table.tokens;
  const owner = new Int32Array(size).fill(-1);
  expect(table.placed.map((p) => p.sequence).sort((a, b) => given.indexOf(a) - given.indexOf(b))).toEqual(given);
  table.placed.forEach((p, n) => {
    expect(p.start + p.sequence.count).toBeLessThanOrEqual(table.tokens);
    for (let i = 0; i < p.sequence.count; i++) {
      const at = p.row * table.tokens + p.start + i;
      expect(owner[at], "two sequences in one place").toBe(-1);
      owner[at] = n;
      for (const a of attributesOf(tinySpec)) if (a !== "doc") expect(table.columns[a]?.[at], a).toBe(p.sequence.columns[a]?.[i]);
    }
    expect([...(table.features.image ?? [])].slice((p.row * table.tokens + p.start) * 4, (p.row * table.tokens + p.start + p.sequence.count) * 4)).toEqual([...(p.sequence.features.image ?? [])]);
  });
  for (let r = 0; r < table.rows; r++) {
    const docs = new Map<number, number>();
    for (let i = 0; i < table.tokens; i++) {
      const at = r * table.tokens + i;
      const doc = table.columns.doc?.[at] ?? 0;
      if (owner[at] === -1) for (const a of attributesOf(tinySpec)) expect(table.columns[a]?.[at]).toBe(paddingOf(a));
      else if (docs.has(doc)) expect(docs.get(doc), "one doc, one sequence").toBe(owner[at]);
      else docs.set(doc, owner[at] ?? -1);
    }
  }
}

test("every sequence is in the table once, packed or not", () => {
  fc.assert(
    fc.property(sequences, fc.boolean(), fc.integer({ min: 0, max: 60 }), (all, pack, tokens) => {
      const table = packSequences(tinySpec, all, { pack, tokens });
      expect(table.tokens).toBe(Math.max(tokens, ...all.map((s) => s.count)));
      if (!pack) expect(table.rows).toBe(all.length);
      check(table, all);
    }),
    { numRuns: 60 },
  );
});

test("packing puts short sequences into one row", () => {
  const all = ["a", "bb", "ccc", "dddd"].map(draw); // 8 to 11 tokens
  const table = packSequences(tinySpec, all, { pack: true, tokens: 20 });
  expect(table.rows).toBe(2);
  check(table, all);
});

test("rows may be asked for; those without a sequence are padding", () => {
  const table = packSequences(tinySpec, [draw("x")], { minRows: 3 });
  expect(table.rows).toBe(3);
  expect([...(table.columns.doc ?? [])].slice(table.tokens).every((d) => d === -1)).toBe(true);
});
