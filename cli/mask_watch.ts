// Watches the samples of a run for what the compiler could not decide about its masks: the first of every task, and every one that is
// longer than those before. In: a checked Model, samples as they are laid out. Out: diagnostics, each once. A proven mask costs nothing.

import { checkBatch, openTasks } from "../compiler/mask/check_batch.ts";
import type { SampleTable } from "../compiler/mask/sample.ts";
import type { Model } from "../compiler/types/model.ts";
import type { Diagnostic } from "../grammar/diagnostic.ts";

export class MaskWatch {
  readonly #model: Model;
  readonly #open: ReadonlySet<string>;
  readonly #longest = new Map<string, number>();
  readonly #said = new Set<string>();
  /** Samples looked at so far: few, whatever the length of the run. */
  looked = 0;

  constructor(model: Model) {
    this.#model = model;
    this.#open = openTasks(model);
  }

  look(samples: readonly SampleTable[]): Diagnostic[] {
    const longest = new Map<string, SampleTable>();
    for (const s of samples) {
      if (!this.#open.has(s.task) || s.count <= (longest.get(s.task)?.count ?? this.#longest.get(s.task) ?? 0)) continue;
      longest.set(s.task, s);
    }
    for (const [task, s] of longest) this.#longest.set(task, s.count);
    if (longest.size === 0) return [];
    this.looked += longest.size;
    return checkBatch(this.#model, [...longest.values()]).filter((d) => {
      const at = d.labels.find((l) => l.primary)?.span;
      const key = `${d.code} ${at?.source}:${at?.start}`;
      return !this.#said.has(key) && this.#said.add(key);
    });
  }
}
