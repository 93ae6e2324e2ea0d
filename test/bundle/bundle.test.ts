// A bundle stands alone: whole, checked, typed, and free of the compiler. It gives what the spec and its weights give.

import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build as bundleWith } from "esbuild";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readBundle } from "../../runtime/bundle/open.ts";
import { bundleSource, memorySource } from "../../runtime/bundle/source.ts";
import { heddle, root, scratch, writeData } from "../cli/heddle.ts";
import { tinyBundle, type TinyBundle } from "./tiny_bundle.ts";

const place = scratch();
afterAll(() => place.remove());
let tiny: TinyBundle;
beforeAll(async () => {
  tiny = await tinyBundle(place);
}, 120_000);

const allFiles = (folder: string, at = ""): string[] => readdirSync(path.join(folder, at), { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? allFiles(folder, path.posix.join(at, e.name)) : [path.posix.join(at, e.name)])).sort();
const inMemory = (): Map<string, Uint8Array> => new Map(allFiles(tiny.bundle).map((f) => [f, new Uint8Array(readFileSync(path.join(tiny.bundle, f)))]));

describe("heddle build", () => {
  test("writes the files that the manifest names, with their hashes, and no others", () => {
    const named = tiny.manifest.files.map((f) => f.name);
    expect(allFiles(tiny.bundle)).toEqual([...named, "manifest.json"].sort());
    expect(tiny.said.files).toBe(named.length + 1);
    for (const f of tiny.manifest.files) {
      const bytes = readFileSync(path.join(tiny.bundle, f.name));
      expect(createHash("sha256").update(bytes).digest("hex"), f.name).toBe(f.sha256);
    }
    expect(named).toEqual(expect.arrayContaining(["weights.safetensors", "index.js", "index.d.ts", "plans/step.json", "plans/denoise.json", "runtime/runtime.js"]));
    expect(tiny.manifest.programs.map((p) => p.name)).toEqual(["step", "denoise"]);
    expect(Object.keys(tiny.said.dispatches)).toEqual(["step", "denoise"]);
    expect(tiny.manifest.peak.every((p) => (p.bytes as number) > 0)).toBe(true);
  });

  test("is the same every time", async () => {
    const again = path.join(place.dir, "again");
    const r = await heddle(["build", tiny.spec, "-o", again, "--target", "software", "--weights", tiny.weights]);
    expect(r.code).toBe(0);
    expect(allFiles(again).map((f) => [f, readFileSync(path.join(again, f)).equals(readFileSync(path.join(tiny.bundle, f)))])).toEqual(allFiles(tiny.bundle).map((f) => [f, true]));
  });

  test("never replaces a folder that is something else, and refuses weights that are damaged or another model's", async () => {
    const mine = path.join(place.dir, "mine");
    mkdirSync(mine);
    writeFileSync(path.join(mine, "thesis.txt"), "years of work");
    const attempt = async (...args: string[]): Promise<string> => {
      const r = await heddle(["build", tiny.spec, "-o", path.join(place.dir, "other"), "--target", "software", ...args]);
      expect(r.code).not.toBe(0);
      expect(r.stderr).not.toMatch(/bug\[|\n\s+at .*:\d+:\d+/);
      return r.stderr;
    };
    expect(await attempt("-o", mine)).toContain("error[E0574]");
    expect(readdirSync(mine)).toEqual(["thesis.txt"]);
    expect(await attempt("--weights", place.file("cut.safetensors", readFileSync(tiny.weights).subarray(0, 500)))).toContain("error[E0510]");
    expect(await attempt("--weights", path.join(place.dir, "none.safetensors"))).toContain("error[E0580]");
    const wide = place.file("wide.heddle", readFileSync(tiny.spec, "utf8").replace("d: axis = 8", "d: axis = 16"));
    const r = await heddle(["build", wide, "-o", path.join(place.dir, "other"), "--target", "software", "--weights", tiny.weights]);
    expect(r.stderr).toMatch(/error\[E0542\].*d = 16/);
    expect(readdirSync(place.dir).filter((n) => n.startsWith("other") || n.startsWith(".heddle"))).toEqual([]);
  });
});

test("without its own build, Heddle says what to run", async () => {
  const copy = path.join(place.dir, "unbuilt");
  for (const folder of ["dist/cli", "dist/compiler", "dist/grammar", "dist/runtime", "stdlib", "package.json"]) cpSync(path.join(root, folder), path.join(copy, folder), { recursive: true });
  symlinkSync(path.join(root, "node_modules"), path.join(copy, "node_modules"));
  const built = spawnSync(process.execPath, [path.join(copy, "dist/cli/main.js"), "build", tiny.spec, "-o", path.join(place.dir, "no"), "--target", "software"], { encoding: "utf8" });
  expect(built.stderr).toMatch(/error\[E0583\][\s\S]*npm run build/);
  expect(built.status).toBe(1);
});

describe("a bundle alone", () => {
  const alone = path.join(place.dir, "alone");
  let result: { loaded: string[]; drawn: number[]; said: string; batch: string[]; tasks: string[] };

  beforeAll(() => {
    // Outside the repository, with the two packages that bring a GPU to Node and nothing else.
    cpSync(tiny.bundle, path.join(alone, "tiny"), { recursive: true });
    mkdirSync(path.join(alone, "node_modules"), { recursive: true });
    for (const name of ["webgpu", "@sparticuz"]) symlinkSync(path.join(root, "node_modules", name), path.join(alone, "node_modules", name));
    writeFileSync(
      path.join(alone, "hook.mjs"),
      `import { appendFileSync } from "node:fs";
       export async function resolve(name, context, next) { const r = await next(name, context); appendFileSync(${JSON.stringify(path.join(alone, "loaded.txt"))}, r.url + "\\n"); return r; }`,
    );
    writeFileSync(path.join(alone, "register.mjs"), `import { register } from "node:module"; register("./hook.mjs", import.meta.url);`);
    writeFileSync(
      path.join(alone, "use.mjs"),
      `import { open } from "./tiny/index.js";
       const model = await open();
       const picture = { height: 4, width: 4, channels: 1, data: Float32Array.from({ length: 16 }, (_, i) => i / 16) };
       const { picture: drawn } = await model.draw({ caption: "a 7" }, { seed: 5 });
       const { caption } = await model.describe({ picture }, { seed: 5 });
       const batch = await model.describeMany([{ picture }, { picture: drawn }], { seed: 5, samplers: { text: { kind: "greedy", max: 3 } } });
       const tasks = Object.getOwnPropertyNames(Object.getPrototypeOf(model));
       await model.destroy();
       process.stdout.write(JSON.stringify({ drawn: [...drawn.data], said: caption, batch: batch.map((b) => b.caption), tasks }), () => process.exit(0));`,
    );
    const out = execFileSync(process.execPath, ["--import", "./register.mjs", "use.mjs"], { cwd: alone, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    result = { ...(JSON.parse(out) as typeof result), loaded: readFileSync(path.join(alone, "loaded.txt"), "utf8").trim().split("\n") };
  }, 120_000);

  test("runs in Node and loads no compiler and no package but the GPU's", () => {
    const modules = [...new Set(result.loaded)].filter((u) => u.startsWith("file:"));
    const foreign = modules.filter((u) => !u.startsWith(pathToFileURL(alone).href) && !/node_modules\/(webgpu|@sparticuz)\//.test(u));
    expect(foreign).toEqual([]);
    expect(modules.filter((u) => u.includes("/tiny/runtime/")).length).toBeGreaterThanOrEqual(2);
    expect(result.tasks.sort()).toEqual(["constructor", "describe", "describeMany", "destroy", "draw", "drawMany"]);
    expect(result.drawn.length).toBe(16);
    expect(result.drawn.every((x) => x >= 0 && x <= 1)).toBe(true);
    expect(new Set(result.drawn).size).toBeGreaterThan(3);
    expect(result.batch.length).toBe(2);
  });

  test("gives the same bits as `heddle run`, and as `heddle generate` from the spec and its weights", { timeout: 120_000 }, async () => {
    const run = await heddle(["run", tiny.bundle, "draw", "caption=a 7", "--seed", "5", "--json"]);
    expect(run.code).toBe(0);
    expect((JSON.parse(run.stdout) as { picture: { data: number[] } }[])[0]?.picture.data).toEqual(result.drawn);
    const generated = await heddle(["generate", tiny.spec, "draw", "caption=a 7", "--weights", tiny.weights, "--target", "software", "--seed", "5", "--json"]);
    expect(generated.code).toBe(0);
    expect(JSON.parse(generated.stdout)).toEqual(JSON.parse(run.stdout));
  });

  test("the portable runtime holds plan data of the compiler and no more", async () => {
    const { metafile } = await bundleWith({ entryPoints: [path.join(root, "dist/runtime/index.js")], bundle: true, write: false, metafile: true, format: "esm", platform: "neutral", mainFields: ["module", "main"], external: ["node:*", "webgpu", "@sparticuz/chromium"], splitting: true, outdir: path.join(place.dir, "unused"), absWorkingDir: root });
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.filter((f) => /dist\/(compiler|grammar|cli)\//.test(f) && !/dist\/compiler\/plan\/(plan|half|layout|expr|manifest|schema)\.js$/.test(f))).toEqual([]);
    const packages = new Set(inputs.flatMap((f) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(f)?.[1] ?? []));
    expect([...packages].sort()).toEqual(["@huggingface/tokenizers", "valibot"]);
  });
});

describe("the typed client", () => {
  const head = `import { open, type Tiny, type Image } from "./bundle/index.js";\nconst model: Tiny = await open({ adapter: "swiftshader", progress: (stage: "files" | "kernels", done: number, total: number) => void [stage, done, total] });\n`;
  const right = `${head}
    const { picture } = await model.draw({ caption: "seven" }, { seed: 1, samplers: { image: { kind: "heun", steps: 4, guidance: 2 } } });
    const image: Image = picture;
    export const said: string = (await model.describe({ picture: image })).caption;
    export const many: readonly { readonly caption: string }[] = await model.describeMany([{ picture }, { picture }], { samplers: { text: { kind: "greedy" } } });
    await model.destroy();`;
  const wrong: [string, RegExp][] = [
    ["await model.paint({});", /paint/],
    ["await model.draw({ caption: 7 });", /number/],
    ["await model.draw({});", /caption/],
    [`await model.describe({ picture: "a path" });`, /Image/],
    [`await model.draw({ caption: "a" }, { samplers: { image: { kind: "greedy" } } });`, /greedy/],
  ];

  test("compiles under --strict, knows every task and field, and refuses the rest", { timeout: 120_000 }, () => {
    const files = [right, ...wrong.map(([line]) => `${head}${line}\nexport {};`)].map((code, i) => place.file(`client${i}.mts`, code));
    const program = ts.createProgram(files, { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: [], skipLibCheck: false });
    const problems = (file: string): string => ts.getPreEmitDiagnostics(program, program.getSourceFile(file)).map((d) => ts.flattenDiagnosticMessageText(d.messageText, " ")).join("\n");
    expect(files.map((f) => problems(f))).toEqual(["", ...wrong.map(([, says]) => expect.stringMatching(says) as string)]);
  });
});

describe("a damaged bundle is refused", () => {
  const refused = async (change: (files: Map<string, Uint8Array>) => void, code: string, says: RegExp): Promise<void> => {
    const files = inMemory();
    change(files);
    const attempt = readBundle(memorySource(files)).then(({ file, manifest }) => file(manifest.weights ?? ""));
    await expect(attempt).rejects.toMatchObject({ code, message: expect.stringMatching(says) as string });
  };
  const edit = (files: Map<string, Uint8Array>, change: (manifest: Record<string, unknown>) => void): void => {
    const manifest = JSON.parse(new TextDecoder().decode(files.get("manifest.json"))) as Record<string, unknown>;
    change(manifest);
    files.set("manifest.json", new TextEncoder().encode(JSON.stringify(manifest)));
  };

  test("without change it is sound", async () => {
    const { plans, manifest } = await readBundle(memorySource(inMemory()));
    expect(Object.keys(plans)).toEqual(["step", "denoise"]);
    expect(manifest.model.name).toBe("tiny");
  });

  test("by its manifest", async () => {
    await refused((f) => f.delete("manifest.json"), "E0571", /manifest\.json/);
    await refused((f) => f.set("manifest.json", new TextEncoder().encode("{ not json")), "E0572", /not JSON/);
    await refused((f) => edit(f, (m) => (m.format = 99)), "E0572", /format 99/);
    await refused((f) => edit(f, (m) => delete m.model), "E0572", /model/);
    await refused((f) => edit(f, (m) => (m.states = "none")), "E0572", /states/);
    await refused((f) => edit(f, (m) => void (((m.programs as { file: string }[])[0] ?? { file: "" }).file = "../../secret.json")), "E0570", /outside/);
  });

  test("by its files", async () => {
    await refused((f) => f.delete("plans/step.json"), "E0571", /plans\/step\.json/);
    await refused((f) => f.set("plans/step.json", new TextEncoder().encode("{}")), "E0573", /plans\/step\.json/);
    await refused((f) => {
      const w = f.get("weights.safetensors")?.slice() ?? new Uint8Array(1);
      w[w.length - 1] = (w[w.length - 1] ?? 0) ^ 1;
      f.set("weights.safetensors", w);
    }, "E0573", /weights\.safetensors/);
    await refused((f) => f.set("weights.safetensors", f.get("weights.safetensors")?.subarray(0, 100) ?? new Uint8Array()), "E0573", /weights/);
  });

  test("by names that leave the folder", async () => {
    for (const name of ["../tiny.heddle", "/etc/hostname", "a/../../tiny.heddle", "..\\tiny.heddle"]) await expect(bundleSource(tiny.bundle).read(name)).rejects.toMatchObject({ code: "E0570" });
    await expect(bundleSource(pathToFileURL(`${tiny.bundle}/`)).read("manifest.json")).resolves.toHaveLength(statSync(path.join(tiny.bundle, "manifest.json")).size);
    await expect(bundleSource(path.join(place.dir, "nowhere")).read("manifest.json")).rejects.toMatchObject({ code: "E0571" });
  });

  test("as the command says it", async () => {
    const none = await heddle(["run", path.join(place.dir, "nowhere"), "draw", "caption=a"]);
    expect(none.code).toBe(1);
    expect(none.stderr).toContain("error[E0571]");
  });
});

describe("fields on the command line", () => {
  test("are refused with their names", { timeout: 120_000 }, async () => {
    const attempt = async (...args: string[]): Promise<string> => {
      const r = await heddle(["run", tiny.bundle, ...args]);
      expect(r.code).not.toBe(0);
      expect(r.stderr).not.toMatch(/bug\[|\n\s+at .*:\d+:\d+/);
      return r.stderr;
    };
    expect(await attempt("paint", "caption=a")).toMatch(/error\[E0560\].*`paint`[\s\S]*draw, describe/);
    expect(await attempt("draw", "caption")).toMatch(/error\[E0582\]/);
    expect(await attempt("draw", "colour=red")).toMatch(/error\[E0561\].*`colour`/);
    expect(await attempt("draw")).toMatch(/error\[E0561\].*`caption`/);
    expect(await attempt("describe", `picture=${tiny.spec}`)).toMatch(/error\[E0534\].*not a PNG/);
    expect(await attempt("describe", `picture=${path.join(writeData(path.join(place.dir, "large"), { count: 1, size: 6 }), "0.png")}`)).toMatch(/error\[E0535\].*6 x 6/);
    expect(await attempt("draw", "caption=a", "--set", "image.kind=greedy")).toMatch(/error\[E0563\][\s\S]*euler/);
  });
});
