// What is said of routers that look at other tokens, against numbers: the network is run twice on rows that differ in a later token,
// and what was said of earlier ones either changes or does not.

import { expect, test } from "vitest";
import { dimEval } from "../../compiler/dim/dim.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { lowerForward } from "../../compiler/lower/forward.ts";
import { cacheSoundness } from "../../compiler/mask/soundness.ts";
import type { Model } from "../../compiler/types/model.ts";
import { check } from "../types/loader.ts";
import { noise } from "../types/apply.ts";

const spec = (router: string, uses: string, mask = "causal"): string => `use std.moe { moe_block }
use std.routers { ${uses} }
model m(d: axis = 4) {
  tokens text = bytes()
  task write(line: text) = <bos> predict text(line) <eos>
  mask = ${mask}
  body = stack(2) moe_block(d, 1, mask, ${router}, hidden: 3)
  loss = next_token(text)
  sample text = greedy(max: 4)
}
`;

const T = 7;

/** Whether what is said of tokens before `at` depends on the token there, over a few weights. */
function dependsOnLater(model: Model, at: number, columns: Readonly<Record<string, readonly number[]>> = {}): boolean {
  const graph = lowerForward(model);
  const state: Record<string, readonly number[]> = {};
  const inputs = (last: number): Record<string, readonly number[]> => Object.fromEntries(graph.nodes.flatMap((n) => {
    if (n.op !== "input") return [];
    const name = n.attrs.name.replace(/^tok\./, "");
    const size = n.type.axes.reduce((k, a) => k * (dimEval(a.size, { batch: 1, t: T }) ?? 1), 1);
    const base = columns[name] ?? (name === "pos" ? Array.from({ length: T }, (_, i) => i) : name === "id" ? Array.from({ length: T }, (_, i) => 65 + ((i * 5) % 11)) : Array.from({ length: size }, (_, i) => (n.type.dtype === "f32" ? noise(size, 9)[i] ?? 0 : 0)));
    return [[n.attrs.name, name === "id" ? base.map((x, i) => (i === at ? last : x)) : base]];
  }));
  for (let seed = 0; seed < 6; seed++) {
    for (const n of graph.nodes) if (n.op === "state") state[n.attrs.name] = noise(n.type.axes.reduce((k, a) => k * (dimEval(a.size, {}) ?? 1), 1), 31 * seed + n.id);
    const said = (last: number): ArrayLike<number> => interpret(graph, { inputs: inputs(last), state, lengths: { batch: 1, t: T } }).outputs["text.logits"]?.data ?? [];
    const a = said(100);
    for (const other of [200, 33, 71]) {
      const b = said(other);
      for (let i = 0; i < (at * a.length) / T; i++) if (Math.abs((a[i] ?? 0) - (b[i] ?? 0)) > 1e-9) return true;
    }
  }
  return false;
}

test.each([
  ["top_experts(d, 4, 2)", false], ["switch_experts(d, 4)", false], ["mixtral_experts(d, 4)", false], ["deepseek_experts(d, 4, 2, groups: 2, keep: 1)", false],
  ["noisy_experts(d, 4)", false], ["hash_experts(d, 4)", false], ["expert_choice_experts(d, 3, 2)", true], ["soft_experts(d, 3)", true],
])("%s: later tokens reach earlier ones: %s", (router, late) => {
  const uses = router.slice(0, router.indexOf("("));
  const { models, diagnostics, notBuilt } = check(spec(router, uses));
  expect(notBuilt).toEqual([]);
  const [model] = models;
  if (!model) throw new Error(diagnostics.map((d) => d.message).join("\n"));
  expect(dependsOnLater(model, T - 1)).toBe(late);
  expect(diagnostics.map((d) => d.code)).toEqual(late ? ["E0323"] : []);
  expect(cacheSoundness(model).sound).toBe(!late);
  const [d] = diagnostics;
  if (d) expect(`${d.message} ${d.help}`).toMatch(new RegExp(`router \`${uses}\` lets the prediction of .* depend on .*top\\(k`));
});

test("under a mask that looks both ways and with text in sight the leak is said once, at its mask", () => {
  expect(check(spec("top_experts(d, 4, 2)", "top_experts", "full")).diagnostics.map((d) => d.code)).toEqual(["E0321"]);
});

// Two streams of text stand for two modalities; the second alone goes to experts that choose.
const branch = (inside: string): string => `use std.mlp { swiglu }
use std.blocks { decoder_block }
use std.routers { expert_choice_experts }
model m(d: axis = 4) {
  tokens text = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  route modality = by stream { text -> understand; image -> generate }
  task say(picture: image, line: text) = <bos> given image(picture) predict text(line) <eos>
  task draw(line: text, picture: image) = <bos> given text(line) <boi> predict image(picture)
  mask = causal | within(image)
  embed image = linear(image.features, d) + time(noising, d)
  body = [decoder_block(d, 1, mask), routed(modality, ${inside})]
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy(max: 4)
  sample image = euler(steps: 2)
}
`;
const EC = "routed(expert_choice_experts(d, 2, 1), swiglu(d, 3))";
const PLAIN = "swiglu(d, 3)";

test("in a branch, the tokens of the branch are chosen among and no others", () => {
  const [image, text] = [`understand: ${PLAIN}, generate: ${EC}`, `understand: ${EC}, generate: ${PLAIN}`].map((x) => check(branch(x)));
  // `<bos>`, four patches, two letters: what is said of all before the last letter.
  const columns = { stream: [0, 1, 1, 1, 1, 0, 0], role: [0, 0, 0, 0, 0, 1, 1], span: [0, 1, 1, 1, 1, 2, 2] };
  const [a, b] = [image?.models[0], text?.models[0]];
  if (!a || !b) throw new Error("a model is missing");
  expect([image?.diagnostics.map((d) => d.code), dependsOnLater(a, T - 1, columns), cacheSoundness(a).sound]).toEqual([[], false, true]);
  expect([text?.diagnostics.map((d) => d.code), dependsOnLater(b, T - 1, columns), cacheSoundness(b).sound]).toEqual([["E0323"], true, false]);
});

const draw = (router: string, mask: string, after: string): string => `use std.moe { moe_block }
use std.routers { soft_experts, expert_choice_experts }
model m(d: axis = 4) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  task draw(line: text, picture: image) = <bos> given text(line) <boi> predict image(picture)${after}
  mask = ${mask}
  embed image = linear(image.features, d) + time(noising, d)
  body = stack(2) moe_block(d, 1, mask, ${router}, hidden: 3)
  head image = linear(d, image.features)
  loss = denoise(image)
  sample image = euler(steps: 2)
}
`;

test.each(["soft_experts(d, 3)", "expert_choice_experts(d, 3, 1)"])("where images alone are predicted, %s costs the cache and nothing else", (router) => {
  const said = check(draw(router, "causal | within(image)", "")).diagnostics;
  expect(said.map((d) => d.code)).toEqual(["W0602"]);
  expect(said[0]?.notes.join("\n")).toMatch(/router `\w+`, whose experts choose among all tokens, lets/);
  expect(check(draw(router, "causal | within(image)", " <eoi>")).diagnostics.map((d) => d.code).sort()).toEqual(["W0602", "W0606"]);
});
