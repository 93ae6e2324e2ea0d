// Checks a manifest read from disk. In: parsed JSON. Out: a Manifest. Refuses another format version and any field that is
// missing or of another kind, naming its path.

import * as v from "valibot";
import { type Manifest, manifestVersion } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";

const size = v.pipe(v.number(), v.integer(), v.minValue(0));
const drop = { drop: v.number(), dropGroup: size };

const stream = v.variant("kind", [
  v.object({
    name: v.string(),
    id: size,
    kind: v.literal("text"),
    tokenizer: v.variant("kind", [v.object({ kind: v.literal("bytes") }), v.object({ kind: v.literal("ids") }), v.object({ kind: v.literal("bpe"), file: v.string() })]),
    vocab: size,
    beside: v.optional(v.boolean()),
  }),
  v.object({ name: v.string(), id: size, kind: v.literal("patches"), patch: size, height: size, width: size, channels: size, features: size, beside: v.optional(v.boolean()) }),
]);

const item = v.variant("kind", [
  v.object({ kind: v.literal("literal"), text: v.string(), id: size, stream: size, attributes: v.optional(v.record(v.string(), v.number())), ...drop }),
  v.object({ kind: v.literal("given"), field: v.string(), stream: v.string(), attributes: v.record(v.string(), v.number()), ...drop }),
  v.object({ kind: v.literal("beside"), field: v.string(), stream: v.string(), attributes: v.record(v.string(), v.number()), ...drop }),
  v.object({ kind: v.literal("predict"), field: v.string(), stream: v.string(), attributes: v.record(v.string(), v.number()), ...drop }),
]);

const init = v.variant("kind", [
  v.object({ kind: v.literal("zeros") }),
  v.object({ kind: v.literal("ones") }),
  v.object({ kind: v.literal("normal"), std: v.number() }),
  v.object({ kind: v.literal("uniform"), low: v.number(), high: v.number() }),
]);

const model = v.object({
  name: v.string(),
  streams: v.array(stream),
  tasks: v.array(v.object({ name: v.string(), id: size, fields: v.array(v.object({ name: v.string(), stream: v.string() })), items: v.array(item) })),
  attributes: v.array(v.object({ name: v.string(), fallback: v.number() })),
  processes: v.array(
    v.object({
      name: v.string(),
      stream: v.string(),
      kind: v.picklist(["diffusion", "flow"]),
      schedule: v.string(),
      predict: v.picklist(["noise", "velocity", "clean"]),
      levels: v.variant("kind", [v.object({ kind: v.literal("uniform") }), v.object({ kind: v.literal("logit_normal"), mean: v.number(), std: v.number() })]),
    }),
  ),
  samplers: v.array(v.object({ stream: v.string(), kind: v.string(), args: v.record(v.string(), v.number()) })),
  losses: v.array(v.object({ name: v.string(), kind: v.picklist(["next_token", "denoise"]), stream: v.string(), weight: v.string() })),
  mix: v.array(v.object({ task: v.string(), weight: v.number() })),
  train: v.object({
    optimizer: v.literal("adamw"),
    lr: v.number(),
    minLr: v.number(),
    warmup: size,
    steps: size,
    batch: size,
    accumulate: size,
    betas: v.tuple([v.number(), v.number()]),
    eps: v.number(),
    decay: v.number(),
    clip: v.number(),
    ema: v.number(),
    seed: size,
  }),
  parameters: v.array(
    v.object({
      path: v.string(),
      axes: v.array(v.object({ name: v.string(), size })),
      init,
      decay: v.boolean(),
      frozen: v.boolean(),
      offset: size,
      from: v.optional(v.string()),
      dense: v.optional(v.string()),
      experts: v.optional(size),
      alike: v.optional(v.boolean()),
      router: v.optional(v.boolean()),
      balance: v.optional(v.number()),
    }),
  ),
  parameterCount: size,
  decayed: size,
  routers: v.optional(
    v.array(
      v.object({
        path: v.string(),
        route: v.string(),
        learned: v.boolean(),
        experts: size,
        branches: v.array(v.string()),
        offset: size,
        losses: v.array(v.object({ name: v.string(), output: v.string() })),
      }),
    ),
  ),
  coupled: v.optional(v.string()),
  cache: v.union([v.object({ sound: v.literal(true) }), v.object({ sound: v.literal(false), reason: v.string(), keep: v.optional(v.record(v.string(), size)) })]),
  maxTokens: v.optional(size),
});

const intExpr: v.GenericSchema<unknown> = v.union([v.number(), v.string(), v.object({ op: v.string(), a: v.lazy(() => intExpr), b: v.lazy(() => intExpr) })]);

const manifest = v.object({
  format: v.literal(manifestVersion),
  heddle: v.string(),
  model,
  states: v.array(
    v.object({
      name: v.string(),
      dtype: v.picklist(["f32", "f16", "i32", "u32"]),
      size: intExpr,
      fields: v.array(v.object({ name: v.string(), shape: v.array(size), axes: v.array(v.string()), offset: size })),
    }),
  ),
  programs: v.array(v.object({ name: v.picklist(["forward", "loss", "grad", "accumulate", "finish", "apply", "step", "denoise", "beside"]), file: v.string(), sha256: v.string() })),
  files: v.array(v.object({ name: v.string(), sha256: v.string(), bytes: size })),
  weights: v.optional(v.string()),
  peak: v.array(v.object({ program: v.string(), lengths: v.record(v.string(), v.number()), bytes: intExpr })),
});

/** `place` is the file, for errors. */
export function parseManifest(text: string, place: string): Manifest {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new HeddleError({ code: "E0572", message: "the manifest is not JSON", place, help: "build the bundle again with `heddle build`", cause });
  }
  const format = typeof data === "object" && data !== null && "format" in data ? data.format : undefined;
  if (format !== undefined && format !== manifestVersion)
    throw new HeddleError({ code: "E0572", message: `the bundle has format ${String(format)}, this Heddle reads format ${manifestVersion}`, place, help: "build the bundle again with this version" });
  const result = v.safeParse(manifest, data);
  if (result.success) return result.output as Manifest;
  const issue = result.issues[0];
  const path = issue ? (v.getDotPath(issue) ?? "") : "";
  throw new HeddleError({ code: "E0572", message: `the manifest is not sound${path === "" ? "" : ` at \`${path}\``}: ${issue?.message ?? "unknown"}`, place, help: "build the bundle again with `heddle build`" });
}
