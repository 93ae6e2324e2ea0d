// First values that depend on each other, and weights of a model without experts or branches as the start of one with them.

import { describe, expect, test } from "vitest";
import type { ModelSpec, ParameterSpec } from "../../compiler/plan/manifest.ts";
import { initialParameters } from "../../runtime/train/initial.ts";
import { upcycle, upcycledText } from "../../runtime/train/upcycle.ts";
import { parameterTensors } from "../../runtime/weights/parameters.ts";
import { parseSafetensors, writeSafetensors } from "../../runtime/weights/safetensors.ts";
import { tinySpec } from "../sequence/tiny_spec.ts";

const D = 3;
const H = 5;

function specOf(given: readonly (Pick<ParameterSpec, "path"> & Partial<ParameterSpec>)[]): ModelSpec {
  let offset = 0;
  const parameters = given.map((p): ParameterSpec => {
    const axes = p.axes ?? [{ name: "d", size: D }, { name: "h", size: H }];
    const at = offset;
    offset += Math.ceil(axes.reduce((n, a) => n * a.size, 1) / 4) * 4;
    return { init: { kind: "normal", std: 1 }, decay: true, frozen: false, ...p, axes, offset: at };
  });
  return { ...tinySpec, parameters, parameterCount: offset };
}

const E = 4;
const experts = [{ name: "experts", size: E }, { name: "d", size: D }, { name: "h", size: H }];
const valuesOf = (spec: ModelSpec, all: Float32Array, path: string): number[] => {
  const p = spec.parameters.find((x) => x.path === path);
  if (!p) throw new Error(path);
  return Array.from(all.subarray(p.offset, p.offset + p.axes.reduce((n, a) => n * a.size, 1)));
};
const chunks = (x: readonly number[]): number[][] => Array.from({ length: x.length / (D * H) }, (_, i) => x.slice(i * D * H, (i + 1) * D * H));

describe("first values", () => {
  test("copies, chains of copies, experts that differ and experts that are alike", () => {
    const spec = specOf([
      { path: "c", from: "b" },
      { path: "a" },
      { path: "b", from: "a" },
      { path: "differ", axes: experts, experts: 1 },
      { path: "alike", axes: experts, experts: 1, alike: true },
      { path: "of", axes: experts, experts: 1, from: "a" },
    ]);
    const all = initialParameters(spec, 3);
    const a = valuesOf(spec, all, "a");
    expect(new Set(a).size).toBe(D * H);
    expect(valuesOf(spec, all, "b")).toEqual(a);
    expect(valuesOf(spec, all, "c")).toEqual(a);
    const differ = chunks(valuesOf(spec, all, "differ"));
    expect(differ[1]).not.toEqual(differ[0]);
    const alike = chunks(valuesOf(spec, all, "alike"));
    for (const e of alike) expect(e).toEqual(alike[0]);
    expect(alike[0]).not.toEqual(a);
    expect(chunks(valuesOf(spec, all, "of"))).toEqual(Array(E).fill(a));
  });

  test("a circle and a shape that cannot be copied are bugs", () => {
    expect(() => initialParameters(specOf([{ path: "a", from: "b" }, { path: "b", from: "a" }]), 0)).toThrow("starts from");
    expect(() => initialParameters(specOf([{ path: "a", from: "b" }, { path: "b", axes: [{ name: "d", size: D }] }]), 0)).toThrow("another shape");
  });
});

describe("upcycle", () => {
  const dense = specOf([{ path: "body[0].norm.gain", axes: [{ name: "d", size: D }] }, { path: "body[0].ffn.gate.w" }, { path: "body[0].attn.wq" }]);
  const file = (spec: ModelSpec) => parseSafetensors(writeSafetensors(parameterTensors(spec, initialParameters(spec, 7))), "dense").tensors;
  const old = initialParameters(dense, 7);

  test("fills branches and experts, starts routers fresh, and says so", () => {
    const spec = specOf(
      [
        { path: "body[0].norm.gain", axes: [{ name: "d", size: D }] },
        { path: "body[0].ffn.gate.w", axes: experts, experts: 1 },
        { path: "body[0].ffn.router.gate.w", router: true, axes: [{ name: "d", size: D }, { name: "experts", size: E }] },
        { path: "body[0].attn.understand.wq", dense: "body[0].attn.wq", frozen: true },
        { path: "body[0].attn.generate.wq", dense: "body[0].attn.wq" },
      ],
    );
    const made = upcycle(spec, file(dense), 1, "dense");
    expect(valuesOf(spec, made.values, "body[0].norm.gain")).toEqual(valuesOf(dense, old, "body[0].norm.gain"));
    expect(chunks(valuesOf(spec, made.values, "body[0].ffn.gate.w"))).toEqual(Array(E).fill(valuesOf(dense, old, "body[0].ffn.gate.w")));
    for (const branch of ["understand", "generate"]) expect(valuesOf(spec, made.values, `body[0].attn.${branch}.wq`)).toEqual(valuesOf(dense, old, "body[0].attn.wq"));
    expect(valuesOf(spec, made.values, "body[0].ffn.router.gate.w")).toEqual(valuesOf(spec, initialParameters(spec, 1), "body[0].ffn.router.gate.w"));
    expect(upcycledText(made)).toBe("copied into 3 weights of experts and branches: body[0].ffn.gate.w, body[0].attn.wq; new: body[0].ffn.router.gate.w");
  });

  test("a branch of experts, and a branch that starts from one that the file has", () => {
    const spec = specOf(
      [
        { path: "body[0].norm.gain", axes: [{ name: "d", size: D }] },
        { path: "body[0].ffn.gate.w", dense: "nowhere" },
        { path: "body[0].ffn.more.gate.w", from: "body[0].ffn.gate.w", axes: experts, experts: 1 },
        { path: "body[0].attn.wq" },
      ],
    );
    const made = upcycle(spec, file(dense), 1, "dense");
    expect(chunks(valuesOf(spec, made.values, "body[0].ffn.more.gate.w"))).toEqual(Array(E).fill(valuesOf(dense, old, "body[0].ffn.gate.w")));
    expect(upcycledText(made)).toBe("copied into 1 weights of experts and branches: body[0].ffn.gate.w");
  });

  test("weights that fit as they are say nothing", () => {
    const made = upcycle(dense, file(dense), 1, "dense");
    expect(made.values).toEqual(old);
    expect(upcycledText(made)).toBeUndefined();
  });

  test("anything else that is missing, left over or of another shape is refused", () => {
    const refused = (given: Parameters<typeof specOf>[0]) => expect(() => upcycle(specOf(given), file(dense), 1, "dense"));
    const all = dense.parameters.map(({ path, axes }) => ({ path, axes }));
    refused([...all, { path: "body[0].ffn.up.w" }]).toThrow("the weights have no `body[0].ffn.up.w`");
    refused(all.slice(1)).toThrow("the weights hold `body[0].norm.gain`");
    refused([...all.slice(0, 2), { path: "body[0].attn.wq", axes: experts }]).toThrow("is experts = 4, d = 3, h = 5 in the model and [3, 5] in the weights");
    refused([...all.slice(0, 2), { path: "body[0].attn.wq", axes: [{ name: "experts", size: E }, { name: "d", size: H }, { name: "h", size: D }], experts: 1 }]).toThrow("[3, 5] in the weights");
  });
});
