// Routes, routers and the layers inside them put together at random: results, losses and gradients through the passes and the kernels
// of both targets are those of the graph's meaning, for rows with padding, packed samples and batches of nothing.

import fc from "fast-check";
import { test } from "vitest";
import "../seed.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { graphPasses } from "../../compiler/passes.ts";
import { route } from "../types/routing.ts";
import { check } from "./check.ts";

const TEXT = `use std.layers { linear }
use std.mlp { swiglu }
use std.norms { rms_norm }
use std.routers { top_experts, switch_experts, mixtral_experts, deepseek_experts, noisy_experts, hash_experts, expert_choice_experts, soft_experts, modality_experts }
route sides = by role { given -> a; predicted -> b }
route turns = by span { 0 -> x; 1 -> y; else -> z }
layer own(d: axis, r: route) {
  axis e = 3
  param w[d] ~ normal(std: 0.5) by r
  param m[d, e], k[e, d] by r
  forward x[t, d] = dot[e](tanh(dot[d](x, m)), k) + w * x
}
layer table(d: axis) {
  axis n = 7
  param w[n, d]
  forward x[t, d] = x + gather[n](w, token.pos % n)
}
layer seq(d: axis, first: layer, second: layer) {
  forward x[t, d] = second(x + first(x))
}
`;

const plain = fc.constantFrom("swiglu(d, 3)", "rms_norm(d)", "linear(d, d)", "linear(d, d, bias: true)");
/** Layers that ask about tokens, which slots are not. */
const asking = fc.constantFrom("own(d, sides)", "own(d, turns)", "table(d)");
const inside = fc.constantFrom("top_experts(d, 3, 2, capacity: 0.8)", "switch_experts(d, 3)", "mixtral_experts(d, 3, 2)", "top_experts(d, 1, 1)", "hash_experts(d, 3)", "noisy_experts(d, 3, 3)", "modality_experts(d, 2, 2, sides)");
const outside = fc.constantFrom("deepseek_experts(d, 4, 2, groups: 2, keep: 1, balance: 0.1)", "deepseek_experts(d, 3, 1)");
const coupling = fc.constantFrom("expert_choice_experts(d, 3, 2)", "expert_choice_experts(d, 4, 1)", "soft_experts(d, 3, slots: 2)", "soft_experts(d, 1)");

/** A layer of at most so many levels; `free`: in no router's expert, where routers of every kind may stand. */
function layers(depth: number, free: boolean): fc.Arbitrary<string> {
  if (depth === 0) return fc.oneof(plain, asking);
  const part = layers(depth - 1, free);
  const expert = layers(depth - 1, false);
  return fc.oneof(
    fc.tuple(part, part).map(([a, b]) => `seq(d, ${a}, ${b})`),
    fc.tuple(part, part).map(([a, b]) => `(${a} + ${b})`),
    fc.tuple(fc.constantFrom("sides", "turns"), part).map(([r, l]) => `routed(${r}, ${l})`),
    fc.tuple(part, part).map(([a, b]) => `routed(sides, a: ${a}, b: ${b})`),
    fc.tuple(free ? fc.oneof(inside, outside) : inside, expert).map(([r, l]) => `routed(${r}, ${l})`),
    ...(free ? [fc.tuple(coupling, plain).map(([r, l]) => `routed(${r}, ${l})`)] : []),
  );
}

const cases = fc.record({
  layer: layers(3, true), batch: fc.constantFrom(0, 1, 2, 3), t: fc.integer({ min: 1, max: 5 }), training: fc.boolean(), remat: fc.boolean(),
  numbers: fc.array(fc.nat(35), { minLength: 15, maxLength: 15 }),
});

test("whatever is routed inside whatever", () => {
  fc.assert(fc.property(cases, ({ layer, batch, t, training, remat, numbers }) => {
    const some = (n: number, least: number, by = 1): number[] => numbers.slice(0, batch * t).map((x) => (Math.floor(x / by) % n) + least);
    const attributes = { doc: some(4, -1), role: some(2, 0, 4), span: some(3, 0, 8), id: some(9, 0), index: some(5, 0) };
    const { graph, inputs, state, lengths } = route({ layer, text: TEXT, sizes: { d: 4 }, batch, t, training, attributes }).training();
    check(graphPasses.reduce((g, p) => p.run(g, { target: software, remat }), graph), { inputs, state, lengths }, 1e-3);
  }), { numRuns: Number(process.env["FUZZ_RUNS"] ?? 8) });
}, 120_000);
