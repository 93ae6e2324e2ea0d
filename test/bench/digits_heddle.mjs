// The digits model in Heddle, as the spec has it: noise is drawn in the kernel, clipping and the average are in the optimizer.
// Run alone: node test/bench/digits_heddle.mjs. Prints a Report (see peers/contender.mjs).

import { env } from "node:process";
import { SPEC, digitsProblem, judge } from "./digits_problem.mjs";
import { openHeddle } from "./heddle_model.mjs";
import { runContender } from "./peers/contender.mjs";

await runContender(
  async ({ parameters, values, noisy, sizes, train, seed, step: at }) => {
    const { heddle, machine, title, dawnFeatures } = await openHeddle(SPEC, { programs: ["forward", "grad", "apply"], model: "digits", checked: env.BENCH_CHECKED === "1" });
    const { spec, states } = machine;
    for (const { path, data } of parameters) states.write(`params/${path}`, Float32Array.from(data));
    const given = { ...values, seed: [seed], step: [at] };
    const arrays = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
    const typed = ({ inputs, tensors }, all) => Object.fromEntries(Object.entries(heddle.pick(all, inputs)).map(([name, data]) => [name, arrays[tensors[inputs[name]].dtype].from(data)]));
    const lengths = { batch: 1, t: sizes.t };
    const image = spec.streams.find(({ kind }) => kind === "patches").name;
    let forward, programs, count = 0;
    return {
      name: title, dawnFeatures,
      async forward() {
        if (forward === undefined) {
          forward = await machine.bind("forward", lengths);
          forward.write(typed(forward.program.plan, { ...given, [`${image}.clean`]: noisy }));
        }
        const out = await machine.submit([forward], ["text.logits", `${image}.out`]);
        return { text: out["text.logits"], image: out[`${image}.out`] };
      },
      async step() {
        if (programs === undefined) {
          machine.allocateTraining();
          if (train.ema > 0) states.write("ema", await states.read("params"));
          const grad = await machine.bind("grad", lengths);
          grad.write(typed(grad.program.plan, given));
          programs = [grad, await machine.bind("apply", {})];
        }
        count++;
        const scalars = { lr: [train.lr], correct1: [1 - train.betas[0] ** count], correct2: [1 - train.betas[1] ** count], ema_decay: [train.ema] };
        programs[1].write(typed(programs[1].program.plan, scalars));
        return (await machine.submit(programs, ["loss"])).loss[0];
      },
      weights: () => Promise.all(parameters.map(({ path }) => states.read(`params/${path}`))),
    };
  },
  async () => {
    const problem = await digitsProblem();
    return { given: problem, judge: (forward, loss, after) => judge(problem, { ...forward, loss, after }) };
  },
);
