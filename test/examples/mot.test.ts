// The mixture of transformers on digits: which tokens go to which expert, what is frozen, and that it starts as the dense model it is made from.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkSpec } from "../../cli/spec.ts";
import { dimValue } from "../../compiler/dim/dim.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { lowerTraining } from "../../compiler/lower/train.ts";
import type { Model } from "../../compiler/types/model.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { type FieldValue, layoutSample } from "../../runtime/sequence/layout.ts";
import { trainingInputs } from "../../runtime/train/inputs.ts";
import { upcycle } from "../../runtime/train/upcycle.ts";
import { loadParameters } from "../../runtime/weights/parameters.ts";
import { parseSafetensors } from "../../runtime/weights/safetensors.ts";

const examples = join(import.meta.dirname, "../../examples");
const modelsOf = (file: string): readonly Model[] => checkSpec(join(examples, file)).models;
const named = (models: readonly Model[], name: string): Model => {
  const model = models.find((m) => m.name === name);
  if (!model) throw new Error(name);
  return model;
};
const mots = modelsOf("mot/mot.heddle");
const dense = named(modelsOf("digits/digits.heddle"), "digits");
const file = "digits/weights.safetensors";
const bytes = readFileSync(join(examples, file));

/** The `loss` program of a model on one sample of each task. */
function lossOf(model: Model, values: (spec: ReturnType<typeof modelSpec>) => Float32Array) {
  const spec = modelSpec(model, layoutParameters(model), { sound: true });
  const all = values(spec);
  const picture: FieldValue = { kind: "features", data: Float32Array.from({ length: 784 }, (_, i) => Math.sin(i)) };
  const caption: FieldValue = { kind: "ids", ids: new TextEncoder().encode("digit 7") };
  const sequences = ["draw", "describe"].map((task) => layoutSample(spec, task, { caption, picture }));
  const { values: inputs, lengths } = trainingInputs(spec, packSequences(spec, sequences, { tokens: 32, pack: false }), { step: 3, seed: 1, uniform: () => 0.4 });
  const state = Object.fromEntries(spec.parameters.map((p) => [`params/${p.path}`, all.subarray(p.offset, p.offset + p.axes.reduce((n, a) => n * a.size, 1))]));
  const graph = lowerTraining(model, "loss");
  const read = graph.nodes.flatMap((n) => (n.op === "input" ? [n.attrs.name] : []));
  const given = Object.fromEntries(read.map((name) => [name, Array.from((inputs as Record<string, ArrayLike<number>>)[name] ?? [1])]));
  return interpret(graph, { inputs: given, state, lengths }).outputs;
}

describe("examples/mot", () => {
  test("the patches that are drawn go to one expert, everything else to the other", () => {
    const spec = modelSpec(named(mots, "mot"), layoutParameters(named(mots, "mot")), { sound: true });
    const routing = Array.from(lossOf(named(mots, "mot"), (s) => upcycle(s, parseSafetensors(bytes, file).tensors, 1, file).values)["routing"]?.data ?? []);
    expect(spec.routers?.length).toBeGreaterThan(0);
    for (const r of spec.routers ?? []) {
      expect(r.branches, r.path).toEqual(["generate", "understand"]);
      // draw: <bos> 7 <boi> 16 patches <eoi>; describe: <bos> <boi> 16 patches <eoi> 7 <eos>.
      expect(routing.slice(r.offset, r.offset + 3), r.path).toEqual([16, 37, 53]);
    }
  });

  test("started from the weights of examples/digits it is that model", () => {
    const from = lossOf(dense, (spec) => loadParameters(spec, bytes, file));
    const to = lossOf(named(mots, "mot"), (spec) => upcycle(spec, parseSafetensors(bytes, file).tensors, 1, file).values);
    for (const name of ["loss", "loss.next_token(text)", "loss.denoise(image)"]) {
      const want = from[name]?.data[0] ?? Number.NaN;
      expect(Math.abs(want)).toBeGreaterThan(1e-3);
      expect(Math.abs((to[name]?.data[0] ?? Number.NaN) - want), name).toBeLessThan(1e-9);
    }
  });

  test("in `frozen_text` nothing of text is trained", () => {
    const model = named(mots, "frozen_text");
    const frozen = model.parameters.filter((p) => p.frozen).map((p) => p.path);
    const text = model.parameters.map((p) => p.path).filter((path) => /\.understand\.|^embed\.text|^head\.text/.test(path));
    expect(frozen.sort()).toEqual(text.sort());
    const trained = lowerTraining(model, "grad").outputs;
    expect(JSON.stringify(trained)).toContain("grads/body[0].ffn.generate.gate.w");
    expect(JSON.stringify(trained)).not.toContain("understand");
    const size = (m: Model): number => m.parameters.reduce((n, p) => n + p.axes.reduce((k, a) => k * (dimValue(a.size) ?? 0), 1), 0);
    expect(size(model)).toBe(size(named(mots, "mot")));
  });
});
