// Which tokens go to which experts, as data: what `heddle explain routing` draws and what `--json` gives. Version 1 of the shape is
// RoutingReport. In: a Model's routed layers, samples laid out as rows of tokens, and where each token went. Out: the report.
// Loads count rows: a token that goes to two experts is two of them. Padding is no token.

import type { RoutedLayer } from "../types/model.ts";

export interface RoutingReport {
  readonly kind: "heddle.routing";
  readonly version: 1;
  readonly model: string;
  /** What the routers' numbers come from; `none` where no layer shown needs weights. */
  readonly weights: { readonly kind: "none" } | { readonly kind: "fresh"; readonly seed: number } | { readonly kind: "file"; readonly file: string };
  readonly data: { readonly kind: "example" } | { readonly kind: "folder"; readonly folder: string };
  /** The routed layers that are shown, over all samples. */
  readonly layers: readonly LayerReport[];
  readonly samples: readonly SampleReport[];
}

export interface LayerReport {
  /** Its number among the routed layers, in order of application, from 0. */
  readonly index: number;
  readonly path: string;
  readonly route: string;
  readonly dispatch: RoutedLayer["dispatch"];
  /** Names of the branches, or numbers. */
  readonly experts: readonly string[];
  /** Experts of each token where that is one number. */
  readonly choices: number | null;
  /** Rows by expert. */
  readonly load: readonly number[];
  /** The same, of the tokens of each stream. */
  readonly loadByStream: Readonly<Record<string, readonly number[]>>;
  /** Weights by expert, summed. */
  readonly weight: readonly number[];
  /** Rows in all. */
  readonly rows: number;
  /** Tokens that went to some expert, and those that went to none. */
  readonly tokens: number;
  readonly nowhere: number;
  /** The largest load over the mean; 1 where all are alike. */
  readonly maxOverMean: number;
  /** Of the loads, in nats; `evenness` is its share of what equal loads have: 1 where all are alike, 0 where one expert has everything. */
  readonly entropy: number;
  readonly evenness: number;
  /** Experts without a row. */
  readonly idle: number;
  /** The share of rows that training would send nowhere if these samples were its batch; null without a capacity. */
  readonly dropped: number | null;
}

export interface SampleReport {
  readonly task: string;
  readonly tokens: readonly RoutedToken[];
  /** Noise level of predicted items, by field. */
  readonly levels: Readonly<Record<string, number>>;
  /** One entry a layer that is shown. */
  readonly layers: readonly SampleLayer[];
}

export interface SampleLayer {
  readonly index: number;
  /** For each token its experts, the heaviest first. */
  readonly choices: readonly (readonly Choice[])[];
}

export interface Choice {
  readonly expert: number;
  readonly weight: number;
}

export interface RoutedToken {
  /** `<bos>`, `caption[2]`, `picture[1,0]`. */
  readonly label: string;
  readonly field: string | null;
  /** What is between the brackets of the label; empty for literals. */
  readonly place: string;
  /** What the token says, where it is text. */
  readonly text: string | null;
  readonly stream: string;
  readonly role: "given" | "predict" | "literal";
  /** Number of the item in the task. */
  readonly item: number;
  /** Row and column of a patch. */
  readonly at: { readonly row: number; readonly col: number } | null;
}

/** A sample and where its tokens went: by layer and token, the experts in any order. */
export interface RoutedSample {
  readonly task: string;
  readonly tokens: readonly RoutedToken[];
  readonly levels: Readonly<Record<string, number>>;
  readonly choices: readonly (readonly (readonly Choice[])[])[];
}

export interface ShownLayer {
  readonly index: number;
  readonly layer: RoutedLayer;
}

export function routingReport(model: string, layers: readonly ShownLayer[], samples: readonly RoutedSample[], from: Pick<RoutingReport, "weights" | "data">): RoutingReport {
  const sorted = samples.map((s) => s.choices.map((layer) => layer.map((c) => [...c].sort((a, b) => b.weight - a.weight || a.expert - b.expert))));
  return {
    kind: "heddle.routing", version: 1, model, weights: from.weights, data: from.data,
    layers: layers.map((l, at) => layerReport(l, samples, sorted.map((s) => s[at] ?? []))),
    samples: samples.map((s, i) => ({
      task: s.task, tokens: s.tokens, levels: s.levels, layers: layers.map((l, at) => ({ index: l.index, choices: sorted[i]?.[at] ?? [] })),
    })),
  };
}

/** `choices` by sample and token. */
function layerReport({ index, layer }: ShownLayer, samples: readonly RoutedSample[], choices: readonly (readonly (readonly Choice[])[])[]): LayerReport {
  const none = (): number[] => Array.from({ length: layer.experts }, () => 0);
  const load = none();
  const weight = none();
  const loadByStream: Record<string, number[]> = {};
  let [tokens, nowhere] = [0, 0];
  samples.forEach((s, i) => {
    s.tokens.forEach((t, at) => {
      const chosen = choices[i]?.[at] ?? [];
      if (chosen.length === 0) nowhere++;
      else tokens++;
      for (const c of chosen) {
        load[c.expert] = (load[c.expert] ?? 0) + 1;
        weight[c.expert] = (weight[c.expert] ?? 0) + c.weight;
        const by = (loadByStream[t.stream] ??= none());
        by[c.expert] = (by[c.expert] ?? 0) + 1;
      }
    });
  });
  const rows = load.reduce((a, b) => a + b, 0);
  const most = capacityOf(layer, rows);
  return {
    index, path: layer.path, route: layer.route, dispatch: layer.dispatch,
    experts: layer.branches.length > 0 ? layer.branches : load.map((_, e) => String(e)), choices: layer.choices,
    load, loadByStream, weight, rows, tokens, nowhere,
    maxOverMean: rows === 0 ? 1 : (Math.max(...load) * layer.experts) / rows, ...entropyOf(load), idle: load.filter((n) => n === 0).length,
    dropped: most === null ? null : rows === 0 ? 0 : load.reduce((sum, n) => sum + Math.max(0, n - most), 0) / rows,
  };
}

/** Of so many rows an expert takes at most these in training. */
const capacityOf = (layer: RoutedLayer, rows: number): number | null => (layer.capacity === undefined ? null : Math.ceil((layer.capacity * (1 - 1e-6) * rows) / layer.experts));

/** The entropy of loads, and how even they are. */
export function entropyOf(load: readonly number[]): { readonly entropy: number; readonly evenness: number } {
  const all = load.reduce((a, b) => a + b, 0);
  const entropy = all === 0 ? 0 : Math.max(0, load.reduce((sum, n) => (n === 0 ? sum : sum - (n / all) * Math.log(n / all)), 0));
  return { entropy, evenness: load.length < 2 ? 1 : entropy / Math.log(load.length) };
}

/** What an output of the `routing` program holds, read by token. Axes are [batch, t, all others]. */
export interface RoutedRows {
  readonly batch: number;
  readonly tokens: number;
  /** Expert of each row, -1 for none. */
  readonly expert: ArrayLike<number>;
  /** Weights on the same axes; 1 where there are none. */
  readonly weight?: ArrayLike<number>;
  /** Soft mixtures: what each expert takes of each token, [batch, t, experts], in place of the two above. */
  readonly share?: ArrayLike<number>;
}

/** The experts of every token of one row of the batch; tokens from `count` on are padding. */
export function choicesOf(rows: RoutedRows, row: number, count: number): Choice[][] {
  const out: Choice[][] = Array.from({ length: count }, () => []);
  const add = (token: number, expert: number, weight: number): void => {
    if (expert >= 0) out[token]?.push({ expert, weight });
  };
  if (rows.share) {
    const each = rows.share.length / (rows.batch * rows.tokens);
    for (let t = 0; t < count; t++) for (let e = 0; e < each; e++) add(t, e, rows.share[(row * rows.tokens + t) * each + e] ?? 0);
    return out;
  }
  const { expert } = rows;
  const each = expert.length / (rows.batch * rows.tokens);
  for (let t = 0; t < count; t++) {
    const at = (row * rows.tokens + t) * each;
    for (let i = at; i < at + each; i++) add(t, expert[i] ?? -1, rows.weight?.[i] ?? 1);
  }
  return out;
}
