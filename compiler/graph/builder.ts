// In: ops one after the other, operands first. Out: a Graph with inferred types, equal nodes shared, dead nodes dropped.
// Refuses what inference refuses by throwing InferFailure; whoever knows the source places catches it and makes a diagnostic.

import { dimVars } from "../dim/dim.ts";
import { attrsText } from "./attrs.ts";
import type { Graph, Node, NodeId, Origin, Output, TensorType } from "./graph.ts";
import { inferType } from "./infer.ts";
import type { InferError } from "./infer_checks.ts";
import { isInferError } from "./infer_checks.ts";
import type { OpAttrs, OpName } from "./ops.ts";

/** The data of a refused op, with the origins of the op and of its operands. */
export class InferFailure extends Error {
  readonly error: InferError;
  readonly origin: Origin;
  readonly args: readonly Origin[];
  constructor(error: InferError, origin: Origin, args: readonly Origin[]) {
    super(`${error.op}: ${error.message}`);
    this.error = error;
    this.origin = origin;
    this.args = args;
  }
}

/** `via` entries that start so keep a node apart from equal nodes without it: rematerialisation makes copies on purpose. */
export const REMAT = "remat";
/** `via` entry of nodes that the reverse sweep appended. */
export const BACKWARD = "backward";

export const rematOf = (origin: Origin): string => origin.via.find((v) => v.startsWith(REMAT)) ?? "";

/** An origin for nodes that no text asked for; `path` says what they belong to. */
export const originAt = (path: string, via: readonly string[] = []): Origin => ({ spans: [], path, via });

function join(a: Origin, b: Origin): Origin {
  if (a === b) return a;
  const fresh = b.spans.filter((s) => !a.spans.some((t) => t.source === s.source && t.start === s.start && t.end === s.end));
  // A node that the forward pass has too is a forward node.
  const via = a.via.filter((v) => v !== BACKWARD || b.via.includes(v));
  return fresh.length === 0 && via.length === a.via.length ? a : { spans: [...a.spans, ...fresh], path: a.path, via };
}

/** Ops whose memory order is given: by their attributes, or because the result may share memory with the first operand. */
export const fixedOrder: ReadonlySet<OpName> = new Set<OpName>(["input", "state", "const", "iota", "random", "rename", "update"]);

/** `type` with its axes in the order of `names`, which are the same set. */
export function reordered(type: TensorType, names: readonly string[]): TensorType {
  const axes = names.map((n) => type.axes.find((a) => a.name === n));
  if (names.length !== type.axes.length || new Set(names).size !== names.length) throw new Error(`[${names.join(", ")}] is no order of [${type.axes.map((a) => a.name).join(", ")}]`);
  return { dtype: type.dtype, axes: axes.map((a, i) => a ?? unknownAxis(names[i] ?? "")) };
}
const unknownAxis = (name: string): never => {
  throw new Error(`no axis ${name} to put in order`);
};

const inOrderOf = (type: TensorType, names: readonly string[]): boolean => type.axes.every((a, i) => a.name === names[i]);

/** Ops whose equal nodes stay apart. */
const unshared: ReadonlySet<OpName> = new Set<OpName>(["random"]);

export class GraphBuilder {
  readonly name: string;
  readonly #nodes: Node[] = [];
  readonly #outputs: Output[] = [];
  readonly #interned = new Map<string, NodeId>();
  readonly #pinned = new Set<NodeId>();

  constructor(name: string) {
    this.name = name;
  }

  /** A builder that holds the nodes and outputs of a graph, under the same ids: for passes that append. */
  static from(graph: Graph): GraphBuilder {
    const b = new GraphBuilder(graph.name);
    for (const n of graph.nodes) {
      b.#nodes.push(n);
      if (!unshared.has(n.op)) b.#interned.set(keyOf(n.op, n.attrs, n.args, n.origin), n.id);
    }
    b.#outputs.push(...graph.outputs);
    return b;
  }

  get size(): number {
    return this.#nodes.length;
  }

  get outputs(): readonly Output[] {
    return this.#outputs;
  }

  node(id: NodeId): Node {
    const n = this.#nodes[id];
    if (!n) throw new Error(`graph ${this.name}: no node ${id}`);
    return n;
  }

  type(id: NodeId): TensorType {
    return this.node(id).type;
  }

  /**
   * Appends a node, or returns the equal one that is there. `order` is a memory order other than the inferred one.
   * Throws InferFailure when the operands do not fit.
   */
  add<K extends OpName>(op: K, args: readonly NodeId[], attrs: OpAttrs[K], origin: Origin, order?: readonly string[]): NodeId {
    const key = keyOf(op, attrs, args, origin);
    const old = unshared.has(op) ? undefined : this.#interned.get(key);
    if (old !== undefined) {
      const n = this.node(old);
      const joined = join(n.origin, origin);
      if (joined !== n.origin) this.#nodes[old] = { ...n, origin: joined };
      return old;
    }
    const type = inferType(op, attrs, args.map((a) => this.type(a)));
    if (isInferError(type)) throw new InferFailure(type, origin, args.map((a) => this.node(a).origin));
    const id = this.#nodes.length;
    const free = order && !fixedOrder.has(op);
    this.#nodes.push({ id, op, args: [...args], attrs, type: free ? reordered(type, order) : type, origin } as Node);
    this.#interned.set(key, id);
    return id;
  }

  /**
   * The same value, stored in this order of axes: what a state or a host expects. Costs nothing where the op may choose its
   * order; else a copy.
   */
  ordered(id: NodeId, names: readonly string[], origin: Origin): NodeId {
    const n = this.node(id);
    const type = reordered(n.type, names);
    if (inOrderOf(n.type, names)) return (this.#pinned.add(id), id);
    if (fixedOrder.has(n.op) || this.#pinned.has(id)) {
      const copy = this.#nodes.length;
      this.#nodes.push({ id: copy, op: "cast", args: [id], attrs: { dtype: type.dtype }, type, origin });
      this.#pinned.add(copy);
      return copy;
    }
    this.#nodes[id] = { ...n, type };
    this.#pinned.add(id);
    return id;
  }

  /** Names a result. With `into`, its value becomes the new value of that state. */
  output(name: string, node: NodeId, into?: string): void {
    if (this.#outputs.some((o) => o.name === name)) throw new Error(`graph ${this.name}: output ${name} is named twice`);
    this.node(node);
    this.#outputs.push(into === undefined ? { name, node } : { name, node, into });
  }

  /** The graph of what the outputs need. */
  finish(): Graph {
    const live = new Set<NodeId>(this.#outputs.map((o) => o.node));
    for (let id = this.#nodes.length - 1; id >= 0; id--) if (live.has(id)) this.node(id).args.forEach((a) => live.add(a));
    const renamed = new Map<NodeId, NodeId>();
    const id = (old: NodeId): NodeId => renamed.get(old) ?? missing(old);
    const nodes: Node[] = [];
    for (const n of this.#nodes) {
      if (!live.has(n.id)) continue;
      renamed.set(n.id, nodes.length);
      nodes.push({ ...n, id: nodes.length, args: n.args.map(id) } as Node);
    }
    const outputs = this.#outputs.map((o) => ({ ...o, node: id(o.node) }));
    return { name: this.name, nodes, outputs, lengths: lengthsOf(nodes) };
  }
}

const missing = (id: NodeId): never => {
  throw new Error(`node ${id} comes after its user`);
};

function keyOf<K extends OpName>(op: K, attrs: OpAttrs[K], args: readonly NodeId[], origin: Origin): string {
  return `${op} ${args.join(",")} ${attrsText(op, attrs)} ${rematOf(origin)}`;
}

/** The variables that sizes of these nodes mention, sorted; a quotient of lengths counts as its parts. */
export function lengthsOf(nodes: readonly Node[]): readonly string[] {
  const seen = new Set<string>();
  for (const n of nodes)
    for (const a of n.type.axes) for (const v of dimVars(a.size)) for (const w of v.match(/[A-Za-z_][A-Za-z0-9_.]*/g) ?? []) seen.add(w);
  return [...seen].sort();
}
