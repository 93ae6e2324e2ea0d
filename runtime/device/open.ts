// From an adapter to an open host: checks what the plan needs, requests the device, reads the report.
// Shared by Node and browser. Refuses an adapter with too little, naming every limit and feature it lacks.

import { HeddleError, messageOf } from "../error.ts";
import { type AdapterReport, type GpuHost, makeHost, type OpenOptions } from "./host.ts";
import { limitsToRequest, optionalFeatures, readLimits, shortfalls } from "./limits.ts";

export interface AdapterSource {
  readonly kind: "node" | "browser";
  readonly source: string;
  readonly trusted: boolean;
  readonly language: readonly string[];
}

/** Describes an adapter without consuming it. */
export function describeAdapter(adapter: GPUAdapter, from: AdapterSource): AdapterReport {
  const info = adapter.info;
  return {
    ...from,
    name: info.description || info.device || [info.vendor, info.architecture].filter(Boolean).join(" ") || from.source,
    vendor: info.vendor,
    architecture: info.architecture,
    device: info.device,
    fallback: info.isFallbackAdapter ?? false,
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
    limits: readLimits(adapter.limits),
    features: [...adapter.features].sort(),
  };
}

/** Consumes the adapter. */
export async function openAdapter(adapter: GPUAdapter, from: AdapterSource, options: OpenOptions, release?: () => void): Promise<GpuHost> {
  const report = describeAdapter(adapter, from);
  const needs = options.requireLimits ?? {};
  const lacking = shortfalls(report.limits, needs).map(
    (s) => `\`${s.name}\` is ${s.has ?? "not known"} here, ${s.needs} needed`,
  );
  for (const feature of options.features ?? []) {
    if (!report.features.includes(feature)) lacking.push(`feature \`${feature}\` is missing`);
  }
  if (lacking.length > 0) {
    throw new HeddleError({
      code: "E0503",
      message: `the adapter cannot run this plan: ${lacking.join("; ")}`,
      place: report.name,
      help: "build the bundle for WebGPU's guaranteed minimum, or choose another adapter with HEDDLE_ADAPTER",
    });
  }
  const wanted = [...new Set([...(options.features ?? []), ...optionalFeatures])];
  const requiredFeatures = wanted.filter((name) => report.features.includes(name)) as GPUFeatureName[];
  const requiredLimits = limitsToRequest(report.limits, needs, options.limits !== "minimum");
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
  } catch (thrown) {
    throw new HeddleError({
      code: "E0501",
      message: `the adapter gave no device: ${messageOf(thrown)}`,
      place: report.name,
      help: "run `heddle doctor`; another program may hold the GPU",
      cause: thrown,
    });
  }
  const opened = { ...report, limits: readLimits(device.limits), features: [...device.features].sort() };
  return makeHost(device, opened, release);
}
