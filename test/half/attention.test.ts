// Attention whose operands are stored as f16: equal to the graph interpreter that rounds where the graph says so, and near the
// f32 result by what rounding q, k, v and the result can do at this width and length. Softmax, sums and gradients are f32.

import { afterAll, describe, expect, test } from "vitest";
import { interpret } from "../../compiler/graph/interpret.ts";
import { narrowAttention } from "../../compiler/graph/narrow.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import type { PlanLayout } from "../../compiler/plan/layout.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { layoutPlan } from "../../compiler/plan/layout.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { parsePlan } from "../../compiler/plan/schema.ts";
import { check } from "../fuse/check.ts";
import { decoder } from "../fuse/decoder.ts";
import { closeGpu, gpu, runOnGpu } from "../gpu/run_program.ts";
import { spread } from "../graph/cases.ts";
import { randoms } from "../templates/harness.ts";
import type { AttentionSizes, Values } from "./halves.ts";
import { attention, compiles, farthest, interpreted, planOf, scheduled, tensorsOf } from "./halves.ts";

afterAll(closeGpu);

const native = (t: Target): Target => ({ ...t, name: `${t.name} with f16`, f16: true });
const targets = [software, guaranteed, native(software), native(guaranteed)];

interface Case extends AttentionSizes {
  readonly t: number;
}
// Odd widths and lengths put two rows, and two invocations, into one word.
const cases: readonly Case[] = [
  { t: 1, h: 1, g: 1, w: 3, v: 3 },
  { t: 13, h: 2, g: 1, w: 5, v: 7 },
  { t: 9, h: 1, g: 3, w: 16, v: 5 },
  { t: 33, h: 2, g: 2, w: 8, v: 8 },
];

function given(c: Case): Values {
  const rows = c.t * c.h * c.g;
  return {
    q: randoms(rows * c.w, 1).map((x) => 2 * x), k: randoms(c.t * c.h * c.w, 2).map((x) => 2 * x), v: randoms(c.t * c.h * c.v, 3), dout: randoms(rows * c.v, 4),
  };
}

/** How far f16 storage may move each result, from the rounding unit, the sizes of the numbers and the length. */
function bounds(c: Case, d: Values): Record<string, number> {
  const u = 2 ** -11;
  const most = (name: string): number => Array.from(d[name] ?? []).reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  const scale = 1 / Math.sqrt(c.w);
  const [q, k, v, dout] = [most("q"), most("k"), most("v"), most("dout")];
  // A logit moves by at most this, so a weight by twice that share of itself, so a result by that of the largest value.
  const logit = 2.1 * u * scale * c.w * q * k;
  const weight = Math.expm1(2 * logit);
  const out = v * (weight + u) + v * u;
  const slope = c.v * dout * v;
  const ds = 2 * slope * weight + 2 * slope * u + c.v * dout * out;
  return {
    out, dq: scale * k * (ds + 2 * slope * u), dk: scale * q * c.t * c.g * (ds + 2 * slope * u), dv: dout * c.t * c.g * weight,
  };
}

const lengths = (c: Case) => ({ t: c.t, s: c.t });

describe.each(targets)("attention on $name", (target) => {
  test.each(cases)("t = $t, $h x $g heads of $w and $v", async (c) => {
    const g = attention(c);
    const d = given(c);
    const program = scheduled(g, target, "f16");
    const inputs = Object.fromEntries(Object.entries(d).map(([n, x]) => [n, Array.from(x)]));
    const exact = interpret(g, { inputs, lengths: lengths(c) }).outputs;
    const rounded = interpret(narrowAttention(g, { results: target.f16 }), { inputs, lengths: lengths(c) }).outputs;
    const got = interpreted(program, d, lengths(c));
    const allowed = bounds(c, d);
    for (const name of ["out", "dq", "dk", "dv"]) {
      const size = Math.max(1, ...Array.from(exact[name]?.data ?? [], Math.abs));
      expect(farthest(got[name], rounded[name]?.data), `${name} as the graph means it`).toBeLessThan(target.f16 ? 1.1 * 2 ** -11 * size + 3e-5 : 3e-5 * size);
      expect(farthest(got[name], exact[name]?.data), `${name} against f32`).toBeLessThan(allowed[name] ?? 0);
    }
    if (c.t > 1) expect(farthest(got["dq"], exact["dq"]?.data), "something is rounded at all").toBeGreaterThan(2e-5);
    if (c.t === 13) await compiles(program, target);
  });
});

describe("what the pass stores", () => {
  const sizes = { layers: 2, d: 16, heads: 2, mlp: 32, positions: 16, vocab: 11, rope: true };
  const made = new Map<string, { halves: number; plan: Plan; layout: PlanLayout }>();
  const stored = (target: Target, precision: "f32" | "f16", mode: "logits" | "train" = "train") => {
    const key = `${target.name} ${precision} ${mode}`;
    const known = made.get(key) ?? compile(target, precision, mode);
    made.set(key, known);
    return known;
  };
  const compile = (target: Target, precision: "f32" | "f16", mode: "logits" | "train") => {
    const program = scheduled(decoder(sizes, mode), target, precision);
    const plan = planOf(program, target);
    return { halves: program.tensors.filter((t) => t.dtype === "f16").length, plan, layout: layoutPlan(plan, { batch: 4, t: 16 }) };
  };

  test("q, k and v of each layer; the result, too, where halves are elements of their own and a gradient reads it", () => {
    expect(stored(software, "f16").halves).toBe(2 * 3);
    expect(stored(native(software), "f16").halves).toBe(2 * 4);
    expect(stored(native(software), "f16", "logits").halves).toBe(2 * 3);
    expect(stored(software, "f32").halves).toBe(0);
  });

  test.each(["logits", "train"] as const)("costs no dispatch (%s), and f32 plans do not know of it", (mode) => {
    for (const base of [software, guaranteed]) {
      const plans = [stored(base, "f32", mode).plan, stored(base, "f16", mode).plan, stored(native(base), "f16", mode).plan];
      expect(plans.map((p) => p.cost.dispatches)).toEqual(plans.map(() => plans[0]?.cost.dispatches));
      expect(plans.map((p) => p.requires.features)).toEqual([[], [], ["shader-f16"]]);
      expect(plans[1]?.modules.some((m) => m.wgsl.includes("enable f16"))).toBe(false);
      expect(plans.every((p) => p.modules.every((m) => m.proven))).toBe(plans[0]?.modules.every((m) => m.proven));
    }
    const plain = stored(software, "f32", mode).plan;
    expect({ ...stored(native(software), "f32", mode).plan, target: plain.target, hash: plain.hash }).toEqual(plain);
  });

  test("makes plans that survive JSON and the schema", () => {
    const { plan } = stored(native(software), "f16");
    expect(parsePlan(JSON.parse(JSON.stringify(plan)))).toEqual({ ok: true, value: plan });
  });

  test("takes the bytes off that it should: half of q, k and v a layer", () => {
    const [wide, narrow] = [stored(software, "f32").layout, stored(software, "f16").layout];
    expect(wide.tempBytes - narrow.tempBytes).toBe(2 * 3 * (4 * 16 * 16) * 2);
  });
});

test.each([false, true])("a decoder's loss and gradients, as the graph means them (results narrowed: %s)", (results) => {
  const lengths = { batch: 2, t: 5 };
  const g = narrowAttention(decoder({ layers: 1, d: 8, heads: 2, mlp: 8, positions: 8, vocab: 7, rope: true }, "train"), { results });
  const inputs: Record<string, number[]> = {};
  const state: Record<string, number[]> = {};
  for (const n of g.nodes) {
    if (n.op !== "input" && n.op !== "state") continue;
    const size = product(shapeOf(n.type, lengths));
    if (n.op === "state") state[n.attrs.name] = spread(size, n.id, [-0.5, 0.6]);
    else inputs[n.attrs.name] = n.type.dtype === "i32" ? Array.from({ length: size }, (_, i) => (i * 5 + 3) % 7) : spread(size, n.id, [0, 2]);
  }
  for (const o of g.outputs) if (o.into !== undefined) state[o.into] = new Array<number>(product(shapeOf(g.nodes[o.node]!.type, lengths))).fill(0);
  // A number beside a tie may round the other way in f32 than in double precision.
  check(g, { inputs, state, lengths }, 2e-3, { on: [software, native(software)] });
});

describe("on the adapter", () => {
  const c = cases[1] as Case;
  const g = attention(c);
  const d = given(c);
  const agrees = async (target: Target): Promise<void> => {
    const program = scheduled(g, target, "f16");
    const want = interpreted(program, d, lengths(c));
    const got = await runOnGpu(program, tensorsOf(program, d), lengths(c), { target });
    for (const name of ["out", "dq", "dk", "dv"]) expect(farthest(got.outputs[name], want[name]), name).toBeLessThan(target.f16 ? 2e-3 : 2e-4);
  };

  test("halves that share words", () => agrees(software), 120_000);

  test("halves of their own where the device has them, a refusal with a code where not", async () => {
    const { host } = await gpu();
    if (host.info.features.includes("shader-f16")) await agrees(native(software));
    else await expect(agrees(native(software))).rejects.toMatchObject({ code: "E0543" });
  }, 120_000);
});
