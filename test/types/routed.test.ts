// Routed layers in the interpreter: each token gets what the layer of its own branch gives, whatever the layer is made of.

import { describe, expect, test } from "vitest";
import { close } from "./apply.ts";
import { gradients, modelOf, plainWeights, runBody, spec } from "./routing.ts";
import type { Tokens, Weights } from "./routing.ts";

const modality = "route modality = by stream { text -> understand; image -> generate }";
const turns = "route turns = by turn { 0 -> first; 1, 2 -> middle; else -> rest }";
const tokens: Tokens = { stream: [0, 1, 1, 0, 1, 0, -1], doc: [0, 0, 0, 0, 0, 0, -1], span: [0, 1, 1, 2, 3, 4, -1], turn: [0, 1, 2, 0, 3, 1, 0] };

/** The dense layer with the weights of one branch. */
const denseOf = (layer: string, branch: string, given: Tokens, more: string): readonly number[] => {
  const weights: Weights = (path, n) => plainWeights(path.replace(/^body\./, `body.${branch}.`), n);
  return runBody(modelOf(spec(layer, more)), given, { weights }).out;
};

/** Every live token of the routed body against the dense layer of its branch. */
function compare(body: string, layers: Readonly<Record<string, string>>, branchOf: (i: number) => string | undefined, given: Tokens, more: string, use = ""): void {
  const routed = runBody(modelOf(spec(body, more)), given);
  const n = given.stream.length;
  const width = routed.out.length / n;
  let compared = 0;
  for (const [branch, layer] of Object.entries(layers)) {
    const dense = denseOf(layer, branch, given, use);
    for (let i = 0; i < n; i++) {
      if (branchOf(i) !== branch) continue;
      close(routed.out.slice(i * width, (i + 1) * width), dense.slice(i * width, (i + 1) * width), 1e-9);
      compared++;
    }
  }
  expect(compared).toBe(given.doc?.filter((x) => x >= 0).length);
}

const byStream = (i: number): string | undefined => (tokens["doc"]?.[i] === -1 ? undefined : tokens.stream[i] === 0 ? "understand" : "generate");

describe("by stream", () => {
  for (const layer of ["linear(d, d, bias: true)", "rms_norm(d)", "layer_norm(d)", "swiglu(d, 6)", "mlp(d, 5)", "[rms_norm(d), swiglu(d, 6)]", "linear(d, d) + rms_norm(d)", "residual(swiglu(d, 3))"]) {
    test(layer, () => compare(`routed(modality, ${layer})`, { understand: layer, generate: layer }, byStream, tokens, modality));
  }
  test("one copy of each weight, by branch", () => {
    expect(modelOf(spec("routed(modality, swiglu(d, 6))", modality)).parameters.filter((p) => p.path.startsWith("body")).map((p) => [p.path, p.dense])).toEqual(
      ["understand", "generate"].flatMap((b) => ["gate", "up", "down"].map((n) => [`body.${b}.${n}.w`, `body.${n}.w`])),
    );
  });
  test("gradients", () => gradients(modelOf(spec("routed(modality, [layer_norm(d), mlp(d, 5), swiglu(d, 6)])", modality)), tokens));
});
