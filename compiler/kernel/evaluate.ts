// In: a graph and where its stored nodes live. Out: the value of any node at any point of its axes, as statements in a body:
// maps are computed on the spot from their operands, renames, splits and slices only change coordinates, stored nodes are
// loaded. A boundary hook sees each node first; through it fusion traces what a node reads and puts results in place.
// Refuses (throws) a reduction or an anchor that is neither stored nor answered by the hook: a bug of the schedule.

import type { Axis, DType, Graph, Node, NodeId, NodeOf } from "../graph/graph.ts";
import type { ScalarExpr, UnaryOp } from "../scalar/expr.ts";
import { add, and, binary, bool, f32, i32, mul, select, sub, u32, unary } from "../scalar/expr.ts";
import type { KernelParts, Point, PointFn, SpaceAxis } from "./body.ts";
import { Body, elementIndex, spaceSize } from "./body.ts";
import { children } from "../scalar/expr.ts";
import { roundHalf } from "../scalar/half.ts";
import { coordinate, dimExpr, mergePoint, pointKey, sameExpr, spaceAxis, splitPoint } from "./coords.ts";
import type { StorageType } from "./kernel.ts";
import { randomPoint } from "./random_point.ts";
import { placesOf } from "./short_sum.ts";
import { isStack } from "./stack.ts";

/** A tensor that holds a node: its memory order names the node's own axes. */
export interface Storage {
  readonly tensor: string;
  readonly dtype: DType;
  readonly axes: readonly SpaceAxis[];
}

export const storageType = (d: DType): StorageType => (d === "bool" ? "u32" : d);

/** Answers for a node instead of computing it; undefined lets the evaluator go on. */
export type Boundary = (id: NodeId, at: Point, b: Body) => ScalarExpr | undefined;

export interface Sources {
  readonly graph: Graph;
  storage(id: NodeId): Storage | undefined;
  /** Dots whose value another dot's product carries: they count as nothing in the sum they belong to. */
  readonly absent: ReadonlySet<NodeId>;
  /** Nodes worth a name of their own, because several others use them. */
  shared(id: NodeId): boolean;
}

export class Evaluator {
  readonly parts: KernelParts;
  readonly #sources: Sources;
  readonly #boundary: Boundary | undefined;
  readonly #known = new WeakMap<Body, Map<string, ScalarExpr>>();

  constructor(sources: Sources, parts: KernelParts, boundary?: Boundary) {
    this.#sources = sources;
    this.parts = parts;
    this.#boundary = boundary;
  }

  fn(id: NodeId): PointFn {
    return (b, at) => this.value(b, id, at);
  }

  node(id: NodeId): Node {
    const n = this.#sources.graph.nodes[id];
    if (!n) throw new Error(`no node ${id}`);
    return n;
  }

  /** The value of a node; `at` may hold more axes than the node has. */
  value(b: Body, id: NodeId, at: Point): ScalarExpr {
    const answer = this.#boundary?.(id, at, b);
    if (answer) return answer;
    const node = this.node(id);
    const key = `${id}@${pointKey(node.type.axes, at)}`;
    const stable = node.type.axes.every((a) => this.#stable(coordinate(at, a.name)));
    if (stable)
      for (let s: Body | undefined = b; s; s = s.parent) {
        const known = this.#known.get(s)?.get(key);
        if (known) return known;
      }
    const stored = this.#sources.storage(id);
    let value = stored ? this.load(b, stored, at) : this.#compute(b, node, at);
    if (!stored && (this.#sources.shared(id) || node.type.axes.length === 0) && value.type !== "bool") value = b.let(value);
    if (stable) {
      let here = this.#known.get(b);
      if (!here) this.#known.set(b, (here = new Map()));
      here.set(key, value);
    }
    return value;
  }

  #stable(e: ScalarExpr): boolean {
    if (e.kind === "name") return !this.parts.mutable.has(e.name);
    return children(e).every((c) => this.#stable(c));
  }

  load(b: Body, s: Storage, at: Point): ScalarExpr {
    const operand = this.parts.operand(s.tensor, storageType(s.dtype), spaceSize(s.axes), "read");
    const value = b.load(operand, elementIndex(s.axes, at));
    return s.dtype === "bool" ? binary("ne", value, u32(0)) : value;
  }

  store(b: Body, s: Storage, at: Point, value: ScalarExpr): void {
    const operand = this.parts.operand(s.tensor, storageType(s.dtype), spaceSize(s.axes), "write");
    b.store(operand, elementIndex(s.axes, at), s.dtype === "bool" ? select(value, u32(1), u32(0)) : value);
  }

  /** The element of a stack of states: one load, from where its part lies. */
  #part(b: Body, node: NodeOf<"concat">, at: Point): ScalarExpr | undefined {
    const { axis } = node.attrs;
    const size = spaceAxis(this.node(node.args[0] as NodeId).type.axes.find((x) => x.name === axis) as Axis).size;
    const c = clamp(coordinate(at, axis), sub(mul(size, i32(node.args.length)), i32(1)));
    const one = size.kind === "const" && size.value === 1;
    const [which, inside] = [b.let(one ? c : binary("div", c, size), "part"), one ? i32(0) : b.let(binary("mod", c, size), "inside")];
    // Each part's own load tells where its element is; as they are alike, one with a choice of operands takes their place.
    const scratch = new Body(b.parts, b, "if");
    const loads = node.args.map((id) => {
      this.value(scratch, id, { ...at, [axis]: inside });
      return scratch.stmts.splice(0).filter((s) => s.kind === "load");
    });
    const [first] = loads.map((l) => l[0]);
    if (!first || !loads.every((l) => l.length === 1 && l[0] && sameExpr(l[0].index, first.index))) return undefined;
    return b.loadAmong(loads.map((l) => l[0]?.from ?? ""), which, first.index);
  }

  #absent(id: NodeId): boolean {
    if (this.#sources.absent.has(id)) return true;
    const n = this.node(id);
    if (n.op === "rename") return this.#absent(n.args[0] as NodeId);
    return n.op === "add" && this.#absent(n.args[0] as NodeId) && this.#absent(n.args[1] as NodeId);
  }

  #compute(b: Body, node: Node, at: Point): ScalarExpr {
    const arg = (i: number): NodeId => {
      const a = node.args[i];
      if (a === undefined) throw new Error(`${node.op} lacks operand ${i}`);
      return a;
    };
    const value = (i: number, where: Point = at): ScalarExpr => this.value(b, arg(i), where);
    const axisOf = (i: number, name: string): SpaceAxis => {
      const a = this.node(arg(i)).type.axes.find((x) => x.name === name);
      if (!a) throw new Error(`${node.op}: operand ${i} has no axis ${name}`);
      return spaceAxis(a);
    };
    switch (node.op) {
      case "const": return constant(node.attrs.value, node.attrs.dtype);
      case "iota": return coordinate(at, node.attrs.axis.name);
      case "random": {
        const { kind, stream, axes } = node.attrs;
        const [seed, step] = [value(0), value(1)];
        const index = axes.map(spaceAxis).reduce<ScalarExpr>((n, a) => add(mul(n, a.size), coordinate(at, a.name)), i32(0));
        return b.let(randomPoint(b, kind, index, stream, seed, step));
      }
      case "neg": case "abs": case "exp": case "log": case "sqrt": case "rsqrt": case "tanh": case "sigmoid": case "sin": case "cos":
      case "floor": case "not":
        return unary(node.op, value(0));
      case "cast": {
        // What is stored as f16 has been rounded by its store.
        const rounded = node.attrs.dtype === "f16" && (this.#sources.storage(arg(0))?.dtype ?? this.node(arg(0)).type.dtype) === "f16";
        return rounded ? value(0) : cast(value(0), node.attrs.dtype);
      }
      case "add":
        if (this.#absent(arg(0))) return value(1);
        if (this.#absent(arg(1))) return value(0);
        return binary("add", value(0), value(1));
      case "sub": case "mul": case "div": case "max": case "min": case "pow": case "mod":
      case "eq": case "ne": case "lt": case "le": case "and": case "or":
        return binary(node.op, value(0), value(1));
      case "select": return select(value(0), value(1), value(2));
      case "dot":
        if (node.attrs.axes.length > 0) break;
        return binary("mul", value(0), value(1));
      case "sum": {
        const places = placesOf(this.#sources.graph, node);
        if (!places) break;
        return places.map((p) => value(0, { ...at, ...Object.fromEntries(Object.entries(p).map(([n, i]) => [n, i32(i)])) })).reduce(add);
      }
      case "amax":
        if (node.attrs.axes.length > 0) break;
        return value(0);
      case "rename": {
        const { from, to } = node.attrs;
        return value(0, { ...at, [from]: coordinate(at, to) });
      }
      case "split": return value(0, { ...at, [node.attrs.axis]: mergePoint(node.attrs.into.map(spaceAxis), at) });
      case "merge": return value(0, { ...at, ...splitPoint(node.attrs.axes.map((n) => axisOf(0, n)), coordinate(at, node.attrs.into)) });
      case "broadcast": return value(0);
      case "slice": {
        const { axis, start } = node.attrs;
        return value(0, { ...at, [axis]: add(coordinate(at, axis), dimExpr(start)) });
      }
      case "concat": {
        const { axis } = node.attrs;
        const c = coordinate(at, axis);
        const stacked = isStack(this.#sources.graph, node) ? this.#part(b, node, at) : undefined;
        if (stacked) return stacked;
        let start: ScalarExpr = i32(0);
        const parts = node.args.map((_, i) => {
          const size = axisOf(i, axis).size;
          const part = { from: start, size, i };
          start = add(start, size);
          return part;
        });
        // From the last part back; each operand is read inside its own bounds whatever the coordinate is. Empty parts are passed over.
        return parts.reduceRight<ScalarExpr | undefined>((rest, p) => {
          const inside = clamp(sub(c, p.from), sub(p.size, i32(1)));
          const mine = b.let(value(p.i, { ...at, [axis]: inside }));
          return rest ? select(binary("lt", c, add(p.from, p.size)), mine, rest) : mine;
        }, undefined) ?? i32(0);
      }
      case "gather": {
        const { axis } = node.attrs;
        const index = b.let(clamp(value(1), sub(axisOf(0, axis).size, i32(1))));
        return value(0, { ...at, [axis]: index });
      }
      case "update": {
        const { axis } = node.attrs;
        const c = coordinate(at, axis);
        const size = axisOf(1, axis).size;
        const from = b.let(sub(c, value(2)));
        const inside = and(binary("le", i32(0), from), binary("lt", from, size));
        const written = b.let(value(1, { ...at, [axis]: clamp(from, sub(size, i32(1))) }));
        return select(inside, written, value(0));
      }
      case "rope": {
        const { axis, base, inverse } = node.attrs;
        const size = axisOf(0, axis).size;
        const half = size.kind === "const" ? i32(size.value / 2) : binary("div", size, i32(2));
        const c = coordinate(at, axis);
        const low = binary("lt", c, half);
        const pair = binary("mod", c, half);
        const rate = unary("exp", mul(unary("to_f32", pair), size.kind === "const"
          ? f32(-2 * Math.log(base) / size.value) : binary("div", f32(-2 * Math.log(base)), unary("to_f32", size))));
        const angle = b.let(mul(value(1), rate));
        const mine = value(0);
        const other = value(0, { ...at, [axis]: binary("mod", add(c, half), size) });
        const turn = unary("sin", angle);
        const sign = inverse ? select(low, other, unary("neg", other)) : select(low, unary("neg", other), other);
        return b.let(add(mul(mine, unary("cos", angle)), mul(sign, turn)));
      }
      default: break;
    }
    throw new Error(`node ${node.id} (${node.op}) is neither stored nor computed where it is read`);
  }
}

const clamp = (e: ScalarExpr, last: ScalarExpr): ScalarExpr => binary("max", i32(0), binary("min", e, last));

export function constant(value: number, dtype: DType): ScalarExpr {
  return dtype === "f32" || dtype === "f16" ? f32(dtype === "f16" ? roundHalf(value) : value) : dtype === "i32" ? i32(value) : dtype === "u32" ? u32(value) : bool(value !== 0);
}

export function cast(e: ScalarExpr, to: DType): ScalarExpr {
  if (e.type === to) return e;
  if (e.type === "bool") return select(e, constant(1, to), constant(0, to));
  if (to === "bool") return binary("ne", e, constant(0, e.type));
  if (to === "f16") return unary("to_f16", unary("to_f32", e));
  const op: UnaryOp = `to_${to}`;
  return unary(op, e);
}

