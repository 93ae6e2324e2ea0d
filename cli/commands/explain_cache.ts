// heddle explain cache: whether keys and values can be kept while generating, what is kept where not everything can, and their bytes.

import type { CompiledModel } from "../../compiler/compile.ts";
import { cacheSoundness, keptText } from "../../compiler/mask/soundness.ts";
import { evalInt } from "../../compiler/plan/expr.ts";
import { elementBytes } from "../../compiler/plan/plan.ts";
import type { Model } from "../../compiler/types/model.ts";
import { besideLength } from "../../compiler/types/streams.ts";

export function cacheText(model: Model, compiled: CompiledModel, batch: number, tokens: number): string {
  const sound = cacheSoundness(model);
  const kept = sound.sound ? undefined : keptText(model, sound.keep);
  const what = sound.sound ? "keys and values of committed tokens can be kept: no committed token ever attends to a later one"
    : kept ? `not everything can be kept: ${sound.reason}; ${kept}` : `nothing can be kept: ${sound.reason}`;
  const one = { batch: 1, s: 1, spare: 0, ...Object.fromEntries(model.streams.map((s) => [besideLength(s.name), 1])) };
  const bytes = (kind: string): number => compiled.states.filter((s) => s.name.startsWith(kind)).reduce((n, s) => n + evalInt(s.size, one) * elementBytes(s.dtype), 0);
  const [each, beside] = [bytes("cache."), bytes("beside.")];
  const rows = `${each} bytes a token: ${batch} rows of ${tokens} tokens take ${((each * batch * tokens) / 2 ** 20).toFixed(2)} MiB`;
  return `${what}\n${rows}${beside > 0 ? `; ${beside} bytes a token beside the sequence` : ""}`;
}
