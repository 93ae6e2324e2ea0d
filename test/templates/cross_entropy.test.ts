// Cross-entropy rows on both targets: loss and gradient, apart and in place.

import { afterAll, describe, expect, it } from "vitest";
import { elementIndex, spaceSize } from "../../compiler/kernel/body.ts";
import { crossEntropyRows } from "../../compiler/kernel/cross_entropy.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { closeGpu } from "../gpu/run_program.ts";
import type { Sizes } from "./harness.ts";
import { axisOf, distance, randoms, Rig } from "./harness.ts";

afterAll(closeGpu);

interface Case {
  readonly what: string;
  readonly sizes: Sizes;
  readonly runtime?: readonly string[];
  readonly gradient: boolean;
  readonly loss: boolean;
}

const cases: readonly Case[] = [
  { what: "loss of one row", sizes: { batch: 1, t: 1, c: 5 }, loss: true, gradient: false },
  { what: "loss and gradient", sizes: { batch: 3, t: 7, c: 13 }, runtime: ["batch", "t"], loss: true, gradient: true },
  { what: "gradient alone", sizes: { batch: 2, t: 5, c: 32 }, runtime: ["batch", "t"], loss: false, gradient: true },
  { what: "one class", sizes: { batch: 2, t: 3, c: 1 }, runtime: ["batch"], loss: true, gradient: true },
  { what: "more classes than lanes", sizes: { batch: 1, t: 3, c: 301 }, runtime: ["t"], loss: true, gradient: true },
  { what: "no rows", sizes: { batch: 0, t: 3, c: 4 }, runtime: ["batch"], loss: true, gradient: true },
];

async function check(c: Case, target: Target, gpu = false): Promise<void> {
  const rig = new Rig();
  const runtime = new Set(c.runtime ?? []);
  const rows = [axisOf("batch", c.sizes, runtime), axisOf("t", c.sizes, runtime)];
  const vocab = axisOf("c", c.sizes, runtime);
  const { batch = 1, t = 1, c: classes = 1 } = c.sizes;
  const count = batch * t;
  const logits = randoms(count * classes, 5).map((x) => 40 * x);
  const goal = Int32Array.from({ length: count }, (_, i) => (i * 7) % classes);
  // A row without weight may name a class that is not there.
  const weight = Float32Array.from({ length: count }, (_, i) => (i % 3 === 1 ? 0 : 0.5 + i));
  goal.forEach((_, i) => { if (weight[i] === 0) goal[i] = -1; });
  const dloss = randoms(count, 6);
  const shape = crossEntropyRows(rig.parts, {
    rows, vocab, logits: rig.input("logits", [...rows, vocab]), target: rig.input("goal", rows, "i32"), weight: rig.input("weight", rows),
    ...(c.loss ? { loss: rig.output("loss", rows) } : {}),
    ...(c.gradient ? { dloss: rig.input("dloss", rows), dlogits: rig.output("dlogits", [...rows, vocab]) } : {}),
  }, target);
  const got = await rig.run(shape, { logits, goal, weight, dloss }, c.sizes, runtime, target, gpu);
  const loss = new Float64Array(count);
  const gradient = new Float64Array(count * classes);
  for (let i = 0; i < count; i++) {
    const row = [...logits.subarray(i * classes, (i + 1) * classes)];
    const top = Math.max(...row);
    const mass = row.reduce((s, x) => s + Math.exp(x - top), 0);
    const w = weight[i] ?? 0;
    if (w !== 0) loss[i] = w * (top + Math.log(mass) - (row[goal[i] ?? 0] ?? 0));
    row.forEach((x, j) => { gradient[i * classes + j] = w * (dloss[i] ?? 0) * (Math.exp(x - top) / mass - (j === goal[i] ? 1 : 0)); });
  }
  if (c.loss) expect(distance(got["loss"], loss)).toBeLessThan(2e-5);
  if (c.gradient) expect(distance(got["dlogits"], gradient)).toBeLessThan(2e-5);
}

describe.each([software, guaranteed])("cross-entropy rows on the $name target", (target) => {
  it.each(cases)("$what", (c) => check(c, target));
  it("on the adapter", () => check(cases[1] as Case, target, true));

  it("writes the gradient over the logits without a race", async () => {
    const rig = new Rig();
    const runtime = new Set(["n"]);
    const sizes = { n: 9, c: 11 };
    const rows = [axisOf("n", sizes, runtime)];
    const vocab = axisOf("c", sizes, runtime);
    const all = [...rows, vocab];
    const from = rig.input("seed", all);
    const to = rig.output("logits", all);
    // The same tensor, read and written.
    const operand = (): string => rig.parts.operand("logits", "f32", spaceSize(all), "read");
    const shape = crossEntropyRows(rig.parts, {
      rows, vocab, logits: (b, at) => b.load(operand(), elementIndex(all, at)),
      target: rig.input("goal", rows, "i32"), weight: rig.input("weight", rows), loss: rig.output("loss", rows), dlogits: to,
    }, target);
    expect(rig.parts.operands.get(operand())?.access).toBe("readwrite");
    void from;
    const program = rig.program(shape, runtime);
    const { runProgram } = await import("../../compiler/kernel/interpret.ts");
    const logits = randoms(99, 8);
    const result = runProgram(
      { ...program, tensors: program.tensors.map((x) => (x.name === "logits" ? { ...x, kind: "state" as const } : x)) },
      { logits, goal: new Int32Array(9).fill(2), weight: new Float32Array(9).fill(1) }, { n: 9 },
    );
    expect(result.ok ? "" : result.fault.message).toBe("");
    for (let i = 0; i < 9; i++) expect(Math.abs(logits.subarray(i * 11, i * 11 + 11).reduce((s, x) => s + x, 0))).toBeLessThan(1e-5);
  });
});
