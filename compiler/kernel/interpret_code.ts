// In: a kernel without lane reductions. Out: JavaScript text that runs one invocation, with every access checked. A kernel
// with barriers becomes a generator that yields at each barrier. f32 operations round, integers wrap, as on a device.

import { scalarOf } from "../graph/tensor.ts";
import type { ScalarExpr, ScalarType } from "../scalar/expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";
import { hasBarrier } from "./lane_reduce.ts";

export interface KernelCode {
  /** A function body: takes `ctx`, returns the invocation function. */
  readonly text: string;
  readonly barriers: boolean;
  /** Statements by number, as the text names them in faults. */
  readonly statements: readonly Stmt[];
}

export interface CodeOptions {
  /** Operands whose accesses are kept in a shadow (written ones), and those with an initialisation map. */
  readonly shadowed: ReadonlySet<string>;
  readonly mapped: ReadonlySet<string>;
  /** Check races and initialisation of arrays. */
  readonly checks: boolean;
}

/** Functions the text calls; kept in one place so that generated code and tests agree. */
export const runtimeText = `
const fr = Math.fround;
const idiv = (a, b) => b === 0 ? a : (a / b) | 0;
const imod = (a, b) => b === 0 ? 0 : (a % b) | 0;
const udiv = (a, b) => b === 0 ? a : Math.floor(a / b);
const umod = (a, b) => b === 0 ? 0 : a % b;
const f2i = (x) => x !== x ? 0 : x <= -2147483648 ? -2147483648 : x >= 2147483647 ? 2147483647 : Math.trunc(x);
const f2u = (x) => x !== x || x <= 0 ? 0 : x >= 4294967295 ? 4294967295 : Math.trunc(x);
const pow = (x, y) => y === 0 ? 1 : x === 0 ? 0 : x < 0 && y === Math.floor(y) ? fr(Math.pow(x, y)) : fr(Math.pow(Math.abs(x), y));
const sigmoid = (x) => fr(1 / (1 + Math.exp(-x)));
const mulhi = (a, b) => {
  const al = a & 65535, ah = a >>> 16, bl = b & 65535, bh = b >>> 16;
  const t = ah * bl + Math.floor((al * bl) / 65536);
  const w = t % 65536 + al * bh;
  return (ah * bh + Math.floor(t / 65536) + Math.floor(w / 65536)) >>> 0;
};
const bitsF = new Float32Array(1), bitsI = new Int32Array(bitsF.buffer), bitsU = new Uint32Array(bitsF.buffer);
const asF = (u) => { bitsI[0] = u; return bitsF[0]; };
const asU = (f) => { bitsF[0] = f; return bitsU[0]; };
`;

export function kernelCode(kernel: Kernel, options: CodeOptions): KernelCode {
  return new Coder(kernel, options).run();
}

class Coder {
  readonly #kernel: Kernel;
  readonly #options: CodeOptions;
  readonly #lines: string[] = [];
  readonly #ids = new Map<string, string>();
  readonly #statements: Stmt[] = [];
  #next = 0;

  constructor(kernel: Kernel, options: CodeOptions) {
    this.#kernel = kernel;
    this.#options = options;
  }

  run(): KernelCode {
    const kernel = this.#kernel;
    const barriers = hasBarrier(kernel.body);
    this.#lines.push('"use strict";', runtimeText);
    kernel.lengths.forEach((n, i) => this.#lines.push(`const n${i} = ctx.lengths[${i}]; // ${JSON.stringify(n)}`));
    for (const i of kernel.operands.keys())
      this.#lines.push(`const d${i} = ctx.data[${i}], z${i} = d${i}.length, g${i} = ctx.shadows[${i}], m${i} = ctx.written[${i}];`);
    kernel.arrays.forEach((a, i) => {
      if (a.space === "shared") this.#lines.push(`const sa${i} = ctx.arrays[${i}][0], sw${i} = ctx.arrayWritten[${i}][0], sg${i} = ctx.arrayShadows[${i}];`);
      else this.#lines.push(`const pa${i} = ctx.arrays[${i}], pw${i} = ctx.arrayWritten[${i}];`);
    });
    this.#lines.push("const fault = ctx.fault, f16 = ctx.f16;");
    this.#lines.push(`return function${barriers ? "*" : ""} (groupx, groupy, groupz, lanex, laney, lanez, self, lane) {`);
    kernel.arrays.forEach((a, i) => {
      if (a.space !== "private") return;
      this.#lines.push(`const sa${i} = pa${i}[lane], sw${i} = pw${i}[lane];`);
      this.#lines.push(this.#options.checks ? `sw${i}.fill(0);` : `sa${i}.fill(0);`);
    });
    this.#block(kernel.body);
    this.#lines.push("};");
    return { text: this.#lines.join("\n"), barriers, statements: this.#statements };
  }

  #bind(n: string): string {
    const id = `v${this.#next++}`;
    this.#ids.set(n, id);
    return id;
  }

  #get(n: string): string {
    const id = this.#ids.get(n);
    if (id === undefined) throw new Error(`kernel ${this.#kernel.name}: ${n} is used before it is bound`);
    return id;
  }

  #number(s: Stmt): number {
    return this.#statements.push(s) - 1;
  }

  #operand(n: string): number {
    const i = this.#kernel.operands.findIndex((op) => op.name === n);
    if (i < 0) throw new Error(`kernel ${this.#kernel.name}: no operand ${n}`);
    return i;
  }

  #array(n: string): number {
    const i = this.#kernel.arrays.findIndex((a) => a.name === n);
    if (i < 0) throw new Error(`kernel ${this.#kernel.name}: no array ${n}`);
    return i;
  }

  #block(stmts: readonly Stmt[]): void {
    const outer = new Map(this.#ids);
    for (const s of stmts) this.#stmt(s);
    for (const n of [...this.#ids.keys()]) {
      const before = outer.get(n);
      if (before === undefined) this.#ids.delete(n);
      else this.#ids.set(n, before);
    }
  }

  /** Emits the index into a constant and its bounds check; returns the constant's name. */
  #index(index: ScalarExpr, size: string, statement: number): string {
    const at = `x${this.#next++}`;
    this.#lines.push(`const ${at} = ${js(index, this)}; if (!(${at} >= 0 && ${at} < ${size})) fault("bounds", ${statement}, ${at}, groupx, groupy, groupz, lanex, laney, lanez);`);
    return at;
  }

  #fail(kind: string, condition: string, statement: number, at: string): void {
    this.#lines.push(`if (${condition}) fault("${kind}", ${statement}, ${at}, groupx, groupy, groupz, lanex, laney, lanez);`);
  }

  #stmt(s: Stmt): void {
    const { shadowed, mapped, checks } = this.#options;
    const out = this.#lines;
    switch (s.kind) {
      case "let": case "var": {
        const value = js(s.value, this);
        out.push(`${s.kind === "let" ? "const" : "let"} ${this.#bind(s.name)} = ${value};`);
        return;
      }
      case "assign": out.push(`${this.#get(s.name)} = ${js(s.value, this)};`); return;
      case "load": {
        const n = this.#number(s);
        const value = `w${this.#next++}`;
        out.push(`let ${value};`);
        const read = (from: string): void => {
          const i = this.#operand(from);
          const at = this.#index(s.index, `z${i}`, n);
          if (shadowed.has(from)) this.#fail("race", `g${i}.read(${at}, self)`, n, at);
          if (mapped.has(from)) this.#fail("uninitialised", `m${i}[${at}] === 0`, n, at);
          out.push(`${value} = ${reinterpret(this.#kernel.operands[i]?.dtype === "f16" ? `f16(d${i}[${at}])` : `d${i}[${at}]`, scalarOf(this.#kernel.operands[i]?.dtype ?? "f32"), s.type)};`);
        };
        const which = s.among ? js(s.among.which, this) : "0";
        s.among?.or.forEach((other, i) => {
          out.push(`if (${which} === ${i + 1}) {`);
          read(other);
          out.push("} else {");
        });
        read(s.from);
        out.push("}".repeat(s.among?.or.length ?? 0), `const ${this.#bind(s.name)} = ${value};`);
        return;
      }
      case "store": {
        const i = this.#operand(s.to);
        const n = this.#number(s);
        const value = `w${this.#next++}`;
        out.push(`const ${value} = ${js(s.value, this)};`);
        const at = this.#index(s.index, `z${i}`, n);
        if (shadowed.has(s.to)) this.#fail("race", `g${i}.write(${at}, self)`, n, at);
        if (mapped.has(s.to)) out.push(`m${i}[${at}] = 1;`);
        out.push(`d${i}[${at}] = ${s.value.type === "bool" ? `${value} ? 1 : 0` : this.#kernel.operands[i]?.dtype === "f16" ? `f16(${value})` : value};`);
        return;
      }
      case "aload": {
        const i = this.#array(s.from);
        const n = this.#number(s);
        const array = this.#kernel.arrays[i];
        if (s.uniform) out.push(`yield ${n};`);
        const at = this.#index(s.index, `${array?.size ?? 0}`, n);
        if (checks) {
          if (array?.space === "shared") this.#fail("race", `sg${i}.read(${at}, self)`, n, at);
          this.#fail("uninitialised", `sw${i}[${at}] === 0`, n, at);
        }
        out.push(`const ${this.#bind(s.name)} = sa${i}[${at}]${array?.dtype === "bool" ? " !== 0" : ""};`);
        if (s.uniform) out.push(`yield ${n};`);
        return;
      }
      case "astore": {
        const i = this.#array(s.to);
        const n = this.#number(s);
        const array = this.#kernel.arrays[i];
        const at = this.#index(s.index, `${array?.size ?? 0}`, n);
        if (checks) {
          if (array?.space === "shared") this.#fail("race", `sg${i}.write(${at}, self)`, n, at);
          out.push(`sw${i}[${at}] = 1;`);
        }
        out.push(`sa${i}[${at}] = ${js(s.value, this)};`);
        return;
      }
      case "loop": {
        const [from, to] = [js(s.from, this), js(s.to, this)];
        const end = `e${this.#next++}`;
        const shadow = this.#ids.get(s.name);
        const i = this.#bind(s.name);
        out.push(`for (let ${i} = ${from}, ${end} = ${to}; ${i} < ${end}; ${i} += ${s.step}) {`);
        this.#block(s.body);
        out.push("}");
        if (shadow !== undefined) this.#ids.set(s.name, shadow);
        return;
      }
      case "if":
        out.push(`if (${js(s.cond, this)}) {`);
        this.#block(s.then);
        if (s.else) {
          out.push("} else {");
          this.#block(s.else);
        }
        out.push("}");
        return;
      case "barrier": out.push(`yield ${this.#number(s)};`); return;
      case "comment": return;
      case "lane_reduce": throw new Error("lane_reduce must be expanded before it is run");
    }
  }

  /** How a leaf is spelled. */
  leaf(e: ScalarExpr & { kind: "name" | "length" | "builtin" }): string {
    if (e.kind === "name") return this.#get(e.name);
    if (e.kind === "builtin") return e.name.replace(".", "");
    const i = this.#kernel.lengths.indexOf(e.name);
    if (i < 0) throw new Error(`kernel ${this.#kernel.name} does not list the length ${e.name}`);
    return `n${i}`;
  }
}

function reinterpret(text: string, from: ScalarType, to: ScalarType): string {
  if (from === to) return text;
  if (to === "bool") return `(${text} !== 0)`;
  if (to === "f32") return `asF(${text})`;
  const bits = from === "f32" ? `asU(${text})` : text;
  return to === "i32" ? `(${bits} | 0)` : `(${bits} >>> 0)`;
}

function js(e: ScalarExpr, c: Coder): string {
  switch (e.kind) {
    case "const":
      if (e.type === "bool") return e.value !== 0 ? "true" : "false";
      if (e.type === "f32") return Object.is(e.value, -0) ? "(-0)" : `(${Math.fround(e.value)})`;
      return `(${e.value})`;
    case "name": case "length": case "builtin": return c.leaf(e);
    case "attr": throw new Error(`attribute ${e.side}.${e.name} reached the interpreter`);
    case "select": return `(${js(e.cond, c)} ? ${js(e.a, c)} : ${js(e.b, c)})`;
    case "unary": return unaryJs(e, c);
    case "binary": return binaryJs(e, c);
  }
}

function unaryJs(e: ScalarExpr & { kind: "unary" }, c: Coder): string {
  const a = js(e.a, c);
  const type = e.a.type;
  switch (e.op) {
    case "neg": return type === "f32" ? `(-${a})` : type === "u32" ? `(-${a} >>> 0)` : `(-${a} | 0)`;
    case "abs": return type === "i32" ? `(Math.abs(${a}) | 0)` : `Math.abs(${a})`;
    case "exp": case "log": case "sqrt": case "sin": case "cos": case "tanh": return `fr(Math.${e.op}(${a}))`;
    case "rsqrt": return `fr(1 / Math.sqrt(${a}))`;
    case "sigmoid": return `sigmoid(${a})`;
    case "floor": return `Math.floor(${a})`;
    case "not": return type === "bool" ? `(!${a})` : type === "u32" ? `(~${a} >>> 0)` : `(~${a})`;
    case "to_f16": return type === "bool" ? `(${a} ? 1 : 0)` : `f16(${a})`;
    case "to_f32": return type === "bool" ? `(${a} ? 1 : 0)` : `fr(${a})`;
    case "to_i32": return type === "bool" ? `(${a} ? 1 : 0)` : type === "f32" ? `f2i(${a})` : `(${a} | 0)`;
    case "to_u32": return type === "bool" ? `(${a} ? 1 : 0)` : type === "f32" ? `f2u(${a})` : `(${a} >>> 0)`;
    case "bits_f32": return type === "f32" ? a : `asF(${a})`;
    case "bits_u32": return type === "f32" ? `asU(${a})` : `(${a} >>> 0)`;
  }
}

function binaryJs(e: ScalarExpr & { kind: "binary" }, c: Coder): string {
  const [a, b] = [js(e.a, c), js(e.b, c)];
  const type = e.a.type;
  const wrap = (text: string): string => (type === "f32" ? `fr(${text})` : type === "u32" ? `((${text}) >>> 0)` : `((${text}) | 0)`);
  switch (e.op) {
    case "add": return wrap(`${a} + ${b}`);
    case "sub": return wrap(`${a} - ${b}`);
    case "mul": return type === "f32" ? `fr(${a} * ${b})` : wrap(`Math.imul(${a}, ${b})`);
    case "div": return type === "f32" ? `fr(${a} / ${b})` : type === "u32" ? `udiv(${a}, ${b})` : `idiv(${a}, ${b})`;
    case "mod": return type === "f32" ? `fr(${a} % ${b})` : type === "u32" ? `umod(${a}, ${b})` : `imod(${a}, ${b})`;
    case "min": return `Math.min(${a}, ${b})`;
    case "max": return `Math.max(${a}, ${b})`;
    case "pow": return `pow(${a}, ${b})`;
    case "eq": return `(${a} === ${b})`;
    case "ne": return `(${a} !== ${b})`;
    case "lt": return `(${a} < ${b})`;
    case "le": return `(${a} <= ${b})`;
    case "and": return type === "bool" ? `(${a} && ${b})` : wrap(`${a} & ${b}`);
    case "or": return type === "bool" ? `(${a} || ${b})` : wrap(`${a} | ${b}`);
    case "xor": return type === "bool" ? `(${a} !== ${b})` : wrap(`${a} ^ ${b}`);
    case "shl": return wrap(`${a} << ${b}`);
    case "shr": return type === "u32" ? `(${a} >>> ${b})` : `(${a} >> ${b})`;
    case "mulhi": return `mulhi(${a}, ${b})`;
  }
}
