// Weight files and the flat `params` buffer: one tensor a parameter, by its model path.
// Refuses a file that lacks a parameter, has one the model does not know, or one of another shape, naming both shapes.

import type { ModelSpec, ParameterSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import { floatsOf } from "./numbers.ts";
import { parseSafetensors, type TensorData, type TensorEntry } from "./safetensors.ts";

/** The flat buffer from the bytes of a safetensors file; `place` names the file. */
export const loadParameters = (spec: ModelSpec, bytes: Uint8Array, place: string): Float32Array => loadEntries(spec, parseSafetensors(bytes, place).tensors, place);

/** The flat buffer from parsed tensors, by model path. */
export function loadEntries(spec: ModelSpec, tensors: ReadonlyMap<string, TensorEntry>, place: string): Float32Array {
  const all = new Float32Array(spec.parameterCount);
  for (const p of spec.parameters) {
    const entry = tensors.get(p.path);
    if (!entry) throw missing(p, place);
    if (entry.shape.join() !== shapeOf(p).join()) throw misshapen(p, entry, place);
    all.set(floatsOf(entry, place), p.offset);
  }
  refuseUnknown(tensors, new Set(spec.parameters.map((p) => p.path)), place);
  return all;
}

export const shapeOf = (p: ParameterSpec): number[] => p.axes.map((a) => a.size);

const unfit = (message: string, place: string): HeddleError =>
  new HeddleError({ code: "E0542", message, place, help: "were they trained with another variant (--model) or version of the spec?" });

export const missing = (p: ParameterSpec, place: string): HeddleError => unfit(`the weights have no \`${p.path}\``, place);

export const misshapen = (p: ParameterSpec, entry: TensorEntry, place: string): HeddleError =>
  unfit(`\`${p.path}\` is ${p.axes.map((a) => `${a.name} = ${a.size}`).join(", ")} in the model and [${entry.shape.join(", ")}] in the weights`, place);

export function refuseUnknown(tensors: ReadonlyMap<string, TensorEntry>, known: ReadonlySet<string>, place: string): void {
  for (const name of tensors.keys()) if (!known.has(name)) throw unfit(`the weights hold \`${name}\`, which the model does not have`, place);
}

/** The tensors of a flat buffer, for writing. */
export function parameterTensors(spec: ModelSpec, all: Float32Array): TensorData[] {
  return spec.parameters.map((p) => {
    const shape = p.axes.map((a) => a.size);
    const size = shape.reduce((n, s) => n * s, 1);
    const data = all.slice(p.offset, p.offset + size);
    return { name: p.path, dtype: "F32", shape, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  });
}
