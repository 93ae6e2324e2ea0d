// Traversal and rebuilding of kernel statements: visit, map, rename binders, substitute names. Decides nothing.

import type { ScalarExpr } from "../scalar/expr.ts";
import { mapExpr, name as ref } from "../scalar/expr.ts";
import type { Stmt } from "./kernel.ts";

/** Visits every statement, outer before inner. */
export function eachStmt(stmts: readonly Stmt[], f: (s: Stmt) => void): void {
  for (const s of stmts) {
    f(s);
    if (s.kind === "loop") eachStmt(s.body, f);
    if (s.kind === "if") {
      eachStmt(s.then, f);
      if (s.else) eachStmt(s.else, f);
    }
  }
}

/** The operands a load may read. */
export const loadedFrom = (s: Stmt & { kind: "load" }): readonly string[] => [s.from, ...(s.among?.or ?? [])];

/** The expressions a statement holds itself, without those of nested statements. */
export function exprsOf(s: Stmt): readonly ScalarExpr[] {
  switch (s.kind) {
    case "let": case "var": case "assign": case "lane_reduce": return [s.value];
    case "load": return s.among ? [s.index, s.among.which] : [s.index];
    case "aload": return [s.index];
    case "store": case "astore": return [s.index, s.value];
    case "loop": return [s.from, s.to];
    case "if": return [s.cond];
    case "barrier": case "comment": return [];
  }
}

/** The name a statement binds, if any; `assign` binds nothing. */
export function binderOf(s: Stmt): string | undefined {
  switch (s.kind) {
    case "let": case "var": case "load": case "aload": case "loop": case "lane_reduce": return s.name;
    default: return undefined;
  }
}

export interface StmtMap {
  readonly expr: (e: ScalarExpr) => ScalarExpr;
  /** Binders and the targets of `assign`. */
  readonly local?: (n: string) => string;
  readonly operand?: (n: string) => string;
  readonly array?: (n: string) => string;
}

/** Rebuilds statements with every expression and name mapped. */
export function mapStmts(stmts: readonly Stmt[], f: StmtMap): Stmt[] {
  const local = f.local ?? ((n) => n);
  const operand = f.operand ?? ((n) => n);
  const array = f.array ?? ((n) => n);
  const each = (s: Stmt): Stmt => {
    switch (s.kind) {
      case "let": case "var": case "assign": return { ...s, name: local(s.name), value: f.expr(s.value) };
      case "load": {
        const among = s.among ? { among: { or: s.among.or.map(operand), which: f.expr(s.among.which) } } : {};
        return { ...s, name: local(s.name), from: operand(s.from), index: f.expr(s.index), ...among };
      }
      case "store": return { ...s, to: operand(s.to), index: f.expr(s.index), value: f.expr(s.value) };
      case "aload": return { ...s, name: local(s.name), from: array(s.from), index: f.expr(s.index) };
      case "astore": return { ...s, to: array(s.to), index: f.expr(s.index), value: f.expr(s.value) };
      case "loop": return { ...s, name: local(s.name), from: f.expr(s.from), to: f.expr(s.to), body: s.body.map(each) };
      case "if": {
        const then = s.then.map(each);
        return s.else ? { ...s, cond: f.expr(s.cond), then, else: s.else.map(each) } : { ...s, cond: f.expr(s.cond), then };
      }
      case "lane_reduce": return { ...s, name: local(s.name), value: f.expr(s.value), scratch: array(s.scratch) };
      case "barrier": case "comment": return s;
    }
  };
  return stmts.map(each);
}

/** A copy of `stmts` whose own binders are renamed by `fresh` and whose free names are replaced where `env` has them. */
export function copyStmts(stmts: readonly Stmt[], fresh: (n: string) => string, env: ReadonlyMap<string, ScalarExpr>): Stmt[] {
  const renamed = new Map<string, string>();
  eachStmt(stmts, (s) => {
    const n = binderOf(s);
    if (n !== undefined) renamed.set(n, fresh(n));
  });
  const local = (n: string): string => renamed.get(n) ?? n;
  const leaf = (e: ScalarExpr): ScalarExpr => {
    if (e.kind !== "name") return e;
    const to = renamed.get(e.name);
    return to !== undefined ? ref(to, e.type) : (env.get(e.name) ?? e);
  };
  return mapStmts(stmts, { expr: (e) => mapExpr(e, leaf), local });
}
