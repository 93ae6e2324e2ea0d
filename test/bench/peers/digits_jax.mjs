// The digits model by hand in @jax-js/jax: forward and the whole training step, clipping and average included, are one `jit` each.
// Run alone: node test/bench/peers/digits_jax.mjs. Prints a Report (see contender.mjs). Ownership as in jax.mjs.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { runContender } from "./contender.mjs";
import { digitsByHand, versionOf } from "./digits_given.mjs";
import "./iterators.mjs";

const version = versionOf(join(dirname(createRequire(import.meta.url).resolve("@jax-js/jax")), "../package.json"));

await runContender(async ({ sizes, train, parameters, arrays, ids }) => {
  const { init, defaultDevice, getWebGPUDevice, jit, nn, numpy: np, valueAndGrad, blockUntilReady } = await import("@jax-js/jax");
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js found no WebGPU");
  defaultDevice("webgpu");
  const { t, d, heads, layers, vocab, features } = sizes;
  const paths = parameters.map(({ path }) => path);
  const table = (of) => Object.fromEntries(parameters.map((p) => [p.path, of(p)]));

  const norm = (x, gain) => {
    const scale = np.sqrt(np.mean(np.square(x.ref), -1, { keepdims: true }).add(1e-5));
    return x.div(scale).mul(gain);
  };
  const rope = (x, cos, sin) => {
    const [low, high] = np.split(x, 2, -1);
    return np.concatenate([low.ref.mul(cos.ref).sub(high.ref.mul(sin.ref)), low.mul(sin).add(high.mul(cos))], -1);
  };

  /** Consumes the weights and `input`; borrows `c`. Text logits and image predictions of all tokens. */
  const outputs = (w, input, c) => {
    const rows = (name, count) => nn.oneHot(c[name].ref, count);
    const angle = c.level.ref.mul(1000).mul(c.frequency.ref);
    const wave = np.concatenate([np.cos(angle.ref), np.sin(angle)], -1);
    const time = np.matmul(nn.silu(np.matmul(wave, w["embed.image.time.up.w"]).add(w["embed.image.time.up.b"])), w["embed.image.time.down.w"]).add(w["embed.image.time.down.b"]);
    const { shape: [gridRows] } = w["embed.image.grid_positions.row"], { shape: [gridCols] } = w["embed.image.grid_positions.col"];
    const image = np.matmul(input, w["embed.image.linear.w"]).add(w["embed.image.linear.b"])
      .add(np.matmul(rows("row", gridRows), w["embed.image.grid_positions.row"])).add(np.matmul(rows("col", gridCols), w["embed.image.grid_positions.col"])).add(time);
    let x = np.matmul(rows("id", vocab), w["embed.text.w"]).mul(c.isText.ref).add(image.mul(c.isImage.ref));
    for (let l = 0; l < layers; l++) {
      const at = (name) => w[`body[${l}].${name}`];
      const y = norm(x.ref, at("norm1.gain"));
      const [q, k, v] = ["wq", "wk", "wv"].map((name) => np.matmul(y.ref, at(`attn.${name}`)).reshape([t, heads, d / heads]));
      y.dispose();
      const mixed = nn.dotProductAttention(rope(q, c.cos.ref, c.sin.ref), rope(k, c.cos.ref, c.sin.ref), v, { bias: c.bias.ref }).reshape([t, d]);
      x = x.add(np.matmul(mixed, at("attn.wo")));
      const z = norm(x.ref, at("norm2.gain"));
      const gated = nn.silu(np.matmul(z.ref, at("ffn.gate.w"))).mul(np.matmul(z, at("ffn.up.w")));
      x = x.add(np.matmul(gated, at("ffn.down.w")));
    }
    const h = norm(x, w["body.rms_norm.gain"]);
    return [np.matmul(h.ref, w["head.text.w"]), np.matmul(h, w["head.image.w"]).add(w["head.image.b"])];
  };

  const lossOf = (w, c) => {
    const noisy = c.clean.ref.mul(c.level.ref.mul(-1).add(1)).add(c.noise.ref.mul(c.level.ref));
    const [text, image] = outputs(w, noisy, c);
    const next = nn.logSoftmax(text).mul(nn.oneHot(c.target.ref, vocab)).mul(c.textWeight.ref).sum().mul(-1);
    const flow = np.square(image.sub(c.aim.ref)).mul(c.imageWeight.ref).sum();
    return next.add(flow.mul(sizes.imageWeight));
  };

  const { lr, betas: [beta1, beta2], eps, decay, clip, ema } = train;
  const update = (w, m, v, e, c, fix1, fix2) => {
    const [loss, g] = valueAndGrad(lossOf)(Object.fromEntries(paths.map((path) => [path, w[path].ref])), c);
    const norm = np.sqrt(paths.map((path) => np.square(g[path].ref).sum()).reduce((a, b) => a.add(b)));
    const scale = np.minimum(np.array(clip).div(norm.add(1e-6)), 1);
    const next = [{}, {}, {}, {}];
    for (const { path, decay: decayed } of parameters) {
      const grad = g[path].mul(scale.ref);
      const m1 = m[path].mul(beta1).add(grad.ref.mul(1 - beta1));
      const v1 = v[path].mul(beta2).add(np.square(grad).mul(1 - beta2));
      const direction = m1.ref.mul(fix1.ref).div(np.sqrt(v1.ref.mul(fix2.ref)).add(eps));
      const w1 = (decayed ? w[path].mul(1 - lr * decay) : w[path]).sub(direction.mul(lr));
      next[0][path] = w1.ref;
      next[1][path] = m1;
      next[2][path] = v1;
      next[3][path] = e[path].mul(ema).add(w1.mul(1 - ema));
    }
    for (const scalar of [scale, fix1, fix2]) scalar.dispose();
    return [...next, loss];
  };

  let w = table(({ data, shape }) => np.array(data, { shape }));
  let m, v, e;
  const c = {
    ...Object.fromEntries(Object.entries(arrays).map(([name, { data, shape }]) => [name, np.array(data, { shape })])),
    ...Object.fromEntries(Object.entries(ids).map(([name, data]) => [name, np.array(data, { shape: [t], dtype: np.int32 })])),
  };
  const refs = (tree) => Object.fromEntries(Object.entries(tree).map(([name, x]) => [name, x.ref]));
  const consuming = (c, work) => {
    const result = work(c);
    for (const x of Object.values(c)) x.dispose();
    return result;
  };
  await blockUntilReady([w, c]);
  const forward = jit((w, c) => consuming(c, (c) => outputs(w, c.noisy.ref, c)));
  const step = jit((w, m, v, e, c, a, b) => update(w, m, v, e, c, a, b));
  let count = 0;

  return {
    name: `jax-js ${version}`,
    async forward() {
      const [text, image] = forward(refs(w), refs(c));
      return { text: await text.data(), image: await image.data() };
    },
    async step() {
      count++;
      m ??= table(({ shape }) => np.zeros(shape));
      v ??= table(({ shape }) => np.zeros(shape));
      e ??= refs(w);
      const fixes = [1 / (1 - beta1 ** count), 1 / (1 - beta2 ** count)].map((fix) => np.array(fix));
      const [w1, m1, v1, e1, loss] = step(w, m, v, e, refs(c), ...fixes);
      [w, m, v, e] = [w1, m1, v1, e1];
      const [value] = await loss.data();
      await getWebGPUDevice().queue.onSubmittedWorkDone();
      return value;
    },
    async weights() {
      const out = [];
      for (const path of paths) out.push(await w[path].ref.data());
      return out;
    },
  };
}, digitsByHand);
