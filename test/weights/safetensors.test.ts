// safetensors: round trips, byte-exact output, every way a file can be wrong.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halfNumber } from "../../compiler/plan/half.ts";
import { HeddleError } from "../../runtime/error.ts";
import { duplicateKey } from "../../runtime/weights/json_keys.ts";
import { floatsOf, integersOf } from "../../runtime/weights/numbers.ts";
import { parseSafetensors, writeSafetensors } from "../../runtime/weights/safetensors.ts";

function file(header: string, data: number[] | Uint8Array = [], length?: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + text.length + data.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  out.set(text, 8);
  out.set(data, 8 + text.length);
  return out;
}
const one = (over: object = {}) => JSON.stringify({ w: { dtype: "F32", shape: [1], data_offsets: [0, 4], ...over } });

describe("reading", () => {
  it("reads a file as another writer makes it, padded and unaligned", () => {
    const bytes = file('{"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"w":{"dtype":"F32","shape":[2],"data_offsets":[3,11]}} ', [1, 2, 3, 0, 0, 128, 63, 0, 0, 0, 192]);
    const { tensors, metadata } = parseSafetensors(bytes, "x");
    expect(metadata).toEqual({});
    expect([...integersOf(tensors.get("b")!, "x")]).toEqual([1, 2, 3]);
    expect([...floatsOf(tensors.get("w")!, "x")]).toEqual([1, -2]);
  });

  it("allows scalars, empty tensors and empty files", () => {
    const { tensors } = parseSafetensors(file('{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}}', [0, 0, 0, 0]), "x");
    expect([...tensors.keys()]).toEqual(["s", "e"]);
    expect(parseSafetensors(file("{}"), "x").tensors.size).toBe(0);
  });

  it("widens f16 and bf16 exactly", () => {
    const halves = [0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00];
    const expected = [0, -0, 1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, Infinity, -Infinity];
    expect(halves.map(halfNumber)).toEqual(expected);
    expect(halfNumber(0x7e00)).toBeNaN();
    const bf = file('{"w":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}', [0x80, 0x3f, 0x49, 0xc0, 0x80, 0xff]);
    expect([...floatsOf(parseSafetensors(bf, "x").tensors.get("w")!, "x")]).toEqual([1, -3.140625, -Infinity]);
    const f16 = file('{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}', [0xff, 0x7b]);
    expect([...floatsOf(parseSafetensors(f16, "x").tensors.get("w")!, "x")]).toEqual([65504]);
  });

  it("does not take integers for floats", () => {
    const bytes = file('{"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}', new Uint8Array(8));
    expect(() => floatsOf(parseSafetensors(bytes, "x").tensors.get("w")!, "x")).toThrow(/holds I64/);
    expect(() => integersOf(parseSafetensors(bytes, "x").tensors.get("w")!, "x")).toThrow(/holds I64/);
  });
});

describe("refusing", () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(0), /too few/],
    ["seven bytes", new Uint8Array(7), /too few/],
    ["a huge length", file("{}", [], 2 ** 40), /more than any real one/],
    ["a length past the end", file("{}", [], 500), /only 2 follow/],
    ["a header cut short", file(one().slice(0, -2), [0, 0, 0, 0]), /not JSON/],
    ["bad UTF-8", (() => { const f = file('{"a":1}'); f[10] = 0xff; return f; })(), /not JSON/],
    ["an array", file("[]"), /not a JSON object/],
    ["a header that starts with a space", file(" {}"), /not a JSON object/],
    ["a duplicate tensor", file('{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [1]), /`w` twice/],
    ["a duplicate written with an escape", file('{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0077":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [1]), /`w` twice/],
    ["an unknown type", file(one({ dtype: "F8" }), [0, 0, 0, 0]), /unknown type "F8"/],
    ["an inherited name as type", file(one({ dtype: "toString" }), [0, 0, 0, 0]), /unknown type/],
    ["a negative size", file(one({ shape: [-1] }), [0, 0, 0, 0]), /not a list of sizes/],
    ["a fractional size", file(one({ shape: [1.5] }), [0, 0, 0, 0]), /not a list of sizes/],
    ["three offsets", file(one({ data_offsets: [0, 4, 8] }), [0, 0, 0, 0]), /not two numbers/],
    ["offsets backwards", file(one({ data_offsets: [4, 0] }), [0, 0, 0, 0]), /needs 4 bytes, its offsets give -4/],
    ["a size that disagrees", file(one({ shape: [2] }), [0, 0, 0, 0]), /needs 8 bytes, its offsets give 4/],
    ["an overflowing shape", file(one({ shape: [2 ** 40, 2 ** 40] }), [0, 0, 0, 0]), /needs/],
    ["data cut short", file(one(), [0, 0]), /ends at byte 4, but the data has 2/],
    ["data left over", file(one(), [0, 0, 0, 0, 9]), /1 bytes at the end/],
    ["a hole", file(one({ data_offsets: [2, 6] }), [0, 0, 0, 0, 0, 0]), /2 bytes before tensor `w`/],
    ["overlap", file('{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}', [0, 0, 0, 0]), /`b` overlaps/],
    ["metadata that is not text", file('{"__metadata__":{"step":3}}'), /`step`, which is not text/],
    ["no description", file('{"w":4}'), /no description/],
  ];
  it.each(cases)("%s", (_, bytes, message) => {
    let error: unknown;
    try {
      parseSafetensors(bytes, "model.safetensors");
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(HeddleError);
    expect(error).toMatchObject({ code: "E0510", place: "model.safetensors" });
    expect((error as HeddleError).message).toMatch(message);
  });

  it("never crashes on damaged files", () => {
    const good = writeSafetensors([{ name: "w", dtype: "F32", shape: [3], data: Float32Array.of(1, 2, 3) }], { a: "b" });
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(good.length), (edits, cut) => {
      const bad = good.slice(0, cut);
      for (const [at, value] of edits) if (at < bad.length) bad[at] = value;
      try {
        parseSafetensors(bad, "x");
      } catch (error) {
        expect(error).toBeInstanceOf(HeddleError);
      }
    }));
  });
});

describe("writing", () => {
  it("writes the same bytes whatever the order of tensors and metadata", () => {
    const a = { name: "a", dtype: "U8", shape: [1], data: Uint8Array.of(7) } as const;
    const b = { name: "10", dtype: "F32", shape: [2, 1], data: Float32Array.of(1, 2) } as const;
    const one = writeSafetensors([a, b], { x: "1", b: "2" });
    expect(writeSafetensors([b, a], { b: "2", x: "1" })).toEqual(one);
    const length = new DataView(one.buffer).getUint32(0, true);
    expect(length % 8).toBe(0);
    expect(new TextDecoder().decode(one.subarray(8, 8 + length)).trimEnd()).toBe(
      '{"__metadata__":{"b":"2","x":"1"},"10":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}',
    );
  });

  it("round trips any names and values, from views into larger buffers", () => {
    const tensor = fc.record({ name: fc.string({ unit: "binary" }).filter((s) => s !== "__metadata__" && !/\p{Surrogate}/u.test(s)), values: fc.float32Array({ maxLength: 9 }), skip: fc.nat(3) });
    fc.assert(fc.property(fc.uniqueArray(tensor, { selector: (t) => t.name, maxLength: 6 }), (tensors) => {
      const bytes = writeSafetensors(tensors.map(({ name, values, skip }) => {
        const larger = new Float32Array(values.length + skip);
        larger.set(values, skip);
        return { name, dtype: "F32" as const, shape: [values.length], data: larger.subarray(skip) };
      }));
      const read = parseSafetensors(bytes, "x").tensors;
      expect(read.size).toBe(tensors.length);
      for (const { name, values } of tensors) expect(floatsOf(read.get(name)!, "x")).toEqual(values);
    }));
  });

  it("holds its caller to the shape", () => {
    expect(() => writeSafetensors([{ name: "a", dtype: "F32", shape: [2], data: Float32Array.of(1) }])).toThrow(/4 bytes, not 8/);
  });
});

it("finds duplicate keys only within one object", () => {
  expect(duplicateKey('{"a":{"b":1,"c":"b\\"","d":["b","b"]},"b":[{"a":1},{"a":2}]}')).toBeUndefined();
  expect(duplicateKey('{"x":[1,{"k":1,"k":2}]}')).toBe("k");
});
