// Checkpoints: complete or absent, damaged ones named, kills and full disks without loss.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

const disk = vi.hoisted(() => ({ full: undefined as number | undefined }));
vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof import("node:fs/promises")>();
  return {
    ...fs,
    open: async (path: string, flags: string) => {
      const file = await fs.open(path, flags);
      if (flags === "wx" && disk.full !== undefined && disk.full-- === 0) {
        vi.spyOn(file, "writeFile").mockRejectedValue(Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }));
      }
      return file;
    },
  };
});
const { listCheckpoints, openCheckpoint, readPart, saveCheckpoint } = await import("../../runtime/train/checkpoint.ts");
const { floatsOf } = await import("../../runtime/weights/numbers.ts");

let run: string;
beforeEach(() => {
  run = join(mkdtempSync(join(tmpdir(), "heddle-test-")), "run");
});
afterEach(() => {
  disk.full = undefined;
  rmSync(join(run, ".."), { recursive: true, force: true });
});

const content = (step: number, value = step) => ({
  step,
  state: { seed: 7, value },
  tensors: {
    weights: [{ name: "w", dtype: "F32" as const, shape: [2], data: Float32Array.of(value, 0.1) }],
    optimizer: [{ name: "m", dtype: "F32" as const, shape: [1], data: Float32Array.of(-value) }],
  },
});

describe("saving", () => {
  it("gives back the bits, newest first", async () => {
    await saveCheckpoint(run, content(2));
    await saveCheckpoint(run, content(10));
    const from = await openCheckpoint(run);
    expect(from.step).toBe(10);
    expect(from.state).toEqual({ seed: 7, value: 10 });
    expect(Object.keys(from.tensors)).toEqual(["weights", "optimizer"]);
    expect(floatsOf(from.tensors["weights"]!.tensors.get("w")!, "")).toEqual(Float32Array.of(10, 0.1));
    expect(readdirSync(run).sort()).toEqual(["step-000002", "step-000010"]);
    expect((await openCheckpoint(join(run, "step-000002"))).step).toBe(2);
  });

  it("sorts steps as numbers", async () => {
    for (const step of [999999, 1000000, 5]) await saveCheckpoint(run, content(step));
    expect((await listCheckpoints(run)).map((each) => each.step)).toEqual([1000000, 999999, 5]);
  });

  it("keeps the last ones", async () => {
    for (const step of [1, 2, 3, 4]) await saveCheckpoint(run, content(step), 2);
    expect(readdirSync(run).sort()).toEqual(["step-000003", "step-000004"]);
  });

  it("replaces a step saved again", async () => {
    await saveCheckpoint(run, content(1));
    await saveCheckpoint(run, content(3, 1));
    for (const value of [2, 3]) {
      await saveCheckpoint(run, content(3, value), 2);
      expect((await openCheckpoint(run)).state["value"]).toBe(value);
      expect(readdirSync(run)).toHaveLength(2);
    }
  });

  it("loses nothing when the disk fills at any file", async () => {
    await saveCheckpoint(run, content(1));
    for (const file of [0, 1, 2]) {
      disk.full = file;
      await expect(saveCheckpoint(run, content(2), 1)).rejects.toMatchObject({ code: "E0512", message: expect.stringMatching(/disk is full/) as string });
      disk.full = undefined;
      expect(readdirSync(run)).toEqual(["step-000001"]);
      expect((await openCheckpoint(run)).step).toBe(1);
    }
  });

  it("loses nothing when killed, and sweeps what was left", async () => {
    const script = join(run, "../saver.mjs");
    mkdirSync(run);
    await build({
      stdin: {
        contents: `import { saveCheckpoint } from "${join(import.meta.dirname, "../../runtime/train/checkpoint.ts")}";
          const from = Number(process.argv[2]); process.stdout.write("go");
          for (let step = from; ; step++) await saveCheckpoint(${JSON.stringify(run)}, { step, state: {}, tensors: { weights: [{ name: "w", dtype: "F32", shape: [100000], data: new Float32Array(100000).fill(step) }] } }, 3);`,
        resolveDir: run,
      },
      outfile: script, bundle: true, platform: "node", format: "esm", logLevel: "silent",
    });
    let last = 0;
    for (const wait of [15, 4, 31, 9, 22]) {
      const child = spawn(process.execPath, [script, String(last + 1)], { stdio: ["ignore", "pipe", "inherit"] });
      const closed = new Promise((done) => child.on("close", done));
      await new Promise((go) => child.stdout.once("data", go));
      await new Promise((go) => setTimeout(go, wait));
      child.kill("SIGKILL");
      await closed;
      const steps = (await listCheckpoints(run)).map((each) => each.step);
      for (const { path, step } of await listCheckpoints(run)) {
        const opened = await openCheckpoint(path);
        expect(floatsOf(opened.tensors["weights"]!.tensors.get("w")!, "")[99999]).toBe(step);
      }
      expect(steps[0] ?? 0).toBeGreaterThanOrEqual(last);
      last = steps[0] ?? last;
    }
    await saveCheckpoint(run, content(last + 1), 3);
    expect(readdirSync(run).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

describe("opening", () => {
  it("says that there is none", async () => {
    await expect(openCheckpoint(run)).rejects.toMatchObject({ code: "E0538", place: run });
    mkdirSync(run);
    mkdirSync(join(run, ".step-000009.1-aaaaaaaa.tmp"));
    await expect(openCheckpoint(run)).rejects.toMatchObject({ code: "E0538" });
  });

  const damages: [string, (path: string) => void, RegExp][] = [
    ["a file cut short", (path) => truncateSync(join(path, "weights.safetensors"), 20), /`weights.safetensors` has 20 bytes/],
    ["a flipped bit", (path) => {
      const file = join(path, "optimizer.safetensors");
      const bytes = readFileSync(file);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(file, bytes);
    }, /`optimizer.safetensors` is not what was saved/],
    ["a missing file", (path) => rmSync(join(path, "optimizer.safetensors")), /there is no file/],
    ["no state", (path) => rmSync(join(path, "state.json")), /there is no file/],
    ["a damaged state", (path) => writeFileSync(join(path, "state.json"), "{"), /not JSON/],
    ["an empty state", (path) => writeFileSync(join(path, "state.json"), "null"), /format undefined/],
    ["another format", (path) => writeFileSync(join(path, "state.json"), '{"format":99}'), /format 99/],
  ];
  it.each(damages)("reports %s and offers the one before", async (_, damage, message) => {
    await saveCheckpoint(run, content(1));
    await saveCheckpoint(run, content(2));
    damage(await saveCheckpoint(run, content(3)));
    const expected = { code: "E0537", place: join(run, "step-000003"), message: expect.stringMatching(message) as string, help: `resume from the one before it: \`--resume ${join(run, "step-000002")}\`` };
    await expect(openCheckpoint(run)).rejects.toMatchObject(expected);
    await expect(openCheckpoint(join(run, "step-000003"))).rejects.toMatchObject(expected);
    damage(join(run, "step-000002"));
    await expect(openCheckpoint(run)).rejects.toMatchObject({ help: expect.stringContaining("step-000001") as string });
    damage(join(run, "step-000001"));
    await expect(openCheckpoint(run)).rejects.toMatchObject({ help: expect.stringContaining("train again") as string });
    expect(existsSync(join(run, "step-000003"))).toBe(true);
  });

  it("reads one file alone, and refuses it where it is not what was saved", async () => {
    const path = await saveCheckpoint(run, content(1));
    const bytes = readFileSync(join(path, "weights.safetensors"));
    expect(Buffer.compare(await readPart(path, "weights"), bytes)).toBe(0);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(join(path, "weights.safetensors"), bytes);
    await expect(readPart(path, "weights")).rejects.toMatchObject({ code: "E0537", place: path });
    expect((await readPart(path, "optimizer")).length).toBeGreaterThan(0);
    writeFileSync(join(path, "state.json"), "{");
    await expect(readPart(path, "optimizer")).rejects.toMatchObject({ code: "E0537" });
  });
});
