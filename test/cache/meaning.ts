// The backend that is the definition: graphs of a Model run by the graph interpreter in double precision, caches as plain numbers.

import { dimValue } from "../../compiler/dim/dim.ts";
import type { Graph } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { rewrite, rule } from "../../compiler/graph/rewrite.ts";
import { type Value, shapeOf } from "../../compiler/graph/value.ts";
import { lowerForward } from "../../compiler/lower/forward.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import { lowerBeside, lowerStep } from "../../compiler/lower/step.ts";
import { cacheSoundness } from "../../compiler/mask/soundness.ts";
import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import type { Model } from "../../compiler/types/model.ts";
import type { HostArray } from "../../runtime/exec/states.ts";
import { type Backend, randomWeights } from "./compare.ts";

/** Sums in double precision over a few hundred terms, through a few layers. */
export const ROUNDING = 1e-10;

/** What a compiled bundle would say of the model. */
export function specOf(model: Model): ModelSpec {
  const sound = cacheSoundness(model);
  return modelSpec(model, layoutParameters(model), sound.sound ? { sound: true } : { sound: false, reason: sound.reason, keep: sound.keep });
}

const statesOf = (graph: Graph) => graph.nodes.flatMap((n) => (n.op === "state" ? [{ name: n.attrs.name, type: n.type }] : []));

/** Kernels read the first or last row of a table where an index lies outside: patches of one stream pass through the tables of all. */
const nearest = rule("nearest", "exact", ["gather"], ({ m, node, arg }) => {
  const size = dimValue(arg(0).type.axes.find((a) => a.name === node.attrs.axis)?.size ?? { terms: [] });
  if (node.origin.via.includes("nearest") || size === undefined) return undefined;
  const index = arg(1);
  const bound = (n: number) => m.expand(m.const(n, "i32"), index.type);
  return m.gather(arg(0).id, node.attrs.axis, m.min(m.max(index.id, bound(0)), bound(size - 1)));
});

/** `store`: how keys and values are kept. */
export function meaningOf(model: Model, spec: ModelSpec, store: "f32" | "f16" = "f32"): Backend {
  const flat = randomWeights(spec);
  const weights = Object.fromEntries(spec.parameters.map((p) => [`params/${p.path}`, flat.slice(p.offset, p.offset + p.axes.reduce((n, a) => n * a.size, 1))]));
  const lowered = [lowerForward(model), lowerBeside(model, store).graph, lowerStep(model, "step", store).graph, lowerStep(model, "denoise", store).graph];
  const graphs = Object.fromEntries(lowered.map((g) => [g.name, rewrite(g, [nearest])]));
  let slots = 0;
  let caches: Record<string, Value> = {};
  const run = (name: string, lengths: Readonly<Record<string, number>>, values: Readonly<Record<string, HostArray>>) => {
    const graph = graphs[name];
    if (!graph) throw new Error(`no program ${name}`);
    const states = statesOf(graph);
    const reads = new Set(graph.nodes.flatMap((n) => (n.op === "input" ? [n.attrs.name] : [])));
    const state: Record<string, ArrayLike<number> | Value> = {};
    for (const s of states) state[s.name] = weights[s.name] ?? caches[s.name] ?? new Float64Array(shapeOf(s.type, lengths).reduce((a, b) => a * b, 1));
    return interpret(graph, { inputs: Object.fromEntries(Object.entries(values).filter(([n]) => reads.has(n))), state, lengths });
  };
  return {
    runner: {
      begin(_, s) {
        slots = s;
        caches = {};
      },
      beside({ lengths, values }) {
        for (const [name, v] of Object.entries(run("beside", lengths, values).state)) if (name.startsWith("beside.")) caches[name] = v;
        return Promise.resolve();
      },
      keep(rows) {
        caches = Object.fromEntries(Object.entries(caches).filter(([name]) => name.startsWith("cache.")).map(([name, v]) => {
          if (v.type.axes[0]?.name !== "batch") throw new Error("a cache is laid out row by row");
          const each = v.data.length / (v.shape[0] ?? 1);
          const data = new Float64Array(rows.length * each);
          rows.forEach((r, i) => data.set(v.data.slice(r * each, (r + 1) * each), i * each));
          return [name, { ...v, shape: [rows.length, ...v.shape.slice(1)], data }];
        }));
      },
      run(program, table, extra, wanted) {
        const { outputs, state } = run(program, { ...table.lengths, spare: slots - (table.lengths.s ?? 0) }, extra);
        for (const [name, v] of Object.entries(state)) if (name.startsWith("cache.")) caches[name] = v;
        return Promise.resolve(Object.fromEntries(wanted.map((n) => [n, outputs[n]?.data as unknown as Float32Array])));
      },
    },
    forward: ({ lengths, values }, wanted) => Promise.resolve(Object.fromEntries(wanted.map((n) => [n, run("forward", lengths, values).outputs[n]?.data as unknown as Float32Array]))),
  };
}
