// What masks may be made of, each against a function of two places: functions, blocks, lists, other masks, attributes as arguments, heads,
// layers. And what is refused.

import { describe, expect, test } from "vitest";
import { maskReport } from "../../compiler/mask/explain.ts";
import type { MaskPicture } from "../../compiler/mask/explain.ts";
import { check, lines } from "../types/loader.ts";

const spec = (declared: string, mask: string, body = "[stack(3) i => decoder_block(d, 2, mask), rms_norm(d)]", members = ""): string => `use std.blocks { decoder_block }
use std.masks
${declared}
model small(d: axis = 8, wide: int = 3) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 6, channels: 1))
  process noising on image = flow(predict: velocity)
  attribute turn: int = 0
  attribute third: int = token.index / 3
  ${members}
  task draw(a: text, b: text, c: image) = <bos> given text(a, turn: 1) given text(b, turn: 2) predict image(c, turn: 3)
  mask = ${mask}
  body = ${body}
  embed image = linear(image.features, d)
  head image = linear(d, image.features)
  loss = denoise(image)
  sample image = euler(steps: 2)
}
`;

/** A token of the sample: <bos>, four and four of text, six patches in two rows. */
interface Place { readonly pos: number; readonly turn: number; readonly i: number; readonly image: boolean }
const places: readonly Place[] = Array.from({ length: 15 }, (_, pos) => {
  const [turn, from] = pos === 0 ? [0, 0] : pos < 5 ? [1, 1] : pos < 9 ? [2, 5] : [3, 9];
  return { pos, turn, i: pos - from, image: turn === 3 };
});
type Sees = (q: Place, k: Place) => boolean;
const rowsOf = (sees: Sees): string[] => places.map((q) => places.map((k) => (sees(q, k) ? "1" : "0")).join(""));

function picturesOf(text: string): readonly MaskPicture[] {
  const result = check(text);
  const [model] = result.models;
  const errors = result.diagnostics.filter((d) => d.severity === "error");
  if (!model || errors.length > 0) throw new Error(lines(result, text).join("\n"));
  expect(model.notBuilt).toEqual([]);
  return maskReport(model, { patches: 6 }).tasks[0]?.pictures ?? [];
}

const before: Sees = (q, k) => k.pos <= q.pos;
const self: Sees = (q, k) => q.pos === k.pos;

test.each<readonly [string, string, string, Sees]>([
  ["functions over tokens", "fn part(t, n) = t.index / n\nmask m(n: int)(q, k) = part(q, n) == part(k, n)", "m(2)", (q, k) => q.i >> 1 === k.i >> 1],
  ["blocks with names", "mask m(n: int)(q, k) = {\n  let a = q.pos - k.pos\n  let near = a < n & a > 0 - n\n  near | k.pos == 0\n}", "m(wide)", (q, k) => Math.abs(q.pos - k.pos) < 3 || k.pos === 0],
  ["a mask as an argument", "mask every(inner: mask, n: int)(q, k) = inner & (q.pos - k.pos) % n == 0", "every(masks.causal, 2)", (q, k) => before(q, k) && (q.pos - k.pos) % 2 === 0],
  ["a mask of a mask of a mask", "mask no(inner: mask)(q, k) = !inner\nmask twice(inner: mask)(q, k) = no(no(inner))", "twice(twice(causal))", before],
  ["exchanged tokens", "mask after(q, k) = causal(k, q)", "after", (q, k) => q.pos <= k.pos],
  ["an attribute as an argument", "mask up_to(a: attribute)(q, k) = k.a <= q.a", "up_to(turn)", (q, k) => k.turn <= q.turn],
  ["an attribute with a formula as an argument", "mask up_to(a: attribute)(q, k) = k.a <= q.a\nmask both(a: attribute, b: attribute)(q, k) = up_to(a) & up_to(b)", "both(third, row) | q_is_k\n  mask q_is_k(q, k) = q.pos == k.pos",
    (q, k) => (Math.floor(k.i / 3) <= Math.floor(q.i / 3) && (k.image ? Math.floor(k.i / 3) : 0) <= (q.image ? Math.floor(q.i / 3) : 0)) || self(q, k)],
  ["a list of numbers", "mask at(these: [int])(q, k) = any(these, n => q.pos - k.pos == n)", "at([0, 1, 4])", (q, k) => [0, 1, 4].includes(q.pos - k.pos)],
  ["a list of streams", "mask among(these: [stream])(q, k) = any(these, s => q.stream == s & k.stream == s)", "among([image, text])", (q, k) => q.image === k.image],
  ["a list of masks", "mask each(these: [mask])(q, k) = all(these, m => m)", "each([causal, masks.window(4), !masks.hidden(image) | full])", (q, k) => before(q, k) && q.pos - k.pos < 4],
  ["an empty list", "mask each(these: [int])(q, k) = all(these, n => q.pos == n) & (any(these, n => q.pos == n) | k.pos <= q.pos)", "each([])", before],
  ["a range and how long a list is", "mask m(these: [int])(q, k) = any(0..count(these), i => k.pos == these[i] + i) | q.pos == k.pos", "m([0, 4, 9])", (q, k) => [0, 5, 11].includes(k.pos) || self(q, k)],
  ["numbers chosen by a condition", "mask m(q, k) = q.pos - k.pos < (when q.stream == image then 3 else 6) & causal", "m", (q, k) => before(q, k) && q.pos - k.pos < (q.image ? 3 : 6)],
  ["masks chosen by a condition", "mask m(q, k) = when q.stream == image then within(image) else causal", "m", (q, k) => (q.image ? k.image : before(q, k))],
  ["min, max and abs", "mask m(q, k) = max(q.pos, k.pos) - min(q.pos, k.pos) == abs(q.pos - k.pos) & min(q.turn, 2) == min(k.turn, 2)", "m", (q, k) => Math.min(q.turn, 2) === Math.min(k.turn, 2)],
  ["the model's numbers", "", "mine\n  mask mine(q, k) = q.pos / wide == k.pos / wide", (q, k) => Math.floor(q.pos / 3) === Math.floor(k.pos / 3)],
])("%s", (_, declared, mask, sees) => {
  const [picture, ...others] = picturesOf(spec(declared, mask));
  expect(others).toEqual([]);
  expect(picture?.visible).toEqual(rowsOf(sees));
});

describe("by head and layer", () => {
  test("a mask chooses by layer and by head", () => {
    const pictures = picturesOf(spec("", "when layer % 2 == 0 then (when head < 1 then causal else full) else masks.window(3)"));
    expect(pictures.map((p) => [p.layers, p.heads])).toEqual([[[0, 2], [0]], [[0, 2], [1]], [[1], "all"]]);
    expect(pictures.map((p) => p.visible)).toEqual([rowsOf(before), rowsOf(() => true), rowsOf((q, k) => Math.abs(q.pos - k.pos) < 3)]);
  });

  test("a condition on the head is part of a mask", () => {
    const pictures = picturesOf(spec("mask m(n: int)(q, k) = causal & (head < n | q.pos == k.pos)", "m(1)"));
    expect(pictures.map((p) => p.heads)).toEqual([[0], [1]]);
    expect(pictures.map((p) => p.visible)).toEqual([rowsOf(before), rowsOf(self)]);
  });

  test("a list of masks, one a layer", () => {
    const pictures = picturesOf(spec("", "causal", "[stack(3) i => decoder_block(d, 2, [causal, full, mask & masks.window(2)][i]), rms_norm(d)]"));
    expect(pictures.map((p) => p.visible)).toEqual([rowsOf(before), rowsOf(() => true), rowsOf((q, k) => before(q, k) && q.pos - k.pos < 2)]);
  });
});

describe("refused", () => {
  test.each([
    ["mask m(q, k) = any(3, x => q.pos == x)", "m", "E0202 `any` goes over a list, and this is a whole number @ 3"],
    ["mask m(q, k) = any([3], q.pos == 3)", "m", "E0202 `any` needs a condition on an entry @ q.pos == 3"],
    ["mask m(q, k) = all([3], x => q.pos + x)", "m", "E0202 `all` needs a condition, and this is a number made of tokens @ q.pos + x"],
    ["mask m(q, k) = when q.pos == 0 then [1] else causal", "m", "E0202 `when` over tokens gives conditions or numbers, and this is a list @ [1]"],
    ["mask m(q, k) = when q.pos == 0 then 1 else causal", "m", "E0219 one branch is a condition and the other a number @ when q.pos == 0 then 1 else causal"],
    ["mask up_to(a: attribute)(q, k) = k.a <= q.a", "up_to(turns)", "E0221 tokens have no attribute `turns` @ turns"],
    ["mask up_to(a: attribute)(q, k) = k.a <= q.a", "up_to(3)", "E0202 `a` of `up_to` is a token attribute, and this is a whole number @ 3"],
    ["mask among(these: [stream])(q, k) = any(these, s => q.stream == s)", "among(image)", "E0202 `these` of `among` is a list of stream, and this is a stream @ image"],
    ["mask among(these: [stream])(q, k) = any(these, s => q.stream == s)", "among([image, 3])", "E0202 `these` of `among` is a stream, and this is a whole number @ [image, 3]"],
    ["", "masks.visibility([text, image], table: [1, 1, 0])", "E0225 there is no entry 3: there are 3, counted from 0"],
    ["", "masks.natten(image, 4)", "E0217 3 does not divide by 2"],
    ["", "masks.natten(text, 3)", "E0212 stream `text` has no `rows`"],
    ["", "natten(image, 3)", "E0201 there is no name `natten` here @ natten"],
  ])("%s %s", (declared, mask, message) => {
    const text = spec(declared, mask);
    expect(lines(check(text), text).map((l) => (message.includes(" @ ") ? l : l.replace(/ @ .*$/s, ""))).filter((l) => !l.startsWith("W"))).toContain(message);
  });

  const doubled = (kind: string, n: number, of: (before: string) => string): string => [`${kind} ${of("")}`, ...Array.from({ length: n }, (_, i) => `${kind} ${of(String(i))}`)].join("\n");
  const step = (b: string): string => (b === "" ? "m0(q, k) = causal & q.row <= k.row" : `m${Number(b) + 1}(q, k) = m${b} & q.pos > ${b} | !m${b}`);
  const sum = (b: string): string => (b === "" ? "a0: int = token.index" : `a${Number(b) + 1}: int = token.a${b} + token.a${b} * token.row`);

  test.each([
    ["masks that call each other twice", doubled("mask", 40, step), "m40", "", "mask `m11`"],
    ["formulas that read each other twice", "mask m(q, k) = k.a40 <= q.a40", "m", doubled("attribute", 40, sum), "the formula of attribute `a13`"],
    ["lists within lists", "mask m(q, k) = any(0..200, a => any(0..100, b => q.pos == k.pos + a * b))", "m", "", "`any`"],
  ])("what grows too large is said once: %s", (_, declared, mask, members, what) => {
    const found = check(spec(declared, mask, undefined, members)).diagnostics.filter((d) => d.code === "E0247");
    expect(found.map((d) => d.message.replace(/ has .*/, ""))).toEqual([what]);
  });

  test("a long range is counted, and not gone over", () => {
    const far = (mask: string): string[] => lines(check(spec(`mask m(q, k) = ${mask}`, "m")), spec("", "")).filter((l) => !l.startsWith("W"));
    expect(far("k.pos <= q.pos & count(0..20000) == 20000")).toEqual([]);
    expect(far("any(0..1000, x => k.pos == q.pos - x)")).toEqual([]);
    expect(far("any(0..1001, x => k.pos == q.pos - x)")).toEqual([expect.stringMatching(/^E0319 `any` goes over at most 1000 entries, and this range has 1001/)]);
  });

  test("a name of the library that needs a `use` is told of, with a slip too", () => {
    const help = (mask: string): string | undefined => check(spec("", mask)).diagnostics.find((d) => d.code === "E0201")?.help;
    expect(help("natten(image, 3)")).toBe("the library has it: `use std.masks { natten }` at the top of the file");
    expect(help("sliding_windw(3)")).toMatch(/`sliding_window`.*`use std\.masks \{ sliding_window \}`/);
  });
});
