// The digits model as a problem for every contender: seeded weights, one packed row that both draws and describes, the noise,
// and the truth by the graph interpreter in double precision. In: examples/digits/digits.heddle. Out: plain arrays, and a judge.
// The truth takes seconds, so run.mjs has it made once and kept in the file that BENCH_PROBLEM names.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import { bundled, root } from "./peers/bundled.mjs";
import { worse } from "./reference/compare.mjs";

export const SPEC = "examples/digits/digits.heddle";
const SEED = 11, STEP = 3;
// A small noise level: the model takes sines of 1000 x level, and WGSL leaves sines of large angles to the adapter.
const LEVEL = 1 / 256;
// Gradients reach 1 here, and single precision leaves errors near 1e-5 in them: below this their sign is noise (reference/compare.mjs).
const NOISE = 1e-4;
const ENTRY = `
export { checkSpec } from "./cli/spec.ts";
export { layoutParameters, modelSpec } from "./compiler/lower/model_spec.ts";
export { lowerForward } from "./compiler/lower/forward.ts";
export { lowerTraining } from "./compiler/lower/train.ts";
export { interpret } from "./compiler/graph/interpret.ts";
export { normalAt, uniformAt } from "./runtime/random/philox.ts";
export { layoutSample } from "./runtime/sequence/layout.ts";
export { packSequences } from "./runtime/sequence/batch.ts";
export { trainingInputs } from "./runtime/train/inputs.ts";
export { initialParameters } from "./runtime/train/initial.ts";
`;

/**
 * @typedef {object} DigitsProblem
 * @property {{ path: string, shape: number[], decay: boolean, data: number[] }[]} parameters
 * @property {Record<string, number[]>} values every input of Heddle's programs, by its name
 * @property {number[]} noise [t, features], what Heddle draws in its kernel @property {number[]} mask [t, t], 1 where i may look at j
 * @property {number[]} noisy [t, features], what forward is given @property {number[]} aim [t, features], what the image head should say
 * @property {{ t: number, d: number, heads: number, layers: number, features: number, vocab: number, imageWeight: number }} sizes
 * @property {object} train the spec's settings
 * @property {{ text: number[], image: number[], loss: number, norm: number, after: number[][], gradients: number[][] }} truth
 */

/** @returns {Promise<DigitsProblem>} */
export async function digitsProblem() {
  const file = env.BENCH_PROBLEM;
  if (file !== undefined && existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  const problem = await make();
  if (file !== undefined) writeFileSync(file, JSON.stringify(problem));
  return problem;
}

async function make() {
  const heddle = await bundled("digits", { stdin: { contents: ENTRY, resolveDir: root } });
  const model = heddle.checkSpec(join(root, SPEC)).models.find(({ name }) => name === "digits");
  const layout = heddle.layoutParameters(model);
  const spec = heddle.modelSpec(model, layout, { sound: true });
  const normal = (n, stream) => heddle.normalAt(n, stream, SEED, STEP);
  const first = heddle.initialParameters(spec, SEED);
  // Vectors that start at zero or one, and tables that start small, would leave much of the model untried.
  const parameters = layout.parameters.map(({ path, axes, decay, offset }, i) => {
    const shape = axes.map(({ size }) => size), size = shape.reduce((a, b) => a * b, 1);
    const data = Array.from(first.subarray(offset, offset + size), (x, n) => Math.fround(shape.length === 1 ? x + 0.1 * normal(n, 100 + i) : decay ? x : 20 * x));
    return { path, shape, decay, data };
  });

  const [text, image] = ["text", "patches"].map((kind) => spec.streams.find((s) => s.kind === kind));
  const tokens = (image.height / image.patch) * (image.width / image.patch);
  const ids = (caption) => ({ kind: "ids", ids: [...new TextEncoder().encode(caption)] });
  const picture = (stream) => ({ kind: "features", data: Float32Array.from({ length: tokens * image.features }, (_, n) => Math.tanh(normal(n, stream))) });
  const table = heddle.packSequences(spec, [
    heddle.layoutSample(spec, "draw", { caption: ids("digit 7"), picture: picture(1001) }),
    heddle.layoutSample(spec, "describe", { caption: ids("a handwritten four"), picture: picture(1002) }),
  ], { pack: true, tokens: 64 });
  if (table.rows !== 1) throw new Error("the two samples do not fit one row");
  const t = table.tokens;
  const { values: inputs } = heddle.trainingInputs(spec, table, { step: STEP, seed: SEED, uniform: (i) => heddle.uniformAt(i, 1003, SEED, STEP) });
  const noise = Float32Array.from({ length: t * image.features }, (_, n) => normal(n, 1));
  const { stream, span, pos, doc } = table.columns;
  const sees = (q, k) => doc[q] === doc[k] && (pos[k] <= pos[q] || (stream[q] === image.id && stream[k] === image.id && span[q] === span[k]));
  const mask = Array.from({ length: t * t }, (_, i) => (doc[Math.floor(i / t)] >= 0 && sees(Math.floor(i / t), i % t) ? 1 : 0));
  const [{ name: process }] = spec.processes;
  const level = (inputs[`${process}.level`] = inputs[`${process}.level`].map((l) => (l > 0 ? LEVEL : 0)));
  const noisy = Float32Array.from(noise, (x, n) => {
    const l = level[Math.floor(n / image.features)];
    return l * x + (1 - l) * inputs[`${image.name}.clean`][n];
  });

  if (spec.processes[0].kind !== "flow") throw new Error("the contenders corrupt by a straight line");
  const said = { clean: (x) => x, noise: (_, e) => e, velocity: (x, e) => e - x }[spec.processes[0].predict];
  const aim = Float32Array.from(noise, (e, n) => said(inputs[`${image.name}.clean`][n], e));

  const lengths = { batch: 1, t };
  const state = Object.fromEntries(parameters.map(({ path, data }) => [`params/${path}`, data]));
  const forward = heddle.interpret(heddle.lowerForward(model), { inputs: { ...inputs, [`${image.name}.clean`]: noisy }, state, lengths }).outputs;
  const zeros = Object.fromEntries(parameters.map(({ path, data }) => [`grads/${path}`, new Array(data.length).fill(0)]));
  const { outputs } = heddle.interpret(heddle.lowerTraining(model, "grad"), { inputs, state: { ...state, ...zeros }, lengths });
  const gradients = parameters.map(({ path }) => [...outputs[`grads/${path}`].data]);
  const weight = (kind) => Number(spec.losses.find((loss) => loss.kind === kind).weight);
  if (weight("next_token") !== 1) throw new Error("the contenders take next_token once");
  const heads = layout.parameters.find(({ path }) => path.endsWith("attn.wq")).axes[1].size;
  return {
    parameters, mask, noise: [...noise], noisy: [...noisy], aim: [...aim],
    values: Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, [...data]])),
    sizes: {
      t, heads, d: parameters.find(({ path }) => path === "embed.text.w").shape[1], features: image.features, vocab: parameters.find(({ path }) => path === "embed.text.w").shape[0],
      layers: new Set(parameters.flatMap(({ path }) => /^body\[\d+\]/.exec(path) ?? [])).size, imageWeight: weight("denoise"),
    },
    seed: SEED, step: STEP, train: spec.train, streams: { text: text.id, image: image.id },
    truth: { text: [...forward[`${text.name}.logits`].data], image: [...forward[`${image.name}.out`].data], loss: outputs.loss.data[0], gradients, ...adamw(parameters, gradients, spec.train) },
  };
}

/** The weights after a first step of AdamW with clipping, in double precision. */
function adamw(parameters, gradients, { lr, clip, eps, decay }) {
  const norm = Math.sqrt(gradients.flat().reduce((sum, g) => sum + g * g, 0));
  const scale = clip > 0 ? Math.min(1, clip / (norm + 1e-6)) : 1;
  const after = parameters.map((p, i) => p.data.map((x, n) => {
    const g = gradients[i][n] * scale;
    return x - lr * (g / (Math.abs(g) + eps) + (p.decay ? decay * x : 0));
  }));
  return { norm, after };
}

/** As reference/compare.mjs, for this model. `run.after` is in the order of the parameters. */
export function judge({ truth, parameters, train }, run) {
  const worst = (given, right) => right.reduce((most, value, i) => worse(most, Math.abs(value - given[i])), 0);
  let weights = 0, judged = 0, all = 0;
  parameters.forEach(({ path, data }, i) => {
    if (run.after[i]?.length !== data.length) throw new Error(`${path} has ${run.after[i]?.length} values where ${data.length} are right`);
    truth.gradients[i].forEach((gradient, n) => {
      all++;
      if (Math.abs(gradient) < NOISE && gradient !== 0) return;
      judged++;
      weights = worse(weights, Math.abs(run.after[i][n] - truth.after[i][n]) / train.lr);
    });
  });
  return { logits: Math.max(worst(run.text, truth.text), worst(run.image, truth.image)), loss: Math.abs(run.loss - truth.loss), weights, judged: judged / all };
}
