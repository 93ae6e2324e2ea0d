// f16 rounding in its three places (scalar language, bytes at the border, graph) against each other and against the format.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halfBits, halfNumber, packHalves, unpackHalves } from "../../compiler/plan/half.ts";
import { largestHalf, roundHalf } from "../../compiler/scalar/half.ts";

const every = Array.from({ length: 0x7c00 }, (_, bits) => halfNumber(bits));

describe("rounding to f16", () => {
  it("keeps every half, subnormals and signs included", () => {
    for (let bits = 0; bits < 0x7c00; bits++) {
      const x = halfNumber(bits);
      if (roundHalf(x) !== x || halfBits(x) !== bits || halfBits(-x) !== (bits | 0x8000)) throw new Error(`${bits.toString(16)}: ${x}`);
    }
    expect(Object.is(roundHalf(-0), -0)).toBe(true);
    expect(halfBits(-0)).toBe(0x8000);
  });

  it("takes the nearer neighbour, the even one at a tie", () => {
    for (let bits = 0; bits + 1 < 0x7c00; bits++) {
      const [low, high] = [every[bits] as number, every[bits + 1] as number];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? low : high;
      const eps = (high - low) / 8;
      const got = [middle, middle - eps, middle + eps].map(roundHalf);
      if (got[0] !== even || got[1] !== low || got[2] !== high) throw new Error(`${low} .. ${high}: ${got.join(", ")}`);
      // The neighbours of a tie are f32 too: the bytes agree with the numbers.
      for (const x of [middle, middle - eps, middle + eps]) if (halfNumber(halfBits(x)) !== roundHalf(x)) throw new Error(`bits of ${x}`);
    }
  });

  it("holds what is out of range, and lets NaN be", () => {
    for (const x of [65504, 65520, 65536, 1e30, Infinity]) {
      expect([roundHalf(x), roundHalf(-x), halfNumber(halfBits(x)), halfNumber(halfBits(-x))]).toEqual([largestHalf, -largestHalf, largestHalf, -largestHalf]);
    }
    expect([roundHalf(NaN), halfNumber(halfBits(NaN))]).toEqual([NaN, NaN]);
    expect([roundHalf(2 ** -25), roundHalf(2 ** -25 * 1.0001), roundHalf(2 ** -26)]).toEqual([0, 2 ** -24, 0]);
  });

  it("is one rounding in bytes and in numbers", () => {
    fc.assert(fc.property(fc.float({ noNaN: true }), (x) => halfNumber(halfBits(x)) === roundHalf(x)), { seed: 3, numRuns: 2000 });
  });

  it("packs an odd count into whole words", () => {
    const packed = packHalves([1, -2, 0.5]);
    expect([...packed]).toEqual([0x3c00, 0xc000, 0x3800, 0]);
    expect([...unpackHalves(packed.buffer, 3)]).toEqual([1, -2, 0.5]);
  });
});
