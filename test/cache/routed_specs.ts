// Small models with every kind of routed layer, as text: for tests that need one of each.

const head = `use std.blocks { decoder_block }
use std.layers { linear }
use std.mlp { swiglu }
use std.norms { rms_norm }
use std.positions { grid_positions }
use std.time { time }
use std.moe { moe_block, deepseek_moe_block, mot_block }
use std.routers { top_experts, switch_experts, mixtral_experts, deepseek_experts, noisy_experts, hash_experts, expert_choice_experts, soft_experts, modality_experts }
`;

/** Text alone. */
export const textModel = (body: string, more = "", train = ""): string => `${head}${more}
model m(d: axis = 8) {
  tokens text = ids(17)
  task say(prompt: text, reply: text) = <bos> given text(prompt) <sep> predict text(reply) <eos>
  body = [${body}, rms_norm(d)]
  loss = next_token(text)
  sample text = greedy()
  ${train}
}`;

/** Text and images, drawn and described. */
export const bothModel = (body: string, more = "", train = ""): string => `${head}${more}
model m(d: axis = 8) {
  tokens text = ids(17)
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  route modality = by stream { text -> understand; image -> generate }
  task draw(caption: text, picture: image) = <bos> given drop(0.1) text(caption) <boi> predict image(picture) <eoi>
  task describe(picture: image, caption: text) = <bos> <boi> given image(picture) <eoi> predict text(caption) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d) + grid_positions(image.rows, image.cols, d) + time(noising, d)
  body = [${body}, rms_norm(d)]
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy()
  sample image = euler(steps: 2, guidance: 2.0)
  ${train}
}`;

/** Images alone: nothing is predicted token by token. */
export const imageModel = (body: string): string => `${head}
model m(d: axis = 8) {
  tokens text = ids(17)
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  task draw(caption: text, picture: image) = <bos> given text(caption) <boi> predict image(picture)
  mask = full
  embed image = linear(image.features, d) + grid_positions(image.rows, image.cols, d) + time(noising, d)
  body = [${body}, rms_norm(d)]
  head image = linear(d, image.features)
  loss = denoise(image)
  sample image = euler(steps: 2)
}`;

/** Every token's expert is known from itself and what it sees. */
export const soundModels: Readonly<Record<string, string>> = {
  "top 2 of 4": textModel("stack(2) moe_block(d, 2, causal, top_experts(d, 4, 2), hidden: 6)"),
  "one, with a capacity": textModel("moe_block(d, 2, causal, switch_experts(d, 4, capacity: 0.5), hidden: 6)"),
  "renormalised": textModel("moe_block(d, 2, causal, mixtral_experts(d, 4), hidden: 6)"),
  "sigmoids, groups, a bias and a shared expert": textModel("deepseek_moe_block(d, 2, causal, deepseek_experts(d, 4, 2, groups: 2, keep: 1), hidden: 6)"),
  "noise in training": textModel("moe_block(d, 2, causal, noisy_experts(d, 4, 2), hidden: 6)"),
  "a hash": textModel("moe_block(d, 2, causal, hash_experts(d, 4), hidden: 6)"),
  "all experts": textModel("moe_block(d, 2, causal, top_experts(d, 4, 4), hidden: 6)"),
  "a transformer a modality": bothModel("stack(2) mot_block(d, 2, mask, modality)"),
  "a learned mixture in one modality": bothModel("decoder_block(d, 2, mask), routed(modality, understand: swiglu(d, 6), generate: routed(top_experts(d, 4, 2), swiglu(d, 6)))"),
  "a gate a modality": bothModel("moe_block(d, 2, mask, modality_experts(d, 4, 2, modality), hidden: 6)"),
  "whole blocks": bothModel("routed(modality, decoder_block(d, 2, mask)), decoder_block(d, 2, mask)"),
};

/** Tokens of an image compete among themselves, in a branch that no text takes: an image is made, or given, as a whole. */
export const apartModels: Readonly<Record<string, string>> = {
  "expert choice in one modality": bothModel("decoder_block(d, 2, mask), routed(modality, understand: swiglu(d, 6), generate: routed(expert_choice_experts(d, 4), swiglu(d, 6))), decoder_block(d, 2, mask)"),
  "a soft mixture in one modality": bothModel("decoder_block(d, 2, mask), routed(modality, understand: swiglu(d, 6), generate: routed(soft_experts(d, 3, slots: 2), swiglu(d, 6))), decoder_block(d, 2, mask)"),
};

/** Where a token goes depends on all tokens of its sample. */
export const coupledModels: Readonly<Record<string, string>> = {
  "expert choice": imageModel("moe_block(d, 2, mask, expert_choice_experts(d, 4), hidden: 6)"),
  "expert choice in one modality, among several images": bothModel("routed(modality, understand: swiglu(d, 6), generate: routed(expert_choice_experts(d, 4), swiglu(d, 6))), decoder_block(d, 2, mask)")
    .replace("<boi> predict image(picture) <eoi>", "<boi> given image(before) <boi> predict image(picture) <eoi>").replace("draw(caption: text, ", "draw(caption: text, before: image, "),
  "soft mixture": imageModel("moe_block(d, 2, mask, soft_experts(d, 4, slots: 2), hidden: 6)"),
};
