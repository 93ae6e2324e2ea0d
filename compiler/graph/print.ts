// In: a graph. Out: its text, one node a line, the same for the same graph; graph/read.ts is its inverse.
//   %4 = dot(%1, %3) axes=(d) : f32[t, e: 64] @ "body[0].attn.wq" spec.heddle:120-134 via backward

import { nameText } from "../scalar/print.ts";
import { attrsText, tensorType } from "./attrs.ts";
import type { Graph, Node, Origin } from "./graph.ts";

export interface PrintOptions {
  /** Leave out origins: shorter, but not read back to the same graph. */
  readonly origins?: boolean;
}

const fileText = (s: string): string => (/^[A-Za-z0-9_./-]+$/.test(s) ? s : JSON.stringify(s));

export function originText(o: Origin): string {
  const spans = o.spans.map((s) => ` ${fileText(s.source)}:${s.start}-${s.end}`).join("");
  const via = o.via.length > 0 ? ` via ${o.via.map((v) => nameText(v)).join(", ")}` : "";
  return `@ ${JSON.stringify(o.path)}${spans}${via}`;
}

export function printNode(n: Node, options: PrintOptions = {}): string {
  const attrs = attrsText(n.op, n.attrs);
  const args = n.args.map((a) => `%${a}`).join(", ");
  const origin = options.origins === false ? "" : ` ${originText(n.origin)}`;
  return `%${n.id} = ${n.op}(${args})${attrs ? ` ${attrs}` : ""} : ${tensorType.print(n.type)}${origin}`;
}

export function printGraph(g: Graph, options: PrintOptions = {}): string {
  const lines = [`graph ${nameText(g.name)} (${g.lengths.map(nameText).join(", ")})`];
  for (const n of g.nodes) lines.push(printNode(n, options));
  for (const o of g.outputs) lines.push(`output ${nameText(o.name)} = %${o.node}${o.into === undefined ? "" : ` into ${nameText(o.into)}`}`);
  return `${lines.join("\n")}\n`;
}
