// Reads the repository's own TypeScript for the tests of this folder. In: nothing. Out: every source file with its text, its
// syntax tree and its imports; type imports count. Paths are relative to the repository and use `/`.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

export const root = path.resolve(import.meta.dirname, "../..");

/** Folders of the product's code; `test` and `scripts` are held to fewer rules. */
export const PRODUCT = ["grammar", "compiler", "runtime", "cli"] as const;

const IGNORED = new Set(["node_modules", "dist", ".git", "coverage", "out", ".heddle", ".gpu"]);

/** Every file below a folder of the repository. */
export function walk(folder: string): string[] {
  const out: string[] = [];
  const visit = (at: string): void => {
    for (const entry of readdirSync(path.join(root, at), { withFileTypes: true })) {
      if (IGNORED.has(entry.name)) continue;
      const next = at === "" ? entry.name : `${at}/${entry.name}`;
      if (entry.isDirectory()) visit(next);
      else if (entry.isFile()) out.push(next);
    }
  };
  if (existsSync(path.join(root, folder))) visit(folder);
  return out.sort();
}

export const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

export interface Import {
  /** A repository path, or `npm:NAME`, or `node:NAME`. */
  readonly to: string;
  /** Vanishes when compiled. */
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

export interface SourceText {
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly tree: ts.SourceFile;
  readonly imports: readonly Import[];
}

function load(file: string): SourceText {
  const text = read(file);
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const imports: Import[] = [];
  const add = (specifier: string, typeOnly: boolean, dynamic: boolean): void => {
    const to = specifier.startsWith(".") ? path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier)) : specifier.startsWith("node:") ? specifier : `npm:${packageOf(specifier)}`;
    imports.push({ to, typeOnly, dynamic });
  };
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) add(node.moduleSpecifier.text, onlyTypes(node), false);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [what] = node.arguments;
      if (what && ts.isStringLiteral(what)) add(what.text, false, true);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) add(node.argument.literal.text, true, true);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return { path: file, text, lines: text.split("\n").length - 1, tree, imports };
}

const packageOf = (specifier: string): string => specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");

function onlyTypes(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly || (node.exportClause !== undefined && ts.isNamedExports(node.exportClause) && node.exportClause.elements.every((e) => e.isTypeOnly));
  const clause = node.importClause;
  if (!clause) return false;
  if (clause.isTypeOnly) return true;
  const named = clause.namedBindings;
  return clause.name === undefined && named !== undefined && ts.isNamedImports(named) && named.elements.length > 0 && named.elements.every((e) => e.isTypeOnly);
}

let cache: readonly SourceText[] | undefined;

/** Every TypeScript file of the product. */
export function sources(): readonly SourceText[] {
  cache ??= PRODUCT.flatMap((folder) => walk(folder).filter((f) => f.endsWith(".ts"))).map(load);
  return cache;
}

/** Visit every node of a tree. */
export function eachNode(tree: ts.Node, visit: (node: ts.Node) => void): void {
  visit(tree);
  ts.forEachChild(tree, (child) => eachNode(child, visit));
}

export const lineOf = (s: SourceText, node: ts.Node): string => `${s.path}:${s.tree.getLineAndCharacterOfPosition(node.getStart(s.tree)).line + 1}`;

/** Text files a person would read, as they would be tracked. */
export function textFiles(): string[] {
  return walk("").filter((f) => /\.(ts|mjs|js|json|md|heddle|yaml|yml|txt|ebnf)$|^\.ci\/|^[^/]*$/.test(f) && statSync(path.join(root, f)).size < 2_000_000);
}
