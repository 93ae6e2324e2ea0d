// The host's random numbers against Random123's known answers and the compiler's own copy; the epoch order against its promises.
import fc from "fast-check";
import { expect, it } from "vitest";
import * as compiler from "../../compiler/graph/philox.ts";
import { Order } from "../../runtime/train/loop.ts";
import { normalAt, philox, uniformAt } from "../../runtime/random/philox.ts";

const known: [[number, number, number, number], [number, number], string][] = [
  [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], "408f276d 41c83b0e a20bc7c6 6d5451fd"],
  [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], "d16cfe09 94fdcceb 5001e420 24126ea1"],
];

it.each(known)("answers %j under %j as Random123 does", (counter, key, words) => {
  expect(philox(counter, key).map((w) => w.toString(16).padStart(8, "0")).join(" ")).toBe(words);
});

it("is the compiler's generator", () => {
  const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  fc.assert(fc.property(u32, u32, u32, u32, (n, stream, seed, step) => {
    expect(uniformAt(n, stream, seed, step)).toBe(compiler.uniformAt(n, stream, seed, step));
    expect(normalAt(n, stream, seed, step)).toBe(compiler.normalAt(n, stream, seed, step));
  }));
});

it("draws numbers that look uniform and normal", () => {
  const n = 20_000;
  let u = 0, z = 0, z2 = 0;
  for (let i = 0; i < n; i++) {
    const x = uniformAt(i, 1, 2, 3);
    expect(x >= 0 && x < 1).toBe(true);
    u += x;
    const g = normalAt(i, 4, 5, 6);
    z += g;
    z2 += g * g;
  }
  expect(u / n).toBeCloseTo(0.5, 1);
  expect(Math.abs(z / n)).toBeLessThan(0.03);
  expect(Math.abs(z2 / n - 1)).toBeLessThan(0.05);
});

it("visits every sample once an epoch, anew each epoch, from any place", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 60 }), fc.nat(), (count, seed) => {
    const order = new Order(count, seed);
    const epochs = [0, 1].map((e) => Array.from({ length: count }, (_, i) => order.at(e * count + i)));
    for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    // a fresh object that starts in the middle goes on alike
    const resumed = new Order(count, seed);
    for (let n = count + (count >> 1); n < 2 * count; n++) expect(resumed.at(n)).toBe(epochs[1]?.[n - count]);
    expect(order.at(0)).toBe(epochs[0]?.[0]);
    if (count > 20) expect(epochs[0]).not.toEqual(epochs[1]);
  }), { numRuns: 40 });
});
