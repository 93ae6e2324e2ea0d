// Files and what they import. In: the source of one file and a Loader. Out: for every file reached, its tree and the scope its
// declarations live in. The library's everyday names are there without `use`; a file's own names come before them.
// Refuses unknown modules, names a module does not have, imports in a circle, and names declared twice in a file.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Source, Span } from "../../grammar/source.ts";
import type { Decl, Ident, Module, UseDecl, UseName } from "../ast/nodes.ts";
import { parseModule } from "../ast/parse_module.ts";
import type { ParsedModule } from "../ast/parse_module.ts";
import { constants, primitives } from "./builtins.ts";
import { newScope } from "./calls.ts";
import type { Context } from "./context.ts";
import { everyday, folders, libraryModules, namesOf } from "./library.ts";
import { bind } from "./scope.ts";
import type { Entry, Scope, Value } from "./values.ts";
import { poison } from "./values.ts";

/** Where modules come from: `std.blocks` from the library, `other` from beside the file that uses it. */
export interface Loader {
  load(module: string, from: string): Source | undefined;
  /** The text of another file that a spec names, such as a tokenizer's; undefined where there is none. */
  read?(file: string, from: string): string | undefined;
}

/** A source never changes, so its tree is made once, however many files use it. */
const trees = new WeakMap<Source, ParsedModule>();

function parsed(source: Source): ParsedModule {
  const tree = trees.get(source) ?? parseModule(source);
  trees.set(source, tree);
  return tree;
}

export interface LinkedFile {
  readonly source: Source;
  readonly module: Module;
  readonly scope: Scope;
  /** From the library: its declarations are tested with the library, not with every file. */
  readonly library: boolean;
}

export class Files {
  readonly #cx: Context;
  readonly #loader: Loader;
  readonly #files = new Map<string, LinkedFile>();
  readonly #open: string[] = [];
  #base: Scope | undefined;

  constructor(cx: Context, loader: Loader) {
    this.#cx = cx;
    this.#loader = loader;
  }

  get all(): readonly LinkedFile[] {
    return [...this.#files.values()];
  }

  /** Parses and links one file and everything it uses. */
  link(source: Source, library = false): LinkedFile {
    const old = this.#files.get(source.path);
    if (old) return old;
    const cx = this.#cx;
    cx.sources.set(source.path, source);
    const { module, diagnostics } = parsed(source);
    cx.bag.addAll(diagnostics);
    const scope = newScope(this.#everyday(), true);
    const file: LinkedFile = { source, module, scope, library };
    this.#files.set(source.path, file);
    this.#open.push(source.path);
    for (const d of module.decls) declare(cx, scope, d);
    for (const u of module.uses) this.#use(u, file);
    this.#open.pop();
    return file;
  }

  #use(u: UseDecl, file: LinkedFile): void {
    const cx = this.#cx;
    const name = u.path.map((p) => p.text).join(".");
    if (u.path.some((p) => p.text === "")) return;
    const at: Span = { ...u.span, start: u.path[0]?.span.start ?? u.span.start, end: u.path[u.path.length - 1]?.span.end ?? u.span.end };
    const locals: readonly Ident[] = u.names ? u.names.map((n) => n.local) : u.path.slice(-1);
    const folder = namesOf(name);
    if (folder) return this.#useFolder(u, name, folder, file);
    const last = u.path[u.path.length - 1];
    const source = this.#loader.load(name, file.source.path);
    const outer = u.path.slice(0, -1).map((p) => p.text).join(".");
    // `use std.masks.natten` is `use std.masks { natten }`, and `use std.blocks.mlp_block` is `use std.blocks { mlp_block }`.
    const single = u.names === null && last !== undefined && outer !== "" && (namesOf(outer) !== undefined || (!source && this.#loader.load(outer, file.source.path) !== undefined));
    if (single) return this.#use({ ...u, path: u.path.slice(0, -1), names: [{ kind: "use_name", name: last, local: last, span: last.span }] }, file);
    if (!source) {
      cx.report("E0205", `there is no module \`${name}\``, at, {
        help: name.startsWith("std.") ? (didYouMean(name, libraryModules) ?? `the library has ${libraryModules.map((m) => `\`${m}\``).join(", ")}`) : "a module is a `.heddle` file beside this one",
      });
      for (const l of locals) if (l.text !== "") file.scope.set(l.text, poison, l.span, "file");
      return;
    }
    if (this.#open.includes(source.path)) {
      const round = [...this.#open.slice(this.#open.indexOf(source.path)), source.path].map((p) => `\`${p}\``);
      cx.report("E0206", `module \`${name}\` is being read already: ${round.join(" uses ")}`, at, { help: "move what both need into a third file" });
      for (const l of locals) if (l.text !== "") file.scope.set(l.text, poison, l.span, "file");
      return;
    }
    const target = this.link(source, name.startsWith("std."));
    if (u.names === null) {
      if (last) bind(cx, file.scope, last, { kind: "module", name, scope: target.scope }, "file", "import");
      return;
    }
    this.#names(u.names, name, file, (n) => target.scope.entries.get(n), [...target.scope.entries.keys()]);
  }

  /** A folder of the library: a file for every name, read when it is used. */
  #useFolder(u: UseDecl, name: string, names: readonly string[], file: LinkedFile): void {
    const of = (n: string): Entry | undefined => (names.includes(n) ? this.#declared(`${name}.${n}`, n) : undefined);
    if (u.names) return this.#names(u.names, name, file, of, names);
    const scope = newScope(null, true);
    for (const n of names) {
      const entry = of(n);
      if (entry) scope.entries.set(n, entry);
    }
    const last = u.path[u.path.length - 1];
    if (last) bind(this.#cx, file.scope, last, { kind: "module", name, scope }, "file", "import");
  }

  /** What a file of a library folder is named after. */
  #declared(module: string, name: string): Entry | undefined {
    const source = this.#loader.load(module, "");
    return source && this.link(source, true).scope.entries.get(name);
  }

  #names(names: readonly UseName[], module: string, file: LinkedFile, of: (name: string) => Entry | undefined, has: readonly string[]): void {
    for (const n of names) {
      if (n.name.text === "") continue;
      const entry = of(n.name.text);
      if (!entry) {
        const value = this.#cx.report("E0207", `module \`${module}\` has no \`${n.name.text}\``, n.name.span, { help: didYouMean(n.name.text, has) });
        file.scope.set(n.local.text, value, n.local.span, "file");
      } else this.#import(file.scope, n.local, entry);
    }
  }

  #import(scope: Scope, local: Ident, entry: Entry): void {
    const own = scope.entries.get(local.text);
    if (own?.span) {
      this.#cx.report("E0203", `\`${local.text}\` is imported and declared`, local.span, { also: [{ span: own.span, text: "declared here" }], help: `import it under another name: \`${local.text} as …\`` });
      return;
    }
    scope.entries.set(local.text, { ...entry, span: local.span, origin: "file" });
  }

  /** Built-in names, then those of the everyday library; read when first needed. */
  #everyday(): Scope {
    if (this.#base) return this.#base;
    const builtins = newScope(null, true);
    for (const name of Object.keys(primitives)) builtins.set(name, { kind: "builtin", name }, null, "builtin");
    for (const [name, value] of constants) builtins.set(name, value, null, "builtin");
    const scope = newScope(builtins, true);
    this.#base = scope;
    for (const name of everyday) {
      const at = name.lastIndexOf(".");
      const single = Object.hasOwn(folders, name.slice(0, at)) ? name.slice(at + 1) : undefined;
      const source = this.#loader.load(name, "");
      if (!source) continue;
      const file = this.link(source, true);
      for (const [n, e] of file.scope.entries) if (single === undefined || n === single) scope.entries.set(n, { span: null, origin: "library", value: e.value });
    }
    return scope;
  }
}

/** Binds what a file declares. Models, variants, stages and train blocks are no values. */
function declare(cx: Context, scope: Scope, d: Decl): void {
  if (d.kind === "train" || d.kind === "stage") return;
  const value: Value = d.kind === "model" || d.kind === "variant" ? poison : { kind: "decl", decl: d, scope };
  bind(cx, scope, d.name, value, "file", d.kind);
}
