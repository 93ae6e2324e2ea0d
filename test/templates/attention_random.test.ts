// Random predicates over random packed rows: attention on the adapter = the graph interpreter, forward and gradients, on both
// targets; and what the kernels know of a tile = what the host counts. More of them: npm run fuzz:attention.

import { afterAll, describe, expect, it } from "vitest";
import { runProgram } from "../../compiler/kernel/interpret.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { children } from "../../compiler/scalar/expr.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { tileFacts } from "../../compiler/scalar/tile_truth.ts";
import { closeGpu, gpu } from "../gpu/run_program.ts";
import { inFlight, total, tryCase } from "./attention_fuzz.ts";
import { attentionGraph, attentionInputs, attentionProgram, lengthsOf } from "./attention_graph.ts";
import { attributes, randomCase } from "./attention_random.ts";

afterAll(closeGpu);

const opsOf = (e: ScalarExpr): string[] => [e.kind === "binary" || e.kind === "unary" ? e.op : e.kind === "attr" ? `${e.side}.${e.name}` : e.kind === "name" ? e.name : e.kind, ...children(e).flatMap(opsOf)];

describe("random masks", () => {
  it("use all that masks are written with", () => {
    const used = new Set(Array.from({ length: 400 }, (_, i) => randomCase(i)).flatMap(({ masks }) => masks.flatMap(opsOf)));
    const wanted = ["and", "or", "not", "eq", "ne", "lt", "le", "add", "sub", "mul", "div", "mod", "abs", "neg", "min", "max", "select", "head", "const", ...attributes.flatMap((n) => [`q.${n}`, `k.${n}`])];
    expect(wanted.filter((w) => !used.has(w))).toEqual([]);
  });

  it("attention on the adapter is that of the interpreter, with its gradients", async () => {
    const { host } = await gpu();
    const cases = [...Array.from({ length: 4 }, (_, i) => ({ seed: 100 + i, together: i < 2 ? 1 : 4, target: software })), ...Array.from({ length: 5 }, (_, i) => ({ seed: 200 + i, together: i < 2 ? 1 : 4, target: guaranteed }))];
    const outcomes = await inFlight(cases, 4, (c) => tryCase(c.seed, c.together, c.target, host));
    expect(outcomes.filter((o) => o.wrong !== undefined).map((o) => `${o.wrong}: ${o.text}`)).toEqual([]);
    const { predicates, pairs, seen, blind, empty, full, mixed } = total(outcomes);
    expect(predicates).toBe(24);
    expect(seen / pairs).toBeGreaterThan(0.1);
    expect(seen / pairs).toBeLessThan(0.9);
    // Every way through the kernels is taken.
    for (const n of [blind, empty, full, mixed]) expect(n).toBeGreaterThan(20);
  }, 400_000);

  it("the kernel that makes the facts of tiles says what the host counts", () => {
    let compared = 0;
    for (let seed = 0; seed < 40; seed++) {
      const { case: c } = randomCase(seed);
      const graph = attentionGraph(c, false);
      const program = attentionProgram(graph, seed % 2 === 0 ? software : guaranteed);
      const inputs = attentionInputs(c, graph);
      const ran = runProgram(program, inputs, lengthsOf(c));
      if (!ran.ok) throw new Error(ran.fault.message);
      for (const t of program.tensors) {
        const [, id, axis] = /^ranges\.(\d+)\.(\w+)$/.exec(t.name) ?? [];
        if (id === undefined) continue;
        const axes = t.axes.map((a) => a.name);
        expect(axes).toEqual(["batch", "tile", "fact"]);
        const node = graph.nodes[Number(id)];
        if (node?.op !== "input") throw new Error(`${t.name} is of no input`);
        const [values, n] = [inputs[node.attrs.name] as Int32Array, axis === "t" ? c.t : (c.s ?? c.t)];
        const want: number[] = [];
        for (let row = 0; row < (c.batch ?? 1); row++) for (let at = 0; at < n; at += 16) {
          const f = tileFacts({ x: [...values.subarray(row * n + at, row * n + Math.min(n, at + 16))] });
          want.push(f["x.lo"] as number, f["x.hi"] as number, f["x.bits"] as number);
        }
        expect([...(ran.tensors[t.name] as Int32Array)], `${c.what} ${node.attrs.name}`).toEqual(want);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(40);
  });
});
