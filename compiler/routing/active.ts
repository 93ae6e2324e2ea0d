// How many of a model's weights one token uses: all that are not routed, its share of the experts of routers, and of each route the
// branch with the most. In: a Model. Out: both counts. A table of embeddings counts whole, as papers count it.

import { dimValue } from "../dim/dim.ts";
import type { Model, RoutedLayer } from "../types/model.ts";
import type { Parameter } from "../types/parameter.ts";

export interface Counts {
  readonly all: number;
  /** At most so many take part in what is said of one token. */
  readonly active: number;
}

export function parameterCounts(model: Model): Counts {
  const routes = model.routed.filter((r) => r.dispatch === "route");
  return { all: model.parameters.reduce((n, p) => n + sizeOf(p), 0), active: Math.round(activeOf(model, model.parameters, routes)) };
}

const sizeOf = (p: Parameter): number => p.axes.reduce((n, a) => n * (dimValue(a.size) ?? 0), 1);

const under = (path: string, of: string): boolean => path === of || path.startsWith(`${of}.`) || path.startsWith(`${of}[`);

function activeOf(model: Model, parameters: readonly Parameter[], routes: readonly RoutedLayer[]): number {
  // The outermost route first: branches may hold routes.
  const [route, ...others] = [...routes].sort((a, b) => a.path.length - b.path.length);
  if (!route) return alternatives(model, parameters);
  const branches = new Map<string, Parameter[]>();
  const rest: Parameter[] = [];
  for (const p of parameters) {
    const branch = route.branches.find((b) => under(p.path, `${route.path}.${b}`));
    if (branch === undefined) rest.push(p);
    else branches.set(branch, [...(branches.get(branch) ?? []), p]);
  }
  const most = Math.max(0, ...[...branches.values()].map((own) => activeOf(model, own, others)));
  return activeOf(model, rest, others) + most;
}

/** Weights by route (`param w by r`) stand for one another: of those with one path but for the branch, the largest counts. */
function alternatives(model: Model, parameters: readonly Parameter[]): number {
  const most = new Map<string, number>();
  let sum = 0;
  for (const p of parameters) {
    const used = sizeOf(p) * shareOf(model, p);
    const grouped = p.dense !== undefined && parameters.some((q) => q !== p && q.dense === p.dense);
    if (!grouped || p.dense === undefined) sum += used;
    else most.set(p.dense, Math.max(most.get(p.dense) ?? 0, used));
  }
  return [...most.values()].reduce((a, b) => a + b, sum);
}

/** Of the experts that lead a weight, the share that one token goes to. */
function shareOf(model: Model, p: Parameter): number {
  // A layer that is applied twice is noted twice; one router right inside another has its path.
  const around = [...new Map(model.routed.filter((r) => r.dispatch !== "route" && under(p.path, r.path)).map((r) => [`${r.path} ${r.router?.path}`, r])).values()].sort((a, b) => a.path.length - b.path.length);
  return (p.experts ?? []).reduce((share, _, i) => {
    const r = around[i];
    // Soft mixtures and experts that choose have no number of their own for a token.
    return r === undefined || r.choices === null ? share : share * Math.min(1, r.choices / r.experts);
  }, 1);
}
