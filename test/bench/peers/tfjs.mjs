// The benchmark's decoder in @tensorflow/tfjs-core on its WebGPU backend: fused matrix product and bias where it has them, its
// own Adam, weight decay beside it. Run alone: node test/bench/peers/tfjs.mjs. Prints a Report (see contender.mjs).
// What tfjs publishes for Node leaves the gradients out, so its modules for pages are bundled here first.

import { NORM_EPSILON, isDecayed } from "../reference/decoder_f64.mjs";
import { bundled } from "./bundled.mjs";
import { runContender } from "./contender.mjs";
import { TFJS } from "./tfjs_entry.mjs";

await runContender(async ({ shape, optimizer, layout, weights, tokens }) => {
  const tf = await bundled("tfjs", TFJS);
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs found no WebGPU");
  await tf.ready();
  const { layers, width, heads, tokens: t, vocab } = shape;

  const w = Object.fromEntries(layout.map(({ name, shape: dims }) => [name, tf.variable(tf.tensor(weights[name], dims), true, name)]));
  const ids = tf.tensor1d(tokens.slice(0, t), "int32");
  const targets = tf.tensor1d(tokens.slice(1), "int32");
  const future = tf.tensor2d(Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? -1e9 : 0)), [t, t]);

  const norm = (x, weight, bias) => {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, NORM_EPSILON))), weight), bias);
  };
  const linear = (x, weight, bias) => tf.fused.matMul({ a: x, b: weight, bias });
  const gelu = (x) => {
    const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
  };

  const logitsOf = () => {
    let x = tf.add(tf.gather(w.tok, ids), w.pos);
    for (let l = 0; l < layers; l++) {
      const at = (name) => w[`l${l}.${name}`];
      const qkv = linear(norm(x, at("norm1.weight"), at("norm1.bias")), at("qkv.weight"), at("qkv.bias"));
      const [q, k, v] = tf.split(qkv, 3, 1).map((part) => tf.transpose(tf.reshape(part, [t, heads, width / heads]), [1, 0, 2]));
      const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(width / heads)), future);
      const mixed = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v), [1, 0, 2]), [t, width]);
      x = tf.add(x, linear(mixed, at("out.weight"), at("out.bias")));
      const up = linear(norm(x, at("norm2.weight"), at("norm2.bias")), at("up.weight"), at("up.bias"));
      x = tf.add(x, linear(gelu(up), at("down.weight"), at("down.bias")));
    }
    return tf.matMul(norm(x, w["norm.weight"], w["norm.bias"]), w.head);
  };
  const lossOf = () => tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logitsOf()), tf.oneHot(targets, vocab)), -1)));

  const { rate, beta1, beta2, epsilon, decay } = optimizer;
  const adam = tf.train.adam(rate, beta1, beta2, epsilon);
  const device = tf.backend().device;

  return {
    name: `tfjs-backend-webgpu ${tf.version_webgpu}`,
    async forward() {
      const logits = tf.tidy(logitsOf);
      const values = await logits.data();
      logits.dispose();
      return values;
    },
    async step() {
      const { value, grads } = tf.variableGrads(lossOf);
      tf.tidy(() => {
        for (const { name } of layout) if (isDecayed(name)) w[name].assign(tf.mul(w[name], 1 - rate * decay));
      });
      adam.applyGradients(grads);
      tf.dispose(grads);
      const [loss] = await value.data();
      value.dispose();
      await device.queue.onSubmittedWorkDone();
      return loss;
    },
    async weights() {
      const out = {};
      for (const { name } of layout) out[name] = await w[name].data();
      return out;
    },
  };
});
