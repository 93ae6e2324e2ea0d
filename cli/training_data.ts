// A data folder checked against a model: image sizes and captions are refused before training starts.

import type { ModelSpec } from "../compiler/plan/manifest.ts";
import type { Codec } from "../runtime/generate/model.ts";
import type { TextTokenizer } from "../runtime/tokenize/text.ts";
import { type DataFolder, openData } from "../runtime/train/data.ts";
import { dataValues } from "../runtime/train/data_values.ts";
import type { TrainingData } from "../runtime/train/loop.ts";

/** Rows of `split`, or every row where it is undefined. */
export function openTrainingData(path: string, spec: ModelSpec, codecs: ReadonlyMap<string, Codec>, split?: string): TrainingData & { readonly folder: DataFolder } {
  const image = spec.streams.find((s) => s.kind === "patches");
  const tokenizers: Record<string, TextTokenizer> = {};
  for (const [name, codec] of codecs) if (codec.kind === "text") tokenizers[name] = codec.tokenizer;
  const [first] = Object.values(tokenizers);
  const folder = openData(path, {
    ...(split === undefined ? {} : { split }),
    ...(image?.kind === "patches" ? { size: { height: image.height, width: image.width, channels: image.channels } } : {}),
    needs: { image: image !== undefined, texts: spec.streams.flatMap((s) => (s.kind === "text" ? [s.name] : [])) },
    ...(first ? { checkCaption: (caption: string) => void first.encode(caption) } : {}),
  });
  return { folder, ...dataValues(folder, spec, tokenizers) };
}
