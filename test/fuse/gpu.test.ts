// Graph interpreter = a real adapter on what fusion makes: the smallest decoder with all its gradients, and random graphs.

import fc from "fast-check";
import { afterAll, describe, test } from "vitest";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { product, shapeOf } from "../../compiler/graph/value.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import type { TensorData } from "../../compiler/kernel/interpret.ts";
import type { Program } from "../../compiler/kernel/kernel.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { mergeDispatches } from "../../compiler/kernel/merge.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { evalSize } from "../../compiler/kernel/sizes.ts";
import type { StateBuffer } from "../../compiler/plan/plan.ts";
import { closeGpu, runOnGpu } from "../gpu/run_program.ts";
import { spread } from "../graph/cases.ts";
import type { Lengths, Numbers } from "./check.ts";
import { array } from "./check.ts";
import { decoder } from "./decoder.ts";
import type { Step } from "./random.ts";
import { randomGraph, randomLengths } from "./random.ts";

afterAll(closeGpu);

/** Fields of one buffer, `params/...`, side by side. */
function buffers(program: Program, lengths: Lengths): StateBuffer[] {
  const out = new Map<string, StateBuffer>();
  for (const t of program.tensors) {
    if (t.kind !== "state") continue;
    const [name = "", ...rest] = t.name.split("/");
    const size = evalSize(t.size, lengths);
    const old = out.get(name) ?? { name, dtype: t.dtype, size: 0, fields: [] };
    const offset = old.size as number;
    out.set(name, { ...old, size: offset + size, fields: rest.length === 0 ? [] : [...old.fields, { name: rest.join("/"), shape: [size], axes: ["n"], offset }] });
  }
  return [...out.values()];
}

async function checkGpu(graph: Graph, inputs: Numbers, state: Numbers, lengths: Lengths, tolerance: number): Promise<void> {
  const program = mergeDispatches(scheduleGraph(graph, software, templates), software);
  const tensors: Record<string, TensorData> = {};
  for (const t of program.tensors) {
    const values = t.kind === "input" ? inputs[t.name] : t.kind === "state" ? state[t.name] : undefined;
    if (values) tensors[t.name] = array(t.dtype, values);
  }
  const want = interpret(graph, { inputs, state, lengths });
  const got = await runOnGpu(program, tensors, lengths, { target: software, states: buffers(program, lengths) });
  for (const o of graph.outputs) {
    const value = o.into === undefined ? want.outputs[o.name] : want.state[o.into];
    const mine = o.into === undefined ? got.outputs[o.name] : got.states[o.into];
    if (!value || !mine) throw new Error(`no output ${o.name}`);
    const scale = Math.max(1e-2, ...Array.from(value.data, Math.abs));
    value.data.forEach((v, i) => {
      if (!(Math.abs((mine[i] as number) - v) <= tolerance * scale)) throw new Error(`${o.name}[${i}] is ${mine[i]}, not ${v}`);
    });
  }
}

describe("on an adapter", () => {
  test("a decoder of one layer, its loss and its gradients", async () => {
    const lengths = { batch: 2, t: 3 };
    const graph = decoder({ layers: 1, d: 8, heads: 2, mlp: 8, positions: 4, vocab: 7, rope: true }, "train");
    const inputs: Record<string, number[]> = {};
    const state: Record<string, number[]> = {};
    for (const n of graph.nodes) {
      if (n.op !== "input" && n.op !== "state") continue;
      const size = product(shapeOf(n.type, lengths));
      if (n.op === "state") state[n.attrs.name] = spread(size, n.id, [-0.5, 0.6]);
      else inputs[n.attrs.name] = n.type.dtype === "i32" ? Array.from({ length: size }, (_, i) => (i * 5 + 3) % 7) : spread(size, n.id, [0, 2]);
    }
    for (const o of graph.outputs) if (o.into !== undefined) state[o.into] = new Array<number>(product(shapeOf(graph.nodes[o.node]!.type, lengths))).fill(0);
    await checkGpu(graph, inputs, state, lengths, 2e-3);
  });

  test("random graphs", async () => {
    const small = fc.nat({ max: 40 });
    const lists: Step[][] = fc.sample(fc.array(fc.tuple(fc.nat({ max: 1000 }), small, small, small), { minLength: 6, maxLength: 16 }), { numRuns: 8, seed: 11 });
    for (const steps of lists) {
      const { graph, inputs, state } = randomGraph(steps, true);
      await checkGpu(graph, inputs, state, randomLengths, 2e-3);
    }
  });
});
