// THE list of passes: how one graph becomes a plan. Nothing else orders passes.
// The runner (run_passes.ts) verifies after each, keeps what `explain` and `--dump` print, and stops at the first failure.

import { forwardFirst, rematerialise } from "./autodiff/remat.ts";
import type { Graph } from "./graph/graph.ts";
import { printGraph } from "./graph/print.ts";
import { rewrite } from "./graph/rewrite.ts";
import { allRules } from "./graph/rules/all.ts";
import { verifyGraph } from "./graph/verify.ts";
import { templates } from "./kernel/all_templates.ts";
import type { Program, Target } from "./kernel/kernel.ts";
import { mergeDispatches } from "./kernel/merge.ts";
import { printProgram } from "./kernel/print.ts";
import { scheduleGraph } from "./kernel/schedule.ts";
import { verifyProgram } from "./kernel/verify.ts";

export interface PassOptions {
  readonly target: Target;
  /** Recompute each block's forward values in the backward pass instead of keeping them. */
  readonly remat: boolean;
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
  { name: "remat", run: (g, o) => (o.remat ? rematerialise(g) : forwardFirst(g)), ...onGraph },
];

/** Graph to kernels. */
export const schedulePass: Pass<Graph, Program> = {
  name: "fuse",
  run: (g, o) => scheduleGraph(g, o.target, templates),
  ...onProgram,
};

/** Kernels to kernels, in order. */
export const programPasses: readonly Pass<Program, Program>[] = [{ name: "merge", run: (p, o) => mergeDispatches(p, o.target), ...onProgram }];
