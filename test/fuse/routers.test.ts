// Every router of the library through the passes and the kernels of both targets: choices, results, losses and gradients are those of
// the graph's meaning, with padding, for all tokens at one expert, and for no token at all.

import { expect, test } from "vitest";
import { software } from "../../compiler/kernel/kernel.ts";
import { graphPasses } from "../../compiler/passes.ts";
import type { Case } from "../types/routing.ts";
import { route } from "../types/routing.ts";
import { check } from "./check.ts";

const TEXT = `use std.routers { top_experts, switch_experts, mixtral_experts, deepseek_experts, noisy_experts, hash_experts, expert_choice_experts, soft_experts, modality_experts }
route sides = by role { given -> a; predicted -> b }
layer expert(d: axis, h: axis) {
  param a[d, h], b[h], c[h, d]
  forward x[t, d] = dot[h](tanh(dot[d](x, a) + b), c)
}
`;

const routers = [
  "top_experts(d, 4, 2, capacity: 1.0)", "switch_experts(d, 4)", "mixtral_experts(d, 4)", "deepseek_experts(d, 8, 3, groups: 4, keep: 2, scale: 2.5, balance: 0.1)", "noisy_experts(d, 4)", "hash_experts(d, 4)",
  "expert_choice_experts(d, 4)", "soft_experts(d, 3, slots: 2)", "modality_experts(d, 4, 2, sides)",
];
const doc = [0, 0, 0, 0, -1, 0, 1, 1, -1, -1];
const role = [0, 1, 1, 0, 0, 1, 0, 1, 0, 0];

for (const router of routers) {
  test(router, () => {
    const layer = `routed(${router}, expert(d, h))`;
    const same: Partial<Case> = { x: doc.flatMap(() => [1, 0.5, -0.5, 0]) };
    for (const more of [{ attributes: { doc, role, id: [5, 0, 9, 7, 0, 3, 5, 0, 0, 0] } }, same, { attributes: { doc: doc.map(() => -1) } }]) {
      const { graph, inputs, state, lengths } = route({ layer, text: TEXT, sizes: { d: 4, h: 3 }, batch: 2, t: 5, training: true, ...more }).training();
      expect(graph.outputs.some((o) => o.name.startsWith("grad."))).toBe(true);
      const passed = graphPasses.reduce((g, p) => p.run(g, { target: software, remat: false }), graph);
      check(passed, { inputs, state, lengths }, 1e-4);
    }
  });
}
