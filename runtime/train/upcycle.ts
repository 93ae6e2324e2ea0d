// Weights of a model that does not route, or routes less, as the start of one that does (sparse upcycling, Komatsuzaki et al. 2023).
// In: tensors by path. Out: the flat `params` buffer. A weight that the file has under its own path is taken; one that it has without
// the experts' axes or without the names of branches fills every expert and branch; a branch that starts from another takes what
// that one got; routers that the file lacks start fresh. Anything else that is missing or left over is refused as ever (E0542).

import type { ModelSpec, ParameterSpec } from "../../compiler/plan/manifest.ts";
import { floatsOf } from "../weights/numbers.ts";
import { misshapen, missing, refuseUnknown, shapeOf } from "../weights/parameters.ts";
import type { TensorEntry } from "../weights/safetensors.ts";
import { copyOrigins, fill, initialParameters } from "./initial.ts";

export interface Upcycled {
  readonly values: Float32Array;
  /** Paths of the file that became weights of experts or branches, and how many weights they became. */
  readonly copied: readonly string[];
  readonly into: number;
  /** Weights of routers that start fresh. */
  readonly fresh: readonly string[];
}

/** `seed` draws what is new. */
export function upcycle(spec: ModelSpec, tensors: ReadonlyMap<string, TensorEntry>, seed: number, place: string): Upcycled {
  const values = initialParameters(spec, seed);
  const copied = new Set<string>();
  const fresh: string[] = [];
  const known = new Set(spec.parameters.map((p) => p.path));
  const origins: ParameterSpec[] = [];
  let into = 0;
  for (const p of spec.parameters) {
    const name = tensors.has(p.path) ? p.path : (p.dense ?? p.path);
    const entry = tensors.get(name);
    if (entry) {
      const shape = shapeOf(p);
      const whole = entry.shape.join() === shape.join();
      if (!whole && entry.shape.join() !== shape.slice(p.experts ?? 0).join()) throw misshapen(p, entry, place);
      fill(values, p, floatsOf(entry, place));
      if (whole && name === p.path) continue;
      copied.add(name);
      into++;
    } else if (p.from !== undefined) origins.push(p);
    else if (p.router) fresh.push(p.path);
    else throw missing(p, place);
  }
  copyOrigins(spec, values, origins);
  refuseUnknown(tensors, new Set([...known, ...copied]), place);
  return { values, copied: [...copied, ...new Set(origins.map((p) => p.from ?? ""))], into: into + origins.length, fresh };
}

/** One line for people; undefined where every weight had its own. */
export function upcycledText({ copied, into, fresh }: Upcycled): string | undefined {
  if (copied.length === 0 && fresh.length === 0) return undefined;
  const some = (paths: readonly string[]): string => `${paths.slice(0, 3).join(", ")}${paths.length > 3 ? `, … ${paths.length} in all` : ""}`;
  const parts = [
    ...(copied.length > 0 ? [`copied into ${into} weights of experts and branches: ${some(copied)}`] : []),
    ...(fresh.length > 0 ? [`new: ${some(fresh)}`] : []),
  ];
  return parts.join("; ");
}
