// Imports go one way. Type imports count: a type that points upwards is a design that points upwards.

import ts from "typescript";
import { describe, expect, test } from "vitest";
import { layerOf, layers } from "./layers.ts";
import { PRODUCT, sources } from "./sources.ts";

describe("imports", () => {
  test("every file belongs to a layer, and every layer has files", () => {
    expect(sources().map((s) => s.path).filter((f) => !layerOf(f))).toEqual([]);
    const used = new Set(sources().map((s) => layerOf(s.path)?.name));
    expect(layers.map((l) => l.name).filter((n) => !used.has(n))).toEqual([]);
  });

  test("the table itself has no cycle and names only layers", () => {
    const names = new Set(layers.map((l) => l.name));
    const seen = new Map<string, "open" | "done">();
    const visit = (name: string, trail: readonly string[]): void => {
      if (seen.get(name) === "done") return;
      expect(seen.get(name), `${[...trail, name].join(" -> ")} is a cycle`).not.toBe("open");
      seen.set(name, "open");
      for (const next of layers.find((l) => l.name === name)?.may ?? []) {
        if (next === "*") continue;
        expect(names, `unknown layer ${next}`).toContain(next);
        visit(next, [...trail, name]);
      }
      seen.set(name, "done");
    };
    for (const l of layers) visit(l.name, []);
  });

  test("a layer imports only what the table allows", () => {
    const wrong: string[] = [];
    for (const s of sources()) {
      const from = layerOf(s.path);
      if (!from) continue;
      for (const { to } of s.imports) {
        if (to.startsWith("node:") || to.startsWith("npm:")) {
          const name = to.startsWith("node:") ? "node" : to.slice(4);
          if (!(from.packages ?? []).includes(name)) wrong.push(`${s.path} imports ${to}`);
          continue;
        }
        const target = layerOf(to);
        if (!target) wrong.push(`${s.path} imports ${to}, which is in no layer`);
        else if (target !== from && !from.may.includes("*") && !from.may.includes(target.name)) wrong.push(`${s.path} imports ${to}: ${from.name} may not import ${target.name}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("imports end in .ts and name files that exist", () => {
    const files = new Set(sources().map((s) => s.path));
    const wrong = sources().flatMap((s) => s.imports.filter((i) => PRODUCT.some((p) => i.to.startsWith(`${p}/`)) && !files.has(i.to)).map((i) => `${s.path} -> ${i.to}`));
    expect(wrong).toEqual([]);
  });

  test("there are no cycles, type imports included", () => {
    expect(cycles(new Map(sources().map((s) => [s.path, s.imports.map((i) => i.to)])))).toEqual([]);
  });

  test("cycles() finds one", () => {
    const graph = new Map([["a", ["b"]], ["b", ["c"]], ["c", ["a"]], ["d", ["a"]]]);
    expect(cycles(graph)).toEqual(["a b c"]);
  });

  test("the compiler has no barrels", () => {
    const barrels = sources().filter((s) => s.path.startsWith("compiler/") && s.path !== "compiler/index.ts" && s.tree.statements.length > 0 && s.tree.statements.every((x) => ts.isExportDeclaration(x) && x.moduleSpecifier));
    expect(barrels.map((s) => s.path)).toEqual([]);
  });
});

/** Strongly connected parts of more than one file, each as its files in order. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[] = [];
  const visit = (v: string): void => {
    index.set(v, index.size);
    low.set(v, index.get(v) ?? 0);
    stack.push(v);
    for (const w of graph.get(v) ?? []) {
      if (!graph.has(w)) continue;
      if (!index.has(w)) {
        visit(w);
        low.set(v, Math.min(low.get(v) ?? 0, low.get(w) ?? 0));
      } else if (stack.includes(w)) low.set(v, Math.min(low.get(v) ?? 0, index.get(w) ?? 0));
    }
    if (low.get(v) !== index.get(v)) return;
    const part = stack.splice(stack.indexOf(v));
    if (part.length > 1) found.push(part.sort().join(" "));
  };
  for (const v of graph.keys()) if (!index.has(v)) visit(v);
  return found.sort();
}
