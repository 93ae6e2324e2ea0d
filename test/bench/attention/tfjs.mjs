// The same attention in @tensorflow/tfjs-core on its WebGPU backend: products, a softmax, and the mask as a bias of -1e9.
// Run alone: node test/bench/attention/tfjs.mjs. Prints cells (see problem.mjs).

import { bundled } from "../peers/bundled.mjs";
import { TFJS } from "../peers/tfjs_entry.mjs";
import { problemOf, runAttention, sources } from "./problem.mjs";

const heddle = await sources();

await runAttention("tfjs", heddle, async () => {
  const tf = await bundled("tfjs-attention", TFJS);
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs found no WebGPU");
  await tf.ready();
  const { HEADS: heads, WIDTH: width } = heddle;

  const attend = (q, k, v, bias) => {
    const [qs, ks, vs] = [q, k, v].map((x) => tf.transpose(x, [1, 0, 2]));
    const scores = tf.add(tf.mul(tf.matMul(qs, ks, false, true), 1 / Math.sqrt(width)), bias);
    return tf.transpose(tf.matMul(tf.softmax(scores), vs), [1, 0, 2]);
  };
  const open = async (pass, t, judged) => {
    const { q, k, v, dout, visible } = problemOf(heddle, judged, t);
    const [tq, tk, tv, tdout] = [q, k, v, dout].map((x) => tf.tensor3d(x, [t, heads, width]));
    const bias = tf.tensor2d(Float32Array.from(visible, (x) => (x === 1 ? 0 : -1e9)), [t, t]);
    const both = tf.grads((q, k, v) => tf.sum(tf.mul(attend(q, k, v, bias), tdout)));
    return {
      async run() {
        const made = pass === "forward" ? { out: tf.tidy(() => attend(tq, tk, tv, bias)) } : Object.fromEntries(tf.tidy(() => both([tq, tk, tv])).map((x, i) => [["dq", "dk", "dv"][i], x]));
        const read = Object.fromEntries(await Promise.all(Object.entries(made).map(async ([name, x]) => [name, await x.data()])));
        tf.dispose(made);
        return read;
      },
      free: () => tf.dispose([tq, tk, tv, tdout, bias]),
    };
  };
  return {
    name: `tfjs-backend-webgpu ${tf.version_webgpu}`,
    worksAt: (t, masks, passes) => passes.map((pass) => {
      const judged = masks[masks.length - 1];
      return { mask: "any", pass, judged, open: () => open(pass, t, judged) };
    }),
  };
});
