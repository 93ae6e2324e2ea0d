// The adapter that every contender runs on: Dawn in Node, chosen as Heddle chooses it, put where libraries for pages look.
// In:  HEDDLE_ADAPTER (part of a name, or "swiftshader"), BENCH_DAWN_FEATURES (comma-separated, for all contenders alike).
// Out: `navigator.gpu`, the WebGPU globals, a timer that keeps Node alive while Dawn works, and a name for the table.
// Must be called before a peer is imported.

import { join } from "node:path";
import { env } from "node:process";
import { bundled, root } from "./bundled.mjs";

/**
 * Installs `navigator.gpu` and the globals.
 * @returns {Promise<{ adapter: string, features: string[], limits: GPUSupportedLimits }>} what it is, for the table
 */
export async function installGpu() {
  setInterval(() => {}, 20); // Dawn's promises do not keep Node alive
  const choice = (env.HEDDLE_ADAPTER ?? "").trim();
  const { driverPlaces, swiftShaderPlace } = await bundled("drivers", { entryPoints: [join(root, "runtime/device/drivers.ts")] });
  const places = choice === "swiftshader" ? [] : await driverPlaces();
  const { create, globals } = await importDawnAfter(places.length === 0 ? [await swiftShaderPlace()] : places);
  Object.assign(globalThis, globals);
  const flags = env.BENCH_DAWN_FEATURES ? [`enable-dawn-features=${env.BENCH_DAWN_FEATURES}`] : [];
  if (choice !== "" && choice !== "swiftshader") flags.push(`adapter=${choice}`);
  const gpu = create(flags);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("no GPU adapter; `heddle doctor` says what to do");
  const { vendor, architecture, description } = adapter.info;
  Object.defineProperty(globalThis, "navigator", {
    value: { gpu, userAgent: "Node", platform: process.platform, hardwareConcurrency: 1, language: "en" },
    configurable: true,
    writable: true,
  });
  return { adapter: [vendor, architecture, description].filter(Boolean).join(" "), features: [...adapter.features], limits: adapter.limits };
}

/** The loader reads these variables when an instance is made; this process makes only this one, so they may stay. */
async function importDawnAfter(places) {
  const [place] = places;
  if (place?.manifest !== undefined) {
    env.VK_DRIVER_FILES = place.manifest;
    env.VK_ICD_FILENAMES = place.manifest;
  }
  return import("webgpu");
}
