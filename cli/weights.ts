// Weights that a person names: a safetensors file, a checkpoint, or the folder of a run (its newest checkpoint; EMA if it has one).

import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { HeddleError } from "../runtime/error.ts";
import { listCheckpoints, readPart } from "../runtime/train/checkpoint.ts";
import { readBytes } from "../runtime/weights/file.ts";

export interface NamedWeights {
  readonly file: string;
  readonly bytes: Uint8Array;
}

export async function readWeights(place: string, raw = false): Promise<NamedWeights> {
  const file = await weightsFile(place, raw);
  const folder = path.dirname(file);
  // A folder that was a checkpoint says what its files must be; a file that is named itself is taken as it is.
  const saved = file !== place && existsSync(path.join(folder, "state.json"));
  return { file, bytes: saved ? await readPart(folder, path.basename(file, ".safetensors")) : await readBytes(file) };
}

async function weightsFile(place: string, raw: boolean): Promise<string> {
  if (!existsSync(place)) throw new HeddleError({ code: "E0580", message: `there are no weights at \`${place}\``, help: "give a safetensors file or the --out folder of `heddle train`", exit: 2 });
  if (!statSync(place).isDirectory()) return place;
  const newest = existsSync(path.join(place, "weights.safetensors")) ? place : (await listCheckpoints(place))[0]?.path;
  if (newest === undefined) throw new HeddleError({ code: "E0538", message: `no checkpoint in \`${place}\``, place });
  const ema = path.join(newest, "ema.safetensors");
  return !raw && existsSync(ema) ? ema : path.join(newest, "weights.safetensors");
}
