// Vulkan without a system package: a loader and a CPU driver (SwiftShader) from npm `@sparticuz/chromium`, unpacked once
// into the cache, and the ways to make Dawn see them. Linux x64 only. Must run before Dawn looks for adapters; an instance made
// earlier does not see the change, a new one does.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { HeddleError, messageOf } from "../error.ts";
import { cached, installedPackage, untar } from "./cache.ts";

const packageName = "@sparticuz/chromium";

export interface SwiftShader {
  readonly loader: string;
  readonly manifest: string;
}

/** Undefined where it could be unpacked; else why it cannot. */
export function whyNoSwiftShader(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return `there is none for ${process.platform} ${process.arch}`;
  const found = installedPackage(packageName);
  if (found === undefined) return `the optional package \`${packageName}\` is not installed`;
  if (!existsSync(join(found.folder, "bin", "swiftshader.tar.br"))) return `\`${packageName}\` ${found.version} holds no SwiftShader`;
  return undefined;
}

/** Unpacks the loader and driver, once a version. */
export async function unpackSwiftShader(): Promise<SwiftShader> {
  const found = installedPackage(packageName);
  const why = whyNoSwiftShader();
  if (why !== undefined || found === undefined) {
    throw new HeddleError({ code: "E0501", message: `no software adapter: ${why}`, help: "install a Vulkan driver, or run `npm install` without `--omit=optional`" });
  }
  const archive = join(found.folder, "bin", "swiftshader.tar.br");
  const folder = await cached(`swiftshader-${found.version}`, (temp, final) => {
    const tar = brotliDecompressSync(readFileSync(archive));
    const files = untar(tar, temp, (path) => /(^|\/)(libvk_swiftshader\.so|libvulkan\.so\.1)$/.test(path));
    if (files.length !== 2) throw new HeddleError({ code: "E0507", message: "the software adapter's archive lacks its libraries", place: archive, help: "reinstall the packages: `npm ci`" });
    const manifest = { file_format_version: "1.0.0", ICD: { library_path: join(final, "libvk_swiftshader.so"), api_version: "1.1.0" } };
    writeFileSync(join(temp, "icd.json"), JSON.stringify(manifest));
  });
  return { loader: join(folder, "libvulkan.so.1"), manifest: join(folder, "icd.json") };
}

/** True where the system has a Vulkan loader; it stays loaded. */
export function systemLoader(): boolean {
  return process.platform !== "linux" || loadLibrary("libvulkan.so.1") === undefined;
}

/** Loads a shared library for the whole process; undefined on success, else why not. */
export function loadLibrary(path: string): string | undefined {
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  } catch (thrown) {
    // Not an addon, so Node objects after loading it; the library stays.
    const message = messageOf(thrown);
    return /did not self-register/.test(message) ? undefined : message;
  }
  return undefined;
}
