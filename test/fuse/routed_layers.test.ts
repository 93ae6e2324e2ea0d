// Routed layers of the language through the kernels of both targets: results and gradients are those of the graph's meaning.
// Tokens of all branches, of one alone, and none at all.

import { expect, test } from "vitest";
import { software } from "../../compiler/kernel/kernel.ts";
import { graphPasses } from "../../compiler/passes.ts";
import { gradientsOf, modelOf, spec } from "../types/routed_body.ts";
import type { Tokens } from "../types/routed_body.ts";
import { check } from "./check.ts";

const modality = "route modality = by stream { text -> understand; image -> generate }";
const turns = "route turns = by turn { 0 -> first; 1, 2 -> middle; else -> rest }";
const uses = "use std.moe { mot_block }\nuse std.routers { top_experts }";

const mixed: Tokens = { stream: [0, 1, 1, 0, 1, 0, 0, 1, -1, -1], doc: [0, 0, 0, 0, 0, 1, 1, 1, -1, -1], span: [0, 1, 1, 2, 3, 4, 5, 6, -1, -1], turn: [0, 1, 2, 0, 3, 1, 0, 4, 0, 0], pos: [0, 1, 2, 3, 4, 0, 1, 2, 3, 4] };
const alone: Tokens = { ...mixed, stream: mixed.stream.map((s) => (s < 0 ? s : 1)) };
const none: Tokens = { ...mixed, stream: mixed.stream.map(() => -1), doc: mixed.stream.map(() => -1) };

const places = "layer places(n: axis, d: axis) {\n  param w[n, d]\n  forward x[t, d] = x + gather[n](w, token.pos)\n}";
const bodies: readonly (readonly [string, string, string])[] = [
  ["a block of two transformers", "mot_block(d, 2, mask, modality, qk_norm: true)", ""],
  ["attention in branches that differ", "routed(modality, understand: attention(d, 2, causal), generate: [layer_norm(d), attention(d, 1, mask)])", ""],
  ["a route in a route", "routed(modality, routed(turns, swiglu(d, 6)))", ""],
  ["a router in a branch", "routed(modality, understand: swiglu(d, 6), generate: routed(top_experts(d, 4, 2), swiglu(d, 6)))", ""],
  ["a route in a router", "routed(top_experts(d, 4, 2), routed(modality, mlp(d, 5)))", ""],
  ["tables", "routed(modality, places(5, d))", places],
];

for (const [name, body, more] of bodies) {
  test(name, () => {
    const model = modelOf(spec(body, `${uses}\n${modality}\n${turns}\n${more}`));
    const cases = [[mixed, 2], [alone, 1], [none, 1]] as const;
    for (const [tokens, batch] of body.includes("mask") ? cases.slice(0, 1) : cases) {
      const { graph, inputs, state, lengths } = gradientsOf(model, tokens, batch);
      expect(graph.nodes.some((n) => n.op === "grouped_dw" || n.op === "scatter_add")).toBe(true);
      const passed = graphPasses.reduce((g, p) => p.run(g, { target: software, remat: false }), graph);
      check(passed, { inputs, state, lengths }, 1e-4);
    }
  });
}
