// First values of the parameters, from the seed alone: parameter i draws from Philox stream i, whatever the others do.

import type { ModelSpec } from "../../compiler/plan/manifest.ts";
import { normalAt, uniformAt } from "../random/philox.ts";

/** The whole `params` buffer; gaps between parameters are zero. */
export function initialParameters(spec: ModelSpec, seed: number): Float32Array {
  const all = new Float32Array(spec.parameterCount);
  spec.parameters.forEach((p, stream) => {
    const size = p.axes.reduce((n, a) => n * a.size, 1);
    const { init } = p;
    const value = (n: number): number => {
      switch (init.kind) {
        case "zeros": return 0;
        case "ones": return 1;
        case "normal": return init.std * normalAt(n, stream, seed, 0);
        case "uniform": return init.low + (init.high - init.low) * uniformAt(n, stream, seed, 0);
      }
    };
    for (let n = 0; n < size; n++) all[p.offset + n] = value(n);
  });
  return all;
}
