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
  const part = (values: readonly number[], b: number): number[] => values.slice(b * 3, b * 3 + 3);
  const apart = [0, 1].map((b) => runBody(model, { stream: part(given.stream, b), doc: part(given["doc"] ?? [], b) }, { x: together.x.slice(b * 12, b * 12 + 12) }));
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

describe("with routers", () => {
  const decl = `${modality}
router one(d: axis, n: int) {
  gate = linear(d, axis n)
  choose x[t, d] = top(1, softmax[n](gate(x)))
}
router two(d: axis, n: int) {
  gate = linear(d, axis n)
  choose x[t, d] = top(2, softmax[n](gate(x)))
}`;
  /** Rows of softmax(x w), largest first, as [expert, weight]. */
  const choices = (x: readonly number[], w: readonly number[], n: number, k: number): [number, number][] => {
    const logits = Array.from({ length: n }, (_, e) => x.reduce((s, v, i) => s + v * (w[i * n + e] ?? 0), 0));
    const exp = logits.map(Math.exp);
    const sum = exp.reduce((a, b) => a + b, 0);
    return exp.map((v, e): [number, number] => [e, v / sum]).sort((a, b) => b[1] - a[1]).slice(0, k);
  };
  const matrix = (x: readonly number[], w: readonly number[], from: number, to: number): number[] => Array.from({ length: to }, (_, h) => x.slice(0, from).reduce((s, v, i) => s + v * (w[i * to + h] ?? 0), 0));
  const relu = (x: readonly number[]): number[] => x.map((v) => Math.max(v, 0));
  /** linear(d, 5), relu, linear(5, d) with the weights of expert e of `under`. */
  const plainMlp = (x: readonly number[], under: string, e: number, experts: number): number[] => {
    const up = plainWeights(`${under}.up.w`, experts * 20).slice(e * 20, e * 20 + 20);
    const down = plainWeights(`${under}.down.w`, experts * 20).slice(e * 20, e * 20 + 20);
    return matrix(relu(matrix(x, up, 4, 5)), down, 5, 4);
  };
  const relued = "layer map(d: axis, h: axis) {\n  up = linear(d, h)\n  down = linear(h, d)\n  forward x[d] = down(relu(up(x)))\n}";

  test("experts are an axis of the weights; a row is multiplied with its own", () => {
    const model = modelOf(spec("routed(two(d, 3), map(d, 5))", `${decl}\n${relued}`));
    expect(model.parameters.filter((p) => p.path.startsWith("body")).map((p) => [p.path, p.axes.map((a) => a.name), p.experts ?? []])).toEqual([
      ["body.router.gate.w", ["d", "n"], []], ["body.up.w", ["n#1", "d", "h"], ["n#1"]], ["body.down.w", ["n#1", "h", "d"], ["n#1"]],
    ]);
    expect(model.parameters.filter((p) => p.path.startsWith("body")).map((p) => p.decay)).toEqual([true, true, true]);
    const { out, x } = runBody(model, tokens);
    const gate = plainWeights("body.router.gate.w", 12);
    for (let i = 0; i < 6; i++) {
      const row = x.slice(i * 4, i * 4 + 4);
      const parts = choices(row, gate, 3, 2).map(([e, p]) => plainMlp(row, "body", e, 3).map((v) => v * p));
      close(out.slice(i * 4, i * 4 + 4), row.map((_, j) => parts.reduce((s, v) => s + (v[j] ?? 0), 0)));
    }
    gradients(model, tokens);
  });

  test("in one branch of a route: tokens of the others go to no expert", () => {
    const model = modelOf(spec("routed(modality, understand: map(d, 5), generate: routed(one(d, 3), map(d, 5)))", `${decl}\n${relued}`));
    expect(model.parameters.filter((p) => p.path.startsWith("body")).map((p) => p.path)).toEqual(["body.understand.up.w", "body.understand.down.w", "body.generate.router.gate.w", "body.generate.up.w", "body.generate.down.w"]);
    const { out, x } = runBody(model, tokens);
    const gate = plainWeights("body.generate.router.gate.w", 12);
    for (let i = 0; i < 6; i++) {
      const row = x.slice(i * 4, i * 4 + 4);
      const [[e, p] = [0, 0]] = choices(row, gate, 3, 1);
      close(out.slice(i * 4, i * 4 + 4), tokens.stream[i] === 0 ? plainMlp(row, "body.understand", 0, 1) : plainMlp(row, "body.generate", e, 3).map((v) => v * p));
    }
    expect(model.routed.map((r) => [r.path, r.dispatch, r.experts])).toEqual([["body", "route", 2], ["body.generate", "top", 3]]);
    gradients(model, tokens);
  });

  test("in every branch: each branch has a router and experts of its own", () => {
    const model = modelOf(spec("routed(modality, routed(one(d, 2), map(d, 5)))", `${decl}\n${relued}`));
    const { out, x } = runBody(model, tokens);
    for (let i = 0; i < 6; i++) {
      const row = x.slice(i * 4, i * 4 + 4);
      const b = `body.${byStream(i)}`;
      const [[e, p] = [0, 0]] = choices(row, plainWeights(`${b}.router.gate.w`, 8), 2, 1);
      close(out.slice(i * 4, i * 4 + 4), plainMlp(row, b, e, 2).map((v) => v * p));
    }
  });

  test("a route inside experts: the class counts both", () => {
    const model = modelOf(spec("routed(two(d, 3), routed(modality, map(d, 5)))", `${decl}\n${relued}`));
    const { out, x, graph } = runBody(model, tokens);
    const gate = plainWeights("body.router.gate.w", 12);
    for (let i = 0; i < 6; i++) {
      const row = x.slice(i * 4, i * 4 + 4);
      const parts = choices(row, gate, 3, 2).map(([e, p]) => plainMlp(row, `body.${byStream(i)}`, e, 3).map((v) => v * p));
      close(out.slice(i * 4, i * 4 + 4), row.map((_, j) => parts.reduce((s, v) => s + (v[j] ?? 0), 0)));
    }
    expect(graph.nodes.filter((n) => n.op === "grouped_dot").length).toBe(2);
    gradients(model, tokens);
  });

  test("a router inside experts", () => {
    const model = modelOf(spec("routed(one(d, 3), [rms_norm(d), routed(two(d, 2), map(d, 5))])", `${decl}\n${relued}`));
    expect(model.parameters.filter((p) => p.path.startsWith("body")).map((p) => [p.path.slice(5), p.axes.map((a) => a.name)])).toEqual([
      ["router.gate.w", ["d", "n"]], ["rms_norm.gain", ["n#1", "d"]], ["routed.router.gate.w", ["n#1", "d", "n"]], ["routed.up.w", ["n#1", "n#2", "d", "h"]], ["routed.down.w", ["n#1", "n#2", "h", "d"]],
    ]);
    const { out, x } = runBody(model, tokens);
    for (let i = 0; i < 6; i++) {
      const row = x.slice(i * 4, i * 4 + 4);
      const [[e, p] = [0, 0]] = choices(row, plainWeights("body.router.gate.w", 12), 3, 1);
      const root = 1 / Math.sqrt(row.reduce((s, v) => s + v * v, 0) / 4 + 1e-5);
      const gain = plainWeights("body.rms_norm.gain", 12).slice(e * 4, e * 4 + 4);
      const inner = row.map((v, j) => v * root * (gain[j] ?? 0));
      const parts = choices(inner, plainWeights("body.routed.router.gate.w", 24).slice(e * 8, e * 8 + 8), 2, 2).map(([f, q]) => plainMlp(inner, "body.routed", e * 2 + f, 6).map((v) => v * q));
      close(out.slice(i * 4, i * 4 + 4), row.map((_, j) => p * parts.reduce((s, v) => s + (v[j] ?? 0), 0)));
    }
    gradients(model, tokens);
  });

  test("a tied weight inside experts is each one's own", () => {
    const tied = `layer tied(d: axis) {\n  axis h = 5\n  up = linear(d, h)\n  param w[d, h] = up.w\n  forward x[t, d] = dot[h](silu(up(x)), w)\n}\n`;
    const m = modelOf(spec("routed(top_experts(d, 3, 2), tied(d))", `use std.layers { linear }\nuse std.routers { top_experts }\n${tied}`));
    expect(m.parameters.filter((p) => p.path.startsWith("body")).map((p) => p.path)).toEqual(["body.router.gate.w", "body.up.w"]);
    gradients(m, tokens);
  });

  test("weights by route inside experts are those of a routed layer inside experts", () => {
    const own = "layer own(d: axis, r: route) {\n  axis to = d\n  param w[d, to] by r\n  forward x[d] = rename[to -> d](dot[d](x, w))\n}";
    const [a, b] = ["own(d, modality)", "routed(modality, linear(d, d))"].map((layer) => modelOf(spec(`routed(two(d, 3), ${layer})`, `${decl}\n${own}`)));
    if (!a || !b) throw new Error("no models");
    expect(a.parameters.map((p) => [p.path, p.axes.length, p.dense])).toEqual(b.parameters.map((p) => [p.path, p.axes.length, p.dense]));
    close(runBody(a, tokens).out, runBody(b, tokens).out);
  });

  test("one text of a function in two layers is two functions", () => {
    const text = `layer times(d: axis, n: float) {\n  fn f(x) = x * n\n  forward x[t, d] = x\n}
layer apply(d: axis, g: fn) {\n  param w[d] ~ ones\n  forward x[t, d] = g(x) * w\n}
layer two(d: axis) {\n  p = times(d, 2.0)\n  q = times(d, 3.0)\n  m = routed(modality, understand: apply(d, p.f), generate: apply(d, q.f))\n  forward x[t, d] = m(x)\n}`;
    const stream = [0, 1, 1, 0];
    const { out } = runBody(modelOf(spec("two(d)", `${modality}\n${text}`)), { stream, doc: [0, 0, 0, 0] }, { weights: (_, n) => Array.from({ length: n }, () => 1), x: Array.from({ length: 16 }, () => 1) });
    expect(out).toEqual(stream.flatMap((s) => [2, 2, 2, 2].map((n) => n + s)));
  });

  test("branches that are given one function are alike", () => {
    const map = "layer ff(d: axis, act: fn) {\n  up = linear(d, d)\n  forward x[d] = act(up(x))\n}";
    const model = modelOf(spec("routed(modality, ff(d, x => relu(x)))", `${modality}\n${map}`));
    expect(runBody(model, tokens).graph.nodes.filter((n) => n.op === "grouped_dot").length).toBe(1);
  });

  test("frozen layers, frozen branches, copies and experts that start alike", () => {
    const route = "route modality = by stream { text -> frozen understand; image -> generate from understand }";
    const own = (body: string, more = route): (string | boolean)[][] => modelOf(spec(body, `${more}\n${decl.slice(decl.indexOf("\n"))}`)).parameters.filter((p) => p.path.startsWith("body")).map((p) => [p.path, p.frozen, p.from ?? "", p.alike ?? false]);
    expect(own("routed(modality, linear(d, d))")).toEqual([["body.understand.w", true, "", false], ["body.generate.w", false, "body.understand.w", false]]);
    expect(own("[frozen(linear(d, d)), routed(one(d, 2), linear(d, d), alike: true)]")).toEqual([["body.linear.w", true, "", false], ["body.routed.router.gate.w", false, "", false], ["body.routed.w", false, "", true]]);
    expect(own("frozen(routed(modality, linear(d, d)))").map((p) => p[1])).toEqual([true, true]);
    expect(own("routed(one(d, 2), [rms_norm(d), frozen(linear(d, d))])").map((p) => [p[0], p[1]])).toEqual([["body.router.gate.w", false], ["body.rms_norm.gain", false], ["body.linear.w", true]]);
  });
});

test("a branch is a part of a routed layer, by its name", () => {
  const text = spec("[ffn, again(d, ffn.generate)]", `${modality}\nlayer again(d: axis, of: layer) {\n  forward x[d] = of(x)\n}`).replace("  body =", "  ffn = routed(modality, swiglu(d, 6))\n  body =");
  expect(modelOf(text).parameters.filter((p) => /^(body|ffn)/.test(p.path)).length).toBe(6);
  expect(check(text.replace("ffn.generate", "ffn.generat")).diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual(["E0212 route `modality` has no branch `generat`"]);
});

describe("rows beside the sequence", () => {
  const beside = (body: string, more: string): string => spec(body, more)
    .replace("  process noising on image = flow(predict: velocity)\n", "").replace(/ {2}task draw.*\n/, "").replace("<bos> <boi> given image(picture, turn: 1) <eoi>", "<bos> beside image(picture)")
    .replace(/ {2}head image.*\n/, "").replace(" + denoise(image)", "").replace(/ {2}sample image.*\n/, "").replace("causal | within(image)", "causal");
  const cross = "cross_attention(d, image.tokens, d, 2)";
  const memory = { beside: [4, 7] as const };

  test("each branch reads them with its own weights", () => {
    const given: Tokens = { stream: [0, 0, 0, 0], doc: [0, 0, 0, 0], turn: [0, 1, 0, 1] };
    const route = "route turns = by turn { 0 -> a; else -> b }";
    const routed = runBody(modelOf(beside(`routed(turns, ${cross})`, route)), given, memory);
    for (const [b, at] of [["a", [0, 2]], ["b", [1, 3]]] as const) {
      const dense = runBody(modelOf(beside(cross, "")), given, { ...memory, weights: (path, n) => plainWeights(path.replace(/^body\./, `body.${b}.`), n) });
      for (const i of at) close(routed.out.slice(i * 4, i * 4 + 4), dense.out.slice(i * 4, i * 4 + 4));
    }
  });

  test("a weight by route is not theirs", () => {
    const own = "layer own(d: axis, rows: axis, r: route) {\n  axis e = 4\n  param q[d, e], v[d, e], o[e, d] by r\n  forward (x[t, d], memory[rows, d]) = dot[e](attend[e](dot[d](x, q), dot[d](memory, v), dot[d](memory, v), over: t, keys: rows), o)\n}\nroute turns = by turn { 0 -> a; else -> b }";
    expect(said(beside("own(d, image.tokens, turns)", own))).toEqual(["E0256", "E0256"]);
  });
});
