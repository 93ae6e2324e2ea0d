// Whole numbers in masks: `/` rounds down and `%` has the sign of the divisor, in the language, the interpreter, the interval analysis and the
// kernels alike, for dividends below zero too.

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { software } from "../../compiler/kernel/kernel.ts";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { attr, i32, name } from "../../compiler/scalar/expr.ts";
import { knownOf, rangeOf, setOf } from "../../compiler/scalar/interval.ts";
import { simplify } from "../../compiler/scalar/simplify.ts";
import { floorDiv, floorMod } from "../../compiler/scalar/whole.ts";
import { closeGpu, gpu } from "../gpu/run_program.ts";
import { wrongOnGpu } from "../templates/attention_gpu.ts";
import { check, lines } from "../types/loader.ts";

afterAll(closeGpu);

const [a, b] = [name("a", "i32"), name("b", "i32")];
const whole = (x: number): number => (Object.is(x, -0) ? 0 : x);
const down = (x: number, y: number): number => whole(Math.floor(x / y));
const rest = (x: number, y: number): number => whole(x - y * Math.floor(x / y));

describe("division", () => {
  test.each([-7, -4, -3, -1, 1, 2, 3, 4, 7])("by %i, as a constant and as a value", (by) => {
    for (let x = -20; x <= 20; x++)
      for (const divisor of [i32(by), b]) {
        const names = { a: x, b: by };
        expect(evalExpr(floorDiv(a, divisor), { names })).toBe(down(x, by));
        expect(evalExpr(floorMod(a, divisor), { names })).toBe(rest(x, by));
        expect(evalExpr(simplify(floorDiv(a, divisor)), { names })).toBe(down(x, by));
        expect(evalExpr(simplify(floorMod(i32(x), divisor)), { names })).toBe(rest(x, by));
      }
  });

  test("of the largest and least numbers", () => {
    for (const x of [2147483647, -2147483648, -2147483647])
      for (const by of [1, 2, 7, 2147483647]) {
        expect(evalExpr(floorDiv(a, i32(by)), { names: { a: x } })).toBe(down(x, by));
        expect(evalExpr(floorMod(a, i32(by)), { names: { a: x } })).toBe(rest(x, by));
      }
  });

  test("is one op where nothing can be below zero", () => {
    for (const x of [attr("q", "pos"), attr("k", "index"), name("head", "i32")]) {
      expect(floorDiv(x, i32(4))).toEqual({ kind: "binary", type: "i32", op: "div", a: x, b: i32(4) });
      expect(floorMod(x, i32(4))).toEqual({ kind: "binary", type: "i32", op: "mod", a: x, b: i32(4) });
    }
    // A task may give a declared attribute any number.
    expect(floorDiv(attr("q", "turn"), i32(4)).kind).toBe("select");
  });

  test("of ranges holds every value that brute force finds", () => {
    fc.assert(fc.property(fc.integer({ min: -30, max: 30 }), fc.nat(20), fc.constantFrom(-5, -1, 1, 2, 3, 8), fc.boolean(), (lo, n, by, asSet) => {
      const values = Array.from({ length: n + 1 }, (_, i) => lo + i);
      for (const e of [floorDiv(a, i32(by)), floorMod(a, i32(by))]) {
        const known = knownOf(e, () => (asSet ? setOf(values) : rangeOf(lo, lo + n)));
        for (const x of values) {
          const v = evalExpr(e, { names: { a: x } });
          expect(known.kind === "set" ? known.values.includes(v) : v >= known.lo && v <= known.hi).toBe(true);
        }
      }
    }));
  });
});

/** A mask as the language makes it. */
function maskOf(text: string): ScalarExpr {
  const spec = `use std.blocks { decoder_block }
mask probe(q, k) = ${text}
model small(d: axis = 8) {
  tokens text = bytes()
  attribute turn: int = 0
  task write(line: text) = <bos> predict text(line) <eos>
  body = decoder_block(d, 2, causal & (probe | q_self))
  mask q_self(q, k) = q.pos == k.pos
  loss = next_token(text)
  sample text = greedy()
}
`;
  const result = check(spec);
  const expr = result.models[0]?.attentions[0]?.mask?.expr;
  if (!expr || expr.kind !== "binary" || expr.b.kind !== "binary") throw new Error(lines(result, spec).join("\n"));
  return expr.b.a;
}

/** Those of `onDevice` run on an adapter as well: below zero in the dividend, in the divisor, and in neither. */
const onDevice = ["(k.pos - q.pos) % 3 == 2", "q.pos % (k.pos - 40) > -6", "q.pos / 4 - k.pos / 4 == 1"];
const table: readonly (readonly [string, (q: number, k: number) => boolean])[] = [
  ["(q.pos - k.pos) / 4 == -1", (q, k) => Math.floor((q - k) / 4) === -1],
  ["(k.pos - q.pos) % 3 == 2", (q, k) => (((k - q) % 3) + 3) % 3 === 2],
  ["(q.pos - 5) / 2 == (k.pos - 5) / 2", (q, k) => Math.floor((q - 5) / 2) === Math.floor((k - 5) / 2)],
  ["(q.turn - 9) % 4 <= (k.turn - 9) % 4", (q, k) => rest(q - 9, 4) <= rest(k - 9, 4)],
  ["q.pos % (k.pos - 40) > -6", (q, k) => rest(q, k - 40) > -6],
  ["q.pos / 4 - k.pos / 4 == 1", (q, k) => Math.floor(q / 4) - Math.floor(k / 4) === 1],
];

describe.each(table)("%s", (text, meaning) => {
  const mask = maskOf(text);

  test("means the same in the language", () => {
    for (let q = 0; q < 24; q++) for (let k = 0; k < 24; k++) expect(evalExpr(mask, { q: { pos: q, turn: q }, k: { pos: k, turn: k } }) !== 0, `${q} ${k}`).toBe(meaning(q, k));
  });

  if (onDevice.includes(text)) test("and in the kernels, whose tiles are skipped by it", async () => {
    const { host } = await gpu();
    const pos = Int32Array.from({ length: 37 }, (_, i) => i);
    const off = await wrongOnGpu({ what: text, t: 37, width: 16, mask, query: { pos, turn: pos } }, software, host, { backward: false });
    expect(off).toBeUndefined();
  });
});

test("by zero is refused", () => {
  const spec = `mask halves(n: int)(q, k) = q.pos / n == k.pos % 0\n`;
  const result = check(spec);
  expect(lines(result, spec)).toEqual(["E0239 `%` by zero @ 0"]);
});
