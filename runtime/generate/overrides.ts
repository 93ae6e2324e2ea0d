// What a caller changes of the spec's samplers. In: options by stream, as a person wrote them. Out: the same, checked, for the engine.
// Refuses a stream that is not sampled, a setting its samplers do not have, a value out of range: a misspelt setting that changes
// nothing would be found only by looking at the result.

import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";

/** `{ image: { steps: 20, guidance: 2 } }` */
export type SamplerOverrides = Readonly<Record<string, { readonly kind?: string } & Readonly<Record<string, number | string | undefined>>>>;

type Checked = Record<string, { kind?: string; args: Record<string, number> }>;

interface Range {
  readonly whole?: boolean;
  readonly min: number;
  readonly max?: number;
}

const text = {
  kinds: ["greedy", "temperature", "top_k", "nucleus"],
  settings: { max: { whole: true, min: 1 }, temperature: { min: 0 }, k: { whole: true, min: 1 }, p: { min: 0, max: 1 } } as Readonly<Record<string, Range>>,
};
const numbers = {
  kinds: ["ddim", "euler", "heun"],
  settings: { steps: { whole: true, min: 1 }, guidance: { min: 0 }, clip: { min: 0 } } as Readonly<Record<string, Range>>,
};

const refuse = (message: string, help: string): never => {
  throw new HeddleError({ code: "E0563", message, help, exit: 2 });
};

export function checkOverrides(spec: ModelSpec, given: SamplerOverrides | undefined): Checked | undefined {
  if (!given) return undefined;
  const out: Checked = {};
  for (const [name, settings] of Object.entries(given)) {
    const stream = spec.streams.find((s) => s.name === name && spec.samplers.some((x) => x.stream === name));
    if (!stream) return refuse(`no stream \`${name}\` is sampled`, `the model samples ${spec.samplers.map((s) => `\`${s.stream}\``).join(", ")}`);
    const known = stream.kind === "text" ? text : numbers;
    const args: Record<string, number> = {};
    for (const [key, value] of Object.entries(settings)) {
      if (value === undefined || key === "kind") continue;
      const range = Object.hasOwn(known.settings, key) ? known.settings[key] : undefined;
      if (!range) return refuse(`the samplers of stream \`${name}\` have no setting \`${key}\``, `they have \`kind\`, ${Object.keys(known.settings).map((s) => `\`${s}\``).join(", ")}`);
      if (typeof value !== "number" || !(value >= range.min && value <= (range.max ?? Number.MAX_VALUE)) || (range.whole && !Number.isInteger(value)))
        return refuse(`\`${name}.${key}\` cannot be ${String(value)}`, `it is a ${range.whole ? "whole " : ""}number from ${range.min}${range.max === undefined ? "" : ` to ${range.max}`}`);
      args[key] = value;
    }
    const kind = settings.kind;
    if (kind !== undefined && !known.kinds.includes(kind)) return refuse(`stream \`${name}\` cannot be sampled by \`${kind}\``, `use one of ${known.kinds.map((k) => `\`${k}\``).join(", ")}`);
    out[name] = { ...(kind === undefined ? {} : { kind }), args };
  }
  return out;
}
