// Models and variants as data, and the network that lowering runs: paths, sizes, defaults, ties, caches.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dimConst, dimValue, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import type { Axis, NodeId } from "../../compiler/graph/graph.ts";
import { exprText } from "../../compiler/scalar/print.ts";
import { elaborateNetwork } from "../../compiler/types/elaborate_network.ts";
import type { Model } from "../../compiler/types/model.ts";
import { checkFile } from "../../compiler/check.ts";
import { makeSource } from "../../grammar/source.ts";
import { noise } from "./apply.ts";
import { check, lines, loaderOf, root } from "./loader.ts";

const example = (path: string): Model[] => {
  const r = checkFile(makeSource(path, readFileSync(join(root, path), "utf8")), loaderOf());
  expect([...r.diagnostics, ...r.notBuilt]).toEqual([]);
  return [...r.models];
};
const count = (m: Model): number => m.parameters.reduce((n, p) => n + p.axes.reduce((k, a) => k * (dimValue(a.size) ?? NaN), 1), 0);

describe("examples", () => {
  test("the decoder of the benchmarks has the parameters it must have", () => {
    const [m] = example("examples/decoder/decoder.heddle");
    expect(m && count(m)).toBe(544_256);
    expect(m?.maxTokens).toBe(128);
    expect(m?.network.plainHeads.get("text")).toEqual({ parameter: "head.text.w", from: "d", vocab: "text.vocab" });
  });

  test("digits, and its small variant", () => {
    const [digits, tiny] = example("examples/digits/digits.heddle");
    const image = digits?.streams[1]?.tokenizer;
    const patch = image?.kind === "patches" ? image.patch : NaN;
    expect(digits?.streams.map((s) => [s.name, s.id, s.kind, s.vocab, s.axis.name, dimValue(s.axis.size), s.count])).toEqual([
      ["text", 0, "text", 256, "text.vocab", 260, undefined], ["image", 1, "continuous", 0, "image.features", patch ** 2, (28 / patch) ** 2],
    ]);
    expect(digits?.specials.map((s) => [s.name, s.id])).toEqual([["bos", 256], ["boi", 257], ["eoi", 258], ["eos", 259]]);
    expect(digits?.tasks.map((t) => t.items.map((i) => (i.kind === "literal" ? `<${i.name}>` : i.kind === "repeat" ? "*" : `${i.kind} ${i.stream}(${i.field}) ${i.drop}`)))).toEqual([
      ["<bos>", "given text(caption) 0.1", "<boi>", "predict image(picture) 0", "<eoi>"],
      ["<bos>", "<boi>", "given image(picture) 0", "<eoi>", "predict text(caption) 0", "<eos>"],
    ]);
    expect(digits?.reads).toEqual(["col", "doc", "pos", "row", "span", "stream"]);
    expect(tiny?.axes.map((a) => a.name)).toEqual(["d"]);
    expect(tiny && digits && count(tiny) < count(digits)).toBe(true);
    expect(tiny?.train.ema).toBe(digits?.train.ema);
    expect(tiny?.parameters.filter((p) => p.path.startsWith("body[0]")).length).toBeGreaterThan(0);
  });
});

const small = (body: string): string => `use std.blocks { decoder_block }
model small(d: axis = 8, heads: int = 2) {
  tokens text = bytes()
  task write(line: text) = <bos> predict text(line) <eos>
${body}
  sample text = nucleus(p: 0.9)
}
`;
const plain = "  mask = causal\n  body = stack(2) decoder_block(d, heads, mask)\n  loss = next_token(text)";
const only = (text: string): Model => {
  const r = check(text);
  const m = r.models[r.models.length - 1];
  if (!m) throw new Error(lines(r, text).join("\n"));
  return m;
};

test("decay is for matrices: not for tables, gains and biases", () => {
  const m = only(small(plain));
  expect(m.parameters.filter((p) => !p.decay).map((p) => p.path)).toEqual(["embed.text.w", "body[0].norm1.gain", "body[0].norm2.gain", "body[1].norm1.gain", "body[1].norm2.gain"]);
});

test("masks become expressions over attributes, streams their ids", () => {
  const m = only(small(plain.replace("mask = causal", "mask = causal & (within(text) | late)\n  mask late(q, k) = q.role == predicted")));
  expect(m.mask && exprText(m.mask.expr)).toBe("(and (le %k.pos:i32 %q.pos:i32) (or (and (and (eq %q.stream:i32 i32 0) (eq %k.stream:i32 i32 0)) (eq %q.span:i32 %k.span:i32)) (eq %q.role:i32 i32 1)))");
});

test("weights of the loss may depend on the step, weights of the mix are numbers", () => {
  const m = only(small(plain.replace("next_token(text)", "0.5 * min(1.0, step / 1000) * next_token(text)")));
  expect(m.losses[0]?.weight.kind).toBe("binary");
  expect(JSON.stringify(m.losses[0]?.weight)).toContain('"name":"step"');
  expect(m.mix).toMatchObject([{ task: "write", weight: 1 }]);
});

test("tied weights have one parameter", () => {
  const m = only(small(`${plain}\n  table = embedding(text.vocab, d)\n  embed text = table\n  head text = unembed(table, text.vocab, d)`));
  expect(m.parameters.map((p) => p.path).filter((p) => p.includes("table") || p.includes("head"))).toEqual(["table.w"]);
  expect(m.ties).toMatchObject([{ path: "head.text.w", to: "table.w" }]);
  expect(m.network.plainHeads.get("text")?.parameter).toBe("table.w");
});

test("the vocabulary of a tokenizer file is counted", () => {
  const text = small(plain).replace("bytes()", 'bpe("words.json")');
  const file = (json: string): Model | undefined => checkFile(makeSource("spec.heddle", text), { ...loaderOf(), read: (name) => (name === "words.json" ? json : undefined) }).models[0];
  const sized = (m: Model | undefined) => [m?.streams[0]?.vocab, m?.specials.map((s) => s.id), dimValue(m?.streams[0]?.axis.size ?? dimConst(0)), m?.notBuilt.length];
  expect(sized(file('{"model":{"vocab":{"a":0,"b":4}},"added_tokens":[{"id":6,"content":"<x>"}]}'))).toEqual([7, [7, 8], 9, 0]);
  expect(sized(file('{"model":{"vocab":[["a",0],["b",-1]]}}'))).toEqual([2, [2, 3], 4, 0]);
  expect(file("{}")).toBeUndefined();
  expect(check(text).models[0]?.notBuilt.map((d) => d.code)).toEqual(["E0403"]);
  expect(check(text.replace('json"', 'json", vocab: 50')).models[0]?.streams[0]?.vocab).toBe(50);
});

test("frozen weights need no gradient", () => {
  const text = `layer still(d: axis) {\n  frozen param w[d] ~ ones\n  forward x[d] = x + 0.0 * floor(w)\n}\n${small(plain.replace("body = stack", "body = [still(d), stack").replace("mask)\n", "mask)]\n"))}`;
  expect(only(text).parameters.find((p) => p.path === "body.still.w")?.frozen).toBe(true);
});

test("variants of variants; a variant keeps what it does not change", () => {
  const text = `${small(plain)}variant wide of small {\n  d = 16\n}\nvariant wider of wide {\n  d = 32\n  mask = causal & window(4)\n}\n`;
  const r = check(text);
  expect(lines(r, text)).toEqual([]);
  expect(r.models.map((m) => [m.name, dimValue(m.axes[0]?.size ?? dimConst(0)), m.mask?.text])).toEqual([["small", 8, "causal"], ["wide", 16, "causal"], ["wider", 32, "causal & window(4)"]]);
});

test("a mistake in a base is said once, and its variants are left out too", () => {
  const text = `${small(plain.replace("heads, mask", "heads, msk"))}variant wide of small {\n  d = 16\n}\n`;
  const r = check(text);
  expect(r.models).toEqual([]);
  expect(lines(r, text)).toEqual(["E0201 there is no mask `msk` here @ msk"]);
});

describe("the network on a program's builder", () => {
  const m = only(small(plain));
  const T = 5;
  const state = Object.fromEntries(m.parameters.map((p) => [`params/${p.path}`, noise(p.axes.reduce((k, a) => k * (dimValue(a.size) ?? 1), 1), p.path.length)]));
  const ids = [256, 10, 200, 3, 65];
  const batch: Axis = { name: "batch", size: dimConst(1) };
  const t: Axis = { name: "t", size: dimVar("t") };

  /** Logits of every token, all at once. */
  function whole(): number[] {
    const b = new GraphBuilder("whole");
    const o = originAt("test");
    const input = (name: string): NodeId => b.add("input", [], { name, type: { dtype: "i32", axes: [batch, t] } }, o);
    const net = elaborateNetwork(m, b, { attribute: (side, name) => (side === "query" ? input(name) : b.add("rename", [input(name)], { from: "t", to: "s" }, o)), level: () => 0 });
    b.output("out", net.head("text", net.body(net.embed("text", input("id")))));
    const out = interpret(b.finish(), { inputs: { id: ids, pos: [0, 1, 2, 3, 4], doc: [0, 0, 0, 0, 0] }, state, lengths: { t: T } }).outputs["out"];
    return [...(out?.data ?? [])];
  }

  test("samples in one row do not see each other, and nothing sees padding", () => {
    const b = new GraphBuilder("packed");
    const o = originAt("test");
    const input = (name: string): NodeId => b.add("input", [], { name, type: { dtype: "i32", axes: [batch, t] } }, o);
    const net = elaborateNetwork(m, b, { attribute: (side, name) => (side === "query" ? input(name) : b.add("rename", [input(name)], { from: "t", to: "s" }, o)), level: () => 0 });
    b.output("out", net.head("text", net.body(net.embed("text", input("id")))));
    const out = interpret(b.finish(), { inputs: { id: [7, 9, ...ids, 0], pos: [0, 1, 0, 1, 2, 3, 4, 0], doc: [0, 0, 1, 1, 1, 1, 1, -1] }, state, lengths: { t: 8 } }).outputs["out"];
    const own = [...(out?.data ?? [])].slice(2 * 258, 7 * 258);
    whole().forEach((v, i) => expect(Math.abs(v - (own[i] ?? NaN))).toBeLessThan(1e-9));
  });

  test("one token at a time over a cache gives the logits of the whole", () => {
    const expected = whole();
    const vocab = 258;
    expect(expected.length).toBe(T * vocab);
    let caches: Record<string, readonly number[]> = {};
    ids.forEach((id, at) => {
      const b = new GraphBuilder("step");
      const o = originAt("test");
      const one: Axis = { name: "t", size: dimConst(1) };
      const input = (name: string, axes: readonly Axis[]): NodeId => b.add("input", [], { name, type: { dtype: "i32", axes } }, o);
      const slots: Axis = { name: "s", size: dimConst(T) };
      const paths: string[] = [];
      const cache = (name: string, fresh: NodeId): NodeId => {
        const rest = b.type(fresh).axes.filter((a) => a.name !== "s" && a.name !== "batch");
        paths.push(name);
        const size = T * rest.reduce((n, a) => n * (dimValue(a.size) ?? 1), 1);
        caches = { ...caches, [name]: caches[name] ?? Array<number>(size).fill(0) };
        const s = b.add("state", [], { name, type: { dtype: "f32", axes: [batch, slots, ...rest] } }, o);
        const full = b.add("update", [s, fresh, input("at", [])], { axis: "s" }, o);
        b.output(name, full, name);
        return b.add("slice", [full], { axis: "s", start: dimConst(0), size: dimConst(at + 1) }, o);
      };
      const net = elaborateNetwork(m, b, {
        attribute: (side, name) => (side === "query" ? input(name, [batch, one]) : input(`key.${name}`, [batch, { name: "s", size: dimConst(at + 1) }])),
        level: () => 0,
        attendHook: (path, k, v) => ({ k: cache(`k.${path}`, k), v: cache(`v.${path}`, v) }),
      });
      b.output("out", net.head("text", net.body(net.embed("text", input("id", [batch, one])))));
      const keys = Array.from({ length: at + 1 }, (_, i) => i);
      const r = interpret(b.finish(), { inputs: { id: [id], pos: [at], doc: [0], "key.pos": keys, "key.doc": keys.map(() => 0), at }, state: { ...state, ...caches } });
      caches = Object.fromEntries(paths.map((p) => [p, [...(r.state[p]?.data ?? [])]]));
      expect(paths).toEqual(["k.body[0].attn", "v.body[0].attn", "k.body[1].attn", "v.body[1].attn"]);
      [...(r.outputs["out"]?.data ?? [])].forEach((v, i) => expect(Math.abs(v - (expected[at * vocab + i] ?? NaN))).toBeLessThan(1e-9));
    });
  });
});
