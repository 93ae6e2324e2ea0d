// The one door to a GPU: Dawn in Node, navigator.gpu in a page. A page's bundle must not reach Node's modules, so the Node
// side is imported by a specifier computed at run time. Code that only ever runs in Node may import node.ts directly.

import { openBrowserDevice } from "./browser.ts";
import type { GpuHost, OpenOptions } from "./host.ts";

export type { AdapterReport, GpuHost, OpenOptions } from "./host.ts";

/** True in Node, also under a test runner; false in a page or worker, even one with a `process` shim. */
export function inNode(): boolean {
  return typeof process !== "undefined" && typeof process.versions?.node === "string" && typeof window === "undefined";
}

/** The URL of a module beside this one: `.ts` from source, `.js` once built. Not seen by a bundler. */
export function siblingModule(name: string): string {
  const here = import.meta.url;
  return new URL(`./${name}${here.slice(here.lastIndexOf("."))}`, here).href;
}

/**
 * Opens the best adapter, or the one `HEDDLE_ADAPTER` or `options.adapter` names.
 * @example const gpu = await openDevice({ requireLimits: plan.requires.limits, features: plan.requires.features })
 */
export async function openDevice(options: OpenOptions = {}): Promise<GpuHost> {
  if (!inNode()) return openBrowserDevice(options);
  const node = (await import(/* @vite-ignore */ siblingModule("node"))) as typeof import("./node.ts");
  return node.openNodeDevice(options);
}
