// The specs of docs/masks as `heddle explain mask --json` reports them, with the options that their first line names.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { explainMask } from "../../cli/commands/explain_mask.ts";
import type { MaskOptions } from "../../cli/commands/explain_mask.ts";
import type { Checked } from "../../cli/spec.ts";
import { checkFile } from "../../compiler/check.ts";
import type { MaskReport } from "../../compiler/mask/explain.ts";
import { makeSource } from "../../grammar/source.ts";
import { loaderOf, root } from "../types/loader.ts";

export const specFile = (mask: string): string => join(root, "docs/masks", `${mask}.heddle`);

/** `// heddle explain mask docs/masks/near.heddle --length picture=12` */
export function optionsOf(mask: string): MaskOptions {
  const [first = ""] = readFileSync(specFile(mask), "utf8").split("\n", 1);
  const command = `// heddle explain mask docs/masks/${mask}.heddle`;
  if (!first.startsWith(command)) throw new Error(`${mask}.heddle begins with ${first}`);
  const words = first.slice(command.length).trim().split(/\s+/).filter((w) => w !== "");
  const options: MaskOptions = { length: [], json: true };
  for (let i = 0; i < words.length; i += 2) {
    const [name, value = ""] = [words[i], words[i + 1]];
    if (name === "--length") options.length.push(value);
    else if (name === "--layer") options.layer = value;
    else if (name === "--documents") options.documents = value;
    else throw new Error(`${mask}.heddle: ${String(name)}`);
  }
  return options;
}

/** What the command writes to stdout. */
export async function reported(mask: string): Promise<MaskReport> {
  const source = makeSource(specFile(mask), readFileSync(specFile(mask), "utf8"));
  const checked: Checked = { source, ...checkFile(source, loaderOf()), sources: (name) => (name === source.path ? source : undefined) };
  const [model] = checked.models;
  if (!model || model.notBuilt.length > 0) throw new Error(`${mask}: ${[...checked.diagnostics, ...(model?.notBuilt ?? [])].map((d) => d.message).join("; ")}`);
  const write = process.stdout.write.bind(process.stdout);
  let text = "";
  process.stdout.write = (chunk: string | Uint8Array): boolean => ((text += String(chunk)), true);
  try {
    await explainMask(model, checked, optionsOf(mask));
  } finally {
    process.stdout.write = write;
  }
  return JSON.parse(text) as MaskReport;
}
