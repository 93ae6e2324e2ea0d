// Learned tensors as data: what `param w[d, h] ~ normal(std: 0.02)` declares, once a layer has been made.

import type { Span } from "../../grammar/source.ts";
import type { Dim } from "../dim/dim.ts";

export interface NamedSize {
  readonly name: string;
  readonly size: Dim;
  readonly span: Span;
}

export type Init =
  | { readonly kind: "zeros" | "ones" }
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "uniform"; readonly low: number; readonly high: number };

/** A learned tensor. Its state in a graph is called `params/<path>`. */
export interface Parameter {
  /** `body[3].attn.wq` */
  readonly path: string;
  /** In memory order. Sizes are constants. */
  readonly axes: readonly NamedSize[];
  readonly init: Init;
  /** Weight decay: matrices yes; vectors, norms, biases and embeddings no. */
  readonly decay: boolean;
  readonly frozen: boolean;
  /** Frozen with all of the layer or branch that it is in, not by itself. */
  readonly frozenWithin?: boolean;
  /** Starts with the values of the parameter of this path: an expert that begins as a copy of another. */
  readonly from?: string;
  /** The path without names of branches: what the weight is called in a model that does not route here (upcycling). */
  readonly dense?: string;
  /** Axes that count experts of routers, outermost first; they lead `axes`. */
  readonly experts?: readonly string[];
  /** All experts along those axes start with the values of the first (upcycling). */
  readonly alike?: boolean;
  /** Part of a router: a model without experts has no such weight. */
  readonly router?: boolean;
  /** Moved after each step by the load of the experts at this rate, instead of by a gradient (DeepSeek-V3). */
  readonly balance?: number;
  readonly span: Span;
}

/** A weight declared as `param w[…] = other.w`: it has no state of its own. */
export interface Tie {
  readonly path: string;
  readonly to: string;
  readonly span: Span;
}
