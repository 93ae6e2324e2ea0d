// Streams beside the sequence: rows of their own in the layout, in packed batches, in the programs; documents do not mix.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dimValue } from "../../compiler/dim/dim.ts";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { lowerForward } from "../../compiler/lower/forward.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { lowerTraining } from "../../compiler/lower/train.ts";
import type { Model } from "../../compiler/types/model.ts";
import { besideInputs, packSequences } from "../../runtime/sequence/batch.ts";
import { type FieldValue, layoutSample, neededFields, type Sequence } from "../../runtime/sequence/layout.ts";
import { trainingInputs } from "../../runtime/train/inputs.ts";
import { check, lines, root } from "../types/loader.ts";

const text = readFileSync(join(root, "examples/captioner/captioner.heddle"), "utf8").replaceAll("28, 28", "14, 14");
const model = check(text).models.find((m) => m.name === "tiny") as Model;
const spec = modelSpec(model, layoutParameters(model), { sound: true });
const vocab = 256 + model.specials.length;

const noise = (n: number, seed: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233) * 0.9);
const state = Object.fromEntries(model.parameters.map((p, i) => [`params/${p.path}`, noise(p.axes.reduce((k, a) => k * (dimValue(a.size) ?? 1), 1), i + 1)]));
const picture = (seed: number): FieldValue => ({ kind: "features", data: noise(4 * 49, seed) });
const caption = (line: string): FieldValue => ({ kind: "ids", ids: [...line].map((c) => c.charCodeAt(0)) });
const sample = (line: string, seed: number, dropped?: ReadonlySet<number>): Sequence => layoutSample(spec, "describe", { picture: picture(seed), caption: caption(line) }, dropped ? { dropped } : {});

const names = (graph: Graph): string[] => graph.nodes.flatMap((n) => (n.op === "input" ? [n.attrs.name] : []));

/** Logits of every token of a table, [rows, tokens, vocab], by the graph interpreter. */
function logits(sequences: readonly Sequence[], options: { tokens?: number; pack?: boolean } = {}): { at: (placed: number) => number[] } {
  const table = packSequences(spec, sequences, options);
  const beside = besideInputs(spec, table.beside);
  const inputs = { ...Object.fromEntries(Object.entries(table.columns).map(([n, c]) => [`tok.${n}`, c])), ...beside.values };
  const graph = lowerForward(model);
  const named = Object.fromEntries(names(graph).map((n) => [n, inputs[n] as Int32Array]));
  const out = interpret(graph, { inputs: named, state, lengths: { batch: table.rows, t: table.tokens, ...beside.lengths } }).outputs["text.logits"]?.data ?? [];
  return {
    at: (s) => {
      const p = table.placed.find((x) => x.sequence === sequences[s]);
      if (!p) throw new Error("not placed");
      const from = (p.row * table.tokens + p.start) * vocab;
      return Array.from(out.slice(from, from + p.sequence.count * vocab));
    },
  };
}

const far = (a: readonly number[], b: readonly number[]): number => a.reduce((m, x, i) => Math.max(m, Math.abs(x - (b[i] ?? NaN))), 0);

describe("layout", () => {
  test("the row beside counts its own positions, and the sequence does not hold it", () => {
    const s = sample("ab", 1);
    expect(s.count).toBe(4);
    expect([...(s.columns.pos ?? [])]).toEqual([0, 1, 2, 3]);
    const row = s.beside.image;
    expect(row?.count).toBe(4);
    expect([...(row?.columns.pos ?? [])]).toEqual([0, 1, 2, 3]);
    expect([...(row?.columns.row ?? [])]).toEqual([0, 0, 1, 1]);
    expect([...(row?.columns.stream ?? [])]).toEqual([1, 1, 1, 1]);
    expect(row?.features.length).toBe(4 * 49);
    expect(neededFields(spec.tasks[0] ?? { name: "", id: 0, fields: [], items: [] })).toEqual(["picture"]);
  });

  test("documents of one row have one number in both", () => {
    const table = packSequences(spec, [sample("abcd", 1), sample("e", 2), sample("fg", 3)], { tokens: 10, pack: true });
    expect(table.rows).toBe(2);
    const row = table.beside.image;
    expect(row?.tokens).toBe(8);
    const docs = (columns: Int32Array | undefined, r: number, n: number): number[] => [...new Set([...(columns ?? [])].slice(r * n, (r + 1) * n))].sort();
    for (let r = 0; r < table.rows; r++) expect(docs(row?.columns.doc, r, 8).filter((d) => d >= 0)).toEqual(docs(table.columns.doc, r, 10).filter((d) => d >= 0));
    expect(docs(row?.columns.doc, 1, 8)).toEqual([-1, 0]);
  });

  test("what is left out leaves an empty row", () => {
    const table = packSequences(spec, [sample("ab", 1, new Set([0]))]);
    expect([...(table.beside.image?.columns.doc ?? [])].every((d) => d === -1)).toBe(true);
  });
});

describe("the programs", () => {
  test("packed documents read their own picture and no other", () => {
    const all = [sample("abcd", 1), sample("e", 2), sample("fg", 3)];
    const packed = logits(all, { tokens: 20, pack: true });
    all.forEach((s, i) => expect(far(packed.at(i), logits([s]).at(0))).toBeLessThan(1e-9));
  });

  test("the picture matters, and so does its absence; without it nothing is no number", () => {
    const [a, b, none] = [sample("abc", 1), sample("abc", 2), sample("abc", 1, new Set([0]))].map((s) => logits([s]).at(0));
    expect(far(a ?? [], b ?? [])).toBeGreaterThan(1e-3);
    expect(far(a ?? [], none ?? [])).toBeGreaterThan(1e-3);
    expect((none ?? [NaN]).every(Number.isFinite)).toBe(true);
  });

  test("the encoder learns: its weights have gradients through the cross-attention", () => {
    const graph = lowerTraining(model, "grad");
    const table = packSequences(spec, [sample("abc", 1), sample("de", 2)]);
    const given = trainingInputs(spec, table, { step: 0, seed: 1, uniform: () => 0.5 });
    const inputs = Object.fromEntries(names(graph).map((n) => [n, given.values[n] as Int32Array]));
    const grads = interpret(graph, { inputs, state, lengths: given.lengths }).state;
    for (const p of model.parameters) expect([...(grads[`grads/${p.path}`]?.data ?? [])].some((x) => x !== 0), p.path).toBe(true);
  });
});

describe("mistakes", () => {
  const small = (task: string, body: string): string => `model m(d: axis = 16) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4))
  task tell(picture: image, line: text) = ${task}
  mask        = causal
  embed image = linear(image.features, d)
  body        = ${body}
  loss        = next_token(text)
  sample text = greedy()
}`;
  const said = (task: string, body: string): string[] => { const t = small(task, body); return lines(check(t), t); };

  test("a row that nothing reads, and a stream on both sides", () => {
    expect(said("beside image(picture) <bos> predict text(line) <eos>", "attention(d, 2, mask)")).toEqual(["E0308 weight `w` gets no gradient @ stdlib/layers.heddle"]);
    expect(said("beside image(picture) given image(picture) <bos> predict text(line) <eos>", "attention(d, 2, mask)")[0]).toMatch(/^E0245/);
  });

  test("a body that takes the row where there is none", () => {
    expect(said("given image(picture) <bos> predict text(line) <eos>", "cross_attention(d, d, d, 2)").length).toBeGreaterThan(0);
  });
});
