// In: the text of kernel/print.ts. Out: the kernel or program it was printed from. Only hand-written text can be refused:
// a TextError names the line and the column.

import type { Origin } from "../graph/graph.ts";
import { Cursor } from "../scalar/cursor.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { readExprAt, scalarTypes } from "../scalar/read.ts";
import type { Dispatch, Kernel, LocalArray, Operand, Program, ProgramStep, ProgramTensor, Stmt, StorageType } from "./kernel.ts";

export function readKernel(text: string): Kernel {
  const lines = new Lines(text);
  const kernel = readKernelAt(lines);
  if (!lines.done()) lines.next().fail("the end");
  return kernel;
}

export function readProgram(text: string): Program {
  const lines = new Lines(text);
  const head = lines.next();
  head.expect("program");
  const name = head.name();
  const lengths: string[] = [];
  const tensors: ProgramTensor[] = [];
  const outputs: Record<string, string> = {};
  const steps: ProgramStep[] = [];
  while (!lines.done()) {
    const word = lines.peek();
    if (word === "dispatch" || word === "repeat") {
      steps.push(readStep(lines));
      continue;
    }
    const c = lines.next();
    c.word();
    if (word === "length") lengths.push(c.name());
    else if (word === "output") outputs[c.name()] = c.name();
    else if (word === "tensor") tensors.push(readTensor(c));
    else c.fail("length, tensor, output, dispatch or repeat");
  }
  return { name, lengths, tensors, steps, outputs };
}

/** The lines of a text, each as a cursor. */
class Lines {
  readonly #lines: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#lines = text.split("\n");
    this.#skip();
  }

  #skip(): void {
    while (this.#at < this.#lines.length && this.#lines[this.#at]?.trim() === "") this.#at++;
  }

  done(): boolean {
    return this.#at >= this.#lines.length;
  }

  /** The first word of the next line. */
  peek(): string {
    return /^\s*(\S+)/.exec(this.#lines[this.#at] ?? "")?.[1] ?? "";
  }

  next(): Cursor {
    const c = new Cursor(this.#lines[this.#at] ?? "", this.#at + 1);
    if (this.done()) c.fail("another line");
    this.#at++;
    this.#skip();
    return c;
  }
}

const oneOf = <T extends string>(c: Cursor, all: readonly T[], what: string): T => {
  const word = c.word();
  return all.find((x) => x === word) ?? c.fail(what);
};

const storage: readonly StorageType[] = ["f32", "f16", "i32", "u32"];

function readTensor(c: Cursor): ProgramTensor {
  const name = c.name();
  const dtype = oneOf(c, storage, "f32, f16, i32 or u32");
  const kind = oneOf(c, ["input", "state", "temp", "output"] as const, "input, state, temp or output");
  const size = readExprAt(c);
  const axes: { name: string; size: ScalarExpr }[] = [];
  while (!c.done()) axes.push({ name: c.name(), size: readExprAt(c) });
  return { name, dtype, size, kind, axes };
}

function readStep(lines: Lines): ProgramStep {
  const c = lines.next();
  if (c.word() === "dispatch") return { kind: "dispatch", dispatch: readDispatch(lines) };
  const name = c.name();
  const count = readExprAt(c);
  const steps: ProgramStep[] = [];
  while (lines.peek() !== "}") steps.push(readStep(lines));
  lines.next();
  return { kind: "repeat", name, count, steps };
}

function readDispatch(lines: Lines): Dispatch {
  const bind: Record<string, string> = {};
  while (lines.peek() === "bind") {
    const c = lines.next();
    c.word();
    bind[c.name()] = c.name();
  }
  const kernel = readKernelAt(lines);
  lines.next();
  return { kernel, bind };
}

function readKernelAt(lines: Lines): Kernel {
  const head = lines.next();
  head.expect("kernel");
  const name = head.name();
  const lengths: string[] = [];
  const operands: Operand[] = [];
  const arrays: LocalArray[] = [];
  const origins: Origin[] = [];
  let workgroup: Kernel["workgroup"] = [1, 1, 1];
  let grid: Kernel["grid"] | undefined;
  const parts: Readonly<Record<string, (c: Cursor) => void>> = {
    length: (c) => void lengths.push(c.name()),
    workgroup: (c) => { workgroup = [integer(c), integer(c), integer(c)]; },
    grid: (c) => { grid = [readExprAt(c), readExprAt(c), readExprAt(c)]; },
    operand: (c) => void operands.push({
      name: c.name(), dtype: oneOf(c, storage, "f32, f16, i32 or u32"), access: oneOf(c, ["read", "write", "readwrite"] as const, "read, write or readwrite"), size: readExprAt(c),
    }),
    array: (c) => void arrays.push({ name: c.name(), dtype: oneOf(c, scalarTypes, "a scalar type"), size: integer(c), space: oneOf(c, ["shared", "private"] as const, "shared or private") }),
    origin: (c) => void origins.push(JSON.parse(rest(c)) as Origin),
  };
  for (let part = parts[lines.peek()]; part; part = parts[lines.peek()]) {
    const c = lines.next();
    c.word();
    part(c);
  }
  if (!grid) head.fail("a grid");
  const body = readBody(lines);
  lines.next();
  return { name, operands, lengths, workgroup, grid: grid as Kernel["grid"], arrays, body, origins };
}

function integer(c: Cursor): number {
  const n = c.number();
  return Number.isInteger(n) ? n : c.fail("a whole number");
}

function rest(c: Cursor): string {
  c.space();
  const text = c.text.slice(c.at);
  c.at = c.text.length;
  return text;
}

function readBody(lines: Lines): Stmt[] {
  const out: Stmt[] = [];
  while (!lines.peek().startsWith("}")) out.push(readStmt(lines));
  return out;
}

function readStmt(lines: Lines): Stmt {
  const c = lines.next();
  const word = c.word();
  switch (word) {
    case "let": case "var": return { kind: word, name: c.name(), value: readExprAt(c) };
    case "set": return { kind: "assign", name: c.name(), value: readExprAt(c) };
    case "load": {
      const s = { kind: "load" as const, name: c.name(), type: oneOf(c, scalarTypes, "a scalar type"), from: c.name(), index: readExprAt(c) };
      if (!c.take("among")) return s;
      const which = readExprAt(c);
      const or: string[] = [];
      while (!c.done()) or.push(c.name());
      return { ...s, among: { or, which } };
    }
    case "store": case "astore": return { kind: word, to: c.name(), index: readExprAt(c), value: readExprAt(c) };
    case "aload": {
      const s = { kind: "aload" as const, name: c.name(), from: c.name(), index: readExprAt(c) };
      return c.take("uniform") ? { ...s, uniform: true } : s;
    }
    case "for": {
      const head = { kind: "loop" as const, name: c.name(), from: readExprAt(c), to: readExprAt(c), step: integer(c) };
      const unroll = c.take("unroll");
      const body = readBody(lines);
      lines.next();
      return { ...head, ...(unroll ? { unroll } : {}), body };
    }
    case "if": {
      const cond = readExprAt(c);
      const then = readBody(lines);
      const closing = lines.next();
      closing.expect("}");
      if (!closing.take("else")) return { kind: "if", cond, then };
      const other = readBody(lines);
      lines.next();
      return { kind: "if", cond, then, else: other };
    }
    case "barrier": return { kind: "barrier" };
    case "lane_sum": case "lane_max": case "lane_min": {
      const op = word.slice(5) as "sum" | "max" | "min";
      return { kind: "lane_reduce", name: c.name(), op, value: readExprAt(c), scratch: c.name() };
    }
    case "comment": return { kind: "comment", text: JSON.parse(rest(c)) as string };
    default: return c.fail("a statement");
  }
}
