// Weight files and the flat `params` buffer: one tensor a parameter, by its model path.
// Refuses a file that lacks a parameter, has one the model does not know, or one of another shape, naming both shapes.

import type { ModelSpec } from "../../compiler/plan/manifest.ts";
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
    const shape = p.axes.map((a) => a.size);
    if (!entry) throw new HeddleError({ code: "E0542", message: `the weights have no \`${p.path}\``, place, help: "were they trained with another variant (--model) or version of the spec?" });
    if (entry.shape.join() !== shape.join())
      throw new HeddleError({ code: "E0542", message: `\`${p.path}\` is ${p.axes.map((a) => `${a.name} = ${a.size}`).join(", ")} in the model and [${entry.shape.join(", ")}] in the weights`, place, help: "were they trained with another variant (--model) or version of the spec?" });
    all.set(floatsOf(entry, place), p.offset);
  }
  for (const name of tensors.keys())
    if (!spec.parameters.some((p) => p.path === name)) throw new HeddleError({ code: "E0542", message: `the weights hold \`${name}\`, which the model does not have`, place, help: "were they trained with another variant (--model) or version of the spec?" });
  return all;
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
