// Every model of examples/, found by walking the folder: its logits and denoiser outputs through the cache are those of one pass over
// the whole sequence, for every task, for a batch of different lengths. Of a model and its variants the smallest serves.
// Examples that ship weights run on the GPU, as users run them; the others by the meaning of their graphs, which is exact.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkSpec } from "../../cli/spec.ts";
import { parseModule } from "../../compiler/ast/parse_module.ts";
import { dimValue } from "../../compiler/dim/dim.ts";
import type { Model } from "../../compiler/types/model.ts";
import { makeSource } from "../../grammar/source.ts";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import { compareTask, randomRequests } from "./compare.ts";
import { meaningOf, ROUNDING, specOf } from "./meaning.ts";
import { sameOnGpu } from "./same_on_gpu.ts";

const root = path.resolve(import.meta.dirname, "../..");
const specs = readdirSync(path.join(root, "examples"), { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".heddle")).sort();

const weights = (m: Model): number => m.parameters.reduce((n, p) => n + p.axes.reduce((k, a) => k * (dimValue(a.size) ?? 0), 1), 0);

/** Of each model and its variants the one with the fewest weights. */
function smallest(file: string): Model[] {
  const full = path.join(root, "examples", file);
  const bases = new Map(parseModule(makeSource(full, readFileSync(full, "utf8"))).module.decls.flatMap((d): [string, string][] => (d.kind === "variant" ? [[d.name.text, d.base.text]] : [])));
  const family = (name: string): string => (bases.has(name) ? family(bases.get(name) ?? "") : name);
  const out = new Map<string, Model>();
  const checked = checkSpec(full);
  if (checked.models.length === 0) throw new Error(`${file} has no model: ${checked.diagnostics.map((d) => d.message).join("; ")}`);
  for (const m of checked.models) {
    const old = out.get(family(m.name));
    if (!old || weights(m) < weights(old)) out.set(family(m.name), m);
  }
  return [...out.values()];
}

const all = specs.flatMap((file) => smallest(file).map((model) => ({ file, name: model.name, model })));
let host: GpuHost;
beforeAll(async () => {
  host = await openDevice({ trusted: true });
});
afterAll(() => host.destroy());

test("there are examples, some of them for the GPU", () => {
  expect(all.length).toBeGreaterThan(1);
  expect(all.some((x) => shipped(x.file))).toBe(true);
});

const shipped = (file: string): boolean => existsSync(path.join(root, "examples", path.dirname(file), "weights.safetensors"));

describe.each(all.filter((x) => !shipped(x.file)))("$file: $name", ({ model }) => {
  test("means the same cached and whole", async () => {
    expect(model.notBuilt).toEqual([]);
    const spec = specOf(model);
    for (const task of spec.tasks) {
      const { worst, where, logits, denoised } = await compareTask(spec, meaningOf(model, spec), task.name, randomRequests(spec, task.name, [5, 0]));
      expect(worst, where).toBeLessThan(ROUNDING);
      expect(logits + denoised).toBeGreaterThan(0);
    }
  });
});

describe.each(all.filter((x) => shipped(x.file)))("$file: $name", ({ model }) => {
  test("says the same cached and whole, on the GPU", async () => {
    expect(model.notBuilt).toEqual([]);
    await sameOnGpu(host, model);
  }, 120_000);
});
