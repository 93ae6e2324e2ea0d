// In: a plan and its lengths. Out: the element offset of every tensor in its arena, arena sizes and peak bytes.
// Pure and deterministic; the runtime imports it. Temps share space when their live ranges do not meet (greedy by size,
// tightest gap first); inputs and outputs never share. Refuses nothing: a missing length is a RangeError of evalInt.

import { evalInt } from "./expr.ts";
import type { LineMapEntry, Plan, PlanModule, StorageType } from "./plan.ts";
import { elementBytes } from "./plan.ts";

/** Offsets are multiples of this many bytes: what a buffer binding could start at. */
const alignmentBytes = 256;

export interface PlanLayout {
  /** Elements per arena; for state arenas the least that the plan's tensors reach. */
  readonly arenaElements: readonly number[];
  /** First element of each tensor in its arena. */
  readonly offsets: readonly number[];
  /** Elements of each tensor. */
  readonly sizes: readonly number[];
  /** Bytes of all temp, input and output arenas. */
  readonly peakBytes: number;
  readonly tempBytes: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Bytes of persistent state this plan touches. */
  readonly stateBytes: number;
  /** Most bytes of temps alive at one step: no placement can need less. */
  readonly liveBytes: number;
}

const alignUp = (n: number, dtype: StorageType): number => {
  const elements = alignmentBytes / elementBytes(dtype);
  return Math.ceil(n / elements) * elements;
};

/** Places every tensor. */
export function layoutPlan(plan: Plan, lengths: Readonly<Record<string, number>>): PlanLayout {
  const sizes = plan.tensors.map((t) => evalInt(t.size, lengths));
  const offsets = new Array<number>(plan.tensors.length).fill(0);
  const arenaElements = plan.arenas.map((arena, a) => {
    const members = plan.tensors.flatMap((t, i) => (t.arena === a ? [i] : []));
    switch (arena.class) {
      case "state":
        return members.reduce((end, i) => {
          offsets[i] = evalInt(plan.tensors[i]?.state?.offset ?? 0, lengths);
          return Math.max(end, (offsets[i] ?? 0) + (sizes[i] ?? 0));
        }, 0);
      case "temp": return pack(plan, arena.dtype, members, sizes, offsets);
      default:
        return members.reduce((end, i) => {
          offsets[i] = end;
          return end + alignUp(sizes[i] ?? 0, arena.dtype);
        }, 0);
    }
  });
  const bytesOf = (c: string): number =>
    plan.arenas.reduce((n, arena, a) => n + (arena.class === c ? elementBytes(arena.dtype) * (arenaElements[a] ?? 0) : 0), 0);
  const tempBytes = bytesOf("temp");
  const inputBytes = bytesOf("input");
  const outputBytes = bytesOf("output");
  return {
    arenaElements, offsets, sizes, tempBytes, inputBytes, outputBytes,
    peakBytes: tempBytes + inputBytes + outputBytes,
    stateBytes: bytesOf("state"),
    liveBytes: mostAlive(plan, sizes),
  };
}

/** Largest tensors first; each goes to the tightest gap left by those alive with it. Returns the arena's elements. */
function pack(plan: Plan, dtype: StorageType, members: readonly number[], sizes: readonly number[], offsets: number[]): number {
  const size = (i: number): number => sizes[i] ?? 0;
  const live = (i: number): readonly [number, number] => plan.tensors[i]?.live ?? [0, Number.MAX_SAFE_INTEGER];
  const order = [...members].sort((x, y) => size(y) - size(x) || x - y);
  const placed: number[] = [];
  let end = 0;
  for (const i of order) {
    if (size(i) === 0) continue;
    const [from, to] = live(i);
    const rivals = placed
      .filter((j) => live(j)[0] <= to && from <= live(j)[1])
      .map((j) => [offsets[j] ?? 0, (offsets[j] ?? 0) + alignUp(size(j), dtype)] as const)
      .sort((x, y) => x[0] - y[0]);
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    let cursor = 0;
    for (const [start, stop] of rivals) {
      const gap = start - cursor;
      if (gap >= size(i) && gap < bestGap) {
        best = cursor;
        bestGap = gap;
      }
      cursor = Math.max(cursor, stop);
    }
    const at = best >= 0 ? best : cursor;
    offsets[i] = at;
    placed.push(i);
    end = Math.max(end, at + alignUp(size(i), dtype));
  }
  return end;
}

function mostAlive(plan: Plan, sizes: readonly number[]): number {
  const change = new Map<number, number>();
  const add = (step: number, n: number): void => void change.set(step, (change.get(step) ?? 0) + n);
  plan.tensors.forEach((t, i) => {
    if (!t.live) return;
    const bytes = elementBytes(t.dtype) * (sizes[i] ?? 0);
    add(t.live[0], bytes);
    add(t.live[1] + 1, -bytes);
  });
  let now = 0;
  let most = 0;
  for (const step of [...change.keys()].sort((a, b) => a - b)) {
    now += change.get(step) ?? 0;
    most = Math.max(most, now);
  }
  return most;
}

/** The origin of a line of a module's text: the last entry at or before it. */
export function originOfLine(module: PlanModule, line: number): LineMapEntry | undefined {
  let found: LineMapEntry | undefined;
  for (const e of module.lines) if (e.line <= line) found = e;
  return found;
}
