// Opens a bundle: checks the manifest and every hash, opens a device, loads weights and tokenizers. Imports no compiler code
// but plan data. Refuses a file whose content is not what the manifest says, and weights of other shapes.

import type { Manifest, ProgramName } from "../../compiler/plan/manifest.ts";
import type { Plan } from "../../compiler/plan/plan.ts";
import { parsePlan } from "../../compiler/plan/schema.ts";
import { type GpuHost, openDevice } from "../device/device.ts";
import { HeddleError } from "../error.ts";
import { Machine } from "../exec/machine.ts";
import { GenerativeModel, openCodecs } from "../generate/model.ts";
import { loadParameters } from "../weights/parameters.ts";
import { parseManifest } from "./manifest_schema.ts";
import { type BundleSource, bundleSource } from "./source.ts";

export interface LoadOptions {
  /** An open device; default opens one. */
  readonly host?: GpuHost;
  /** As HEDDLE_ADAPTER. */
  readonly adapter?: string;
  readonly progress?: (stage: "files" | "kernels", done: number, total: number) => void;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** A bundle's manifest and checked files. */
export async function readBundle(source: BundleSource): Promise<{ manifest: Manifest; plans: Partial<Record<ProgramName, Plan>>; file(name: string): Promise<Uint8Array> }> {
  const text = new TextDecoder().decode(await source.read("manifest.json"));
  const manifest = parseManifest(text, `${source.place}/manifest.json`);
  const file = async (name: string): Promise<Uint8Array> => {
    const said = manifest.files.find((f) => f.name === name);
    const bytes = await source.read(name);
    if (!said || said.bytes !== bytes.length || said.sha256 !== (await sha256(bytes)))
      throw new HeddleError({ code: "E0573", message: `\`${name}\` is not the file the bundle was made with`, place: source.place, help: "copy the bundle again, or build it again with `heddle build`" });
    return bytes;
  };
  const plans: Partial<Record<ProgramName, Plan>> = {};
  for (const p of manifest.programs) {
    const parsed = parsePlan(JSON.parse(new TextDecoder().decode(await file(p.file))));
    if (!parsed.ok) throw new HeddleError({ code: "E0572", message: `the plan \`${p.file}\` is not sound: ${parsed.problems[0] ?? ""}`, place: source.place });
    const modules = await Promise.all(parsed.value.modules.map(async (m) => ({ ...m, wgsl: new TextDecoder().decode(await file(m.wgsl)) })));
    plans[p.name] = { ...parsed.value, modules };
  }
  return { manifest, plans, file };
}

/**
 * Load a bundle, ready to generate.
 * @example const model = await load("./digits"); const { picture } = await model.run("draw", { caption: "a handwritten seven" });
 */
export async function load(place: string | URL | BundleSource, options: LoadOptions = {}): Promise<GenerativeModel> {
  const source = typeof place === "object" && "read" in place ? place : bundleSource(place);
  const { manifest, plans, file } = await readBundle(source);
  options.progress?.("files", 1, 1);
  const proven = Object.values(plans).every((p) => p.modules.every((m) => m.proven));
  const host = options.host ?? (await openDevice({ ...(options.adapter === undefined ? {} : { adapter: options.adapter }), trusted: proven }));
  const machine = new Machine(host, { spec: manifest.model, states: manifest.states, plans });
  if (manifest.weights) machine.states.write("params", loadParameters(manifest.model, await file(manifest.weights), manifest.weights));
  const codecs = await openCodecs(manifest.model.streams, async (name) => new TextDecoder().decode(await file(name)));
  const names = manifest.programs.map((p) => p.name).filter((n): n is ProgramName => n === "step" || n === "denoise" || n === "beside");
  for (const [i, name] of names.entries()) await machine.program(name, (done, total) => options.progress?.("kernels", i * total + done, names.length * total));
  return new GenerativeModel(machine, codecs);
}
