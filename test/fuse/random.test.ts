// Any graph: graph interpreter = kernel interpreter on what fusion makes, on both kinds of target.

import fc from "fast-check";
import { expect, test } from "vitest";
import { check } from "./check.ts";
import { randomGraph, randomLengths } from "./random.ts";

const small = fc.nat({ max: 40 });
const step = fc.tuple(fc.nat({ max: 1000 }), small, small, small);

test("random graphs mean the same after fusion", () => {
  let checked = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 3, maxLength: 24 }), fc.boolean(), (steps, into) => {
      const { graph, inputs, state } = randomGraph(steps, into);
      check(graph, { inputs, state, lengths: randomLengths }, 1e-4);
      checked++;
    }),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 150), ...(process.env["FUZZ_SEED"] ? { seed: Number(process.env["FUZZ_SEED"]) } : {}) },
  );
  expect(checked).toBeGreaterThan(100);
});
