// Weights that a person names: a safetensors file, a checkpoint, or the folder of a run (its newest checkpoint; EMA if it has one).

import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { HeddleError } from "../runtime/error.ts";
import { listCheckpoints } from "../runtime/train/checkpoint.ts";
import { readBytes } from "../runtime/weights/file.ts";

export interface NamedWeights {
  readonly file: string;
  readonly bytes: Uint8Array;
}

export async function readWeights(place: string, raw = false): Promise<NamedWeights> {
  const file = await weightsFile(place, raw);
  return { file, bytes: await readBytes(file) };
}

async function weightsFile(place: string, raw: boolean): Promise<string> {
  if (!existsSync(place)) throw new HeddleError({ code: "E0580", message: `there are no weights at \`${place}\``, help: "give a safetensors file or the --out folder of `heddle train`", exit: 2 });
  if (!statSync(place).isDirectory()) return place;
  const newest = existsSync(path.join(place, "weights.safetensors")) ? place : (await listCheckpoints(place))[0]?.path;
  if (newest === undefined) throw new HeddleError({ code: "E0538", message: `no checkpoint in \`${place}\``, place });
  const ema = path.join(newest, "ema.safetensors");
  return !raw && existsSync(ema) ? ema : path.join(newest, "weights.safetensors");
}
