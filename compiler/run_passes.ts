// Runs the list of passes.ts over one graph. In: a Graph. Out: the scheduled Program.
// Verifies after every pass and throws at the first that breaks its contract, naming pass and program: that is a bug of the
// compiler, never of the spec. An observer sees every stage, for `explain --dump` and goldens.

import type { Graph } from "./graph/graph.ts";
import type { Program } from "./kernel/kernel.ts";
import { graphPasses, type Pass, type PassOptions, programPasses, schedulePass } from "./passes.ts";

export interface Observer {
  /** `print` is lazy: printing costs. */
  stage(program: string, pass: string, print: () => string): void;
}

export function runPasses(graph: Graph, options: PassOptions, observer?: Observer): Program {
  const step = <In, Out>(pass: Pass<In, Out>, value: In): Out => {
    const out = pass.run(value, options);
    observer?.stage(graph.name, pass.name, () => pass.print(out));
    const problems = pass.verify(out, options);
    if (problems.length > 0) throw new Error(`after pass ${pass.name} of ${graph.name}: ${problems.slice(0, 5).join("; ")}`);
    return out;
  };
  const lowered = graphPasses.reduce((g, p) => step(p, g), graph);
  return programPasses.reduce((p, pass) => step(pass, p), step(schedulePass, lowered));
}
