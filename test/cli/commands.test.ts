// check, fmt, explain, doctor: what they print, where, and with which exit code; and what they say to what is wrong.

import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { codes } from "../../grammar/codes.ts";
import { readPng } from "../../cli/fields.ts";
import { heddle, PICTURES, root, scratch, WORDS } from "./heddle.ts";

// Each test starts processes; a busy machine is slow at that.
vi.setConfig({ testTimeout: 180_000 });
const place = scratch();
afterAll(() => place.remove());
const words = place.file("words.heddle", WORDS);
const pictures = place.file("pictures.heddle", PICTURES);
const version = (JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { version: string }).version;

/** A refusal: the code, no stack, and the exit code. */
async function refused(args: readonly string[], code: string, exit: number, words: RegExp = /./): Promise<void> {
  const r = await heddle(args, { cwd: place.dir });
  expect(r.stderr).toContain(`error[${code}]`);
  expect(r.stderr).toMatch(words);
  expect(r.stderr).not.toMatch(/\n\s+at .*:\d+:\d+|bug\[/);
  expect(r.code).toBe(exit);
  expect(r.stdout).toBe("");
}

describe("help", () => {
  test("is there for every command, on stdout, with exit code 0", async () => {
    const top = await heddle(["--help"]);
    expect(top.code).toBe(0);
    const commands = ["check", "fmt", "explain", "build", "run", "generate", "train", "doctor"];
    for (const c of commands) expect(top.stdout).toMatch(new RegExp(`^  ${c}\\b`, "m"));
    const each = await Promise.all(commands.map((c) => heddle([c, "--help"])));
    for (const [i, r] of each.entries()) {
      expect(r.code).toBe(0);
      expect(r.stdout).toContain(`Usage: heddle ${commands[i] ?? ""}`);
    }
  });

  test("says its version, and what is wrong with a command line", async () => {
    expect((await heddle(["--version"])).stdout.trim()).toBe(version);
    for (const wrong of [["chekc"], ["check"], ["check", words, "--colour"], ["train", words]]) {
      const r = await heddle(wrong);
      expect(r.code, wrong.join(" ")).toBe(2);
      expect(r.stderr).toContain("--help");
    }
  });
});

describe("check", () => {
  test("describes what a spec declares", async () => {
    const r = await heddle(["check", words, pictures]);
    expect(r.code).toBe(0);
    expect(r.stderr).toBe("");
    expect(r.stdout).toMatch(/model words: [\d,]+ parameters, width 8, tasks say\n/);
    expect(r.stdout).toMatch(/model pictures: [\d,]+ parameters, width 8, tasks draw, describe\n/);
  });

  test("as JSON gives models and diagnostics", async () => {
    const bad = place.file("bad.heddle", WORDS.replace("linear(d, d)", "liner(d, d)").replace("mask = causal", "mask = casual"));
    const r = await heddle(["check", words, bad, "--json"]);
    expect(r.code).toBe(1);
    const [good, wrong] = JSON.parse(r.stdout) as { file: string; models: { name: string; tasks: string[] }[]; diagnostics: { code: string; help: string | null; fixes: unknown[]; labels: { span: { path: string; from: { line: number } } }[] }[] }[];
    expect(good).toMatchObject({ file: words, diagnostics: [], models: [{ name: "words", tasks: ["say"], notBuilt: 0 }] });
    expect(wrong?.diagnostics.length).toBe(2);
    expect(wrong?.diagnostics.map((d) => d.labels[0]?.span.from.line).sort()).toEqual([6, 7]);
    expect(wrong?.diagnostics.every((d) => d.labels[0]?.span.path === bad)).toBe(true);
  });

  test("reports every error of a file in one run, with line, column and help, in plain text", async () => {
    const bad = place.file("bad2.heddle", WORDS.replace("linear(d, d)", "liner(d, d)").replace("mask = causal", "mask = casual"));
    const r = await heddle(["check", bad]);
    expect(r.code).toBe(1);
    expect(r.stderr).toMatch(/bad2\.heddle:6:\d+/);
    expect(r.stderr).toMatch(/bad2\.heddle:7:\d+/);
    expect(r.stderr).toMatch(/`?linear`?/);
    expect(r.stderr).toMatch(/2 errors/);
    expect(r.stderr.split("2 errors").length, "the summary is said once").toBe(2);
    expect(r.stderr).not.toContain("\u001b[");
    expect((await heddle(["check", bad], { env: { FORCE_COLOR: "1" } })).stderr).toContain("\u001b[");
    expect((await heddle(["check", bad], { env: { FORCE_COLOR: "1", NO_COLOR: "1" } })).stderr).not.toContain("\u001b[");
  });

  test("reports every syntax error of a file in one run", async () => {
    const bad = place.file("syntax.heddle", "model a(d: axis = 8 {\n  tokens text = bytes(\n}\nlayer b() { forward x = = x }\nmodel c { mix ++ }\n");
    const r = await heddle(["check", bad]);
    expect(r.code).toBe(1);
    expect([...r.stderr.matchAll(/error\[E01\d\d\]/g)].length).toBeGreaterThanOrEqual(3);
  });

  test("survives anything a file can hold", async () => {
    const files = ["", "\0\0\0", "\ufeffmodel", "🙂".repeat(50), "{".repeat(2000), "model m { mask = ".repeat(40), String.fromCharCode(...Array.from({ length: 200 }, (_, i) => (i * 7919) % 256))].map((t, i) => place.file(`odd${i}.heddle`, t));
    const r = await heddle(["check", ...files]);
    expect(r.code).toBe(1);
    expect(r.stderr).not.toMatch(/bug\[|\n\s+at .*:\d+:\d+/);
  });

  test("refuses a missing file and a folder", async () => {
    await refused(["check", "nowhere.heddle"], "E0580", 2, /does not exist/);
    await refused(["check", place.dir], "E0580", 2, /is a folder/);
  });
});

describe("fmt", () => {
  test("writes the canonical form in place, once", async () => {
    const file = place.file("loose.heddle", "// kept\nmodel   a( d :axis=8 ){\n\n\n mask=causal // kept too\n}\n");
    expect((await heddle(["fmt", "--check", file])).code).toBe(1);
    expect(readFileSync(file, "utf8")).toContain("model   a(");
    const r = await heddle(["fmt", file]);
    expect(r.code).toBe(0);
    const once = readFileSync(file, "utf8");
    expect(once).toMatch(/^\/\/ kept\nmodel a\(d: axis = 8\) \{\n {2}mask = causal *\/\/ kept too\n\}\n$/);
    const again = await heddle(["fmt", file]);
    expect(again.stdout).toBe("");
    expect((await heddle(["fmt", "--check", file])).code).toBe(0);
    expect(readFileSync(file, "utf8")).toBe(once);
  });

  test("passes stdin through, and leaves a broken file alone", async () => {
    const r = await heddle(["fmt", "-"], { input: "model a{mask=causal}" });
    expect(r.code).toBe(0);
    expect(r.stdout).toContain("mask = causal");
    const broken = place.file("broken.heddle", "model a { mask = = }\n");
    const b = await heddle(["fmt", broken]);
    expect(b.code).toBe(1);
    expect(b.stderr).toContain("error[E01");
    expect(readFileSync(broken, "utf8")).toBe("model a { mask = = }\n");
  });
});

describe("explain", () => {
  test("prints the page of a code", async () => {
    const page = readFileSync(path.join(root, "docs/errors/E0530.md"), "utf8");
    expect((await heddle(["explain", "E0530"])).stdout).toBe(page);
    expect((await heddle(["explain", "e0530"])).stdout).toBe(page);
    expect(JSON.parse((await heddle(["explain", "E0530", "--json"])).stdout)).toEqual({ code: "E0530", page });
    expect(codes.E0530.title).toBe("no data folder");
  });

  test("refuses what it does not know", async () => {
    await refused(["explain", "E9999"], "E0582", 2, /no code E9999/);
    await refused(["explain", "memry", words], "E0582", 2, /memory/);
    await refused(["explain", "memory"], "E0582", 2, /needs a spec/);
    await refused(["explain", "graph", words, "--pass", "nothing"], "E0582", 2, /rewrite/);
    await refused(["explain", "graph", words, "--program", "nothing"], "E0582", 2, /grad/);
    await refused(["explain", "memory", words, "--batch", "0"], "E0582", 2);
    await refused(["explain", "memory", words, "--target", "cuda"], "E0582", 2, /guaranteed/);
    await refused(["explain", "memory", words, "--model", "worlds"], "E0581", 2, /words/);
  });

  test("shows masks, memory, cost, cache, parameters, graphs, kernels and WGSL", async () => {
    const say = async (...args: string[]): Promise<string> => {
      const r = await heddle(["explain", ...args, "--target", "software"]);
      expect(r.stderr).toBe("");
      expect(r.code).toBe(0);
      return r.stdout;
    };
    expect(await say("memory", pictures)).toMatch(/grad: peak [\d.]+ MiB/);
    expect(await say("cost", pictures)).toMatch(/grad: \d+ dispatches of \d+ kernels/);
    expect(await say("cache", pictures)).toMatch(/can be kept/);
    expect(await say("parameters", pictures)).toMatch(/^body\.w +\[/m);
    expect(await say("mask", path.join(root, "examples/digits/digits.heddle"))).toMatch(/task draw: all heads of layers 0-2\n(.*\n)+.*pairs/);
    expect(await say("graph", pictures, "--program", "step")).toMatch(/^graph step/m);
    expect(await say("kernels", pictures, "--program", "step", "--pass", "fuse")).toMatch(/step after fuse/);
    expect(await say("wgsl", pictures, "--program", "apply")).toMatch(/@compute/);
    const json = JSON.parse(await say("cost", pictures, "--json", "--batch", "2", "--tokens", "32")) as { lengths: Record<string, number>; programs: { program: string; peakBytes: number }[] };
    expect(json.lengths).toMatchObject({ batch: 2, t: 32 });
    expect(json.programs.map((p) => p.program)).toEqual(["grad", "apply", "step", "denoise"]);
    expect(json.programs.every((p) => p.peakBytes > 0)).toBe(true);
  });

  test("gives a slow reader all of it, beyond what a pipe holds", async () => {
    const args = ["explain", "kernels", pictures, "--program", "grad", "--target", "software"];
    const whole = await heddle(args);
    expect(whole.stdout.length).toBeGreaterThan(2 * 65536);
    const command = [process.execPath, path.join(root, "dist/cli/main.js"), ...args].map((a) => `"${a}"`).join(" ");
    expect(Number(execFileSync("sh", ["-c", `${command} | (sleep 2; wc -c)`], { encoding: "utf8" }))).toBe(whole.stdout.length);
  });

  test("ends quietly when its reader goes away", async () => {
    const r = await heddle(["explain", "wgsl", pictures, "--target", "software"], { watch: (_, child) => child.stdout?.destroy() });
    expect(r.code).toBe(0);
    expect(r.stderr).toBe("");
  });
});

describe("doctor", () => {
  test("describes the adapter, and says what is wrong with a name no adapter has", async () => {
    const r = await heddle(["doctor", "--json"]);
    expect(r.code).toBe(0);
    expect(JSON.parse(r.stdout)).toMatchObject({ problems: expect.any(Array) as unknown });
    const wrong = await heddle(["doctor"], { env: { HEDDLE_ADAPTER: "no-such-adapter" } });
    expect(wrong.code).toBe(1);
    expect(wrong.stdout + wrong.stderr).toMatch(/no-such-adapter/);
  });
});

test("the command works through a link, as npm installs it", async () => {
  const link = path.join(place.dir, "heddle-link.js");
  symlinkSync(path.join(root, "dist/cli/main.js"), link);
  const { execFileSync } = await import("node:child_process");
  expect(execFileSync(process.execPath, [link, "--version"], { encoding: "utf8" }).trim()).toBe(version);
});

describe("generate and run", () => {
  test("refuse what they cannot do before anything slow begins", async () => {
    const run = (...more: string[]): string[] => ["generate", pictures, "draw", "caption=a", "--weights", "none", ...more];
    await refused(run("-n", "0"), "E0582", 2, /whole number from 1/);
    await refused(run("-o", "nowhere/a.png"), "E0512", 2, /folder does not exist/);
  });

  test("say of an image that it is not there, and of another that it is no PNG", () => {
    expect(() => readPng(path.join(place.dir, "gone.png"), 1)).toThrow(/^there is no image/);
    expect(() => readPng(place.dir, 1)).toThrow(/cannot be read: /);
    expect(() => readPng(words, 1)).toThrow(/is not a PNG/);
  });
});
