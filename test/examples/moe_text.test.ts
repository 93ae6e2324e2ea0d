// The text model's data and its report: rows that the tokenizer takes and that fit, held-out stretches, loads as the metrics have them.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { checkSpec } from "../../cli/spec.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { lowerTraining } from "../../compiler/lower/train.ts";
import { packSequences } from "../../runtime/sequence/batch.ts";
import { layoutSample } from "../../runtime/sequence/layout.ts";
import { bpeTokenizer } from "../../runtime/tokenize/bpe.ts";
import { openData } from "../../runtime/train/data.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { trainingInputs } from "../../runtime/train/inputs.ts";
import { loadParameters } from "../../runtime/weights/parameters.ts";

const root = join(import.meta.dirname, "../../examples/moe-text");
const rows = gunzipSync(readFileSync(join(root, "data/text.jsonl.gz"))).toString("utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as { text: string; split: string });
const tokenizer = bpeTokenizer(readFileSync(join(root, "tokenizer.json"), "utf8"), "tokenizer.json");

interface MakeData {
  learnMerges(texts: readonly string[], count: number): string[];
  tokenizerFile(merges: readonly string[]): object;
}
interface Line {
  readonly run: string;
  readonly step: number;
  readonly steps: number;
  readonly max_over_mean?: readonly number[];
}
interface Summary {
  readonly steps: number;
  readonly loss: { readonly first: number; readonly last: number };
  readonly load?: { readonly first: readonly number[]; readonly last: readonly number[] };
}
interface Report {
  thin(run: string, metrics: readonly object[], every?: number): Line[];
  readRuns(places: readonly string[]): Map<string, Line[]>;
  summary(run: readonly Line[], window?: number): Summary;
  picture(runs: ReadonlyMap<string, readonly Line[]>): string;
}
const { learnMerges, tokenizerFile } = (await import(join(root, "make_data.mjs"))) as MakeData;
const { thin, readRuns, summary, picture } = (await import(join(root, "report.mjs"))) as Report;

describe("the text", () => {
  test("comes back from the tokenizer as it was, in at most 94 tokens a row", () => {
    expect(tokenizer.vocab).toBe(1024);
    for (const { text } of rows.filter((_, i) => i % 7 === 0)) {
      const ids = tokenizer.encode(text);
      expect(ids.length, text).toBeLessThanOrEqual(94);
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });

  test("holds out every twentieth stretch of eight rows, and opens as a data folder", () => {
    rows.forEach((row, i) => expect(row.split, `row ${i}`).toBe(Math.floor(i / 8) % 20 === 19 ? "valid" : "train"));
    const held = openData(join(root, "data"), { split: "valid", needs: { image: false, texts: ["text"] } });
    expect(held.rows.length).toBe(rows.filter((row) => row.split === "valid").length);
    const train = new Set(rows.filter((row) => row.split === "train").map((row) => row.text));
    expect(rows.filter((row) => row.split === "valid" && row.text.length > 60 && train.has(row.text))).toEqual([]);
  });

  test("pairs are merged as often as they occur, and the file is one that the tokenizer reads", () => {
    expect(learnMerges(["ab ab ab cd cd", "abd"], 3)).toEqual(["a b", "c d", "Ġ ab"]);
    expect(learnMerges(["x"], 3)).toEqual([]);
    const small = bpeTokenizer(JSON.stringify(tokenizerFile(["a b", "Ġ ab"])), "small");
    expect(small.vocab).toBe(258);
    expect([...small.encode("ab ab")]).toEqual([256, 257]);
    expect(small.decode(small.encode("naïve, \n“abab”"))).toBe("naïve, \n“abab”");
  });
});

test("the shipped weights know the text: a held-out row costs less than 4.5 a token, untrained ones 6.9", () => {
  const model = checkSpec(join(root, "moe_text.heddle")).models.find((m) => m.name === "moe_text");
  if (!model) throw new Error("no model");
  const spec = modelSpec(model, layoutParameters(model), { sound: true });
  const ids = tokenizer.encode(rows.find((row) => row.split === "valid")?.text ?? "");
  const table = packSequences(spec, [layoutSample(spec, "write", { line: { kind: "ids", ids } })], { tokens: 96 });
  const { values, lengths } = trainingInputs(spec, table, { step: 0, seed: 1, uniform: () => 0.5 });
  const graph = lowerTraining(model, "loss");
  const read = graph.nodes.flatMap((n) => (n.op === "input" ? [n.attrs.name] : []));
  const inputs = Object.fromEntries(read.map((name) => [name, Array.from((values as Record<string, ArrayLike<number>>)[name] ?? [1])]));
  const lossOf = (all: Float32Array): number => {
    const state = Object.fromEntries(spec.parameters.map((p) => [`params/${p.path}`, all.subarray(p.offset, p.offset + p.axes.reduce((n, a) => n * a.size, 1))]));
    return interpret(graph, { inputs, state, lengths }).outputs["loss.next_token(text)"]?.data[0] ?? Number.NaN;
  };
  expect(lossOf(loadParameters(spec, readFileSync(join(root, "weights.safetensors")), "weights.safetensors"))).toBeLessThan(4.5);
  expect(lossOf(initialParameters(spec, 1))).toBeGreaterThan(6.9);
}, 60_000);

describe("the report", () => {
  const place = mkdtempSync(join(tmpdir(), "heddle-test-"));
  afterAll(() => rmSync(place, { recursive: true, force: true }));
  // The load evens out: the fullest expert has 3 times the mean at first and the mean at last.
  const metrics = Array.from({ length: 40 }, (_, i) => {
    const load = i < 20 ? [300, 50, 50, 0] : [100, 100, 100, 100];
    return { step: i + 1, loss: 5 - i / 10, terms: { "next_token(text)": 4 - i / 10, balance: 1 }, tokens: 100, seconds: 0.5, routing: [{ path: "body[0].ffn", load, max_over_mean: (4 * Math.max(...load)) / 400, evenness: 1, dropped: 0 }] };
  });

  test("averages steps and adds up loads, whole and thinned alike", () => {
    const lines = thin("one", metrics, 10);
    expect(lines.map((l) => [l.step, l.steps])).toEqual([[10, 10], [20, 10], [30, 10], [40, 10]]);
    expect(lines.map((l) => l.max_over_mean)).toEqual([[3], [3], [1], [1]]);
    mkdirSync(join(place, "one"));
    writeFileSync(join(place, "one/metrics.jsonl"), metrics.map((m) => JSON.stringify(m)).join("\n"));
    writeFileSync(join(place, "thin.jsonl"), lines.map((l) => JSON.stringify(l)).join("\n"));
    const [whole, thinned] = [readRuns([join(place, "one")]).get("one") ?? [], readRuns([join(place, "thin.jsonl")]).get("one") ?? []];
    expect(summary(whole, 10)).toEqual(summary(thinned, 10));
    const s = summary(whole, 10);
    expect([s.steps, s.load?.first, s.load?.last]).toEqual([40, [3], [1]]);
    expect(s.loss.first).toBeCloseTo(3.55, 5);
    expect(s.loss.last).toBeCloseTo(0.55, 5);
  });

  test("draws one panel a run with routed layers", () => {
    const dense = metrics.map(({ routing: _, ...rest }) => rest);
    const svg = picture(new Map([["routed", thin("routed", metrics)], ["dense", thin("dense", dense)]]));
    expect(svg.match(/font-weight="bold">/g)).toHaveLength(1);
    expect(svg).toContain(">routed<");
    expect(svg).not.toMatch(/NaN|undefined/);
    expect(() => picture(new Map([["dense", thin("dense", dense)]]))).toThrow("no run has routed layers");
  });

  test("the shipped training says what the README says", () => {
    const runs = readRuns([join(root, "training.jsonl")]);
    const readme = readFileSync(join(root, "README.md"), "utf8");
    for (const name of ["balanced", "unbalanced"]) {
      const s = summary(runs.get(name) ?? []);
      const [first, last] = [s.load?.first ?? [], s.load?.last ?? []].map((list) => list.reduce((a, b) => a + b, 0) / list.length);
      for (const number of [first, last]) expect(readme, name).toContain((number ?? Number.NaN).toFixed(2));
    }
    const end = (name: string): number => Math.max(...(summary(runs.get(name) ?? []).load?.last ?? [Number.NaN]));
    expect(end("balanced")).toBeLessThan(end("unbalanced"));
    expect(existsSync(join(root, "load.svg"))).toBe(true);
  });
});
