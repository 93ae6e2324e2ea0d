// What only a whole process shows: exit codes, the event loop, environment variables, the cache folder; and that a page's bundle
// of the device layer holds no Node module. Each child is a small program bundled by esbuild.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
let folder: string;
beforeAll(() => {
  mkdirSync(join(root, ".heddle"), { recursive: true }); // inside the package, so that children find node_modules
  folder = mkdtempSync(join(root, ".heddle/test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(name: string, body: string, env: Record<string, string> = {}) {
  const entry = join(folder, `${name}.ts`);
  const out = join(folder, `${name}.mjs`);
  writeFileSync(entry, `import { openNodeDevice } from "${root}/runtime/device/node.ts";\nimport { HeddleError } from "${root}/runtime/error.ts";\n${body}`);
  await build({ entryPoints: [entry], outfile: out, bundle: true, platform: "node", format: "esm", external: ["webgpu"], logLevel: "silent" });
  const child = spawn(process.execPath, [out], { env: { ...process.env, ...env }, timeout: 50_000 });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const status = await new Promise<number | null>((done) => child.on("close", done));
  return { stdout, stderr, status };
}

const invalid = "host.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });";

describe("a process", () => {
  it("exits 1 when an error was never asked about", async () => {
    const done = await run("silent", `const host = await openNodeDevice();\n${invalid}\nawait host.device.queue.onSubmittedWorkDone();`);
    expect(done.stderr).toMatch(/error\[E0505\]/);
    expect(done.status).toBe(1);
  });

  it("exits 1 when the error was found by destroy", async () => {
    const done = await run("destroyed", `const host = await openNodeDevice();\n${invalid}\nawait host.destroy();`);
    expect(done.status).toBe(1);
  });

  it("exits 0 when all went well, and does not linger", async () => {
    const done = await run("well", `const host = await openNodeDevice();\nawait host.settle(host.device.queue.onSubmittedWorkDone());\nawait host.destroy();\nconsole.log("end");`);
    expect(done.stdout).toBe("end\n");
    expect(done.status).toBe(0);
  });

  it("stays alive while a GPU promise is pending", async () => {
    const done = await run("alive", `const host = await openNodeDevice({ adapter: "null" });
      setTimeout(() => host.device.destroy(), 300).unref();
      try { await host.settle(new Promise(() => {})); } catch (e) { console.log(e instanceof HeddleError && e.code); }`);
    expect(done.stdout).toBe("E0504\n");
  });

  it("does not change the environment that children inherit", async () => {
    const done = await run("env", `const before = process.env.VK_DRIVER_FILES; const host = await openNodeDevice(); console.log(before === process.env.VK_DRIVER_FILES); await host.destroy();`);
    expect(done.stdout).toBe("true\n");
  });
});

const linux = process.platform === "linux" && process.arch === "x64";
describe.runIf(linux)("on Linux", () => {
  it("says that VK_DRIVER_FILES is to blame", async () => {
    const done = await run("bad", `await openNodeDevice().catch((e) => console.log(e.code, e.help));`, { VK_DRIVER_FILES: "/nonexistent.json", VK_ICD_FILENAMES: "/nonexistent.json" });
    expect(done.stdout).toMatch(/^E0501 unset VK_DRIVER_FILES/);
  });

  it("unpacks SwiftShader once, also when two processes start together", async () => {
    const cache = mkdtempSync(join(tmpdir(), "heddle-cache-"));
    try {
      const body = `const host = await openNodeDevice({ adapter: "swiftshader" }); console.log(host.info.fallback, /swiftshader/i.test(host.info.name)); await host.destroy();`;
      const both = await Promise.all([run("one", body, { HEDDLE_CACHE: cache }), run("two", body, { HEDDLE_CACHE: cache })]);
      for (const done of both) expect(done.stdout).toBe("true true\n");
      expect(readdirSync(cache).filter((name) => name.includes("tmp"))).toEqual([]);
      expect(readdirSync(cache)).toHaveLength(1);
    } finally {
      rmSync(cache, { recursive: true, force: true });
    }
  });

  it("names the cache folder that it cannot use", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "");
    const done = await run("nocache", `await openNodeDevice({ adapter: "swiftshader" }).catch((e) => console.log(e.code, e.place));`, { HEDDLE_CACHE: file });
    expect(done.stdout).toBe(`E0507 ${file}\n`);
    expect(existsSync(file)).toBe(true);
  });
});

describe("a page's bundle", () => {
  it("reaches no Node module", async () => {
    const result = await build({ entryPoints: [join(root, "runtime/device/device.ts"), join(root, "runtime/device/report.ts")], outdir: folder, bundle: true, platform: "browser", format: "esm", write: false, metafile: true, logLevel: "silent" });
    expect(result.errors).toEqual([]);
    for (const input of Object.keys(result.metafile.inputs)) expect(input).not.toMatch(/node\.ts|swiftshader|drivers|cache\.ts|webgpu/);
    for (const file of result.outputFiles) expect(file.text).not.toMatch(/from ["'](node:|webgpu)/);
  });
});
