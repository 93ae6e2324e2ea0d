// Plans survive JSON and the schema; broken ones are refused with the place of the trouble.

import { describe, expect, it } from "vitest";
import { guaranteed } from "../../compiler/kernel/kernel.ts";
import { assemble } from "../../compiler/plan/assemble.ts";
import { parsePlan, parseStateBuffers } from "../../compiler/plan/schema.ts";
import { i32 } from "../../compiler/scalar/expr.ts";
import { chainProgram } from "../kernel_ir/samples.ts";

const program = chainProgram();
const plan = assemble({ ...program, steps: [{ kind: "repeat", name: "chunk", count: i32(2), steps: program.steps }] }, { target: guaranteed, states: [] });
const json = (): Record<string, unknown> => JSON.parse(JSON.stringify(plan)) as Record<string, unknown>;
const problems = (data: unknown): readonly string[] => {
  const r = parsePlan(data);
  return r.ok ? [] : r.problems;
};

describe("parsePlan", () => {
  it("accepts what assemble makes, unchanged", () => {
    const r = parsePlan(json());
    expect(r.ok && r.value).toEqual(plan);
  });
  it("refuses another version before anything else", () => {
    expect(problems({ ...json(), version: 99, tensors: 1 })).toEqual(["plan version 99 is not the supported version 2; build the bundle again"]);
    expect(problems(null)).toHaveLength(1);
  });
  it("names the field that is wrong", () => {
    expect(problems({ ...json(), arenas: [{ name: "a", dtype: "f64", class: "temp" }] })[0]).toContain("arenas.0.dtype");
  });
  it("refuses indices that point nowhere", () => {
    expect(problems({ ...json(), outputs: { y: 77 } })).toEqual(["y: tensor 77 does not exist"]);
    expect(problems({ ...json(), modules: [] })[0]).toContain("module 0 does not exist");
  });
  it("reads state buffers", () => {
    const buffers = [{ name: "params", dtype: "f32", size: { op: "*", a: "slots", b: 4 }, fields: [{ name: "w", shape: [2, 2], axes: ["a", "b"], offset: 0 }] }];
    const r = parseStateBuffers(buffers);
    expect(r.ok && r.value).toEqual(buffers);
    expect(parseStateBuffers([{ name: "params" }]).ok).toBe(false);
  });
});
