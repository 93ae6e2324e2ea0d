// f16 as an element type anywhere in a graph: inputs, results, states written by part, moved and joined; graph interpreter =
// kernel interpreter = an adapter, and both spellings compile. Odd sizes everywhere: neighbours of other rows share a word.

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { GraphBuilder } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId, TensorType } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { Make } from "../../compiler/graph/make.ts";
import { verifyGraph } from "../../compiler/graph/verify.ts";
import { printGraph } from "../../compiler/graph/print.ts";
import { readGraph } from "../../compiler/graph/read.ts";
import { software } from "../../compiler/kernel/kernel.ts";
import { printProgram } from "../../compiler/kernel/print.ts";
import { readProgram } from "../../compiler/kernel/read.ts";
import { roundHalf } from "../../compiler/scalar/half.ts";
import { check } from "../fuse/check.ts";
import type { Step } from "../fuse/random.ts";
import { randomGraph, randomLengths } from "../fuse/random.ts";
import { closeGpu, gpu, runOnGpu } from "../gpu/run_program.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import { compiles, farthest, graph, scheduled, tensorsOf } from "./halves.ts";

afterAll(closeGpu);

const H = (...axes: Axis[]): TensorType => ({ dtype: "f16", axes });
const [t, d, e] = [ax("t", "t"), ax("d", 3), ax("e", 5)];
const native = { ...software, name: "native", f16: true };
/** Ties, halves, subnormals, what is out of range, and thirds. */
const hard = [0, 1, -1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 2049, 2051, 65504, 65519, 65520, 1e6, -1e9, 2 ** -24, 1.5 * 2 ** -24, 2.5 * 2 ** -24, 2 ** -14 - 2 ** -25, 1 / 3, -1e-9, 6e-5, 0.1, -0.7].map(Math.fround);

interface Case {
  readonly what: string;
  readonly graph: Graph;
  readonly inputs?: Record<string, number[]>;
  readonly state?: Record<string, number[]>;
  /** No arithmetic but the cast: bits are the same everywhere. */
  readonly exact?: boolean;
  readonly tolerance?: number;
}

const cases: readonly Case[] = [
  { what: "a cast to f16", graph: graph("cast", (m, b) => b.output("y", m.cast(m.input("x", F(t, d)), "f16"))), inputs: { x: hard }, exact: true },
  {
    what: "an f16 input in arithmetic",
    graph: graph("input", (m, b) => b.output("y", m.add(m.cast(m.input("x", H(t, d)), "f32"), m.input("z", F(d))))), inputs: { x: spread(21, 1), z: spread(3, 2) }, tolerance: 1e-6,
  },
  {
    what: "a rounded value read in the kernel that stores it",
    graph: graph("both", (m, b) => {
      const half = m.cast(m.input("x", F(t, d)), "f16");
      b.output("half", half);
      b.output("y", m.sub(m.cast(half, "f32"), m.input("x", F(t, d))));
    }),
    inputs: { x: hard.map((x) => (Math.abs(x) > 3000 ? 1 : x)) }, exact: true,
  },
  {
    what: "a state of halves written by part",
    graph: graph("update", (m, b) => {
      const cache = m.state("cache", H(t, d));
      const fresh = m.cast(m.input("x", F(ax("u", 2), d)), "f16");
      const now = m.update(cache, "t", m.rename(fresh, "u", "t"), m.input("at", I()));
      b.output("cache", now, "cache");
      b.output("sum", m.sum(m.cast(now, "f32"), "t"));
    }),
    inputs: { x: hard.slice(0, 6), at: [3] }, state: { cache: spread(21, 4) }, tolerance: 1e-6,
  },
  {
    what: "a state of halves replaced",
    graph: graph("replace", (m, b) => b.output("s", m.cast(m.neg(m.cast(m.state("s", H(t, d)), "f32")), "f16"), "s")), state: { s: spread(21, 4) }, exact: true,
  },
  {
    what: "halves joined, cut, gathered and turned",
    graph: graph("moved", (m, b) => {
      const [x, y] = [m.cast(m.input("x", F(t, d)), "f16"), m.input("y", H(t, d))];
      const both = m.concat("d", x, y);
      b.output("gathered", m.gather(both, "t", m.input("i", I(e))));
      const turned = m.slice(both, "d", { terms: [{ coef: 2, vars: [] }] } as never, { terms: [{ coef: 3, vars: [] }] } as never);
      b.output("turned", b.ordered(turned, ["d", "t"], m.origin));
    }),
    inputs: { x: hard, y: spread(21, 5), i: [6, 0, 3, 3, 1] }, exact: true,
  },
  {
    what: "a product that stores halves, read by another",
    graph: graph("product", (m, b) => {
      const x = m.dot(m.input("x", F(t, d)), m.input("w", F(d, e)), "d");
      const half = m.cast(m.tanh(x), "f16");
      b.output("half", half);
      b.output("y", m.dot(m.cast(half, "f32"), m.input("v", F(e, ax("o", 3))), "e"));
    }),
    inputs: { x: spread(21, 1), w: spread(15, 2), v: spread(15, 3) }, tolerance: 2 ** -10,
  },
];

const lengths = { t: 7 };

describe.each(cases)("$what", (c) => {
  test("means the same as a graph and as kernels", () => {
    expect(verifyGraph(c.graph)).toEqual([]);
    check(c.graph, { inputs: c.inputs ?? {}, state: c.state ?? {}, lengths }, c.exact ? 0 : (c.tolerance ?? 0), { on: [software, native] });
  });

  test("is read back from its text, and compiles in both spellings", async () => {
    expect(printGraph(readGraph(printGraph(c.graph)))).toBe(printGraph(c.graph));
    for (const target of [software, native]) {
      const program = scheduled(c.graph, target, "f32");
      expect(printProgram(readProgram(printProgram(program)))).toBe(printProgram(program));
      await compiles(program, target);
    }
  });
});

test("rounding is what the interpreter calls it", () => {
  const c = cases[0] as Case;
  const y = interpret(c.graph, { inputs: c.inputs ?? {}, lengths }).outputs["y"];
  expect(Array.from(y?.data ?? [])).toEqual(hard.map(roundHalf));
});

test("random graphs in which every value passes through halves", () => {
  const small = fc.nat({ max: 40 });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 1000 }), small, small, small), { minLength: 3, maxLength: 16 }), fc.boolean(), (steps: Step[], into) => {
      const made = randomGraph(steps, into);
      const halved = throughHalves(made.graph);
      check(halved, { inputs: made.inputs, state: made.state, lengths: randomLengths }, 1e-2, { on: [software] });
    }),
    { numRuns: 60, seed: 7 },
  );
});

/** The same graph with every computed f32 value of at least one axis rounded; but not what a choice is made by, which would jump. */
function throughHalves(g: Graph): Graph {
  const b = new GraphBuilder(g.name);
  const ids: NodeId[] = [];
  const jumpy = new Set(g.nodes.flatMap((n) => (["argmax", "lt", "eq", "le", "ne"].includes(n.op) ? [...n.args] : [])));
  for (const n of g.nodes) {
    const id = b.add(n.op, n.args.map((a) => ids[a] as NodeId), n.attrs, n.origin, n.type.axes.map((a) => a.name));
    const m = new Make(b, n.origin);
    const round = n.type.dtype === "f32" && n.type.axes.length > 0 && n.op !== "input" && n.op !== "state" && !jumpy.has(n.id) && n.id % 3 === 0;
    ids.push(round ? m.cast(m.cast(id, "f16"), "f32") : id);
  }
  for (const o of g.outputs) b.output(o.name, b.ordered(ids[o.node] as NodeId, (g.nodes[o.node] as Graph["nodes"][number]).type.axes.map((a) => a.name), (g.nodes[o.node] as Graph["nodes"][number]).origin), o.into);
  return b.finish();
}

describe("on the adapter", () => {
  test.each(cases)("$what", async (c) => {
    const { host } = await gpu();
    const want = interpret(c.graph, { inputs: c.inputs ?? {}, state: c.state ?? {}, lengths });
    for (const target of host.info.features.includes("shader-f16") ? [software, native] : [software]) {
      const program = scheduled(c.graph, target, "f32");
      const got = await runOnGpu(program, tensorsOf(program, { ...c.inputs, ...c.state }), lengths, { target });
      for (const o of c.graph.outputs) {
        const [mine, value] = o.into === undefined ? [got.outputs[o.name], want.outputs[o.name]] : [got.states[o.into], want.state[o.into]];
        const size = Math.max(1, ...Array.from(value?.data ?? [], Math.abs));
        // The state buffer may hold more than its tensor: buffers are whole words.
        expect(farthest(mine?.slice(0, value?.data.length), value?.data), `${target.name} ${o.name}`).toBeLessThanOrEqual(c.exact ? 0 : (c.tolerance ?? 0) * size);
      }
    }
  }, 60_000);
});
