// In: a kernel or a program, arrays and lengths. Out: the arrays after it ran, or the first fault. All invocations of a
// workgroup run in lockstep between barriers. Found on the way: accesses out of bounds, races between invocations, reads
// of what nobody wrote, barriers that not all invocations reach. The oracle for every backend; compiles to JavaScript.

import { roundHalf } from "../scalar/half.ts";
import type { KernelFault } from "./fault.ts";
import { FaultSignal } from "./fault.ts";
import { kernelCode } from "./interpret_code.ts";
import type { KernelCode } from "./interpret_code.ts";
import type { Clock } from "./interpret_shadow.ts";
import { Shadow } from "./interpret_shadow.ts";
import type { Dispatch, Kernel, Program, ProgramStep, Stmt, StorageType } from "./kernel.ts";
import { expandLaneReduce } from "./lane_reduce.ts";
import { stmtText } from "./print.ts";
import type { Lengths } from "./sizes.ts";
import { evalSize } from "./sizes.ts";

export type TensorData = Float32Array | Int32Array | Uint32Array;
export type Tensors = Readonly<Record<string, TensorData>>;

export interface RunOptions {
  /** Watch races and uninitialised reads; on unless set to false. Bounds and barriers are always checked. */
  readonly checks?: boolean;
}

export type RunResult =
  | { readonly ok: true; readonly tensors: Record<string, TensorData> }
  | { readonly ok: false; readonly fault: KernelFault };

/** f16 elements are kept as f32 that f16 has. */
const arrayTypes = { f32: Float32Array, f16: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint8Array } as const;

/** Runs every step, repeats included. Inputs and state are given by name; temps and outputs are made. State is written in place. */
export function runProgram(program: Program, tensors: Tensors, lengths: Lengths, options: RunOptions = {}): RunResult {
  const machine = new Machine(options.checks !== false);
  const all: Record<string, TensorData> = {};
  try {
    for (const t of program.tensors) {
      const size = evalSize(t.size, lengths);
      const given = tensors[t.name];
      if (given) {
        if (given.length !== size) throw bindingFault(program.name, t.name, `tensor ${t.name} has ${given.length} elements, the program says ${size}`);
        if (!(given instanceof arrayTypes[t.dtype])) throw bindingFault(program.name, t.name, `tensor ${t.name} is not ${t.dtype}`);
        all[t.name] = given;
      } else if (t.kind === "temp" || t.kind === "output") {
        all[t.name] = new arrayTypes[t.dtype](size);
        machine.unwritten(t.name, size);
      } else {
        throw bindingFault(program.name, t.name, `${t.kind} ${t.name} is not given`);
      }
    }
    const run = (steps: readonly ProgramStep[], at: Lengths): void => {
      for (const s of steps) {
        if (s.kind === "dispatch") machine.dispatch(s.dispatch, all, at);
        else for (let i = 0, n = evalSize(s.count, at); i < n; i++) run(s.steps, { ...at, [s.name]: i });
      }
    };
    run(program.steps, lengths);
  } catch (e) {
    if (e instanceof FaultSignal) return { ok: false, fault: e.fault };
    throw e;
  }
  return { ok: true, tensors: all };
}

/** Runs one kernel on arrays named after its operands. */
export function runKernel(kernel: Kernel, operands: Tensors, lengths: Lengths, options: RunOptions = {}): RunResult {
  const bind = Object.fromEntries(kernel.operands.map((op) => [op.name, op.name]));
  try {
    new Machine(options.checks !== false).dispatch({ kernel, bind }, operands, lengths);
  } catch (e) {
    if (e instanceof FaultSignal) return { ok: false, fault: e.fault };
    throw e;
  }
  return { ok: true, tensors: { ...operands } };
}

const bindingFault = (kernel: string, tensor: string, message: string): FaultSignal =>
  new FaultSignal({ kind: "binding", kernel, statement: "", tensor, message: `${kernel}: ${message}` });

interface Compiled {
  readonly kernel: Kernel;
  readonly code: KernelCode;
  readonly make: (ctx: Context) => Invocation;
}

type Invocation = (gx: number, gy: number, gz: number, lx: number, ly: number, lz: number, self: number, lane: number) => Generator<number, void> | undefined;

interface Context {
  readonly lengths: readonly number[];
  readonly data: readonly TensorData[];
  readonly shadows: readonly (Shadow | undefined)[];
  readonly written: readonly (Uint8Array | undefined)[];
  /** One entry for a shared array, one a lane for a private one. */
  readonly arrays: readonly (readonly (TensorData | Uint8Array)[])[];
  readonly arrayWritten: readonly (readonly Uint8Array[])[];
  readonly arrayShadows: readonly (Shadow | undefined)[];
  /** For code: rounds what f16 storage takes. */
  readonly f16: (x: number) => number;
  readonly fault: (kind: KernelFault["kind"], statement: number, index: number, ...place: number[]) => never;
}

class Machine {
  readonly #checks: boolean;
  readonly #clock: Clock = { epoch: 0, start: 0, group: 0, lanes: 1 };
  readonly #compiled = new Map<Kernel, Map<string, Compiled>>();
  readonly #written = new Map<string, Uint8Array>();
  readonly #shadows = new Map<string, Shadow>();

  constructor(checks: boolean) {
    this.#checks = checks;
  }

  /** Reads of this tensor are faults until they follow a write. */
  unwritten(tensor: string, size: number): void {
    if (this.#checks) this.#written.set(tensor, new Uint8Array(size));
  }

  #compile(source: Kernel, shadowed: ReadonlySet<string>, mapped: ReadonlySet<string>): Compiled {
    const key = [...shadowed, "/", ...mapped].join(" ");
    const known = this.#compiled.get(source)?.get(key);
    if (known) return known;
    const kernel = expandLaneReduce(source);
    const code = kernelCode(kernel, { shadowed, mapped, checks: this.#checks });
    const made: Compiled = { kernel, code, make: new Function("ctx", code.text) as Compiled["make"] };
    const table = this.#compiled.get(source) ?? new Map<string, Compiled>();
    table.set(key, made);
    this.#compiled.set(source, table);
    return made;
  }

  dispatch(d: Dispatch, tensors: Tensors, lengths: Lengths): void {
    const tensorOf = (operand: string): string => {
      const t = d.bind[operand];
      if (t === undefined || !tensors[t]) throw bindingFault(d.kernel.name, t ?? "", `operand ${operand} is bound to nothing`);
      return t;
    };
    const data = d.kernel.operands.map((op) => {
      const t = tensors[tensorOf(op.name)] as TensorData;
      const size = evalSize(op.size, lengths);
      if (size > t.length) throw bindingFault(d.kernel.name, tensorOf(op.name), `operand ${op.name} has ${size} elements, its tensor ${tensorOf(op.name)} has ${t.length}`);
      if (!(t instanceof arrayTypes[op.dtype])) throw bindingFault(d.kernel.name, tensorOf(op.name), `operand ${op.name} is ${op.dtype}, its tensor is not`);
      return size === t.length ? t : t.subarray(0, size);
    });
    const writtenTensors = new Set(d.kernel.operands.filter((op) => op.access !== "read").map((op) => tensorOf(op.name)));
    const shadowed = new Set(this.#checks ? d.kernel.operands.map((op) => op.name).filter((n) => writtenTensors.has(tensorOf(n))) : []);
    const mapped = new Set(d.kernel.operands.map((op) => op.name).filter((n) => this.#written.has(tensorOf(n))));
    const compiled = this.#compile(d.kernel, shadowed, mapped);
    const lanes = d.kernel.workgroup.reduce((n, w) => n * w, 1);
    this.#clock.lanes = lanes;
    this.#clock.start = ++this.#clock.epoch;
    this.#clock.group = -1;

    const perLane = <T>(shared: boolean, make: () => T): T[] => Array.from({ length: shared ? 1 : lanes }, make);
    const arrays = compiled.kernel.arrays.map((a) => perLane(a.space === "shared", () => new arrayTypes[a.dtype](a.size)));
    const ctx: Context = {
      lengths: d.kernel.lengths.map((n) => evalSize({ kind: "length", type: "i32", name: n }, lengths)),
      data,
      shadows: d.kernel.operands.map((op) => (shadowed.has(op.name) ? this.#shadow(tensorOf(op.name), tensors) : undefined)),
      written: d.kernel.operands.map((op) => this.#written.get(tensorOf(op.name))),
      arrays,
      arrayWritten: compiled.kernel.arrays.map((a) => perLane(a.space === "shared", () => new Uint8Array(a.size))),
      arrayShadows: compiled.kernel.arrays.map((a) => (a.space === "shared" && this.#checks ? new Shadow(a.size, this.#clock, false) : undefined)),
      f16: roundHalf,
      fault: (kind, statement, index, ...place) => {
        throw new FaultSignal(describe(kind, compiled, d, data, statement, index, place));
      },
    };
    const grid = d.kernel.grid.map((g) => evalSize(g, lengths));
    this.#grid(compiled, ctx, grid);
  }

  #shadow(tensor: string, tensors: Tensors): Shadow {
    const size = tensors[tensor]?.length ?? 0;
    let shadow = this.#shadows.get(tensor);
    if (!shadow) this.#shadows.set(tensor, (shadow = new Shadow(size, this.#clock, true)));
    return shadow;
  }

  #grid(compiled: Compiled, ctx: Context, [nx = 1, ny = 1, nz = 1]: readonly number[]): void {
    const run = compiled.make(ctx);
    const shared = compiled.kernel.arrays.flatMap((a, i) => (a.space === "shared" ? [ctx.arrayWritten[i]?.[0]] : []));
    for (let gz = 0; gz < nz; gz++)
      for (let gy = 0; gy < ny; gy++)
        for (let gx = 0; gx < nx; gx++) {
          this.#clock.group++;
          this.#clock.epoch++;
          for (const written of shared) written?.fill(0);
          this.#workgroup(compiled, ctx, run, gx, gy, gz);
        }
  }

  #workgroup(compiled: Compiled, ctx: Context, run: Invocation, gx: number, gy: number, gz: number): void {
    const [wx, wy, wz] = compiled.kernel.workgroup;
    const lanes = wx * wy * wz;
    const base = this.#clock.group * lanes;
    const waiting: Generator<number, void>[] = [];
    for (let lz = 0, lane = 0; lz < wz; lz++)
      for (let ly = 0; ly < wy; ly++)
        for (let lx = 0; lx < wx; lx++, lane++) {
          const started = run(gx, gy, gz, lx, ly, lz, base + lane, lane);
          if (started) waiting.push(started);
        }
    if (waiting.length === 0) return;
    for (;;) {
      const first = waiting[0]?.next();
      for (let lane = 1; lane < waiting.length; lane++) {
        const other = waiting[lane]?.next();
        if (other?.done === first?.done && other?.value === first?.value) continue;
        const at = first?.done ? other?.value : first?.value;
        ctx.fault("divergence", typeof at === "number" ? at : -1, -1, gx, gy, gz, lane % wx, Math.floor(lane / wx) % wy, Math.floor(lane / (wx * wy)));
      }
      if (first?.done) return;
      this.#clock.epoch++;
    }
  }
}

const words: Readonly<Record<KernelFault["kind"], string>> = {
  bounds: "is out of bounds",
  race: "races with another invocation",
  uninitialised: "reads what was never written",
  divergence: "is not reached by all invocations of the workgroup",
  binding: "is bound wrongly",
  value: "has no value",
};

function describe(
  kind: KernelFault["kind"], compiled: Compiled, d: Dispatch, data: readonly TensorData[], statement: number, index: number, place: readonly number[],
): KernelFault {
  const s: Stmt | undefined = compiled.code.statements[statement];
  const operand = s === undefined ? undefined : s.kind === "load" || s.kind === "aload" ? s.from : s.kind === "store" || s.kind === "astore" ? s.to : undefined;
  const at = d.kernel.operands.findIndex((op) => op.name === operand);
  const array = compiled.kernel.arrays.find((a) => a.name === operand);
  const size = at >= 0 ? data[at]?.length : array?.size;
  const tensor = operand === undefined ? undefined : d.bind[operand];
  const [gx = 0, gy = 0, gz = 0, lx = 0, ly = 0, lz = 0] = place;
  const text = s ? stmtText(s) : "";
  const where = `workgroup ${gx},${gy},${gz} lane ${lx},${ly},${lz}`;
  const what = operand === undefined ? "" : ` ${operand}[${index}] of ${size ?? "?"}${tensor !== undefined && tensor !== operand ? ` (${tensor})` : ""}`;
  return {
    kind, kernel: d.kernel.name, statement: text,
    ...(operand === undefined ? {} : { operand, index }),
    ...(tensor === undefined ? {} : { tensor }),
    ...(size === undefined ? {} : { size }),
    group: [gx, gy, gz], lane: [lx, ly, lz],
    message: `kernel ${d.kernel.name}: \`${text}\`${what} ${words[kind]} at ${where}`,
  };
}

/** An array of a storage type, for callers that make inputs. */
export const dataOf = (dtype: StorageType, values: ArrayLike<number>): TensorData => {
  const made = new arrayTypes[dtype](values.length);
  made.set(dtype === "f16" ? Float32Array.from(values, roundHalf) : values);
  return made;
};
