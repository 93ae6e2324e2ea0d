// Routing reports made of random choices, for the tests of what is counted and drawn. The same numbers in every run; no model is compiled.

import type { RoutedLayer } from "../../compiler/types/model.ts";
import type { Choice, RoutedSample, RoutedToken, RoutingReport } from "../../compiler/routing/report.ts";
import { routingReport } from "../../compiler/routing/report.ts";

export function random(seed: number): () => number {
  let s = seed + 1;
  return () => (s = (s * 48271) % 2147483647) / 2147483647;
}

const span = { source: "made up", start: 0, end: 0 };

export const router = (path: string, experts: number, over: Partial<RoutedLayer> = {}): RoutedLayer => ({ path, route: "top_experts", dispatch: "top", experts, branches: [], choices: 2, couples: false, span, ...over });
export const route = (path: string, branches: readonly string[]): RoutedLayer => ({ path, route: "modality", dispatch: "route", experts: branches.length, branches, choices: 1, couples: false, span });

/** `<bos>`, text, `<boi>`, a picture of side * side patches. */
export function tokens(text: number, side: number): RoutedToken[] {
  const literal = (name: string, item: number): RoutedToken => ({ label: `<${name}>`, field: null, place: "", text: null, stream: "text", role: "literal", item, at: null });
  return [
    literal("bos", 0),
    ...Array.from({ length: text }, (_, i): RoutedToken => ({ label: `caption[${i}]`, field: "caption", place: String(i), text: "the & <quick>\n"[i % 14] ?? "", stream: "text", role: "given", item: 1, at: null })),
    literal("boi", 2),
    ...Array.from({ length: side * side }, (_, i): RoutedToken => {
      const at = { row: Math.floor(i / side), col: i % side };
      return { label: `picture[${at.row},${at.col}]`, field: "picture", place: `${at.row},${at.col}`, text: null, stream: "image", role: "predict", item: 3, at };
    }),
  ];
}

/** Each layer's choices: by stream for routes, else k random experts with weights that sum to 1. */
export function choose(layer: RoutedLayer, all: readonly RoutedToken[], draw: () => number): Choice[][] {
  return all.map((t) => {
    if (layer.dispatch === "route") return [{ expert: t.stream === "text" ? 0 : 1, weight: 1 }];
    const left = Array.from({ length: layer.experts }, (_, e) => e);
    const picked = Array.from({ length: layer.choices ?? 1 }, () => ({ expert: left.splice(Math.floor(draw() * left.length), 1)[0] ?? 0, weight: 0.05 + draw() }));
    const sum = picked.reduce((n, c) => n + c.weight, 0);
    return picked.map((c) => ({ ...c, weight: c.weight / sum }));
  });
}

export function madeUp(layers: readonly RoutedLayer[], text: number, side: number, samples = 1, seed = 0): { report: RoutingReport; samples: RoutedSample[] } {
  const draw = random(seed);
  const all = tokens(text, side);
  const made = Array.from({ length: samples }, (_, i): RoutedSample => ({ task: i % 2 === 0 ? "draw" : "describe", tokens: all, levels: i === 0 ? { picture: 0.43 } : {}, choices: layers.map((l) => choose(l, all, draw)) }));
  return { samples: made, report: routingReport("demo", layers.map((layer, index) => ({ index, layer })), made, { weights: { kind: "fresh", seed: 0 }, data: { kind: "example" } }) };
}
