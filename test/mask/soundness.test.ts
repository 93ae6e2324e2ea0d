// Cache soundness by units of generation, queries that see nothing, and the three-valued analysis of pairs against brute force.

import fc from "fast-check";
import { expect, test } from "vitest";
import { rangeOf } from "../../compiler/scalar/interval.ts";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import * as S from "../../compiler/scalar/expr.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { exactly, pairTruth } from "../../compiler/mask/pairs.ts";
import { proveMasks } from "../../compiler/mask/proofs.ts";
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
  // What is given last is never made, so seeing it changes nothing that is kept.
  ["full", false], ["near(1)", false], ["!causal | q.pos == k.pos", false], ["prefix", true], ["causal | sees(text, image)", false],
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

test("a warning says so, unless a prediction sees ahead, which is worse; the model still checks", () => {
  expect(check(spec("full")).diagnostics.map((d) => d.code)).toEqual(["E0321"]);
  const r = check(spec("causal | role", "mask role(q, k) = q.role == given & k.role == predicted & q.task == draw"));
  expect(r.diagnostics.map((d) => `${d.code} ${d.labels[0]?.text}`)).toEqual(["W0602 lets `<bos>` see patch (0, 0) of `picture`"]);
  expect(r.models).toHaveLength(1);
});

test("text given between predictions is one unit, and what is committed before it must not see it", () => {
  const text = (mask: string): string => spec(mask).replace(/ {2}task draw.*\n/, "  task draw(caption: text, hint: text, picture: image) = <bos> predict text(caption) <sep> given text(hint) <boi> predict image(picture)\n");
  const of = (mask: string, extra = "") => cacheSoundness(check(text(mask).replace("  mask =", `${extra}\n  mask =`)).models[0] as Model);
  expect(of("causal | within(image)").sound).toBe(true);
  expect(of("causal | gap | within(image)", "  mask gap(q, k) = q.role == given & k.role == given & q.span > 1 & k.span > 1").sound).toBe(true);
  const s = of("causal | peek", "  mask peek(q, k) = k.role == given & k.span > 2");
  expect(s.sound ? "" : s.reason).toContain("lets `<bos>` see `text(hint)`, which comes after it");
});

test("one head of one layer is enough to keep nothing", () => {
  const s = cacheSoundness(model("causal | late", "mask late(q, k) = layer == 0 & head == 1 & k.stream == image"));
  expect(s.sound).toBe(false);
  expect(s.sound ? [] : s.late.heads).toEqual([1]);
  expect(cacheSoundness(model("causal | late", "mask late(q, k) = layer == 7 & k.stream == image")).sound).toBe(true);
});

test("a prediction without anything to look at is found, and no other", () => {
  const codes = (mask: string): string[] => check(spec("mine", `mask mine(q, k) = ${mask}`)).diagnostics.map((d) => d.code);
  // The first word is predicted by a patch, which sees others: some tokens are alone, and no prediction is blind throughout.
  expect(codes("k.pos < q.pos & q.stream == image")).toEqual(["W0604"]);
  expect(codes("k.pos < q.pos & q.stream == text & k.stream == text & q.task == describe")).toEqual(["E0307"]);
  expect(proveMasks(model("causal"))).toMatchObject({ findings: [], never: [], open: [] });
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
