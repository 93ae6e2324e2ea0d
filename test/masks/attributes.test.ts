// Attributes of tokens, by name and by formula: the sample that masks are drawn and proven on, the batch that a model trains on, and the rows
// that it generates with hold the same numbers, and layers read the same.

import { describe, expect, test } from "vitest";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { dimConst } from "../../compiler/dim/dim.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { exampleOf } from "../../compiler/mask/example.ts";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import { askedMask } from "../../compiler/types/asked_mask.ts";
import { elaborateNetwork } from "../../compiler/types/elaborate_network.ts";
import type { Model } from "../../compiler/types/model.ts";
import { makeSource } from "../../grammar/source.ts";
import { stepTable, tokensOf, Row } from "../../runtime/generate/rows.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import type { FieldValue } from "../../runtime/sequence/layout.ts";
import { attributesOf, layoutSample } from "../../runtime/sequence/layout.ts";
import { check, lines } from "../types/loader.ts";

const spec = `use std.blocks { decoder_block }

/// Every number of a token is its group.
layer group_of(d: axis) {
  forward x[t, d] = x * 0.0 + float(token.group) + 100.0 * float(token.corner)
}

fn tile(t, n) = t.row / n

model film(d: axis = 8, high: int = 2) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(8, 8, channels: 1))

  attribute turn: int = 5
  attribute group: int = token.block + 10 * tile(token, high) + token.turn - 9
  attribute block: int = token.index / 4
  attribute corner: int = token.row + token.col == 0 & token.stream == image
  attribute later: int = when token.task == clip then token.frame else -1

  process noising on image = flow(predict: velocity)
  task clip(a: image, say: text, b: image, c: image) =
      <bos>(turn: 1) given image(a, frame: 1) given text(say, turn: 2, scale: 3) predict image(b, frame: 2) <sep> predict image(c, frame: 3, turn: 0) <eoi>
  task other(say: text) = <bos> predict text(say) <eos>

  mask grouped_by(a: attribute)(q, k) = k.a <= q.a
  body = [decoder_block(d, 2, grouped_by(group) & causal), decoder_block(d, 2, same(block) | k_is_q), group_of(d)]
  mask k_is_q(q, k) = q.pos == k.pos & q.time == k.time
  embed image = linear(image.features, d)
  head image = linear(d, image.features)
  loss = denoise(image) + next_token(text)
  sample image = euler(steps: 2)
  sample text = greedy()
}
`;

function film(): Model {
  const result = check(spec);
  const [model] = result.models;
  if (!model) throw new Error(lines(result, spec).join("\n"));
  expect(model.notBuilt).toEqual([]);
  return model;
}

const model = film();
const made = modelSpec(model, layoutParameters(model), { sound: true });
const picture: FieldValue = { kind: "features", data: new Float32Array(64) };
const fields = { a: picture, b: picture, c: picture, say: { kind: "ids", ids: [1, 2, 3, 4, 5] } } as const;

const paper = exampleOf(model, model.tasks[0] as Model["tasks"][0], { patches: 16, lengths: { say: 5 } });
const sequence = layoutSample(made, "clip", fields);

test("the places of a sample, by hand", () => {
  const column = (name: string): number[] => paper.map((t) => t.attributes[name] ?? NaN);
  const n = (count: number, value: number): number[] => Array<number>(count).fill(value);
  const up = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  expect(column("index")).toEqual([0, ...up(16), ...up(5), ...up(16), 0, ...up(16), 0]);
  expect(column("time")).toEqual([0, ...n(16, 0), ...n(5, 0), ...n(16, 1), 0, ...n(16, 2), 0]);
  expect(column("frame")).toEqual([0, ...n(16, 1), ...n(5, 0), ...n(16, 2), 0, ...n(16, 3), 0]);
  expect(column("scale")).toEqual([0, ...n(16, 0), ...n(5, 3), ...n(16, 0), 0, ...n(16, 0), 0]);
  expect(column("turn")).toEqual([1, ...n(16, 5), ...n(5, 2), ...n(16, 5), 5, ...n(16, 0), 5]);
  expect(column("block")).toEqual(column("index").map((i) => Math.floor(i / 4)));
  expect(column("group")).toEqual(paper.map((t, i) => (column("block")[i] ?? 0) + 10 * Math.floor((t.attributes["row"] ?? 0) / 2) + (column("turn")[i] ?? 0) - 9));
  expect(column("corner").flatMap((c, i) => (c ? [i] : []))).toEqual([1, 22, 39]);
  expect(column("later")).toEqual(column("frame"));
});

test("a batch holds what the paper does", () => {
  expect(made.attributes).toEqual([{ name: "turn", fallback: 5 }]);
  for (const a of attributesOf(made)) {
    if (a === "id") continue;
    expect([...(sequence.columns[a] ?? [])], a).toEqual(paper.map((t) => t.attributes[a]));
  }
  const { columns } = packSequences(made, [sequence, layoutSample(made, "other", { say: fields.say })], { pack: true });
  for (const a of ["index", "time", "frame", "scale", "turn"]) expect([...(columns[a] ?? [])].slice(0, sequence.count), a).toEqual([...(sequence.columns[a] ?? [])]);
});

test("generation feeds the same, and sees the same in its cache", () => {
  const tokens = tokensOf(made, sequence);
  const row = new Row(0, false);
  row.slots.push(...tokens.slice(0, 22));
  const table = stepTable(made, [row], [tokens.slice(22, 38)], 22);
  for (const a of attributesOf(made)) {
    expect([...(table.columns[a] ?? [])], a).toEqual([...(sequence.columns[a] ?? [])].slice(22, 38));
    expect([...(table.keys[a] ?? [])].slice(0, 38), a).toEqual([...(sequence.columns[a] ?? [])].slice(0, 38));
  }
});

test("masks and layers read formulas through the attributes they are made of", () => {
  expect(model.reads).toEqual(["col", "doc", "index", "pos", "row", "stream", "time", "turn"]);
  const mask = model.attentions[0]?.mask?.expr;
  if (!mask) throw new Error("no mask");
  const group = (i: number): number => paper[i]?.attributes["group"] ?? NaN;
  const bare = (i: number): Record<string, number> => Object.fromEntries(Object.entries(paper[i]?.attributes ?? {}).filter(([n]) => n !== "group" && n !== "block"));
  paper.forEach((_, q) => paper.forEach((__, k) => expect(evalExpr(mask, { q: bare(q), k: bare(k) }) !== 0).toBe(group(k) <= group(q) && k <= q)));
});

test("a mask that is asked about from outside reads formulas too", () => {
  const asked = askedMask(model, makeSource("asked", "same(group) & q.corner == 0"));
  expect(asked.diagnostics).toEqual([]);
  const of = (i: number): Record<string, number> => Object.fromEntries(Object.entries(paper[i]?.attributes ?? {}).filter(([n]) => n !== "group" && n !== "corner"));
  const expr = asked.mask?.expr;
  if (!expr) throw new Error("no mask");
  paper.forEach((a, q) => paper.forEach((b, k) => expect(evalExpr(expr, { q: of(q), k: of(k) }) !== 0).toBe(a.attributes["group"] === b.attributes["group"] && a.attributes["corner"] === 0)));
});

test("`token.group` in a layer is the formula's number", () => {
  const builder = new GraphBuilder("formula");
  const t = { name: "t", size: dimConst(paper.length) };
  const inputs: Record<string, number[]> = {};
  const leaf = (name: string, data: number[]): number => {
    inputs[name] = data;
    return builder.add("input", [], { name, type: { dtype: name === "x" ? "f32" : "i32", axes: name === "x" ? [t, { name: "d", size: dimConst(8) }] : [t] } }, originAt(name));
  };
  const column = (name: string): number[] => paper.map((token) => token.attributes[name] ?? NaN);
  const layers = model.network.body.form.kind === "sequence" ? model.network.body.form.layers.slice(-1) : [];
  const [last] = layers;
  if (!last) throw new Error("no layer");
  const network = elaborateNetwork({ ...model, network: { ...model.network, body: last } }, builder, {
    attribute: (_, name) => leaf(name, column(name)), level: () => -1,
  });
  builder.output("out", network.body(leaf("x", Array.from({ length: paper.length * 8 }, (_, i) => i))));
  const out = interpret(builder.finish(), { inputs }).outputs["out"];
  expect([...(out?.data ?? [])].filter((_, i) => i % 8 === 0)).toEqual(paper.map((token) => (token.attributes["group"] ?? 0) + 100 * (token.attributes["corner"] ?? 0)));
});

const small = (members: string, task = "given text(a) predict text(b)", body = "causal"): string => `use std.blocks { decoder_block }
model small(d: axis = 8) {
  tokens text = bytes()
  ${members}
  task write(a: text, b: text) = <bos> ${task} <eos>
  body = decoder_block(d, 2, ${body})
  loss = next_token(text)
  sample text = greedy()
}
`;

describe("refused", () => {
  test.each([
    [small("attribute row: int = 0"), "E0235 every token has an attribute `row` @ row"],
    [small("attribute scale: int = 0"), "E0235 every token has an attribute `scale` @ scale"],
    [small("attribute a: int = token.a + 1"), "E0236 the formula of attribute `a` reads `a` @ token.a + 1"],
    [small("attribute a: int = token.b + 1\n  attribute b: int = token.a"), "E0236 the formula of attribute `a` reads `a` @ token.b + 1"],
    [small("attribute a: int = token.pos * 0.5"), "E0237 attribute `a` is a whole number, and its formula is a number with a fraction @ token.pos * 0.5"],
    [small("attribute a: int = token"), "E0237 attribute `a` is a whole number, and its formula is a token of the mask @ token"],
    [small("attribute a: int = token.rows"), "E0221 tokens have no attribute `rows` @ rows"],
    [small("attribute a: int = token.pos", "given text(a, a: 1) predict text(b)"), "E0238 attribute `a` has a formula, so a task cannot set it @ a"],
    [small("", "given text(a, pos: 1) predict text(b)"), "E0238 `pos` follows from the layout, so a task cannot set it @ pos"],
    [small("", "given text(a, frame: -1) predict text(b)"), "E0319 `frame` is counted from 0, and this is -1 @ -1"],
    [small("", "<sep>(3) given text(a) predict text(b)"), undefined],
    [small("", "<sep>(turn: 3) given text(a) predict text(b)"), "E0221 the model declares no attribute `turn` @ turn"],
    [small("attribute a: int = token.pos / 0"), "E0239 `/` by zero @ 0"],
    [small("", undefined, "causal & same(turn)"), "E0221 tokens have no attribute `turn` @ turn"],
  ])("%s", (text, message) => {
    const found = lines(check(text), text);
    if (message === undefined) expect(found.length).toBeGreaterThan(0);
    else expect(found).toEqual([message]);
  });
});
