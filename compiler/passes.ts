// THE list of passes: how one graph becomes a plan. Nothing else orders passes.
// The runner (run_passes.ts) verifies after each, keeps what `explain` and `--dump` print, and stops at the first failure.

import { forwardFirst, rematerialise } from "./autodiff/remat.ts";
import type { Graph } from "./graph/graph.ts";
import { narrowAttention } from "./graph/narrow.ts";
import { printGraph } from "./graph/print.ts";
import { rewrite } from "./graph/rewrite.ts";
import { allRules } from "./graph/rules/all.ts";
import { sumByClass } from "./graph/sum_by_class.ts";
import { verifyGraph } from "./graph/verify.ts";
import { templates } from "./kernel/all_templates.ts";
import type { Program, Target } from "./kernel/kernel.ts";
import { mergeDispatches } from "./kernel/merge.ts";
import { printProgram } from "./kernel/print.ts";
import { scheduleGraph } from "./kernel/schedule.ts";
import { verifyProgram } from "./kernel/verify.ts";

/** How attention's operands, and the cache of keys and values, are stored. All arithmetic is f32. */
export type Precision = "f32" | "f16";

export interface PassOptions {
  readonly target: Target;
  /** Recompute each block's forward values in the backward pass instead of keeping them. */
  readonly remat: boolean;
  /** Default f32. */
  readonly precision?: Precision;
}

export interface Pass<In, Out> {
  readonly name: string;
  run(value: In, options: PassOptions): Out;
  /** Problems, in words; empty when sound. */
  verify(value: Out, options: PassOptions): readonly string[];
  print(value: Out): string;
}

const onGraph = { verify: (g: Graph): readonly string[] => verifyGraph(g).map((p) => p.message), print: (g: Graph): string => printGraph(g) };
const onProgram = { verify: (p: Program, o: PassOptions): readonly string[] => verifyProgram(p, o.target), print: printProgram };

/** Graph to graph, in order. */
export const graphPasses: readonly Pass<Graph, Graph>[] = [
  { name: "lower", run: (g) => g, ...onGraph },
  { name: "rewrite", run: (g) => rewrite(g, allRules), ...onGraph },
  { name: "sums", run: sumByClass, ...onGraph },
  { name: "remat", run: (g, o) => (o.remat ? rematerialise(g) : forwardFirst(g)), ...onGraph },
  // Attention's kernel both reads f16 and would write it: where halves share words that would make its reads atomic.
  { name: "narrow", run: (g, o) => (o.precision === "f16" ? narrowAttention(g, { results: o.target.f16 }) : g), ...onGraph },
];

/** Graph to kernels. */
export const schedulePass: Pass<Graph, Program> = {
  name: "fuse",
  run: (g, o) => scheduleGraph(g, o.target, templates),
  ...onProgram,
};

/** Kernels to kernels, in order. */
export const programPasses: readonly Pass<Program, Program>[] = [{ name: "merge", run: (p, o) => mergeDispatches(p, o.target), ...onProgram }];
