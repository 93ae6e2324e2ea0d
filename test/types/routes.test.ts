// What is said about routes, their branches and the layers that they route: codes, messages, and the text they point at.

import { describe, expect, test } from "vitest";
import { check, lines } from "./loader.ts";
import { spec } from "./routed_body.ts";

const text = (route: string, body = "routed(r, swiglu(d, 6))", more = ""): string => spec(body, `${more}\nroute r = ${route}`);
const said = (source: string): string[] => lines(check(source), source);

describe("routes", () => {
  test.each<[string, string]>([
    ["by stream { text -> a }", "E0250 stream `image` has no branch @ by stream { text -> a }"],
    ["by task { draw -> a }", "E0250 task `tell` has no branch @ by task { draw -> a }"],
    ["by role { given -> a }", "E0250 `predicted` has no branch @ by role { given -> a }"],
    ["by turn { 0 -> a; 1 -> b }", "E0250 tokens with another `turn` have no branch @ by turn { 0 -> a; 1 -> b }"],
    ["by stream {}", "E0250 stream `text` has no branch @ by stream {}"],
    ["by stream { text -> a; 3 -> b; else -> c }", "E0251 `stream` is a stream, and this is a whole number @ 3"],
    ["by stream { text -> a; draw -> b; else -> c }", "E0251 `stream` is a stream, and this is a task @ draw"],
    ["by task { text -> a; else -> b }", "E0251 `task` is a task, and this is a stream @ text"],
    ["by role { given -> a; 2 -> b; else -> c }", "E0251 `role` is `given` or `predicted`, and this is a whole number @ 2"],
    ["by turn { text -> a; else -> b }", "E0251 `turn` is a whole number, and this is a stream @ text"],
    ["by turn { 0.5 -> a; else -> b }", "E0251 `turn` is a whole number, and this is a number with a fraction @ 0.5"],
    ["by turn { 0, 1, 0 -> a; else -> b }", "E0251 turn 0 has a branch already @ 0"],
    ["by turn { [0, 1] -> a; 1..3 -> b; else -> c }", "E0251 turn 1 has a branch already @ 1..3"],
    ["by stream { text -> a; text -> b; image -> b }", "E0251 stream `text` has a branch already @ text"],
    ["by turn { 0 -> a; else -> b; 1 -> c }", "E0251 this case is never reached @ 1 -> c"],
    ["by stream { text -> 1; image -> b }", "E0251 a case leads to a branch, and this is no name @ 1"],
    ["by stream { text -> a; image -> b from c }", "E0253 there is no branch `c` to start from @ c"],
    ["by stream { text -> a; image -> b from b }", "E0253 branch `b` would start as a copy of itself @ b"],
    ["by stream { text -> a from b; image -> b from a }", "E0253 branches `a` and `b` would start as copies of each other @ b"],
    ["by turn { 0 -> a; 1 -> b; 2 -> c from a; else -> c from b }", "E0252 branch `c` starts as a copy of two others @ b"],
    ["by stream { text -> a; image -> b; else -> c }", "W0620 this case is never reached @ else -> c"],
    ["by turns { 0 -> a; else -> b }", "E0221 tokens have no attribute `turns` @ turns"],
    ["by stream { text -> a; imag -> b }", "E0201 there is no stream `imag` here @ imag"],
  ])("%s", (route, line) => expect(said(text(route))).toEqual([line]));

  test("are said once, however often the route is used", () => {
    const block = "layer two(d: axis, r: route) {\n  a = routed(r, rms_norm(d))\n  b = routed(r, rms_norm(d))\n  forward x[d] = a(b(x))\n}";
    expect(said(text("by stream { text -> a; image -> b; else -> c }", "[stack(2) two(d, r), routed(r, rms_norm(d))]", block))).toEqual(["W0620 this case is never reached @ else -> c"]);
  });

  test("streams beside the sequence need no branch", () => {
    const source = spec("[routed(r, rms_norm(d)), cross]", "layer cross_of(d: axis, rows: axis) {\n  inner = cross_attention(d, rows, d, 1)\n  forward (x[t, d], memory[rows, d]) = x + inner(x, memory)\n}\nroute r = by stream { text -> words }")
      .replace("  process noising on image = flow(predict: velocity)\n", "").replace(/ {2}task draw.*\n/, "").replace("<bos> <boi> given image(picture, turn: 1) <eoi>", "<bos> beside image(picture)")
      .replace(/ {2}head image.*\n/, "").replace(" + denoise(image)", "").replace(/ {2}sample image.*\n/, "").replace("  body =", "  cross = cross_of(d, image.tokens)\n  body =").replace("causal | within(image)", "causal");
    expect(said(source)).toEqual([]);
  });

  test("may be frozen, and start from a branch that comes later", () => {
    expect(said(text("by stream { text -> a from b; image -> frozen b }"))).toEqual([]);
  });
});

describe("routed layers", () => {
  const by = "by stream { text -> a; image -> b }";
  const named = (layers: string): string[] => said(text(by, `routed(r, ${layers})`));
  test.each<[string, string[]]>([
    ["a: swiglu(d, 6)", ["E0256 branch `b` has no layer @ routed(r, a: swiglu(d, 6))"]],
    ["a: swiglu(d, 6), b: swiglu(d, 6), c: swiglu(d, 6)", ["E0256 route `r` has no branch `c` @ c"]],
    ["swiglu(d, 6), a: swiglu(d, 7), b: swiglu(d, 6)", ["E0256 this layer is for no branch @ swiglu(d, 6)"]],
    ["a: linear(d, 6), b: linear(d, 7)", ["E0256 the branches give axes of different sizes @ routed(r, a: linear(d, 6), b: linear(d, 7))"]],
    ["causal", ["E0202 `layer` of `routed` is a layer, and this is a mask @ causal"]],
    ["swiglu(d, 6), alike: 3", ["E0224 `alike` is `true` or `false`, and this is a whole number @ 3"]],
    ["swiglu(d, 6), alike: true", ["E0256 `alike` is for the experts of a router @ true"]],
    ["swiglu(d, 6), alike: false", []],
  ])("%s", (layers, expected) => expect(named(layers)).toEqual(expected));

  test("copies need the same weights", () => {
    const copy = "by stream { text -> a; image -> b from a }";
    expect(said(text(copy, "routed(r, a: swiglu(d, 6), b: swiglu(d, 7))"))).toEqual(["E0254 branch `b` starts from `a`, and their weights differ @ routed(r, a: swiglu(d, 6), b: swiglu(d, 7))"]);
    expect(said(text(copy, "routed(r, a: swiglu(d, 6), b: mlp(d, 6))"))[0]).toMatch(/^E0254 /);
    expect(said(text(copy, "routed(r, a: swiglu(d, 6), b: swiglu(d, 6))"))).toEqual([]);
  });

  test("routes and routers take their arguments", () => {
    expect(said(spec("routed(halves, swiglu(d, 6))", "route halves(a: attribute) = by a { 0 -> low; else -> high }"))).toEqual(["E0209 route `halves` takes arguments @ halves"]);
    expect(said(spec("routed(3, swiglu(d, 6))"))).toEqual(["E0202 `route` of `routed` is a route, and this is a whole number @ 3"]);
    expect(said(spec("routed(shared, a: swiglu(d, 6))"))).toEqual(["E0256 `shared` has no branch `a` @ a: swiglu(d, 6)"]);
  });

  test("attention and experts", () => {
    const uses = "use std.routers { top_experts }";
    const [line] = said(spec("routed(top_experts(d, 4, 2), attention(d, 2, causal))", uses));
    expect(line).toBe("E0255 attention inside the experts of a router @ stdlib/attention.heddle");
    expect(said(spec("routed(top_experts(d, 4, 2), a: swiglu(d, 6))", uses))).toEqual(["E0256 a router has experts, and no branch `a` @ a: swiglu(d, 6)"]);
    expect(said(spec("own(d, top_experts(d, 4, 2))", `${uses}\nlayer own(d: axis, r: route) {\n  param w[d] ~ ones by r\n  forward x[d] = x * w\n}`))).toEqual(["E0202 `r` of `own` is a route, and this is a router @ top_experts(d, 4, 2)"]);
  });

  test("are made as members, not inside `forward`", () => {
    expect(said(spec("own(d, r)", "layer own(d: axis, r: route) {\n  forward x[d] = routed(r, linear(d, d))(x)\n}\nroute r = by stream { text -> a; image -> b }"))[0]).toMatch(/^E0222 /);
  });
});
