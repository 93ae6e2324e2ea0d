// Every mask of the library, in the spec of docs/masks that shows it: generation through the cache is the whole sequence, by the meaning
// of the graphs. Masks that look ahead are among them.

import { readdirSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { checkSpec } from "../../cli/spec.ts";
import { compareTask, randomRequests } from "./compare.ts";
import { meaningOf, ROUNDING, specOf } from "./meaning.ts";

const folder = path.resolve(import.meta.dirname, "../../docs/masks");

test.each(readdirSync(folder).filter((f) => f.endsWith(".heddle")))("%s", async (file) => {
  const { models, diagnostics } = checkSpec(path.join(folder, file));
  if (models.length === 0) throw new Error(diagnostics.map((d) => d.message).join("\n"));
  for (const model of models) {
    const spec = specOf(model);
    const backend = meaningOf(model, spec);
    for (const task of spec.tasks) {
      const { worst, where, logits, denoised } = await compareTask(spec, backend, task.name, randomRequests(spec, task.name, [5, 0]));
      expect(worst, where).toBeLessThan(ROUNDING);
      expect(logits + denoised).toBeGreaterThan(0);
    }
  }
});
