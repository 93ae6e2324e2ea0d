// The arithmetic of diffusion and flow on the host: signal and noise by level, and what a prediction says of both.
// level 0 is clean, level 1 noise alone; noisy = a(level) * clean + b(level) * noise. The compiler lowers the same formulas.

import type { ProcessSpec } from "../../compiler/plan/manifest.ts";

/** Signal and noise amplitudes. Cosine: Nichol & Dhariwal 2021 without offset; linear: Lipman et al. 2023 (flow matching). */
export function amplitudes(process: ProcessSpec, level: number): { a: number; b: number } {
  if (process.schedule === "cosine") return { a: Math.cos((Math.PI / 2) * level), b: Math.sin((Math.PI / 2) * level) };
  return { a: 1 - level, b: level };
}

/** Time derivatives of the amplitudes, for probability-flow velocity. */
export function slopes(process: ProcessSpec, level: number): { a: number; b: number } {
  if (process.schedule !== "cosine") return { a: -1, b: 1 };
  const w = Math.PI / 2;
  return { a: -w * Math.sin(w * level), b: w * Math.cos(w * level) };
}

/**
 * Clean and noise estimates from the network's output, in place of one call: `clean[i]`, `noise[i]`.
 * velocity means noise - clean for flow, a * noise - b * clean for diffusion (Salimans & Ho 2022).
 */
export function estimates(process: ProcessSpec, level: number, x: Float32Array, out: Float32Array): { clean: Float32Array; noise: Float32Array } {
  const { a, b } = amplitudes(process, level);
  const clean = new Float32Array(x.length);
  const noise = new Float32Array(x.length);
  const safeA = Math.max(a, 1e-3);
  const safeB = Math.max(b, 1e-3);
  for (let i = 0; i < x.length; i++) {
    const xi = x[i] ?? 0;
    const o = out[i] ?? 0;
    if (process.predict === "noise") {
      noise[i] = o;
      clean[i] = (xi - b * o) / safeA;
    } else if (process.predict === "clean") {
      clean[i] = o;
      noise[i] = (xi - a * o) / safeB;
    } else if (process.kind === "flow") {
      clean[i] = xi - level * o;
      noise[i] = xi + (1 - level) * o;
    } else {
      // A rotation where a^2 + b^2 = 1; a linear schedule needs the scale.
      clean[i] = (a * xi - b * o) / (a * a + b * b);
      noise[i] = (b * xi + a * o) / (a * a + b * b);
    }
  }
  return { clean, noise };
}
