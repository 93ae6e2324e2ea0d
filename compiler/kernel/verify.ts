// In: kernels and programs. Out: what is wrong with them, in words; an empty list means sound. Checked: names, types,
// access modes, device limits, barriers in uniform control flow, bindings, and that temps are written before they are read.
// Bounds are proven in bounds.ts; an access that cannot be proven is no error, it only keeps robustness checks on.

import type { ScalarExpr, ScalarType } from "../scalar/expr.ts";
import { scalarOf } from "../graph/tensor.ts";
import { children } from "../scalar/expr.ts";
import type { Kernel, Program, ProgramStep, Stmt, Target } from "./kernel.ts";
import { dispatchAccess } from "./memory.ts";
import { stmtText } from "./print.ts";
import { lengthsOf } from "./sizes.ts";
import { divergent } from "./uniform.ts";
import { typeProblem } from "./types.ts";

/** Everything wrong with one kernel on a target. */
export function verifyKernel(kernel: Kernel, target: Target): string[] {
  const check = new KernelCheck(kernel, target);
  check.run();
  return check.problems.map((p) => `kernel ${kernel.name}: ${p}`);
}

class KernelCheck {
  readonly problems: string[] = [];
  readonly #kernel: Kernel;
  readonly #target: Target;

  constructor(kernel: Kernel, target: Target) {
    this.#kernel = kernel;
    this.#target = target;
  }

  run(): void {
    this.#limits();
    this.#sizes();
    this.#block(this.#kernel.body, new Map());
    for (const s of divergent(this.#kernel.body).misplaced)
      this.problems.push(`\`${stmtText(s)}\` stands where not all invocations of the workgroup come`);
  }

  #limits(): void {
    const k = this.#kernel;
    const t = this.#target;
    const [x, y, z] = k.workgroup;
    if (x * y * z > t.invocations) this.problems.push(`workgroup of ${x * y * z} invocations, the target has ${t.invocations}`);
    if (z > 64) this.problems.push(`workgroup depth ${z} is over 64`);
    const bytes = k.arrays.reduce((n, a) => n + (a.space === "shared" ? a.size * 4 : 0), 0);
    if (bytes > t.workgroupBytes) this.problems.push(`${bytes} bytes of shared arrays, the target has ${t.workgroupBytes}`);
    for (const g of k.grid)
      if (g.kind === "const" && g.value > t.gridPerDimension) this.problems.push(`grid of ${g.value} workgroups, the target has ${t.gridPerDimension} in a dimension`);
    const seen = new Set<string>();
    for (const n of [...k.operands, ...k.arrays].map((o) => o.name)) {
      if (seen.has(n)) this.problems.push(`two operands or arrays are called ${n}`);
      seen.add(n);
    }
    if (k.origins.length === 0) this.problems.push("no origin: nobody could say which line of the spec it serves");
  }

  #sizes(): void {
    const k = this.#kernel;
    const sizes: [string, ScalarExpr][] = [...k.grid.map((g): [string, ScalarExpr] => ["grid", g]), ...k.operands.map((o): [string, ScalarExpr] => [`size of ${o.name}`, o.size])];
    for (const [what, e] of sizes) {
      if (!isSize(e)) this.problems.push(`the ${what} is not an expression over lengths`);
      for (const n of lengthsOf(e)) if (!k.lengths.includes(n)) this.problems.push(`the ${what} mentions the length ${n}, which the kernel does not list`);
    }
  }

  #expr(e: ScalarExpr, names: ReadonlyMap<string, Binding>, want: ScalarType | undefined, s: Stmt): void {
    const problem = typeProblem(e) ?? this.#leaves(e, names);
    if (problem !== undefined) this.problems.push(`\`${stmtText(s)}\`: ${problem}`);
    else if (want !== undefined && e.type !== want) this.problems.push(`\`${stmtText(s)}\`: ${e.type} where ${want} is needed`);
  }

  #leaves(e: ScalarExpr, names: ReadonlyMap<string, Binding>): string | undefined {
    if (e.kind === "name") {
      const b = names.get(e.name);
      if (!b) return `${e.name} is not bound here`;
      if (b.type !== e.type) return `${e.name} is ${b.type}, used as ${e.type}`;
    }
    if (e.kind === "length" && !this.#kernel.lengths.includes(e.name)) return `the kernel does not list the length ${e.name}`;
    if (e.kind === "attr") return `the attribute ${e.side}.${e.name} was never replaced`;
    for (const c of children(e)) {
      const p = this.#leaves(c, names);
      if (p !== undefined) return p;
    }
    return undefined;
  }

  #block(stmts: readonly Stmt[], outer: ReadonlyMap<string, Binding>): void {
    const names = new Map(outer);
    for (const s of stmts) this.#stmt(s, names);
  }

  #stmt(s: Stmt, names: Map<string, Binding>): void {
    const bad = (text: string): void => void this.problems.push(`\`${stmtText(s)}\`: ${text}`);
    switch (s.kind) {
      case "let": case "var":
        this.#expr(s.value, names, undefined, s);
        names.set(s.name, { type: s.value.type, mutable: s.kind === "var" });
        break;
      case "assign": {
        const b = names.get(s.name);
        if (!b?.mutable) bad(`${s.name} is not a var`);
        this.#expr(s.value, names, b?.type, s);
        break;
      }
      case "load": case "store": {
        const name = s.kind === "load" ? s.from : s.to;
        const op = this.#kernel.operands.find((o) => o.name === name);
        this.#expr(s.index, names, "i32", s);
        if (s.kind === "load" && s.among) {
          this.#expr(s.among.which, names, "i32", s);
          for (const other of s.among.or) {
            const o = this.#kernel.operands.find((x) => x.name === other);
            if (o?.dtype !== op?.dtype || o?.access === "write") bad(`${other} cannot be read in the place of ${name}`);
          }
        }
        if (!op) bad(`no operand ${name}`);
        else if (op.access === (s.kind === "load" ? "write" : "read")) bad(`${name} may only be ${op.access === "read" ? "read" : "written"}`);
        if (s.kind === "load") {
          names.set(s.name, { type: s.type, mutable: false });
          if (op && s.type !== scalarOf(op.dtype) && !(s.type === "bool" && scalarOf(op.dtype) !== "f32")) bad(`${name} is ${op.dtype}, not ${s.type}`);
        } else {
          this.#expr(s.value, names, undefined, s);
          if (op && s.value.type !== scalarOf(op.dtype) && !(s.value.type === "bool" && scalarOf(op.dtype) !== "f32")) bad(`${name} is ${op.dtype}, the value ${s.value.type}`);
        }
        break;
      }
      case "aload": case "astore": {
        const name = s.kind === "aload" ? s.from : s.to;
        const array = this.#kernel.arrays.find((a) => a.name === name);
        this.#expr(s.index, names, "i32", s);
        if (!array) bad(`no array ${name}`);
        if (s.kind === "astore") this.#expr(s.value, names, array?.dtype, s);
        else {
          names.set(s.name, { type: array?.dtype ?? "f32", mutable: false });
          if (s.uniform && array?.space !== "shared") bad(`a uniform read of the private array ${name}`);
        }
        break;
      }
      case "loop":
        this.#expr(s.from, names, "i32", s);
        this.#expr(s.to, names, "i32", s);
        if (!Number.isInteger(s.step) || s.step < 1) bad(`a step of ${s.step}`);
        this.#block(s.body, new Map(names).set(s.name, { type: "i32", mutable: false }));
        break;
      case "if":
        this.#expr(s.cond, names, "bool", s);
        this.#block(s.then, names);
        this.#block(s.else ?? [], names);
        break;
      case "lane_reduce": {
        this.#expr(s.value, names, undefined, s);
        names.set(s.name, { type: s.value.type, mutable: false });
        const a = this.#kernel.arrays.find((x) => x.name === s.scratch);
        const lanes = this.#kernel.workgroup.reduce((n, w) => n * w, 1);
        if (!a || a.space !== "shared" || a.dtype !== s.value.type || a.size < lanes) bad(`scratch ${s.scratch} is not a shared ${s.value.type} array of ${lanes}`);
        break;
      }
      case "barrier": case "comment": break;
    }
  }
}

interface Binding {
  readonly type: ScalarType;
  readonly mutable: boolean;
}

function isSize(e: ScalarExpr): boolean {
  if (e.kind === "const") return e.type === "i32" && Number.isInteger(e.value);
  if (e.kind === "length") return true;
  return e.kind === "binary" && e.type === "i32" && ["add", "sub", "mul", "div", "mod", "min", "max"].includes(e.op) && children(e).every(isSize);
}

/** Everything wrong with a program on a target, kernels included. */
export function verifyProgram(program: Program, target: Target): string[] {
  const problems: string[] = [];
  const tensors = new Map(program.tensors.map((t) => [t.name, t]));
  if (tensors.size < program.tensors.length) problems.push(`program ${program.name}: two tensors have one name`);
  const written = new Set(program.tensors.filter((t) => t.kind === "input" || t.kind === "state").map((t) => t.name));
  const seen = new Set<Kernel>();
  const each = (steps: readonly ProgramStep[], lengths: readonly string[]): void => {
    for (const s of steps) {
      if (s.kind === "repeat") {
        if (!isSize(s.count)) problems.push(`repeat ${s.name}: the count is not an expression over lengths`);
        each(s.steps, [...lengths, s.name]);
        continue;
      }
      const { kernel, bind } = s.dispatch;
      if (!seen.has(kernel)) problems.push(...verifyKernel(kernel, target));
      seen.add(kernel);
      const bad = (text: string): void => void problems.push(`kernel ${kernel.name}: ${text}`);
      for (const n of kernel.lengths) if (!lengths.includes(n)) bad(`the length ${n} is none of the program's`);
      const bound = kernel.operands.map((op) => tensors.get(bind[op.name] ?? ""));
      const missing = kernel.operands.find((_, i) => !bound[i]);
      if (missing) {
        bad(`operand ${missing.name} is bound to no tensor of the program`);
        continue;
      }
      kernel.operands.forEach((op, i) => {
        const t = bound[i];
        if (!t) return;
        if (t.dtype !== op.dtype) bad(`operand ${op.name} is ${op.dtype}, its tensor ${t.name} is ${t.dtype}`);
        if (t.kind === "input" && op.access !== "read") bad(`the input ${t.name} is written`);
        // A kernel that also writes it may read what it has written itself; the interpreter watches that.
        if (op.access === "read" && !written.has(t.name)) bad(`${t.name} is read before anything writes it`);
      });
      const arenas = new Set(bound.map((t) => (t ? arenaKey(t) : "")));
      if (arenas.size > target.storageBuffers) bad(`${arenas.size} arenas (${[...arenas].join(", ")}), the target binds ${target.storageBuffers}`);
      for (const t of dispatchAccess(s.dispatch).writes) written.add(t);
    }
  };
  each(program.steps, program.lengths);
  for (const [name, tensor] of Object.entries(program.outputs)) {
    if (!tensors.has(tensor)) problems.push(`output ${name}: no tensor ${tensor}`);
    else if (!written.has(tensor)) problems.push(`output ${name}: ${tensor} is never written`);
  }
  return problems;
}

/** The buffer a tensor will share with others: what a dispatch binds once. The first part of a state's name is its buffer. */
export function arenaKey(t: { readonly name: string; readonly kind: string; readonly dtype: string }): string {
  return t.kind === "state" ? `state ${t.name.split("/")[0] ?? t.name}` : `${t.kind}.${t.dtype}`;
}
