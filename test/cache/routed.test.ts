// Generation with routed layers: through the cache it is the whole sequence, for batches of different lengths. By the meaning of the
// graphs, which is exact, and one of each kind on the GPU. Experts that choose among all tokens keep nothing, and are right all the same.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../compiler/types/model.ts";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import { check, lines } from "../types/loader.ts";
import { compareTask } from "./compare.ts";
import { meaningOf, ROUNDING, specOf } from "./meaning.ts";
import { apartModels, coupledModels, soundModels, textModel } from "./routed_specs.ts";
import { sameOnGpu } from "./same_on_gpu.ts";

let host: GpuHost;
beforeAll(async () => {
  host = await openDevice({ trusted: true });
});
afterAll(() => host.destroy());

function modelOf(text: string): Model {
  const result = check(text);
  expect(lines(result, text).filter((l) => !l.startsWith("W"))).toEqual([]);
  const [model] = result.models;
  if (!model) throw new Error("no model");
  return model;
}

async function means(model: Model): Promise<void> {
  const spec = specOf(model);
  for (const task of spec.tasks) {
    const { worst, where, logits, denoised } = await compareTask(spec, meaningOf(model, spec), task.name);
    expect(worst, where).toBeLessThan(ROUNDING);
    expect(logits + denoised).toBeGreaterThan(0);
  }
}

describe.each(Object.entries(soundModels))("%s", (_, text) => {
  test("keeps its cache, and means the same cached and whole", async () => {
    const model = modelOf(text);
    expect(model.routed.length).toBeGreaterThan(0);
    expect(specOf(model)).toMatchObject({ cache: { sound: true } });
    expect(specOf(model).coupled).toBeUndefined();
    await means(model);
  });
});

describe.each(Object.entries(apartModels))("%s", (_, text) => {
  test("is not packed, keeps its cache, and means the same cached and whole", async () => {
    const model = modelOf(text);
    expect(specOf(model)).toMatchObject({ cache: { sound: true }, coupled: /^router `\w+` of `body.*generate` chooses among all tokens of a sample$/.exec(specOf(model).coupled ?? "")?.[0] ?? "" });
    await means(model);
  });
});

describe.each(Object.entries(coupledModels))("%s", (name, text) => {
  test("keeps nothing of what it draws, says why, and means the same", async () => {
    const model = modelOf(text);
    const { cache, coupled } = specOf(model);
    expect(cache.sound).toBe(false);
    expect(!cache.sound && cache.keep?.["draw"] === 0).toBe(true);
    expect(coupled, name).toMatch(/^router `\w+` of `body.*` chooses among all tokens of a sample$/);
    await means(model);
  });
});

describe("on the GPU", () => {
  const some = ["sigmoids, groups, a bias and a shared expert", "a learned mixture in one modality"];
  test.each([...some.map((n) => [n, soundModels[n] ?? ""]), ["expert choice", coupledModels["expert choice"] ?? ""]])("%s", async (_, text) => {
    await sameOnGpu(host, modelOf(text));
  }, 120_000);
});

test("a capacity that would drop nearly everything in training drops nothing when generating", () => {
  const narrow = modelOf(textModel("moe_block(d, 2, causal, switch_experts(d, 4, capacity: 0.01), hidden: 6)"));
  const wide = modelOf(textModel("moe_block(d, 2, causal, switch_experts(d, 4, capacity: 0.0), hidden: 6)"));
  expect(narrow.routed[0]?.capacity).toBe(0.01);
  const [a, b] = [narrow, wide].map((m) => meaningOf(m, specOf(m)));
  const spec = specOf(wide);
  const row = { lengths: { batch: 1, t: 6 }, values: Object.fromEntries(["id", "stream", "doc", "pos", "role", "span", "index", "row", "col", "frame", "scale", "time", "task"].map((n) => [`tok.${n}`, Int32Array.from({ length: 6 }, (_, i) => (n === "id" ? i : n === "pos" ? i : 0))])) };
  expect(spec.streams).toHaveLength(1);
  return Promise.all([a, b].map((x) => x?.forward(row, ["text.logits"]))).then(([x, y]) => expect(x?.["text.logits"]).toEqual(y?.["text.logits"]));
});
