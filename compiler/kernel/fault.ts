// What can go wrong when a kernel runs in the interpreter, as data: which kernel, which statement, which operand, where.

export interface KernelFault {
  readonly kind: "bounds" | "race" | "uninitialised" | "divergence" | "binding" | "value";
  readonly kernel: string;
  /** The statement as text; empty when the fault is in no statement. */
  readonly statement: string;
  /** Operand or array, when one is involved. */
  readonly operand?: string;
  readonly tensor?: string;
  readonly index?: number;
  readonly size?: number;
  /** Workgroup and local invocation. */
  readonly group?: readonly [number, number, number];
  readonly lane?: readonly [number, number, number];
  readonly message: string;
}

/** Carries a fault out of generated code. */
export class FaultSignal extends Error {
  readonly fault: KernelFault;
  constructor(fault: KernelFault) {
    super(fault.message);
    this.fault = fault;
  }
}
