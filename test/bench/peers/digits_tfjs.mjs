// The digits model by hand in @tensorflow/tfjs-core on its WebGPU backend: its own Adam, with clipping, decay and average beside it.
// Run alone: node test/bench/peers/digits_tfjs.mjs. Prints a Report (see contender.mjs).

import { bundled } from "./bundled.mjs";
import { runContender } from "./contender.mjs";
import { digitsByHand } from "./digits_given.mjs";
import { TFJS } from "./tfjs_entry.mjs";

await runContender(async ({ sizes, train, parameters, arrays, ids }) => {
  const tf = await bundled("tfjs-digits", TFJS);
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs found no WebGPU");
  await tf.ready();
  const { t, d, heads, layers, vocab } = sizes;

  const w = Object.fromEntries(parameters.map(({ path, shape, data }) => [path, tf.variable(tf.tensor(data, shape), true, path)]));
  const c = {
    ...Object.fromEntries(Object.entries(arrays).map(([name, { data, shape }]) => [name, tf.tensor(data, shape)])),
    ...Object.fromEntries(Object.entries(ids).map(([name, data]) => [name, tf.tensor1d(data, "int32")])),
  };

  const norm = (x, gain) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5))), gain);
  const linear = (x, path) => tf.fused.matMul({ a: x, b: w[`${path}.w`], bias: w[`${path}.b`] });
  const silu = (x) => tf.mul(x, tf.sigmoid(x));
  const rope = (x) => {
    const [low, high] = tf.split(x, 2, -1);
    return tf.concat([tf.sub(tf.mul(low, c.cos), tf.mul(high, c.sin)), tf.add(tf.mul(low, c.sin), tf.mul(high, c.cos))], -1);
  };

  /** Text logits and image predictions of all tokens. */
  const outputs = (input) => {
    const angle = tf.mul(tf.mul(c.level, 1000), c.frequency);
    const time = linear(silu(linear(tf.concat([tf.cos(angle), tf.sin(angle)], -1), "embed.image.time.up")), "embed.image.time.down");
    const grid = tf.add(tf.gather(w["embed.image.grid_positions.row"], c.row), tf.gather(w["embed.image.grid_positions.col"], c.col));
    const image = tf.add(tf.add(linear(input, "embed.image.linear"), grid), time);
    let x = tf.add(tf.mul(tf.gather(w["embed.text.w"], c.id), c.isText), tf.mul(image, c.isImage));
    for (let l = 0; l < layers; l++) {
      const at = (name) => w[`body[${l}].${name}`];
      const y = norm(x, at("norm1.gain"));
      const [q, k, v] = ["wq", "wk", "wv"].map((name) => tf.reshape(tf.matMul(y, at(`attn.${name}`)), [t, heads, d / heads]));
      const [qs, ks, vs] = [rope(q), rope(k), v].map((x) => tf.transpose(x, [1, 0, 2]));
      const scores = tf.add(tf.mul(tf.matMul(qs, ks, false, true), 1 / Math.sqrt(d / heads)), c.bias);
      const mixed = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), vs), [1, 0, 2]), [t, d]);
      x = tf.add(x, tf.matMul(mixed, at("attn.wo")));
      const z = norm(x, at("norm2.gain"));
      x = tf.add(x, tf.matMul(tf.mul(silu(tf.matMul(z, at("ffn.gate.w"))), tf.matMul(z, at("ffn.up.w"))), at("ffn.down.w")));
    }
    const h = norm(x, w["body.rms_norm.gain"]);
    return [tf.matMul(h, w["head.text.w"]), linear(h, "head.image")];
  };
  const lossOf = () => {
    const noisy = tf.add(tf.mul(c.clean, tf.sub(1, c.level)), tf.mul(c.noise, c.level));
    const [text, image] = outputs(noisy);
    const next = tf.neg(tf.sum(tf.mul(tf.mul(tf.logSoftmax(text), tf.oneHot(c.target, vocab)), c.textWeight)));
    return tf.add(next, tf.mul(tf.sum(tf.mul(tf.square(tf.sub(image, c.aim)), c.imageWeight)), sizes.imageWeight));
  };

  const { lr, betas: [beta1, beta2], eps, decay, clip, ema } = train;
  const adam = tf.train.adam(lr, beta1, beta2, eps);
  let average;
  const device = tf.backend().device;

  return {
    name: `tfjs-backend-webgpu ${tf.version_webgpu}`,
    async forward() {
      const [text, image] = tf.tidy(() => outputs(c.noisy));
      const out = { text: await text.data(), image: await image.data() };
      tf.dispose([text, image]);
      return out;
    },
    async step() {
      const { value, grads } = tf.variableGrads(lossOf);
      const clipped = tf.tidy(() => {
        const norm = tf.sqrt(Object.values(grads).map((g) => tf.sum(tf.square(g))).reduce((a, b) => tf.add(a, b)));
        const scale = tf.minimum(tf.div(clip, tf.add(norm, 1e-6)), 1);
        for (const { path, decay: decayed } of parameters) if (decayed) w[path].assign(tf.mul(w[path], 1 - lr * decay));
        return Object.fromEntries(Object.entries(grads).map(([path, g]) => [path, tf.mul(g, scale)]));
      });
      average ??= Object.fromEntries(parameters.map(({ path }) => [path, tf.variable(w[path], false)]));
      adam.applyGradients(clipped);
      tf.tidy(() => {
        for (const { path } of parameters) average[path].assign(tf.add(tf.mul(average[path], ema), tf.mul(w[path], 1 - ema)));
      });
      tf.dispose([grads, clipped]);
      const [loss] = await value.data();
      value.dispose();
      await device.queue.onSubmittedWorkDone();
      return loss;
    },
    async weights() {
      const out = [];
      for (const { path } of parameters) out.push(await w[path].data());
      return out;
    },
  };
}, digitsByHand);
