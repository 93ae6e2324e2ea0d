// Embeds and heads applied to the tokens of their stream alone give the losses and gradients of the same ones applied to every token:
// by the meaning of the graphs, and by the kernels of both targets. Batches of both streams, and of text alone.

import { describe, expect, test } from "vitest";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { isTokenwise } from "../../compiler/lower/tokenwise.ts";
import { lowerTraining, WIDE } from "../../compiler/lower/train.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { layoutSample } from "../../runtime/sequence/layout.ts";
import { pick, trainingInputs } from "../../runtime/train/inputs.ts";
import { randomRequests, randomWeights } from "../cache/compare.ts";
import { compileKernels, modelOf, near } from "../fixtures/numbers.ts";

const model = modelOf(`use std.layers { linear }
use std.blocks { decoder_block }
use std.norms { rms_norm }
use std.positions { grid_positions }
use std.time { time }
/// A head that normalises first, so that it is no plain product.
layer normed(from: axis, to: axis) {
  norm = rms_norm(from)
  out = linear(from, to, bias: true)
  forward x[t, from] = out(norm(x))
}
model m {
  axis d = 8
  tokens text = ids(11)
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  task draw(caption: text, picture: image) = <bos> given text(caption) <boi> predict image(picture) <eoi>
  task describe(picture: image, caption: text) = <bos> given image(picture) <eoi> predict text(caption) <eos>
  task say(caption: text) = <bos> predict text(caption) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d, bias: true) + grid_positions(image.rows, image.cols, d) + time(noising, d)
  body = [decoder_block(d, 2, mask), rms_norm(d)]
  head image = normed(d, image.features)
  head text = normed(d, text.vocab)
  loss = next_token(text) + 2.0 * denoise(image)
  sample text = greedy()
  sample image = euler(steps: 2)
}`);
const spec = modelSpec(model, layoutParameters(model), { sound: true });
const flat = randomWeights(spec);
const state = Object.fromEntries(spec.parameters.map((p) => [`params/${p.path}`, flat.slice(p.offset, p.offset + p.axes.reduce((n, a) => n * a.size, 1))]));

const batches = [["draw", "describe", "say"], ["say", "say"]];

/** Every task is given the same fields: what it predicts too. */
function batchOf(tasks: readonly string[]) {
  const fields = Object.assign({}, ...["draw", "describe"].map((t) => randomRequests(spec, t, [4])[0])) as Parameters<typeof layoutSample>[2];
  return trainingInputs(spec, packSequences(spec, tasks.map((t) => layoutSample(spec, t, fields)), { tokens: 13 }), { step: 3, seed: 7, uniform: (i) => (i % 7) / 7 });
}

const inputsOf = (graph: ReturnType<typeof lowerTraining>) => Object.fromEntries(graph.nodes.flatMap((n) => (n.op === "input" ? [[n.attrs.name, 0]] : [])));

describe.each(batches.map((tasks) => ({ tasks })))("a batch of $tasks", ({ tasks }) => {
  const { values, lengths } = batchOf(tasks);
  const every = lowerTraining(model, "grad", Infinity);
  const want = interpret(every, { inputs: pick(values, inputsOf(every)), state, lengths }).outputs;
  const alone = lowerTraining(model, "grad", 0);

  test("is about products of some rows", () => {
    expect(every.nodes.some((n) => n.op === "grouped_dot")).toBe(false);
    expect(alone.nodes.filter((n) => n.op === "grouped_dot").length).toBeGreaterThan(3);
    expect(alone.outputs.map((o) => o.name)).toEqual(every.outputs.map((o) => o.name));
    expect(Object.keys(want).filter((n) => n.startsWith("grads/")).length).toBe(spec.parameters.length);
  });

  test("by the meaning of the graphs", () => {
    const got = interpret(alone, { inputs: pick(values, inputsOf(alone)), state, lengths }).outputs;
    for (const [name, w] of Object.entries(want)) near(got[name]?.data, Array.from(w.data), name, 1e-11);
  });

  test.each([guaranteed, software])("by the kernels for $name", (target) => {
    const got = compileKernels(alone, target)(pick(values, inputsOf(alone)), state, lengths);
    for (const [name, w] of Object.entries(want)) near(got(name), Array.from(w.data), name, 2e-4);
  });
});

test("narrow streams are left as they are", () => {
  expect(lowerTraining(model, "grad").nodes.some((n) => n.op === "grouped_dot")).toBe(false);
  expect(WIDE).toBeGreaterThan(8 * 11);
});

test("embeds and heads that join tokens are applied to all of them", () => {
  const told = (part: string): boolean[] => {
    const m = modelOf(`use std.attention { attention }
use std.layers { linear }
use std.norms { rms_norm }
use std.routers { switch_experts }
use std.blocks { decoder_block }
layer pooled(d: axis) {
  forward x[t, d] = x + mean[t](x)
}
model m {
  axis d = 8
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  task draw(picture: image) = predict image(picture)
  mask = full
  embed image = [linear(image.features, d)${part}]
  body = decoder_block(d, 2, mask)
  head image = [rms_norm(d)${part}, linear(d, image.features)]
  loss = denoise(image)
  sample image = euler(steps: 2)
}`);
    const [image] = m.streams;
    if (!image) throw new Error("no stream");
    return [isTokenwise(m, image, "embed"), isTokenwise(m, image, "head")];
  };
  expect(told("")).toEqual([true, true]);
  expect(told(", pooled(d)")).toEqual([false, false]);
  expect(told(", attention(d, 2, full)")).toEqual([false, false]);
  expect(told(", routed(switch_experts(d, 4), linear(d, d))")).toEqual([false, false]);
});
