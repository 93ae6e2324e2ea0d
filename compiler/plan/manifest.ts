// What a bundle says about its model, as plain JSON: enough for the runtime to lay out sequences, corrupt, sample and train
// without the compiler. Imports only plan/plan.ts.

import type { IntExpr } from "./expr.ts";
import type { StateBuffer } from "./plan.ts";

export const manifestVersion = 1;

export interface TextStream {
  readonly name: string;
  readonly id: number;
  readonly kind: "text";
  readonly tokenizer: { readonly kind: "bytes" } | { readonly kind: "ids" } | { readonly kind: "bpe"; readonly file: string };
  /** Ids of the tokenizer; literals of the tasks come after them. */
  readonly vocab: number;
  /** Its tokens lie in a row of their own beside the sequence. */
  readonly beside?: boolean;
}

export interface PatchStream {
  readonly name: string;
  readonly id: number;
  readonly kind: "patches";
  readonly patch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Numbers of one patch: patch * patch * channels. */
  readonly features: number;
  readonly beside?: boolean;
}

export type StreamSpec = TextStream | PatchStream;

/** drop: probability that training leaves the item out; items of one dropGroup (from 1) go together, 0 goes by itself. */
interface Droppable {
  readonly drop: number;
  readonly dropGroup: number;
}

interface Segment extends Droppable {
  readonly field: string;
  readonly stream: string;
  /** Values of attributes that the model declares. */
  readonly attributes: Readonly<Record<string, number>>;
}

export type TaskItem =
  | (Droppable & { readonly kind: "literal"; readonly text: string; readonly id: number; readonly stream: number; readonly attributes?: Readonly<Record<string, number>> | undefined })
  | (Segment & { readonly kind: "given" | "predict" })
  /** In the stream's own row of tokens, beside the sequence. */
  | (Segment & { readonly kind: "beside" });

export interface TaskSpec {
  readonly name: string;
  readonly id: number;
  readonly fields: readonly { readonly name: string; readonly stream: string }[];
  readonly items: readonly TaskItem[];
}

/** level 0 is clean, level 1 is noise alone. noisy = a(level) * clean + b(level) * noise. */
export interface ProcessSpec {
  readonly name: string;
  readonly stream: string;
  readonly kind: "diffusion" | "flow";
  /** diffusion: cosine | linear; flow: linear. */
  readonly schedule: string;
  readonly predict: "noise" | "velocity" | "clean";
  /** How training draws the level: uniform, or logit_normal(mean, std). */
  readonly levels: { readonly kind: "uniform" } | { readonly kind: "logit_normal"; readonly mean: number; readonly std: number };
}

export interface SamplerSpec {
  readonly stream: string;
  /** text: greedy, nucleus, top_k, temperature; continuous: ddim, euler, heun. */
  readonly kind: string;
  readonly args: Readonly<Record<string, number>>;
}

export interface LossSpec {
  readonly name: string;
  readonly kind: "next_token" | "denoise";
  readonly stream: string;
  /** As written, for people; the training programs hold the meaning. */
  readonly weight: string;
}

export interface TrainSpec {
  readonly optimizer: "adamw";
  readonly lr: number;
  readonly minLr: number;
  readonly warmup: number;
  readonly steps: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly decay: number;
  readonly clip: number;
  /** EMA decay; 0 for none. */
  readonly ema: number;
  readonly seed: number;
}

export interface ParameterSpec {
  /** Model path, also the field's name in the `params` state. */
  readonly path: string;
  readonly axes: readonly { readonly name: string; readonly size: number }[];
  readonly init: { readonly kind: "zeros" | "ones" } | { readonly kind: "normal"; readonly std: number } | { readonly kind: "uniform"; readonly low: number; readonly high: number };
  readonly decay: boolean;
  readonly frozen: boolean;
  readonly offset: number;
  /** Starts as a copy of the parameter of this path. */
  readonly from?: string;
  /** The path without names of branches: what a model that does not route here calls it. */
  readonly dense?: string;
  /** So many axes, the leading ones, count experts. */
  readonly experts?: number;
  /** All experts start as the first. */
  readonly alike?: boolean;
  /** A router's own. */
  readonly router?: boolean;
  /** Moved by the load of experts at this rate, not by a gradient. */
  readonly balance?: number;
}

/** A routed layer, in the order of application, and where the training programs' output `routing` holds its counts of rows. */
export interface RouterSpec {
  /** The routed layer: `body[3].ffn`. */
  readonly path: string;
  /** Name of the route or router. */
  readonly route: string;
  readonly learned: boolean;
  readonly experts: number;
  /** Names of the branches of a route; empty for a router. */
  readonly branches: readonly string[];
  /** `routing[offset + e]` is how many rows went to expert e, `routing[offset + experts]` how many wanted one. */
  readonly offset: number;
  /** Terms that it adds to the loss, and the outputs that hold them, weighted. */
  readonly losses: readonly { readonly name: string; readonly output: string }[];
}

export interface ModelSpec {
  readonly name: string;
  readonly streams: readonly StreamSpec[];
  readonly tasks: readonly TaskSpec[];
  /** Token attributes that the model declares, with the value where a task sets none. */
  readonly attributes: readonly { readonly name: string; readonly fallback: number }[];
  readonly processes: readonly ProcessSpec[];
  readonly samplers: readonly SamplerSpec[];
  readonly losses: readonly LossSpec[];
  readonly mix: readonly { readonly task: string; readonly weight: number }[];
  readonly train: TrainSpec;
  readonly parameters: readonly ParameterSpec[];
  /** Numbers of the params buffer; the first `decayed` are subject to weight decay. */
  readonly parameterCount: number;
  readonly decayed: number;
  /** Routed layers, where there are any. */
  readonly routers?: readonly RouterSpec[];
  /** Which expert a token goes to depends on the other tokens of its row, as the reason says: rows hold one sample each. */
  readonly coupled?: string;
  /** Whether generation may keep keys and values of committed tokens. When not: a reason, and how many items of each task, from its
   * first, it may keep all the same (none where a task is not named). */
  readonly cache: { readonly sound: true } | { readonly sound: false; readonly reason: string; readonly keep?: Readonly<Record<string, number>> | undefined };
  /** Longest sequence that the spec allows; undefined for no bound. */
  readonly maxTokens?: number;
}

/** Names of the programs a bundle may hold; `routing` is for `heddle explain` alone. `train` ones are left out of bundles made for inference alone. */
export type ProgramName = "forward" | "loss" | "grad" | "accumulate" | "finish" | "apply" | "step" | "denoise" | "beside" | "routing";

export interface Manifest {
  readonly format: number;
  readonly heddle: string;
  readonly model: ModelSpec;
  readonly states: readonly StateBuffer[];
  readonly programs: readonly { readonly name: ProgramName; readonly file: string; readonly sha256: string }[];
  readonly files: readonly { readonly name: string; readonly sha256: string; readonly bytes: number }[];
  readonly weights?: string;
  /** Peak bytes of one run of each program at the lengths named here. */
  readonly peak: readonly { readonly program: string; readonly lengths: Readonly<Record<string, number>>; readonly bytes: IntExpr }[];
}
