// The compiler is a function: no IO, clock, randomness, console or GPU object in grammar/ or compiler/; and a page can ship
// the runtime, so nothing it needs at start is Node's.

import path from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { eachNode, lineOf, root, type SourceText, sources } from "./sources.ts";

const pure = sources().filter((s) => s.path.startsWith("compiler/") || s.path.startsWith("grammar/"));

describe("grammar and compiler", () => {
  test("use no clock and no randomness", () => {
    const wrong = pure.flatMap((s) => impure(s));
    expect(wrong).toEqual([]);
  });

  test("know no name of Node, a page or a GPU", { timeout: 120_000 }, () => {
    // Checked without the types of Node and the DOM: `console`, `process`, `fetch`, `GPUDevice` are then unknown names.
    const declared = "declare class TextEncoder { encode(text: string): Uint8Array<ArrayBuffer> }\ndeclare class TextDecoder { decode(bytes: Uint8Array): string }\n";
    const files = [...pure.map((s) => path.join(root, s.path)), path.join(root, "pure_text.d.ts")];
    const options: ts.CompilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ["lib.es2023.d.ts"], types: [], noEmit: true, skipLibCheck: true, allowImportingTsExtensions: true };
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists, readFile } = host;
    const extra = path.join(root, "pure_text.d.ts");
    host.fileExists = (f) => f === extra || fileExists(f);
    host.readFile = (f) => (f === extra ? declared : readFile(f));
    host.getSourceFile = (f, target, ...rest) => (f === extra ? ts.createSourceFile(f, declared, target) : getSourceFile.call(host, f, target, ...rest));
    const program = ts.createProgram(files, options, host);
    // A package's own types may pull Node's in; only our files count, and only names that do not resolve.
    const unknown = new Set([2304, 2503, 2552, 2580, 2584]);
    const wrong = pure.flatMap((s) => {
      const file = program.getSourceFile(path.join(root, s.path));
      return file ? program.getSemanticDiagnostics(file).filter((d) => unknown.has(d.code)).map((d) => `${s.path}: ${ts.flattenDiagnosticMessageText(d.messageText, " ")}`) : [`${s.path} was not read`];
    });
    expect(wrong).toEqual([]);
  });

  test("impure() sees what it should", () => {
    const text = "const a = Math.random(); const b = Date.now(); const c = new Date(); const random = { Date: 1 };";
    const tree = ts.createSourceFile("x.ts", text, ts.ScriptTarget.ES2022, true);
    expect(impure({ path: "x.ts", text, lines: 1, tree, imports: [] }).length).toBe(3);
  });
});

describe("the public runtime", () => {
  const byPath = new Map(sources().map((s) => [s.path, s]));
  const reached = new Map<string, string>();
  const visit = (file: string, from: string): void => {
    const s = byPath.get(file);
    if (!s || reached.has(file)) return;
    reached.set(file, from);
    for (const i of s.imports) if (!i.typeOnly && !i.dynamic) visit(i.to, file);
  };
  visit("runtime/index.ts", "");

  test("imports nothing of Node at start", () => {
    expect(reached.size).toBeGreaterThan(15);
    const wrong = [...reached.keys()].flatMap((f) => (byPath.get(f)?.imports ?? []).filter((i) => !i.typeOnly && !i.dynamic && (i.to.startsWith("node:") || i.to === "npm:webgpu")).map((i) => `${f} imports ${i.to}`));
    expect(wrong).toEqual([]);
  });

  test("reaches no compiler code but plan data", () => {
    const wrong = [...reached.keys()].filter((f) => !f.startsWith("runtime/") && !/^compiler\/plan\/(plan|half|layout|expr|manifest|schema)\.ts$/.test(f));
    expect(wrong).toEqual([]);
  });
});

/** Uses of the clock and of chance. */
function impure(s: SourceText): string[] {
  const out: string[] = [];
  eachNode(s.tree, (node) => {
    if (ts.isPropertyAccessExpression(node) && node.getText(s.tree) === "Math.random") out.push(`${lineOf(s, node)} Math.random`);
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && ["Date", "performance", "crypto"].includes(node.expression.text)) out.push(`${lineOf(s, node)} ${node.getText(s.tree)}`);
    if (ts.isNewExpression(node) && node.expression.getText(s.tree) === "Date") out.push(`${lineOf(s, node)} new Date`);
  });
  return out;
}
