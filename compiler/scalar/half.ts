// In: a number. Out: the nearest number that IEEE binary16 ("half", f16) has, ties to even, subnormals included; what lies
// beyond +-65504 is held there, because WGSL leaves a conversion out of range open. NaN stays NaN. Refuses nothing.

/** The largest number f16 has. */
export const largestHalf = 65504;

/** Exact for every double: spacing is 2^-24 below 2^-14, and 2^-10 of the leading power of two from there on. */
export function roundHalf(x: number): number {
  if (Number.isNaN(x)) return x;
  const size = Math.min(Math.abs(x), largestHalf);
  let exponent = Math.max(-14, Math.floor(Math.log2(size)));
  // The logarithm may be off by one beside a power of two.
  if (exponent > -14 && 2 ** exponent > size) exponent--;
  else if (2 ** (exponent + 1) <= size) exponent++;
  // A double that large has exactly the spacing wanted, so adding it rounds to nearest even.
  const shift = 2 ** (exponent - 10 + 52);
  const rounded = size + shift - shift;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}
