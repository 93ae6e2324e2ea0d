// One random case on the adapter against the graph interpreter, forward and gradients. In: its seed, how many predicates it
// holds, a target and a device. Out: what is wrong, if anything, and what of pairs, queries and tiles the case covers.

import type { Target } from "../../compiler/kernel/kernel.ts";
import { compileExpr } from "../../compiler/scalar/eval.ts";
import { printExpr } from "../../compiler/scalar/print.ts";
import { classify, tileFacts, tileTruth } from "../../compiler/scalar/tile_truth.ts";
import type { GpuHost } from "../../runtime/device/host.ts";
import { wrongOnGpu } from "./attention_gpu.ts";
import type { AttentionCase, Columns } from "./attention_graph.ts";
import type { RandomCase } from "./attention_random.ts";
import { randomCase } from "./attention_random.ts";

/** Counts over every head and row of a case. */
export interface Coverage {
  readonly predicates: number;
  /** Pairs, and those that are visible. */
  pairs: number;
  seen: number;
  /** Queries, and those that see nothing. */
  queries: number;
  blind: number;
  /** Tiles of 16 x 16 tokens as the analysis classes them. */
  empty: number;
  full: number;
  mixed: number;
}

export interface Outcome extends Coverage {
  readonly wrong: string | undefined;
  readonly text: string;
}

const TILE = 16;

export async function tryCase(seed: number, together: number, target: Target, host: GpuHost): Promise<Outcome> {
  const made = randomCase(seed, together);
  let wrong: string | undefined;
  try {
    wrong = await wrongOnGpu(made.case, target, host);
  } catch (thrown) {
    wrong = thrown instanceof Error ? thrown.message : String(thrown);
  }
  return { ...coverage(made), wrong, text: describe(made.case, target) };
}

const describe = (c: AttentionCase, target: Target): string =>
  `${c.what} on ${target.name}: batch ${c.batch}, ${c.heads} heads of ${c.width}${c.group ? ` x ${c.group}` : ""}, values of ${c.value}, ${c.t} queries, ${c.s} keys, ${c.mask ? printExpr(c.mask) : "no mask"}`;

/** What the masks of a case let through, pair by pair, and what the analysis says of its tiles. */
export function coverage({ case: c, masks }: RandomCase): Coverage {
  const out: Coverage = { predicates: masks.length, pairs: 0, seen: 0, queries: 0, blind: 0, empty: 0, full: 0, mixed: 0 };
  const [heads, keys] = [(c.heads ?? 1) * (c.group ?? 1), c.s ?? c.t];
  const columns = { q: c.query ?? {}, k: c.key ?? c.query ?? {} };
  for (let h = 0; h < heads; h++) {
    const mask = masks.length > 1 ? masks[h] : masks[0];
    if (!mask) throw new Error(`${c.what}: no mask of head ${h}`);
    let [i, j] = [0, 0];
    const visible = compileExpr(mask, (l) => {
      if (l.kind !== "attr") return () => h;
      const values = columns[l.side][l.name] as Int32Array;
      return l.side === "q" ? () => values[i] as number : () => values[j] as number;
    });
    const truth = tileTruth(mask);
    for (let row = 0; row < (c.batch ?? 1); row++) {
      for (let a = 0; a < c.t; a++) {
        i = row * c.t + a;
        let any = 0;
        for (let b = 0; b < keys; b++) {
          j = row * keys + b;
          any += visible() !== 0 ? 1 : 0;
        }
        out.pairs += keys;
        out.queries++;
        out.seen += any;
        if (any === 0) out.blind++;
      }
      const facts = (side: Columns, n: number) => Array.from({ length: Math.ceil(n / TILE) }, (_, tile) =>
        tileFacts(Object.fromEntries(Object.entries(side).map(([name, x]) => [name, [...x.subarray(row * n + tile * TILE, row * n + Math.min(n, (tile + 1) * TILE))]]))));
      const ofKeys = facts(columns.k, keys);
      for (const q of facts(columns.q, c.t)) for (const k of ofKeys) out[classify(truth, q, k, { head: h })]++;
    }
  }
  return out;
}

export function total(outcomes: readonly Coverage[]): Coverage {
  const sum = (key: keyof Coverage): number => outcomes.reduce((n, o) => n + o[key], 0);
  return { predicates: sum("predicates"), pairs: sum("pairs"), seen: sum("seen"), queries: sum("queries"), blind: sum("blind"), empty: sum("empty"), full: sum("full"), mixed: sum("mixed") };
}

/** Runs `work` on every item, `at` of them at a time, in order. */
export async function inFlight<T, R>(items: readonly T[], at: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: at }, async () => {
    for (let i = next++; i < items.length; i = next++) out[i] = await work(items[i] as T);
  }));
  return out;
}
