// The plan: everything the runtime needs to run one program, as plain JSON. Imports only plan/expr.ts, so that a page
// ships a plan without the compiler.
//
// Memory: every tensor lives in an arena. Arenas of class `state` and `io` have fixed places decided by names shared
// between the plans of a bundle; `temp` places are chosen by layout.ts once the lengths are known, from static liveness.
// A dispatch binds each arena it touches once (read-write if it writes any tensor in it); element offsets of its operands
// arrive in its uniform block, so equal WGSL is one pipeline however many layers use it.

import type { IntExpr } from "./expr.ts";

export const planVersion = 2;

export type StorageType = "f32" | "f16" | "i32" | "u32";

/** Bytes of one element. Buffers and copies are whole words, so halves lie in pairs from an even offset on. */
export const elementBytes = (dtype: StorageType): number => (dtype === "f16" ? 2 : 4);

export interface PlanTensor {
  readonly name: string;
  readonly dtype: StorageType;
  readonly axes: readonly { readonly name: string; readonly size: IntExpr }[];
  readonly kind: "input" | "state" | "temp" | "output";
  /** Index into `arenas`. Inputs and outputs have arenas of class io. */
  readonly arena: number;
  /** Elements. */
  readonly size: IntExpr;
  /** First and last step (index into the flattened step list) that touches it; temps only. */
  readonly live?: readonly [number, number];
  /** state only: the name of the state buffer it views and the element offset there. */
  readonly state?: { readonly buffer: string; readonly offset: IntExpr };
}

export interface PlanArena {
  readonly name: string;
  readonly dtype: StorageType;
  /** state arenas are buffers shared by all plans of a bundle, found by `name`. */
  readonly class: "state" | "input" | "output" | "temp";
}

export interface LineMapEntry {
  /** 1-based line of the WGSL text. */
  readonly line: number;
  readonly source: string;
  readonly start: number;
  readonly end: number;
  /** 1-based line of `source`, where its text was at hand when the plan was made. */
  readonly row?: number;
  readonly path: string;
}

export interface PlanModule {
  /** WGSL text; entry point `main`. */
  readonly wgsl: string;
  readonly lines: readonly LineMapEntry[];
  readonly workgroup: readonly [number, number, number];
  readonly workgroupBytes: number;
  /** Storage bindings in binding order 1..n; binding 0 is the uniform block: u32 words, first the lengths, then one element offset an operand. */
  readonly bindings: readonly { readonly dtype: StorageType; readonly access: "read" | "read_write" }[];
  readonly lengths: readonly string[];
  readonly operands: readonly { readonly name: string; readonly binding: number }[];
  /** True when every access, in every use of the module, is proven in bounds (kernel/bounds.ts). */
  readonly proven: boolean;
}

export interface PlanDispatch {
  readonly kind: "dispatch";
  readonly name: string;
  readonly module: number;
  readonly grid: readonly [IntExpr, IntExpr, IntExpr];
  /** Arena index per storage binding. */
  readonly arenas: readonly number[];
  /** Tensor index per operand, in the module's operand order. */
  readonly operands: readonly number[];
  /** Model path and spec place of the work, for errors and profiles. */
  readonly path: string;
  readonly place?: { readonly source: string; readonly start: number; readonly end: number; readonly row?: number };
}

export interface PlanRepeat {
  readonly kind: "repeat";
  readonly name: string;
  readonly count: IntExpr;
  readonly steps: readonly PlanStep[];
}

export type PlanStep = PlanDispatch | PlanRepeat;

export interface Plan {
  readonly version: number;
  readonly name: string;
  readonly hash: string;
  readonly target: string;
  readonly requires: { readonly limits: Readonly<Record<string, number>>; readonly features: readonly string[]; readonly subgroupSize: number };
  readonly lengths: readonly string[];
  readonly arenas: readonly PlanArena[];
  readonly tensors: readonly PlanTensor[];
  readonly modules: readonly PlanModule[];
  readonly steps: readonly PlanStep[];
  readonly inputs: Readonly<Record<string, number>>;
  readonly outputs: Readonly<Record<string, number>>;
  readonly cost: { readonly dispatches: number; readonly flops: IntExpr; readonly bytesMoved: IntExpr };
}

/** Persistent buffers shared by the plans of one bundle: `params`, `grads`, `adam.m`, `adam.v`, `ema`, `cache.k.3`, ... */
export interface StateBuffer {
  readonly name: string;
  readonly dtype: StorageType;
  /** Elements, over lengths (`s + spare` slots of a cache) or constant. */
  readonly size: IntExpr;
  /** What the buffer holds, in order; offsets in elements. */
  readonly fields: readonly { readonly name: string; readonly shape: readonly number[]; readonly axes: readonly string[]; readonly offset: number }[];
}
