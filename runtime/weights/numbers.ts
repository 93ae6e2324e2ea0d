// Tensor bytes as numbers: f16 and bf16 are widened to f32 exactly, integers stay integers. Refuses types that the GPU
// side has no place for (64-bit and signed 8- and 16-bit).

import { halfNumber } from "../../compiler/plan/half.ts";
import { HeddleError } from "../error.ts";
import type { TensorEntry } from "./safetensors.ts";

/** F32, F16 and BF16 as f32; always a copy, so alignment in the file does not matter. */
export function floatsOf(tensor: TensorEntry, place: string): Float32Array {
  const { bytes } = tensor;
  switch (tensor.dtype) {
    case "F32":
      return new Float32Array(copyOf(bytes));
    case "BF16": {
      const halves = new Uint16Array(copyOf(bytes));
      const words = new Uint32Array(halves.length);
      for (let i = 0; i < halves.length; i++) words[i] = (halves[i] as number) << 16;
      return new Float32Array(words.buffer);
    }
    case "F16": {
      const halves = new Uint16Array(copyOf(bytes));
      return Float32Array.from(halves, halfNumber);
    }
    default:
      throw wrongType(tensor, place, "numbers with a fraction (F32, F16, BF16)");
  }
}

/** I32, U32 and U8 (widened to u32). */
export function integersOf(tensor: TensorEntry, place: string): Int32Array | Uint32Array {
  switch (tensor.dtype) {
    case "I32":
      return new Int32Array(copyOf(tensor.bytes));
    case "U32":
      return new Uint32Array(copyOf(tensor.bytes));
    case "U8":
      return Uint32Array.from(tensor.bytes);
    default:
      throw wrongType(tensor, place, "whole numbers (I32, U32, U8)");
  }
}

function copyOf(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(copy).set(bytes);
  return copy;
}

function wrongType(tensor: TensorEntry, place: string, wanted: string): HeddleError {
  return new HeddleError({
    code: "E0513",
    message: `tensor \`${tensor.name}\` holds ${tensor.dtype}, but ${wanted} are needed`,
    place,
    help: "convert the file, or check that it belongs to this model",
  });
}
