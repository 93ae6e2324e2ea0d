// Where Node's Dawn may find adapters, in the order they are tried, and the Vulkan settings each needs. Linux has several
// places (the user's VK_DRIVER_FILES, the system's drivers, drivers that containers mount elsewhere, SwiftShader); macOS and
// Windows have one. Refuses nothing: a place that does not exist is not listed, with the reason kept for `heddle doctor`.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { loadLibrary, systemLoader, unpackSwiftShader, whyNoSwiftShader } from "./swiftshader.ts";

export interface DriverPlace {
  readonly source: string;
  /** The only driver manifest Vulkan shall read; undefined leaves the process as it is. */
  readonly manifest?: string;
}

const systemManifests = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/local/etc/vulkan/icd.d"];
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
  const mounted = manifestsIn(mountedManifests);
  const hasSystem = manifestsIn(systemManifests).length > 0;
  // Without a loader of its own a system has drivers only if it has manifests; asking Dawn otherwise only prints a warning.
  if (systemLoader() || ((hasSystem || mounted.length > 0) && (await ensureLoader()))) {
    places.push({ source: "system" });
    for (const manifest of mounted) places.push({ source: manifest, manifest });
  }
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
