// heddle explain routing: where it says tokens go, against the router's formula worked out here from the weights; what it writes,
// what it refuses, and with which exit code.

import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { decode } from "fast-png";
import { afterAll, expect, test, vi } from "vitest";
import { parseSafetensors } from "../../runtime/weights/safetensors.ts";
import { heddle, root, scratch } from "./heddle.ts";

// Each test starts processes; a busy machine is slow at that.
vi.setConfig({ testTimeout: 180_000 });
const place = scratch();
afterAll(() => place.remove());
const routing = (...args: string[]) => heddle(["explain", "routing", ...args], { cwd: place.dir });

const words = place.file("words.heddle", `use std.layers { linear }
use std.routers { mixtral_experts }
model words(d: axis = 4) {
  tokens text = bytes()
  task say(line: text) = <bos> predict text(line) <eos>
  mask = causal
  body = routed(mixtral_experts(d, 5, 2), linear(d, d))
  loss = next_token(text)
  sample text = greedy(max: 4)
  train { optimizer = adamw(); lr = 1e-1; warmup = 1; steps = 4; batch = 2; clip = 1.0; ema = 0.9; seed = 1 }
}
`);
place.file("data/text.jsonl", ["so it goes", "to be or not", "the sea"].map((text) => `${JSON.stringify({ text })}\n`).join(""));

const mot = place.file("mot.heddle", `use std.layers { linear }
use std.norms { rms_norm }
model two(d: axis = 4) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  attribute turn: int = 0
  route modality = by stream { text -> understand; image -> generate }
  process noising on image = flow()
  task draw(line: text, picture: image) = <bos> given text(line) <boi> predict image(picture, turn: 2) <eoi>
  task tell(picture: image, line: text) = <boi> given image(picture) predict text(line, turn: 1) <eos>
  mask = causal | within(image)
  embed image = linear(image.features, d) + time(noising, d)
  body = [routed(modality, linear(d, d)), routed(by turn { 0 -> first; 1, 2 -> later; else -> never }, rms_norm(d)), routed(modality, rms_norm(d))]
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy(max: 4)
  sample image = euler(steps: 2)
}
`);
const plain = place.file("plain.heddle", readFileSync(words, "utf8").replace("routed(mixtral_experts(d, 5, 2), linear(d, d))", "linear(d, d)").replace(/^use std.routers.*\n/m, ""));

interface Shape {
  kind: string;
  version: number;
  model: string;
  weights: { kind: string; file?: string; seed?: number };
  data: { kind: string };
  layers: { index: number; path: string; route: string; dispatch: string; experts: string[]; load: number[]; maxOverMean: number; rows: number }[];
  samples: { task: string; tokens: { label: string; text: string | null; stream: string; role: string }[]; levels: Record<string, number>; layers: { index: number; choices: { expert: number; weight: number }[][] }[] }[];
}

async function refused(args: readonly string[], code: string, exit: number, said: RegExp): Promise<void> {
  const r = await routing(...args);
  expect(r.stderr).toContain(`error[${code}]`);
  expect(r.stderr).toMatch(said);
  expect(r.stderr).not.toMatch(/\n\s+at .*:\d+:\d+|bug\[/);
  expect(r.code).toBe(exit);
  expect(r.stdout).toBe("");
}

test("a router's choices on real samples are those of its formula", async () => {
  const trained = await heddle(["train", words, "--data", "data", "--out", "run"], { cwd: place.dir });
  expect(trained.stderr).toContain("saved step 4");
  expect(trained.code).toBe(0);
  const checkpoint = path.join(place.dir, "run", readdirSync(path.join(place.dir, "run")).filter((f) => !f.endsWith(".jsonl")).sort().at(-1) ?? "");
  for (const raw of [false, true]) {
    const r = await routing(words, "--weights", "run", "--data", "data", "--samples", "3", "--json", ...(raw ? ["--raw"] : []));
    expect(r.code).toBe(0);
    const report = JSON.parse(r.stdout) as Shape;
    expect(report).toMatchObject({ kind: "heddle.routing", version: 1, model: "words", weights: { kind: "file", file: "run" }, data: { kind: "folder" } });
    expect(report.samples.map((s) => s.tokens.map((t) => t.text ?? "").join("")).sort()).toEqual(["so it goes", "the sea", "to be or not"]);
    const file = path.join(checkpoint, raw ? "weights.safetensors" : "ema.safetensors");
    const { tensors } = parseSafetensors(readFileSync(file), file);
    const read = (name: string): Float32Array => {
      const { bytes } = tensors.get(name) ?? { bytes: new Uint8Array() };
      return new Float32Array(Uint8Array.from(bytes).buffer);
    };
    const [table, gate] = [read("embed.text.w"), read("body.router.gate.w")];
    const load = [0, 0, 0, 0, 0];
    for (const s of report.samples) {
      // The two literals come after 256 bytes.
      const ids = s.tokens.map((t) => (t.label === "<bos>" ? 256 : t.label === "<eos>" ? 257 : (t.text ?? "").charCodeAt(0)));
      s.layers[0]?.choices.forEach((chosen, at) => {
        const logits = load.map((_, e) => [0, 1, 2, 3].reduce((n, i) => n + (table[(ids[at] ?? 0) * 4 + i] ?? 0) * (gate[i * 5 + e] ?? 0), 0));
        const best = logits.map((l, e) => ({ l, e })).sort((a, b) => b.l - a.l).slice(0, 2);
        const sum = best.reduce((n, b) => n + Math.exp(b.l), 0);
        expect(chosen.map((c) => c.expert)).toEqual(best.map((b) => b.e));
        chosen.forEach((c, i) => expect(c.weight).toBeCloseTo(Math.exp(best[i]?.l ?? 0) / sum, 5));
        for (const c of chosen) load[c.expert] = (load[c.expert] ?? 0) + 1;
      });
    }
    expect(report.layers.map((l) => [l.path, l.route, l.dispatch, l.load])).toEqual([["body", "mixtral_experts", "top", load]]);
  }
});

test("routes need no weights and no adapter: each token goes by its own attributes", async () => {
  const r = await heddle(["explain", "routing", mot, "--json", "--length", "3", "--length", "line=2", "--samples", "2"], { cwd: place.dir, env: { HEDDLE_ADAPTER: "none of this name" } });
  expect(r.stderr).toBe("");
  expect(r.code).toBe(0);
  const report = JSON.parse(r.stdout) as Shape;
  expect(report).toMatchObject({ weights: { kind: "none" }, data: { kind: "example" } });
  expect(report.layers.map((l) => [l.index, l.dispatch, l.experts.join()])).toEqual([[0, "route", "understand,generate"], [1, "route", "first,later,never"], [2, "route", "understand,generate"]]);
  expect(report.samples.map((s) => s.task)).toEqual(["draw", "draw", "tell", "tell"]);
  for (const s of report.samples) {
    expect(s.tokens.map((t) => t.label)).toEqual(s.task === "draw"
      ? ["<bos>", "line[0]", "line[1]", "<boi>", "picture[0,0]", "picture[0,1]", "picture[1,0]", "picture[1,1]", "<eoi>"]
      : ["<boi>", "picture[0,0]", "picture[0,1]", "picture[1,0]", "picture[1,1]", "line[0]", "line[1]", "<eos>"]);
    s.tokens.forEach((t, i) => {
      const image = t.label.startsWith("picture");
      const turn = s.task === "draw" ? image : t.label.startsWith("line");
      expect(s.layers.map((l) => l.choices[i])).toEqual([image ? 1 : 0, turn ? 1 : 0, image ? 1 : 0].map((expert) => [{ expert, weight: 1 }]));
    });
  }
});

test("in the terminal: fresh weights are called so, and noise is named", async () => {
  const r = await routing(words, "--length", "4", "--seed", "3");
  expect(r.code).toBe(0);
  expect(r.stdout).toMatch(/^[\x20-\x7e\n]*$/);
  for (const part of ["words, task say\n", "mixtral_experts, 2 of 5\n", "0 1 2 3 4\n", "weights: fresh from seed 3, nothing is learned yet; 1 sample, 6 tokens, made up\n", "  line* 0 \"t\"  "]) expect(r.stdout).toContain(part);
  expect(r.stdout.match(/^ {2}.{13}(?:[#+.-] ){4}[#+.-]$/gm)?.length).toBe(6);
  const other = await routing(words, "--length", "4", "--seed", "4");
  expect(other.stdout).not.toBe(r.stdout);
  expect((await routing(mot, "--task", "draw")).stdout).toMatch(/two, task draw: picture at noise level 0\.\d\d\n/);
});

test("one layer by number or by path, one task", async () => {
  const all = JSON.parse((await routing(mot, "--json")).stdout) as Shape;
  const { path: own = "" } = all.layers[1] ?? {};
  expect(new Set(all.layers.map((l) => l.path)).size).toBe(3);
  for (const [layer, at] of [["2", 2], [own, 1]] as const) {
    const report = JSON.parse((await routing(mot, "--task", "tell", "--layer", layer, "--json")).stdout) as Shape;
    expect(report.samples.map((s) => [s.task, s.layers.map((l) => l.index)])).toEqual([["tell", [at]]]);
    expect(report.layers.map((l) => l.index)).toEqual([at]);
    expect(report.samples[0]?.layers[0]).toEqual(all.samples.find((s) => s.task === "tell")?.layers[at]);
  }
});

test("writes SVG and PNG whole, or to stdout", async () => {
  const r = await routing(mot, "--svg", "r.svg", "--png", "r.png");
  expect([r.code, r.stdout, r.stderr]).toEqual([0, "", "wrote r.svg\nwrote r.png\n"]);
  const svg = readFileSync(path.join(place.dir, "r.svg"), "utf8");
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(svg).toContain("Routing of two");
  const png = decode(readFileSync(path.join(place.dir, "r.png")));
  expect([png.width, png.channels]).toEqual([2 * Number(/width="(\d+)"/.exec(svg)?.[1]), 3]);
  const piped = await routing(mot, "--svg", "-");
  expect([piped.stdout, piped.stderr]).toEqual([svg, ""]);
  expect(readdirSync(place.dir).filter((f) => f.endsWith(".tmp"))).toEqual([]);
});

test("a model that routes nothing says so", async () => {
  const r = await routing(plain);
  expect([r.code, r.stdout, r.stderr]).toEqual([0, "model words routes nothing\n", ""]);
});

test("a router that tells of later tokens is drawn after the error", async () => {
  const bad = place.file("bad.heddle", readFileSync(words, "utf8").replaceAll("mixtral_experts(d, 5, 2)", "expert_choice_experts(d, 5, 2)").replace("mixtral_experts", "expert_choice_experts"));
  const r = await routing(bad);
  expect(r.code).toBe(1);
  expect(r.stderr).toContain("error[E0323]");
  expect(r.stdout).toContain("expert_choice_experts, 5 choose");
});

test("what does not fit is refused", async () => {
  await refused([mot, "--task", "tel"], "E0585", 2, /did you mean `tell`/);
  await refused([mot, "--layer", "9"], "E0585", 2, /no routed layer 9[^]*numbered 0 to 2/);
  await refused([plain, "--layer", "0"], "E0585", 2, /none of its layers is routed/);
  await refused([mot, "--length", "lines=3"], "E0585", 2, /did you mean `line`/);
  await refused([mot, "--length", "3000"], "E0586", 2, /at most 2048 are drawn/);
  await refused([mot, "--samples", "x"], "E0582", 2, /whole number from 1/);
  await refused([mot, "--head", "1"], "E0582", 2, /--head is for `heddle explain mask`/);
  await refused([words, "--data", "data", "--length", "3"], "E0582", 2, /--data gives real ones/);
  await refused([words, "--raw"], "E0582", 2, /--weights/);
  await refused([words, "--weights", "nowhere"], "E0580", 2, /no weights at `nowhere`/);
  await refused([mot, "--png", "no/such/r.png"], "E0512", 2, /folder does not exist/);
  const cost = await heddle(["explain", "cost", mot, "--weights", "x"], { cwd: place.dir });
  expect([cost.code, cost.stderr.includes("--weights is for `heddle explain routing`")]).toEqual([2, true]);
});

test("its help names its options", async () => {
  const r = await heddle(["explain", "--help"], { cwd: root });
  for (const o of ["--weights", "--data", "--samples", "--split", "--raw", "--seed"]) expect(r.stdout).toContain(o);
});
