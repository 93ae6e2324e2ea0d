// The bytes of f16: numbers to IEEE halves, two a word, and back. Rounds to nearest even and holds what is out of range at the
// largest half, as kernels do when they store. Refuses nothing.

const scratch = new Float32Array(1);
const word = new Uint32Array(scratch.buffer);
const largest = 0x7bff;

/** The bits of the half nearest to an f32. */
export function halfBits(x: number): number {
  scratch[0] = x;
  const bits = word[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 112;
  const fraction = bits & 0x7fffff;
  if (exponent === 143 && fraction !== 0) return sign | 0x7e00;
  if (exponent >= 31) return sign | largest;
  if (exponent < -10) return sign;
  // Below the smallest normal half the leading one is written out and the fraction moves down.
  const whole = exponent > 0 ? (exponent << 23) | fraction : (fraction | 0x800000) >>> (1 - exponent);
  const lost = exponent > 0 ? 0 : (fraction | 0x800000) & ((1 << (1 - exponent)) - 1);
  const rest = whole & 0x1fff;
  const up = rest > 0x1000 || (rest === 0x1000 && (lost !== 0 || ((whole >>> 13) & 1) === 1));
  return sign | Math.min(largest, (whole >>> 13) + (up ? 1 : 0));
}

/** The number that these bits are: 1 sign, 5 exponent, 10 fraction; exact. */
export function halfNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Numbers as halves; one more zero where the count is odd, so that the bytes are whole words. */
export function packHalves(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(Math.ceil(values.length / 2) * 2);
  for (let i = 0; i < values.length; i++) out[i] = halfBits(values[i] ?? 0);
  return out;
}

export const unpackHalves = (bytes: ArrayBuffer, count: number): Float32Array => Float32Array.from(new Uint16Array(bytes, 0, count), halfNumber);
