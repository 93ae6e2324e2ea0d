// What the gradient rules share: the view of a node that a rule gets, and the alignment of cotangents with their values.
// Cotangents have exactly the axes of the value they belong to.

import type { Axis, NodeId, NodeOf, TensorType } from "../graph/graph.ts";
import { without } from "../graph/infer_checks.ts";
import type { Make } from "../graph/make.ts";
import type { OpName } from "../graph/ops.ts";

/** What a rule sees. `m` appends nodes under the origin of the node, marked as backward. */
export interface Sweep<K extends OpName> {
  readonly m: Make;
  readonly node: NodeOf<K>;
  /** Cotangent of the result; the same axes. */
  readonly g: NodeId;
  /** Whether operand `i` leads to something whose gradient is asked for. */
  readonly needs: (i: number) => boolean;
}

/** Cotangents by operand; undefined for operands that need none. */
export type VjpRule<K extends OpName> = (s: Sweep<K>) => readonly (NodeId | undefined)[];

export interface NoGradient {
  readonly kind: "flat" | "none";
  readonly reason: string;
}

export const flat = (reason: string): NoGradient => ({ kind: "flat", reason });
export const notDifferentiable = (reason: string): NoGradient => ({ kind: "none", reason });

export const argOf = (s: Sweep<OpName>, i: number): NodeId => {
  const a = s.node.args[i];
  if (a === undefined) throw new Error(`${s.node.op} has no operand ${i}`);
  return a;
};

export const names = (axes: readonly Axis[]): string[] => axes.map((a) => a.name);

/** Sums over the axes that `like` lacks. */
export function reduceTo(m: Make, x: NodeId, like: TensorType): NodeId {
  return m.sum(x, ...names(without(m.type(x).axes, names(like.axes))));
}

export const zerosLike = (m: Make, t: TensorType): NodeId => m.expand(m.const(0, t.dtype), t);

/** A name that none of the axes has. */
export function freshAxis(base: string, ...types: readonly TensorType[]): string {
  let name = base;
  while (types.some((t) => t.axes.some((a) => a.name === name))) name += "_";
  return name;
}

/** Thrown for an operand that has no gradient although the op has; the sweep adds the origin. */
export class MissingRule extends Error {}
