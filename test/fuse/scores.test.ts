// Scores with learned tables, heads and sinks: the graph interpreter = the kernel interpreter on both targets = an adapter, forward
// and every gradient; every access proven; the same bits in every run, whatever the length; no buffer of queries times keys.

import { afterAll, describe, expect, test } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { unprovenAccesses, unprovenText } from "../../compiler/kernel/bounds.ts";
import type { TensorData } from "../../compiler/kernel/interpret.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { evalSize } from "../../compiler/kernel/sizes.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, and, attr, binary, f32, i32, mul, name, sub, unary } from "../../compiler/scalar/expr.ts";
import { closeGpu, runOnGpu } from "../gpu/run_program.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import type { Numbers } from "./check.ts";
import { array, check, dispatchesOf } from "./check.ts";

afterAll(closeGpu);

const [s, head] = [name("s", "f32"), name("head", "i32")];
const gap = sub(attr("q", "pos"), attr("k", "pos"));
const causal = and(binary("eq", attr("q", "doc"), attr("k", "doc")), binary("le", attr("k", "pos"), attr("q", "pos")));
/** Three heads look back only a little, and token 2 of each document sees nothing. */
const byHead = and(and(causal, binary("ne", attr("q", "pos"), i32(2))), binary("lt", gap, add(mul(head, i32(5)), i32(3))));
/** (s e^tau + table[gap]) capped, less head * gap / 20. */
const learnedScore = sub(
  mul(f32(4), unary("tanh", mul(f32(0.25), add(mul(s, unary("exp", name("b0", "f32"))), name("b1", "f32"))))),
  mul(f32(0.05), unary("to_f32", mul(head, gap))),
);

interface Shape {
  readonly score?: ScalarExpr;
  readonly buckets: number;
  readonly index: ScalarExpr;
  readonly mask: ScalarExpr;
}

const sizes = { h: 2, g: 2, e: 4 };
const [batch, t, key] = [ax("batch", "batch"), ax("t", "t"), ax("s", "t")];
const [h, g, e] = [ax("h", sizes.h), ax("g", sizes.g), ax("e", sizes.e)];

function attention({ buckets, index, mask, score = learnedScore }: Shape): Graph {
  const b = new GraphBuilder("scores");
  const m = new Make(b, originAt("attn"));
  const bucket = ax("bucket", buckets);
  const learned: Record<string, NodeId> = {
    q: m.input("q", F(batch, t, h, g, e)), k: m.input("k", F(batch, key, h, e)), v: m.input("v", F(batch, key, h, e)),
    tau: m.input("tau", F(g)), table: m.input("table", F(h, g, bucket)), sink: m.input("sink", F(h, g)),
  };
  const attrs = (axis: typeof t, side: string): Record<string, NodeId> => ({ pos: m.input(`${side}pos`, I(batch, axis)), doc: m.input(`${side}doc`, I(batch, axis)) });
  const node = (n: string): NodeId => learned[n] ?? -1;
  const out = m.attend(node("q"), node("k"), node("v"), {
    query: "t", key: "s", width: "e", mask, score, heads: ["h", "g"], sink: node("sink"),
    tables: [{ node: node("tau") }, { node: node("table"), axis: "bucket", index }],
    queryAttrs: attrs(t, "q"), keyAttrs: attrs(key, "k"),
  });
  b.output("out", out);
  const loss = m.sum(m.mul(out, m.input("dout", m.type(out))), ...m.type(out).axes.map((a) => a.name));
  gradients(b, loss, Object.values(learned)).forEach((x, i) => {
    const n = Object.keys(learned)[i] ?? "";
    b.output(`d ${n}`, b.ordered(x, m.type(node(n)).axes.map((a) => a.name), m.origin));
  });
  return b.finish();
}

/** Documents of seven tokens in a row. */
function given(graph: Graph, lengths: Readonly<Record<string, number>>): Numbers {
  return Object.fromEntries(graph.nodes.flatMap((n, seed): [string, number[]][] => {
    if (n.op !== "input") return [];
    const size = product(shapeOf(n.type, lengths));
    if (n.type.dtype === "f32") return [[n.attrs.name, spread(size, seed)]];
    return [[n.attrs.name, Array.from({ length: size }, (_, i) => (n.attrs.name.endsWith("pos") ? (i % lengths["t"]!) % 7 : Math.floor((i % lengths["t"]!) / 7)))]];
  }));
}

const clipped = add(binary("min", binary("max", gap, i32(-6)), i32(6)), i32(6));
const shapes: Record<string, Shape> = {
  "a table of distances": { buckets: 13, index: clipped, mask: byHead },
  "an index beyond the table is its edge": { buckets: 3, index: gap, mask: causal },
  "a table of one entry": { buckets: 1, index: head, mask: causal },
  // Pairs that are not seen have logarithms of what is below 0.
  "a score that is no number where nothing is seen": { buckets: 3, index: gap, mask: causal, score: mul(add(mul(s, name("b0", "f32")), name("b1", "f32")), unary("log", unary("to_f32", add(gap, i32(1))))) },
  "a table too long for an invocation to keep": { buckets: 1500, index: mul(clipped, i32(110)), mask: byHead },
};

describe("kernels", () => {
  test.each(Object.entries(shapes))("%s", (_, shape) => {
    const graph = attention(shape);
    const lengths = { batch: 2, t: 9 };
    check(graph, { inputs: given(graph, lengths), lengths });
  });

  test("a sink that is one number", () => {
    const b = new GraphBuilder("one");
    const m = new Make(b, originAt("attn"));
    const q = m.input("q", F(t, h, e));
    b.output("out", m.attend(q, m.input("k", F(key, h, e)), m.input("v", F(key, h, e)), { query: "t", key: "s", width: "e", sink: m.const(0) }));
    const graph = b.finish();
    check(graph, { inputs: given(graph, { t: 5 }), lengths: { t: 5 } });
  });

  test("a single token", () => {
    const graph = attention(shapes["a table of distances"] as Shape);
    check(graph, { inputs: given(graph, { batch: 1, t: 1 }), lengths: { batch: 1, t: 1 } });
  });

  test("every access is proven where proofs pay", () => {
    for (const shape of Object.values(shapes))
      for (const d of dispatchesOf(scheduleGraph(attention(shape), software, templates))) expect(unprovenAccesses(d.kernel).map(unprovenText)).toEqual([]);
  });

  test.each([guaranteed, software])("memory does not grow with the square of the length on $name", (target) => {
    const program = scheduleGraph(attention(shapes["a table of distances"] as Shape), target, templates);
    const words = (n: number): number => program.tensors.filter((x) => x.kind === "temp").reduce((sum, x) => sum + evalSize(x.size, { batch: 1, t: n }), 0);
    expect(words(4096)).toBeLessThan(2.01 * words(2048));
  });
});

async function onAdapter(graph: Graph, target: Target, inputs: Numbers, lengths: Readonly<Record<string, number>>): Promise<Record<string, TensorData>> {
  const program = scheduleGraph(graph, target, templates);
  const tensors = Object.fromEntries(program.tensors.filter((x) => x.kind === "input").map((x) => [x.name, array(x.dtype, inputs[x.name] ?? [])]));
  return (await runOnGpu(program, tensors, lengths, { target })).outputs;
}

test.each([guaranteed, software])("an adapter has each gradient of the definition, and the same bits twice, made for $name", async (target) => {
  const graph = attention(shapes["a table of distances"] as Shape);
  const lengths = { batch: 2, t: 70 };
  const inputs = given(graph, lengths);
  const want = interpret(graph, { inputs, lengths }).outputs;
  const [got, again] = [await onAdapter(graph, target, inputs, lengths), await onAdapter(graph, target, inputs, lengths)];
  for (const o of graph.outputs) {
    const value = want[o.name];
    const scale = Math.max(1e-2, ...Array.from(value?.data ?? [], Math.abs));
    value?.data.forEach((v, i) => expect(Math.abs((got[o.name]?.[i] ?? NaN) - v), `${o.name}[${i}]`).toBeLessThanOrEqual(1e-4 * scale));
    expect(again[o.name], o.name).toEqual(got[o.name]);
  }
});
