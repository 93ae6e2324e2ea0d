// In: JSON of unknown origin. Out: a Plan or StateBuffers whose every field has the right type and whose indices point at
// something, or the list of what is wrong. The one file of the plan that uses valibot; the runtime takes what passed here.

import * as v from "valibot";
import type { IntExpr } from "./expr.ts";
import type { Plan, PlanStep, StateBuffer } from "./plan.ts";
import { planVersion } from "./plan.ts";

const index = v.pipe(v.number(), v.integer(), v.minValue(0));
const dtype = v.picklist(["f32", "f16", "i32", "u32"]);

export const intExprSchema: v.GenericSchema<IntExpr> = v.union([
  v.pipe(v.number(), v.safeInteger()),
  v.string(),
  v.object({
    op: v.picklist(["+", "-", "*", "/", "%", "min", "max"]),
    a: v.lazy(() => intExprSchema),
    b: v.lazy(() => intExprSchema),
  }),
]);

const axes = v.array(v.object({ name: v.string(), size: intExprSchema }));
const place = v.object({ source: v.string(), start: v.number(), end: v.number(), row: v.optional(index) });

const tensor = v.object({
  name: v.string(),
  dtype,
  axes,
  kind: v.picklist(["input", "state", "temp", "output"]),
  arena: index,
  size: intExprSchema,
  live: v.optional(v.tuple([index, index])),
  state: v.optional(v.object({ buffer: v.string(), offset: intExprSchema })),
});

const module = v.object({
  wgsl: v.string(),
  lines: v.array(v.object({ line: index, source: v.string(), start: v.number(), end: v.number(), row: v.optional(index), path: v.string() })),
  workgroup: v.tuple([index, index, index]),
  workgroupBytes: index,
  bindings: v.array(v.object({ dtype, access: v.picklist(["read", "read_write"]) })),
  lengths: v.array(v.string()),
  operands: v.array(v.object({ name: v.string(), binding: index })),
  proven: v.boolean(),
});

const stepSchema: v.GenericSchema<PlanStep> = v.variant("kind", [
  v.object({
    kind: v.literal("dispatch"),
    name: v.string(),
    module: index,
    grid: v.tuple([intExprSchema, intExprSchema, intExprSchema]),
    arenas: v.array(index),
    operands: v.array(index),
    path: v.string(),
    place: v.optional(place),
  }),
  v.object({
    kind: v.literal("repeat"),
    name: v.string(),
    count: intExprSchema,
    steps: v.array(v.lazy(() => stepSchema)),
  }),
]);

export const planSchema: v.GenericSchema<Plan> = v.object({
  version: v.number(),
  name: v.string(),
  hash: v.string(),
  target: v.string(),
  requires: v.object({ limits: v.record(v.string(), v.number()), features: v.array(v.string()), subgroupSize: v.number() }),
  lengths: v.array(v.string()),
  arenas: v.array(v.object({ name: v.string(), dtype, class: v.picklist(["state", "input", "output", "temp"]) })),
  tensors: v.array(tensor),
  modules: v.array(module),
  steps: v.array(stepSchema),
  inputs: v.record(v.string(), index),
  outputs: v.record(v.string(), index),
  cost: v.object({ dispatches: index, flops: intExprSchema, bytesMoved: intExprSchema }),
});

export const stateBufferSchema: v.GenericSchema<StateBuffer> = v.object({
  name: v.string(),
  dtype,
  size: intExprSchema,
  fields: v.array(v.object({ name: v.string(), shape: v.array(index), axes: v.array(v.string()), offset: index })),
});

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problems: readonly string[] };

const shown = 5;

function parse<T>(schema: v.GenericSchema<T>, data: unknown): Parsed<T> {
  const result = v.safeParse(schema, data);
  if (result.success) return { ok: true, value: result.output };
  const problems = result.issues.slice(0, shown).map((i) => `${v.getDotPath(i) ?? "the whole"}: ${i.message}`);
  return { ok: false, problems };
}

/** Reads a plan: its version first, then the types of all fields, then every index. */
export function parsePlan(data: unknown): Parsed<Plan> {
  const version = typeof data === "object" && data !== null && "version" in data ? data.version : undefined;
  if (version !== planVersion) return { ok: false, problems: [`plan version ${String(version)} is not the supported version ${planVersion}; build the bundle again`] };
  const plan = parse(planSchema, data);
  if (!plan.ok) return plan;
  const problems = danglingIndices(plan.value);
  return problems.length === 0 ? plan : { ok: false, problems: problems.slice(0, shown) };
}

export const parseStateBuffers = (data: unknown): Parsed<StateBuffer[]> => parse(v.array(stateBufferSchema) as v.GenericSchema<StateBuffer[]>, data);

function danglingIndices(plan: Plan): string[] {
  const problems: string[] = [];
  const need = (i: number, size: number, what: string): void => {
    if (i >= size) problems.push(`${what} ${i} does not exist`);
  };
  for (const t of plan.tensors) need(t.arena, plan.arenas.length, `tensor ${t.name}: arena`);
  for (const [name, i] of [...Object.entries(plan.inputs), ...Object.entries(plan.outputs)]) need(i, plan.tensors.length, `${name}: tensor`);
  const each = (steps: readonly PlanStep[]): void => {
    for (const s of steps) {
      if (s.kind === "repeat") {
        each(s.steps);
        continue;
      }
      need(s.module, plan.modules.length, `step ${s.name}: module`);
      for (const a of s.arenas) need(a, plan.arenas.length, `step ${s.name}: arena`);
      for (const t of s.operands) need(t, plan.tensors.length, `step ${s.name}: tensor`);
      const m = plan.modules[s.module];
      if (m && (m.bindings.length !== s.arenas.length || m.operands.length !== s.operands.length))
        problems.push(`step ${s.name}: its module has ${m.bindings.length} bindings and ${m.operands.length} operands`);
    }
  };
  each(plan.steps);
  return problems;
}
