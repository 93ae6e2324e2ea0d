// The same attention in @jax-js/jax: its dotProductAttention, causal by its own option and any other mask as a table of truths;
// forward and gradients are one `jit` each. Run alone: node test/bench/attention/jax.mjs. Prints cells (see problem.mjs).
// Ownership: jax-js frees an array when it is passed on, so `.ref` marks every use but the last.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import "../peers/iterators.mjs";
import { problemOf, runAttention, sources } from "./problem.mjs";

const main = createRequire(import.meta.url).resolve("@jax-js/jax");
const { version } = JSON.parse(readFileSync(join(dirname(main), "../package.json"), "utf8"));
const heddle = await sources();

await runAttention("jax-js", heddle, async () => {
  const { init, defaultDevice, grad, jit, nn, numpy: np, blockUntilReady } = await import("@jax-js/jax");
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js found no WebGPU");
  defaultDevice("webgpu");
  const { HEADS: heads, WIDTH: width } = heddle;

  const open = async (kind, pass, t, judged) => {
    const { q, k, v, dout, visible } = problemOf(heddle, judged, t);
    const tensor = (data) => np.array(data, { shape: [t, heads, width] });
    const causal = kind === "causal";
    const given = [tensor(q), tensor(k), tensor(v), tensor(dout), ...(causal ? [] : [np.array(Array.from(visible, (x) => x === 1), { shape: [1, t, t], dtype: np.bool })])];
    await blockUntilReady(given);
    const attend = (q, k, v, mask) => nn.dotProductAttention(q, k, v, causal ? { isCausal: true } : { mask });
    const forward = jit((q, k, v, mask) => attend(q, k, v, mask));
    const both = jit(grad((q, k, v, dout, mask) => attend(q, k, v, mask).mul(dout).sum(), { argnums: [0, 1, 2] }));
    const refs = () => given.map((x) => x.ref);
    return {
      async run() {
        const [rq, rk, rv, rdout, ...mask] = refs();
        if (pass === "forward") {
          rdout.dispose();
          return { out: await forward(rq, rk, rv, ...mask).data() };
        }
        const [dq, dk, dv] = both(rq, rk, rv, rdout, ...mask);
        return { dq: await dq.data(), dk: await dk.data(), dv: await dv.data() };
      },
      free: () => given.forEach((x) => x.dispose()),
    };
  };
  return {
    name: `jax-js ${version}`,
    worksAt: (t, masks, passes) => masks.flatMap((judged) => passes.map((pass) => {
      const kind = judged === "causal" ? "causal" : "any";
      return { mask: kind, pass, judged, open: () => open(kind, pass, t, judged) };
    })),
  };
});
