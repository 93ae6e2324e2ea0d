// Named axes: alignment, aliases at the door of a layer, sizes, and where each mistake is found.

import { expect, test } from "vitest";
import { apply, close, noise } from "./apply.ts";
import { check, lines } from "./loader.ts";

const said = (text: string): string[] => lines(check(text), text);
const layer = (body: string, params = "d: axis, e: axis"): string => `layer subject(${params}) {\n${body}\n}`;

test("elementwise operators align axes by name, whatever their order", () => {
  const text = "layer subject(d: axis) {\n  forward(x[t, d], y[d, t]) = x - y\n}";
  const [x, y] = [noise(6, 1), noise(6, 2)];
  const out = apply("subject(d)", [{ axes: { t: 2, d: 3 }, data: x }, { axes: { d: 3, t: 2 }, data: y }], { text, sizes: { d: 3 } });
  expect(out.axes).toEqual(["t", "d"]);
  close(out.data, x.map((v, i) => v - (y[(i % 3) * 2 + Math.floor(i / 3)] ?? 0)));
});

test("split, merge, rename, slice and concat change names and sizes", () => {
  const text = layer("  axis h = 2, w = d / 2\n  forward x[t, d] = concat[d](merge[h, w -> d](split[d -> h, w](x)), slice[d](x, from: 1, size: 2))", "d: axis");
  const x = noise(8, 3);
  const out = apply("subject(d)", [{ axes: { t: 2, d: 4 }, data: x }], { text, sizes: { d: 4 } });
  expect(out.shape).toEqual([2, 6]);
  close(out.data, [0, 1].flatMap((t) => [...x.slice(t * 4, t * 4 + 4), ...x.slice(t * 4 + 1, t * 4 + 3)]));
});

test("extra axes pass through a layer", () => {
  const out = apply("linear(d, e)", [{ axes: { batch: 2, t: 2, d: 3 }, data: noise(12) }], { sizes: { d: 3, e: 2 } });
  expect([out.axes, out.shape]).toEqual([["batch", "t", "e"], [2, 2, 2]]);
});

test("an axis given as a number takes the parameter's name, `axis k = 3` another", () => {
  const text = layer("  wide = linear(d, axis k = 3)\n  back = linear(k, d)\n  forward x[d] = back(wide(x)) + sum[k](wide(x))", "d: axis");
  expect(apply("subject(d)", [{ axes: { d: 2 }, data: [1, 2] }], { text, sizes: { d: 2 } }).axes).toEqual(["d"]);
});

test.each([
  ["  param w[d, e] ~ ones\n  forward x[t, d] = dot[h](x, w)", "E0213 `x` has no axis `h` @ x"],
  ["  param w[e] ~ ones\n  forward x[t, d] = sum[e](x) + w", "E0213 `x` has no axis `e` @ x"],
  ["  inner = rms_norm(e)\n  forward x[t, d] = inner(x)", "E0213 layer `rms_norm` needs axis `e`, which its input does not have @ inner(x)"],
  ["  param w[d, h] ~ ones\n  forward x[d] = dot[d](x, w)", "E0201 there is no axis `h` here @ h"],
  ["  forward x[t, d] = rename[d -> t](x)", "E0215 axis `t` would occur twice @ rename[d -> t](x)"],
  ["  axis n = d / 0\n  forward x[d] = x", "E0217 d does not divide by 0 @ d / 0"],
  ["  param w[d] ~ ones when 3\n  forward x[d] = x * w", "E0224 `when` decides while the model is built, and this is a whole number @ 3"],
  ["  param w[d] ~ 3\n  forward x[d] = x * w", "E0202 a weight starts from an initialiser, and this is a whole number @ 3"],
  ["  forward x[t, d] = gather[d](x, x)", "E0219 a float where a whole number is needed @ x"],
  ["  forward x[t, d] = attend[d](x, x, x, over: e)", "E0213 `x` has no axis `e` @ x"],
  ["  forward x[t, d] = attend[d](x, x, x, over: t, score: causal)", "E0202 `score` of `attend` is a score, and this is a mask @ causal"],
  ["  forward x[t, d] = x[0]", "E0225 a tensor has no entries to choose from @ x[0]"],
])("%s", (body, expected) => {
  expect(said(layer(body))).toEqual([expected]);
});

test("a size clash names the axis, both sizes and both places", () => {
  const text = layer("  axis g = 8\n  fn eight(x) = x\n  param a[g] ~ ones\n  forward x[t, d] = x * sum[g](a * b())\n  fn b() = rename[g2 -> g](c)\n  axis g2 = 6\n  param c[g2] ~ ones", "d: axis");
  const [d] = check(text).diagnostics;
  expect(d?.code).toBe("E0214");
  expect(d?.message).toBe("axis `g` is 8 here and 6 there");
  expect(d?.labels.map((l) => l.text)).toEqual(["`b()` has g = 6", "`a` has g = 8 (from `8`, line 2)"]);
});

test("symbolic sizes: what may be equal is not an error, what cannot be is", () => {
  const heads = "  axis h = heads, e = d / heads\n  param w[d, h, e] ~ ones\n  forward x[t, d] = x + merge[h, e -> d](dot[d](x, w))";
  expect(said(layer(heads, "d: axis, heads: int"))).toEqual([]);
  const off = heads.replace("e = d / heads", "e = d / heads + 1");
  expect(said(layer(off, "d: axis, heads: int"))).toEqual(["E0214 axis `d` is d here and d + heads there @ merge[h, e -> d](dot[d](x, w))"]);
  expect(said(layer("  axis h = 3\n  param w[h] ~ ones\n  forward x[d] = x * sum[h](w * rename[d -> h](x))", "d: axis"))).toEqual(["E0214 axis `h` is 3 here and d there @ rename[d -> h](x)"]);
});

test("weights that a condition leaves out change nothing", () => {
  const text = layer("  param b[d] ~ ones when on\n  forward x[d] = (x + b) * b - b", "d: axis, on: bool = false");
  close(apply("subject(d)", [{ axes: { d: 2 }, data: [1, 2] }], { text, sizes: { d: 2 } }).data, [1, 2]);
  close(apply("subject(d, on: true)", [{ axes: { d: 2 }, data: [1, 2] }], { text, sizes: { d: 2 }, weights: { "net.b": [1, 1] } }).data, [1, 2]);
});

test("stacks, lists, sums of layers and shared layers", () => {
  const sizes = { d: 2 };
  const input = { axes: { t: 1, d: 2 }, data: [1, 2] };
  const paths = (call: string, text = ""): string[] => apply(call, [input], { text, sizes }).parameters.map((p) => p.path);
  expect(paths("stack(2) rms_norm(d)")).toEqual(["net[0].gain", "net[1].gain"]);
  expect(paths("stack(3) i => when i % 2 == 0 rms_norm(d) else linear(d, d)")).toEqual(["net[0].gain", "net[1].w", "net[2].gain"]);
  expect(paths("[stack(1) rms_norm(d), linear(d, d)]")).toEqual(["net[0].gain", "net.linear.w"]);
  expect(paths("linear(d, d) + residual(rms_norm(d))")).toEqual(["net.linear.w", "net.residual.inner.gain"]);
  const tied = "layer tied(d: axis) {\n  one = rms_norm(d)\n  all = stack(3) one\n  forward x[d] = all(x)\n}";
  expect(paths("tied(d)", tied)).toEqual(["net.one.gain"]);
  const loop = "layer loop(d: axis) {\n  repeat i in 0..2 { b[i] = linear(d, d) }\n  forward x[d] = {\n    let h = x\n    repeat i in 0..2 { h = h + b[i](h) }\n    h\n  }\n}";
  expect(paths("loop(d)", loop)).toEqual(["net.b[0].w", "net.b[1].w"]);
});
