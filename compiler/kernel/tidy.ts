// In: statements of a kernel as a template wrote them, and which operands it only reads. Out: the same statements with
// repeated values and loads made once, loop invariants moved out of loops, and unused lets dropped.
// Moves nothing out of an `if` (a guard may be what makes an index valid), nothing that a `var` feeds, no load of an
// operand that the kernel also writes.

import type { ScalarExpr } from "../scalar/expr.ts";
import { binary, children, mapExpr, name as ref, select, unary } from "../scalar/expr.ts";
import type { KernelParts } from "./body.ts";
import type { Stmt } from "./kernel.ts";
import { loadedFrom } from "./walk.ts";

interface Scope {
  readonly parent: Scope | undefined;
  readonly depth: number;
  /** True when the scope is the body of a loop: invariants may leave it. */
  readonly loop: boolean;
  readonly out: Stmt[];
  /** Value id -> name bound in this scope. */
  readonly values: Map<string, string>;
}

/** Depth of a value that may change between two readings. */
const unstable = Number.POSITIVE_INFINITY;

class Tidy {
  readonly #parts: KernelParts;
  readonly #readOnly: ReadonlySet<string>;
  readonly #ids = new Map<string, string>();
  readonly #idOf = new WeakMap<ScalarExpr, string>();
  readonly #uses = new Map<string, number>();
  readonly #depths = new Map<string, number>();
  readonly #alias = new Map<string, ScalarExpr>();

  constructor(parts: KernelParts) {
    this.#parts = parts;
    this.#readOnly = new Set([...parts.operands.values()].filter((o) => o.access === "read").map((o) => o.name));
  }

  run(stmts: readonly Stmt[]): Stmt[] {
    this.#count(stmts);
    const top: Scope = { parent: undefined, depth: 0, loop: false, out: [], values: new Map() };
    for (const s of stmts) this.#stmt(s, top);
    return dropUnused(top.out);
  }

  /** Structural identity, short enough to be a map key however deep the expression. */
  #id(e: ScalarExpr): string {
    const known = this.#idOf.get(e);
    if (known) return known;
    const own = e.kind === "const" ? `${e.type}${Object.is(e.value, -0) ? "-0" : e.value}`
      : e.kind === "unary" || e.kind === "binary" ? `${e.op}:${e.type}`
      : e.kind === "select" ? "select"
      : e.kind === "attr" ? `${e.side}.${e.name}`
      : `${e.kind} ${e.name}`;
    const key = [own, ...children(e).map((c) => this.#id(c))].join(" ");
    let id = this.#ids.get(key);
    if (!id) this.#ids.set(key, (id = `#${this.#ids.size}`));
    this.#idOf.set(e, id);
    return id;
  }

  #count(stmts: readonly Stmt[]): void {
    const see = (e: ScalarExpr): void => {
      const id = this.#id(e);
      const n = (this.#uses.get(id) ?? 0) + 1;
      this.#uses.set(id, n);
      if (n === 1) for (const c of children(e)) see(c);
    };
    for (const s of stmts) {
      for (const e of valuesOf(s)) see(simplify(e));
      for (const inner of bodiesOf(s)) this.#count(inner);
    }
  }

  #depth(e: ScalarExpr): number {
    if (e.kind === "name") return this.#depths.get(e.name) ?? unstable;
    let d = 0;
    for (const c of children(e)) d = Math.max(d, this.#depth(c));
    return d;
  }

  /** The outermost scope to which a value of this depth may move from `at`. */
  #home(at: Scope, depth: number): Scope {
    let home = at;
    while (home.loop && home.parent && home.parent.depth >= depth) home = home.parent;
    return home;
  }

  #find(at: Scope, id: string): string | undefined {
    for (let s: Scope | undefined = at; s; s = s.parent) {
      const n = s.values.get(id);
      if (n) return n;
    }
    return undefined;
  }

  #plain(e: ScalarExpr): ScalarExpr {
    return simplify(mapExpr(e, (x) => (x.kind === "name" ? this.#alias.get(x.name) ?? x : x)));
  }

  /** Rewrites `e` for use in `at`, naming what is repeated or invariant. */
  #expr(e: ScalarExpr, at: Scope): ScalarExpr {
    return this.#value(this.#plain(e), at);
  }

  #value(e: ScalarExpr, at: Scope): ScalarExpr {
    if (children(e).length === 0) return e;
    const id = this.#id(e);
    const depth = this.#depth(e);
    const stable = depth !== unstable;
    if (stable) {
      const known = this.#find(at, id);
      if (known) return ref(known, e.type);
    }
    const home = stable ? this.#home(at, depth) : at;
    const leaves = home !== at;
    // Children of a value that moves as a whole move with it.
    const made = rebuild(e, (c) => this.#value(c, leaves ? home : at));
    if (!stable || (!leaves && (this.#uses.get(id) ?? 0) < 2)) return made;
    const n = this.#parts.fresh("h");
    home.out.push({ kind: "let", name: n, value: made });
    home.values.set(id, n);
    this.#depths.set(n, home.depth);
    return ref(n, e.type);
  }

  #stmt(s: Stmt, at: Scope): void {
    switch (s.kind) {
      case "let": {
        const plain = this.#plain(s.value);
        const value = this.#value(plain, at);
        if (children(value).length === 0) {
          // Copies of immutable values need no name; a copy of a `var` is a snapshot and keeps its own.
          if (value.kind !== "name" || this.#depth(value) !== unstable) {
            this.#alias.set(s.name, value);
            return;
          }
        }
        const depth = this.#depth(value);
        at.out.push({ ...s, value });
        this.#depths.set(s.name, at.depth);
        if (depth !== unstable) at.values.set(this.#id(plain), s.name);
        return;
      }
      case "load": {
        const plain = this.#plain(s.index);
        const index = this.#value(plain, at);
        const which = s.among && this.#plain(s.among.which);
        const among = s.among && which ? { among: { or: s.among.or, which: this.#value(which, at) } } : {};
        const depth = Math.max(this.#depth(index), among.among ? this.#depth(among.among.which) : 0);
        if (!loadedFrom(s).every((o) => this.#readOnly.has(o)) || depth === unstable) {
          at.out.push({ ...s, index, ...among });
          this.#depths.set(s.name, at.depth);
          return;
        }
        const id = `load ${loadedFrom(s).join(" ")} ${this.#id(plain)}${which ? ` ${this.#id(which)}` : ""}`;
        const known = this.#find(at, id);
        if (known) {
          this.#alias.set(s.name, ref(known, s.type));
          return;
        }
        const home = this.#home(at, depth);
        home.out.push({ ...s, index, ...among });
        home.values.set(id, s.name);
        this.#depths.set(s.name, home.depth);
        return;
      }
      case "loop": {
        const from = this.#expr(s.from, at);
        const to = this.#expr(s.to, at);
        const body: Scope = { parent: at, depth: at.depth + 1, loop: true, out: [], values: new Map() };
        this.#depths.set(s.name, body.depth);
        for (const x of s.body) this.#stmt(x, body);
        at.out.push({ ...s, from, to, body: body.out });
        return;
      }
      case "if": {
        const cond = this.#expr(s.cond, at);
        const branch = (stmts: readonly Stmt[]): Stmt[] => {
          const inner: Scope = { parent: at, depth: at.depth + 1, loop: false, out: [], values: new Map() };
          for (const x of stmts) this.#stmt(x, inner);
          return inner.out;
        };
        const then = branch(s.then);
        at.out.push(s.else ? { ...s, cond, then, else: branch(s.else) } : { ...s, cond, then });
        return;
      }
      case "var":
      case "assign":
        at.out.push({ ...s, value: this.#expr(s.value, at) });
        return;
      case "store":
      case "astore":
        at.out.push({ ...s, index: this.#expr(s.index, at), value: this.#expr(s.value, at) });
        return;
      case "aload":
        at.out.push({ ...s, index: this.#expr(s.index, at) });
        this.#depths.set(s.name, at.depth);
        return;
      case "lane_reduce":
        at.out.push({ ...s, value: this.#expr(s.value, at) });
        this.#depths.set(s.name, at.depth);
        return;
      default:
        at.out.push(s);
    }
  }
}

function rebuild(e: ScalarExpr, f: (e: ScalarExpr) => ScalarExpr): ScalarExpr {
  if (e.kind === "unary") return unary(e.op, f(e.a));
  if (e.kind === "binary") return binary(e.op, f(e.a), f(e.b));
  if (e.kind === "select") return select(f(e.cond), f(e.a), f(e.b));
  return e;
}

/** `x / n * n + x % n` is `x`: a merged index taken apart and put together again by a row-major operand. */
function simplify(e: ScalarExpr): ScalarExpr {
  return mapExpr(e, (x) => {
    if (x.kind !== "binary" || x.op !== "add" || x.type !== "i32") return x;
    const [high, low] = [x.a, x.b];
    if (low.kind !== "binary" || low.op !== "mod" || high.kind !== "binary" || high.op !== "mul") return x;
    const quotient = high.a;
    if (quotient.kind !== "binary" || quotient.op !== "div") return x;
    const same = equal(quotient.a, low.a) && equal(quotient.b, low.b) && equal(high.b, low.b);
    return same ? low.a : x;
  });
}

function equal(a: ScalarExpr, b: ScalarExpr): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind || a.type !== b.type) return false;
  if (a.kind === "const" && b.kind === "const") return a.value === b.value;
  if ("op" in a && "op" in b && a.op !== b.op) return false;
  if ("name" in a && "name" in b && a.name !== b.name) return false;
  const ca = children(a);
  const cb = children(b);
  return ca.length === cb.length && ca.every((c, i) => equal(c, cb[i] as ScalarExpr));
}

function valuesOf(s: Stmt): readonly ScalarExpr[] {
  switch (s.kind) {
    case "let": case "var": case "assign": case "lane_reduce": return [s.value];
    case "load": return s.among ? [s.index, s.among.which] : [s.index];
    case "aload": return [s.index];
    case "store": case "astore": return [s.index, s.value];
    case "loop": return [s.from, s.to];
    case "if": return [s.cond];
    default: return [];
  }
}

function bodiesOf(s: Stmt): readonly (readonly Stmt[])[] {
  if (s.kind === "loop") return [s.body];
  if (s.kind === "if") return s.else ? [s.then, s.else] : [s.then];
  return [];
}

function dropUnused(stmts: readonly Stmt[]): Stmt[] {
  const used = new Set<string>();
  const see = (e: ScalarExpr): void => {
    if (e.kind === "name") used.add(e.name);
    for (const c of children(e)) see(c);
  };
  // Backwards: every use stands after its definition. Assigned vars stay, since a loop may carry them round.
  const sweep = (list: readonly Stmt[]): Stmt[] => {
    const kept: Stmt[] = [];
    for (let i = list.length - 1; i >= 0; i--) {
      const s = list[i] as Stmt;
      if ((s.kind === "let" || s.kind === "aload") && !used.has(s.name)) continue;
      let next = s;
      if (s.kind === "loop") next = { ...s, body: sweep(s.body) };
      if (s.kind === "if") next = s.else ? { ...s, then: sweep(s.then), else: sweep(s.else) } : { ...s, then: sweep(s.then) };
      for (const e of valuesOf(s)) see(e);
      kept.push(next);
    }
    return kept.reverse();
  };
  return sweep(stmts);
}

/** Tidies a finished body; call it last, when every operand's access is known. */
export const tidy = (parts: KernelParts, stmts: readonly Stmt[]): Stmt[] => new Tidy(parts).run(stmts);
