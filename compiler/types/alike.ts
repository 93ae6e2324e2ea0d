// Whether two layers do the same with weights of their own. In: the layers of two branches and the weights made for each, by their path
// inside the branch. Out: a truth value. Two calls of one declaration with equal arguments are alike; what cannot be compared is not.

import type { LayerDecl, RouterDecl } from "../ast/nodes.ts";
import { walk } from "../ast/walk.ts";
import { dimEqual } from "../dim/dim.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { exprText } from "../scalar/print.ts";
import { takes } from "./layers.ts";
import type { Parameter } from "./parameter.ts";
import type { LayerValue, RouteForm, Scope, Value } from "./values.ts";

/** Weights of a branch by their path inside it. */
export type Own = ReadonlyMap<string, Parameter>;

/** The same weights with the same axes. */
function sameWeights(a: Own, b: Own): boolean {
  return a.size === b.size && [...a].every(([path, p]) => {
    const q = b.get(path);
    return q !== undefined && sameAxes(p, q);
  });
}

export const sameAxes = (p: Parameter, q: Parameter): boolean =>
  p.axes.length === q.axes.length && p.axes.every((x, i) => x.name === q.axes[i]?.name && dimEqual(x.size, q.axes[i]?.size ?? { terms: [] }));

const sameExpr = (a: ScalarExpr, b: ScalarExpr): boolean => a === b || exprText(a) === exprText(b);

const pairs = new WeakMap<object, boolean>();

/** Whether a layer attends with a score or a sink: what these read is one tensor for all tokens, so each branch attends on its own. */
function readsByPair(decl: LayerDecl | RouterDecl): boolean {
  const known = pairs.get(decl);
  if (known !== undefined) return known;
  let found = false;
  walk(decl, (n) => {
    if (n.kind === "call" && n.callee.kind === "name" && n.callee.text === "attend" && n.args.some((a) => a.name?.text === "score" || a.name?.text === "sink")) found = true;
    return !found;
  });
  pairs.set(decl, found);
  return found;
}

export function alike(a: LayerValue, b: LayerValue, ownA: Own, ownB: Own): boolean {
  const pathA = new Map([...ownA].map(([inside, p]) => [p, inside]));
  const pathB = new Map([...ownB].map(([inside, p]) => [p, inside]));
  const open = new Set<object>();
  /** Scopes of layers of the one branch, and those of the other that they are compared with. */
  const scopes = new Map<Scope, Scope>();

  const layers = (x: LayerValue, y: LayerValue): boolean => {
    if (x === y) return true;
    const [f, g] = [x.form, y.form];
    if (f === g) return true;
    if (f.kind === "joined" && g.kind === "joined") return f.op === g.op && layers(f.left, g.left) && layers(f.right, g.right);
    if (f.kind === "sequence" && g.kind === "sequence") return f.layers.length === g.layers.length && f.layers.every((l, i) => layers(l, g.layers[i] ?? l));
    if (f.kind === "instance" && g.kind === "instance") {
      if (f.decl !== g.decl || readsByPair(f.decl)) return false;
      // A layer that is made of itself is an error elsewhere.
      if (open.has(f)) return true;
      open.add(f);
      scopes.set(f.scope, g.scope);
      const [p, q] = [f.scope.entries, g.scope.entries];
      return p.size === q.size && [...p].every(([name, e]) => {
        const other = q.get(name);
        return other !== undefined && (e === other || values(e.value(), other.value()));
      });
    }
    if (f.kind === "routed" && g.kind === "routed") {
      // Routers count loads and share out capacity by branch, so branches with routers are applied one by one.
      return "layers" in f && "layers" in g && routes(f.route, g.route) && f.layers.length === g.layers.length && f.layers.every((l, i) => layers(l, g.layers[i] ?? l));
    }
    return false;
  };

  const routes = (f: RouteForm, g: RouteForm): boolean => {
    if (f === g || (f.kind === "shared" && g.kind === "shared")) return true;
    if (f.kind === "by" && g.kind === "by") return f.branches.length === g.branches.length && f.branches.every((x, i) => x.name === g.branches[i]?.name) && sameExpr(f.key, g.key);
    if (f.kind === "router" && g.kind === "router") return layers({ kind: "layer", form: f.parts, span: f.parts.decl.span }, { kind: "layer", form: g.parts, span: g.parts.decl.span });
    return false;
  };

  const values = (x: Value, y: Value): boolean => {
    if (x === y) return true;
    switch (x.kind) {
      case "poison": case "absent": return y.kind === x.kind;
      case "int": return y.kind === "int" && dimEqual(x.dim, y.dim);
      case "float": case "bool": case "string": return y.kind === x.kind && x.value === y.value;
      case "axis": return y.kind === "axis" && x.name === y.name && dimEqual(x.size, y.size);
      case "stream": case "task": case "process": case "attribute": case "builtin": return y.kind === x.kind && x.name === y.name;
      case "word": return y.kind === "word" && x.text === y.text;
      case "mask": case "scalar": return y.kind === x.kind && sameExpr(x.expr, y.expr);
      case "score": {
        if (y.kind !== "score" || !sameExpr(x.expr, y.expr) || (x.tables?.size ?? 0) !== (y.tables?.size ?? 0)) return false;
        return [...(x.tables ?? [])].every(([name, t]) => {
          const u = y.tables?.get(name);
          return u !== undefined && values(t.value, u.value) && t.axis === u.axis && (t.index && u.index ? sameExpr(t.index, u.index) : t.index === u.index);
        });
      }
      // Weights start where they start; what is done with them is the same.
      case "init": return y.kind === "init";
      case "route": return y.kind === "route" && routes(x.form, y.form);
      case "layer": return y.kind === "layer" && layers(x, y);
      case "list": case "tuple": return y.kind === x.kind && x.items.length === y.items.length && x.items.every((v, i) => values(v, y.items[i] ?? v));
      case "range": return y.kind === "range" && dimEqual(x.from, y.from) && dimEqual(x.to, y.to);
      case "lambda": return y.kind === "lambda" && x.expr === y.expr && x.env.scope === y.env.scope;
      case "subject": return y.kind === "subject" && x.side === y.side;
      // A function is the same text; what it reads of the layer that it is written in is compared with the layer's names.
      case "decl": return y.kind === "decl" && x.decl === y.decl && (x.scope === y.scope || scopes.get(x.scope) === y.scope);
      case "weight": {
        if (y.kind !== "weight" || (x.by === undefined) !== (y.by === undefined)) return false;
        if (x.by && y.by) return x.by.parameters.length === y.by.parameters.length && x.by.parameters.every((p, i) => weights(p, y.by?.parameters[i]));
        return weights(x.parameter, y.parameter);
      }
      default: return false;
    }
  };

  const weights = (p: Parameter, q: Parameter | undefined): boolean => q !== undefined && (p === q || (pathA.has(p) && pathA.get(p) === pathB.get(q)));

  // What stands beside the sequence has no branch of its own, so each branch looks at it with its own weights.
  return takes(a) <= 1 && takes(b) <= 1 && sameWeights(ownA, ownB) && layers(a, b);
}
