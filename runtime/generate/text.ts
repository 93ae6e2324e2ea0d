// Choosing a token from logits. In: logits, a sampler, one uniform number. Out: an id.
// Order of the restrictions: allowed ids, temperature, top-k, nucleus (Holtzman et al. 2020).

import type { SamplerSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";

const kinds = ["greedy", "temperature", "top_k", "nucleus"];

/** Pick among `allowed` ids; `uniform` in [0, 1). */
export function chooseToken(logits: Float32Array, sampler: SamplerSpec, allowed: (id: number) => boolean, uniform: number): number {
  if (!kinds.includes(sampler.kind))
    throw new HeddleError({ code: "E0563", message: `\`${sampler.kind}\` does not sample the text stream \`${sampler.stream}\``, help: `use one of ${kinds.join(", ")}` });
  const temperature = sampler.args.temperature ?? 1;
  let ids: number[] = [];
  for (let i = 0; i < logits.length; i++) if (allowed(i)) ids.push(i);
  const at = (i: number): number => logits[i] ?? 0;
  ids.sort((x, y) => at(y) - at(x) || x - y);
  const best = ids[0];
  if (best === undefined) throw new HeddleError({ code: "E0564", message: "no token is allowed here" });
  if (sampler.kind === "greedy" || temperature <= 0) return best;
  if (sampler.kind === "top_k" || sampler.args.k !== undefined) ids = ids.slice(0, Math.max(1, sampler.args.k ?? 40));
  const top = at(best);
  const weights = ids.map((i) => Math.exp((at(i) - top) / temperature));
  const total = weights.reduce((n, w) => n + w, 0);
  const keep = sampler.kind === "nucleus" ? (sampler.args.p ?? 0.9) : 1;
  let mass = 0;
  let count = 0;
  while (count < ids.length && (count === 0 || mass < keep * total)) mass += weights[count++] ?? 0;
  let left = uniform * mass;
  for (let i = 0; i < count; i++) {
    left -= weights[i] ?? 0;
    if (left < 0) return ids[i] ?? best;
  }
  return ids[count - 1] ?? best;
}
