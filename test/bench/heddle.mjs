// The benchmark's decoder in Heddle: examples/decoder/decoder.heddle, compiled here and now for the adapter.
// Run alone: node test/bench/heddle.mjs. Prints a Report (see peers/contender.mjs). A step is one submit: `grad`, then `apply`.
// Dawn's bounds checks are off where the compiler has proven every access, as in the command; BENCH_CHECKED=1 keeps them on.

import { env } from "node:process";
import { openHeddle } from "./heddle_model.mjs";
import { runContender } from "./peers/contender.mjs";

/** Names in a layer: the reference's, ours, and for the parts of its q|k|v matrix the first column. */
const IN_LAYER = [
  ["norm1.weight", "norm1.gain"], ["norm1.bias", "norm1.b"],
  ["qkv.weight", "attn.wq", 0], ["qkv.weight", "attn.wk", 1], ["qkv.weight", "attn.wv", 2],
  ["qkv.bias", "attn.bq", 0], ["qkv.bias", "attn.bk", 1], ["qkv.bias", "attn.bv", 2],
  ["out.weight", "attn.wo"], ["out.bias", "attn.bo"],
  ["norm2.weight", "norm2.gain"], ["norm2.bias", "norm2.b"],
  ["up.weight", "ffn.up.w"], ["up.bias", "ffn.up.b"], ["down.weight", "ffn.down.w"], ["down.bias", "ffn.down.b"],
];
const names = (layers) => [
  ["tok", "embed.text.embedding.w"], ["pos", "embed.text.learned_positions.w"],
  ...Array.from({ length: layers }, (_, l) => IN_LAYER.map(([theirs, ours, part]) => [`l${l}.${theirs}`, `body[${l}].${ours}`, part])).flat(),
  ["norm.weight", "body.layer_norm.gain"], ["norm.bias", "body.layer_norm.b"], ["head", "head.text.w"],
];

/** Copies one third of the columns of q|k|v, out of the whole or into it. */
function third(whole, part, width, into) {
  const rows = whole.length / (3 * width);
  const out = into ?? new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const [from, to] = [(3 * row + part) * width, row * width];
    if (into === undefined) out.set(whole.subarray(from, from + width), to);
    else whole.set(out.subarray(to, to + width), from);
  }
  return out;
}

await runContender(async ({ shape, optimizer, layout, weights, tokens }) => {
  const { rate, beta1, beta2, epsilon, decay } = optimizer;
  const { heddle, machine, title, dawnFeatures } = await openHeddle("examples/decoder/decoder.heddle", {
    programs: ["forward", "grad", "apply"],
    train: { betas: [beta1, beta2], eps: epsilon, decay, clip: 0, ema: 0 },
    checked: env.BENCH_CHECKED === "1",
  });
  const { spec, states } = machine;
  const pairs = names(shape.layers);
  const sizes = spec.parameters.map(({ axes }) => axes.reduce((n, { size }) => n * size, 1));
  const [mine, theirs] = [sizes.reduce((a, b) => a + b), layout.reduce((n, { size }) => n + size, 0)];
  if (mine !== theirs || pairs.length !== spec.parameters.length) throw new Error(`${mine} parameters in ${sizes.length} tensors where the reference has ${theirs}`);
  for (const [theirs, ours, part] of pairs) states.write(`params/${ours}`, part === undefined ? weights[theirs] : third(weights[theirs], part, shape.width));

  const lengths = { batch: 1, t: shape.tokens };
  const row = heddle.layoutSample(spec, "write", { line: { kind: "ids", ids: tokens.slice(0, shape.tokens) } });
  const { values } = heddle.trainingInputs(spec, heddle.packSequences(spec, [row]), { step: 0, seed: 0, uniform: () => 0 });
  // The token after the last is a target too: the reference takes 129 tokens for 128 positions.
  for (const { name } of spec.losses) {
    values[`${name}.target`] = tokens.slice(1);
    values[`${name}.weight`] = new Float32Array(shape.tokens).fill(1 / shape.tokens);
  }
  let forward, programs, count = 0; // kernels are made for the adapter in the first run of each, as with the others

  return {
    name: title, dawnFeatures,
    async forward() {
      if (forward === undefined) {
        forward = await machine.bind("forward", lengths);
        forward.write(heddle.pick(values, forward.program.plan.inputs));
      }
      return (await machine.submit([forward], ["text.logits"]))["text.logits"];
    },
    async step() {
      if (programs === undefined) {
        machine.allocateTraining();
        const grad = await machine.bind("grad", lengths);
        grad.write(heddle.pick(values, grad.program.plan.inputs));
        programs = [grad, await machine.bind("apply", {})];
      }
      count++;
      const inputs = { lr: [rate], correct1: [1 - beta1 ** count], correct2: [1 - beta2 ** count] };
      programs[1].write(Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, Float32Array.from(value)])));
      return (await machine.submit(programs, ["loss"])).loss[0];
    },
    async weights() {
      const out = Object.fromEntries(layout.map(({ name, size }) => [name, new Float32Array(size)]));
      for (const [theirs, ours, part] of pairs) {
        const data = await states.read(`params/${ours}`);
        if (part === undefined) out[theirs] = data;
        else third(out[theirs], part, shape.width, data);
      }
      return out;
    },
  };
});
