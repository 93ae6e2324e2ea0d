// Text tokenizers: bytes, ids, and byte-level BPE from a tokenizer.json made here.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bpeTokenizer } from "../../runtime/tokenize/bpe.ts";
import { byteTokenizer } from "../../runtime/tokenize/bytes.ts";
import { idTokenizer } from "../../runtime/tokenize/ids.ts";
import { openTokenizer } from "../../runtime/tokenize/open.ts";

/** GPT-2's printable stand-in of each byte. */
function byteAlphabet(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

interface Options { readonly without?: readonly number[]; readonly added?: readonly object[]; readonly model?: object; readonly rest?: object }

/** "a seven" in four merges; Ġ is the space's stand-in. */
function tokenizerFile({ without = [], added, model = {}, rest = {} }: Options = {}): string {
  const alphabet = byteAlphabet();
  const merges = ["s e", "v e", "ve n", "se ven", "Ġ seven"];
  const vocab: Record<string, number> = {};
  alphabet.forEach((c, b) => { if (!without.includes(b)) vocab[c] = b; });
  merges.forEach((m, i) => (vocab[m.replace(" ", "")] = 256 + i));
  return JSON.stringify({
    version: "1.0", truncation: null, padding: null, normalizer: null,
    added_tokens: added ?? [{ id: 261, content: "<bos>", single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<bos>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: { "<bos>": { id: "<bos>", ids: [261], tokens: ["<bos>"] } } },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab, merges, ...model },
    ...rest,
  });
}

const anyText = fc.string({ unit: "binary", maxLength: 40 }).filter((s) => !/\p{Surrogate}/u.test(s));

describe("bytes", () => {
  const bytes = byteTokenizer(["<bos>", "<eos>"]);
  it("is UTF-8, with specials after", () => {
    expect(bytes.vocab).toBe(258);
    expect([...bytes.encode("é7")]).toEqual([0xc3, 0xa9, 55]);
    expect(bytes.special("<eos>")).toBe(257);
    expect(bytes.decode([256, 55, 257])).toBe("7");
  });
  it("keeps any text, byte order marks and spelled specials included", () => {
    fc.assert(fc.property(anyText, (text) => { expect(bytes.decode(bytes.encode(text))).toBe(text); }));
    expect(bytes.decode(bytes.encode("\ufeffx<bos>"))).toBe("\ufeffx<bos>");
    expect(bytes.encode("<bos>")).toHaveLength(5);
    expect(bytes.encode("")).toHaveLength(0);
  });
  it("shows half a character instead of failing", () => {
    expect(bytes.decode([0xc3])).toBe("\ufffd");
  });
  it("refuses a lone surrogate, an unknown special and an id beyond", () => {
    expect(() => bytes.encode("ab\ud83d!")).toThrow(expect.objectContaining({ code: "E0521", message: expect.stringMatching(/position 3.*U\+D83D/) as string }) as Error);
    expect(() => bytes.special("<boi>")).toThrow(expect.objectContaining({ code: "E0522", help: "it has `<bos>`, `<eos>`" }) as Error);
    for (const id of [258, -1, 1.5, NaN]) expect(() => bytes.decode([id])).toThrow(expect.objectContaining({ code: "E0522" }) as Error);
  });
});

describe("ids", () => {
  it("reads and writes numbers, within the vocabulary", () => {
    const ids = idTokenizer(10);
    expect([...ids.encode(" 3 0\n9 ")]).toEqual([3, 0, 9]);
    expect(ids.decode([3, 0, 9])).toBe("3 0 9");
    for (const text of ["10", "-1", "1.0", "x", "0x1"]) expect(() => ids.encode(text)).toThrow(expect.objectContaining({ code: "E0521" }) as Error);
  });
});

describe("bpe", () => {
  const bpe = bpeTokenizer(tokenizerFile(), "tokenizer.json");
  it("merges by rank and adds no special by itself", () => {
    expect([...bpe.encode("a seven")]).toEqual([97, 260]);
    expect([...bpe.encode("sven")]).toEqual([115, 258]);
    expect(bpe.vocab).toBe(262);
    expect(bpe.special("<bos>")).toBe(261);
  });
  it("keeps any text and never reads a special out of it", () => {
    fc.assert(fc.property(anyText, (text) => { expect(bpe.decode(bpe.encode(text))).toBe(text); }));
    expect([...bpe.encode("<bos>")]).toEqual([..."<bos>"].map((c) => c.charCodeAt(0)));
    expect(bpe.decode([261, 97, 260, 261])).toBe("a seven");
    expect(bpe.encode("")).toHaveLength(0);
    expect(bpe.decode([])).toBe("");
  });
  it("refuses a character it has no token for, and names it", () => {
    const narrow = bpeTokenizer(tokenizerFile({ without: [120] }), "t");
    expect([...narrow.encode("a seven")]).toEqual([97, 260]);
    expect(() => narrow.encode("a siX, no: six")).toThrow(expect.objectContaining({ code: "E0521", message: expect.stringMatching(/`x` \(U\+0078\)/) as string }) as Error);
  });
  it("refuses what the unknown token would swallow", () => {
    const file = tokenizerFile({ without: [120], model: { unk_token: "a" } });
    expect(() => bpeTokenizer(file, "t").encode("xyz")).toThrow(expect.objectContaining({ code: "E0521" }) as Error);
  });
  it.each([
    ["not JSON", "{", /not JSON/],
    ["another file", '{"vocab":{}}', /no `model`/],
    ["no vocabulary", '{"model":{"type":"BPE"}}', /no `vocab`/],
    ["an unknown kind of model", tokenizerFile({ model: { type: "Abacus" } }), /cannot be used/],
    ["bad added tokens", tokenizerFile({ added: [{ content: "<x>" }] }), /lacks its `id`/],
    ["null", "null", /no `model`/],
  ])("refuses %s", (_, text, message) => {
    expect(() => bpeTokenizer(text, "t.json")).toThrow(expect.objectContaining({ code: "E0520", place: "t.json", message: expect.stringMatching(message) as string }) as Error);
  });
});

it("opens by description", async () => {
  const never = () => Promise.reject(new Error("must not read"));
  expect((await openTokenizer({ kind: "bytes" }, 256, never)).vocab).toBe(256);
  expect((await openTokenizer({ kind: "ids" }, 12, never)).vocab).toBe(12);
  expect((await openTokenizer({ kind: "bpe", file: "t" }, 0, () => Promise.resolve(tokenizerFile()))).vocab).toBe(262);
});
