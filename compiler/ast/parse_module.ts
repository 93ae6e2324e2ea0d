// In: a source. Out: its module, as much of it as can be read, and every syntax diagnostic of the file in one run.
// Never throws on any text.

import { Bag } from "../../grammar/diagnostic.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { parseFile } from "../../grammar/parse.ts";
import type { Source } from "../../grammar/source.ts";
import { Builder } from "./build.ts";
import type { Module } from "./nodes.ts";
import { placeDecls, placeMembers } from "./placement.ts";

export interface ParsedModule {
  readonly module: Module;
  readonly diagnostics: Diagnostic[];
}

export function parseModule(source: Source): ParsedModule {
  const parsed = parseFile(source);
  const bag = new Bag();
  bag.addAll(parsed.diagnostics);
  const broken = parsed.diagnostics.flatMap((d) => d.labels.filter((label) => label.primary).map((label) => label.span));
  const builder = new Builder({ source, bag, broken }, parsed.comments, (owner, items) => placeMembers(bag, owner, items));
  const { uses, decls } = placeDecls(bag, builder.items(parsed.cst));
  const span = { source: source.path, start: 0, end: source.text.length };
  return { module: { kind: "module", path: source.path, uses, decls, span }, diagnostics: bag.sorted() };
}
