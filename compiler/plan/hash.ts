// In: plain JSON data. Out: its SHA-256 as hex, over a text with sorted keys, so that equal plans have equal hashes on
// every machine. Pure JavaScript: browsers offer only an asynchronous digest, and only to secure pages.

export function contentHash(data: unknown): string {
  return sha256(new TextEncoder().encode(canonical(data)));
}

/** JSON with the keys of every object in order and undefined fields left out. */
export function canonical(data: unknown): string {
  if (Array.isArray(data)) return `[${data.map((x) => canonical(x ?? null)).join(",")}]`;
  if (typeof data !== "object" || data === null) return JSON.stringify(data);
  const fields = Object.entries(data)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`);
  return `{${fields.join(",")}}`;
}

// Round constants: the fractional bits of the cube roots of the first 64 primes; the start: of the square roots of 8.
const primes: number[] = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
const fraction = (x: number): number => Math.floor((x - Math.floor(x)) * 2 ** 32) >>> 0;
const rounds = Uint32Array.from(primes, (p) => fraction(Math.cbrt(p)));
const start = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));

/** SHA-256 of bytes, as 64 hex digits. */
export function sha256(bytes: Uint8Array): string {
  const padded = new Uint8Array(((bytes.length + 8) >> 6) * 64 + 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, (bytes.length * 8) >>> 0);
  const hash = Uint32Array.from(start);
  const w = new Uint32Array(64);
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(at + i * 4);
    block(hash, w);
  }
  return [...hash].map((x) => x.toString(16).padStart(8, "0")).join("");
}

const rotate = (x: number, n: number): number => (x >>> n) | (x << (32 - n));

function block(hash: Uint32Array, w: Uint32Array): void {
  for (let i = 16; i < 64; i++) {
    const p = w[i - 15] ?? 0;
    const q = w[i - 2] ?? 0;
    const s0 = rotate(p, 7) ^ rotate(p, 18) ^ (p >>> 3);
    const s1 = rotate(q, 17) ^ rotate(q, 19) ^ (q >>> 10);
    w[i] = (w[i - 16] ?? 0) + s0 + (w[i - 7] ?? 0) + s1;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash;
  for (let i = 0; i < 64; i++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (rounds[i] ?? 0) + (w[i] ?? 0)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((x, i) => { hash[i] = (hash[i] ?? 0) + x; });
}
