// Where Node's Dawn may find adapters, in the order they are tried, and the Vulkan settings each needs. Linux has several
// places (the user's VK_DRIVER_FILES, the system's drivers, drivers that containers mount elsewhere, SwiftShader); macOS and
// Windows have one. Refuses nothing: a place that does not exist is not listed, with the reason kept for `heddle doctor`.

import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { loadLibrary, systemLoader, unpackSwiftShader, whyNoSwiftShader } from "./swiftshader.ts";

export interface DriverPlace {
  readonly source: string;
  /** The only driver manifest Vulkan shall read; undefined leaves the process as it is. */
  readonly manifest?: string;
}

/** Where the Vulkan loader looks for manifests: the XDG folders of configuration and data. */
function systemManifests(): string[] {
  const env = (name: string, otherwise: string): string[] => (process.env[name] || otherwise).split(":").filter(Boolean);
  const bases = [
    ...env("XDG_CONFIG_HOME", join(homedir(), ".config")),
    ...env("XDG_CONFIG_DIRS", "/etc/xdg"),
    "/usr/local/etc",
    "/etc",
    ...env("XDG_DATA_HOME", join(homedir(), ".local/share")),
    ...env("XDG_DATA_DIRS", "/usr/local/share:/usr/share"),
  ];
  return bases.map((base) => join(base, "vulkan/icd.d"));
}

// Where container runtimes put drivers and the loader does not look.
const mountedManifests = ["/usr/local/nvidia/share/vulkan/icd.d", "/run/opengl-driver/share/vulkan/icd.d", "/usr/lib/x86_64-linux-gnu/GL/vulkan/icd.d"];

function manifestsIn(folders: readonly string[]): string[] {
  return folders.flatMap((folder) => {
    if (!existsSync(folder)) return [];
    return readdirSync(folder).filter((name) => name.endsWith(".json")).sort().map((name) => join(folder, name));
  });
}

/** The user's own choice of driver, by the variables every Vulkan program reads. */
export function userDriver(): string | undefined {
  return process.env["VK_DRIVER_FILES"] || process.env["VK_ICD_FILENAMES"] || undefined;
}

/** A Vulkan loader: the system's, else the one that comes with SwiftShader. */
async function ensureLoader(): Promise<boolean> {
  if (systemLoader()) return true;
  if (whyNoSwiftShader() !== undefined) return false;
  return loadLibrary((await unpackSwiftShader()).loader) === undefined;
}

/** The places before SwiftShader. */
export async function driverPlaces(): Promise<DriverPlace[]> {
  if (process.platform !== "linux") return [{ source: "system" }];
  if (userDriver() !== undefined) {
    await ensureLoader();
    return [{ source: "VK_DRIVER_FILES" }];
  }
  const places: DriverPlace[] = [];
  // Without manifests there are no drivers, and asking all the same makes the loader print warnings.
  if (manifestsIn(systemManifests()).length > 0) places.push({ source: "system" });
  for (const manifest of manifestsIn(mountedManifests)) places.push({ source: manifest, manifest });
  if (places.length > 0 && !(await ensureLoader())) return [];
  return places;
}

/** SwiftShader as the last place; throws HeddleError where it cannot be had. */
export async function swiftShaderPlace(): Promise<DriverPlace> {
  const { loader, manifest } = await unpackSwiftShader();
  if (!systemLoader()) loadLibrary(loader);
  return { source: "swiftshader", manifest };
}

/** Signs of a GPU that Vulkan may fail to see, for advice. */
export function gpuSigns(): { readonly nvidia: boolean; readonly dri: boolean } {
  if (process.platform !== "linux") return { nvidia: false, dri: false };
  return { nvidia: existsSync("/dev/nvidiactl") || existsSync("/proc/driver/nvidia/version"), dri: existsSync("/dev/dri/renderD128") };
}
