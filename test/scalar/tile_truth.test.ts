// Tile classes against brute force: random predicates over random layouts. Imprecise is allowed, wrong never.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import type { BinaryOp, ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, and, attr, binary, bool, div, i32, length, lt, mod, mul, name, select, sub, unary } from "../../compiler/scalar/expr.ts";
import { classify, tileFacts, tileTruth } from "../../compiler/scalar/tile_truth.ts";
import "../seed.ts";

const attributes = ["pos", "doc", "kind", "far"] as const;
type Row = Readonly<Record<(typeof attributes)[number], number>>;

const leaf: fc.Arbitrary<ScalarExpr> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom<"q" | "k">("q", "k"), fc.constantFrom(...attributes)).map(([s, n]) => attr(s, n)) },
  { weight: 2, arbitrary: fc.integer({ min: -3, max: 40 }).map(i32) },
  { weight: 1, arbitrary: fc.constantFrom(i32(2 ** 31 - 1), i32(-(2 ** 31)), i32(70000), name("head", "i32"), length("t")) },
);
const bin = (op: BinaryOp, a: ScalarExpr, b: ScalarExpr): ScalarExpr => binary(op, a, b);

function number(depth: number): fc.Arbitrary<ScalarExpr> {
  if (depth <= 1) return leaf;
  const sub1 = number(depth - 1);
  return fc.oneof(
    leaf,
    fc.tuple(fc.constantFrom<BinaryOp>("add", "sub", "mul", "div", "mod", "min", "max"), sub1, sub1).map(([op, a, b]) => bin(op, a, b)),
    fc.tuple(fc.constantFrom<BinaryOp>("div", "mod", "mul"), sub1, fc.integer({ min: -4, max: 12 })).map(([op, a, b]) => bin(op, a, i32(b))),
    fc.tuple(fc.constantFrom<"neg" | "abs">("neg", "abs"), sub1).map(([op, a]) => unary(op, a)),
    fc.tuple(predicate(depth - 1), sub1, sub1).map(([c, a, b]) => select(c, a, b)),
  );
}

function predicate(depth: number): fc.Arbitrary<ScalarExpr> {
  const compare = fc.tuple(fc.constantFrom<BinaryOp>("eq", "ne", "lt", "le"), number(Math.max(1, depth - 1)), number(Math.max(1, depth - 1))).map(([op, a, b]) => bin(op, a, b));
  if (depth <= 2) return compare;
  const inner = predicate(depth - 1);
  return fc.oneof(
    compare,
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom<BinaryOp>("and", "or"), inner, inner).map(([op, a, b]) => bin(op, a, b)) },
    inner.map((a) => unary("not", a)),
    fc.tuple(inner, inner, inner).map(([c, a, b]) => select(c, a, b)),
    fc.tuple(fc.constantFrom<BinaryOp>("eq", "ne"), inner, inner).map(([op, a, b]) => bin(op, a, b)),
  );
}

/** Tokens of a tile: packed documents with positions of their own, a few kinds, and now and then a wild value. */
const tile: fc.Arbitrary<Row[]> = fc.tuple(fc.nat(60), fc.nat(40), fc.array(fc.record({ step: fc.nat(9), kind: fc.oneof(fc.nat(4), fc.constantFrom(-1, 30, 31, 40)), far: fc.oneof({ weight: 8, arbitrary: fc.nat(50) }, { weight: 1, arbitrary: fc.integer() }) }), { minLength: 1, maxLength: 6 }))
  .map(([pos0, doc0, tokens]) => {
    let [pos, doc] = [pos0, doc0];
    return tokens.map((x) => {
      pos += 1;
      if (x.step === 0) [pos, doc] = [0, doc + 1];
      return { pos, doc: x.step === 9 ? -1 : doc, kind: x.kind, far: x.far };
    });
  });

const factsOf = (rows: readonly Row[]) => tileFacts(Object.fromEntries(attributes.map((n) => [n, rows.map((r) => r[n])])));

describe("three-valued truth over tiles", () => {
  it("never says empty or full of tiles that are not, for random predicates and layouts", () => {
    const seen = { empty: 0, full: 0, mixed: 0 };
    let right = 0;
    fc.assert(fc.property(fc.integer({ min: 2, max: 6 }).chain(predicate), fc.array(fc.tuple(tile, tile), { minLength: 4, maxLength: 4 }), fc.nat(8), (mask, tiles, head) => {
      const truth = tileTruth(mask);
      for (const [q, k] of tiles) {
        const names = { head, t: 20 };
        const visible = q.flatMap((x) => k.map((y) => evalExpr(mask, { q: x, k: y, names, lengths: names }) !== 0));
        const said = classify(truth, factsOf(q), factsOf(k), names);
        const really = visible.every((v) => v) ? "full" : visible.some((v) => v) ? "mixed" : "empty";
        seen[said]++;
        if (said === really) right++;
        else if (said !== "mixed") throw new Error(`said ${said}, is ${really}`);
      }
    }), { numRuns: 5000 });
    // Always saying "mixed" would be right, too.
    expect(seen.empty).toBeGreaterThan(2500);
    expect(seen.full).toBeGreaterThan(2500);
    expect(right / (seen.empty + seen.full + seen.mixed)).toBeGreaterThan(0.8);
  });

  const [qp, kp, qd, kd] = [attr("q", "pos"), attr("k", "pos"), attr("q", "doc"), attr("k", "doc")];
  const run = (from: number, n = 16, doc = 0) => tileFacts({
    pos: Array.from({ length: n }, (_, i) => from + i), doc: Array.from({ length: n }, () => doc), kind: Array.from({ length: n }, (_, i) => (i % 2 === 0 ? 1 : 3)),
  });
  const causal = binary("le", kp, qp);
  const window = and(causal, lt(sub(qp, kp), i32(64)));

  it.each<[string, ScalarExpr, [number, number, string][]]>([
    ["causal", causal, [[0, 16, "empty"], [16, 16, "mixed"], [32, 16, "full"]]],
    ["a window", window, [[0, 16, "empty"], [16, 16, "mixed"], [64, 32, "full"], [96, 32, "mixed"], [95, 0, "empty"], [96, 0, "empty"]]],
    ["a window by abs", lt(unary("abs", sub(qp, kp)), i32(20)), [[0, 48, "empty"], [48, 0, "empty"], [0, 0, "full"], [0, 16, "mixed"]]],
    ["blocks", binary("le", div(kp, i32(32)), div(qp, i32(32))), [[0, 16, "full"], [0, 32, "empty"], [32, 16, "full"]]],
    ["rows of a grid", binary("eq", mod(div(kp, i32(16)), i32(4)), mod(div(qp, i32(16)), i32(4))), [[0, 64, "full"], [0, 16, "empty"]]],
    ["a difference that is the same on both sides", lt(sub(qp, kp), sub(add(qp, i32(1)), kp)), [[3, 90, "full"]]],
  ])("decides %s", (_, mask, cases) => {
    for (const [q, k, want] of cases) expect(classify(mask, run(q), run(k)), `${q}, ${k}`).toBe(want);
  });

  it("knows the values that occur", () => {
    const kind = attr("k", "kind");
    const one = (v: number): ScalarExpr => binary("eq", kind, i32(v));
    expect(classify(one(2), run(0), run(0))).toBe("empty");
    expect(classify(binary("or", one(1), one(3)), run(0), run(0))).toBe("full");
    expect(classify(unary("not", binary("or", one(1), one(3))), run(0), run(0))).toBe("empty");
    const padded = { ...run(0, 16, 3), ...Object.fromEntries(Object.entries(tileFacts({ doc: [3, 3, -1] }))) };
    expect(classify(and(binary("eq", qd, kd), binary("le", i32(0), kd)), run(0, 16, 1), padded)).toBe("empty");
    expect(classify(and(binary("eq", qd, kd), binary("le", i32(0), kd)), run(0, 16, -1), run(0, 16, -1))).toBe("empty");
  });

  it("leaves undecided what could wrap", () => {
    const far = tileFacts({ pos: [2 ** 31 - 5, 2 ** 31 - 1] });
    expect(classify(lt(add(kp, i32(10)), qp), far, far)).toBe("mixed");
    expect(classify(lt(kp, qp), run(0), far)).toBe("empty");
    // far + 10 wraps below far + 5, though the difference is known
    expect(classify(lt(add(kp, i32(10)), add(kp, i32(5))), far, far)).toBe("mixed");
    expect(tileTruth(lt(mul(mul(qp, kp), qp), i32(5)))).toMatchObject({ may: bool(true), must: bool(false) });
  });
});
