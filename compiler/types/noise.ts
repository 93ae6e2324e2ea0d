// `jitter` and `noisy`: numbers drawn in training, and nothing elsewhere. In: a tensor. Out: the tensor with noise, where the program
// that is being made draws any. Refuses amounts that turn values around.

import type { Primitive } from "./builtin_call.ts";
import { nodeOf, withNodes } from "./builtin_call.ts";
import { numberArg, spanOf } from "./choices.ts";
import { poison } from "./values.ts";

export const noisePrimitives: Readonly<Record<"jitter" | "noisy", Primitive>> = {
  jitter: {
    signature: "jitter(x, amount: 0.01)", doc: "In training, multiplies by uniform numbers from 1 - amount to 1 + amount. Fedus et al. 2021.", brackets: "none", args: ["x", "amount"],
    run: (call) => {
      const { cx } = call;
      const amount = numberArg(call, "amount", 0.01, 0);
      const x = nodeOf(call, "x");
      if (amount === undefined || x === undefined) return poison;
      if (amount !== "unknown" && amount >= 1) return cx.report("E0319", `a jitter of ${amount} would turn values around`, spanOf(call, "amount"), { help: "give a number from 0 up to, and not including, 1" });
      const uniform = cx.run?.leaves.uniform;
      if (!uniform || !cx.run || amount === 0 || amount === "unknown") return { kind: "tensor", node: x };
      const drawn = uniform(cx.run.builder.type(x).axes, call.env.path);
      return withNodes(call, ["x"], (make, [n]) => make.mul(n, make.offset(make.scale(drawn, 2 * amount), 1 - amount)));
    },
  },
  noisy: {
    signature: "noisy(x, std)", doc: "In training, adds normal numbers times `std`, a number or a tensor. Shazeer et al. 2017.", brackets: "none", args: ["x", "std"],
    run: (call) => {
      const x = nodeOf(call, "x");
      const std = nodeOf(call, "std");
      const normal = call.cx.run?.leaves.normal;
      if (x === undefined || std === undefined) return poison;
      if (!normal || !call.cx.run) return { kind: "tensor", node: x };
      const drawn = normal(call.cx.run.builder.type(x).axes, call.env.path);
      return withNodes(call, ["x", "std"], (make, [n, s]) => make.add(make.cast(n, "f32"), make.mul(make.cast(s, "f32"), drawn)));
    },
  },
};
