// In: any node. Out: its children in the order of the text, a walk over all of them, the nodes around an offset.
// Works from the data: a child is whatever has a kind and a span, so a new node needs no entry here.

import type { Node } from "./nodes.ts";

export function children(parent: Node): Node[] {
  const found: Node[] = [];
  for (const value of Object.values(parent)) collect(value, found);
  return found.sort((a, b) => a.span.start - b.span.start);
}

/** Visits a node and everything below it, parents first; a visitor that returns false skips what is below. */
export function walk(root: Node, visit: (node: Node) => boolean | void): void {
  if (visit(root) === false) return;
  for (const child of children(root)) walk(child, visit);
}

/** The nodes that hold an offset, from the outermost to the innermost; a name ends where its last letter ends. */
export function nodesAt(root: Node, offset: number): Node[] {
  const path: Node[] = [];
  let here: Node | undefined = root;
  while (here !== undefined) {
    path.push(here);
    here = children(here).find((child) => child.span.start <= offset && offset <= child.span.end);
  }
  return path;
}

function collect(value: unknown, into: Node[]): void {
  if (Array.isArray(value)) for (const item of value) collect(item, into);
  else if (isNode(value)) into.push(value);
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "kind" in value && "span" in value;
}
