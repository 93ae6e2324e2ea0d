// Applies a layer of the language to numbers: the library and small declarations, through the elaborator and the interpreter.

import { expect } from "vitest";
import { dimConst, dimValue } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, DType } from "../../compiler/graph/graph.ts";
import { interpret } from "../../compiler/graph/interpret.ts";
import { coerce } from "../../compiler/types/calls.ts";
import { newRun } from "../../compiler/types/context.ts";
import { newContext } from "../../compiler/types/elaborate.ts";
import { applyLayer } from "../../compiler/types/layers.ts";
import { Files } from "../../compiler/types/modules.ts";
import type { Parameter } from "../../compiler/types/parameter.ts";
import { tensor } from "../../compiler/types/values.ts";
import { makeSource } from "../../grammar/source.ts";
import { loaderOf } from "./loader.ts";

export interface Given {
  readonly axes: Readonly<Record<string, number>>;
  readonly dtype?: DType;
  readonly data: readonly number[];
}

export interface Applied {
  readonly axes: readonly string[];
  readonly shape: readonly number[];
  readonly data: readonly number[];
  readonly parameters: readonly Parameter[];
}

/** Numbers that look random and are the same everywhere. */
export const noise = (n: number, seed = 1): number[] => Array.from({ length: n }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233) * 0.9);

/**
 * The result of `call` (`rms_norm(d)`) on inputs; `text` may declare more. `weights` gives data by path; others get `noise`.
 * `sizes` are axes that the call names. Token attributes are those of t tokens in a row, unless `attributes` says otherwise.
 */
export function apply(
  call: string, inputs: readonly Given[],
  options: { text?: string; uses?: string; sizes?: Readonly<Record<string, number>>; weights?: Readonly<Record<string, readonly number[]>>; attributes?: Readonly<Record<string, readonly number[]>>; level?: readonly number[] } = {},
): Applied {
  const cx = newContext();
  const files = new Files(cx, loaderOf());
  const axes = Object.entries(options.sizes ?? {});
  const text = `${options.uses ?? ""}\n${options.text ?? ""}\nfn probe_of(${axes.map(([n]) => `${n}: axis`).join(", ")}) = ${call}\n`;
  const root = files.link(makeSource("spec.heddle", text));
  expect(cx.diagnostics()).toEqual([]);
  const decl = root.module.decls.find((d) => d.kind === "fn" && d.name.text === "probe_of");
  if (decl?.kind !== "fn") throw new Error("no subject");
  for (const [name, size] of axes) root.scope.set(name, { kind: "axis", name, size: dimConst(size), span: decl.span }, null, "file");
  const env = { scope: root.scope, path: "net", exact: true, inForward: false };
  const layer = coerce(cx, cx.evaluate.expr(cx, decl.body, { ...env, wants: "layer" }), { name: "subject", kind: "layer", span: null }, decl.body.span, "test");
  expect(cx.diagnostics()).toEqual([]);
  if (layer.kind !== "layer") throw new Error(`${call} is ${layer.kind}`);
  const builder = new GraphBuilder("apply");
  const values: Record<string, number[]> = {};
  const leaf = (name: string, dtype: DType, type: readonly Axis[], data: readonly number[]): number => {
    values[name] = [...data];
    return builder.add("input", [], { name, type: { dtype, axes: type } }, originAt(name));
  };
  const nodes = inputs.map((g, i) => leaf(`x${i}`, g.dtype ?? "f32", Object.entries(g.axes).map(([name, n]) => ({ name, size: dimConst(n) })), g.data));
  const tokens = inputs.flatMap((g) => ("t" in g.axes ? [g.axes["t"] ?? 1] : []))[0] ?? options.attributes?.["pos"]?.length ?? options.level?.length ?? 1;
  const row = (name: string): readonly number[] => options.attributes?.[name] ?? Array.from({ length: tokens }, (_, i) => (name === "pos" ? i : 0));
  cx.run = newRun(builder, {
    attribute: (side, name) => leaf(`${side}.${name}`, "i32", [{ name: side === "query" ? "t" : "s", size: dimConst(tokens) }], row(name)),
    level: () => leaf("level", "f32", [{ name: "t", size: dimConst(tokens) }], options.level ?? []),
  });
  const out = applyLayer(cx, layer, nodes.map((n) => tensor(n)), layer.span);
  expect(cx.diagnostics()).toEqual([]);
  if (out.kind !== "tensor") throw new Error(`${call} gives ${out.kind}`);
  const type = builder.type(out.node);
  builder.output("out", out.node);
  const state: Record<string, number[]> = {};
  for (const p of cx.made.parameters) {
    const n = p.axes.reduce((k, a) => k * (dimValue(a.size) ?? 0), 1);
    state[`params/${p.path}`] = [...(options.weights?.[p.path] ?? noise(n, p.path.length))];
  }
  const graph = builder.finish();
  const result = interpret(graph, { inputs: values, state: Object.fromEntries(Object.entries(state).filter(([n]) => graph.nodes.some((x) => x.op === "state" && x.attrs.name === n))) });
  const value = result.outputs["out"];
  if (!value) throw new Error("no output");
  return { axes: type.axes.map((a) => a.name), shape: type.axes.map((a) => dimValue(a.size) ?? -1), data: [...value.data], parameters: cx.made.parameters };
}

export function close(actual: readonly number[], expected: readonly number[], tolerance = 1e-9): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((a, i) => expect(Math.abs(a - (expected[i] ?? NaN)), `element ${i}: ${a} and ${expected[i]}`).toBeLessThan(tolerance));
}
