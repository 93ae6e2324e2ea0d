// Blocks by modality: `mot_block` against the same block written out with `where`, and attention with projections by route.

import { expect, test } from "vitest";
import { close } from "../types/apply.ts";
import { gradients, modelOf, plainWeights, runBody, spec } from "../types/routed_body.ts";
import type { Tokens } from "../types/routed_body.ts";

const tokens: Tokens = { stream: [0, 1, 1, 0, 1, 0, -1], doc: [0, 0, 0, 0, 0, 0, -1], span: [0, 1, 1, 2, 3, 4, -1] };
const route = "use std.moe { mot_block }\nroute modality = by stream { text -> understand; image -> generate }";

/** Everything twice, and each token takes its own. */
const written = (qk_norm: boolean): string => `
layer either(a: layer, b: layer) {
  forward x[t, d] = where(token.stream == 0, a(x), b(x))
}
layer both(d: axis, heads: int, mask: mask) {
  axis h = heads, g = 1, e = d / heads
  param qa[d, h, g, e], qb[d, h, g, e], ka[d, h, e], kb[d, h, e], va[d, h, e], vb[d, h, e], oa[h, g, e, d], ob[h, g, e, d]
  param gqa[e], gqb[e], gka[e], gkb[e] ~ ones when ${qk_norm}
  fn own(a, b) = where(token.stream == 0, a, b)
  fn even(x, a, b) = ${qk_norm ? "x * rsqrt(mean[e](x * x) + 0.00001) * own(a, b)" : "x"}
  forward x[t, d] = {
    let q = rope[e](even(own(dot[d](x, qa), dot[d](x, qb)), gqa, gqb))
    let k = rope[e](even(own(dot[d](x, ka), dot[d](x, kb)), gka, gkb))
    let o = attend[e](q, k, own(dot[d](x, va), dot[d](x, vb)), over: t, mask: mask, scale: 1 / sqrt(e))
    own(dot[h, g, e](o, oa), dot[h, g, e](o, ob))
  }
}
layer plain(d: axis, heads: int, mask: mask) {
  norm1 = either(rms_norm(d), rms_norm(d))
  attn  = both(d, heads, mask)
  norm2 = either(rms_norm(d), rms_norm(d))
  ffn   = either(swiglu(d, 4 * d), swiglu(d, 4 * d))
  forward x[t, d] = {
    let h = x + attn(norm1(x))
    h + ffn(norm2(h))
  }
}`;

/** The path in `mot_block` of a weight of the block that is written out. */
function renamed(path: string): string {
  return path
    .replace(/^body\.(norm1|norm2|ffn)\.([ab])\./, (_, part: string, b: string) => `body.${part}.${b === "a" ? "understand" : "generate"}.`)
    .replace(/^body\.attn\.(\w+?)([ab])$/, (_, name: string, b: string) => `body.attn.${b === "a" ? "understand" : "generate"}.${name.length === 1 ? `w${name}` : name}`);
}

for (const qk_norm of [false, true]) {
  test(`mot_block${qk_norm ? " with normalised queries and keys" : ""}`, () => {
    const model = modelOf(spec(`mot_block(d, 2, mask, modality, qk_norm: ${qk_norm})`, route));
    const routed = runBody(model, tokens);
    const reference = modelOf(spec("plain(d, 2, mask)", written(qk_norm)));
    expect(reference.parameters.filter((p) => p.path.startsWith("body")).map((p) => renamed(p.path)).sort()).toEqual(model.parameters.filter((p) => p.path.startsWith("body")).map((p) => p.path).sort());
    close(routed.out.slice(0, 24), runBody(reference, tokens, { weights: (path, n) => plainWeights(renamed(path), n) }).out.slice(0, 24));
    expect(routed.graph.nodes.filter((n) => n.op === "attend").length).toBe(1);
    expect(routed.graph.nodes.filter((n) => n.op === "group_order").length).toBe(1);
    gradients(model, tokens, 2);
  });
}

test("`shared` is the plain block, with the paths of the plain block", () => {
  const body = (text: string, use: string) => modelOf(spec(text, use));
  const [one, plain] = [body("mot_block(d, 2, mask, shared)", "use std.moe { mot_block }"), body("decoder_block(d, 2, mask)", "use std.blocks { decoder_block }")];
  expect(one.parameters).toEqual(plain.parameters.map((p) => ({ ...p, span: expect.anything() })));
  const [a, b] = [runBody(one, tokens), runBody(plain, tokens)];
  expect(a.out).toEqual(b.out);
  expect(a.graph.nodes.length).toBe(b.graph.nodes.length);
});

test("every weight knows the one it would be without branches", () => {
  const { parameters } = modelOf(spec("mot_block(d, 2, mask, modality)", route));
  const plain = modelOf(spec("mot_block(d, 2, mask, shared)", "use std.moe { mot_block }")).parameters.map((p) => p.path);
  for (const b of ["understand", "generate"]) expect(parameters.filter((p) => p.path.includes(b)).map((p) => p.dense)).toEqual(plain.filter((p) => p.startsWith("body")));
});

test("weights of attention by branch decay, gains do not", () => {
  const { parameters } = modelOf(spec("mot_block(d, 2, mask, modality, qk_norm: true)", route));
  expect(parameters.filter((p) => p.path.includes("understand")).map((p) => [p.path.replace("body.", ""), p.decay])).toEqual([
    ["norm1.understand.gain", false], ["attn.understand.wq", true], ["attn.understand.wk", true], ["attn.understand.wv", true], ["attn.understand.wo", true],
    ["attn.understand.gq", false], ["attn.understand.gk", false], ["norm2.understand.gain", false], ["ffn.understand.gate.w", true], ["ffn.understand.up.w", true], ["ffn.understand.down.w", true],
  ]);
});
