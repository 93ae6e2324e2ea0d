// First values of the parameters, from the seed alone: parameter i draws from Philox stream i, whatever the others do.
// A parameter that starts as a copy of another takes the other's first values; where it has experts and the other has none, each
// expert does. Experts that start alike all have the draw of the first.

import type { ModelSpec, ParameterSpec } from "../../compiler/plan/manifest.ts";
import { normalAt, uniformAt } from "../random/philox.ts";

export const sizeOf = (axes: ParameterSpec["axes"]): number => axes.reduce((n, a) => n * a.size, 1);

/** How many experts the leading axes of a parameter count; 1 where it has none. */
export const expertsOf = (p: ParameterSpec): number => sizeOf(p.axes.slice(0, p.experts ?? 0));

/** Fills `p` with `values`, once, or once for each expert. */
export function fill(all: Float32Array, p: ParameterSpec, values: Float32Array): void {
  for (let at = 0; at < sizeOf(p.axes); at += values.length) all.set(values, p.offset + at);
}

/** The whole `params` buffer; gaps between parameters are zero. */
export function initialParameters(spec: ModelSpec, seed: number): Float32Array {
  const all = new Float32Array(spec.parameterCount);
  spec.parameters.forEach((p, stream) => {
    if (p.from !== undefined) return;
    const each = sizeOf(p.axes) / (p.alike ? expertsOf(p) : 1);
    fill(all, p, Float32Array.from({ length: each }, (_, n) => draw(p.init, n, stream, seed)));
  });
  copyOrigins(spec, all, spec.parameters.filter((p) => p.from !== undefined));
  return all;
}

/** Gives each of `copies` what the parameter holds that it starts from; those that others start from come first. */
export function copyOrigins(spec: ModelSpec, all: Float32Array, copies: readonly ParameterSpec[]): void {
  const byPath = new Map(spec.parameters.map((p) => [p.path, p]));
  const wanted = new Set(copies);
  const done = new Set<ParameterSpec>();
  const settle = (p: ParameterSpec, behind: readonly ParameterSpec[]): void => {
    if (done.has(p)) return;
    const origin = byPath.get(p.from ?? "");
    if (!origin || behind.includes(p)) throw new Error(`${p.path} starts from ${p.from}, which ${origin ? "starts from it" : "there is not"}`);
    if (wanted.has(origin)) settle(origin, [...behind, p]);
    const size = sizeOf(origin.axes);
    if (size !== sizeOf(p.axes) && size * expertsOf(p) !== sizeOf(p.axes)) throw new Error(`${p.path} starts from ${p.from}, which has another shape`);
    fill(all, p, all.slice(origin.offset, origin.offset + size));
    done.add(p);
  };
  for (const p of copies) settle(p, []);
}

function draw(init: ParameterSpec["init"], n: number, stream: number, seed: number): number {
  switch (init.kind) {
    case "zeros": return 0;
    case "ones": return 1;
    case "normal": return init.std * normalAt(n, stream, seed, 0);
    case "uniform": return init.low + (init.high - init.low) * uniformAt(n, stream, seed, 0);
  }
}
