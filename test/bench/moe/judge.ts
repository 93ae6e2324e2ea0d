// What a mixture of experts, or a dense network, gives for some tokens, in double precision. In: the same numbers that the device had.
// Out: the largest difference, relative to the largest value.

import type { Shape } from "./graphs.ts";
import { weightsOf } from "./graphs.ts";

export type Weights = Readonly<Record<string, Float32Array>>;

const silu = (x: number): number => x / (1 + Math.exp(-x));
const at = (a: Float32Array | undefined, i: number): number => a?.[i] ?? 0;

/** The experts of a token with their weights; a dense network is one expert of weight 1. */
function choose(s: Shape, w: Weights, x: Float32Array, skew: Float32Array): readonly (readonly [number, number])[] {
  if (s.experts === 0) return [[0, 1]];
  const logits = Array.from({ length: s.experts }, (_, e) => x.reduce((sum, v, d) => sum + v * at(w["router"], d * s.experts + e), 0));
  const chosen = logits.map((l, e) => [l + at(skew, e), e] as const).sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, s.choices).map(([, e]) => e);
  const top = Math.max(...chosen.map((e) => logits[e] ?? 0));
  const raw = chosen.map((e) => Math.exp((logits[e] ?? 0) - top));
  const total = raw.reduce((a, b) => a + b, 0);
  return chosen.map((e, i) => [e, (raw[i] ?? 0) / total]);
}

function token(s: Shape, w: Weights, x: Float32Array, skew: Float32Array): number[] {
  const hidden = s.experts === 0 ? s.hidden * s.choices : s.hidden;
  const y = new Array<number>(s.width).fill(0);
  for (const [e, weight] of choose(s, w, x, skew)) {
    const from = e * s.width * hidden;
    for (let h = 0; h < hidden; h++) {
      let [gate, up] = [0, 0];
      for (let d = 0; d < s.width; d++) {
        gate += at(x, d) * at(w["gate"], from + d * hidden + h);
        up += at(x, d) * at(w["up"], from + d * hidden + h);
      }
      const a = weight * silu(gate) * up;
      for (let d = 0; d < s.width; d++) y[d] = (y[d] ?? 0) + a * at(w["down"], from + h * s.width + d);
    }
  }
  return y;
}

/** Compares every `step`-th token. */
export function judge(s: Shape, params: Float32Array, x: Float32Array, skew: Float32Array, got: Float32Array, step: number): number {
  const w: Record<string, Float32Array> = {};
  let offset = 0;
  for (const [name, axes] of weightsOf(s)) {
    const size = axes.reduce((n, a) => n * (a.size.terms[0]?.coef ?? 0), 1);
    w[name.slice("params/".length)] = params.subarray(offset, offset + size);
    offset += size;
  }
  let [worst, most] = [0, 0];
  for (let t = 0; t * s.width < x.length; t += step) {
    const want = token(s, w, x.subarray(t * s.width, (t + 1) * s.width), skew);
    want.forEach((v, d) => {
      worst = Math.max(worst, Math.abs(v - at(got, t * s.width + d)));
      most = Math.max(most, Math.abs(v));
    });
  }
  return worst / most;
}
