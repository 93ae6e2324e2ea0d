// A data folder: images with captions, or text alone. `captions.jsonl` or `text.jsonl` (or .gz) has a row a sample; images are PNG files by
// path, or one pack `images.idx` (MNIST's format; also images.idx3-ubyte, .gz) by index. Node only. Everything is checked on opening, so that training
// does not stop at row 40,000: rows, captions (by the tokenizer), that images exist and have the right size.

import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { HeddleError, messageOf } from "../error.ts";
import { checkSize, describe, type Image, imageFromBytes, type ImageSize } from "../tokenize/image.ts";
import { readError } from "../weights/file.ts";
import { type Pack, parseIdx } from "./data_idx.ts";
import { pngSize, readPng, unreadable } from "./data_png.ts";
import { type DataRow, exampleRow, parseRows, type RowNeeds, textList } from "./data_rows.ts";

export type { DataRow } from "./data_rows.ts";

export interface DataOptions {
  /** Only rows of this split; all without. */
  readonly split?: string;
  /** What the model takes; images of another size are refused. */
  readonly size?: ImageSize;
  /** What the model reads of a row; an image and captions without. */
  readonly needs?: RowNeeds;
  /** Called with every text; what it throws is given the text's place. */
  readonly checkCaption?: (caption: string) => void;
}

export interface DataFolder {
  readonly path: string;
  readonly rows: readonly DataRow[];
  /** The image of a row; decoded on demand and kept as bytes while memory allows. */
  image(row: DataRow): Image;
}

const rowFiles = ["captions.jsonl", "captions.jsonl.gz", "text.jsonl", "text.jsonl.gz"];
const packFiles = ["images.idx", "images.idx.gz", "images.idx3-ubyte", "images.idx3-ubyte.gz", "images.idx4-ubyte", "images.idx4-ubyte.gz"];
const keptBytes = 256 * 2 ** 20;

/** The file that holds the folder's rows, if it has one. */
export const rowsFile = (path: string): string | undefined => rowFiles.map((name) => join(path, name)).find((each) => existsSync(each));

export function openData(path: string, options: DataOptions = {}): DataFolder {
  checkFolder(path);
  const captions = rowsFile(path);
  if (captions === undefined) {
    const words = options.needs?.image === false;
    throw new HeddleError({ code: "E0530", message: `no ${words ? "text" : "captions"} in \`${path}\``, place: path, help: `add \`${words ? "text" : "captions"}.jsonl\`, one line ${words ? "a sample" : "an image"}: ${exampleRow(options.needs)}` });
  }
  const all = parseRows(new TextDecoder().decode(inflated(captions)), captions, options.needs);
  const rows = options.split === undefined ? all : all.filter((row) => row.split === options.split);
  if (rows.length === 0) throw noRows(captions, all, options.split);
  checkCaptions(rows, captions, options);
  const packFile = packFiles.map((name) => join(path, name)).find((each) => existsSync(each));
  const pack = packFile !== undefined && rows.some((row) => typeof row.image === "number") ? parseIdx(inflated(packFile), packFile) : undefined;
  checkImages(path, rows, captions, pack, options);

  const kept = new Map<string, { readonly size: ImageSize; readonly bytes: Uint8Array }>();
  let keeping = 0;
  return {
    path,
    rows,
    image(row) {
      if (row.image === undefined) throw new Error("a row without an image");
      if (typeof row.image === "number") {
        if (pack === undefined) throw new Error("a row of another folder");
        return imageFromBytes(pack.size, pack.at(row.image));
      }
      const file = join(path, row.image);
      let found = kept.get(file);
      if (found === undefined) {
        found = readPng(readImage(file, `${captions}:${row.line}`), file, options.size?.channels);
        if (keeping + found.bytes.length <= keptBytes) {
          kept.set(file, found);
          keeping += found.bytes.length;
        }
      }
      const image = imageFromBytes(found.size, found.bytes);
      if (options.size !== undefined) checkSize(image, options.size, file);
      return image;
    },
  };
}

function checkFolder(path: string): void {
  let folder = false;
  try {
    folder = statSync(path).isDirectory();
  } catch (thrown) {
    throw new HeddleError({ code: "E0530", message: `there is no data folder \`${path}\``, place: path, help: "give --data a folder with `captions.jsonl` and images, or with `text.jsonl`", cause: thrown });
  }
  if (!folder) throw new HeddleError({ code: "E0530", message: `\`${path}\` is a file, not a data folder`, place: path, help: "give --data the folder that holds it" });
}

function inflated(path: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (thrown) {
    throw readError(path, thrown);
  }
  if (!path.endsWith(".gz")) return bytes;
  try {
    return gunzipSync(bytes);
  } catch (thrown) {
    throw new HeddleError({ code: "E0536", message: `the compressed file is damaged: ${messageOf(thrown)}`, place: path, help: "copy or compress it again" });
  }
}

function noRows(place: string, all: readonly DataRow[], split: string | undefined): HeddleError {
  const splits = [...new Set(all.map((row) => row.split))];
  const message = split === undefined || splits.length === 0 ? "the data has no rows" : `no row belongs to the split \`${split}\``;
  const help = splits.length === 0 ? "write one JSON object a line" : `its splits are ${splits.map((each) => `\`${each}\``).join(", ")}`;
  return new HeddleError({ code: "E0532", message, place, help });
}

function checkCaptions(rows: readonly DataRow[], place: string, options: DataOptions): void {
  if (options.checkCaption === undefined) return;
  for (const row of rows) {
    for (const caption of [...row.captions, ...(options.needs?.texts ?? []).flatMap((name) => textList(row.values[name]) ?? [])]) {
      try {
        options.checkCaption(caption);
      } catch (thrown) {
        if (!(thrown instanceof HeddleError)) throw thrown;
        throw new HeddleError({ code: thrown.code, message: thrown.message, help: thrown.help, place: `${place}:${row.line}`, cause: thrown });
      }
    }
  }
}

function checkImages(path: string, rows: readonly DataRow[], captions: string, pack: Pack | undefined, options: DataOptions): void {
  if (pack !== undefined && options.size !== undefined) {
    checkSize({ ...pack.size, data: new Float32Array(0) }, options.size, path);
  }
  for (const row of rows) {
    const place = `${captions}:${row.line}`;
    if (row.image === undefined) continue;
    if (typeof row.image === "number") {
      if (pack === undefined) throw unreadable(place, "the row has an `index`, but the folder has no pack of images", "add `images.idx`, or name each image by `image`");
      if (row.image >= pack.count) throw unreadable(place, `the pack has no image ${row.image}: it holds ${pack.count}, from 0`, "make the pack and the captions again");
      continue;
    }
    if (isAbsolute(row.image)) throw unreadable(place, `\`${row.image}\` is an absolute path`, "name images relative to the data folder");
    const file = join(path, row.image);
    const size = pngSize(readHead(file, place));
    if (size === undefined) throw unreadable(file, "the image is not a PNG", "save it as PNG");
    if (options.size !== undefined && (size.height !== options.size.height || size.width !== options.size.width)) {
      throw new HeddleError({
        code: "E0535",
        message: `the image is ${size.height} x ${size.width}, but the model takes ${describe(options.size)} (rows x columns x channels)`,
        place: file,
        help: "resize it, or change `pixels(...)` in the spec",
      });
    }
  }
}

function readHead(file: string, place: string): Uint8Array {
  const head = new Uint8Array(24);
  try {
    const handle = openSync(file, "r");
    try {
      return head.subarray(0, readSync(handle, head));
    } finally {
      closeSync(handle);
    }
  } catch {
    throw unreadable(place, `there is no image \`${file}\``, "add it or remove the row");
  }
}

function readImage(file: string, place: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch {
    throw unreadable(place, `there is no image \`${file}\``, "it was there at the start: put it back and resume");
  }
}
