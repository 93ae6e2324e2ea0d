// Fused attention over the shapes that models have, on both targets: heads that share keys, cross-attention, values of another
// width, widths from 16 to 256, packed rows, lengths around a block. The graph interpreter in double precision is the truth.
// Every case runs in the kernel interpreter, and every shader passes Dawn's own compiler. The adapter runs some of them, the widest
// heads forward only: software adapters take long to make kernels of that many registers.

import { afterAll, describe, expect, it } from "vitest";
import type { TensorData } from "../../compiler/kernel/interpret.ts";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import type { Target } from "../../compiler/kernel/kernel.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { and, attr, binary, div, f32, i32, mul, name, sub, unary } from "../../compiler/scalar/expr.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import { explainProblems } from "../gpu/null_device.ts";
import { closeGpu, gpu } from "../gpu/run_program.ts";
import type { AttentionCase, Columns } from "./attention_graph.ts";
import { attentionGraph, attentionInputs, attentionProgram, attentionTruth, firstWrong, lengthsOf } from "./attention_graph.ts";
import { AttentionRun, attentionPlan, wrongOnGpu } from "./attention_gpu.ts";

afterAll(closeGpu);

const [q, k] = [(n: string) => attr("q", n), (n: string) => attr("k", n)];
const causal = binary("le", k("pos"), q("pos"));
const document = binary("eq", q("doc"), k("doc"));
const packed = and(document, causal);
/** Soft cap and a slope a distance. */
const capped = sub(mul(f32(3), unary("tanh", div(name("s", "f32"), f32(3)))), mul(f32(0.1), unary("to_f32", unary("abs", sub(q("pos"), k("pos"))))));

/** Documents in a row, then padding (doc -1, position 0) to `tokens`; a row a list. */
function documents(tokens: number, ...rows: readonly (readonly number[])[]): Columns {
  const [pos, doc] = [new Int32Array(rows.length * tokens), new Int32Array(rows.length * tokens).fill(-1)];
  rows.forEach((lengths, r) => {
    let at = r * tokens;
    lengths.forEach((n, d) => {
      for (let i = 0; i < n; i++, at++) [pos[at], doc[at]] = [i, d];
    });
  });
  return { pos, doc };
}

const cases: readonly AttentionCase[] = [
  { what: "one head of 16", t: 9, width: 16, mask: causal, query: documents(9, [9]) },
  { what: "several heads", batch: 2, heads: 3, t: 7, width: 8, mask: causal, query: documents(7, [7], [7]) },
  { what: "several heads, no mask", batch: 2, heads: 2, t: 20, width: 8 },
  { what: "grouped queries", batch: 2, heads: 2, group: 3, t: 9, width: 8, mask: causal, query: documents(9, [9], [9]) },
  { what: "many queries, one key head", heads: 1, group: 4, t: 10, width: 24, mask: causal, query: documents(10, [10]) },
  { what: "cross-attention", batch: 2, heads: 2, t: 5, s: 18, width: 8 },
  { what: "cross-attention within documents", heads: 2, t: 9, s: 21, width: 8, mask: document, query: documents(9, [4, 3]), key: documents(21, [10, 9]) },
  { what: "more queries than keys, grouped", heads: 1, group: 2, t: 19, s: 3, width: 8, mask: causal, query: documents(19, [19]), key: documents(3, [3]) },
  { what: "values narrower than keys", heads: 2, t: 9, width: 24, value: 8, mask: causal, query: documents(9, [9]) },
  { what: "values wider than keys", heads: 2, group: 2, t: 9, width: 8, value: 20, mask: causal, query: documents(9, [9]) },
  { what: "packed documents of many lengths, and padding", batch: 3, heads: 2, t: 33, width: 8, mask: packed, query: documents(33, [1, 15, 16], [33], [17, 2, 1, 3]) },
  { what: "a score and packed documents", batch: 2, heads: 2, t: 18, width: 8, mask: packed, score: capped, query: documents(18, [7, 11], [16, 1]) },
  { what: "padding alone", heads: 1, t: 5, width: 8, mask: and(packed, binary("le", i32(0), q("doc"))), query: documents(5, []) },
  { what: "one token", heads: 2, t: 1, width: 8, mask: causal, query: documents(1, [1]) },
  { what: "another scale", heads: 2, t: 6, width: 8, scale: 1, mask: causal, query: documents(6, [6]) },
  ...[24, 64, 80, 128, 256].map((width): AttentionCase => ({ what: `heads of ${width}`, heads: 1, group: 2, t: 6, width, mask: packed, query: documents(6, [4, 2]) })),
];

/** Those that the adapter runs too, forward and gradients; and forward only. */
const onAdapter = ["grouped queries", "cross-attention within documents", "values wider than keys"];
const forwardOnAdapter = ["heads of 64"];

describe.each([software, guaranteed])("attention for $name: forward and gradients are those of the interpreter", (target: Target) => {
  it.each(cases)("$what", async (c) => {
    const graph = attentionGraph(c, true);
    const program = attentionProgram(graph, target);
    const inputs = attentionInputs(c, graph);
    const ran = runProgram(program, inputs, lengthsOf(c));
    if (!ran.ok) throw new Error(ran.fault.message);
    const got = Object.fromEntries(Object.entries(program.outputs).map(([n, tensor]) => [n, ran.tensors[tensor] as TensorData]));
    expect(firstWrong(attentionTruth(c, graph, inputs), got, 1e-4)).toBeUndefined();
    for (const { wgsl } of assemble(program, { target, states: [] }).modules) expect(await explainProblems(wgsl)).toBe("");
  });

  // Pipelines are made side by side.
  it.each([[true, onAdapter], [false, forwardOnAdapter]] as const)("the same on the adapter (gradients: %s): %s", async (backward, names) => {
    const { host } = await gpu();
    const some = cases.filter((c) => names.includes(c.what));
    expect(some.length).toBe(names.length);
    const wrong = await Promise.all(some.map(async (c) => [c.what, await wrongOnGpu(c, target, host, { backward })]));
    expect(wrong.filter(([, why]) => why !== undefined)).toEqual([]);
  }, 300_000);

  it("two runs give the same bits, and a new length makes no new pipeline", async () => {
    const c: AttentionCase = { what: "lengths", batch: 1, heads: 2, group: 2, t: 0, width: 16, mask: packed };
    const run = await AttentionRun.load(attentionPlan(c, target), (await gpu()).host);
    const graph = attentionGraph(c, true);
    const made = run.cache.size;
    const results = new Map<number, string>();
    for (const t of [19, 34, 1, 64, 19, 34]) {
      const sized = { ...c, t, query: documents(t, [Math.floor(t / 3), t - Math.floor(t / 3)]) };
      const bits = JSON.stringify(Object.entries(await run.run(attentionInputs(sized, graph), lengthsOf(sized))).map(([n, x]) => [n, [...new Uint32Array(x.buffer)]]));
      expect(results.get(t) ?? bits).toBe(bits);
      results.set(t, bits);
    }
    expect(results.size).toBe(4);
    expect(run.cache.size).toBe(made);
    run.destroy();
  }, 300_000);
});
