// The kernel IR: one dispatch, written over invocations with workgroups, barriers, loops and buffers. No WGSL in it.
// Values are pure ScalarExprs; every effect (load, store, barrier) is a statement. Bounds are per operand, not per buffer:
// the memory plan later puts operands into arenas.

import type { ScalarExpr, ScalarType } from "../scalar/expr.ts";
import type { Origin } from "../graph/graph.ts";

/** Storage dtypes: bools live as u32 0 or 1. A load from f16 gives an f32; a store rounds to the nearest, held to +-65504. */
export type StorageType = "f32" | "f16" | "i32" | "u32";

export interface Operand {
  /** Unique in the kernel. */
  readonly name: string;
  readonly dtype: StorageType;
  readonly access: "read" | "write" | "readwrite";
  /** Elements, an i32 expression over lengths and constants. */
  readonly size: ScalarExpr;
}

export type Stmt =
  /** Immutable value. */
  | { readonly kind: "let"; readonly name: string; readonly value: ScalarExpr }
  | { readonly kind: "var"; readonly name: string; readonly value: ScalarExpr }
  | { readonly kind: "assign"; readonly name: string; readonly value: ScalarExpr }
  /** Binds `name` to operand[index]; with `among`, to the same element of `or[which - 1]` where `which` names one of them. */
  | { readonly kind: "load"; readonly name: string; readonly type: ScalarType; readonly from: string; readonly index: ScalarExpr;
      readonly among?: { readonly or: readonly string[]; readonly which: ScalarExpr } }
  | { readonly kind: "store"; readonly to: string; readonly index: ScalarExpr; readonly value: ScalarExpr }
  /** Workgroup-shared or invocation-private array, by the kernel's `arrays`. */
  | { readonly kind: "aload"; readonly name: string; readonly from: string; readonly index: ScalarExpr;
      /** Shared array, index the same in all lanes, uniform control flow: a barrier, one read for all, a barrier. Its value is uniform. */
      readonly uniform?: boolean }
  | { readonly kind: "astore"; readonly to: string; readonly index: ScalarExpr; readonly value: ScalarExpr }
  /** for (name = from; name < to; name += step); i32. `unroll` is a request to the emitter. */
  | { readonly kind: "loop"; readonly name: string; readonly from: ScalarExpr; readonly to: ScalarExpr; readonly step: number; readonly unroll?: boolean; readonly body: readonly Stmt[] }
  | { readonly kind: "if"; readonly cond: ScalarExpr; readonly then: readonly Stmt[]; readonly else?: readonly Stmt[] }
  /** All invocations of the workgroup; only in uniform control flow. */
  | { readonly kind: "barrier" }
  /** Binds `name`, in every lane, to op over all lanes of the workgroup (a tree or a subgroup operation, the emitter's
   *  choice through kernel/lane_reduce.ts). Uniform control flow only. `scratch` names a shared array of >= workgroup size. */
  | { readonly kind: "lane_reduce"; readonly name: string; readonly op: "sum" | "max" | "min"; readonly value: ScalarExpr; readonly scratch: string }
  | { readonly kind: "comment"; readonly text: string };

export interface LocalArray {
  readonly name: string;
  readonly dtype: ScalarType;
  readonly size: number;
  readonly space: "shared" | "private";
}

export interface Kernel {
  readonly name: string;
  readonly operands: readonly Operand[];
  /** Lengths the body, sizes or grid mention; delivered as uniforms. `chunk` may be among them (see Plan repeat). */
  readonly lengths: readonly string[];
  readonly workgroup: readonly [number, number, number];
  /** Workgroups per dimension: i32 expressions over lengths. */
  readonly grid: readonly [ScalarExpr, ScalarExpr, ScalarExpr];
  readonly arrays: readonly LocalArray[];
  readonly body: readonly Stmt[];
  /** Stmt-independent origins: the graph nodes this kernel computes. */
  readonly origins: readonly Origin[];
}

/** A kernel with its operands bound to tensors of the program: what fusion hands to the plan. */
export interface Dispatch {
  readonly kernel: Kernel;
  /** operand name -> tensor name */
  readonly bind: Readonly<Record<string, string>>;
}

/** A tensor of a scheduled program. `state` and `input` are given; `temp` lives between its first write and last read. */
export interface ProgramTensor {
  readonly name: string;
  readonly dtype: StorageType;
  readonly size: ScalarExpr;
  readonly kind: "input" | "state" | "temp" | "output";
  readonly axes: readonly { readonly name: string; readonly size: ScalarExpr }[];
}

/** Steps in order; a repeat runs its steps for chunk = 0 .. count-1 with the length `name` set to the chunk's index. */
export type ProgramStep =
  | { readonly kind: "dispatch"; readonly dispatch: Dispatch }
  | { readonly kind: "repeat"; readonly name: string; readonly count: ScalarExpr; readonly steps: readonly ProgramStep[] };

export interface Program {
  readonly name: string;
  readonly lengths: readonly string[];
  readonly tensors: readonly ProgramTensor[];
  readonly steps: readonly ProgramStep[];
  /** output name -> tensor name */
  readonly outputs: Readonly<Record<string, string>>;
}

/** What a device offers, as far as kernels care. `guaranteed` is WebGPU's minimum. */
export interface Target {
  readonly name: string;
  readonly storageBuffers: number;
  readonly workgroupBytes: number;
  readonly invocations: number;
  readonly bindingBytes: number;
  readonly gridPerDimension: number;
  /** "registers": no workgroup memory or barriers in products (software adapters); "tiles": workgroup tiles. */
  readonly products: "registers" | "tiles";
  /** Property of the adapter; 0 when unknown, and then never relied on. */
  readonly subgroupSize: number;
  /** Halves are elements of their own (feature `shader-f16`); else two share a u32 word and stores are atomic. */
  readonly f16: boolean;
}

export const guaranteed: Target = {
  name: "guaranteed", storageBuffers: 8, workgroupBytes: 16384, invocations: 256, bindingBytes: 134217728,
  gridPerDimension: 65535, products: "tiles", subgroupSize: 0, f16: false,
};

export const software: Target = { ...guaranteed, name: "software", products: "registers" };
