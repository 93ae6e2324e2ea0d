// Every score of the library against a formula written here: all pairs of a packed sample, every head, tables by what they look up.

import { describe, expect, test } from "vitest";
import { dimConst } from "../../compiler/dim/dim.ts";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import { newContext } from "../../compiler/types/elaborate.ts";
import { folders } from "../../compiler/types/library.ts";
import { Files } from "../../compiler/types/modules.ts";
import type { Value } from "../../compiler/types/values.ts";
import { makeSource } from "../../grammar/source.ts";
import { loaderOf } from "../types/loader.ts";

type Token = Readonly<Record<string, number>>;
/** The logit of a pair; `index` stands for what a table holds there, and what is learned is a number by its name. */
type Score = (x: { readonly s: number; readonly head: number; readonly q: Token; readonly k: Token; readonly learned: Readonly<Record<string, number>> }) => number;

/** `call` as a function; weights are called as in `weights`, with these axes beside the heads. Tables give 1000 times their index. */
function scoreOf(call: string, weights: Readonly<Record<string, Readonly<Record<string, number>>>> = {}): Score {
  const cx = newContext();
  const more = (folders["std.scores"]?.more ?? []).join(", ");
  const file = new Files(cx, loaderOf()).link(makeSource("spec.heddle", `use std.scores { ${more} }\nfn probe_of() = ${call}\n`));
  const decl = file.module.decls[0];
  if (decl?.kind !== "fn") throw new Error("no probe");
  for (const [name, axes] of Object.entries(weights)) {
    const span = decl.span;
    const value: Value = { kind: "weight", parameter: { path: name, axes: Object.entries(axes).map(([n, size]) => ({ name: n, size: dimConst(size), span })), init: { kind: "zeros" }, decay: false, frozen: false, span } };
    file.scope.set(name, value, null, "file");
  }
  const v = cx.evaluate.expr(cx, decl.body, { scope: file.scope, path: "", exact: false, inForward: false });
  expect(cx.diagnostics()).toEqual([]);
  if (v.kind !== "score") throw new Error(`${call} is ${v.kind}`);
  return ({ s, head, q, k, learned }) => {
    const names: Record<string, number> = { s, head };
    for (const [name, t] of v.tables ?? []) {
      const weight = t.value.kind === "weight" ? t.value.parameter.path : "";
      if (!t.index) names[name] = learned[weight] ?? NaN;
      else names[name] = 1000 * Math.max(0, Math.min(evalExpr(t.index, { names: { head }, q, k }), (weights[weight]?.[t.axis ?? ""] ?? 1) - 1));
    }
    return evalExpr(v.expr, { names, q, k });
  };
}

const at = (t: Token, name: string): number => t[name] ?? NaN;
const back = (q: Token, k: Token): number => at(q, "pos") - at(k, "pos");
/** Text, an image of 3 x 3, text. */
const tokens: Token[] = Array.from({ length: 15 }, (_, pos) => {
  const i = pos >= 3 && pos < 12 ? pos - 3 : 0;
  return { pos, span: pos < 3 ? 0 : pos < 12 ? 1 : 2, row: Math.floor(i / 3), col: i % 3 };
});

/** Slopes of the paper's repository, one list for n heads. */
function slopes(n: number): number[] {
  const of = (m: number): number[] => Array.from({ length: m }, (_, i) => (2 ** (-8 / m)) ** (i + 1));
  const power = 2 ** Math.floor(Math.log2(n));
  return power === n ? of(n) : [...of(power), ...slopes(2 * power).filter((_, i) => i % 2 === 0).slice(0, n - power)];
}

const between = (x: number, lo: number, hi: number): number => Math.max(lo, Math.min(x, hi));
const table = { h: 2, bucket: 9 };
const formulas: Readonly<Record<string, readonly [Score, (Readonly<Record<string, Readonly<Record<string, number>>>>)?]>> = {
  "soft_cap(30.0)": [({ s }) => 30 * Math.tanh(s / 30)],
  "distance(0.5)": [({ s, q, k }) => s - 0.5 * Math.abs(back(q, k))],
  "alibi(8)": [({ s, head, q, k }) => s - 2 ** -(head + 1) * Math.abs(back(q, k))],
  "alibi(12)": [({ s, head, q, k }) => s - (slopes(12)[head] ?? NaN) * Math.abs(back(q, k))],
  "alibi(1)": [({ s, q, k, head }) => s - 2 ** (-8 * (head < 1 ? 1 : (2 * (head - 1) + 1) / 2)) * Math.abs(back(q, k))],
  "temperature(tau)": [({ s, learned }) => s * Math.exp(learned["tau"] ?? NaN), { tau: { h: 2 } }],
  "cosine(tau)": [({ s, learned }) => s * Math.min(100, 10 * Math.exp(learned["tau"] ?? NaN)), { tau: { h: 2 } }],
  "relative(table, 4)": [({ s, q, k }) => s + 1000 * (between(-back(q, k), -4, 4) + 4), { table }],
  "kerple(amount, rate)": [({ s, q, k, learned }) => s - Math.exp(learned["amount"] ?? NaN) * Math.log(1 + Math.exp(learned["rate"] ?? NaN) * Math.abs(back(q, k))), { amount: { h: 2 }, rate: {} }],
  "log_length(gain)": [({ s, q, learned }) => s * (learned["gain"] ?? NaN) * Math.log(at(q, "pos") + 1), { gain: {} }],
  "longer(4)": [({ s, q }) => s * Math.max(1, Math.log(at(q, "pos") + 1) / Math.log(4))],
  "swin(table, 2, 2)": [({ s, q, k }) => (at(q, "span") !== at(k, "span") ? s : s + 1000 * ((between(at(q, "row") - at(k, "row"), -1, 1) + 1) * 3 + between(at(q, "col") - at(k, "col"), -1, 1) + 1)), { table }],
};

test.each(Object.entries(formulas))("%s", (call, [formula, weights]) => {
  const score = scoreOf(call, weights);
  const learned = { tau: 0.7, amount: -0.3, rate: 0.4, gain: 0.43 };
  for (const q of tokens)
    for (const k of tokens)
      for (const head of [0, 1, 5, 7]) {
        const x = { s: 12.5, head, q, k, learned };
        expect(score(x), JSON.stringify(x)).toBeCloseTo(formula(x), 9);
      }
});

/** The bucket of T5 in whole numbers: gap >= exact (far / exact)^(n / wide) without roots or logarithms. */
function t5Bucket(ahead: number, buckets: number, far: number, both: boolean): number {
  const count = both ? buckets / 2 : buckets;
  const exact = Math.floor(count / 2);
  const gap = both ? Math.abs(ahead) : Math.max(0, -ahead);
  const side = both && ahead > 0 ? count : 0;
  if (gap < exact) return side + gap;
  const wide = BigInt(count - exact);
  const reached = (n: bigint): boolean => BigInt(gap) ** wide * BigInt(exact) ** n >= BigInt(exact) ** wide * BigInt(far) ** n;
  let n = 0;
  while (exact + n < count - 1 && reached(BigInt(n + 1))) n++;
  return side + exact + n;
}

describe("T5's buckets, at every distance", () => {
  test.each([[32, 128, true], [32, 128, false], [8, 10, false], [12, 20, true], [64, 256, true]] as const)("%i buckets up to %i, both sides: %s", (buckets, far, both) => {
    const score = scoreOf(`t5(table, ${far}, ${both})`, { table: { bucket: buckets } });
    for (let ahead = -400; ahead <= 400; ahead++) {
      const [q, k] = [{ pos: Math.max(0, -ahead) }, { pos: Math.max(0, ahead) }];
      expect(score({ s: 0, head: 0, q, k, learned: {} }) / 1000, `${ahead}`).toBe(t5Bucket(ahead, buckets, far, both));
    }
  });
});

test("every score of the library is here", () => {
  const here = [...Object.keys(formulas), "t5("].map((c) => c.split("(")[0] ?? "");
  expect([...(folders["std.scores"]?.everyday ?? []), ...(folders["std.scores"]?.more ?? [])].filter((n) => !here.includes(n))).toEqual([]);
});
