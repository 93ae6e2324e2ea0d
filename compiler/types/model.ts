// The checked meaning of one `model` or `variant`: every name resolved, every size known, defaults filled in.
// Plain data apart from `network`, which holds layers that elaborate.ts can run on any graph builder.
// Made by compiler/check.ts; read by lowering, mask analysis, `explain` and bundles. Nothing here has an error left in it.

import type { Diagnostic } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/source.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import type { Clause } from "./clause.ts";
import type { NamedSize, Parameter, Tie } from "./parameter.ts";
import type { LayerValue, Scope } from "./values.ts";

/** A constant of the model: a parameter after defaults and overrides. */
export interface Constant {
  readonly name: string;
  readonly value: number | boolean | string;
  readonly span: Span;
}

export type TokenizerSpec =
  /** UTF-8 bytes: 256 ids. */
  | { readonly kind: "bytes" }
  /** Ids as they come; the data holds numbers. */
  | { readonly kind: "ids"; readonly vocab: number }
  | { readonly kind: "bpe"; readonly file: string }
  /** Square patches of an image, row by row; features in the order (y, x, channel). */
  | { readonly kind: "patches"; readonly patch: number; readonly height: number; readonly width: number; readonly channels: number }
  /** Parsed and checked, not built yet: `codes`, `latents`, `features`, `mel`, `queries`, … */
  | { readonly kind: "other"; readonly name: string };

export interface Stream {
  readonly name: string;
  /** Position in `Model.streams`; what the token attribute `stream` holds. Literal tokens carry the id of the first text stream. */
  readonly id: number;
  readonly kind: "text" | "continuous" | "codes" | "queries";
  readonly tokenizer: TokenizerSpec;
  /** Ids of the tokenizer, without literals; 0 for a continuous stream. */
  readonly vocab: number;
  /** `text.vocab`, with the literals in the first text stream, or `image.features`: the axis that embed takes and head gives. */
  readonly axis: NamedSize;
  /** Its tokens lie in a row of their own beside the sequence, as long as `dimVar(besideLength(name))`; attention reaches it as keys. */
  readonly beside: boolean;
  /** Tokens of one item where that is fixed (patches of an image). */
  readonly count?: number;
  readonly span: Span;
}

/** A literal token such as `<boi>`; ids follow the vocabulary of the first text stream. */
export interface Special {
  readonly name: string;
  readonly id: number;
  readonly span: Span;
}

export interface TaskField {
  readonly name: string;
  readonly stream: string;
  readonly span: Span;
}

/** A field of a task where it is laid out. */
interface Segment {
  readonly stream: string;
  readonly field: string;
  /** Probability that training leaves the item out (classifier-free guidance); items of one group go together. */
  readonly drop: number;
  /** 0 where the item is dropped by itself, else the number of its group, from 1. */
  readonly dropGroup: number;
  /** Values of declared attributes. */
  readonly attributes: Readonly<Record<string, number>>;
  readonly span: Span;
}

export type TaskItem =
  | { readonly kind: "literal"; readonly name: string; readonly id: number; readonly drop: number; readonly dropGroup: number; readonly attributes?: Readonly<Record<string, number>>; readonly span: Span }
  | (Segment & { readonly kind: "given" | "predict" })
  /** In the stream's own row of tokens, beside the sequence. */
  | (Segment & { readonly kind: "beside" })
  /** Not built yet. */
  | { readonly kind: "repeat"; readonly items: readonly TaskItem[]; readonly span: Span };

export interface Task {
  readonly name: string;
  /** What the token attribute `task` holds. */
  readonly id: number;
  readonly fields: readonly TaskField[];
  readonly items: readonly TaskItem[];
  readonly span: Span;
}

/** A token attribute that the model declares with `attribute`. */
export interface Attribute {
  readonly name: string;
  /** What tokens hold where a task sets nothing. */
  readonly fallback: number;
  /** Worked out from the token's other attributes, as leaves of side q; it has no column of its own, and no task sets it. */
  readonly formula?: ScalarExpr;
  readonly span: Span;
}

/** A mask or a score after compilation: reads attr leaves `q.pos`, `k.stream`, …; a score also the name `s` (f32). */
export interface Predicate {
  readonly expr: ScalarExpr;
  readonly text: string;
  readonly span: Span;
  /** How a mask was put together, for reports. */
  readonly clause?: Clause;
}

/** One attention of the network, found while it was checked. */
export interface Attention {
  readonly path: string;
  /** Its number among the attentions of the body, in the order of application, from 0: what `layer` is in its mask and score. */
  readonly layer: number;
  /** How many heads; `mask.expr` may read the name `head` (i32, 0 .. heads - 1). `layer` is a number in it by now. */
  readonly heads: number;
  /** Numbers of a query and a key, and of a value, a head: what a pair of tokens costs. */
  readonly width: number;
  readonly valueWidth: number;
  readonly mask: Predicate | null;
  readonly score: Predicate | null;
  /** Inside a branch of a route: the tokens (side q) whose result is used. Absent: all. */
  readonly rows?: ScalarExpr;
  readonly span: Span;
}

/** An attention to the tokens of a stream beside the sequence. */
export interface CrossAttention extends Attention {
  /** The stream whose tokens look; null for those of the sequence. */
  readonly queries: string | null;
  readonly keys: string;
}

/** One op through which tokens come to know of each other, where it is applied; see flow.ts. */
export interface Step {
  /** Who sees whom, as the graph has it; `head` may stand in it by name. Undefined: every token sees every other. */
  readonly mask: ScalarExpr | undefined;
  readonly heads: number;
  /** The attention of the Model; undefined for an op that mixes tokens. */
  readonly attention: Attention | undefined;
  /** The router that this op is part of, where its experts choose among all tokens. */
  readonly router?: RoutedLayer;
  /** Earlier steps whose results this one reads, without those that one of them has read already. */
  readonly after: readonly number[];
  readonly span: Span | undefined;
}

/** A layer under a route or a router, where the network applies it. */
export interface RoutedLayer {
  /** `body[3].ffn`. */
  readonly path: string;
  /** Name of the route or router. */
  readonly route: string;
  /** How tokens come to experts. */
  readonly dispatch: "route" | "top" | "pick" | "expert_choice" | "soft";
  readonly experts: number;
  /** Names of the branches of a route; empty for a router. */
  readonly branches: readonly string[];
  /** Experts of each token; null where that is not one number. */
  readonly choices: number | null;
  /** In training an expert takes at most this many times its even share of rows. */
  readonly capacity?: number;
  /** Where a token goes depends on other tokens of the sample. */
  readonly couples: boolean;
  readonly span: Span;
  /** The router itself: the path of its parts, and where it is made. Absent for routes. */
  readonly router?: { readonly path: string; readonly span: Span };
  /** Inside a branch of a route: the tokens (side q) that come here. Absent: all. */
  readonly rows?: ScalarExpr;
}

export interface Process {
  readonly name: string;
  readonly stream: string;
  readonly kind: "diffusion" | "flow" | "other";
  /** diffusion: cosine | linear; flow: linear. */
  readonly schedule: string;
  readonly predict: "noise" | "velocity" | "clean";
  /** How training draws the level (0 is clean, 1 is noise alone). */
  readonly levels: { readonly kind: "uniform" } | { readonly kind: "logit_normal"; readonly mean: number; readonly std: number };
  readonly span: Span;
}

export interface LossTerm {
  /** As `next_token(text)`. */
  readonly name: string;
  readonly kind: "next_token" | "denoise";
  readonly stream: string;
  /** f32; a constant, or an expression over the name `step` (f32). */
  readonly weight: ScalarExpr;
  readonly span: Span;
}

export interface MixEntry {
  readonly task: string;
  readonly weight: number;
  readonly span: Span;
}

export interface Sampler {
  readonly stream: string;
  /** text: greedy, temperature, top_k, nucleus; continuous: ddim, euler, heun. */
  readonly kind: string;
  readonly args: Readonly<Record<string, number>>;
  readonly span: Span;
}

export interface TrainSettings {
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

export interface NetworkLayers {
  /** By stream: ids [t] i32, or features [t, stream.features] f32, to [t, width]. */
  readonly embed: ReadonlyMap<string, LayerValue>;
  readonly body: LayerValue;
  /** By stream: [t, width] to [t, text.vocab] or [t, image.features]. */
  readonly head: ReadonlyMap<string, LayerValue>;
  /** The axis that embed gives and head takes. */
  readonly width: NamedSize;
  /** Text streams whose head is one weight and nothing else, so that logits need never exist. */
  readonly plainHeads: ReadonlyMap<string, PlainHead>;
  /** Names of the model, which masks made while a layer is applied may use. */
  readonly scope: Scope;
}

export interface PlainHead {
  /** State `params/<path>`, axes from and vocab. */
  readonly parameter: string;
  readonly from: string;
  readonly vocab: string;
}

export interface Model {
  readonly name: string;
  readonly doc: string;
  readonly span: Span;
  /** Path of the file. */
  readonly source: string;
  readonly axes: readonly NamedSize[];
  readonly constants: readonly Constant[];
  readonly streams: readonly Stream[];
  readonly specials: readonly Special[];
  readonly tasks: readonly Task[];
  readonly attributes: readonly Attribute[];
  readonly mask: Predicate | null;
  readonly score: Predicate | null;
  readonly attentions: readonly Attention[];
  /** Attentions whose keys are a row of tokens beside the sequence. */
  readonly crossAttentions: readonly CrossAttention[];
  /** The attentions as they are applied, one after or beside the other: what can reach what. */
  readonly flow: readonly Step[];
  /** Layers under routes and routers, in the order of application. */
  readonly routed: readonly RoutedLayer[];
  readonly processes: readonly Process[];
  readonly network: NetworkLayers;
  readonly losses: readonly LossTerm[];
  readonly mix: readonly MixEntry[];
  readonly samplers: readonly Sampler[];
  readonly train: TrainSettings;
  /** In a fixed order: embed, body, head, each in the order of the text. */
  readonly parameters: readonly Parameter[];
  readonly ties: readonly Tie[];
  /** Token attributes that masks, scores, layers or rope read, sorted: lowering provides these and no others. */
  readonly reads: readonly string[];
  /** Longest sequence where a learned table of positions bounds it. */
  readonly maxTokens?: number;
  /** Everything that checks but does not lower yet; lowering refuses a model where this is not empty. */
  readonly notBuilt: readonly Diagnostic[];
}
