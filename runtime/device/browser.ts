// WebGPU in a page or worker: navigator.gpu. Refuses with the reason and the remedy where a browser has none.

import { HeddleError } from "../error.ts";
import type { AdapterReport, GpuHost, OpenOptions } from "./host.ts";
import { type AdapterSource, describeAdapter, openAdapter } from "./open.ts";

interface Found {
  readonly adapter: GPUAdapter;
  readonly from: AdapterSource;
}

export async function findBrowserAdapter(): Promise<Found> {
  const gpu = typeof navigator === "undefined" ? undefined : navigator.gpu;
  if (gpu === undefined || gpu === null) {
    const insecure = typeof isSecureContext !== "undefined" && !isSecureContext;
    throw new HeddleError({
      code: "E0501",
      message: insecure ? "this page has no WebGPU because it is not served securely" : "this browser has no WebGPU",
      place: "navigator.gpu",
      help: insecure ? "serve the page over https or from localhost" : "use Chrome or Edge 113, Safari 26, or Firefox 141 and later",
    });
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }) ?? (await gpu.requestAdapter());
  if (adapter === null) {
    throw new HeddleError({
      code: "E0501",
      message: "this browser found no GPU adapter",
      place: "navigator.gpu",
      help: "open chrome://gpu and see why WebGPU is off; turn on hardware acceleration or update the driver",
    });
  }
  const language = gpu.wgslLanguageFeatures === undefined ? [] : [...gpu.wgslLanguageFeatures].sort();
  return { adapter, from: { kind: "browser", source: "browser", trusted: false, language } };
}

export async function openBrowserDevice(options: OpenOptions = {}): Promise<GpuHost> {
  const { adapter, from } = await findBrowserAdapter();
  return openAdapter(adapter, from, options);
}

export async function describeBrowserAdapter(): Promise<AdapterReport> {
  const { adapter, from } = await findBrowserAdapter();
  return describeAdapter(adapter, from);
}
