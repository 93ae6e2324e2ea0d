// Atomic files: what a full disk, a refusal or a kill leaves behind.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

const disk = vi.hoisted(() => ({ failAfter: undefined as { code: string; call: "writeFile" | "sync" | "rename" } | undefined }));
vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof import("node:fs/promises")>();
  const fail = (code: string) => Object.assign(new Error(`${code}: simulated`), { code });
  return {
    ...fs,
    rename: async (from: string, to: string) => {
      if (disk.failAfter?.call === "rename") throw fail(disk.failAfter.code);
      return fs.rename(from, to);
    },
    open: async (path: string, flags: string) => {
      const file = await fs.open(path, flags);
      if (disk.failAfter === undefined || disk.failAfter.call === "rename") return file;
      const { code, call } = disk.failAfter;
      vi.spyOn(file, call).mockImplementation(async () => {
        await file.write("half"); // some of it reached the disk
        throw fail(code);
      });
      return file;
    },
  };
});
const { readBytes, readSafetensors, saveSafetensors, writeAtomically } = await import("../../runtime/weights/file.ts");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-test-"));
});
afterEach(() => {
  disk.failAfter = undefined;
  rmSync(folder, { recursive: true, force: true });
});

describe("writing", () => {
  it("replaces the file and leaves nothing else", async () => {
    const path = join(folder, "w.safetensors");
    for (const value of [1, 2]) await saveSafetensors(path, [{ name: "w", dtype: "F32", shape: [1], data: Float32Array.of(value) }], { step: String(value) });
    expect((await readSafetensors(path)).metadata).toEqual({ step: "2" });
    expect(readdirSync(folder)).toEqual(["w.safetensors"]);
  });

  it.each([["ENOSPC", "writeFile", /disk is full/], ["EDQUOT", "sync", /quota/], ["EIO", "writeFile", /EIO/], ["EACCES", "rename", /may not be written/]] as const)("keeps the old file on %s", async (code, call, message) => {
    const path = join(folder, "w");
    writeFileSync(path, "old");
    disk.failAfter = { code, call };
    await expect(writeAtomically(path, "new")).rejects.toMatchObject({ code: "E0512", place: path, message: expect.stringMatching(message) as string });
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["w"]);
  });

  it("names the remedy for a full disk", async () => {
    disk.failAfter = { code: "ENOSPC", call: "writeFile" };
    await expect(writeAtomically(join(folder, "w"), "new")).rejects.toMatchObject({ help: expect.stringMatching(/free some space/) as string });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("says that the folder is missing, or that a folder has the name", async () => {
    await expect(writeAtomically(join(folder, "no", "w"), "x")).rejects.toMatchObject({ code: "E0512", message: expect.stringMatching(/folder does not exist/) as string });
    mkdirSync(join(folder, "d"));
    writeFileSync(join(folder, "d/keep"), "");
    await expect(writeAtomically(join(folder, "d"), "x")).rejects.toMatchObject({ code: "E0512" });
    expect(readdirSync(folder)).toEqual(["d"]);
  });

  it("is never seen half done, however the process is killed", async () => {
    const path = join(folder, "w");
    const script = join(folder, "writer.mjs");
    await build({ stdin: { contents: `import { writeAtomically } from "${join(import.meta.dirname, "../../runtime/weights/file.ts")}";\nprocess.stdout.write("go");\nfor (let i = 1; ; i++) await writeAtomically(${JSON.stringify(path)}, String(i % 10).repeat(300000));`, resolveDir: folder }, outfile: script, bundle: true, platform: "node", format: "esm", logLevel: "silent" });
    for (const wait of [1, 7, 20, 45]) {
      const child: ChildProcess = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
      const closed = new Promise((done) => child.on("close", done));
      await new Promise((go) => child.stdout?.once("data", go));
      await new Promise((go) => setTimeout(go, wait));
      child.kill("SIGKILL");
      await closed;
      const seen = readdirSync(folder).includes("w") ? readFileSync(path, "utf8") : undefined;
      if (seen !== undefined) expect(seen).toBe((seen[0] ?? "").repeat(300000));
    }
    expect(readdirSync(folder)).toContain("w");
  });
});

describe("reading", () => {
  it("names what is wrong with the path", async () => {
    await expect(readBytes(join(folder, "none"))).rejects.toMatchObject({ code: "E0511", message: expect.stringMatching(/^there is no file/) as string });
    await expect(readBytes(folder)).rejects.toMatchObject({ code: "E0511", message: expect.stringMatching(/is a folder/) as string });
    writeFileSync(join(folder, "f"), "");
    await expect(readBytes(join(folder, "f/g"))).rejects.toMatchObject({ code: "E0511" });
    await expect(readSafetensors(join(folder, "f"))).rejects.toMatchObject({ code: "E0510", place: join(folder, "f") });
  });
});
