// Routed models from the command line: a dense run, experts and branches that start from it, where rows went in the metrics and the
// progress, exact resume with a bias that follows the load, and a bundle that says what the spec says.

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseSafetensors } from "../../runtime/weights/safetensors.ts";
import { heddle, type Ran, scratch, writeData } from "./heddle.ts";

const place = scratch();
afterAll(() => place.remove());
const data = writeData(path.join(place.dir, "data"));
const at = (name: string): string => path.join(place.dir, name);
const TIMEOUT = { timeout: 180_000 };

const model = (name: string, body: string): string => `use std.mlp { swiglu }
use std.layers { linear }
use std.routers { deepseek_experts }

model ${name}(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow(predict: velocity)
  route modality = by stream { text -> frozen understand; image -> generate from understand }
  task draw(caption: text, picture: image) = <bos> given text(caption) <boi> predict image(picture) <eoi>
  task describe(picture: image, caption: text) = <bos> <boi> given image(picture) <eoi> predict text(caption) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d)
  ffn = ${body}
  body = ffn
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text  = greedy(max: 3)
  sample image = euler(steps: 2)
  train { optimizer = adamw(); lr = 1e-2; warmup = 2; steps = 4; batch = 4; clip = 1.0; ema = 0.9; seed = 1 }
}
`;
const dense = place.file("dense.heddle", model("dense", "swiglu(d, 6)"));
const experts = place.file("experts.heddle", model("experts", "routed(deepseek_experts(d, 4, 2, rate: 0.01, balance: 0.01), swiglu(d, 6))"));
const branches = place.file("branches.heddle", model("branches", "routed(modality, swiglu(d, 6))"));

const done = (r: Ran): Ran => {
  expect(r.stderr).not.toMatch(/bug\[|error\[/);
  expect(r.code, r.stderr).toBe(0);
  return r;
};
const train = async (spec: string, out: string, ...more: string[]): Promise<Ran> => done(await heddle(["train", spec, "--data", data, "--out", at(out), "--target", "software", ...more]));
const checkpoint = (run: string): string => readdirSync(at(run)).filter((n) => n.startsWith("step-")).sort().at(-1) ?? "";
const bytes = (run: string, part: string, name = checkpoint(run)): Uint8Array => new Uint8Array(readFileSync(path.join(at(run), name, `${part}.safetensors`)));
const tensors = (run: string, part = "weights", name = checkpoint(run)): Map<string, number[]> =>
  new Map([...parseSafetensors(bytes(run, part, name), run).tensors].map(([n, t]) => [n, Array.from(new Float32Array(t.bytes.slice().buffer))]));
interface Line { readonly routing?: { readonly path: string; readonly load: number[]; readonly max_over_mean: number; readonly dropped: number }[]; readonly terms: Record<string, number>; readonly tokens: number }
const metrics = (run: string): Line[] => readFileSync(path.join(at(run), "metrics.jsonl"), "utf8").trim().split("\n").map((l) => JSON.parse(l) as Line);

test("a dense run has no routing to speak of, and its weights start experts and branches", TIMEOUT, async () => {
  await train(dense, "dense", "--until", "2");
  expect(metrics("dense").every((m) => m.routing === undefined)).toBe(true);
  const given = tensors("dense", "ema");

  // At step 0 nothing has moved yet.
  const up = await train(experts, "experts0", "--until", "0", "--init", at("dense"));
  expect(up.stderr).toContain("copied into 3 weights of experts and branches: ffn.gate.w, ffn.up.w, ffn.down.w; new: ffn.router.gate.w, ffn.router.bias");
  const made = tensors("experts0");
  const one = given.get("ffn.gate.w") ?? [];
  expect(made.get("ffn.gate.w")).toEqual([...one, ...one, ...one, ...one]);
  expect(made.get("embed.text.w")).toEqual(given.get("embed.text.w"));

  await train(branches, "branches", "--init", at("dense"));
  const after = tensors("branches");
  // One is frozen, the other has learned.
  expect(after.get("ffn.understand.gate.w")).toEqual(one);
  expect(after.get("ffn.generate.gate.w")).not.toEqual(one);
  expect(metrics("branches").every((m) => m.routing?.[0]?.load.reduce((a, b) => a + b, 0) === m.tokens)).toBe(true);

  // Without --init the branch starts as a copy of the other.
  await train(branches, "branches0", "--until", "0");
  const fresh = tensors("branches0");
  expect(fresh.get("ffn.generate.up.w")).toEqual(fresh.get("ffn.understand.up.w"));
});

test("where rows went is said, and a bias that follows them goes on exactly", TIMEOUT, async () => {
  const whole = await train(experts, "whole");
  expect(whole.stderr).toMatch(/training 4\/4.* balance \d\.\d{4}  load \d\.\d\dx  lr/);
  await train(experts, "halves", "--until", "2");
  await train(experts, "halves", "--resume");
  for (const part of ["weights", "optimizer", "ema"]) expect(Buffer.from(bytes("halves", part)).equals(Buffer.from(bytes("whole", part))), part).toBe(true);
  for (const m of metrics("whole")) {
    expect(m.routing?.map((r) => r.path)).toEqual(["ffn"]);
    expect(m.routing?.[0]?.load.reduce((a, b) => a + b, 0)).toBe(2 * m.tokens);
    expect(m.routing?.[0]?.dropped).toBe(0);
    expect(m.terms["balance"]).toBeGreaterThan(0);
  }
  // Up by the rate where the load was below the mean, down where it was above: after two steps and after all.
  for (const [step, run] of [[2, "step-000002"], [4, "step-000004"]] as const) {
    const want = [0, 1, 2, 3].map((e) => metrics("whole").slice(0, step).reduce((b, m) => b + 0.01 * Math.sign(m.tokens / 2 - (m.routing?.[0]?.load[e] ?? 0)), 0));
    const got = tensors("halves", "weights", run).get("ffn.router.bias") ?? [];
    want.forEach((b, e) => expect(got[e], `${run}, expert ${e}`).toBeCloseTo(b, 6));
    if (step === 2) expect(want.some((b) => b !== 0)).toBe(true);
  }
});

test("a bundle says what the spec and its weights say", TIMEOUT, async () => {
  const bundle = at("bundle");
  done(await heddle(["build", experts, "-o", bundle, "--weights", at("whole"), "--target", "software", "--train"]));
  const manifest = JSON.parse(readFileSync(path.join(bundle, "manifest.json"), "utf8")) as { model: { routers: unknown; parameters: { path: string }[] } };
  expect(manifest.model.routers).toEqual([{ path: "ffn", route: "deepseek_experts", learned: true, experts: 4, branches: [], offset: 0, losses: [{ name: "balance", output: "loss.ffn.balance" }] }]);
  expect(manifest.model.parameters.find((p) => p.path === "ffn.router.bias")).toMatchObject({ balance: 0.01, router: true });
  expect(manifest.model.parameters.find((p) => p.path === "ffn.gate.w")).toMatchObject({ experts: 1 });
  const picture = path.join(data, "0.png");
  const ran = done(await heddle(["run", bundle, "describe", `picture=${picture}`]));
  const generated = done(await heddle(["generate", experts, "describe", "--weights", at("whole"), "--target", "software", `picture=${picture}`]));
  expect(ran.stdout).toBe(generated.stdout);
  expect(ran.stdout.length).toBeGreaterThan(1);
});
