// Routed layers in the interpreter: each token gets what the layer of its own branch gives, whatever the layer is made of.

import { describe, expect, test } from "vitest";
import { close } from "./apply.ts";
import { check } from "./loader.ts";
import { gradients, modelOf, plainWeights, runBody, spec } from "./routed_body.ts";
import type { Tokens, Weights } from "./routed_body.ts";

const modality = "route modality = by stream { text -> understand; image -> generate }";
const turns = "route turns = by turn { 0 -> first; 1, 2 -> middle; else -> rest }";
const tokens: Tokens = { stream: [0, 1, 1, 0, 1, 0, -1], doc: [0, 0, 0, 0, 0, 0, -1], span: [0, 1, 1, 2, 3, 4, -1], turn: [0, 1, 2, 0, 3, 1, 0] };

/** The dense layer with the weights of one branch. */
const denseOf = (layer: string, branch: string, given: Tokens, more: string): readonly number[] => {
  const weights: Weights = (path, n) => plainWeights(path.replace(/^body\./, `body.${branch}.`), n);
  return runBody(modelOf(spec(layer, more)), given, { weights }).out;
};

/** Every live token of the routed body against the dense layer of its branch. */
function compare(body: string, layers: Readonly<Record<string, string>>, branchOf: (i: number) => string | undefined, given: Tokens, more: string, use = ""): void {
  const routed = runBody(modelOf(spec(body, more)), given);
  const n = given.stream.length;
  const width = routed.out.length / n;
  let compared = 0;
  for (const [branch, layer] of Object.entries(layers)) {
    const dense = denseOf(layer, branch, given, use);
    for (let i = 0; i < n; i++) {
      if (branchOf(i) !== branch) continue;
      close(routed.out.slice(i * width, (i + 1) * width), dense.slice(i * width, (i + 1) * width), 1e-9);
      compared++;
    }
  }
  expect(compared).toBe(given.doc?.filter((x) => x >= 0).length);
}

const said = (text: string): string[] => {
  const r = check(text);
  return [...r.diagnostics, ...r.notBuilt].map((d) => d.code);
};
const byStream = (i: number): string | undefined => (tokens["doc"]?.[i] === -1 ? undefined : tokens.stream[i] === 0 ? "understand" : "generate");

describe("by stream", () => {
  for (const layer of ["linear(d, d, bias: true)", "rms_norm(d)", "layer_norm(d)", "swiglu(d, 6)", "mlp(d, 5)", "[rms_norm(d), swiglu(d, 6)]", "linear(d, d) + rms_norm(d)", "residual(swiglu(d, 3))"]) {
    test(layer, () => compare(`routed(modality, ${layer})`, { understand: layer, generate: layer }, byStream, tokens, modality));
  }
  test("one copy of each weight, by branch", () => {
    expect(modelOf(spec("routed(modality, swiglu(d, 6))", modality)).parameters.filter((p) => p.path.startsWith("body")).map((p) => [p.path, p.dense])).toEqual(
      ["understand", "generate"].flatMap((b) => ["gate", "up", "down"].map((n) => [`body.${b}.${n}.w`, `body.${n}.w`])),
    );
  });
  test("gradients", () => gradients(modelOf(spec("routed(modality, [layer_norm(d), mlp(d, 5), swiglu(d, 6)])", modality)), tokens));
});

describe("other routes", () => {
  const byTurn = (i: number): string | undefined => (tokens["doc"]?.[i] === -1 ? undefined : ["first", "middle", "middle"][tokens["turn"]?.[i] ?? 0] ?? "rest");

  test("by whole numbers, lists and `else`", () => compare("routed(turns, mlp(d, 5))", { first: "mlp(d, 5)", middle: "mlp(d, 5)", rest: "mlp(d, 5)" }, byTurn, tokens, turns));

  test("written inline, by task", () => {
    const given: Tokens = { ...tokens, task: [0, 0, 0, 1, 1, 1, -1] };
    compare("routed(by task { draw -> a; tell -> b }, swiglu(d, 6))", { a: "swiglu(d, 6)", b: "swiglu(d, 6)" }, (i) => (i > 5 ? undefined : i < 3 ? "a" : "b"), given, "");
  });

  test("by role, and by a range of an attribute that is a parameter", () => {
    const given: Tokens = { ...tokens, role: [0, 1, 0, 1, 1, 0, 0] };
    compare("routed(by role { given -> a; predicted -> b }, linear(d, d))", { a: "linear(d, d)", b: "linear(d, d)" }, (i) => (i > 5 ? undefined : given["role"]?.[i] === 0 ? "a" : "b"), given, "");
    compare("routed(halves(turn), linear(d, d))", { low: "linear(d, d)", high: "linear(d, d)" }, (i) => (i > 5 ? undefined : (tokens["turn"]?.[i] ?? 0) < 2 ? "low" : "high"), tokens, "route halves(a: attribute) = by a { 0..2 -> low; else -> high }");
  });

  test("by a formula", () => {
    const text = spec("routed(by half { 0 -> a; else -> b }, linear(d, d))").replace("attribute turn: int = 0", "attribute turn: int = 0\n  attribute half: int = token.turn / 2");
    const routed = runBody(modelOf(text), tokens);
    const of = (b: string): readonly number[] => denseOf("linear(d, d)", b, tokens, "");
    close(routed.out.slice(0, 8), of("a").slice(0, 8));
    close(routed.out.slice(8, 12), of("b").slice(8, 12));
  });
});

describe("branches that differ", () => {
  test("in their widths", () => {
    compare("routed(modality, understand: swiglu(d, 3), generate: swiglu(d, 7))", { understand: "swiglu(d, 3)", generate: "swiglu(d, 7)" }, byStream, tokens, modality);
    gradients(modelOf(spec("routed(modality, understand: swiglu(d, 3), generate: mlp(d, 7))", modality)), tokens);
  });
  test("one layer for the branches that have none of their own", () => {
    const byTurn = (i: number): string | undefined => (i > 5 ? undefined : ["first", "middle", "middle"][tokens["turn"]?.[i] ?? 0] ?? "rest");
    const model = modelOf(spec("routed(turns, mlp(d, 5), middle: swiglu(d, 3))", turns));
    compare("routed(turns, mlp(d, 5), middle: swiglu(d, 3))", { first: "mlp(d, 5)", middle: "swiglu(d, 3)", rest: "mlp(d, 5)" }, byTurn, tokens, turns);
    // The two that are alike are applied once.
    const first = { ...tokens };
    expect(runBody(model, first).graph.nodes.filter((n) => n.op === "grouped_dot").length).toBe(2 + 3);
  });
  test("a layer that all share keeps its own weights", () => {
    const text = spec("routed(modality, understand: common, generate: [common, linear(d, d)])", modality).replace("  body =", "  common = mlp(d, 5)\n  body =");
    const model = modelOf(text);
    expect(model.parameters.filter((p) => /^(body|common)/.test(p.path)).map((p) => p.path)).toEqual(["up.w", "up.b", "down.w", "down.b"].map((n) => `common.${n}`).concat("body.generate.linear.w"));
    const routed = runBody(model, tokens);
    const dense = runBody(modelOf(spec("common").replace("  body =", "  common = mlp(d, 5)\n  body =")), tokens);
    close(routed.out.slice(0, 4), dense.out.slice(0, 4));
    expect(routed.graph.nodes.filter((n) => n.op === "dot").length).toBe(2);
  });
});

describe("inside one another", () => {
  const both = "route modality = by stream { text -> understand; image -> generate }\nroute turns = by turn { 0 -> first; else -> rest }";
  const branch = (i: number): string | undefined => (i > 5 ? undefined : `${tokens.stream[i] === 0 ? "understand" : "generate"}.${tokens["turn"]?.[i] === 0 ? "first" : "rest"}`);
  const four = (layer: string): Record<string, string> => Object.fromEntries(["understand.first", "understand.rest", "generate.first", "generate.rest"].map((b) => [b, layer]));

  test("a route in a route: one product for all four", () => {
    compare("routed(modality, routed(turns, mlp(d, 5)))", four("mlp(d, 5)"), branch, tokens, both);
    expect(runBody(modelOf(spec("routed(modality, routed(turns, mlp(d, 5)))", both)), tokens).graph.nodes.filter((n) => n.op === "grouped_dot").length).toBe(2);
    gradients(modelOf(spec("routed(modality, routed(turns, mlp(d, 5)))", both)), tokens);
    expect(modelOf(spec("routed(modality, routed(turns, linear(d, d)))", both)).parameters.filter((p) => p.path.startsWith("body")).map((p) => p.dense)).toEqual(Array.from({ length: 4 }, () => "body.w"));
  });

  test("a route in a branch that differs", () => {
    compare("routed(modality, understand: routed(turns, mlp(d, 5)), generate: routed(turns, mlp(d, 3)))", { ...four("mlp(d, 5)"), "generate.first": "mlp(d, 3)", "generate.rest": "mlp(d, 3)" }, branch, tokens, both);
  });

  test("weights by route in a layer that is routed", () => {
    const layer = "layer own(d: axis, parts: route) {\n  param w[d] ~ ones by parts\n  param m[d, e] by parts\n  axis e = 3\n  param out[e, d]\n  forward x[d] = dot[e](dot[d](x * w, m), out)\n}".replace("  axis e = 3\n", "").replace("{\n", "{\n  axis e = 3\n");
    const plain = "layer own(d: axis, parts: route) {\n  axis e = 3\n  param w[d] ~ ones\n  param m[d, e]\n  param out[e, d]\n  forward x[d] = dot[e](dot[d](x * w, m), out)\n}";
    const names = (path: string, b: string): string => path.replace(/^body\.(w|m)$/, `body.${b}.$1`).replace(/^body\.out$/, `body.${b.split(".")[0]}.out`);
    const routed = runBody(modelOf(spec("routed(modality, own(d, turns))", `${both}\n${layer}`)), tokens);
    for (const b of ["understand.first", "understand.rest", "generate.first", "generate.rest"]) {
      const dense = runBody(modelOf(spec("own(d, shared)", `${both}\n${plain}`)), tokens, { weights: (path, n) => plainWeights(names(path, b), n) });
      tokens.stream.forEach((_, i) => {
        if (branch(i) === b) close(routed.out.slice(i * 4, i * 4 + 4), dense.out.slice(i * 4, i * 4 + 4));
      });
    }
  });
});

test("several samples in a batch", () => {
  const given: Tokens = { stream: [0, 1, 1, 1, 0, -1], doc: [0, 0, 0, 1, 1, -1] };
  const model = modelOf(spec("routed(modality, [rms_norm(d), mlp(d, 5)])", modality));
  const together = runBody(model, given, { batch: 2 });
  const apart = [0, 1].map((b) => runBody(model, Object.fromEntries(Object.entries(given).map(([k, v]) => [k, v.slice(b * 3, b * 3 + 3)])) as Tokens, { x: together.x.slice(b * 12, b * 12 + 12) }));
  close(together.out.slice(0, 20), apart.flatMap((a) => a.out).slice(0, 20));
});

describe("attention", () => {
  const causal = "attention(d, 2, causal)";
  const own = "attention(d, 2, causal & same(stream))";
  const given: Tokens = { stream: [0, 1, 1, 0, 1, 0, 1], doc: [0, 0, 0, 0, 0, 0, 0] };
  const by = (i: number): string => (given.stream[i] === 0 ? "understand" : "generate");

  test("sees tokens of its own branch", () => compare(`routed(modality, ${causal})`, { understand: own, generate: own }, by, given, modality));
  test("in branches that differ", () => {
    compare("routed(modality, understand: attention(d, 2, causal), generate: attention(d, 1, mask))", { understand: own, generate: "attention(d, 1, mask & same(stream))" }, by, given, modality);
    gradients(modelOf(spec("routed(modality, understand: attention(d, 2, causal), generate: attention(d, 1, mask))", modality)), given);
  });
  test("with scores and sinks that are learned: each branch attends on its own", () => {
    for (const layer of ["sink_attention(d, 2, M)", "t5_attention(d, 2, M, buckets: 4, far: 8)"]) {
      const [routed, dense] = [layer.replace("M", "mask"), layer.replace("M", "mask & same(stream)")];
      compare(`routed(modality, ${routed})`, { understand: dense, generate: dense }, by, given, modality);
    }
  });
  test("a mask that names its branch is what proofs see", () => {
    const model = modelOf(spec("[routed(modality, understand: attention(d, 2, causal), generate: attention(d, 1, mask)), attention(d, 2, mask)]", modality));
    expect(model.attentions.map((a) => [a.path, a.layer, a.rows !== undefined])).toEqual([
      ["body.routed.understand", 0, true], ["body.routed.generate", 0, true], ["body.attention", 1, false],
    ]);
    // Words that see each other in the branch of images alone do not leak; in their own they do.
    const full = (b: string): string => spec(`[routed(modality, understand: attention(d, 2, ${b === "understand" ? "full" : "causal"}), generate: attention(d, 1, ${b === "generate" ? "full" : "mask"})), attention(d, 2, mask)]`, modality);
    expect(said(full("generate"))).toEqual([]);
    expect(said(full("understand"))).toEqual(["E0321"]);
    expect(said(spec("[routed(modality, attention(d, 2, full)), attention(d, 2, mask)]", modality))).toEqual(["E0321"]);
  });
});

describe("tables", () => {
  const table = "layer places(n: axis, d: axis) {\n  param w[n, d]\n  forward x[t, d] = x + gather[n](w, token.pos)\n}";
  test("rows of a table by branch, without the table at every token", () => {
    compare("routed(modality, places(4, d))", { understand: "places(4, d)", generate: "places(4, d)" }, byStream, { ...tokens, pos: [0, 1, 2, 3, 2, 1, 0] }, `${modality}\n${table}`, table);
    const { graph } = runBody(modelOf(spec("routed(modality, places(4, d))", `${modality}\n${table}`)), { ...tokens, pos: [0, 1, 2, 3, 2, 1, 0] });
    expect(graph.nodes.every((n) => n.type.axes.length <= 3)).toBe(true);
    gradients(modelOf(spec("routed(modality, places(4, d))", `${modality}\n${table}`)), { ...tokens, pos: [0, 1, 2, 3, 2, 1, 0] });
  });
});
