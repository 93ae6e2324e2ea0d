// Reading a Chevrotain tree that may have holes: children by rule or token name, in text order, and spans that always exist.
// Tokens the parser invented while recovering have no place in the text and are left out everywhere.

import type { CstElement, CstNode, IToken } from "chevrotain";
import type { Span } from "../../grammar/source.ts";

export function isNode(element: CstElement): element is CstNode {
  return "children" in element;
}

export function nodes(parent: CstNode, rule: string): CstNode[] {
  return (parent.children[rule] ?? []).filter(isNode);
}

export function node(parent: CstNode, rule: string): CstNode | undefined {
  return nodes(parent, rule)[0];
}

export function tokens(parent: CstNode, name: string): IToken[] {
  const found: IToken[] = [];
  for (const child of parent.children[name] ?? []) if (!isNode(child) && hasPlace(child)) found.push(child);
  return found;
}

export function token(parent: CstNode, name: string): IToken | undefined {
  return tokens(parent, name)[0];
}

/** All tokens and nodes right below, in the order of the text. */
export function inOrder(parent: CstNode): CstElement[] {
  const all: CstElement[] = [];
  for (const group of Object.values(parent.children)) for (const child of group) if (startOf(child) !== undefined) all.push(child);
  return all.sort((a, b) => (startOf(a) ?? 0) - (startOf(b) ?? 0));
}

export function tokenSpan(source: string, at: IToken): Span {
  return { source, start: at.startOffset, end: at.startOffset + at.image.length };
}

/** The text a node covers, or undefined for a node without a single token. */
export function nodeSpan(source: string, at: CstNode): Span | undefined {
  const start = startOf(at);
  const end = endOf(at);
  return start === undefined || end === undefined ? undefined : { source, start, end };
}

function hasPlace(at: IToken): boolean {
  return Number.isFinite(at.startOffset) && at.isInsertedInRecovery !== true;
}

function startOf(element: CstElement): number | undefined {
  if (!isNode(element)) return hasPlace(element) ? element.startOffset : undefined;
  const known = element.location?.startOffset;
  if (known !== undefined && Number.isFinite(known) && element.recoveredNode !== true) return known;
  return extreme(element, startOf, Math.min);
}

function endOf(element: CstElement): number | undefined {
  if (!isNode(element)) return hasPlace(element) ? element.startOffset + element.image.length : undefined;
  const known = element.location?.endOffset;
  if (known !== undefined && Number.isFinite(known) && element.recoveredNode !== true) return known + 1;
  return extreme(element, endOf, Math.max);
}

function extreme(
  parent: CstNode,
  of: (element: CstElement) => number | undefined,
  pick: (a: number, b: number) => number,
): number | undefined {
  let best: number | undefined;
  for (const group of Object.values(parent.children)) {
    for (const child of group) {
      const value = of(child);
      if (value !== undefined) best = best === undefined ? value : pick(best, value);
    }
  }
  return best;
}
