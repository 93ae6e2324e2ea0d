// In: a program. Out: the same program in fewer dispatches: q, k and v projections in one, dX and dW in one, small
// reductions along with them. A dispatch is joined by later ones that depend on nothing still to run, from a short window,
// so that values do not live much longer than they did. Repeats are merged inside and never moved across what they touch.

import { kernelProven } from "./bounds.ts";
import type { Dispatch, Program, ProgramStep, Target } from "./kernel.ts";
import { stepAccess } from "./memory.ts";
import { mergeKernels } from "./merge_kernels.ts";
import { arenaKey } from "./verify.ts";
import { eachStmt } from "./walk.ts";

export interface MergeLimits {
  /** Steps to look ahead. */
  readonly window: number;
  /** Dispatches in one. */
  readonly parts: number;
  /** Statements in one, unrolled loops counted as written: pipelines must stay quick to make. */
  readonly statements: number;
}

export const defaultMergeLimits: MergeLimits = { window: 12, parts: 6, statements: 3000 };

/** Merges independent dispatches where the target allows. */
export function mergeDispatches(program: Program, target: Target, limits: MergeLimits = defaultMergeLimits): Program {
  const tensors = new Map(program.tensors.map((t) => [t.name, t]));
  const arenaOf = (name: string): string => {
    const t = tensors.get(name);
    return t ? arenaKey(t) : name;
  };
  const aliases = aliasTable(program);
  const merge = (steps: readonly ProgramStep[], repeated: boolean): ProgramStep[] => {
    const needs = dependencies(steps, aliases);
    const done = new Set<number>();
    const out: ProgramStep[] = [];
    steps.forEach((head, i) => {
      if (done.has(i)) return;
      done.add(i);
      if (head.kind === "repeat") out.push({ ...head, steps: merge(head.steps, true) });
      else out.push({ kind: "dispatch", dispatch: join(steps, i, needs, done, repeated) });
    });
    return out;
  };
  /** The dispatch at `i` with all that may run beside it; marks what it takes as done. */
  const join = (steps: readonly ProgramStep[], i: number, needs: readonly ReadonlySet<number>[], done: Set<number>, repeated: boolean): Dispatch => {
    const head = steps[i];
    if (head?.kind !== "dispatch") throw new Error("only dispatches are joined");
    const before = new Set(done);
    before.delete(i);
    let parts: readonly Dispatch[] = [head.dispatch];
    let merged = head.dispatch;
    for (let j = i + 1, seen = 0; j < steps.length && seen < limits.window && parts.length < limits.parts; j++) {
      const next = steps[j];
      if (!next || done.has(j)) continue;
      seen++;
      if (next.kind === "repeat" || ![...(needs[j] ?? [])].every((k) => before.has(k))) continue;
      const wider = [...parts, next.dispatch];
      if (wider.reduce((n, d) => n + statements(d), 0) > limits.statements) continue;
      const together = mergeKernels(wider, target, arenaOf);
      if (!together) continue;
      // The sizes of a turn are positive only where it runs at all; a merged grid may no longer say so, and one kernel
      // without a proof costs the whole plan its trust.
      if (repeated && !kernelProven(together.kernel) && wider.every((d) => kernelProven(d.kernel))) continue;
      parts = wider;
      merged = together;
      done.add(j);
    }
    return merged;
  };
  return { ...program, steps: merge(program.steps, false) };
}

type AliasTable = ReadonlyMap<string, readonly string[]>;

/** Tensors that may lie over one another: a whole state buffer and each of its fields. */
function aliasTable(program: Program): AliasTable {
  const states = program.tensors.filter((t) => t.kind === "state").map((t) => t.name);
  const table = new Map<string, string[]>();
  for (const a of states) {
    const same = states.filter((b) => a !== b && (a.startsWith(`${b}/`) || b.startsWith(`${a}/`)));
    if (same.length > 0) table.set(a, same);
  }
  return table;
}

/** For every step the earlier steps that must have run: those it reads from, overwrites, or must not overwrite too soon. */
function dependencies(steps: readonly ProgramStep[], aliases: AliasTable): ReadonlySet<number>[] {
  const writer = new Map<string, number>();
  const readers = new Map<string, number[]>();
  return steps.map((s, i) => {
    const needs = new Set<number>();
    const { reads, writes } = stepAccess(s);
    const names = (t: string): readonly string[] => [t, ...(aliases.get(t) ?? [])];
    for (const t of [...reads, ...writes])
      for (const n of names(t)) {
        const w = writer.get(n);
        if (w !== undefined) needs.add(w);
      }
    for (const t of writes) for (const n of names(t)) for (const r of readers.get(n) ?? []) needs.add(r);
    for (const t of writes) {
      writer.set(t, i);
      readers.set(t, []);
    }
    for (const t of reads) readers.set(t, [...(readers.get(t) ?? []), i]);
    return needs;
  });
}

const counted = new WeakMap<object, number>();

function statements(d: Dispatch): number {
  let n = counted.get(d.kernel);
  if (n === undefined) {
    n = 0;
    eachStmt(d.kernel.body, () => { n = (n ?? 0) + 1; });
    counted.set(d.kernel, n);
  }
  return n;
}
