// Philox4x32-10 (Salmon et al. 2011) on the host: the counter-based generator behind every random choice of the runtime.
// Equal (n, stream, seed, step) give equal numbers, whatever was drawn before, so that a resumed run repeats the draws.
// The compiler's `random` op is the same function (docs/ir.md).

type Word4 = readonly [number, number, number, number];

/** High 32 bits of a u32 product, from 16-bit halves. */
function mulhi(a: number, b: number): number {
  const [ah, al, bh, bl] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = ah * bl + ((al * bl) >>> 16);
  const low = al * bh + (middle & 0xffff);
  return (ah * bh + Math.floor(middle / 65536) + Math.floor(low / 65536)) >>> 0;
}

export function philox(counter: Word4, key: readonly [number, number]): Word4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let r = 0; r < 10; r++) {
    const [h0, l0] = [mulhi(0xd2511f53, c0), Math.imul(0xd2511f53, c0) >>> 0];
    const [h1, l1] = [mulhi(0xcd9e8d57, c2), Math.imul(0xcd9e8d57, c2) >>> 0];
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const words = (n: number, stream: number, seed: number, step: number): Word4 => philox([n >>> 0, stream >>> 0, 0, 0], [seed >>> 0, step >>> 0]);

/** In [0, 1), a multiple of 2^-24. */
export function uniformAt(n: number, stream: number, seed: number, step: number): number {
  return (words(n, stream, seed, step)[0] >>> 8) * 2 ** -24;
}

/** Standard normal: Box-Muller on the first two words. */
export function normalAt(n: number, stream: number, seed: number, step: number): number {
  const [w0, w1] = words(n, stream, seed, step);
  return Math.sqrt(-2 * Math.log(((w0 >>> 8) + 1) * 2 ** -24)) * Math.cos(2 * Math.PI * ((w1 >>> 8) * 2 ** -24));
}
