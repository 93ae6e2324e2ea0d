// A mask on a sample as a table, and what a kernel that passes over tiles of it may leave out.
// In: a predicate and tokens. Out: rows of 0 and 1, and a class for each tile: `.` nobody sees anybody, `#` everybody everybody, `+` else.
// By brute force, every pair asked, and as the kernels decide it from facts of the tiles. A tile at the edge counts the pairs it has.

import { compileExpr } from "../scalar/eval.ts";
import type { ScalarExpr } from "../scalar/expr.ts";
import { tileFacts, tileTruth } from "../scalar/tile_truth.ts";
import type { TileFacts } from "../scalar/tile_truth.ts";
import type { ExampleToken } from "./example.ts";

/** A row a query, `1` where it may attend to the key; without a mask everything is seen. */
export function visibleRows(mask: ScalarExpr | undefined, queries: readonly ExampleToken[], keys: readonly ExampleToken[]): string[] {
  if (!mask) return queries.map(() => "1".repeat(keys.length));
  let [q, k]: (ExampleToken | undefined)[] = [];
  const sees = compileExpr(mask, (leaf) => {
    if (leaf.kind !== "attr") throw new Error(`no value for ${leaf.kind} ${leaf.name} in a mask`);
    const { name } = leaf;
    return leaf.side === "q" ? () => q?.attributes[name] ?? 0 : () => k?.attributes[name] ?? 0;
  });
  return queries.map((token) => {
    q = token;
    let row = "";
    for (k of keys) row += sees() !== 0 ? "1" : "0";
    return row;
  });
}

export interface TileCounts {
  readonly empty: number;
  readonly full: number;
  readonly mixed: number;
}

/** Classes of tiles of `high` queries by `wide` keys, a string a row of tiles. */
export function tileClasses(visible: readonly string[], high: number, wide: number): string[] {
  const out: string[] = [];
  const across = visible[0]?.length ?? 0;
  for (let top = 0; top < visible.length; top += high) {
    const rows = visible.slice(top, top + high);
    let line = "";
    for (let left = 0; left < across; left += wide) {
      const parts = rows.map((r) => r.slice(left, left + wide));
      const [some, all] = [parts.some((p) => p.includes("1")), parts.every((p) => !p.includes("0"))];
      line += all ? "#" : some ? "+" : ".";
    }
    out.push(line);
  }
  return out;
}

/** The same by the analysis that the kernels run: never `.` or `#` where it is not so, and `+` where it cannot tell. */
export function analysedTiles(mask: ScalarExpr, queries: readonly ExampleToken[], keys: readonly ExampleToken[], high: number, wide: number): string[] {
  const { may, must } = tileTruth(mask);
  let [q, k]: TileFacts[] = [{}, {}];
  const closure = (e: ScalarExpr): (() => number) => compileExpr(e, (leaf) => {
    if (leaf.kind !== "attr") throw new Error(`no value for ${leaf.kind} ${leaf.name} in a mask`);
    const { name } = leaf;
    return leaf.side === "q" ? () => q?.[name] ?? 0 : () => k?.[name] ?? 0;
  });
  const [some, all] = [closure(may), closure(must)];
  const names = Object.keys(queries[0]?.attributes ?? {});
  const facts = (tokens: readonly ExampleToken[], side: number): TileFacts[] => Array.from({ length: Math.ceil(tokens.length / side) }, (_, i) => {
    const part = tokens.slice(i * side, (i + 1) * side);
    return tileFacts(Object.fromEntries(names.map((n) => [n, part.map((t) => t.attributes[n] ?? 0)])));
  });
  const passed = facts(keys, wide);
  return facts(queries, high).map((own) => {
    q = own;
    let line = "";
    for (k of passed) line += some() === 0 ? "." : all() !== 0 ? "#" : "+";
    return line;
  });
}

export function countTiles(classes: readonly string[]): TileCounts {
  const count = (c: string): number => classes.reduce((n, line) => n + line.split(c).length - 1, 0);
  return { empty: count("."), full: count("#"), mixed: count("+") };
}

/** Pairs in the tiles of these classes; tiles at the edge are smaller. */
export function pairsIn(classes: readonly string[], which: string, high: number, wide: number, queries: number, keys: number): number {
  let pairs = 0;
  classes.forEach((line, i) => [...line].forEach((c, j) => {
    if (which.includes(c)) pairs += Math.min(high, queries - i * high) * Math.min(wide, keys - j * wide);
  }));
  return pairs;
}
