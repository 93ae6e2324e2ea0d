// heddle train, as people interrupt it: exact resume, Ctrl-C, kill -9 while saving, a full disk, a damaged checkpoint; and bad input
// of every kind, refused before anything is lost. Small models, so that a run takes seconds on a software adapter.

import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { listCheckpoints, openCheckpoint } from "../../runtime/train/checkpoint.ts";
import { heddle, PICTURES, type Ran, scratch, WORDS, writeData } from "./heddle.ts";

const place = scratch();
afterAll(() => place.remove());
const words = place.file("words.heddle", WORDS);
const pictures = place.file("pictures.heddle", PICTURES);
const data = writeData(path.join(place.dir, "data"));
const at = (name: string): string => path.join(place.dir, name);
const TIMEOUT = { timeout: 120_000 };

const train = (spec: string, out: string, ...more: string[]): Promise<Ran> => heddle(["train", spec, "--data", data, "--out", at(out), ...more]);
const done = (r: Ran): Ran => {
  expect(r.stderr).not.toMatch(/bug\[|error\[/);
  expect(r.code).toBe(0);
  return r;
};
const bytes = (run: string, step: number, part: string): Buffer => readFileSync(path.join(at(run), `step-${String(step).padStart(6, "0")}`, `${part}.safetensors`));
const metrics = (run: string): Record<string, unknown>[] =>
  readFileSync(path.join(at(run), "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("a run", () => {
  test("that is resumed has the same bits as one that never stopped", TIMEOUT, async () => {
    const whole = done(await train(pictures, "whole", "--json"));
    done(await train(pictures, "halves", "--until", "3"));
    expect(readdirSync(at("halves")).sort()).toEqual(["metrics.jsonl", "step-000003"]);
    done(await train(pictures, "halves", "--resume"));
    for (const part of ["weights", "optimizer", "ema"]) expect(bytes("halves", 6, part).equals(bytes("whole", 6, part)), part).toBe(true);
    expect(bytes("whole", 6, "ema").equals(bytes("whole", 6, "weights"))).toBe(false);
    const timeless = (run: string): unknown => metrics(run).map(({ seconds, ...rest }) => (expect(seconds).toBeGreaterThan(0), rest));
    expect(timeless("halves")).toEqual(timeless("whole"));
    // --json says the same on stdout
    expect(whole.stdout.trim().split("\n").map((l) => JSON.parse(l) as unknown)).toEqual(metrics("whole"));
    expect(metrics("whole").map((m) => m.step)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(metrics("whole").every((m) => Number.isFinite(m.loss) && (m.grad_norm as number) > 0)).toBe(true);
    // another seed gives other weights, so equal bits say something
    done(await train(words, "seeded", "--until", "1"));
    done(await train(words, "seeded2", "--until", "1", "--seed", "2"));
    expect(bytes("seeded", 1, "weights").equals(bytes("seeded2", 1, "weights"))).toBe(false);
  });

  test("accumulates micro-batches, and resumes them too", TIMEOUT, async () => {
    const flags = ["--accumulate", "2", "--steps", "4"];
    done(await train(words, "acc", ...flags));
    done(await train(words, "acc2", ...flags, "--until", "2"));
    done(await train(words, "acc2", ...flags, "--resume"));
    expect(bytes("acc2", 4, "weights").equals(bytes("acc", 4, "weights"))).toBe(true);
    expect(metrics("acc").map((m) => m.samples)).toEqual([2, 2, 2, 2]);
  });

  test("saves at Ctrl-C and says how it ended; going on loses nothing", TIMEOUT, async () => {
    let sent = false;
    const r = await heddle(["train", words, "--data", data, "--out", at("stopped"), "--steps", "100000", "--save-every", "0", "--json"], {
      watch: (said, child) => {
        if (sent || !said.includes('"step":3,')) return;
        sent = true;
        child.kill("SIGINT");
      },
    });
    expect(r.code).toBe(130);
    expect(r.stderr).toMatch(/saving before stopping/);
    expect(r.stderr).not.toContain("bug[");
    const [saved] = await listCheckpoints(at("stopped"));
    expect(saved?.step).toBeGreaterThanOrEqual(3);
    expect(saved?.step).toBe(metrics("stopped").at(-1)?.step);
    const next = (saved?.step ?? 0) + 1;
    done(await train(words, "stopped", "--steps", "100000", "--resume", "--until", String(next)));
    expect(metrics("stopped").map((m) => m.step)).toEqual(Array.from({ length: next }, (_, i) => i + 1));
  });

  test("killed while it saves keeps every checkpoint that was complete", TIMEOUT, async () => {
    let hunter: NodeJS.Timeout | undefined;
    const r = await heddle(["train", words, "--data", data, "--out", at("killed"), "--steps", "100000", "--save-every", "1", "--keep", "3", "--json"], {
      watch: (said, child) => {
        // From the fourth step on, the first look that finds a half-written checkpoint kills.
        if (said.includes('"step":4,')) hunter ??= setInterval(() => readdirSync(at("killed")).some((n) => n.endsWith(".tmp")) && child.kill("SIGKILL"), 1);
      },
    });
    clearInterval(hunter);
    expect(r.signal).toBe("SIGKILL");
    const kept = await listCheckpoints(at("killed"));
    expect(kept.length).toBeGreaterThanOrEqual(1);
    for (const c of kept) expect((await openCheckpoint(c.path)).step).toBe(c.step);
    const next = (kept[0]?.step ?? 0) + 1;
    done(await train(words, "killed", "--steps", "100000", "--resume", "--until", String(next)));
    expect(readdirSync(at("killed")).filter((n) => n.endsWith(".tmp"))).toEqual([]);
    expect(bytes("killed", next, "weights").length).toBeGreaterThan(100);
  });

  test("on a disk that fills up stops with a clear error, and what was saved is sound", TIMEOUT, async () => {
    // The second checkpoint's optimizer does not fit.
    const fault = place.file(
      "fault.mjs",
      `import fs from "node:fs/promises";
       import { syncBuiltinESMExports } from "node:module";
       const open = fs.open;
       fs.open = async (file, ...rest) => {
         const handle = await open(file, ...rest);
         if (/step-000004.*optimizer/.test(String(file))) handle.writeFile = async () => { throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }); };
         return handle;
       };
       syncBuiltinESMExports();`,
    );
    const r = await heddle(["train", words, "--data", data, "--out", at("full"), "--save-every", "2"], { node: ["--import", pathToFileURL(fault).href] });
    expect(r.code).toBe(1);
    expect(r.stderr).toMatch(/error\[E0512\].*the disk is full/);
    expect(r.stderr).toContain("what was saved before is intact");
    expect(r.stderr).not.toMatch(/\n\s+at .*:\d+:\d+/);
    expect(readdirSync(at("full")).sort()).toEqual(["metrics.jsonl", "step-000002"]);
    done(await train(words, "full", "--resume"));
    expect(existsSync(path.join(at("full"), "step-000006"))).toBe(true);
  });
});

describe("going on", () => {
  test("refuses a damaged checkpoint, offers the one before, other settings and a folder in use", TIMEOUT, async () => {
    done(await train(words, "run", "--save-every", "3"));
    const newest = path.join(at("run"), "step-000006");
    const before = await train(words, "run");
    expect(before.code).toBe(2);
    expect(before.stderr).toContain("error[E0584]");
    const other = await train(words, "run", "--resume", "--lr", "0.5");
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/error\[E0539\].*train/);
    truncateSync(path.join(newest, "weights.safetensors"), 1000);
    const damaged = await train(words, "run", "--resume");
    expect(damaged.code).toBe(1);
    expect(damaged.stderr).toMatch(/error\[E0537\].*damaged/);
    expect(damaged.stderr).toContain(`--resume ${path.join(at("run"), "step-000003")}`);
    done(await train(words, "run", "--resume", path.join(at("run"), "step-000003")));
    const empty = await train(words, "nothing-here", "--resume");
    expect(empty.code).toBe(1);
    expect(empty.stderr).toContain("error[E0538]");
  });
});

describe("bad input", () => {
  const refused = async (code: string, exit: number, args: readonly string[], says: RegExp): Promise<void> => {
    const r = await heddle(["train", ...args, "--out", at("never")]);
    expect(r.stderr).toContain(`error[${code}]`);
    expect(r.stderr).toMatch(says);
    expect(r.stderr).not.toMatch(/bug\[|\n\s+at .*:\d+:\d+/);
    expect(r.code).toBe(exit);
    expect(existsSync(at("never")), "nothing is made").toBe(false);
  };

  test("in the options", async () => {
    await refused("E0580", 2, [at("none.heddle"), "--data", data], /none\.heddle/);
    await refused("E0582", 2, [words, "--data", data, "--batch", "0"], /whole number from 1/);
    await refused("E0582", 2, [words, "--data", data, "--steps", "many"], /`many`/);
    await refused("E0582", 2, [words, "--data", data, "--lr", "-1"], /`-1`/);
  });

  test("in the data", TIMEOUT, async () => {
    await refused("E0530", 1, [words, "--data", at("nowhere")], /nowhere/);
    await refused("E0530", 1, [words, "--data", words], /is a file/);
    const bare = writeData(at("bare"));
    const { rmSync } = await import("node:fs");
    rmSync(path.join(bare, "captions.jsonl"));
    await refused("E0530", 1, [words, "--data", bare], /text\.jsonl/);
    await refused("E0530", 1, [pictures, "--data", bare], /captions\.jsonl/);
    await refused("E0535", 1, [pictures, "--data", writeData(at("large"), { size: 6 })], /6 x 6, but the model takes 4 x 4/);
    await refused("E0531", 1, [words, "--data", writeData(at("broken"), { lines: ['{"image": "0.png", "caption": "a"}', "{oops"] })], /captions\.jsonl:2/);
    await refused("E0532", 1, [words, "--data", data, "--split", "test"], /train/);
    await refused("E0534", 1, [words, "--data", writeData(at("gone"), { count: 1, lines: ['{"image": "7.png", "caption": "a"}'] })], /7\.png/);
    const numbers = place.file("numbers.heddle", WORDS.replace("bytes()", "ids(12)"));
    await refused("E0521", 1, [numbers, "--data", data], /captions\.jsonl:1/);
  });

  test("in a mask that only the data can judge", TIMEOUT, async () => {
    const long = writeData(at("long"), { lines: ['{"image": "0.png", "caption": "number of numbers"}', '{"image": "1.png", "caption": "two"}'] });
    const spec = (mask: string): string =>
      WORDS.replace("mask = causal", `mask = mine\n  mask mine(q, k) = ${mask}`).replace("body = linear(d, d)", "body = attention(d, 2, mask)")
        .replace("task say(caption: text) = <bos>", "task say(hint: text, caption: text) = <bos> given text(hint) <sep>").replace("use std.layers { linear }", "");
    // Words look ahead from the tenth on, which no short sample shows: the run ends before its first step.
    const leaks = await heddle(["train", place.file("leaks.heddle", spec("k.pos <= q.pos | k.pos == q.pos + 1 & q.index * 300 >= 3000")), "--data", long, "--out", at("leaks")]);
    expect(leaks.stderr).toMatch(/this batch shows of the masks:\s+error\[E0321\]: in task `say`/);
    expect(leaks.code).toBe(1);
    expect(readdirSync(at("leaks"))).toEqual(["metrics.jsonl"]);
    expect(readFileSync(path.join(at("leaks"), "metrics.jsonl"), "utf8")).toBe("");
    // From the tenth on they see nothing, which is defined: said once, and the run goes on.
    const lone = place.file("lone.heddle", spec("k.pos <= q.pos & (q.index * 300 < 3000 | k.index > q.index)"));
    const ran = await heddle(["train", lone, "--data", long, "--out", at("lone"), "--until", "2"]);
    expect(ran.code).toBe(0);
    expect(ran.stderr.split("warning[W0604]")).toHaveLength(2);
    const said = await heddle(["generate", lone, "say", "hint=a question of words", "--weights", at("lone")]);
    expect(said.stderr).toMatch(/warning\[W0604\]: in task `say`, `hint\[10\]` attends to nothing/);
    expect(said.code).toBe(0);
  });

  test("in the spec", async () => {
    const bad = place.file("wrong.heddle", WORDS.replace("linear(d, d)", "liner(d, d)"));
    const r = await heddle(["train", bad, "--data", data, "--out", at("never")]);
    expect(r.code).toBe(1);
    expect(r.stderr).toMatch(/wrong\.heddle:7/);
    expect(existsSync(at("never"))).toBe(false);
    writeFileSync(bad, WORDS);
    const none = await heddle(["train", bad, "--data", data, "--model", "worlds", "--out", at("never")]);
    expect(none.code).toBe(2);
    expect(none.stderr).toMatch(/error\[E0581\][\s\S]*words/);
  });
});
