// Names, kinds and modules: what is found where, what may hide what, and that all mistakes of a file come in one run.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { check, lines } from "./loader.ts";

const said = (text: string, files: Record<string, string> = {}): string[] => lines(check(text, files), text);

test("every mistake of a file comes in one run, and none twice", () => {
  const text = `layer a(d: axis) {
  n = rms_nrom(d)
  forward x[d] = n(x) + missing
}
layer b(d: axis, m: mask) {
  attn = attention(d, 2, soft_cap(3.0))
  forward x[t, d] = attn(x, x)
}
mask c(q, k) = q.posn < k.pos + 1.0
fn f(x[t, d], y[t, e]) = dot[d](x, y)
`;
  expect(said(text)).toEqual([
    "E0201 there is no name `rms_nrom` here @ rms_nrom",
    "E0201 there is no name `missing` here @ missing",
    "E0202 `mask` of `attention` is a mask, and this is a score @ soft_cap(3.0)",
    "E0210 layer `attention` is applied to one tensor, and there are 2 here @ attn(x, x)",
    "E0213 `y` has no axis `d` @ y",
  ]);
});

test("a wrong attribute is found in a model, where the attributes are known", () => {
  const text = `use std.blocks { decoder_block }
mask c(q, k) = q.posn <= k.pos
model m(d: axis = 8) {
  tokens text = bytes()
  task w(line: text) = <bos> predict text(line)
  body = stack(1) decoder_block(d, 2, c)
  loss = next_token(text)
  sample text = greedy()
}`;
  expect(said(text)).toEqual(["E0221 tokens have no attribute `posn` @ posn"]);
});

test("suggestions are of the kind that is wanted", () => {
  const text = `mask causa(q, k) = true
layer block(d: axis, causl: int) {
  attn = attention(d, 2, causall)
  forward x[t, d] = attn(x)
}`;
  const [d] = check(text).diagnostics;
  expect(d?.message).toBe("there is no mask `causall` here");
  expect(d?.help).toBe("did you mean `causal`?");
});

test("own declarations come before the library's, and do not change it", () => {
  const text = `use std.blocks { decoder_block }
layer rms_norm(d: axis) {
  forward x[d] = x
}
layer mine(d: axis) {
  n = rms_norm(d)
  b = decoder_block(d, 2, causal)
  forward x[t, d] = b(n(x))
}`;
  expect(said(text)).toEqual([]);
});

test("modules: names, other names, whole modules, own files", () => {
  const other = "layer gain(d: axis) {\n  param g[d] ~ ones\n  forward x[d] = x * g\n}\nmask near_by(q, k) = q.pos == k.pos\n";
  expect(said("use other { gain as scale, near_by }\nlayer a(d: axis) {\n  s = scale(d)\n  t1 = attention(d, 2, near_by)\n  forward x[t, d] = t1(s(x))\n}", { other })).toEqual([]);
  expect(said("use other\nlayer a(d: axis) {\n  s = other.gain(d)\n  forward x[d] = s(x)\n}", { other })).toEqual([]);
  expect(said("use other\nlayer a(d: axis) {\n  s = other.gian(d)\n  forward x[d] = s(x)\n}", { other })).toEqual(["E0207 module `other` has no `gian` @ gian"]);
  expect(said("use other { gain }\nlayer gain(d: axis) {\n  forward x[d] = x\n}", { other })).toEqual(["E0203 `gain` is imported and declared @ gain"]);
});

test("mistakes in another file are reported there", () => {
  const other = "layer gain(d: axis) {\n  forward x[d] = x * g\n}\n";
  expect(said("use other { gain }\nlayer a(d: axis) {\n  s = gain(d)\n  forward x[d] = s(x)\n}", { other })).toEqual(["E0201 there is no name `g` here @ other.heddle"]);
});

test("a name is bound once in a declaration, but a parameter may be called like a declaration elsewhere", () => {
  expect(said("layer a(d: axis, mask: mask, rms_norm: layer) {\n  forward x[d] = rms_norm(x)\n}")).toEqual([]);
  expect(said("layer a(d: axis) {\n  forward x[d] = {\n    let x = 1.0\n    x\n  }\n}")).toEqual(["E0204 this name hides `x` @ x"]);
  expect(said("fn f(x) = {\n  let y = x\n  let y = x + 1.0\n  y\n}")).toEqual(["E0203 `y` is declared twice @ y"]);
});

const tiny = (task: string, body: string): string => `model m(d: axis = 8) {
  tokens text = bytes()
  task w(a: text, b: text) = ${task}
  body = ${body}
  loss = next_token(text)
  sample text = greedy()
}`;

test("a layer of the library that needs `use` is said to be there, once, and its list is no second mistake", () => {
  const layers = [...readFileSync("stdlib/blocks.heddle", "utf8").matchAll(/^layer (\w+)/gm)].map((m) => m[1] ?? "");
  expect(layers.length).toBeGreaterThan(2);
  for (const name of layers) {
    const found = check(tiny("given text(a) predict text(b)", `[stack(2) ${name}(d, 2, causal), rms_norm(d)]`)).diagnostics;
    expect(found.map((d) => d.message)).toEqual([`there is no name \`${name}\` here`]);
    expect(found[0]?.help).toContain(`use std.blocks { ${name} }`);
  }
});

test("a layout that the parser gave up on leaves no fields unused and no stream without a task", () => {
  const found = check(tiny("<bos> given drop(0.1) (text(a) <sep>) predict text(b)", "stack(2) attention(d, 2, causal)")).diagnostics;
  expect(new Set(found.map((d) => d.code.slice(0, 3)))).toEqual(new Set(["E01"]));
  expect(found[0]?.help).toContain("`given stream(field)`");
});

test("a score that lacks its arguments is told its signature", () => {
  const text = `layer own(d: axis) {
  axis e = d
  param w[d, e]
  forward x[t, d] = x + sum[e](attend[e](dot[d](x, w), dot[d](x, w), dot[d](x, w), over: t, mask: causal, score: soft_cap))
}`;
  expect(check(text).diagnostics.map((d) => d.help)).toEqual(["give it its arguments: `soft_cap(limit: float)`"]);
});
