// Data folders: both forms, and every way one can be wrong, with its place.
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { deflateSync, gzipSync } from "node:zlib";
import { encode } from "fast-png";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { byteTokenizer } from "../../runtime/tokenize/bytes.ts";
import { idTokenizer } from "../../runtime/tokenize/ids.ts";
import { imageBytes } from "../../runtime/tokenize/image.ts";
import { openData } from "../../runtime/train/data.ts";
import { readPng } from "../../runtime/train/data_png.ts";
import { parseRows } from "../../runtime/train/data_rows.ts";
import { dataValues } from "../../runtime/train/data_values.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const png = (width: number, height: number, data: number[], channels = 1) => encode({ width, height, channels, depth: 8, data: Uint8Array.from(data) });
const put = (name: string, content: string | Uint8Array) => writeFileSync(join(folder, name), content);
const rows = (...list: object[]) => put("captions.jsonl", list.map((row) => JSON.stringify(row)).join("\n"));
const idx = (sizes: number[], data: number[], type = 8) => {
  const head = Buffer.alloc(4 + 4 * sizes.length);
  head.set([0, 0, type, sizes.length]);
  sizes.forEach((n, i) => head.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([head, Uint8Array.from(data)]);
};
const failing = (code: string, message: RegExp, place?: string) => expect.objectContaining({ code, message: expect.stringMatching(message) as string, ...(place === undefined ? {} : { place: expect.stringMatching(place.replace(/[.]/g, "\\.") + "$") as string }) }) as Error;

describe("a folder of PNG files", () => {
  it("reads rows, splits and images", () => {
    mkdirSync(join(folder, "sub"));
    put("sub/a.png", png(2, 1, [0, 255]));
    put("b.png", png(2, 1, [51, 102]));
    put("captions.jsonl", '\ufeff{"image":"sub/a.png","caption":"one"}\r\n\r\n{"image":"b.png","captions":["two","zwei"],"label":2,"split":"test","question":"?"}\r\n');
    const data = openData(folder, { size: { height: 1, width: 2, channels: 1 } });
    expect(data.rows.map((row) => [row.line, row.captions, row.split, row.label])).toEqual([[1, ["one"], "train", undefined], [3, ["two", "zwei"], "test", 2]]);
    expect([...imageBytes(data.image(data.rows[0]!))]).toEqual([0, 255]);
    expect([...imageBytes(data.image(data.rows[1]!))]).toEqual([51, 102]);
    expect(data.rows[1]!.values["question"]).toBe("?");
    expect(openData(folder, { split: "test" }).rows).toHaveLength(1);
  });

  it("says what is wrong, and where", () => {
    const size = { height: 1, width: 2, channels: 1 };
    expect(() => openData(join(folder, "none"))).toThrow(failing("E0530", /there is no data folder/));
    put("file", "");
    expect(() => openData(join(folder, "file"))).toThrow(failing("E0530", /is a file/));
    expect(() => openData(folder)).toThrow(failing("E0530", /no captions/));
    put("captions.jsonl", "\n\n");
    expect(() => openData(folder)).toThrow(failing("E0532", /no rows/));
    rows({ image: "a.png", caption: "x" });
    expect(() => openData(folder)).toThrow(failing("E0534", /there is no image .*a\.png/, "captions.jsonl:1"));
    put("a.png", png(1, 2, [1, 2]));
    expect(() => openData(folder, { size })).toThrow(failing("E0535", /is 2 x 1, but the model takes 1 x 2 x 1/, "a.png"));
    expect(() => openData(folder, { split: "tset" })).toThrow(failing("E0532", /`tset`/));
    put("a.png", "GIF89a");
    expect(() => openData(folder)).toThrow(failing("E0534", /not a PNG/, "a.png"));
    rows({ image: "/etc/passwd", caption: "x" });
    expect(() => openData(folder)).toThrow(failing("E0534", /absolute/, "captions.jsonl:1"));
    rows({ index: 0, caption: "x" });
    expect(() => openData(folder)).toThrow(failing("E0534", /no pack/, "captions.jsonl:1"));
    put("captions.jsonl.gz", gzipSync("x"));
    rmSync(join(folder, "captions.jsonl"));
    truncateSync(join(folder, "captions.jsonl.gz"), 8);
    expect(() => openData(folder)).toThrow(failing("E0536", /damaged/, "captions.jsonl.gz"));
  });

  it("gives the tokenizer's refusal the line of the caption", () => {
    put("a.png", png(1, 1, [1]));
    rows({ image: "a.png", caption: "1 2" }, { image: "a.png", captions: ["3", "seven"] });
    const ids = idTokenizer(10);
    expect(() => openData(folder, { checkCaption: (text) => void ids.encode(text) })).toThrow(failing("E0521", /`seven` is not a token/, "captions.jsonl:2"));
  });
});

describe("rows", () => {
  it.each([
    ["{", /not JSON/], ["[]", /not a JSON object/], ["3", /not a JSON object/], ['{"caption":"x"}', /neither `image`.*nor `index`/],
    ['{"image":"a","index":1,"caption":"x"}', /both `image` and `index`/], ['{"image":""}', /not a path/], ['{"image":4,"caption":"x"}', /not a path/],
    ['{"index":-1,"caption":"x"}', /whole number/], ['{"index":1.5,"caption":"x"}', /whole number/], ['{"index":0}', /neither `caption` nor/],
    ['{"index":0,"caption":" "}', /a caption is empty/], ['{"index":0,"captions":[]}', /at least one/], ['{"index":0,"captions":["a",""]}', /empty/],
    ['{"index":0,"caption":7}', /not text/], ['{"index":0,"captions":"a"}', /not a list/], ['{"index":0,"caption":"a","captions":["b"]}', /both `caption` and/],
    ['{"index":0,"caption":"a","label":[]}', /`label`/], ['{"index":0,"caption":"a","split":""}', /`split`/],
  ])("refuses %s", (line, message) => {
    expect(() => parseRows(`{"index":0,"caption":"good"}\n${line}\n`, "c.jsonl")).toThrow(failing("E0531", message, "c.jsonl:2"));
  });
  it("names further bad lines", () => {
    expect(() => parseRows('{"index":0,"caption":"good"}\n{\n{\n\n{', "c.jsonl")).toThrow(failing("E0531", /\(also bad: line 3, 5\)/, "c.jsonl:2"));
  });
});

describe("a pack", () => {
  it("reads IDX, plain and compressed, grey and colour", () => {
    rows({ index: 1, caption: "x" });
    put("images.idx.gz", gzipSync(idx([2, 1, 2], [1, 2, 3, 4])));
    const data = openData(folder, { size: { height: 1, width: 2, channels: 1 } });
    expect([...imageBytes(data.image(data.rows[0]!))]).toEqual([3, 4]);
    rmSync(join(folder, "images.idx.gz"));
    put("images.idx4-ubyte", idx([2, 1, 1, 3], [1, 2, 3, 4, 5, 6]));
    const colour = openData(folder);
    expect(colour.image(colour.rows[0]!)).toMatchObject({ height: 1, width: 1, channels: 3 });
    expect([...imageBytes(colour.image(colour.rows[0]!))]).toEqual([4, 5, 6]);
  });

  it.each<[string, Uint8Array, string, RegExp]>([
    ["no magic", Buffer.from("hello"), "E0536", /not an IDX file/],
    ["nothing", new Uint8Array(0), "E0536", /not an IDX file/],
    ["floats", idx([1, 1, 1], [0, 0, 0, 0], 0x0d), "E0536", /type 0xd/],
    ["labels", idx([2], [1, 2]), "E0536", /1 axes/],
    ["a header cut short", idx([2, 1, 2], []).subarray(0, 9), "E0536", /within its header/],
    ["too little", idx([2, 1, 2], [1, 2, 3]), "E0536", /2 images of 1 x 2 x 1, 4 bytes, but holds 3/],
    ["too much", idx([2, 1, 2], [1, 2, 3, 4, 5]), "E0536", /holds 5/],
    ["empty images", idx([2, 0, 2], []), "E0536", /are empty/],
    ["another size", idx([2, 2, 1], [1, 2, 3, 4]), "E0535", /is 2 x 1 x 1, but the model takes 1 x 2 x 1/],
    ["too few images", idx([1, 1, 2], [1, 2]), "E0534", /no image 1: it holds 1/],
  ])("refuses %s", (_, bytes, code, message) => {
    rows({ index: 1, caption: "x" });
    put("images.idx", bytes);
    expect(() => openData(folder, { size: { height: 1, width: 2, channels: 1 } })).toThrow(failing(code, message));
  });
});

describe("PNG", () => {
  /** A PNG from its header and raw scan lines (filter byte first). */
  const raw = (width: number, height: number, depth: number, type: number, lines: number[], extra: [string, number[]][] = []) => {
    const crcTable = Array.from({ length: 256 }, (_, n) => { let c = n; for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1; return c >>> 0; });
    const chunk = (name: string, body: Uint8Array) => {
      const data = Buffer.concat([Buffer.from(name), body]);
      let crc = 0xffffffff;
      for (const byte of data) crc = (crcTable[(crc ^ byte) & 255]! ^ (crc >>> 8)) >>> 0;
      const out = Buffer.alloc(8 + data.length);
      out.writeUInt32BE(body.length);
      data.copy(out, 4);
      out.writeUInt32BE((crc ^ 0xffffffff) >>> 0, 4 + data.length);
      return out;
    };
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width);
    head.writeUInt32BE(height, 4);
    head.set([depth, type], 8);
    return Buffer.concat([Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk("IHDR", head), ...extra.map(([name, body]) => chunk(name, Uint8Array.from(body))), chunk("IDAT", deflateSync(Uint8Array.from(lines))), chunk("IEND", new Uint8Array(0))]);
  };

  it("converts what loses nothing", () => {
    const bytes = (file: Uint8Array, channels?: number) => [...readPng(file, "x.png", channels).bytes];
    expect(bytes(png(1, 1, [7]), 3)).toEqual([7, 7, 7]);
    expect(bytes(png(1, 1, [7, 7, 7], 3), 1)).toEqual([7]);
    expect(bytes(png(1, 1, [7, 8, 9, 255], 4))).toEqual([7, 8, 9]);
    expect(bytes(png(1, 1, [7, 255], 2), 1)).toEqual([7]);
    expect(bytes(encode({ width: 2, height: 1, channels: 1, depth: 16, data: Uint16Array.of(65535, 257 * 9) }))).toEqual([255, 9]);
    expect(bytes(raw(3, 2, 1, 0, [0, 0b10100000, 0, 0b01000000]))).toEqual([255, 0, 255, 0, 255, 0]);
    expect(bytes(raw(3, 1, 4, 0, [0, 0x0f, 0x30]))).toEqual([0, 255, 51]);
    expect(bytes(raw(3, 1, 2, 3, [0, 0b00011000], [["PLTE", [1, 2, 3, 4, 5, 6, 7, 8, 9]]]))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("refuses what would lose something", () => {
    expect(() => readPng(png(1, 1, [7, 8, 9], 3), "x.png", 1)).toThrow(failing("E0534", /has colours/));
    expect(() => readPng(png(1, 1, [7, 8, 9, 254], 4), "x.png")).toThrow(failing("E0534", /transparent/));
    expect(() => readPng(raw(2, 1, 8, 3, [0, 0, 1], [["PLTE", [1, 2, 3, 4, 5, 6]], ["tRNS", [255, 0]]]), "x.png")).toThrow(failing("E0534", /transparent/));
    expect(() => readPng(raw(2, 1, 8, 0, [0, 5, 6], [["tRNS", [0, 5]]]), "x.png")).toThrow(failing("E0534", /transparent/));
  });

  it("refuses damage", () => {
    const good = png(4, 4, Array.from({ length: 16 }, (_, i) => i));
    for (const cut of [10, 30, good.length - 20]) expect(() => readPng(good.subarray(0, cut), "x.png")).toThrow(failing("E0534", /cannot be read/, "x.png"));
    const flipped = good.slice();
    flipped[45]! ^= 4;
    expect(() => readPng(flipped, "x.png")).toThrow(failing("E0534", /cannot be read/));
  });
});

describe("values for training", () => {
  const model = {
    streams: [
      { name: "text", id: 0, kind: "text", tokenizer: { kind: "bytes" }, vocab: 256 },
      { name: "answer", id: 1, kind: "text", tokenizer: { kind: "bytes" }, vocab: 256 },
      { name: "image", id: 2, kind: "patches", patch: 1, height: 1, width: 2, channels: 1, features: 1 },
    ],
  } as unknown as ModelSpec;

  it("chooses captions by the draw, own fields by name, and scales images", () => {
    put("images.idx", idx([1, 1, 2], [0, 255]));
    rows({ index: 0, captions: ["a", "b", "c"], answer: "yes" });
    const values = dataValues(openData(folder), model, { text: byteTokenizer(), answer: byteTokenizer() });
    expect(values.count).toBe(1);
    const text = (draw: number) => { const v = values.value(0, "text", draw); return v.kind === "ids" ? [...Array.from(v.ids)] : []; };
    expect([0, 0.34, 0.67, 0.999].map(text)).toEqual([[97], [98], [99], [99]]);
    expect(values.value(0, "answer", 0.9)).toEqual({ kind: "ids", ids: Int32Array.of(121, 101, 115) });
    expect(values.value(0, "image", 0)).toEqual({ kind: "features", data: Float32Array.of(-1, 1) });
  });
});

it("opens the digits example", () => {
  const data = openData(resolve(import.meta.dirname, "../../examples/digits/data"), { split: "test", size: { height: 28, width: 28, channels: 1 }, checkCaption: (text) => void byteTokenizer().encode(text) });
  expect(data.rows).toHaveLength(1000);
  const ink = data.image(data.rows[0]!).data.reduce((a, b) => a + b, 0);
  expect(ink).toBeGreaterThan(10);
});

describe("a folder of text", () => {
  const needs = { image: false, texts: ["text"] };
  const write = (...list: unknown[]) => put("text.jsonl", list.map((row) => JSON.stringify(row)).join("\n"));
  const spec = { streams: [{ name: "text", kind: "text", id: 0 }] } as unknown as ModelSpec;

  it("has rows of text alone, by the stream's own name or as captions", () => {
    write({ text: "It was" }, { text: ["a", "b"], split: "valid" }, { caption: "dark" });
    const data = openData(folder, { needs });
    expect(data.rows.map((row) => [row.image, row.captions, row.split])).toEqual([[undefined, [], "train"], [undefined, [], "valid"], [undefined, ["dark"], "train"]]);
    const values = dataValues(data, spec, { text: byteTokenizer() });
    const said = (index: number, draw: number) => String.fromCharCode(...(values.value(index, "text", draw) as unknown as { ids: Int32Array }).ids);
    expect([said(0, 0.9), said(1, 0), said(1, 0.9), said(2, 0)]).toEqual(["It was", "a", "b", "dark"]);
    expect(openData(folder, { needs, split: "valid" }).rows).toHaveLength(1);
  });

  it("refuses what is no text, with the line, and names what is missing", () => {
    expect(() => openData(folder, { needs })).toThrow(failing("E0530", /no text in/));
    write({ text: "good" }, { words: "x" });
    expect(() => openData(folder, { needs })).toThrow(failing("E0531", /neither `text` nor `caption`/, "text.jsonl:2"));
    for (const bad of [3, "", " ", [], ["a", 1], null]) {
      write({ text: bad });
      expect(() => openData(folder, { needs }), JSON.stringify(bad)).toThrow(failing("E0531", /`text` is neither text nor a list/, "text.jsonl:1"));
    }
    write({ text: "good" }, { text: "seven" });
    const ids = idTokenizer(10);
    expect(() => openData(folder, { needs, checkCaption: (text) => void ids.encode(text) })).toThrow(failing("E0521", /is not a token/, "text.jsonl:1"));
  });

  it("does not pass for images with captions, nor images without captions for text", () => {
    write({ text: "alone" });
    expect(() => openData(folder, { needs: { image: true, texts: ["text"] } })).toThrow(failing("E0531", /neither `image`/, "text.jsonl:1"));
    write({ index: 0 });
    expect(() => openData(folder, { needs: { image: true, texts: ["text"] } })).toThrow(failing("E0531", /neither `caption` nor `captions`/, "text.jsonl:1"));
  });
});
