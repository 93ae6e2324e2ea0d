// A compiled model to the files of a bundle. In: CompiledModel, weights and tokenizer files as bytes. Out: name -> bytes,
// manifest last. Pure: the caller writes. The WGSL of each kernel is a file of its own, shared by all plans.

import type { CompiledModel } from "../compile.ts";
import { contentHash, sha256 } from "../plan/hash.ts";
import { layoutPlan } from "../plan/layout.ts";
import { type Manifest, manifestVersion, type ProgramName } from "../plan/manifest.ts";
import type { Plan } from "../plan/plan.ts";
import { writeClient } from "./client.ts";

export interface BundleParts {
  readonly compiled: CompiledModel;
  /** Version of Heddle. */
  readonly version: string;
  /** `weights.safetensors`; none for an untrained bundle. */
  readonly weights?: Uint8Array;
  /** Tokenizer files by the name the spec gives them. */
  readonly tokenizers: ReadonlyMap<string, Uint8Array>;
  /** The portable runtime: files of the folder `runtime/`. */
  readonly runtime: ReadonlyMap<string, Uint8Array>;
  /** Packages that the runtime needs in Node, with their versions; a page needs none. */
  readonly packages: Readonly<Record<string, string>>;
  /** Lengths at which peak bytes are stated. */
  readonly lengths: Readonly<Record<string, number>>;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export function bundleFiles(parts: BundleParts): Map<string, Uint8Array> {
  const { compiled } = parts;
  const files = new Map<string, Uint8Array>();
  const programs: { name: ProgramName; file: string; sha256: string }[] = [];
  const peak: { program: string; lengths: Record<string, number>; bytes: number }[] = [];
  for (const [name, plan] of Object.entries(compiled.plans) as [ProgramName, Plan][]) {
    const modules = plan.modules.map((m) => {
      const file = `kernels/${contentHash(m.wgsl).slice(0, 16)}.wgsl`;
      files.set(file, encode(m.wgsl));
      return { ...m, wgsl: file };
    });
    const file = `plans/${name}.json`;
    const bytes = encode(JSON.stringify({ ...plan, modules }));
    files.set(file, bytes);
    programs.push({ name, file, sha256: sha256(bytes) });
    const lengths = Object.fromEntries(plan.lengths.map((l) => [l, parts.lengths[l] ?? 1]));
    peak.push({ program: name, lengths, bytes: layoutPlan(plan, lengths).peakBytes });
  }
  const client = writeClient(compiled.spec);
  files.set("index.js", encode(client.js));
  files.set("index.d.ts", encode(client.dts));
  // Says that index.js is a module, and lets `npm install` in the folder bring what Node needs.
  const about = { name: `heddle-${compiled.spec.name.toLowerCase()}`, version: "0.0.0", private: true, type: "module", main: "index.js", types: "index.d.ts", optionalDependencies: parts.packages };
  files.set("package.json", encode(`${JSON.stringify(about, null, 2)}\n`));
  for (const [name, bytes] of parts.runtime) files.set(`runtime/${name}`, bytes);
  for (const [name, bytes] of parts.tokenizers) files.set(name, bytes);
  if (parts.weights) files.set("weights.safetensors", parts.weights);
  const manifest: Manifest = {
    format: manifestVersion,
    heddle: parts.version,
    model: compiled.spec,
    states: compiled.states,
    programs,
    files: [...files].map(([name, bytes]) => ({ name, sha256: sha256(bytes), bytes: bytes.length })),
    ...(parts.weights ? { weights: "weights.safetensors" } : {}),
    peak,
  };
  files.set("manifest.json", encode(`${JSON.stringify(manifest, null, 1)}\n`));
  return files;
}
