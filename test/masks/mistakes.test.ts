// What beginners write in masks: each slip is said once, where it stands, in the words of the language.

import { expect, test } from "vitest";
import { check } from "../types/loader.ts";

const spec = (declared: string, mask: string, members = ""): string => `use std.blocks { decoder_block }
${declared}
model small(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 6, channels: 1))
  process noising on image = flow(predict: velocity)
  ${members}
  task draw(a: text, c: image) = <bos> given text(a) <boi> predict image(c)
  mask = ${mask}
  body = [decoder_block(d, 2, mask), rms_norm(d)]
  embed image = linear(image.features, d)
  head image = linear(d, image.features)
  loss = denoise(image)
  sample image = euler(steps: 2)
}
`;

/** What is said: code, message, what it points at, help. */
const said = (text: string): string[] =>
  check(text).diagnostics.map((d) => {
    const at = d.labels[0]?.span;
    return `${d.code} ${d.message} @ ${at ? text.slice(at.start, at.end) : ""}${d.help === undefined ? "" : ` | ${d.help}`}`;
  });

const mask = (body: string): [string, string] => [`mask m(q, k) = ${body}`, "m"];

test.each<readonly [string, readonly [string, string, string?], string]>([
  ["a stream and a role", mask("causal & q.stream == given"), "E0202 `q.stream` is a stream, and `given` is a role @ == | write `q.role == given`"],
  ["a role and a stream", mask("causal | image == k.role"), "E0201 there is no name `image` here @ image"],
  ["a place and a stream", mask("causal & q.pos != image"), "E0201 there is no name `image` here @ image"],
  ["a stream and a task", mask("causal & k.stream == draw"), "E0202 `k.stream` is a stream, and `draw` is a task @ == | write `k.task == draw`"],
  ["streams in order", mask("causal & q.stream <= image"), "E0202 `<=` asks for numbers, and `image` is a stream @ <= | write `q.stream == image`"],
  ["a stream as a string", mask('causal & q.stream == "image"'), "E0202 `==` does not join a number made of tokens and a string @ =="],
  ["a number beyond 32 bits", mask("causal & q.pos < 3_000_000_000"), "E0202 a whole number in a mask lies between -2147483647 and 2147483647 @ 3_000_000_000"],
  ["a list by head", ["mask m(n: [int])(q, k) = causal & q.pos - k.pos < n[head]", "m([2, 4])"], "E0224 an entry is chosen while the model is built, and `head` is known only for a pair of tokens @ head | go over the list: `any(0..count(list), i => head == i & … list[i] …)`"],
  ["a number for a condition", mask("q.pos - k.pos"), "E0202 the body of mask `m` is a number made of tokens, not a condition @ q.pos - k.pos | a mask says which pairs may attend: `q.pos >= k.pos`"],
  ["comparisons chained", mask("0 <= q.pos - k.pos < 8"), "E0109 comparisons cannot be chained @ < | join two comparisons with `&`, as in `a < b & b < c`"],
  ["and", mask("q.pos >= k.pos and q.pos < 3"), "E0112 expected the end of the line before `and` @ and | `&` joins two conditions"],
  ["or in two signs, under which tokens would see too much", mask("q.pos >= k.pos || q.pos == 0"), "E0100 `||` is written `|` @ ||"],
  ["a sign that means nothing", mask("q.stream == image ? full : causal"), "E0101 `?` means nothing here @ ?"],
  ["a score for a mask", ["", "soft_cap(30.0)"], "E0202 `mask` of the model is a mask, and this is a score @ soft_cap(30.0)"],
  ["a mask without its arguments", ["", "within"], "E0209 mask `within` takes arguments @ within | write `within(s: stream)` with values"],
])("%s", (_, [declared, value, members], expected) => {
  expect(said(spec(declared, value, members))).toEqual([expected]);
});

test("an expression with a second message helps all the same", () => {
  expect(said(spec(...mask("q.doc = k.doc")))).toContain("E0112 expected the end of the line before `=` @ = | `==` compares two values");
  expect(said(spec(...mask("causal & not within(image)")))).toContain("E0112 expected the end of the line before `within` @ within | `!` turns a condition round: `!within(image)`");
});

test("attributes are compared with what they hold, by whatever name it comes", () => {
  const sound = ["causal & q.stream == image | q.pos == k.pos", "causal & (q.role == given | q.task == draw)", "causal & (q.stream == k.stream | q.stream != 7)", "causal & q.pos < 2_147_483_647"];
  for (const body of sound) expect(said(spec(...mask(body)))).toEqual([]);
});
