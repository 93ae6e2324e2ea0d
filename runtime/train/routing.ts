// What the output `routing` of the training programs says, as numbers for people: how evenly rows went to experts, and how many
// were dropped. In: counts, summed over the micro-batches of a step. Out: one entry a routed layer.

import type { RouterSpec } from "../../compiler/plan/manifest.ts";

export interface RoutingMetrics {
  /** The routed layer: `body[3].ffn`. */
  readonly path: string;
  /** Rows of each expert, or branch, in their order. A row is a token, or one of its choices. */
  readonly load: readonly number[];
  /** The fullest expert against the mean: 1 is even, the number of experts is all to one. 0 where no row came. */
  readonly max_over_mean: number;
  /** Of the load as a distribution, in nats; and its share of the most there can be, 1 is even. */
  readonly entropy: number;
  readonly evenness: number;
  /** Share of the rows that wanted an expert and got none, for lack of capacity. */
  readonly dropped: number;
  /** Terms of the loss, by name, weighted. */
  readonly losses?: Readonly<Record<string, number>>;
}

/** Adds up counts of several runs. */
export function addCounts(sum: number[], counts: ArrayLike<number>): void {
  for (let i = 0; i < counts.length; i++) sum[i] = (sum[i] ?? 0) + (counts[i] ?? 0);
}

/** `terms`: sums of outputs by name. */
export function routingMetrics(routers: readonly RouterSpec[], counts: readonly number[], terms: Readonly<Record<string, number>> = {}): RoutingMetrics[] {
  return routers.map((r) => {
    const load = counts.slice(r.offset, r.offset + r.experts);
    const wanted = counts[r.offset + r.experts] ?? 0;
    const total = load.reduce((a, b) => a + b, 0);
    const entropy = total === 0 ? 0 : Math.max(0, load.reduce((h, n) => (n > 0 ? h - (n / total) * Math.log(n / total) : h), 0));
    const losses: Record<string, number> = {};
    for (const l of r.losses) losses[l.name] = (losses[l.name] ?? 0) + (terms[l.output] ?? Number.NaN);
    return {
      path: r.path, load,
      max_over_mean: total === 0 ? 0 : (Math.max(...load) * r.experts) / total,
      entropy, evenness: r.experts > 1 ? entropy / Math.log(r.experts) : 1,
      dropped: wanted > 0 ? Math.max(0, 1 - total / wanted) : 0,
      ...(r.losses.length > 0 ? { losses } : {}),
    };
  });
}

/** Terms of routers by name, over all layers. */
export function termsByName(routers: readonly RouterSpec[], terms: Readonly<Record<string, number>>): Record<string, number> {
  const out: Record<string, number> = {};
  for (const r of routers) for (const l of r.losses) out[l.name] = (out[l.name] ?? 0) + (terms[l.output] ?? Number.NaN);
  return out;
}

/** For a line of progress: the worst of the learned routers, and what all of them dropped. Empty where nothing is learned. */
export function routingSummary(routers: readonly RouterSpec[], metrics: readonly RoutingMetrics[]): string {
  const learned = metrics.filter((_, i) => routers[i]?.learned);
  if (learned.length === 0) return "";
  const worst = learned.reduce((n, m) => Math.max(n, m.max_over_mean), 0);
  const dropped = learned.reduce((n, m) => n + m.dropped, 0) / learned.length;
  return `load ${worst.toFixed(2)}x${dropped > 0 ? `  dropped ${(100 * dropped).toFixed(1)}%` : ""}`;
}
