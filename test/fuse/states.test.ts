// States: in place where nobody still needs the old value, through a copy where somebody does; caches written by part;
// cross-entropy in chunks; long sums in pieces; and more bindings than a kernel may have.

import { describe, expect, test } from "vitest";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Graph, NodeId } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { guaranteed, software } from "../../compiler/kernel/kernel.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import { ax, F, I, spread } from "../graph/cases.ts";
import { check, dispatchesOf, namesOf, targets } from "./check.ts";

const [t, d, e] = [ax("t", "t"), ax("d", 4), ax("e", 4)];
const lengths = { t: 5 };
const build = (make: (m: Make) => void): Graph => {
  const builder = new GraphBuilder("states");
  make(new Make(builder, originAt("states")));
  return builder.finish();
};
const count = (g: Graph): number => dispatchesOf(scheduleGraph(g, software, templates)).length;

describe("states", () => {
  test("rewritten at its own points: one dispatch", () => {
    const g = build((m) => m.builder.output("c", m.add(m.scale(m.state("c", F(t, d)), 0.5), m.input("x", F(d))), "c"));
    expect(count(g)).toBe(1);
    check(g, { inputs: { x: spread(4, 1) }, state: { c: spread(20, 2) }, lengths });
  });

  test("read at other points: its rows reversed by a gather", () => {
    const g = build((m) => {
      const c = m.state("c", F(e, d));
      m.builder.output("c", m.gather(c, "e", m.input("i", I(e))), "c");
    });
    check(g, { inputs: { i: [3, 2, 1, 0] }, state: { c: spread(16, 2) } });
  });

  test("two states exchanged", () => {
    const g = build((m) => {
      const [a, b] = [m.state("a", F(t, d)), m.state("b", F(t, d))];
      m.builder.output("a", m.tanh(b), "a");
      m.builder.output("b", m.sin(a), "b");
    });
    check(g, { state: { a: spread(20, 1), b: spread(20, 2) }, lengths });
  });

  test("two states copied onto each other", () => {
    const g = build((m) => {
      const [a, b] = [m.state("a", F(t, d)), m.state("b", F(t, d))];
      m.builder.output("a", b, "a");
      m.builder.output("b", a, "b");
    });
    check(g, { state: { a: spread(20, 1), b: spread(20, 2) }, lengths });
  });

  test("a state turned over in its own memory", () => {
    const g = build((m) => {
      const c = m.state("c", F(d, e));
      m.builder.output("c", m.rename(m.rename(m.rename(c, "d", "x"), "e", "d"), "x", "e"), "c");
    });
    check(g, { state: { c: spread(16, 3) } });
  });

  test("the old value is read by a product after the new one is known", () => {
    const g = build((m) => {
      const w = m.state("w", F(d, e));
      const x = m.input("x", F(t, d));
      const y = m.dot(x, w, "d");
      const grad = m.dot(x, y, "t");
      m.builder.output("w", m.sub(w, m.scale(grad, 0.1)), "w");
      m.builder.output("y", m.dot(y, m.rename(w, "d", "f"), "e"));
    });
    check(g, { inputs: { x: spread(20, 1) }, state: { w: spread(16, 2) }, lengths });
  });

  test("a product adds to a state in place: one dispatch", () => {
    const g = build((m) => m.builder.output("g", m.add(m.state("g", F(d, e)), m.dot(m.input("x", F(t, d)), m.input("y", F(t, e)), "t")), "g"));
    expect(count(g)).toBe(1);
    check(g, { inputs: { x: spread(20, 1), y: spread(20, 3) }, state: { g: spread(16, 2) }, lengths });
  });

  test("a state in another memory order than the value", () => {
    const g = build((m) => {
      const c = m.state("c", F(d, e));
      m.builder.output("old", m.sum(c, "e"));
      m.builder.output("c", m.dot(m.input("x", F(t, e)), m.input("y", F(t, d)), "t"), "c");
    });
    check(g, { inputs: { x: spread(20, 1), y: spread(20, 3) }, state: { c: spread(16, 2) }, lengths });
  });

  test("a cache: only the new rows are written, attention reads old and new", () => {
    const slots = ax("s", "slots");
    const g = build((m) => {
      const at = m.input("at", I());
      const x = m.input("x", F(t, d));
      const rows = (n: string): NodeId => m.rename(m.tanh(m.scale(x, n === "k" ? 1 : 2)), "t", "s");
      const k = m.update(m.state("cache.k", F(slots, d)), "s", rows("k"), at);
      const v = m.update(m.state("cache.v", F(slots, d)), "s", rows("v"), at);
      m.builder.output("y", m.attend(x, k, v, { query: "t", key: "s", width: "d" }));
      m.builder.output("k", k, "cache.k");
      m.builder.output("v", v, "cache.v");
    });
    for (const target of targets) expect(namesOf(scheduleGraph(g, target, templates))).toEqual(["states update", "states attend"]);
    check(g, { inputs: { x: spread(12, 1), at: [4] }, state: { "cache.k": spread(32, 2), "cache.v": spread(32, 4) }, lengths: { t: 3, slots: 8 } });
    check(g, { inputs: { x: spread(12, 1), at: [6] }, state: { "cache.k": spread(32, 2), "cache.v": spread(32, 4) }, lengths: { t: 3, slots: 8 } });
  });

  test("a cache is written by the product that makes its rows", () => {
    const slots = ax("s", "slots");
    const g = build((m) => {
      const rows = m.rename(m.add(m.dot(m.input("x", F(t, d)), m.state("w", F(d, e)), "d"), m.input("b", F(e))), "t", "s");
      const k = m.update(m.state("cache.k", F(slots, e)), "s", rows, m.input("at", I()));
      m.builder.output("k", k, "cache.k");
      m.builder.output("top", m.amax(k, "s"));
    });
    expect(namesOf(scheduleGraph(g, software, templates))).toEqual(["states product", "states rows"]);
    check(g, { inputs: { x: spread(12, 1), b: spread(4, 7), at: [6] }, state: { w: spread(16, 3), "cache.k": spread(32, 2) }, lengths: { t: 3, slots: 8 } });
  });

  test("a cache whose old rows are wanted too", () => {
    const slots = ax("s", "slots");
    const g = build((m) => {
      const cache = m.state("cache.k", F(slots, d));
      const k = m.update(cache, "s", m.rename(m.tanh(m.input("x", F(t, d))), "t", "s"), m.input("at", I()));
      m.builder.output("k", k, "cache.k");
      m.builder.output("change", m.sum(m.sub(k, cache), "s"));
    });
    check(g, { inputs: { x: spread(12, 1), at: [2] }, state: { "cache.k": spread(32, 2) }, lengths: { t: 3, slots: 8 } });
  });

  test("one node into an output, a state and another output", () => {
    const g = build((m) => {
      const y = m.tanh(m.input("x", F(t, d)));
      m.builder.output("a", y);
      m.builder.output("b", y, "s");
      m.builder.output("c", y);
      m.builder.output("d", m.rename(y, "t", "u"));
    });
    check(g, { inputs: { x: spread(20, 1) }, state: { s: spread(20, 2) }, lengths });
  });

  test("inputs and states handed through", () => {
    const g = build((m) => {
      m.builder.output("x", m.input("x", F(t, d)));
      m.builder.output("s", m.state("s", F(d)));
      m.builder.output("s2", m.input("z", F(d)), "s2");
      m.builder.output("c", m.const(2.5));
    });
    check(g, { inputs: { x: spread(20, 1), z: spread(4, 5) }, state: { s: spread(4, 2), s2: [0, 0, 0, 0] }, lengths });
  });
});

describe("cross-entropy in chunks", () => {
  for (const rows of [3, 4, 9])
    test(`${rows} rows, four a chunk`, () => {
      const v = ax("v", 5);
      const g = build((m) => {
        const args = [m.input("x", F(t, d)), m.state("w", F(d, v)), m.input("target", I(t)), m.input("weight", F(t))];
        const dloss = m.div(m.input("up", F(t)), m.sum(args[3] as NodeId, "t"));
        m.builder.output("loss", m.sum(m.op("linear_ce", args, { from: "d", vocab: "v" }), "t"));
        m.builder.output("dx", m.op("linear_ce_dx", [...args, dloss], { from: "d", vocab: "v" }));
        m.builder.output("dw", m.op("linear_ce_dw", [...args, dloss], { from: "d", vocab: "v" }), "dw");
      });
      const inputs = { x: spread(rows * 4, 1), target: Array.from({ length: rows }, (_, i) => (i * 3) % 5), weight: Array.from({ length: rows }, (_, i) => (i % 3) * 0.7), up: spread(rows, 3) };
      const state = { w: spread(20, 2), dw: new Array<number>(20).fill(9) };
      check(g, { inputs, state, lengths: { t: rows } }, 2e-5, { chunkBytes: 64 });
      for (const target of targets) expect(scheduleGraph(g, target, templates, { chunkBytes: 64 }).steps.filter((s) => s.kind === "repeat").length).toBe(1);
    });

  test("a gradient that depends on the loss makes the logits again", () => {
    const v = ax("v", 5);
    const g = build((m) => {
      const args = [m.input("x", F(t, d)), m.state("w", F(d, v)), m.input("target", I(t)), m.input("weight", F(t))];
      const loss = m.op("linear_ce", args, { from: "d", vocab: "v" });
      m.builder.output("loss", loss);
      m.builder.output("dx", m.op("linear_ce_dx", [...args, m.tanh(loss)], { from: "d", vocab: "v" }));
    });
    check(g, { inputs: { x: spread(20, 1), target: [0, 4, 2, 1, 3], weight: [1, 0, 2, 1, 1] }, state: { w: spread(20, 2) }, lengths });
  });
});

describe("long sums", () => {
  test("are cut in pieces, and added up by their readers", () => {
    const n = ax("n", 40000);
    const g = build((m) => {
      const x = m.state("x", F(n));
      const s = m.sum(m.square(x), "n");
      m.builder.output("y", m.mul(x, m.rsqrt(s)), "y");
      m.builder.output("s", s);
      m.builder.output("top", m.amax(m.state("z", F(n, ax("two", 2))), "n"));
    });
    expect(dispatchesOf(scheduleGraph(g, guaranteed, templates)).length).toBeLessThanOrEqual(4);
    check(g, { state: { x: spread(40000, 1), y: new Array<number>(40000).fill(0), z: spread(80000, 2) } }, 1e-4);
  });
});

describe("bindings", () => {
  test("a sum of twelve states is split rather than refused", () => {
    const g = build((m) => {
      const parts = Array.from({ length: 12 }, (_, i) => m.tanh(m.state(`s${i}/x`, F(t, d))));
      m.builder.output("y", parts.reduce((a, b) => m.add(a, b)));
    });
    check(g, { state: Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`s${i}/x`, spread(20, i)])), lengths });
  });

  test("a product of sums of twelve states", () => {
    const g = build((m) => {
      const sum = (n: string, a = d): NodeId => Array.from({ length: 6 }, (_, i) => m.tanh(m.state(`${n}${i}/x`, F(t, a)))).reduce((x, y) => m.add(x, y));
      m.builder.output("y", m.dot(sum("a"), sum("b", e), "t"));
    });
    check(g, { state: Object.fromEntries(["a", "b"].flatMap((n) => Array.from({ length: 6 }, (_, i) => [`${n}${i}/x`, spread(20, i)]))), lengths });
  });

});
