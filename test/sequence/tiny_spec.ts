// A ModelSpec by hand, small enough to check by eye: byte text and 4 x 4 images in four patches, two tasks. No compiler.

import type { ModelSpec, TaskItem } from "../../compiler/plan/manifest.ts";
import type { FieldValue } from "../../runtime/sequence/layout.ts";

export const ID = { bos: 256, boi: 257, eoi: 258, eos: 259 } as const;

const literal = (name: keyof typeof ID): TaskItem => ({ kind: "literal", text: `<${name}>`, id: ID[name], stream: 0, drop: 0, dropGroup: 0 });
export const item = (kind: "given" | "predict", stream: string, field: string, drop = 0, dropGroup = 0, attributes: Record<string, number> = {}): TaskItem => ({ kind, stream, field, attributes, drop, dropGroup });
const fields = [
  { name: "caption", stream: "text" },
  { name: "picture", stream: "image" },
];

export const tinySpec: ModelSpec = {
  name: "tiny",
  streams: [
    { name: "text", id: 0, kind: "text", tokenizer: { kind: "bytes" }, vocab: 256 },
    { name: "image", id: 1, kind: "patches", patch: 2, height: 4, width: 4, channels: 1, features: 4 },
  ],
  tasks: [
    { name: "draw", id: 0, fields, items: [literal("bos"), item("given", "text", "caption", 0.25), literal("boi"), item("predict", "image", "picture"), literal("eoi")] },
    { name: "describe", id: 1, fields, items: [literal("bos"), literal("boi"), item("given", "image", "picture"), literal("eoi"), item("predict", "text", "caption"), literal("eos")] },
    { name: "both", id: 2, fields, items: [literal("bos"), literal("boi"), item("predict", "image", "picture"), literal("eoi"), item("predict", "text", "caption"), literal("eos")] },
  ],
  attributes: [],
  processes: [{ name: "noising", stream: "image", kind: "flow", schedule: "linear", predict: "velocity", levels: { kind: "uniform" } }],
  samplers: [
    { stream: "text", kind: "greedy", args: {} },
    { stream: "image", kind: "euler", args: { steps: 8, guidance: 1, clip: 0 } },
  ],
  losses: [
    { name: "next_token_text", kind: "next_token", stream: "text", weight: "1" },
    { name: "denoise_image", kind: "denoise", stream: "image", weight: "5" },
  ],
  mix: [
    { task: "draw", weight: 3 },
    { task: "describe", weight: 1 },
  ],
  train: { optimizer: "adamw", lr: 1, minLr: 0.1, warmup: 10, steps: 110, batch: 4, accumulate: 1, betas: [0.9, 0.95], eps: 1e-8, decay: 0.1, clip: 1, ema: 0.99, seed: 5 },
  parameters: [],
  parameterCount: 0,
  decayed: 0,
  cache: { sound: true },
};

export const text = (t: string): FieldValue => ({ kind: "ids", ids: new TextEncoder().encode(t) });

/** Four patches of four numbers, all different. */
export const picture = (first = 0): FieldValue => ({ kind: "features", data: Float32Array.from({ length: 16 }, (_, i) => first + i / 16) });
