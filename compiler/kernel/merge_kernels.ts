// In: dispatches that do not depend on one another. Out: one dispatch that does the work of all: their grids one after the
// other along x, and a branch on the workgroup's number. The branch is the same for a whole workgroup, so barriers stay
// legal. Shared arrays are reused between branches. Refuses (undefined) what the target's limits or the workgroups forbid.

import type { Builtin, ScalarExpr } from "../scalar/expr.ts";
import { add, binary, builtin, div, i32, lt, mapExpr, mod, mul, name as ref, sub } from "../scalar/expr.ts";
import { exprText } from "../scalar/print.ts";
import type { Dispatch, Kernel, LocalArray, Operand, Stmt, Target } from "./kernel.ts";
import { hasBarrier } from "./lane_reduce.ts";
import { copyStmts, mapStmts } from "./walk.ts";

/** Lanes of the largest workgroup over those of the smallest that may share a dispatch. */
const widestPadding = 4;

/** Merges in order; the arena of a tensor is what a storage binding counts. */
export function mergeKernels(parts: readonly Dispatch[], target: Target, arenaOf: (tensor: string) => string): Dispatch | undefined {
  const workgroup = commonWorkgroup(parts.map((p) => p.kernel));
  if (!workgroup) return undefined;
  const operands = new Operands();
  const arrays = new Arrays();
  const bodies = parts.map((p, i) => {
    const ops = operands.add(p);
    const own = arrays.add(p.kernel.arrays);
    return partBody(p.kernel, i, workgroup, ops, own);
  });
  if (new Set([...operands.bind.values()].map(arenaOf)).size > target.storageBuffers) return undefined;
  if (arrays.sharedBytes() > target.workgroupBytes) return undefined;

  const totals = parts.map(({ kernel }) => foldOf(kernel)?.total ?? mul(mul(kernel.grid[0], kernel.grid[1]), kernel.grid[2]));
  const total = totals.reduce(add);
  const most = target.gridPerDimension;
  const folded = total.kind !== "const" || total.value > most;
  const grid: Kernel["grid"] = folded
    ? [binary("min", total, i32(most)), div(add(total, i32(most - 1)), i32(most)), i32(1)]
    : [total, i32(1), i32(1)];
  const index = folded ? add(mul(builtin("group.y"), i32(most)), builtin("group.x")) : builtin("group.x");

  // if at < n1 { first } else { at1 = at - n1; if at1 < n2 { second } else ... }, made from the last part backwards.
  let rest: readonly Stmt[] | undefined;
  for (let i = parts.length - 1; i >= 0; i--) {
    const before = totals[i - 1];
    const at: Stmt = { kind: "let", name: `merged_at_${i}`, value: before === undefined ? index : sub(ref(`merged_at_${i - 1}`, "i32"), before) };
    const cond = lt(ref(`merged_at_${i}`, "i32"), totals[i] ?? i32(0));
    rest = [at, { kind: "if", cond, then: bodies[i] ?? [], ...(rest ? { else: rest } : {}) }];
  }
  const names = parts.map((p) => p.kernel.name);
  return {
    kernel: {
      name: names.length > 3 ? `${names.slice(0, 2).join("+")}+${names.length - 2}_more` : names.join("+"),
      operands: operands.all(),
      lengths: [...new Set(parts.flatMap((p) => p.kernel.lengths))],
      workgroup, grid,
      arrays: arrays.all(),
      body: rest ?? [],
      origins: parts.flatMap((p) => p.kernel.origins),
    },
    bind: Object.fromEntries(operands.bind),
  };
}

/** A long row of workgroups folded into two dimensions, as builders do it: min(n, width) by ceil(n / width). What lies
 *  beyond n in the last row has no work. */
function foldOf(k: Kernel): { readonly total: ScalarExpr; readonly width: number } | undefined {
  const [x, y, z] = k.grid;
  if (x.kind !== "binary" || x.op !== "min" || x.b.kind !== "const" || z.kind !== "const" || z.value !== 1) return undefined;
  const width = x.b.value;
  return exprText(y) === exprText(div(add(x.a, i32(width - 1)), i32(width))) ? { total: x.a, width } : undefined;
}

const lanesOf = (k: Kernel): number => k.workgroup[0] * k.workgroup[1] * k.workgroup[2];

/** One workgroup for all: their own when equal; a padded row of lanes when none of them has a barrier. */
function commonWorkgroup(kernels: readonly Kernel[]): Kernel["workgroup"] | undefined {
  const first = kernels[0]?.workgroup;
  if (!first) return undefined;
  if (kernels.every((k) => k.workgroup.every((w, i) => w === first[i]))) return first;
  if (kernels.some((k) => hasBarrier(k.body))) return undefined;
  const lanes = kernels.map(lanesOf);
  const most = Math.max(...lanes);
  return most > widestPadding * Math.min(...lanes) ? undefined : [most, 1, 1];
}

/** The statements of one part, told its own place in its own grid. */
function partBody(k: Kernel, i: number, workgroup: Kernel["workgroup"], operands: ReadonlyMap<string, string>, arrays: ReadonlyMap<string, string>): Stmt[] {
  const at = ref(`merged_at_${i}`, "i32");
  const places = new Map<Builtin, ScalarExpr>();
  const lets: Stmt[] = [];
  const named = (what: string, value: ScalarExpr): ScalarExpr => {
    if (value.kind === "const" || value.kind === "name" || value.kind === "builtin") return value;
    lets.push({ kind: "let", name: `merged_${what}_${i}`, value });
    return ref(`merged_${what}_${i}`, "i32");
  };
  const [nx, ny, nz] = k.grid;
  const flat = (e: ScalarExpr): boolean => e.kind === "const" && e.value === 1;
  const fold = foldOf(k);
  const width = fold ? i32(fold.width) : nx;
  const rows = flat(ny) && flat(nz) ? i32(0) : div(at, width);
  places.set("group.x", named("x", flat(ny) && flat(nz) ? at : mod(at, width)));
  places.set("group.y", named("y", flat(nz) ? rows : mod(rows, ny)));
  places.set("group.z", named("z", flat(nz) ? i32(0) : div(rows, ny)));
  const same = k.workgroup.every((w, d) => w === workgroup[d]);
  const [wx, wy] = k.workgroup;
  const lane = builtin("lane.x");
  if (!same) {
    const row = lanesOf(k) === wx;
    places.set("lane.x", row ? lane : named("lx", mod(lane, i32(wx))));
    places.set("lane.y", row ? i32(0) : named("ly", mod(div(lane, i32(wx)), i32(wy))));
    places.set("lane.z", row ? i32(0) : named("lz", div(lane, i32(wx * wy))));
  }
  const copied = copyStmts(k.body, (n) => `${n}k${i}`, new Map());
  const body = mapStmts(copied, {
    expr: (e) => mapExpr(e, (x) => (x.kind === "builtin" ? (places.get(x.name) ?? x) : x)),
    operand: (n) => operands.get(n) ?? n,
    array: (n) => arrays.get(n) ?? n,
  });
  const path = k.origins[0]?.path;
  const marked: Stmt[] = path === undefined ? body : [{ kind: "comment", text: path }, ...body];
  const lanes = workgroup[0] * workgroup[1] * workgroup[2];
  return lanes === lanesOf(k) ? [...lets, ...marked] : [{ kind: "if", cond: lt(lane, i32(lanesOf(k))), then: [...lets, ...marked] }];
}

/** Operands of all parts, one a tensor. */
class Operands {
  readonly bind = new Map<string, string>();
  readonly #byTensor = new Map<string, Operand>();

  add(d: Dispatch): Map<string, string> {
    const renamed = new Map<string, string>();
    for (const op of d.kernel.operands) {
      const tensor = d.bind[op.name];
      if (tensor === undefined) throw new Error(`kernel ${d.kernel.name}: operand ${op.name} is bound to nothing`);
      const old = this.#byTensor.get(tensor);
      const name = old?.name ?? `b${this.#byTensor.size}_${tensor.replace(/[^A-Za-z0-9]+/g, "_")}`;
      const access = old === undefined || old.access === op.access ? op.access : "readwrite";
      this.#byTensor.set(tensor, { ...(old ?? op), name, access });
      this.bind.set(name, tensor);
      renamed.set(op.name, name);
    }
    return renamed;
  }

  all(): Operand[] {
    return [...this.#byTensor.values()];
  }
}

/** Arrays of all parts. A workgroup runs one part only, so parts share arrays of one kind and dtype. */
class Arrays {
  readonly #pool: LocalArray[] = [];

  add(arrays: readonly LocalArray[]): Map<string, string> {
    const renamed = new Map<string, string>();
    const taken = new Set<number>();
    for (const a of arrays) {
      // Private arrays are only shared at equal size: a longer one may keep the emitter from turning it into registers.
      let at = this.#pool.findIndex((p, i) => !taken.has(i) && p.dtype === a.dtype && p.space === a.space && (a.space === "shared" || p.size === a.size));
      if (at < 0) at = this.#pool.push({ ...a, name: `merged_${a.space}_${this.#pool.length}` }) - 1;
      const p = this.#pool[at];
      if (!p) continue;
      if (p.size < a.size) this.#pool[at] = { ...p, size: a.size };
      taken.add(at);
      renamed.set(a.name, p.name);
    }
    return renamed;
  }

  sharedBytes(): number {
    return this.#pool.reduce((n, a) => n + (a.space === "shared" ? 4 * a.size : 0), 0);
  }

  all(): LocalArray[] {
    return [...this.#pool];
  }
}
