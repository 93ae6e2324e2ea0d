// A data folder as what the training loop draws from: per row and stream, token ids or patch features. A text stream reads the row's
// field of its own name where the row has one (text or a list of texts), else the captions; an image stream reads the image.

import type { ModelSpec, PatchStream, TextStream } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import type { FieldValue } from "../sequence/layout.ts";
import type { Image } from "../tokenize/image.ts";
import { type PatchTokenizer, patchTokenizer } from "../tokenize/patches.ts";
import type { TextTokenizer } from "../tokenize/text.ts";
import { type DataFolder, type DataRow, rowsFile } from "./data.ts";
import { textList } from "./data_rows.ts";
import type { TrainingData } from "./loop.ts";

/** `tokenizers` by text stream. */
export function dataValues(folder: DataFolder, model: ModelSpec, tokenizers: Readonly<Record<string, TextTokenizer>>): TrainingData {
  const patches = new Map<string, PatchTokenizer>();
  for (const stream of model.streams) if (stream.kind === "patches") patches.set(stream.name, patchesOf(stream));
  const encoded = new Map<string, Int32Array>();
  return {
    count: folder.rows.length,
    value(index, name, draw): FieldValue {
      const row = folder.rows[index];
      const stream = model.streams.find((each) => each.name === name);
      if (row === undefined || stream === undefined) throw new Error(`no value of row ${index}, stream ${name}`);
      if (stream.kind === "patches") return { kind: "features", data: (patches.get(name) as PatchTokenizer).encode(folder.image(row)) };
      const texts = textsOf(row, stream, folder.path);
      const text = texts[Math.min(texts.length - 1, Math.floor(draw * texts.length))] as string;
      const key = `${name}\0${text}`;
      let ids = encoded.get(key);
      if (ids === undefined) {
        ids = (tokenizers[name] as TextTokenizer).encode(text);
        encoded.set(key, ids);
      }
      return { kind: "ids", ids };
    },
  };
}

export function patchesOf(stream: PatchStream): PatchTokenizer {
  return patchTokenizer(stream.patch, { height: stream.height, width: stream.width, channels: stream.channels });
}

/** One image as the field value of a stream, for conditions at sampling. */
export function imageValue(stream: PatchStream, image: Image): FieldValue {
  return { kind: "features", data: patchesOf(stream).encode(image) };
}

function textsOf(row: DataRow, stream: TextStream, path: string): readonly string[] {
  const own = row.values[stream.name];
  const texts = own === undefined ? row.captions : textList(own);
  if (texts !== undefined) return texts;
  throw new HeddleError({ code: "E0531", message: `\`${stream.name}\` is neither text nor a list of texts`, place: `${rowsFile(path) ?? path}:${row.line}`, help: "write text, or leave the field out to use the captions" });
}
