// Products of every shape the template distinguishes, on both targets, against the sum written out.

import { afterAll, describe, expect, it } from "vitest";
import type { SpaceAxis } from "../../compiler/kernel/body.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { chooseRegisterTile, product } from "../../compiler/kernel/product.ts";
import { add, f32, mul } from "../../compiler/scalar/expr.ts";
import { closeGpu } from "../gpu/run_program.ts";
import type { Sizes } from "./harness.ts";
import { axisOf, distance, randoms, Rig } from "./harness.ts";

afterAll(closeGpu);

interface Case {
  readonly what: string;
  readonly batch?: readonly string[];
  readonly m: readonly string[];
  readonly n: readonly string[];
  /** Contracted axes of each term. */
  readonly k: readonly (readonly string[])[];
  readonly sizes: Sizes;
  readonly runtime?: readonly string[];
  /** Memory order: a as (k, m), b as (n, k). */
  readonly aTransposed?: boolean;
  readonly bTransposed?: boolean;
}

const cases: readonly Case[] = [
  { what: "whole tiles", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 16, n: 64, k: 8 } },
  { what: "one row", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 1, n: 33, k: 7 } },
  { what: "no row axis", m: [], n: ["n"], k: [["k"]], sizes: { n: 20, k: 5 } },
  { what: "five run-time rows", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 5, n: 24, k: 12 }, runtime: ["m"] },
  { what: "17 rows, primes", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 17, n: 13, k: 11 }, runtime: ["m"] },
  { what: "everything run-time", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 19, n: 37, k: 23 }, runtime: ["m", "n", "k"] },
  { what: "merged rows", m: ["batch", "t"], n: ["n"], k: [["k"]], sizes: { batch: 3, t: 7, n: 16, k: 10 }, runtime: ["batch", "t"] },
  { what: "merged columns", m: ["t"], n: ["h", "e"], k: [["k"]], sizes: { t: 9, h: 3, e: 5, k: 6 }, runtime: ["t"] },
  { what: "two contracted axes", m: ["t"], n: ["n"], k: [["h", "e"]], sizes: { t: 9, n: 8, h: 3, e: 6 }, runtime: ["t"] },
  { what: "weight gradient: run-time contraction", m: ["i"], n: ["o"], k: [["batch", "t"]], sizes: { i: 12, o: 18, batch: 3, t: 13 }, runtime: ["batch", "t"], aTransposed: true },
  { what: "input gradient: weights along k", m: ["t"], n: ["i"], k: [["o"]], sizes: { t: 11, i: 20, o: 14 }, runtime: ["t"], bTransposed: true },
  { what: "batched", batch: ["batch", "h"], m: ["t"], n: ["e"], k: [["s"]], sizes: { batch: 2, h: 3, t: 10, e: 8, s: 9 }, runtime: ["batch", "t", "s"] },
  { what: "sum of three", m: ["t"], n: ["n"], k: [["k"], ["j"], ["l"]], sizes: { t: 6, n: 12, k: 8, j: 5, l: 4 }, runtime: ["t"] },
  { what: "nothing to contract", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 3, n: 4, k: 0 }, runtime: ["k"] },
  { what: "no rows at all", m: ["m"], n: ["n"], k: [["k"]], sizes: { m: 0, n: 4, k: 3 }, runtime: ["m"] },
  { what: "long contraction, small output", m: ["i"], n: ["o"], k: [["t"]], sizes: { i: 6, o: 10, t: 300 }, runtime: ["t"], aTransposed: true },
];

const size = (axes: readonly string[], sizes: Sizes): number => axes.reduce((p, a) => p * (sizes[a] ?? 1), 1);

function reference(c: Case, data: Readonly<Record<string, Float32Array>>): Float32Array {
  const [bs, m, n] = [size(c.batch ?? [], c.sizes), size(c.m, c.sizes), size(c.n, c.sizes)];
  const out = new Float32Array(bs * m * n);
  for (let z = 0; z < bs; z++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        c.k.forEach((axes, t) => {
          const k = size(axes, c.sizes);
          const [a, b] = [data[`a${t}`] as Float32Array, data[`b${t}`] as Float32Array];
          for (let q = 0; q < k; q++)
            sum += (a[z * m * k + (c.aTransposed ? q * m + i : i * k + q)] ?? 0) * (b[z * k * n + (c.bTransposed ? j * k + q : q * n + j)] ?? 0);
        });
        // The sink of the test: twice the sum plus the bias of the column.
        out[(z * m + i) * n + j] = 2 * sum + (data["bias"]?.[j] ?? 0);
      }
  return out;
}

async function check(c: Case, target: Target, gpu = false): Promise<void> {
  const rig = new Rig();
  const runtime = new Set(c.runtime ?? []);
  const axes = (names: readonly string[]): SpaceAxis[] => names.map((n) => axisOf(n, c.sizes, runtime));
  const [batch, m, n] = [axes(c.batch ?? []), axes(c.m), axes(c.n)];
  const data: Record<string, Float32Array> = { bias: randoms(size(c.n, c.sizes), 99) };
  const bias = rig.input("bias", n);
  const terms = c.k.map((names, t) => {
    const k = axes(names);
    const common = size(c.batch ?? [], c.sizes) * size(names, c.sizes);
    data[`a${t}`] = randoms(common * size(c.m, c.sizes), t + 1);
    data[`b${t}`] = randoms(common * size(c.n, c.sizes), t + 50);
    return {
      k,
      a: rig.input(`a${t}`, [...batch, ...(c.aTransposed ? [...k, ...m] : [...m, ...k])]),
      b: rig.input(`b${t}`, [...batch, ...(c.bTransposed ? [...n, ...k] : [...k, ...n])]),
      ...(c.aTransposed ? { aContiguous: c.m.at(-1) } : { aContiguous: names.at(-1) }),
      ...(c.bTransposed ? { bContiguous: names.at(-1) } : { bContiguous: c.n.at(-1) }),
    };
  });
  const out = rig.output("out", [...batch, ...m, ...n]);
  const shape = product(rig.parts, {
    batch, m, n, terms,
    sink: (b, at, value) => out(b, at, add(mul(value, f32(2)), bias(b, at))),
  }, target);
  const got = await rig.run(shape, data, c.sizes, runtime, target, gpu);
  expect(distance(got["out"], reference(c, data))).toBeLessThan(1e-4);
}

describe.each([software, guaranteed])("product on the $name target", (target) => {
  it.each(cases)("$what", (c) => check(c, target));
});

describe("product on the adapter", () => {
  it("17 run-time rows in registers", () => check(cases[4] as Case, software, true));
  it("17 run-time rows in tiles", () => check(cases[4] as Case, guaranteed, true));
});

describe("the choice of a register tile", () => {
  it("gives one row to a single row and eight to many", () => {
    expect(chooseRegisterTile(1, 128).rows).toBe(1);
    expect(chooseRegisterTile(undefined, 128).rows).toBe(8);
  });

  it("leaves no lane idle where the columns allow it", () => {
    for (const n of [32, 64, 96, 128, 256, 512]) {
      const t = chooseRegisterTile(undefined, n);
      expect(n % (t.cols * t.lanes), `n = ${n}`).toBe(0);
    }
  });
});
