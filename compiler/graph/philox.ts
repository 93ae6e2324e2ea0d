// Philox4x32-10 (Salmon et al. 2011), the generator behind `random`. In: a counter and a key of 32-bit words. Out: random words.
// Element n of a node with stream s, under (seed, step): counter (n, s, 0, 0), key (seed, step). docs/ir.md states it for kernels.

import { mulhi } from "../scalar/eval.ts";

export const PHILOX = {
  rounds: 10,
  multiplier: [0xd2511f53, 0xcd9e8d57],
  weyl: [0x9e3779b9, 0xbb67ae85],
} as const;

type Word4 = readonly [number, number, number, number];

export function philox(counter: Word4, key: readonly [number, number]): Word4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  const [m0, m1] = PHILOX.multiplier;
  for (let r = 0; r < PHILOX.rounds; r++) {
    const [h0, l0, h1, l1] = [mulhi(m0, c0), Math.imul(m0, c0) >>> 0, mulhi(m1, c2), Math.imul(m1, c2) >>> 0];
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + PHILOX.weyl[0]) >>> 0;
    k1 = (k1 + PHILOX.weyl[1]) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const words = (n: number, stream: number, seed: number, step: number): Word4 => philox([n >>> 0, stream >>> 0, 0, 0], [seed >>> 0, step >>> 0]);

/** In [0, 1), a multiple of 2^-24. */
export function uniformAt(n: number, stream: number, seed: number, step: number): number {
  return (words(n, stream, seed, step)[0] >>> 8) * 2 ** -24;
}

/** Box-Muller on the first two words. */
export function normalAt(n: number, stream: number, seed: number, step: number): number {
  const [w0, w1] = words(n, stream, seed, step);
  const radius = Math.sqrt(-2 * Math.log(((w0 >>> 8) + 1) * 2 ** -24));
  return radius * Math.cos(2 * Math.PI * ((w1 >>> 8) * 2 ** -24));
}
