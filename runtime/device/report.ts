// What `heddle doctor` says of this machine's GPU: the adapter, its limits against WebGPU's guaranteed minimum, features, and
// each problem with what to do about it. Data first, text from the data. Never throws for a machine without a GPU: that is a finding.

import { HeddleError, messageOf } from "../error.ts";
import { describeBrowserAdapter } from "./browser.ts";
import { inNode, siblingModule } from "./device.ts";
import type { AdapterReport, OpenOptions } from "./host.ts";
import { guaranteedLimits, optionalFeatures, shortfalls } from "./limits.ts";

export interface DoctorProblem {
  readonly severity: "error" | "warning" | "note";
  readonly message: string;
  readonly help: string;
}

export interface DoctorLimit {
  readonly name: string;
  readonly has: number | undefined;
  readonly guaranteed: number;
  readonly enough: boolean;
}

export interface DoctorReport {
  readonly platform: string;
  readonly runtime: string;
  /** The adapter that runs would use; undefined where there is none. */
  readonly adapter: AdapterReport | undefined;
  /** Every adapter found, with where. */
  readonly adapters: readonly { readonly source: string; readonly name: string }[];
  readonly limits: readonly DoctorLimit[];
  readonly features: readonly { readonly name: string; readonly present: boolean; readonly use: string }[];
  readonly problems: readonly DoctorProblem[];
}

const uses: Readonly<Record<string, string>> = {
  "timestamp-query": "times each kernel in `--profile`",
  "shader-f16": "halves as elements, for `--precision f16`",
  subgroups: "faster reductions",
};

export async function deviceReport(options: OpenOptions = {}): Promise<DoctorReport> {
  const problems: DoctorProblem[] = [];
  let adapter: AdapterReport | undefined;
  let adapters: { readonly source: string; readonly name: string }[] = [];
  const node = inNode();
  try {
    if (node) {
      const dawn = (await import(/* @vite-ignore */ siblingModule("node"))) as typeof import("./node.ts");
      adapters = await dawn.listNodeAdapters();
      adapter = await dawn.describeNodeAdapter(options);
    } else {
      adapter = await describeBrowserAdapter();
    }
  } catch (thrown) {
    const help = thrown instanceof HeddleError ? thrown.help : undefined;
    problems.push({ severity: "error", message: messageOf(thrown), help: help ?? "report it with the output of `heddle doctor --json`" });
  }
  if (node) problems.push(...(await nodeProblems(adapter)));
  if (adapter !== undefined) problems.push(...adapterProblems(adapter));
  return {
    platform: node ? `${process.platform} ${process.arch}` : "browser",
    runtime: node ? `Node ${process.versions.node}` : navigator.userAgent,
    adapter,
    adapters,
    limits: adapter === undefined ? [] : limitTable(adapter),
    features: optionalFeatures.map((name) => ({ name, present: adapter?.features.includes(name) ?? false, use: uses[name] ?? "" })),
    problems,
  };
}

function limitTable(adapter: AdapterReport): DoctorLimit[] {
  return Object.entries(guaranteedLimits).map(([name, guaranteed]) => {
    const has = adapter.limits[name];
    return { name, has, guaranteed, enough: shortfalls(adapter.limits, { [name]: guaranteed }).length === 0 };
  });
}

async function nodeProblems(adapter: AdapterReport | undefined): Promise<DoctorProblem[]> {
  const problems: DoctorProblem[] = [];
  const [major = 0] = process.versions.node.split(".").map(Number);
  if (major < 20) problems.push({ severity: "error", message: `Node ${process.versions.node} is too old`, help: "install Node 20 or later" });
  const drivers = (await import(/* @vite-ignore */ siblingModule("drivers"))) as typeof import("./drivers.ts");
  const signs = drivers.gpuSigns();
  const onCpu = adapter === undefined || adapter.fallback;
  if (onCpu && signs.nvidia) {
    problems.push({
      severity: "warning",
      message: "an NVIDIA GPU is present, but Vulkan does not see it",
      help: "in a container set NVIDIA_DRIVER_CAPABILITIES=all and mount `nvidia_icd.json`; else install the driver's Vulkan part, or point VK_DRIVER_FILES to its manifest",
    });
  } else if (onCpu && signs.dri) {
    problems.push({ severity: "warning", message: "a GPU is present, but Vulkan does not see it", help: "install `libvulkan1` and `mesa-vulkan-drivers`, and add your user to the group `render`" });
  }
  return problems;
}

function adapterProblems(adapter: AdapterReport): DoctorProblem[] {
  const problems: DoctorProblem[] = [];
  if (adapter.fallback) {
    problems.push({
      severity: "note",
      message: `\`${adapter.name}\` runs on the CPU: right, but slow`,
      help: "use a machine with a GPU and its Vulkan driver for training beyond small models",
    });
  }
  if (adapter.source === "null") {
    problems.push({ severity: "warning", message: "the null adapter compiles kernels and runs none", help: "unset HEDDLE_ADAPTER" });
  }
  for (const short of shortfalls(adapter.limits, guaranteedLimits)) {
    problems.push({ severity: "error", message: `\`${short.name}\` is ${short.has ?? "unknown"}, below the guaranteed ${short.needs}`, help: "update the GPU driver, or choose another adapter with HEDDLE_ADAPTER" });
  }
  return problems;
}

/** The report for a terminal; no colours. */
export function renderDoctor(report: DoctorReport): string {
  const lines = [`machine    ${report.platform}, ${report.runtime}`];
  const a = report.adapter;
  if (a === undefined) lines.push("adapter    none");
  else {
    lines.push(`adapter    ${a.name}${a.fallback ? " (software)" : ""}, found by ${a.source}`);
    if (a.vendor || a.architecture) lines.push(`vendor     ${[a.vendor, a.architecture].filter(Boolean).join(" ")}`);
    lines.push(`subgroups  ${a.subgroupMaxSize > 0 ? `${a.subgroupMinSize} to ${a.subgroupMaxSize} lanes` : "none"}`);
  }
  // Dawn lists an adapter by another name than the one it reports, so a single one is not worth a line.
  const all = report.adapters.map((each) => `${each.name} (${each.source})`);
  if (all.length > 1 || (a === undefined && all.length > 0)) lines.push(`listed     ${all.join("\n           ")}`);
  if (a !== undefined) for (const f of report.features) lines.push(`feature    ${f.present ? "yes" : "no "} ${f.name}: ${f.use}`);
  for (const l of report.limits) lines.push(`limit      ${l.enough ? "ok " : "LOW"} ${l.name} ${l.has ?? "?"} (guaranteed ${l.guaranteed})`);
  for (const p of report.problems) lines.push("", `${p.severity}: ${p.message}`, `  = help: ${p.help}`);
  if (!report.problems.some((p) => p.severity === "error")) lines.push("", "ready to run");
  return lines.join("\n");
}
