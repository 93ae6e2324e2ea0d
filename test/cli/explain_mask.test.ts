// heddle explain mask: what it prints, what it writes, what it refuses, and with which exit code.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { decode } from "fast-png";
import { afterAll, expect, test, vi } from "vitest";
import { heddle, root, scratch } from "./heddle.ts";

// Each test starts processes; a busy machine is slow at that.
vi.setConfig({ testTimeout: 180_000 });
const place = scratch();
afterAll(() => place.remove());
const digits = path.join(root, "examples/digits/digits.heddle");
const heads = place.file("heads.heddle", `use std.blocks { decoder_block }
mask near(q, k) = k.pos <= q.pos & (head == 0 | q.pos - k.pos < 2)
model m(d: axis = 8) {
  tokens text = bytes()
  task say(caption: text) = <bos> predict text(caption) <eos>
  task tell(question: text, reply: text) = <bos> given text(question) <sep> predict text(reply) <eos>
  mask = near
  body = stack(2) decoder_block(d, 2, mask)
  loss = next_token(text)
  sample text = greedy()
}
`);
const mask = (...args: string[]) => heddle(["explain", "mask", ...args], { cwd: place.dir });

async function refused(args: readonly string[], code: string, exit: number, words: RegExp): Promise<void> {
  const r = await mask(...args);
  expect(r.stderr).toContain(`error[${code}]`);
  expect(r.stderr).toMatch(words);
  expect(r.stderr).not.toMatch(/\n\s+at .*:\d+:\d+|bug\[/);
  expect(r.code).toBe(exit);
  expect(r.stdout).toBe("");
}

interface Shape {
  kind: string;
  version: number;
  model: string;
  tasks: { task: string; pictures: { layers: number[]; heads: number[] | "all"; mask: string; tokens: { label: string; attributes: Record<string, number> }[]; visible: string[]; tile: { empty: number; full: number; mixed: number }; pairs: { all: number; visible: number } }[] }[];
  cache: { sound: boolean; reason: string | null };
}

test("its help names its options", async () => {
  const r = await heddle(["explain", "--help"]);
  expect(r.code).toBe(0);
  for (const o of ["--task", "--layer", "--head", "--length", "--documents", "--padding", "--tile", "--mask", "--svg", "--png", "--json"]) expect(r.stdout).toContain(o);
});

test("draws every task in plain ASCII to a pipe, and says what is skipped and what may be kept", async () => {
  const r = await mask(digits);
  expect(r.code).toBe(0);
  expect(r.stderr).toBe("");
  expect(r.stdout).toMatch(/^[\x20-\x7e\n]*$/);
  for (const part of ["digits, task draw: all heads of layers 0-2\n", "digits, task describe:", "mask causal | within(image)\n", "  caption    0  # # . ", "  picture* 0,0  # # ", "% empty", "saved\n", "Keys and values can be kept"]) expect(r.stdout).toContain(part);
});

test("draws one task, one layer, one head", async () => {
  const r = await mask(heads, "--task", "tell", "--layer", "1", "--head", "1", "--length", "reply=2", "--length", "3");
  expect(r.code).toBe(0);
  expect(r.stdout.match(/task \w+: .*/g)).toEqual(["task tell: head 1 of layer 1"]);
  expect(r.stdout.match(/^ {2}\S.* {2}[#.]/gm)?.length).toBe(1 + 1 + 1 + 1 + 1);
  expect(r.stdout).toContain("           2  . . # # . . . .\n");
});

test("as JSON: what is drawn, with its version", async () => {
  const r = await mask(heads, "--json", "--task", "say", "--length", "3", "--documents", "2", "--padding", "1", "--tile", "5");
  expect(r.code).toBe(0);
  const report = JSON.parse(r.stdout) as Shape;
  expect(report).toMatchObject({ kind: "heddle.mask", version: 1, model: "m", cache: { sound: true, reason: null } });
  expect(report.tasks.map((t) => t.task)).toEqual(["say"]);
  expect(report.tasks[0]?.pictures.map((p) => [p.layers, p.heads, p.mask])).toEqual([[[0, 1], [0], "near"], [[0, 1], [1], "near"]]);
  for (const p of report.tasks[0]?.pictures ?? []) {
    expect(p.tokens.map((t) => t.label)).toEqual(["<bos>", "caption[0]", "caption[1]", "caption[2]", "<eos>", "<bos>", "caption[0]", "caption[1]", "caption[2]", "<eos>", "pad[0]"]);
    expect(p.visible.length).toBe(11);
    expect(p.tile.empty + p.tile.full + p.tile.mixed).toBe(9);
    expect(p.pairs).toEqual({ all: 121, visible: [...p.visible.join("")].filter((c) => c === "1").length });
    expect(Object.keys(p.tokens[0]?.attributes ?? {})).toEqual(expect.arrayContaining(["pos", "doc", "span", "index", "stream", "task", "role", "row", "col", "frame", "scale", "time"]));
  }
});

test("writes SVG and PNG whole, or to stdout", async () => {
  const r = await mask(digits, "--task", "draw", "--svg", "m.svg", "--png", "m.png");
  expect(r.code).toBe(0);
  expect(r.stdout).toBe("");
  expect(r.stderr).toBe("wrote m.svg\nwrote m.png\n");
  const svg = readFileSync(path.join(place.dir, "m.svg"), "utf8");
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  const png = decode(readFileSync(path.join(place.dir, "m.png")));
  expect([png.width, png.channels]).toEqual([2 * Number(/width="(\d+)"/.exec(svg)?.[1]), 3]);
  const piped = await mask(digits, "--task", "draw", "--svg", "-");
  expect(piped.stdout).toBe(svg);
  expect(piped.stderr).toBe("");
  expect(readdirSync(place.dir).filter((f) => f.endsWith(".tmp"))).toEqual([]);
});

test("--mask draws another mask in the words of the spec, and says what is wrong with it", async () => {
  const fine = await mask(digits, "--task", "draw", "--mask", "causal & q.pos - k.pos < 3 | within(image)");
  expect(fine.code).toBe(0);
  expect(fine.stderr).toBe("");
  expect(fine.stdout).toContain("mask causal & q.pos - k.pos < 3 | within(image)\n");
  expect(fine.stdout).toContain("             5  . . . . # # # . ");
  const leak = await mask(digits, "--task", "draw", "--mask", "causal | q.pos - k.pos < 4");
  expect(leak.code).toBe(1);
  expect(leak.stderr).toMatch(/error\[E0321\].*\n\s+--> --mask:1:\d+/);
  expect(leak.stdout).toContain("  <bos>         # # # # # ");
  expect(leak.stdout).toContain("Nothing can be kept");
  await refused([digits, "--mask", "causl"], "E0201", 1, /--mask:1:1[^]*did you mean `causal`/);
  await refused([digits, "--mask", "causal & 3"], "E0219", 1, /--mask:1:/);
  await refused([digits, "--mask", ""], "E0587", 2, /one expression/);
  await refused([digits, "--mask", "full\nmask more(q, k) = true"], "E0587", 2, /one expression/);
});

test("a spec whose mask is wrong is drawn all the same", async () => {
  const wrong = place.file("wrong.heddle", readFileSync(heads, "utf8").replace("mask = near", "mask = full").replace(/^mask near.*\n/m, ""));
  const r = await mask(wrong, "--task", "say");
  expect(r.code).toBe(1);
  expect(r.stderr).toContain("error[E0321]");
  expect(r.stdout).toContain("  <bos>       # # # # # # # #");
});

test("refuses what the model does not have, and says what it has", async () => {
  await refused([digits, "--task", "darw"], "E0585", 2, /did you mean `draw`/);
  await refused([digits, "--task", "x"], "E0585", 2, /its tasks are draw, describe/);
  await refused([digits, "--layer", "3"], "E0585", 2, /numbered 0 to 2/);
  await refused([digits, "--head", "4"], "E0585", 2, /numbered 0 to 3/);
  await refused([digits, "--length", "capton=3"], "E0585", 2, /did you mean `caption`/);
  await refused([digits, "--length", "4000"], "E0586", 2, /at most 2048/);
  for (const [option, value] of [["--length", "0"], ["--length", "caption=x"], ["--documents", "0"], ["--padding", "-1"], ["--tile", "1.5"], ["--layer", "one"]] as const) await refused([digits, option, value], "E0582", 2, /whole number/);
  await refused([digits, "--svg", "no/such/folder/m.svg"], "E0512", 2, /folder/);
  await refused([digits, "--svg", place.dir], "E0512", 1, /cannot write/);
  await refused([digits, "--svg", "-", "--json"], "E0582", 2, /stdout/);
  await refused(["gone.heddle"], "E0580", 2, /does not exist/);
  const other = await heddle(["explain", "cost", digits, "--svg", "x.svg"], { cwd: place.dir });
  expect([other.code, other.stdout, other.stderr.includes("--svg is for `heddle explain mask`")]).toEqual([2, "", true]);
  expect(existsSync(path.join(place.dir, "x.svg"))).toBe(false);
});
