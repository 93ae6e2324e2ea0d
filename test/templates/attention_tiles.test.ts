// Tiles in whole programs: made once for all who read the same attributes, right for masks by head, for rows of padding, for
// values beyond what intervals may be trusted with, and left out where no tile could be decided.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { templates } from "../../compiler/kernel/all_templates.ts";
import { scheduleGraph } from "../../compiler/kernel/schedule.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { add, and, attr, binary, div, i32, lt, mul, name, sub } from "../../compiler/scalar/expr.ts";
import { check, namesOf, targets } from "../fuse/check.ts";
import { spread } from "../graph/cases.ts";
import "../seed.ts";

const axis = (n: string, size = dimVar(n)): Axis => ({ name: n, size });
const [batch, t, h, w] = [axis("batch"), axis("t"), axis("h", dimConst(2)), axis("w", dimConst(3))];
const [q, k] = [(n: string) => attr("q", n), (n: string) => attr("k", n)];
const attributes = ["pos", "doc"];

/** `layers` attentions one after the other over the same tokens, and the gradient of the first input. */
function graphOf(mask: ScalarExpr, layers: number, backward: boolean, heads = false): Graph {
  const builder = new GraphBuilder("tiles");
  const m = new Make(builder, originAt("tiles"));
  const x = m.input("x", { dtype: "f32", axes: [batch, t, h, w] });
  const ids: Record<string, NodeId> = Object.fromEntries(attributes.map((n) => [n, m.input(n, { dtype: "i32", axes: [batch, t] })]));
  const text = JSON.stringify(mask);
  const read = (side: string): Record<string, NodeId> => Object.fromEntries(attributes.filter((n) => text.includes(`"side":"${side}","name":"${n}"`)).map((n) => [n, side === "q" ? ids[n] as NodeId : m.rename(ids[n] as NodeId, "t", "s")]));
  let y = x;
  for (let i = 0; i < layers; i++)
    y = m.attend(y, m.rename(y, "t", "s"), m.rename(y, "t", "s"), { query: "t", key: "s", width: "w", value: "w", mask, queryAttrs: read("q"), keyAttrs: read("k"), ...(heads ? { heads: ["h"] } : {}) });
  builder.output("y", y);
  if (backward) {
    const dy = m.input("dy", { dtype: "f32", axes: [batch, t, h, w] });
    gradients(builder, m.sum(m.mul(y, dy), "batch", "t", "h", "w"), [x]).forEach((d) => builder.output("dx", d));
  }
  return builder.finish();
}

function inputsOf(graph: Graph, lengths: { batch: number; t: number }, columns: Readonly<Record<string, readonly number[]>>): Record<string, readonly number[]> {
  return Object.fromEntries(graph.nodes.flatMap((n) => (n.op === "input" ? [[n.attrs.name, columns[n.attrs.name] ?? spread(lengths.batch * lengths.t * 6, n.id)] as const] : [])));
}

/** Documents of these lengths, then padding. */
function documents(rows: number, tokens: number, ...lengths: number[]): Record<string, number[]> {
  const doc = lengths.flatMap((n, d) => Array.from({ length: n }, () => d)).slice(0, tokens);
  const pos = lengths.flatMap((n) => Array.from({ length: n }, (_, i) => i)).slice(0, tokens);
  while (doc.length < tokens) [doc, pos].forEach((list, i) => list.push(i - 1));
  return { doc: Array.from({ length: rows }, () => doc).flat(), pos: Array.from({ length: rows }, () => pos).flat() };
}

const causal = binary("le", k("pos"), q("pos"));
const packed = and(and(binary("eq", q("doc"), k("doc")), binary("le", i32(0), k("doc"))), causal);

describe("tiles of attention", () => {
  it.each(targets)("one dispatch makes the facts for every layer, forward and backward: $name", (target) => {
    const names = namesOf(scheduleGraph(graphOf(packed, 3, true), target, templates));
    expect(names.filter((n) => n.endsWith("attend tiles"))).toHaveLength(1);
    // delta once a layer, for dq and for dk and dv
    expect(names.filter((n) => n.endsWith("attend delta"))).toHaveLength(3);
  });

  it("no facts are made for a mask that no tile could decide", () => {
    const odd = binary("ne", binary("and", binary("xor", q("pos"), k("pos")), i32(1)), i32(0));
    for (const target of targets) expect(namesOf(scheduleGraph(graphOf(odd, 1, false), target, templates)).some((n) => n.endsWith("attend tiles"))).toBe(false);
  });

  it("packed documents with padding over many tiles, two layers and gradients", () => {
    const lengths = { batch: 2, t: 75 };
    const graph = graphOf(packed, 2, true);
    check(graph, { inputs: inputsOf(graph, lengths, documents(2, 75, 20, 3, 17, 16)), lengths }, 1e-4);
  });

  it("more tiles than a workgroup lists or classifies at a time", () => {
    const lengths = { batch: 1, t: 1100 };
    const graph = graphOf(and(causal, lt(sub(q("pos"), k("pos")), i32(3))), 1, false);
    check(graph, { inputs: inputsOf(graph, lengths, documents(1, 1100, 1100)), lengths }, 1e-4);
  });

  it("masks by head", () => {
    const lengths = { batch: 1, t: 50 };
    const graph = graphOf(and(causal, lt(sub(q("pos"), k("pos")), add(i32(2), mul(name("head", "i32"), i32(20))))), 1, true, true);
    check(graph, { inputs: inputsOf(graph, lengths, documents(1, 50, 50)), lengths }, 1e-4);
  });

  it("values that wrap", () => {
    const lengths = { batch: 1, t: 40 };
    const graph = graphOf(lt(add(k("pos"), i32(1000)), q("pos")), 1, true);
    const pos = Array.from({ length: 40 }, (_, i) => (i % 3 === 0 ? 2 ** 31 - 1 - i : i * 40));
    check(graph, { inputs: inputsOf(graph, lengths, { pos }), lengths }, 1e-4);
  });

  it("random masks over random layouts", () => {
    const number: fc.Arbitrary<ScalarExpr> = fc.oneof(
      fc.constantFrom(q("pos"), k("pos"), q("doc"), k("doc"), sub(q("pos"), k("pos")), div(q("pos"), i32(8)), div(k("pos"), i32(8))), fc.integer({ min: -1, max: 24 }).map(i32),
    );
    const compare = fc.tuple(fc.constantFrom<"eq" | "lt" | "le" | "ne">("eq", "lt", "le", "ne"), number, number).map(([op, a, b]) => binary(op, a, b));
    const mask = fc.array(fc.tuple(fc.constantFrom<"and" | "or">("and", "or"), compare), { minLength: 1, maxLength: 4 }).map((list) => list.reduce<ScalarExpr>((e, [op, c]) => binary(op, e, c), causal));
    fc.assert(fc.property(mask, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 60 }), (m, docs, n) => {
      const lengths = { batch: 1, t: n };
      const graph = graphOf(m, 1, true);
      check(graph, { inputs: inputsOf(graph, lengths, documents(1, n, ...docs)), lengths }, 1e-4);
    }), { numRuns: 25 });
  });
});
