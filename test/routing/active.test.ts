// How many weights one token uses, counted by hand.

import { expect, test } from "vitest";
import { parameterCounts } from "../../compiler/routing/active.ts";
import { check } from "../types/loader.ts";

const D = 8;
const model = (body: string, more = ""): string => `use std.blocks { decoder_block }
use std.layers { linear }
use std.mlp { swiglu }
use std.moe { moe_block, mot_block, deepseek_moe_block }
use std.routers { top_experts, deepseek_experts, hash_experts, expert_choice_experts }
${more}
model m(d: axis = ${D}) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  route modality = by stream { text -> understand; image -> generate }
  task draw(line: text, picture: image) = <bos> given text(line) <boi> predict image(picture)
  task tell(line: text, picture: image) = <bos> given image(picture) predict text(line) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d)
  body = ${body}
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy(max: 4)
  sample image = euler(steps: 2)
}
`;
/** embed and head of text (256 bytes, three literals) and of patches of four numbers. */
const ENDS = 2 * 259 * D + 2 * 4 * D;
const swiglu = (h: number): number => 3 * D * h;
const attention = 4 * D * D;

test.each([
  ["linear(d, d)", D * D, D * D],
  ["routed(top_experts(d, 6, 2), swiglu(d, 5))", 6 * swiglu(5) + 6 * D, 2 * swiglu(5) + 6 * D],
  ["routed(hash_experts(d, 6), swiglu(d, 5))", 6 * swiglu(5), swiglu(5)],
  ["stack(2) moe_block(d, 2, mask, top_experts(d, 8, 1), hidden: 4)", 2 * (attention + 2 * D + 8 * D + 8 * swiglu(4)), 2 * (attention + 2 * D + 8 * D + swiglu(4))],
  ["deepseek_moe_block(d, 2, mask, deepseek_experts(d, 8, 2), hidden: 4, shared: 7)", attention + 2 * D + 8 * D + 8 + 8 * swiglu(4) + swiglu(7), attention + 2 * D + 8 * D + 8 + 2 * swiglu(4) + swiglu(7)],
  ["routed(modality, swiglu(d, 5))", 2 * swiglu(5), swiglu(5)],
  ["routed(modality, understand: swiglu(d, 5), generate: swiglu(d, 9))", swiglu(5) + swiglu(9), swiglu(9)],
  ["mot_block(d, 2, mask, modality, hidden: 6)", 2 * (attention + 2 * D + swiglu(6)), attention + 2 * D + swiglu(6)],
  ["routed(modality, understand: swiglu(d, 5), generate: routed(top_experts(d, 8, 2), swiglu(d, 3)))", swiglu(5) + 8 * D + 8 * swiglu(3), Math.max(swiglu(5), 8 * D + 2 * swiglu(3))],
  ["routed(top_experts(d, 2, 1), routed(top_experts(d, 3, 1), swiglu(d, 5)))", 2 * D + 2 * 3 * D + 6 * swiglu(5), 2 * D + 3 * D + swiglu(5)],
  ["swiglu(d, 4) + routed(top_experts(d, 4, 2), swiglu(d, 5))", swiglu(4) + 4 * D + 4 * swiglu(5), swiglu(4) + 4 * D + 2 * swiglu(5)],
])("%s", (body, all, active) => {
  const { models, diagnostics } = check(model(body));
  expect(diagnostics.map((d) => d.message).filter((m) => !m.includes("import") && !m.includes("not used") && !m.includes("cached"))).toEqual([]);
  const [m] = models;
  expect(m && parameterCounts(m)).toEqual({ all: ENDS + all, active: ENDS + active });
});
