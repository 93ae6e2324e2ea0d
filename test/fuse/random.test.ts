// Any graph: graph interpreter = kernel interpreter on what fusion makes, on both kinds of target.

import fc from "fast-check";
import { expect, test } from "vitest";
import { check } from "./check.ts";
import { randomGraph, randomLengths } from "./random.ts";

const small = fc.nat({ max: 40 });
const step = fc.tuple(fc.nat({ max: 1000 }), small, small, small);

for (const grads of [false, true]) test(`random graphs${grads ? " and their gradients" : ""} mean the same after fusion`, () => {
  let checked = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 3, maxLength: 24 }), fc.boolean(), (steps, into) => {
      const { graph, inputs, state } = randomGraph(steps, into, grads);
      check(graph, { inputs, state, lengths: randomLengths }, grads ? 1e-3 : 1e-4);
      checked++;
    }),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 120) },
  );
  expect(checked).toBeGreaterThan(100);
});

// Found by random seeds: a kernel that copies a state out, rotates it and would have written the result over what it still read.
test("a state read at other points than it is written at goes through a copy", () => {
  const { graph, inputs, state } = randomGraph([[255, 23, 0, 0], [0, 0, 0, 0], [114, 3, 0, 0], [842, 21, 0, 0]], true, true);
  check(graph, { inputs, state, lengths: randomLengths }, 1e-3);
});
