// What one drawing of a sample shows: its layers in panels, its tokens in spans, and how heavy a choice is. Shared by the terminal and
// by SVG and PNG. In: a RoutingReport. Out: panels, one for layers that route alike, and short texts.

import { ranges } from "../mask/spans.ts";
import type { Choice, LayerReport, RoutedToken, RoutingReport, SampleReport } from "./report.ts";

/** Layers that send every token of the sample the same way, and have the same experts. */
export interface Panel {
  readonly layers: readonly LayerReport[];
  readonly experts: readonly string[];
  /** Branches have names, experts of a router numbers. */
  readonly named: boolean;
  readonly choices: readonly (readonly Choice[])[];
  /** Rows of this sample by expert, and by stream. */
  readonly load: readonly number[];
  readonly loadByStream: ReadonlyMap<string, readonly number[]>;
}

export function panelsOf(report: RoutingReport, sample: SampleReport): Panel[] {
  const panels = new Map<string, { layers: LayerReport[]; choices: readonly (readonly Choice[])[] }>();
  sample.layers.forEach((s, i) => {
    const layer = report.layers[i];
    if (!layer) return;
    const key = `${layer.route}|${layer.experts.join()}|${s.choices.map((c) => c.map((x) => `${x.expert}:${x.weight}`).join()).join(";")}`;
    const old = panels.get(key);
    if (old) old.layers.push(layer);
    else panels.set(key, { layers: [layer], choices: s.choices });
  });
  return [...panels.values()].map(({ layers, choices }) => {
    const experts = layers[0]?.experts ?? [];
    const load = experts.map(() => 0);
    const by = new Map<string, number[]>();
    choices.forEach((chosen, t) => {
      const stream = sample.tokens[t]?.stream ?? "";
      const own = by.get(stream) ?? experts.map(() => 0);
      by.set(stream, own);
      for (const c of chosen) {
        load[c.expert] = (load[c.expert] ?? 0) + 1;
        own[c.expert] = (own[c.expert] ?? 0) + 1;
      }
    });
    return { layers, experts, named: layers[0]?.dispatch === "route", choices, load, loadByStream: by };
  });
}

/** `layer 3`, `layers 0-2, 5`. */
export const layersText = (p: Panel): string => `layer${p.layers.length === 1 ? "" : "s"} ${ranges(p.layers.map((l) => l.index))}`;

/** `body[0..2].ffn` where the paths differ in one number, else the first. */
export function pathsText(layers: readonly Pick<LayerReport, "path">[]): string {
  const paths = layers.map((l) => l.path);
  const first = paths[0] ?? "";
  if (paths.length < 2) return first;
  const parts = paths.map((p) => p.split(/(\d+)/));
  const differ = (parts[0] ?? []).flatMap((_, i) => (parts.some((p) => p[i] !== parts[0]?.[i]) ? [i] : []));
  const at = differ[0];
  if (differ.length !== 1 || at === undefined || parts.some((p) => p.length !== parts[0]?.length)) return `${first} and ${paths.length - 1} more`;
  const numbers = parts.map((p) => Number(p[at]));
  return (parts[0] ?? []).map((x, i) => (i === at ? ranges(numbers).replaceAll("-", "..").replaceAll(" ", "") : x)).join("");
}

/** How the layers of a panel route, in words. */
export function howText(l: LayerReport): string {
  const n = l.experts.length;
  switch (l.dispatch) {
    case "route": return `by ${l.route}`;
    case "top": return `${l.route}, ${l.choices ?? "some"} of ${n}`;
    case "pick": return `${l.route}, 1 of ${n}`;
    case "expert_choice": return `${l.route}, ${n} choose`;
    case "soft": return `${l.route}, ${n} soft`;
  }
}

/** A choice's weight against an even share: of the token's experts, or, where every expert takes of every token, of the whole panel. */
export function heaviness(p: Panel): (token: number, c: Choice) => number {
  if (p.layers[0]?.dispatch === "soft") {
    const all = p.choices.flat();
    const mean = all.reduce((n, c) => n + c.weight, 0) / Math.max(1, all.length);
    return (_, c) => (mean === 0 ? 0 : c.weight / mean);
  }
  const sums = p.choices.map((chosen) => chosen.reduce((n, c) => n + c.weight, 0) / Math.max(1, chosen.length));
  return (token, c) => ((sums[token] ?? 0) === 0 ? 0 : c.weight / (sums[token] ?? 1));
}

/** Tokens of one item. */
export interface ItemSpan {
  readonly name: string;
  readonly stream: string;
  readonly start: number;
  readonly count: number;
}

export function itemsOf(tokens: readonly RoutedToken[]): ItemSpan[] {
  const out: { name: string; stream: string; start: number; count: number; item: number }[] = [];
  tokens.forEach((t, i) => {
    const last = out[out.length - 1];
    if (last?.item === t.item) last.count++;
    else out.push({ name: `${t.field ?? t.label}${t.role === "predict" ? "*" : ""}`, stream: t.stream, start: i, count: 1, item: t.item });
  });
  return out;
}

/** Streams in the order in which they appear, each with its number. */
export function streamsOf(samples: readonly SampleReport[]): Map<string, number> {
  const out = new Map<string, number>();
  for (const s of samples) for (const t of s.tokens) if (!out.has(t.stream)) out.set(t.stream, out.size);
  return out;
}

/** The text of a token in quotes, short; nothing for what is no text. */
export function quoted(t: RoutedToken, most = 10): string {
  if (t.text === null) return "";
  const plain = t.text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => (c === "\n" ? "\\n" : c === "\t" ? "\\t" : "?"));
  return `"${plain.length > most ? `${plain.slice(0, most - 2)}..` : plain}"`;
}

/** The first sample of every task: what is drawn. */
export function drawnSamples(report: RoutingReport): SampleReport[] {
  return report.samples.filter((s, i) => report.samples.findIndex((x) => x.task === s.task) === i);
}

export const percent = (x: number): string => `${Math.round(100 * x)}%`;

/** Where the numbers come from: `router weights are fresh (seed 0): nothing is learned yet`. */
export function sourceText(report: RoutingReport): string[] {
  const { weights, data } = report;
  const many = `${report.samples.length} sample${report.samples.length === 1 ? "" : "s"}, ${report.samples.reduce((n, s) => n + s.tokens.length, 0)} tokens`;
  return [
    weights.kind === "none" ? "no weights decide here" : weights.kind === "fresh" ? `weights: fresh from seed ${weights.seed}, nothing is learned yet` : `weights: ${weights.file}`,
    `${many}, ${data.kind === "example" ? "made up" : `of ${data.folder}`}`,
  ];
}

/** `picture at noise level 0.43`. */
export const levelsText = (s: SampleReport): string => Object.entries(s.levels).map(([field, level]) => `${field} at noise level ${level.toFixed(2)}`).join(", ");
