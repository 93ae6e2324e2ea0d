// What somebody new to routing writes, and the words that answer: the place of the mistake, what it is, and what to write instead.

import { expect, test } from "vitest";
import { check, lines } from "./loader.ts";

const spec = (body: string, more = ""): string => `use std.routers { top_experts, expert_choice_experts }
use std.moe { mot_block }
route r = by stream { text -> a; image -> b }
${more}
model m(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(4, of: pixels(8, 8, channels: 1))
  process noising on image = flow()
  task draw(caption: text, picture: image)     = <bos> given text(caption) <boi> predict image(picture)
  task describe(picture: image, caption: text) = <boi> given image(picture) predict text(caption) <eos>
  embed image = linear(image.features, d) + time(noising, d)
  body        = ${body}
  head image  = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text  = greedy()
  sample image = euler()
}
`;
/** Each diagnostic as a line, then its help. */
const said = (body: string, more = ""): string[] => {
  const text = spec(body, more);
  const result = check(text);
  return [...lines(result, text), ...result.diagnostics.flatMap((d) => d.help ?? [])];
};

test("a router is called a router, and is no route", () => {
  expect(said("routed(swiglu(d, 8), top_experts(d, 4, 2))")).toEqual(["E0202 `route` of `routed` is a route, and this is a layer @ swiglu(d, 8)", "E0202 `layer` of `routed` is a layer, and this is a router @ top_experts(d, 4, 2)"]);
  expect(said("mot_block(d, 2, causal, top_experts(d, 4, 2))")).toEqual(["E0202 `experts` of `mot_block` is a route, and this is a router @ top_experts(d, 4, 2)"]);
  expect(said("l(d)", "layer l(d: axis) {\n  own = top_experts(d, 4, 2)\n  forward x[t, d] = own(x)\n}")).toEqual(["E0211 `own` is a router and cannot be called @ own"]);
});

test("a route or router where a layer is wanted", () => {
  expect(said("[r, rms_norm(d)]")).toEqual(["E0202 a list of layers is applied in order, and this one holds a route @ [r, rms_norm(d)]", "a route goes with a layer: `routed(route, layer)`"]);
  expect(said("[top_experts(d, 4, 2), rms_norm(d)]")).toEqual(["E0202 a list of layers is applied in order, and this one holds a router @ [top_experts(d, 4, 2), rms_norm(d)]", "a router goes with a layer: `routed(router, layer)`"]);
});

test("arguments of `routed` and `frozen`", () => {
  expect(said("routed(top_experts(d, 4, 2), swiglu(d, 8), alke: true)")).toEqual(["E0256 a router has experts, and no branch `alke` @ alke: true", "did you mean `alike`?"]);
  expect(said("routed(top_experts(d, 4, 2), swiglu(d, 8), understand: swiglu(d, 9))")).toEqual(["E0256 a router has experts, and no branch `understand` @ understand: swiglu(d, 9)", "its experts are alike: `routed(router, layer)`"]);
  expect(said("routed(r, swiglu(d, 8), swiglu(d, 9))")).toEqual(["E0224 `alike` is `true` or `false`, and this is a layer @ swiglu(d, 9)", "give the layers of branches by name: `routed(route, understand: a, generate: b)`"]);
  expect(said("frozen(3)")).toEqual(["E0202 `layer` of `frozen` is a layer, and this is a whole number @ 3"]);
});

test("results of one axis in different sizes", () => {
  const layer = "layer l(d: axis) {\n  q = routed(r, a: linear(d, axis g = 8), b: linear(d, axis g = 12))\n  forward x[t, d] = x + sum[g](q(x))\n}";
  expect(said("l(d)", layer)).toEqual(["E0256 the branches give axes of different sizes @ q(x)"]);
});

test("losses in the wrong words or place", () => {
  const own = (loss: string): string => `router own(d: axis, experts: int) {\n  gate = linear(d, axis experts)\n  choose x[t, d] = top(2, softmax[experts](gate(x)))\n  ${loss}\n}`;
  expect(said("routed(own(d, 4), swiglu(d, 8))", own("loss = 0.1 * load_balance(choose)"))).toEqual(["E0110 `loss = …` cannot stand in a `router` @ loss", "a router's losses are written without `=`: `loss 0.01 * load_balance(choose)`"]);
  expect(said("routed(own(d, 4), swiglu(d, 8))", own("loss 0.1 * load_balance(choose)"))).toEqual([]);
  // The gate has no gradient because the loss is not built: one mistake, not two.
  expect(said("l(d)", "layer l(d: axis) {\n  gate = linear(d, axis experts = 4)\n  forward x[t, d] = x\n  loss z_loss(gate)\n}")).toEqual(["E0408 losses inside layers are not built yet @ loss z_loss(gate)"]);
});

test("experts that choose in a model without attention do not speak of masks", () => {
  expect(said("routed(r, a: swiglu(d, 8), b: routed(expert_choice_experts(d, 4, 2), swiglu(d, 8)))")).toEqual([]);
});
