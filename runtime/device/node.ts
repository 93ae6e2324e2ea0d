// Dawn in Node (npm `webgpu`). In: a choice of adapter. Out: an open host. Tries the system's drivers, then SwiftShader.
// Refuses an unknown HEDDLE_ADAPTER (listing what there is) and a machine with no adapter at all (saying what to install).
// An error that nobody asked about by the end makes the process exit 1: Dawn alone would let it exit 0.

import { HeddleError, messageOf, renderHeddleError } from "../error.ts";
import { type DriverPlace, driverPlaces, swiftShaderPlace, userDriver } from "./drivers.ts";
import type { AdapterReport, GpuHost, OpenOptions } from "./host.ts";
import { type AdapterSource, describeAdapter, openAdapter } from "./open.ts";
import { whyNoSwiftShader } from "./swiftshader.ts";

type Dawn = typeof import("webgpu");

interface Found {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly from: AdapterSource;
}

export async function openNodeDevice(options: OpenOptions = {}): Promise<GpuHost> {
  const { gpu, adapter, from } = await find(options);
  const host: GpuHost = await keepingAlive(openAdapter(adapter, from, options, () => {
    if (host.unreported() === 0) open.delete(host);
  }));
  open.set(host, gpu);
  watchExit();
  return host;
}

/** The adapter that openNodeDevice would take, without opening it. */
export async function describeNodeAdapter(options: OpenOptions = {}): Promise<AdapterReport> {
  const { adapter, from } = await find(options);
  return describeAdapter(adapter, from);
}

/** Names of every adapter of every place, for messages and `heddle doctor`. */
export async function listNodeAdapters(): Promise<{ readonly source: string; readonly name: string }[]> {
  return serially(async () => {
    const dawn = await loadDawn();
    const found: { source: string; name: string }[] = [];
    for (const place of await allPlaces()) {
      for (const name of await namesAt(dawn, place)) found.push({ source: place.source, name });
    }
    return found;
  });
}

function find(options: OpenOptions): Promise<Found> {
  const choice = (options.adapter ?? process.env["HEDDLE_ADAPTER"] ?? "").trim();
  const trusted = options.trusted ?? false;
  return keepingAlive(serially(async () => {
    const dawn = await loadDawn();
    if (choice === "null") return must(await tryPlace(dawn, { source: "null" }, trusted, ["backend=null"]));
    if (choice === "swiftshader") return must(await tryPlace(dawn, await swiftShaderPlace(), trusted));
    return choice === "" ? findBest(dawn, trusted) : findNamed(dawn, choice, trusted);
  }));
}

async function findBest(dawn: Dawn, trusted: boolean): Promise<Found> {
  let best: Found | undefined;
  for (const place of await driverPlaces()) {
    const found = await tryPlace(dawn, place, trusted);
    if (found !== undefined && !found.adapter.info.isFallbackAdapter) return found;
    best ??= found;
  }
  if (best !== undefined) return best;
  const driver = userDriver();
  if (driver !== undefined && process.platform === "linux") {
    throw new HeddleError({
      code: "E0501",
      message: "the driver that VK_DRIVER_FILES names gives no adapter",
      place: driver,
      help: "unset VK_DRIVER_FILES and VK_ICD_FILENAMES to let Heddle look itself",
    });
  }
  const why = whyNoSwiftShader();
  if (why !== undefined) throw noAdapter(why);
  return must(await tryPlace(dawn, await swiftShaderPlace(), trusted));
}

async function findNamed(dawn: Dawn, choice: string, trusted: boolean): Promise<Found> {
  const seen: string[] = [];
  for (const place of await allPlaces()) {
    const names = await namesAt(dawn, place);
    const match = names.find((name) => name.toLowerCase().includes(choice.toLowerCase()));
    if (match !== undefined) return must(await tryPlace(dawn, place, trusted, [`adapter=${match}`]));
    seen.push(...names);
  }
  const known = [...new Set([...seen, "swiftshader", "null"])];
  throw new HeddleError({
    code: "E0502",
    message: `no adapter is called \`${choice}\``,
    place: "HEDDLE_ADAPTER",
    help: `choose one of: ${known.map((name) => `\`${name}\``).join(", ")}; a part of a name will do`,
    exit: 2,
  });
}

async function allPlaces(): Promise<DriverPlace[]> {
  const places = await driverPlaces();
  if (userDriver() === undefined && whyNoSwiftShader() === undefined) places.push(await swiftShaderPlace());
  return places;
}

async function tryPlace(dawn: Dawn, place: DriverPlace, trusted: boolean, flags: readonly string[] = []): Promise<Found | undefined> {
  // NVIDIA's f16 is sound but off by default in Dawn; quantised timestamps would blur the profile.
  const on = ["vulkan_enable_f16_on_nvidia", ...(trusted ? ["disable_robustness"] : [])];
  const gpuFlags = [...flags, `enable-dawn-features=${on.join(",")}`, "disable-dawn-features=timestamp_quantization"];
  return withDriver(place.manifest, async () => {
    const gpu = dawn.create(gpuFlags);
    let adapter: GPUAdapter | null;
    try {
      adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    } catch {
      return undefined;
    }
    if (adapter === null) return undefined;
    const language = [...gpu.wgslLanguageFeatures].sort();
    return { gpu, adapter, from: { kind: "node", source: place.source, trusted, language } };
  });
}

/** Dawn lists its adapters only in the message that refuses an unknown one. */
async function namesAt(dawn: Dawn, place: DriverPlace): Promise<string[]> {
  return withDriver(place.manifest, async () => {
    try {
      await dawn.create(["adapter=\u{1}"]).requestAdapter();
      return [];
    } catch (thrown) {
      return [...messageOf(thrown).matchAll(/name: '([^']*)'/g)].map((m) => m[1] ?? "").filter((name) => name !== "");
    }
  });
}

function must(found: Found | undefined): Found {
  if (found === undefined) throw noAdapter("the software adapter did not start");
  return found;
}

function noAdapter(why: string): HeddleError {
  const help =
    process.platform === "linux" ? "install a Vulkan driver (`libvulkan1` and `mesa-vulkan-drivers`, or the GPU maker's), or the optional npm package `@sparticuz/chromium` for a software adapter"
    : "update the system and the GPU driver";
  return new HeddleError({ code: "E0501", message: `no GPU adapter was found, and ${why}`, help });
}

/** The loader reads these variables when an instance is made; child processes must not inherit our choice. */
async function withDriver<T>(manifest: string | undefined, run: () => Promise<T>): Promise<T> {
  if (manifest === undefined) return run();
  const names = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] as const;
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = manifest;
  try {
    return await run();
  } finally {
    names.forEach((name, i) => {
      const old = before[i];
      if (old === undefined) delete process.env[name];
      else process.env[name] = old;
    });
  }
}

let turn: Promise<unknown> = Promise.resolve();

/** One search at a time, since a search changes process-wide variables. */
function serially<T>(run: () => Promise<T>): Promise<T> {
  const mine = turn.then(run, run);
  turn = mine.catch(() => {});
  return mine;
}

async function keepingAlive<T>(promise: Promise<T>): Promise<T> {
  const beat = setInterval(() => {}, 1000);
  try {
    return await promise;
  } finally {
    clearInterval(beat);
  }
}

let dawnModule: Dawn | undefined;

async function loadDawn(): Promise<Dawn> {
  if (dawnModule !== undefined) return dawnModule;
  try {
    dawnModule = await import("webgpu");
  } catch (thrown) {
    throw new HeddleError({
      code: "E0501",
      message: `Dawn, the WebGPU engine for Node, does not load: ${messageOf(thrown).split("\n")[0]}`,
      place: `${process.platform} ${process.arch}`,
      help: "run `npm ci` again on this machine, or `npm install webgpu` where the bundle lies; Dawn exists for Linux (glibc), macOS and Windows on x64 and arm64",
      cause: thrown,
    });
  }
  // GPUBufferUsage and its kin are globals in a page; code above this layer uses them in both places.
  for (const [name, value] of Object.entries(dawnModule.globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return dawnModule;
}

/** Open devices; each holds its Dawn instance, which must outlive it. */
const open = new Map<GpuHost, GPU>();
let watching = false;

function watchExit(): void {
  if (watching) return;
  watching = true;
  process.on("exit", (code) => {
    for (const host of open.keys()) {
      if (host.unreported() === 0) continue;
      try {
        host.check();
      } catch (thrown) {
        process.stderr.write(`${thrown instanceof HeddleError ? renderHeddleError(thrown) : messageOf(thrown)}\n`);
      }
      if (code === 0) process.exitCode = 1;
    }
  });
}
