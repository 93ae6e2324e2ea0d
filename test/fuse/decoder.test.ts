// The plain decoder, small: forward, loss and every gradient, as the graph interpreter has them.

import { describe, expect, test } from "vitest";
import type { Graph } from "../../compiler/graph/graph.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { spread } from "../graph/cases.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { check, dispatchesOf, targets } from "./check.ts";
import type { DecoderSizes } from "./decoder.ts";
import { decoder, plain } from "./decoder.ts";

const small: DecoderSizes = { layers: 2, d: 8, heads: 2, mlp: 12, positions: 6, vocab: 11 };
const lengths = { batch: 2, t: 5 };

function numbers(graph: Graph): { inputs: Record<string, number[]>; state: Record<string, number[]> } {
  const inputs: Record<string, number[]> = {};
  const state: Record<string, number[]> = {};
  for (const n of graph.nodes) {
    if (n.op !== "input" && n.op !== "state") continue;
    const size = product(shapeOf(n.type, lengths));
    if (n.op === "state") state[n.attrs.name] = spread(size, n.id, [-0.5, 0.6]);
    else inputs[n.attrs.name] = n.type.dtype === "i32" ? Array.from({ length: size }, (_, i) => (i * 7 + 3) % 11 % (n.attrs.name === "ids" ? 4 : 11)) : spread(size, n.id, [0, 2]);
  }
  for (const o of graph.outputs) if (o.into !== undefined) state[o.into] = new Array<number>(product(shapeOf(graph.nodes[o.node]!.type, lengths))).fill(7);
  return { inputs, state };
}

describe("decoder", () => {
  for (const rope of [false, true])
    for (const mode of ["logits", "train"] as const)
      test(`${mode}${rope ? " with rotary positions" : ""}`, () => {
        const graph = decoder({ ...small, rope }, mode);
        check(graph, { ...numbers(graph), lengths }, 2e-4);
        expect(graph.outputs.length).toBeGreaterThan(0);
      });
});

describe("budgets of the benchmark decoder", () => {
  for (const target of targets) {
    test(`forward on ${target.name}: 16 dispatches`, () => {
      expect(dispatchesOf(mergeDispatches(scheduleGraph(decoder(plain, "logits"), target, templates), target)).length).toBeLessThanOrEqual(16);
    });
    test(`forward and backward on ${target.name}: 58 dispatches, the optimizer has the other two`, () => {
      expect(dispatchesOf(mergeDispatches(scheduleGraph(decoder(plain, "train"), target, templates), target)).length).toBeLessThanOrEqual(58);
    });
  }
});
