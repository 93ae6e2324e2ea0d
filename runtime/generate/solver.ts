// Solvers that restore a span from noise, all its tokens at once. In: a sampler, a process and a `predict` that asks the
// network at one level. Out: the clean features. ddim: Song et al. 2021, eta 0 (on a flow it is Euler's method);
// heun: Karras et al. 2022, second order.

import type { ProcessSpec, SamplerSpec } from "../../compiler/plan/manifest.ts";
import { HeddleError } from "../error.ts";
import { amplitudes, estimates, slopes } from "./process.ts";

/** The network's output for noisy features at a level; guidance is already in it. */
export type Predict = (x: Float32Array, level: number) => Promise<Float32Array>;

export interface SolveOptions {
  readonly steps: number;
  /** Bounds of clean features; patches are in [-1, 1]. */
  readonly clip?: readonly [number, number];
  readonly progress?: (step: number, steps: number) => void;
}

const solvers = ["ddim", "euler", "heun"];

export async function solve(sampler: SamplerSpec, process: ProcessSpec, start: Float32Array, predict: Predict, options: SolveOptions): Promise<Float32Array> {
  if (!solvers.includes(sampler.kind))
    throw new HeddleError({ code: "E0563", message: `\`${sampler.kind}\` is no solver for the continuous stream \`${sampler.stream}\``, help: `use one of ${solvers.join(", ")}` });
  const first = process.predict === "velocity" ? 1 : 0.995;
  let x = start;
  for (let i = 0; i < options.steps; i++) {
    const level = first * (1 - i / options.steps);
    const next = first * (1 - (i + 1) / options.steps);
    const here = estimates(process, level, x, await predict(x, level));
    clip(here.clean, options.clip);
    const euler = move(process, here.clean, here.noise, next);
    if (sampler.kind === "heun" && next > 0) {
      const there = estimates(process, next, euler, await predict(euler, next));
      clip(there.clean, options.clip);
      x = heun(process, x, level, next, here, there);
    } else x = euler;
    options.progress?.(i + 1, options.steps);
  }
  return x;
}

function clip(values: Float32Array, bounds: readonly [number, number] | undefined): void {
  if (!bounds) return;
  for (let i = 0; i < values.length; i++) values[i] = Math.min(bounds[1], Math.max(bounds[0], values[i] ?? 0));
}

function move(process: ProcessSpec, clean: Float32Array, noise: Float32Array, level: number): Float32Array {
  const { a, b } = amplitudes(process, level);
  return clean.map((c, i) => a * c + b * (noise[i] ?? 0));
}

interface Estimate {
  readonly clean: Float32Array;
  readonly noise: Float32Array;
}

function heun(process: ProcessSpec, x: Float32Array, from: number, to: number, here: Estimate, there: Estimate): Float32Array {
  const s0 = slopes(process, from);
  const s1 = slopes(process, to);
  const h = to - from;
  return x.map((v, i) => {
    const d0 = s0.a * (here.clean[i] ?? 0) + s0.b * (here.noise[i] ?? 0);
    const d1 = s1.a * (there.clean[i] ?? 0) + s1.b * (there.noise[i] ?? 0);
    return v + (h / 2) * (d0 + d1);
  });
}
