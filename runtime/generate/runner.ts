// The engine's view of a Machine: caches for its rows, and the `step` and `denoise` programs at the lengths of a table.

import type { Machine } from "../exec/machine.ts";
import type { HostArray } from "../exec/states.ts";
import type { StepRunner } from "./engine.ts";

export function stepRunner(machine: Machine): StepRunner {
  let slots = 0;
  return {
    begin(rows, capacity) {
      slots = capacity;
      machine.allocateCaches(rows, slots);
    },
    keep(rows) {
      machine.keepCacheRows(rows, slots);
    },
    async beside({ lengths, values }) {
      if (!machine.has("beside")) return;
      machine.allocateBeside(lengths);
      const bound = await machine.bind("beside", lengths);
      const { inputs } = bound.program.plan;
      bound.write(Object.fromEntries(Object.entries(values).filter(([n]) => n in inputs)));
      await machine.submit([bound], []);
    },
    async run(program, table, values, wanted): Promise<Record<string, HostArray>> {
      const bound = await machine.bind(program, { ...table.lengths, spare: slots - (table.lengths.s ?? 0) });
      const inputs = bound.program.plan.inputs;
      bound.write(Object.fromEntries(Object.entries(values).filter(([n]) => n in inputs)));
      return machine.submit([bound], wanted);
    },
  };
}
