// What scores may read, how heads and layers are counted, and what is refused: through specs, on the graph that layers give.

import { describe, expect, test } from "vitest";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { NodeOf } from "../../compiler/graph/graph.ts";
import { elaborateNetwork } from "../../compiler/types/elaborate_network.ts";
import type { Model } from "../../compiler/types/model.ts";
import { exprText, printExpr } from "../../compiler/scalar/print.ts";
import { checkingLeaves } from "../../compiler/types/checking_leaves.ts";
import { ax, I } from "../graph/cases.ts";
import { check, lines } from "./loader.ts";

interface Spec {
  /** In the layer `mine`, whose axes are h = kv, g = heads / kv, e and bucket. */
  readonly members?: string;
  /** What `attend` is given beside q, k, v and its mask. */
  readonly attend?: string;
  readonly file?: string;
  readonly mask?: string;
  readonly body?: string;
  readonly model?: string;
}

const textOf = (s: Spec): string => `use std.blocks { decoder_block }
${s.file ?? ""}
layer mine(d: axis, heads: int, kv: int, mask: mask) {
  axis h = kv, g = heads / kv, e = d / heads, bucket = 16
  param wq[d, g, h, e], wk[d, h, e], wv[d, h, e], wo[g, h, e, d]
  ${s.members ?? ""}
  forward x[t, d] = dot[g, h, e](attend[e](dot[d](x, wq), dot[d](x, wk), dot[d](x, wv), over: t, mask: mask${s.attend ? `, ${s.attend}` : ""}), wo)
}
model small(d: axis = 12) {
  tokens text = bytes()
  task write(line: text) = <bos> predict text(line) <eos>
  ${s.model ?? ""}
  body = ${s.body ?? `mine(d, 6, 2, ${s.mask ?? "causal"})`}
  loss = next_token(text)
  sample text = greedy()
}
`;

const said = (s: Spec): string[] => lines(check(textOf(s)), textOf(s));

function modelOf(s: Spec): Model {
  expect(said(s)).toEqual([]);
  return check(textOf(s)).models[0] as Model;
}

/** The attentions of the body, as ops, in every one of `times` applications. */
function attentions(s: Spec, times = 1): NodeOf<"attend">[] {
  const model = modelOf(s);
  const b = new GraphBuilder("test");
  const leaves = checkingLeaves(b);
  const net = elaborateNetwork(model, b, leaves);
  const x = net.embed("text", b.add("input", [], { name: "ids", type: I(ax("t", "t")) }, originAt("text")));
  for (let i = 0, y = x; i < times; i++) y = net.body(y);
  return Array.from({ length: b.size }, (_, i) => b.node(i)).filter((n) => n.op === "attend");
}

const one = (s: Spec): NodeOf<"attend"> => attentions(s)[0] as NodeOf<"attend">;

describe("what a score reads", () => {
  test("a weight of the layer by its name, in a score of the layer", () => {
    const { attrs } = one({ members: "param tau[h, g] ~ zeros\n  score warm(s) = s * exp(tau)", attend: "score: warm" });
    expect(attrs.score && printExpr(attrs.score)).toBe("s * exp(b0)");
    expect(attrs.tables).toEqual([{ name: "b0" }]);
  });

  test("a table through a score of the file, and twice the same place is one table", () => {
    const { attrs } = one({
      file: "score relate(table)(s, q, k) = s + gather[bucket](table, q.pos - k.pos) * (1.0 + gather[bucket](table, q.pos - k.pos))",
      members: "param table[h, g, bucket] ~ zeros", attend: "score: relate(table)",
    });
    expect(attrs.score && printExpr(attrs.score)).toBe("s + b0 * (1.0 + b0)");
    expect(attrs.tables?.map((t) => [t.name, t.axis, t.index && printExpr(t.index)])).toEqual([["b0", "bucket", "q.pos - k.pos"]]);
    expect([attrs.queryAttrs, attrs.keyAttrs]).toEqual([["doc", "pos"], ["doc", "pos"]]);
  });

  test("the size of a table's axis, and one table at two places is two", () => {
    const { attrs } = one({
      file: "score two(table[bucket])(s, q, k) = s + gather[bucket](table, q.row - k.row) - gather[bucket](table, q.col - k.col + bucket / 2)",
      members: "param table[bucket] ~ zeros", attend: "score: two(table)",
    });
    expect(attrs.tables?.map((t) => t.index && printExpr(t.index))).toEqual(["q.row - k.row", "q.col - k.col + 8"]);
  });

  test("a tensor of the forward pass, and a score made outside the layer", () => {
    const { attrs } = one({
      file: "score scaled(by)(s) = s * by\nlayer outer(d: axis, mask: mask) {\n  axis h = 2, g = 3\n  param w[h, g] ~ ones\n  inner = given(d, mask, scaled(w))\n  forward x[t, d] = inner(x)\n}\nlayer given(d: axis, mask: mask, how: score) {\n  axis h = 2, g = 3, e = d / 6\n  param wq[d, h, g, e], wk[d, h, e], wo[h, g, e, d]\n  forward x[t, d] = dot[h, g, e](attend[e](dot[d](x, wq), dot[d](x, wk), dot[d](x, wk), over: t, mask: mask, score: how), wo)\n}",
      body: "[outer(d, causal), mine(d, 6, 2, causal)]", members: "param a[h], b[g]", attend: "score: scaled(a * b)",
    });
    expect(attrs.tables).toEqual([{ name: "b0" }]);
  });

  test("another score, on a logit of its own", () => {
    const { attrs } = one({ members: "param slope[h] ~ zeros\n  score near(s, q, k) = soft_cap(5.0)(distance(0.5)(s, k, q) - slope, q, k)", attend: "score: near" });
    expect(attrs.score && printExpr(attrs.score)).toBe("5.0 * tanh((s - 0.5 * to_f32(abs(k.pos - q.pos)) - b0) / 5.0)");
  });

  test("logarithms, powers, rounding and whole numbers", () => {
    const { attrs } = one({ file: "score mixed(s, q, k) = s + pow(1.0 * q.pos, 2) + int(floor(log(k.pos + 1))) + square(q.row) + relu(s)", attend: "score: mixed" });
    expect(attrs.score && printExpr(attrs.score)).toBe("s + pow(1.0 * to_f32(q.pos), 2.0) + to_f32(to_i32(floor(log(to_f32(k.pos + 1))))) + to_f32(q.row * q.row) + max(s, 0.0)");
  });

  test("`int` of a number that is known is a size", () => {
    const { attrs } = one({ file: "score near(table[bucket], reach: float)(s, q, k) = s + gather[bucket](table, q.pos - k.pos + int(bucket / 2 * reach))", members: "param table[bucket] ~ zeros", attend: "score: near(table, 0.7)" });
    expect(attrs.tables?.map((t) => t.index && printExpr(t.index))).toEqual(["q.pos - k.pos + 5"]);
  });

  test("an axis of a table that is also the attention's gets another name", () => {
    const { attrs } = one({ file: "score odd(table)(s, q, k) = s + gather[e](table, q.pos - k.pos)", members: "param table[h, e] ~ zeros", attend: "score: odd(table)" });
    expect(attrs.tables?.[0]?.axis).toBe("e'");
  });
});

describe("sinks and heads", () => {
  test("a sink follows the tables", () => {
    const n = one({ members: "param tau[h], sinks[g, h] ~ zeros\n  score warm(s) = s * tau", attend: "score: warm, sink: sinks" });
    expect([n.attrs.sink, n.args.length]).toEqual([true, 3 + 4 + 2]);
  });

  test("a number is the sink of every head", () => {
    const n = one({ attend: "sink: 0.0" });
    expect([n.attrs.sink, n.args.length]).toEqual([true, 3 + n.attrs.queryAttrs.length + n.attrs.keyAttrs.length + 1]);
  });

  test("heads are counted along the axes of the keys first, or as they are listed; where nobody reads them, not at all", () => {
    expect(one({ attend: "score: alibi(6)" }).attrs.heads).toEqual(["h", "g"]);
    expect(one({ attend: "score: alibi(6), heads: [g, h]" }).attrs.heads).toEqual(["g", "h"]);
    expect(one({}).attrs.heads).toBeUndefined();
  });

  const mask = "mask = here\n  mask here(q, k) = k.pos <= q.pos & (layer == 1 | q.pos - k.pos < 7 + layer) & (head < 3 | k.pos % 2 == 0)";
  test("`layer` is the number of the attention in the body, in every application of it", () => {
    const s: Spec = { model: mask, body: "[stack(2) i => mine(d, 6, 2, mask), mine(d, 6, 2, mask)]" };
    const texts = (nodes: readonly NodeOf<"attend">[]): string[] => nodes.map((n) => (n.attrs.mask ? exprText(n.attrs.mask) : ""));
    const found = texts(attentions(s));
    expect(found.map((x) => x.includes("layer"))).toEqual([false, false, false]);
    expect(found.map((x) => ["i32 7)", "i32 8)", "i32 9)"].map((n) => x.includes(n)))).toEqual([[true, false, false], [false, false, false], [false, false, true]]);
    expect(texts(attentions(s, 2))).toEqual([...found, ...found]);
    expect(modelOf(s).attentions.map((a) => [a.layer, a.heads])).toEqual([[0, 6], [1, 6], [2, 6]]);
  });

  test("one layer applied twice is two attentions", () => {
    const s: Spec = { model: mask, file: "layer twice(d: axis, mask: mask) {\n  a = mine(d, 6, 2, mask)\n  forward x[t, d] = a(a(x))\n}", body: "twice(d, mask)" };
    expect(modelOf(s).attentions.map((a) => a.layer)).toEqual([0, 1]);
  });
});

describe("refused", () => {
  const table = "param table[h, bucket] ~ zeros";
  test.each<readonly [string, Spec, readonly string[]]>([
    ["an axis that is no head's", { members: `${table}\n  score bad(s) = s + table`, attend: "score: bad" }, ["E0230 the score reads `table`, whose axis `bucket` is neither a head's nor looked up @ table"]],
    ["tokens as a tensor", { members: "score bad(s) = s + token.pos", attend: "score: bad" }, ["E0230 the score reads `token.pos`, whose axis `t` is neither a head's nor looked up @ token.pos"]],
    ["a sink with the width", { members: "param sinks[h, e] ~ zeros", attend: "sink: sinks" }, ["E0231 `sinks` is a logit for each head, and it has an axis `e` @ sinks"]],
    ["a sink that is a mask", { attend: "sink: causal" }, ["E0219 a mask where a tensor is needed @ causal"]],
    ["an index with a fraction", { members: `${table}\n  score bad(s, q) = s + gather[bucket](table, 0.5 * q.pos)`, attend: "score: bad" }, ["E0232 a table is looked up by a whole number, and `0.5 * q.pos` is a number with a fraction @ 0.5 * q.pos"]],
    ["an index of the logit", { members: `${table}\n  score bad(s) = s + gather[bucket](table, int(s))`, attend: "score: bad" }, ["E0232 a table is looked up by what the tokens say, not by a logit or another table @ int(s)"]],
    ["a table made of others", { members: `${table}\n  score bad(s, q) = s + gather[bucket](exp(table), q.pos)`, attend: "score: bad" }, ["E0232 `gather` in a score looks up a weight or tensor by its name, and `exp(table)` is a number made of others @ exp(table)"]],
    ["a table without the axis", { members: `${table}\n  score bad(s, q) = s + gather[buckets](table, q.pos)`, attend: "score: bad" }, ["E0213 `table` has no axis `buckets` @ table"]],
    ["a table that a score needs otherwise", { file: "score wants(table[place])(s, q) = s + gather[place](table, q.pos)", members: table, attend: "score: wants(table)" }, ["E0213 `table` needs axis `place`, which is missing here @ wants(table)"]],
    ["a weight in a mask", { members: "param reach[h] ~ ones\n  mask bad(q, k) = q.pos - k.pos < reach\n  score warm(s) = s * reach", attend: "score: warm", mask: "causal" }, []],
    ["a weight in a mask that is used", { file: "layer peek(d: axis) {\n  param w[d] ~ ones\n  mask bad(q, k) = q.pos < w\n  forward x[t, d] = x * w * sum[e](attend[e](split[d -> h, e](x), split[d -> h, e](x), split[d -> h, e](x), over: t, mask: bad))\n  axis h = 2, e = d / 2\n}", body: "[peek(d), mine(d, 6, 2, causal)]" }, ["E0233 a mask reads `w`, which is learned @ w"]],
    ["heads that are none", { attend: "score: alibi(6), heads: [h, e]" }, ["E0234 `heads` lists every axis of the heads once, the slowest first @ [h, e]"]],
    ["a head twice", { attend: "score: alibi(6), heads: [h, h]" }, ["E0234 `heads` lists every axis of the heads once, the slowest first @ [h, h]"]],
    ["a score where a mask is meant", { mask: "alibi(6)" }, ["E0202 `mask` of `mine` is a mask, and this is a score @ alibi(6)"]],
    ["a score applied outside a score", { model: "limit = soft_cap(3.0)(1.0)" }, ["E0202 a score is applied to a logit and two tokens, inside another score @ soft_cap(3.0)(1.0)"]],
    ["a score that contains itself", { file: "score round(s, q, k) = round(s, q, k) + 1.0", attend: "score: round" }, ["E0223 score `round` contains itself without end @ round"]],
  ])("%s", (_, s, want) => {
    const found = said(s).filter((l) => !l.startsWith("W"));
    expect(found.length <= Math.max(1, want.length), found.join("\n")).toBe(true);
    expect(found.slice(0, want.length)).toEqual(want);
    if (want.length === 0) expect(found).toEqual([]);
  });
});
