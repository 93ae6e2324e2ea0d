// In: a Kernel and the arena of each operand. Out: WGSL text with entry point `main`, its bindings and its line map.
// Decides nothing: no tiling, no reordering. f16 arrays are array<f16> where the device has it, else words of two halves: a
// store then exchanges its half of the word atomically, since a neighbour may be storing the other. Binding 0 is the uniform block (i32 words: the lengths, then one element
// offset an operand); bindings 1..n are the distinct arenas in order of first use. Comments of the IR do not reach the text,
// so that equal kernels of different layers give equal text.

import type { ScalarExpr } from "../scalar/expr.ts";
import type { Kernel, LocalArray, Stmt, StorageType } from "../kernel/kernel.ts";
import { expandLaneReduce } from "../kernel/lane_reduce.ts";
import { unrollKernel } from "../kernel/unroll.ts";
import { eachStmt } from "../kernel/walk.ts";
import type { LineMapEntry, PlanModule } from "../plan/plan.ts";
import { atLeast, expression, helperText } from "./expression.ts";
import type { HelperName, Scope } from "./expression.ts";
import { literal } from "./literal.ts";
import { Names } from "./names.ts";

export interface ArenaRef {
  /** Index into the plan's arenas; only its identity matters here. */
  readonly arena: number;
  readonly dtype: StorageType;
}

export type EmittedModule = Omit<PlanModule, "proven"> & {
  /** Arena per storage binding, in binding order. */
  readonly arenas: readonly number[];
};

/** Emits one kernel. `arenaOf` must agree with the operand's dtype; `f16`: the device has 16-bit elements. */
export function emitModule(kernel: Kernel, arenaOf: (operand: string) => ArenaRef, f16 = false): EmittedModule {
  return new Emitter(unrollKernel(expandLaneReduce(kernel)), arenaOf, f16).module();
}

interface Place {
  readonly text: string;
  readonly dtype: StorageType;
}

class Emitter {
  readonly #kernel: Kernel;
  readonly #lines: string[] = [];
  readonly #map: LineMapEntry[] = [];
  readonly #names = new Names();
  readonly #arrays = new Map<string, LocalArray>();
  readonly #operands = new Map<string, { text: string; dtype: StorageType }>();
  readonly #arenas: number[] = [];
  readonly #bindings: { dtype: StorageType; access: "read" | "read_write" }[] = [];
  readonly #operandBindings: { name: string; binding: number }[] = [];
  readonly #helpers = new Set<HelperName>();
  readonly #builtins = new Set<string>();
  readonly #scope: Scope;
  readonly #touched = new Set<string>();
  #storageBarrier = false;
  readonly #f16: boolean;

  constructor(kernel: Kernel, arenaOf: (operand: string) => ArenaRef, f16: boolean) {
    this.#kernel = kernel;
    this.#f16 = f16;
    this.#scope = { helpers: this.#helpers, nameOf: (e) => this.#nameOf(e) };
    this.#bindOperands(arenaOf);
  }

  #bindOperands(arenaOf: (operand: string) => ArenaRef): void {
    for (const [i, op] of this.#kernel.operands.entries()) {
      const ref = arenaOf(op.name);
      if (ref.dtype !== op.dtype) throw new Error(`operand ${op.name} is ${op.dtype}, its arena ${ref.dtype}`);
      let at = this.#arenas.indexOf(ref.arena);
      if (at < 0) {
        at = this.#arenas.push(ref.arena) - 1;
        this.#bindings.push({ dtype: op.dtype, access: "read" });
      }
      const binding = this.#bindings[at];
      if (binding && op.access !== "read") binding.access = "read_write";
      // A read and a write of one operand across a barrier must be ordered in storage, too.
      this.#storageBarrier ||= op.access === "readwrite";
      this.#operandBindings.push({ name: op.name, binding: at + 1 });
      this.#operands.set(op.name, { text: `m${at}[o_${i}`, dtype: op.dtype });
    }
  }

  module(): EmittedModule {
    const kernel = this.#kernel;
    this.#origin(0);
    const shared = kernel.arrays.filter((a) => a.space === "shared");
    const bytes = shared.reduce((n, a) => n + a.size * 4, 0);
    const words = Math.max(1, Math.ceil((kernel.lengths.length + kernel.operands.length) / 4));

    // The body first: it tells which helpers, builtins and arrays the head must declare.
    const body = this.#main();
    if (this.#f16 && this.#bindings.some((b) => b.dtype === "f16")) this.#line("enable f16;");
    this.#line(`@group(0) @binding(0) var<uniform> u: array<vec4<u32>, ${words}>;`);
    for (const [i, b] of this.#bindings.entries())
      this.#line(`@group(0) @binding(${i + 1}) var<storage, ${b.access}> m${i}: array<${this.#element(b)}>;`);
    for (const a of shared) this.#line(`var<workgroup> ${this.#arrayName(a.name)}: array<${a.dtype}, ${a.size}>;`);
    for (const h of [...this.#helpers].sort()) this.#line(helperText[h]);
    const params: string[] = [];
    if ([...this.#builtins].some((b) => b.startsWith("group"))) params.push("@builtin(workgroup_id) wg: vec3<u32>");
    if ([...this.#builtins].some((b) => b.startsWith("lane"))) params.push("@builtin(local_invocation_id) li: vec3<u32>");
    this.#line(`@compute @workgroup_size(${kernel.workgroup.join(", ")})`);
    this.#line(`fn main(${params.join(", ")}) {`);
    this.#prologue();
    const before = this.#lines.length;
    this.#lines.push(...body.lines, "}", "");
    for (const m of body.map) this.#map.push({ ...m, line: m.line + before });
    return {
      wgsl: this.#lines.join("\n"),
      lines: this.#map,
      workgroup: kernel.workgroup,
      workgroupBytes: bytes,
      bindings: this.#bindings,
      lengths: kernel.lengths,
      operands: this.#operandBindings,
      arenas: this.#arenas,
    };
  }

  #prologue(): void {
    const word = (i: number): string => `i32(u[${i >> 2}].${"xyzw"[i & 3] ?? "x"})`;
    for (const [i, n] of this.#kernel.lengths.entries()) this.#line(`  let n_${i} = ${word(i)}; // ${n}`);
    const first = this.#kernel.lengths.length;
    for (const i of this.#kernel.operands.keys()) this.#line(`  let o_${i} = ${word(first + i)};`);
    for (const b of [...this.#builtins].sort()) {
      const [what, axis] = b.split(".");
      this.#line(`  let ${what === "group" ? "wg" : "li"}_${axis} = i32(${what === "group" ? "wg" : "li"}.${axis});`);
    }
    // A binding the text does not mention would be missing from the pipeline's automatic layout.
    for (const i of this.#bindings.keys()) if (!this.#touched.has(`m${i}`)) this.#line(`  _ = &m${i};`);
    for (const a of this.#kernel.arrays)
      if (a.space === "private") this.#line(`  var ${this.#arrayName(a.name)}: array<${a.dtype}, ${a.size}>;`);
  }

  #element(b: { readonly dtype: StorageType; readonly access: "read" | "read_write" }): string {
    if (b.dtype !== "f16" || this.#f16) return b.dtype;
    return b.access === "read" ? "u32" : "atomic<u32>";
  }

  /** The statements of `main`, with line numbers of their own. */
  #main(): { lines: string[]; map: LineMapEntry[] } {
    for (const [i, a] of this.#kernel.arrays.entries()) this.#arrays.set(a.name, { ...a, name: `${a.space === "shared" ? "s" : "a"}${i}` });
    const keptLines = this.#lines.splice(0);
    const keptMap = this.#map.splice(0);
    this.#block(this.#kernel.body, "  ");
    const out = { lines: this.#lines.splice(0), map: this.#map.splice(0) };
    this.#lines.push(...keptLines);
    this.#map.push(...keptMap);
    return out;
  }

  #line(text: string): void {
    this.#lines.push(text);
  }

  /** From the next line on, the text belongs to this origin of the kernel. */
  #origin(index: number): void {
    const origin = this.#kernel.origins[index];
    if (!origin) return;
    const span = origin.spans[0];
    this.#map.push({ line: this.#lines.length + 1, source: span?.source ?? "", start: span?.start ?? 0, end: span?.end ?? 0, path: origin.path });
  }

  #arrayName(irName: string): string {
    const a = this.#arrays.get(irName);
    if (!a) throw new Error(`no array ${irName}`);
    return a.name;
  }

  #nameOf(e: ScalarExpr & { kind: "name" | "length" | "builtin" }): string {
    if (e.kind === "name") return this.#names.get(e.name);
    if (e.kind === "length") {
      const i = this.#kernel.lengths.indexOf(e.name);
      if (i < 0) throw new Error(`kernel ${this.#kernel.name} does not list the length ${e.name}`);
      return `n_${i}`;
    }
    this.#builtins.add(e.name);
    return e.name.replace("group.", "wg_").replace("lane.", "li_");
  }

  #expr(e: ScalarExpr): string {
    return expression(e, this.#scope);
  }

  #place(operand: string, index: ScalarExpr): Place {
    const op = this.#operands.get(operand);
    if (!op) throw new Error(`no operand ${operand}`);
    this.#touched.add(op.text.slice(0, op.text.indexOf("[")));
    if (index.kind === "const" && index.value === 0) return { text: `${op.text}]`, dtype: op.dtype };
    return { text: `${op.text} + ${atLeast(index, 6, this.#scope)}]`, dtype: op.dtype };
  }

  /** One load at a chosen offset where the operands lie in one arena; else a load of each, and a choice. */
  #among(s: Stmt & { kind: "load" }, { or, which }: { readonly or: readonly string[]; readonly which: ScalarExpr }, value: (place: Place) => string, pad: string): string {
    const chosen = this.#names.bind("which");
    this.#line(`${pad}let ${chosen} = ${this.#expr(which)};`);
    const texts = [s.from, ...or].map((o) => this.#operands.get(o)?.text ?? "");
    const pick = (parts: readonly string[]): string => parts.reduce((rest, part, i) => (i === 0 ? part : `select(${rest}, ${part}, ${chosen} == ${i}i)`));
    const arenas = texts.map((text) => text.slice(0, text.indexOf("[")));
    if (new Set(arenas).size > 1) return pick([s.from, ...or].map((o) => value(this.#place(o, s.index))));
    const from = this.#names.bind("from");
    this.#line(`${pad}let ${from} = ${pick(texts.map((text) => text.slice(text.indexOf("[") + 1)))};`);
    const { dtype } = this.#place(s.from, s.index);
    return value({ text: `${arenas[0]}[${from}${s.index.kind === "const" && s.index.value === 0 ? "" : ` + ${atLeast(s.index, 6, this.#scope)}`}]`, dtype });
  }

  #block(stmts: readonly Stmt[], pad: string): void {
    for (const s of stmts) this.#stmt(s, pad);
  }

  #stmt(s: Stmt, pad: string): void {
    switch (s.kind) {
      case "let": {
        const value = this.#expr(s.value);
        return this.#line(`${pad}let ${this.#names.bind(s.name)} = ${value};`);
      }
      case "var": {
        const value = this.#expr(s.value);
        return this.#line(`${pad}var ${this.#names.bind(s.name)} = ${value};`);
      }
      case "assign": return this.#line(`${pad}${this.#names.get(s.name)} = ${this.#expr(s.value)};`);
      case "load": {
        const value = ({ text, dtype }: Place): string =>
          dtype === "f16" ? this.#loadHalf(text, pad) : s.type === dtype ? text : s.type === "bool" ? `${text} != ${literal(dtype, 0)}` : `bitcast<${s.type}>(${text})`;
        const loaded = s.among ? this.#among(s, s.among, value, pad) : value(this.#place(s.from, s.index));
        return this.#line(`${pad}let ${this.#names.bind(s.name)} = ${loaded};`);
      }
      case "store": {
        const { text, dtype } = this.#place(s.to, s.index);
        const value = this.#expr(s.value);
        if (dtype === "f16") return this.#storeHalf(text, value, pad);
        return this.#line(`${pad}${text} = ${s.value.type === "bool" ? `${dtype}(${value})` : value};`);
      }
      case "aload": {
        const place = `${this.#arrayName(s.from)}[${this.#expr(s.index)}]`;
        return this.#line(`${pad}let ${this.#names.bind(s.name)} = ${s.uniform ? `workgroupUniformLoad(&${place})` : place};`);
      }
      case "astore": return this.#line(`${pad}${this.#arrayName(s.to)}[${this.#expr(s.index)}] = ${this.#expr(s.value)};`);
      case "loop": return this.#loop(s, pad);
      case "if": {
        this.#line(`${pad}if (${this.#expr(s.cond)}) {`);
        this.#block(s.then, `${pad}  `);
        if (s.else && s.else.length > 0) {
          this.#line(`${pad}} else {`);
          this.#block(s.else, `${pad}  `);
        }
        return this.#line(`${pad}}`);
      }
      case "barrier": return this.#line(`${pad}${this.#storageBarrier ? "storageBarrier(); " : ""}workgroupBarrier();`);
      case "comment": {
        const at = this.#kernel.origins.findIndex((o) => o.path === s.text);
        return at >= 0 ? this.#origin(at) : undefined;
      }
      case "lane_reduce": throw new Error("lane_reduce must be expanded before emission");
    }
  }

  /** The word of a packed element and the element's index, which is given a name. */
  #word(text: string, pad: string): { word: string; index: string; atomic: boolean } {
    const open = text.indexOf("[");
    const index = this.#names.bind("half");
    this.#line(`${pad}let ${index} = ${text.slice(open + 1, -1)};`);
    const array = text.slice(0, open);
    return { word: `${array}[${index} >> 1u]`, index, atomic: this.#bindings[Number(array.slice(1))]?.access === "read_write" };
  }

  #loadHalf(text: string, pad: string): string {
    if (this.#f16) return `f32(${text})`;
    const { word, index, atomic } = this.#word(text, pad);
    this.#helpers.add("half");
    return `h_half(${atomic ? `atomicLoad(&${word})` : word}, ${index})`;
  }

  #storeHalf(text: string, value: string, pad: string): void {
    this.#helpers.add("f16");
    if (this.#f16) return this.#line(`${pad}${text} = f16(h_f16(${value}));`);
    const { word, index } = this.#word(text, pad);
    const place = this.#names.bind("place");
    this.#helpers.add("bits");
    this.#line(`${pad}let ${place} = u32(${index} & 1i) << 4u;`);
    // Nobody else writes this half: what it holds now, turned over into what it shall hold, leaves the other half alone.
    this.#line(`${pad}atomicXor(&${word}, (((atomicLoad(&${word}) >> ${place}) & 0xffffu) ^ h_bits(${value})) << ${place});`);
  }

  /** Bounds are evaluated once, as the IR says. A loop with constant bounds counts by one: then no driver guard is added. */
  #loop(s: Stmt & { kind: "loop" }, pad: string): void {
    const { from, to, step } = s;
    const start = this.#expr(from);
    if (from.kind === "const" && to.kind === "const" && step !== 1) {
      const trips = Math.max(0, Math.ceil((to.value - from.value) / step));
      const count = this.#names.bind("k");
      this.#line(`${pad}for (var ${count} = 0i; ${count} < ${trips}i; ${count}++) {`);
      this.#line(`${pad}  let ${this.#names.bind(s.name)} = ${from.value === 0 ? "" : `${start} + `}${count} * ${literal("i32", step)};`);
    } else {
      let limit = atLeast(to, 6, this.#scope);
      if (mentionsVar(to, this.#kernel.body)) {
        const end = this.#names.bind("end");
        this.#line(`${pad}let ${end} = ${limit};`);
        limit = end;
      }
      const i = this.#names.bind(s.name);
      this.#line(`${pad}for (var ${i} = ${start}; ${i} < ${limit}; ${step === 1 ? `${i}++` : `${i} += ${literal("i32", step)}`}) {`);
    }
    this.#block(s.body, `${pad}  `);
    this.#line(`${pad}}`);
  }
}

/** Whether the value can change while a loop over it runs, or is worth naming: anything but constants, names and lengths. */
function mentionsVar(e: ScalarExpr, body: readonly Stmt[]): boolean {
  if (e.kind === "const" || e.kind === "length") return false;
  if (e.kind !== "name") return true;
  let isVar = false;
  eachStmt(body, (s) => { isVar ||= s.kind === "var" && s.name === e.name; });
  return isVar;
}
