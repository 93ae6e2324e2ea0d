// In: a program. Out: which tensors its steps touch and, for temps, the first and last step that does. Steps are counted
// flat, a repeat's steps once; whatever a repeat touches lives through all of it, because its steps run again.

import type { Dispatch, Program, ProgramStep } from "./kernel.ts";

export interface Access {
  readonly reads: ReadonlySet<string>;
  readonly writes: ReadonlySet<string>;
}

/** Tensors one dispatch reads and writes. */
export function dispatchAccess(d: Dispatch): Access {
  const reads = new Set<string>();
  const writes = new Set<string>();
  for (const op of d.kernel.operands) {
    const tensor = d.bind[op.name];
    if (tensor === undefined) throw new Error(`kernel ${d.kernel.name}: operand ${op.name} is bound to nothing`);
    if (op.access !== "write") reads.add(tensor);
    if (op.access !== "read") writes.add(tensor);
  }
  return { reads, writes };
}

/** Tensors that a step, with all steps inside it, reads and writes. */
export function stepAccess(s: ProgramStep): Access {
  if (s.kind === "dispatch") return dispatchAccess(s.dispatch);
  const reads = new Set<string>();
  const writes = new Set<string>();
  for (const inner of s.steps.map(stepAccess)) {
    for (const t of inner.reads) reads.add(t);
    for (const t of inner.writes) writes.add(t);
  }
  return { reads, writes };
}

/** Every tensor that is touched or handed out. */
export function touched(program: Program): Set<string> {
  const all = new Set(Object.values(program.outputs));
  for (const s of program.steps) {
    const { reads, writes } = stepAccess(s);
    for (const t of [...reads, ...writes]) all.add(t);
  }
  return all;
}

const countSteps = (s: ProgramStep): number => (s.kind === "dispatch" ? 1 : s.steps.reduce((n, x) => n + countSteps(x), 0));

/** First and last flat step of every tensor; one that is handed out lives to the end. */
export function liveRanges(program: Program): Map<string, readonly [number, number]> {
  const live = new Map<string, readonly [number, number]>();
  let at = 0;
  for (const s of program.steps) {
    const last = at + Math.max(0, countSteps(s) - 1);
    const { reads, writes } = stepAccess(s);
    for (const t of [...reads, ...writes]) live.set(t, [live.get(t)?.[0] ?? at, last]);
    at = last + 1;
  }
  for (const t of Object.values(program.outputs)) {
    const range = live.get(t);
    if (range) live.set(t, [range[0], Math.max(range[1], at)]);
  }
  return live;
}
