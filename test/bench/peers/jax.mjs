// The benchmark's decoder in @jax-js/jax: forward and the whole training step are one `jit` each, the way its own examples do.
// Run alone: node test/bench/peers/jax.mjs. Prints a Report (see contender.mjs).
// Ownership: jax-js frees an array when it is passed on, so `.ref` marks every use but the last.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { NORM_EPSILON, isDecayed } from "../reference/decoder_f64.mjs";
import { runContender } from "./contender.mjs";
import "./iterators.mjs";

const main = createRequire(import.meta.url).resolve("@jax-js/jax");
const { version } = JSON.parse(readFileSync(join(dirname(main), "../package.json"), "utf8"));

await runContender(async ({ shape, optimizer, layout, weights, tokens }) => {
  const { init, defaultDevice, getWebGPUDevice, jit, nn, numpy: np, valueAndGrad, blockUntilReady } = await import("@jax-js/jax");
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js found no WebGPU");
  defaultDevice("webgpu");
  const { layers, width, heads, tokens: t, vocab } = shape;

  const norm = (x, weight, bias) => nn.standardize(x, -1, { epsilon: NORM_EPSILON }).mul(weight).add(bias);
  const linear = (x, weight, bias) => np.matmul(x, weight).add(bias);

  /** Consumes `w` and `ids`. */
  const logitsOf = (w, ids) => {
    let x = np.matmul(nn.oneHot(ids, vocab), w.tok).add(w.pos);
    for (let l = 0; l < layers; l++) {
      const at = (name) => w[`l${l}.${name}`];
      const qkv = linear(norm(x.ref, at("norm1.weight"), at("norm1.bias")), at("qkv.weight"), at("qkv.bias"));
      const [q, k, v] = np.split(qkv, 3, 1).map((part) => part.reshape([t, heads, width / heads]));
      const mixed = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([t, width]);
      x = x.add(linear(mixed, at("out.weight"), at("out.bias")));
      const up = linear(norm(x.ref, at("norm2.weight"), at("norm2.bias")), at("up.weight"), at("up.bias"));
      x = x.add(linear(nn.gelu(up, { approximate: true }), at("down.weight"), at("down.bias")));
    }
    return np.matmul(norm(x, w["norm.weight"], w["norm.bias"]), w.head);
  };

  const lossOf = (w, ids, targets) => nn.logSoftmax(logitsOf(w, ids)).mul(nn.oneHot(targets, vocab)).sum().mul(-1 / t);

  const { rate, beta1, beta2, epsilon, decay } = optimizer;
  /** One AdamW step; `fix1` and `fix2` undo the moments' bias. */
  const update = (w, m, v, ids, targets, fix1, fix2) => {
    const [loss, g] = valueAndGrad(lossOf)(Object.fromEntries(Object.entries(w).map(([name, x]) => [name, x.ref])), ids, targets);
    const next = [{}, {}, {}];
    for (const { name } of layout) {
      const m1 = m[name].mul(beta1).add(g[name].ref.mul(1 - beta1));
      const v1 = v[name].mul(beta2).add(np.square(g[name]).mul(1 - beta2));
      const direction = m1.ref.mul(fix1.ref).div(np.sqrt(v1.ref.mul(fix2.ref)).add(epsilon));
      const kept = isDecayed(name) ? w[name].mul(1 - rate * decay) : w[name];
      next[0][name] = kept.sub(direction.mul(rate));
      next[1][name] = m1;
      next[2][name] = v1;
    }
    fix1.dispose();
    fix2.dispose();
    return [...next, loss];
  };

  const tree = (valueOf) => Object.fromEntries(layout.map((tensor) => [tensor.name, valueOf(tensor)]));
  const refs = (values) => tree(({ name }) => values[name].ref);
  let w = tree(({ name, shape: dims }) => np.array(weights[name], { shape: dims }));
  let m, v; // made by the first step, so that a forward pass is charged for weights alone
  const ids = np.array(tokens.slice(0, t), { shape: [t], dtype: np.int32 });
  const targets = np.array(tokens.slice(1), { shape: [t], dtype: np.int32 });
  await blockUntilReady([w, ids, targets]);
  const forward = jit(logitsOf), step = jit(update);
  let count = 0;

  return {
    name: `jax-js ${version}`,
    forward: () => forward(refs(w), ids.ref).data(),
    async step() {
      count++;
      m ??= tree(({ shape: dims }) => np.zeros(dims));
      v ??= tree(({ shape: dims }) => np.zeros(dims));
      const fixes = [1 / (1 - beta1 ** count), 1 / (1 - beta2 ** count)].map((fix) => np.array(fix));
      const [w1, m1, v1, loss] = step(w, m, v, ids.ref, targets.ref, ...fixes);
      [w, m, v] = [w1, m1, v1];
      const [value] = await loss.data();
      // `blockUntilReady` would read a value of each of the 87 arrays back; a jit has dispatched all when one output is read.
      await getWebGPUDevice().queue.onSubmittedWorkDone();
      return value;
    },
    async weights() {
      const out = {};
      for (const { name } of layout) out[name] = await w[name].ref.data();
      return out;
    },
  };
});
