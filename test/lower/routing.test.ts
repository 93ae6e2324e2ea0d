// The `routing` program: what it says of every routed layer, against what routes and routers promise. Two rows, the second one short.

import { expect, test } from "vitest";
import { dimEval } from "../../compiler/dim/dim.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { lowerRouting, routingLayers } from "../../compiler/lower/routing.ts";
import { choicesOf, type Choice } from "../../compiler/routing/report.ts";
import { noise } from "../types/apply.ts";
import { check } from "../types/loader.ts";

const spec = (body: string): string => `use std.blocks { decoder_block }
use std.mlp { swiglu }
use std.moe { moe_block }
use std.routers { top_experts, mixtral_experts, deepseek_experts, switch_experts, modality_experts, hash_experts, expert_choice_experts, soft_experts }
model m(d: axis = 4) {
  tokens text  = bytes()
  tokens image = patches(2, of: pixels(4, 4, channels: 1))
  process noising on image = flow()
  route modality = by stream { text -> understand; image -> generate }
  task draw(line: text, picture: image) = <bos> given text(line) <boi> predict image(picture)
  mask = causal | within(image)
  embed image = linear(image.features, d)
  body = ${body}
  head image = linear(d, image.features)
  loss = denoise(image)
  sample image = euler(steps: 2)
}
`;

const [BATCH, T] = [2, 9];
const LIVE = [9, 6];
/** `<bos>`, letters, patches from the fifth token on. */
const stream = Array.from({ length: BATCH * T }, (_, i) => (i % T >= (LIVE[Math.floor(i / T)] ?? 0) ? -1 : i % T >= 5 ? 1 : 0));
const id = Array.from({ length: BATCH * T }, (_, i) => 60 + ((i * 7) % 40));

interface Said {
  readonly path: string;
  readonly weighed: boolean;
  /** By row and token, padding included. */
  readonly choices: readonly Choice[][][];
}

function said(body: string): Said[] {
  const { models, diagnostics } = check(spec(body));
  const [model] = models;
  if (!model) throw new Error(diagnostics.map((d) => d.message).join("\n"));
  const graph = lowerRouting(model);
  const lengths = { batch: BATCH, t: T };
  const inputs: Record<string, readonly number[]> = {};
  const state: Record<string, readonly number[]> = {};
  for (const n of graph.nodes) {
    if (n.op !== "input" && n.op !== "state") continue;
    const size = n.type.axes.reduce((k, a) => k * (dimEval(a.size, lengths) ?? 1), 1);
    if (n.op === "state") state[n.attrs.name] = noise(size, n.id + 5).map((x) => 2 * x);
    else if (n.attrs.name === "tok.stream") inputs[n.attrs.name] = stream;
    else if (n.attrs.name === "tok.doc") inputs[n.attrs.name] = stream.map((s) => (s < 0 ? -1 : 0));
    else if (n.attrs.name === "tok.id") inputs[n.attrs.name] = id;
    else if (n.attrs.name === "tok.pos") inputs[n.attrs.name] = id.map((_, i) => i % T);
    else inputs[n.attrs.name] = n.type.dtype === "f32" ? noise(size, 3) : Array.from({ length: size }, () => 0);
  }
  const { outputs } = interpret(graph, { inputs, state, lengths });
  return routingLayers(model).map(({ layer, weighed }, i) => {
    const [expert, weight, share] = ["expert", "weight", "share"].map((x) => outputs[`routing.${i}.${x}`]?.data);
    const rows = { batch: BATCH, tokens: T, expert: expert ?? [], ...(weight ? { weight } : {}), ...(share ? { share } : {}) };
    return { path: layer.path, weighed, choices: [0, 1].map((b) => choicesOf(rows, b, T)) };
  });
}

const each = (s: Said, visit: (c: readonly Choice[], stream: number, at: number) => void): void => s.choices.forEach((row, b) => row.forEach((c, t) => visit(c, stream[b * T + t] ?? -1, b * T + t)));
const numbers = (c: readonly Choice[]): number[] => c.map((x) => x.expert).sort((a, b) => a - b);

test.each([
  ["top_experts(d, 6, 3)", 6, 3, false], ["mixtral_experts(d, 5, 2)", 5, 2, true], ["switch_experts(d, 4)", 4, 1, false],
  ["modality_experts(d, 6, 2, modality)", 6, 2, true], ["deepseek_experts(d, 8, 2, groups: 4, keep: 2)", 8, 2, true],
] as const)("%s: so many different experts of so many, none for padding", (router, experts, k, renormalised) => {
  // The gates of modalities are a routed layer too.
  const [a, b] = said(`stack(2) moe_block(d, 1, mask, ${router}, hidden: 3)`).filter((s) => s.path.endsWith(".ffn"));
  expect([a?.path, b?.path, a?.weighed]).toEqual(["body[0].ffn", "body[1].ffn", true]);
  for (const s of [a, b]) if (s) each(s, (c, st) => {
    expect(new Set(numbers(c)).size).toBe(st < 0 ? 0 : k);
    for (const x of c) expect(x.expert >= 0 && x.expert < experts && x.weight > 0 && x.weight <= 1).toBe(true);
    if (renormalised && st >= 0) expect(c.reduce((n, x) => n + x.weight, 0)).toBeCloseTo(1, 9);
  });
});

test("groups that are not kept give no expert", () => {
  const [s] = said("moe_block(d, 1, mask, deepseek_experts(d, 8, 2, groups: 4, keep: 1), hidden: 3)");
  if (s) each(s, (c, st) => {
    if (st >= 0) expect(new Set(c.map((x) => Math.floor(x.expert / 2))).size).toBe(1);
  });
});

test("a route goes by its attribute, and needs no weights", () => {
  const [s] = said("routed(modality, swiglu(d, 3))");
  expect(s?.weighed).toBe(false);
  if (s) each(s, (c, st) => expect(c).toEqual(st < 0 ? [] : [{ expert: st, weight: 1 }]));
});

test("hash layers need no weights, and send a word to one expert wherever it stands", () => {
  const [s] = said("routed(hash_experts(d, 5), swiglu(d, 3))");
  expect(s?.weighed).toBe(false);
  const of = new Map<number, number>();
  if (s) each(s, (c, st, at) => {
    expect(c.length).toBe(st < 0 ? 0 : 1);
    const [x] = c;
    if (!x) return;
    expect(of.get(id[at] ?? 0) ?? x.expert).toBe(x.expert);
    of.set(id[at] ?? 0, x.expert);
  });
  expect(new Set(of.values()).size).toBeGreaterThan(2);
});

test("a router in a branch says nothing of other branches", () => {
  const [outer, inner] = said("routed(modality, understand: swiglu(d, 3), generate: routed(top_experts(d, 4, 2), swiglu(d, 3)))");
  expect([outer?.weighed, inner?.weighed]).toEqual([false, true]);
  if (inner) each(inner, (c, st) => expect(c.length).toBe(st === 1 ? 2 : 0));
});

test("experts that choose take their best tokens of each sample, so many of them", () => {
  const [s] = said("moe_block(d, 1, mask, expert_choice_experts(d, 3, 1), hidden: 3)");
  s?.choices.forEach((row, b) => {
    for (let e = 0; e < 3; e++) expect(row.flat().filter((c) => c.expert === e).length).toBe(Math.floor((LIVE[b] ?? 0) / 3));
    expect(row.slice(LIVE[b]).flat()).toEqual([]);
  });
});

test("soft mixtures take of every token a share, which sum to their slots", () => {
  const [s] = said("moe_block(d, 1, mask, soft_experts(d, 3, 2), hidden: 3)");
  s?.choices.forEach((row, b) => {
    const live = row.slice(0, LIVE[b]);
    for (let e = 0; e < 3; e++) expect(live.reduce((n, c) => n + (c.find((x) => x.expert === e)?.weight ?? 0), 0)).toBeCloseTo(2, 9);
  });
});

test("layers may be asked for one by one", () => {
  const { models: [model] } = check(spec("[routed(modality, swiglu(d, 3)), moe_block(d, 1, mask, top_experts(d, 4, 2), hidden: 3)]"));
  if (!model) throw new Error("no model");
  const graph = lowerRouting(model, [0]);
  expect(graph.outputs.map((o) => o.name)).toEqual(["routing.0.expert"]);
  expect(graph.nodes.some((n) => n.op === "state" || n.op === "random")).toBe(false);
});
