// Cache soundness against brute force on longer samples, pictures, and queries that see nothing.

import fc from "fast-check";
import { expect, test } from "vitest";
import { rangeOf } from "../../compiler/scalar/interval.ts";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import * as S from "../../compiler/scalar/expr.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { exactly, pairTruth } from "../../compiler/mask/pairs.ts";
import { maskPictures, picture } from "../../compiler/mask/picture.ts";
import { loneQueries } from "../../compiler/mask/rows.ts";
import { cacheSoundness } from "../../compiler/mask/soundness.ts";
import type { Model } from "../../compiler/types/model.ts";
import { check } from "../types/loader.ts";

const spec = (mask: string, extra = ""): string => `use std.blocks { decoder_block }
model m(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(4, of: pixels(8, 8, channels: 1))
  process noising on image = flow()
  task draw(caption: text, picture: image)     = <bos> given text(caption) <boi> predict image(picture) <eoi>
  task describe(picture: image, caption: text) = <bos> given image(picture) predict text(caption) <eos>
  ${extra}
  mask = ${mask}
  embed image = linear(image.features, d) + time(noising, d)
  body = stack(1) decoder_block(d, 2, mask)
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy()
  sample image = euler(steps: 4)
}`;

function model(mask: string, extra = ""): Model {
  const r = check(spec(mask, extra));
  const [m] = r.models;
  if (!m) throw new Error(r.diagnostics.map((d) => d.message).join("\n"));
  return m;
}

test.each([
  ["causal", true], ["causal | within(image)", true], ["window(4) & causal", true], ["causal & document", true], ["(causal | segment) & same(doc)", false],
  ["full", false], ["near(1)", false], ["!causal | q.pos == k.pos", false], ["prefix", false], ["causal | sees(text, image)", false],
] as const)("%s is sound: %s", (mask, sound) => {
  const inMask = mask.includes("q.") ? "mine" : mask;
  const m = model(inMask, mask.includes("q.") ? `mask mine(q, k) = ${mask}` : "");
  expect(cacheSoundness(m).sound).toBe(sound);
});

test("a prefix that all see is sound where nothing given follows the prediction", () => {
  const text = `use std.blocks { decoder_block }
model m(d: axis = 8) {
  tokens text = bytes()
  task answer(question: text, reply: text) = <bos> given text(question) <sep> predict text(reply) <eos>
  body = stack(1) decoder_block(d, 2, prefix)
  loss = next_token(text)
  sample text = greedy()
}`;
  const [m] = check(text).models;
  expect(m && cacheSoundness(m).sound).toBe(true);
});

test("the reason names the task, the mask and the two items", () => {
  const s = cacheSoundness(model("full"));
  expect(s.sound ? "" : s.reason).toBe("in task `draw`, mask `full` lets `<bos>` see `image(picture)`, which comes after it");
});

test("a warning says so, and the model still checks", () => {
  const r = check(spec("full"));
  expect(r.diagnostics.map((d) => d.code)).toEqual(["W0602"]);
  expect(r.models).toHaveLength(1);
});

test("pictures show who sees whom", () => {
  const m = model("causal | within(image)");
  const [draw] = m.tasks;
  if (!draw) throw new Error("no task");
  expect(picture(m, draw, m.mask?.expr).split("\n").slice(1, -1).map((l) => l.replace(/^.*?  (?=[#.])/, ""))).toEqual([
    "# . . . . . . . . . .", "# # . . . . . . . . .", "# # # . . . . . . . .", "# # # # . . . . . . .", "# # # # # . . . . . .", "# # # # # # . . . . .",
    "# # # # # # # # # # .", "# # # # # # # # # # .", "# # # # # # # # # # .", "# # # # # # # # # # .", "# # # # # # # # # # #",
  ]);
  expect(maskPictures(m)).toContain("can be kept");
});

test("a prediction without anything to look at is found, and no other", () => {
  expect(check(spec("past", "mask past(q, k) = k.pos < q.pos & q.stream == image")).diagnostics.map((d) => d.code)).toEqual(["E0307"]);
  expect(loneQueries(model("causal"))).toEqual([]);
});

/** Predicates over two attributes, of any shape. */
const leaf = fc.constantFrom<ScalarExpr>(S.attr("q", "pos"), S.attr("k", "pos"), S.attr("q", "span"), S.attr("k", "span"), S.i32(0), S.i32(2), S.i32(5));
const number = fc.letrec<{ n: ScalarExpr }>((tie) => ({
  n: fc.oneof({ depthSize: "small" }, leaf, fc.tuple(fc.constantFrom("add", "sub", "mul", "min", "max" as const), tie("n"), tie("n")).map(([op, a, b]) => S.binary(op as "add", a, b))),
})).n;
const predicate = fc.letrec<{ p: ScalarExpr }>((tie) => ({
  p: fc.oneof(
    { depthSize: "small" },
    fc.tuple(fc.constantFrom("lt", "le", "eq", "ne" as const), number, number).map(([op, a, b]) => S.binary(op as "lt", a, b)),
    fc.tuple(fc.constantFrom("and", "or" as const), tie("p"), tie("p")).map(([op, a, b]) => S.binary(op as "and", a, b)),
    tie("p").map((p) => S.unary("not", p)),
  ),
})).p;

test("what pairTruth claims holds for every pair", () => {
  fc.assert(fc.property(predicate, (p) => {
    const claim = pairTruth(p, (name) => (name === "pos" ? { q: rangeOf(0, 6), k: rangeOf(0, 6), difference: rangeOf(1, 6) } : { q: exactly(1), k: exactly(2), difference: exactly(1) }));
    if (claim === "unknown") return;
    for (let q = 0; q < 6; q++) {
      for (let k = q + 1; k <= 6; k++) {
        const v = evalExpr(p, { q: { pos: q, span: 1 }, k: { pos: k, span: 2 } }) !== 0;
        expect(v).toBe(claim === "true");
      }
    }
  }), { numRuns: 400 });
});
