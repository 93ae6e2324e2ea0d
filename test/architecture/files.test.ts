// Files a person can read: of bearable size, opened by a comment, with names that mean something; no `any`, no WGSL outside
// compiler/wgsl, nothing of one machine in the repository.

import ts from "typescript";
import { describe, expect, test } from "vitest";
import { eachNode, lineOf, read, sources, textFiles, walk } from "./sources.ts";

const HARD = 600;
const SOFT = 400;

/** Over the soft limit for a reason: tables and grammars that read better whole. */
const LONG: Readonly<Record<string, string>> = {
  "grammar/parser.ts": "one rule an entry; splitting a CstParser needs inheritance",
  "compiler/ast/nodes.ts": "the syntax tree is one vocabulary",
};

describe("files", () => {
  test(`are at most ${HARD} lines, and at most ${SOFT} unless listed with a reason`, () => {
    const long = sources().filter((s) => s.lines > SOFT && !(s.path in LONG)).map((s) => `${s.path}: ${s.lines}`);
    expect(long).toEqual([]);
    // The list may not rot: what is on it is still long.
    expect(Object.keys(LONG).filter((f) => !sources().some((s) => s.path === f && s.lines > SOFT))).toEqual([]);
  });

  test("open with a comment that says what they are", () => {
    const without = [...sources().map((s) => s.path), ...walk("test").filter((f) => f.endsWith(".ts")), ...walk("scripts")].filter((f) => !/^(#!.*\n)?(\/\/ |\/\*)/.test(read(f)));
    expect(without).toEqual([]);
  });

  test("are named in snake_case, and never utils, helpers, common or manager", () => {
    const odd = [...sources().map((s) => s.path), ...walk("test").filter((f) => f.endsWith(".ts"))].filter((f) => !/^[a-z0-9_/]+(\.test|\.config|\.d)?\.ts$/.test(f) || /(^|\/|_)(utils?|helpers?|common|manager|misc)(_|\/|\.)/.test(f));
    expect(odd).toEqual([]);
  });
});

describe("code", () => {
  test("has no `any`, no enum, no parameter properties", () => {
    const wrong: string[] = [];
    for (const s of sources())
      eachNode(s.tree, (node) => {
        if (node.kind === ts.SyntaxKind.AnyKeyword) wrong.push(`${lineOf(s, node)} any`);
        if (ts.isEnumDeclaration(node)) wrong.push(`${lineOf(s, node)} enum`);
        if (ts.isParameter(node) && ts.isConstructorDeclaration(node.parent) && (node.modifiers?.length ?? 0) > 0) wrong.push(`${lineOf(s, node)} parameter property`);
      });
    expect(wrong).toEqual([]);
  });

  test("silences neither the type checker nor a linter", () => {
    const wrong = sources().filter((s) => /@ts-(ignore|nocheck|expect-error)|eslint-disable/.test(s.text)).map((s) => s.path);
    expect(wrong).toEqual([]);
  });

  test("writes WGSL only in compiler/wgsl", () => {
    const wgsl = /@(compute|workgroup_size|group\(|binding\(|builtin\()|var<(storage|workgroup|uniform|private)|workgroupBarrier\s*\(|storageBarrier\s*\(|array<(f32|u32|i32|f16)|vec[234]<|ptr<(function|storage|workgroup)/;
    const wrong: string[] = [];
    for (const s of sources()) {
      if (s.path.startsWith("compiler/wgsl/")) continue;
      eachNode(s.tree, (node) => {
        if ((ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)) && wgsl.test(node.text)) wrong.push(`${lineOf(s, node)} ${node.text.slice(0, 40)}`);
      });
    }
    expect(wrong).toEqual([]);
    expect(sources().filter((s) => s.path.startsWith("compiler/wgsl/")).some((s) => wgsl.test(s.text))).toBe(true);
  });
});

describe("the repository", () => {
  test("names no machine: no absolute paths of a home or a work folder", () => {
    const place = /(^|[\s"'`(=:])\/(home|Users|root|work|mnt|tmp)\/[\w.-]/;
    const wrong = textFiles().flatMap((f) => read(f).split("\n").flatMap((line, i) => (place.test(line) ? [`${f}:${i + 1} ${line.trim().slice(0, 80)}`] : [])));
    expect(wrong).toEqual([]);
  });

  test("installs from whatever registry the reader uses", () => {
    const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, { resolved?: string; integrity?: string; link?: boolean }> };
    const packages = Object.entries(lock.packages).filter(([name]) => name !== "");
    expect(packages.length).toBeGreaterThan(20);
    expect(packages.filter(([, p]) => p.resolved !== undefined).map(([name, p]) => `${name}: ${p.resolved ?? ""}`)).toEqual([]);
    expect(packages.filter(([, p]) => p.integrity === undefined && !p.link).map(([name]) => name)).toEqual([]);
    expect(textFiles().filter((f) => /(^|\n)registry\s*=|"registry"\s*:/.test(read(f)))).toEqual([]);
  });
});
