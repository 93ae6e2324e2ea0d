// In: the text form of a graph. Out: the graph, node for node (no sharing, no inference: graph/verify.ts checks the result).
// Refuses anything else with a TextError that names line and column. Origins may be left out of hand-written text.

import type { Span } from "../../grammar/source.ts";
import { Cursor } from "../scalar/cursor.ts";
import { readAttrs, tensorType } from "./attrs.ts";
import type { Graph, Node, NodeId, Origin, Output } from "./graph.ts";
import { opNames } from "./infer.ts";
import type { OpName } from "./ops.ts";

const nodeId = (c: Cursor): NodeId => (c.expect("%"), Number(c.match(/[0-9]+/, "a node")));

function readOrigin(c: Cursor): Origin {
  const spans: Span[] = [];
  const via: string[] = [];
  const path = c.string();
  for (;;) {
    if (c.take("via ")) {
      do via.push(c.name());
      while (c.take(","));
      break;
    }
    if (c.done()) break;
    const source = c.text[c.at] === '"' ? c.string() : c.match(/[A-Za-z0-9_./-]+/, "a file");
    c.expect(":");
    const start = c.number();
    c.expect("-");
    spans.push({ source, start, end: c.number() });
  }
  return { spans, path, via };
}

function readNode(c: Cursor): Node {
  const id = nodeId(c);
  c.expect("=");
  const word = c.word();
  const op: OpName = opNames.find((o) => o === word) ?? c.fail("an op");
  const args = c.list("(", ")", () => nodeId(c));
  const attrs = readAttrs(op, c);
  c.expect(":");
  const type = tensorType.read(c);
  const origin: Origin = c.take("@") ? readOrigin(c) : { spans: [], path: "text", via: [] };
  if (!c.done()) c.fail("the end of the line");
  return { id, op, args, attrs, type, origin } as Node;
}

export function readGraph(text: string): Graph {
  const nodes: Node[] = [];
  const outputs: Output[] = [];
  let name: string | undefined;
  let lengths: readonly string[] = [];
  text.split("\n").forEach((line, i) => {
    const c = new Cursor(line, i + 1);
    if (c.done() || c.take("//")) return;
    if (name === undefined) {
      c.expect("graph ");
      name = c.name();
      lengths = c.list("(", ")", () => c.name());
    } else if (c.take("output ")) {
      const output = c.name();
      c.expect("=");
      const node = nodeId(c);
      outputs.push(c.take("into ") ? { name: output, node, into: c.name() } : { name: output, node });
    } else nodes.push(readNode(c));
  });
  if (name === undefined) throw new Error("no graph in the text");
  return { name, nodes, outputs, lengths };
}
