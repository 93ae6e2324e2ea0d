// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes. Parses from and writes to a Uint8Array;
// parsing copies no tensor. Refuses every malformed file with the fault named (format.ts of the reference is as strict: no
// holes, no overlap, no duplicate name). Writing is deterministic: same tensors, same bytes.

import { HeddleError } from "../error.ts";
import { duplicateKey } from "./json_keys.ts";

/** Bytes of one element. Only some can be read as numbers; the rest may be present in a file and are skipped. */
const elementBytes = { F64: 8, I64: 8, U64: 8, F32: 4, I32: 4, U32: 4, F16: 2, BF16: 2, I16: 2, U16: 2, U8: 1, I8: 1, BOOL: 1 } as const;

export type DType = keyof typeof elementBytes;

export interface TensorEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Little-endian; a view of the file. */
  readonly bytes: Uint8Array;
}

export interface SafeTensors {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

export interface TensorData {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

const maxHeader = 100_000_000;

export function parseSafetensors(file: Uint8Array, place: string): SafeTensors {
  const refuse = (message: string): never => {
    throw new HeddleError({ code: "E0510", message, place, help: "the file is damaged or not safetensors: copy or save it again" });
  };
  if (file.length < 8) refuse(`the file has ${file.length} bytes, too few for a header`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > maxHeader) refuse(`the header claims ${length} bytes, more than any real one`);
  if (8 + length > file.length) refuse(`the header claims ${length} bytes, but only ${file.length - 8} follow`);
  let text = "";
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(8, 8 + length));
    header = JSON.parse(text);
  } catch {
    refuse("the header is not JSON");
  }
  if (!text.startsWith("{") || !isRecord(header)) return refuse("the header is not a JSON object");
  const twice = duplicateKey(text);
  if (twice !== undefined) refuse(`the header names \`${twice}\` twice`);

  const data = file.subarray(8 + length);
  const metadata: [string, string][] = [];
  const entries: { name: string; dtype: DType; shape: number[]; start: number; end: number }[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") {
      if (!isRecord(value)) return refuse("`__metadata__` is not an object");
      for (const [key, item] of Object.entries(value)) {
        if (typeof item !== "string") return refuse(`\`__metadata__\` holds \`${key}\`, which is not text`);
        metadata.push([key, item]);
      }
      continue;
    }
    entries.push(readEntry(name, value, refuse));
  }
  entries.sort((a, b) => a.start - b.start || a.end - b.end);
  let at = 0;
  const tensors = new Map<string, TensorEntry>();
  for (const { name, dtype, shape, start, end } of entries) {
    if (end > data.length) refuse(`tensor \`${name}\` ends at byte ${end}, but the data has ${data.length}`);
    if (start < at) refuse(`tensor \`${name}\` overlaps the one before it`);
    if (start > at) refuse(`${start - at} bytes before tensor \`${name}\` belong to no tensor`);
    at = end;
    tensors.set(name, { name, dtype, shape, bytes: data.subarray(start, end) });
  }
  if (at !== data.length) refuse(`${data.length - at} bytes at the end belong to no tensor`);
  return { metadata: Object.fromEntries(metadata), tensors };
}

function readEntry(name: string, value: unknown, refuse: (message: string) => never) {
  if (!isRecord(value)) return refuse(`tensor \`${name}\` has no description`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype)) return refuse(`tensor \`${name}\` has the unknown type ${JSON.stringify(dtype)}`);
  if (!isSizes(shape)) return refuse(`the shape of tensor \`${name}\` is not a list of sizes`);
  if (!isSizes(offsets) || offsets.length !== 2) return refuse(`the offsets of tensor \`${name}\` are not two numbers`);
  const [start = 0, end = 0] = offsets;
  const needs = shape.reduce((a, b) => a * b, 1) * elementBytes[dtype as DType];
  if (end < start || end - start !== needs) {
    return refuse(`tensor \`${name}\` ${dtype} [${shape.join(", ")}] needs ${needs} bytes, its offsets give ${end - start}`);
  }
  return { name, dtype: dtype as DType, shape, start, end };
}

/** Bytes of a file with these tensors, larger element types first and then by name; the data is 8-byte aligned. */
export function writeSafetensors(tensors: Iterable<TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const sorted = [...tensors].sort((a, b) => elementBytes[b.dtype] - elementBytes[a.dtype] || compare(a.name, b.name));
  const header: [string, unknown][] = [];
  const keys = Object.keys(metadata).sort(compare);
  if (keys.length > 0) header.push(["__metadata__", Object.fromEntries(keys.map((key) => [key, metadata[key]]))]);
  const seen = new Set(["__metadata__"]);
  let at = 0;
  for (const { name, dtype, shape, data } of sorted) {
    const needs = shape.reduce((a, b) => a * b, 1) * elementBytes[dtype];
    if (needs !== data.byteLength) throw new Error(`tensor ${name} ${dtype} [${shape.join(", ")}] has ${data.byteLength} bytes, not ${needs}`);
    if (seen.has(name)) throw new Error(`tensor ${name} is written twice`);
    seen.add(name);
    header.push([name, { dtype, shape, data_offsets: [at, at + needs] }]);
    at += needs;
  }
  // Joined by hand: an object would put keys that look like integers first.
  let text = `{${header.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
  let encoded = new TextEncoder().encode(text);
  text += " ".repeat((8 - (encoded.length % 8)) % 8);
  encoded = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + encoded.length + at);
  const view = new DataView(file.buffer);
  view.setUint32(0, encoded.length, true);
  file.set(encoded, 8);
  let offset = 8 + encoded.length;
  for (const { data } of sorted) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return file;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}
