// The executor refuses what does not fit a plan, by name, and says which line of the spec a refused kernel comes from.

import path from "node:path";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkFile } from "../../compiler/check.ts";
import { compileModel } from "../../compiler/compile.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { makeSource, type Source } from "../../grammar/source.ts";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import type { BoundProgram } from "../../runtime/exec/executor.ts";
import { type Compiled, Machine } from "../../runtime/exec/machine.ts";
import { floatsOf } from "../../runtime/weights/numbers.ts";
import { root, WORDS } from "../cli/heddle.ts";

const sources = new Map<string, Source>([["words.heddle", makeSource("words.heddle", WORDS)]]);
let host: GpuHost;
let compiled: Compiled;
let machine: Machine;
let step: BoundProgram;
const LENGTHS = { batch: 1, t: 2, s: 16, spare: 0 };

beforeAll(async () => {
  const loader = {
    load: (module: string) => {
      const file = `stdlib/${module.slice(4).replaceAll(".", "/")}.heddle`;
      const source = makeSource(file, readFileSync(path.join(root, file), "utf8"));
      sources.set(source.path, source);
      return source;
    },
  };
  const [model] = checkFile(sources.get("words.heddle") as Source, loader).models;
  if (!model) throw new Error("the spec does not check");
  const result = compileModel(model, { target: software, programs: ["step"], sources: (name) => sources.get(name) });
  if (!result.ok) throw new Error("the spec is not built");
  compiled = result.compiled;
  host = await openDevice();
  machine = new Machine(host, compiled);
  machine.allocateCaches(1, 16);
  step = await machine.bind("step", LENGTHS);
}, 120_000);
afterAll(async () => {
  await machine.destroy();
  await host.destroy();
});

const code = (c: string, says: RegExp): Error => expect.objectContaining({ code: c, message: expect.stringMatching(says) as string }) as Error;

test("a program the bundle does not have", () => {
  expect(() => machine.program("grad")).toThrow(code("E0553", /`grad`/));
});

test("a run without one of its lengths, or larger than the device can bind", async () => {
  await expect(machine.bind("step", { batch: 1 })).rejects.toMatchObject({ code: "E0552", message: expect.stringMatching(/`t`/) as string });
  await expect(machine.bind("step", { ...LENGTHS, batch: 1 << 16, t: 1 << 14 })).rejects.toMatchObject({ code: "E0551", message: expect.stringMatching(/MiB/) as string });
});

test("inputs and outputs that the program does not have, or of another size", async () => {
  const { inputs } = step.program.plan;
  const right = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, new Float32Array(sizeOf(step.program.plan, t))]));
  expect(() => step.write({ ...right, colour: Int32Array.of(1) })).toThrow(code("E0555", /no input `colour`/));
  expect(() => step.write({ ...right, "tok.id": new Int32Array(7) })).toThrow(code("E0554", /`tok\.id` has 7 numbers.*t = 2/));
  expect(() => step.write({})).toThrow(code("E0555", /needs the input/));
  await expect((async () => machine.submit([step], ["colour"]))()).rejects.toMatchObject({ code: "E0555" });
});

test("states that are not there, or of another size", () => {
  expect(() => machine.states.write("moments", new Float32Array(1))).toThrow(code("E0540", /`moments`/));
  expect(() => machine.states.write("params/body.w", new Float32Array(3))).toThrow(code("E0541", /holds 64 numbers, but 3/));
  expect(() => machine.states.place("params/body.x")).toThrow(code("E0540", /body\.x/));
});

test("a kernel that the device does not compile, with the line of the spec", async () => {
  const plan = compiled.plans.step as Plan;
  const broken = { ...plan, modules: plan.modules.map((m) => ({ ...m, wgsl: `${m.wgsl}\nfn broken() { let x = missing; }\n` })) };
  const other = new Machine(host, { ...compiled, plans: { step: broken } });
  await expect(other.program("step")).rejects.toMatchObject({ code: "E0550", message: expect.stringMatching(/missing/) as string, place: expect.stringMatching(/^(words|stdlib\/\w+)\.heddle:\d+$/) as string });
  await other.destroy();
  const rows = plan.modules.flatMap((m) => m.lines.filter((l) => l.source === "words.heddle").map((l) => l.row ?? 0));
  expect(rows.length).toBeGreaterThan(0);
  const lines = WORDS.split("\n").length;
  expect(rows.every((r) => r >= 1 && r <= lines)).toBe(true);
});

test("more memory than the device has", async () => {
  const huge = host.device.createBuffer({ size: host.device.limits.maxBufferSize, usage: GPUBufferUsage.STORAGE });
  const more = Array.from({ length: 600 }, () => host.device.createBuffer({ size: host.device.limits.maxBufferSize, usage: GPUBufferUsage.STORAGE }));
  const outcome = await host.settle(host.device.queue.onSubmittedWorkDone()).then(() => host.check(), (e: unknown) => e);
  for (const b of [huge, ...more]) b.destroy();
  // A GPU may promise memory it does not have; what it says, it says as this. The software adapter promises nothing.
  if (host.info.fallback || outcome !== undefined) expect(outcome).toMatchObject({ code: "E0506" });
});

test("a tensor of numbers that are not numbers of this kind", () => {
  expect(() => floatsOf({ name: "w", dtype: "I64", shape: [1], bytes: new Uint8Array(8) } as never, "x")).toThrow(code("E0513", /I64/));
});

function sizeOf(plan: Plan, tensor: number | undefined): number {
  const axes = plan.tensors[tensor ?? 0]?.axes ?? [];
  return axes.reduce((n, a) => n * (typeof a.size === "number" ? a.size : (LENGTHS[a.size as keyof typeof LENGTHS] ?? 1)), 1);
}

test("a dispatch that the GPU refuses is named with its line of the spec", async () => {
  const own = await openDevice();
  const [first, ...rest] = (compiled.plans.step as Plan).steps;
  if (first?.kind !== "dispatch") throw new Error("the first step is a dispatch");
  const other = new Machine(own, { ...compiled, plans: { step: { ...(compiled.plans.step as Plan), steps: [{ ...first, grid: [70_000, 1, 1] }, ...rest] } } });
  other.allocateCaches(1, 16);
  const bound = await other.bind("step", LENGTHS);
  const { inputs } = bound.program.plan;
  bound.write(Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, new Float32Array(sizeOf(bound.program.plan, t))])));
  await expect(other.submit([bound], Object.keys(bound.program.plan.outputs).filter((o) => o.endsWith("logits")))).rejects.toMatchObject({
    code: "E0505",
    message: expect.stringMatching(/while running `step`/) as string,
    place: expect.stringMatching(/\.heddle/) as string,
  });
  await other.destroy();
  await own.destroy();
});
