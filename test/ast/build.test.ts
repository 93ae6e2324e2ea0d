// The tree of each construct, in a short form: kinds and names without places.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Decl, Expr, Member, Node } from "../../compiler/ast/nodes.ts";
import { parseModule } from "../../compiler/ast/parse_module.ts";
import { children, nodesAt, walk } from "../../compiler/ast/walk.ts";
import { makeSource, textOf } from "../../grammar/source.ts";

const fixtures = join(import.meta.dirname, "fixtures");

function read(text: string): readonly Decl[] {
  const parsed = parseModule(makeSource("a", text));
  expect(parsed.diagnostics).toEqual([]);
  return parsed.module.decls;
}

function exprOf(text: string): Expr {
  const [decl] = read(`fn f(x) = ${text}`);
  if (decl?.kind !== "fn") throw new Error("a function was expected");
  return decl.body;
}

function memberOf(text: string, owner = "model m"): Member {
  const [decl] = read(`${owner} { ${text} }`);
  const member = decl !== undefined && "members" in decl ? decl.members?.[0] : undefined;
  if (member === undefined) throw new Error("a member was expected");
  return member;
}

/** `(+ a (* b c))`: enough to see how an expression is grouped. */
function short(e: Expr): string {
  switch (e.kind) {
    case "number": return e.text;
    case "name": return e.text;
    case "binary": return `(${e.op} ${short(e.left)} ${short(e.right)})`;
    case "unary": return `(${e.op} ${short(e.operand)})`;
    case "range": return `(.. ${short(e.from)} ${short(e.to)})`;
    case "member": return `${short(e.target)}.${e.name.text}`;
    case "index": return `${short(e.target)}${brackets(e.brackets)}`;
    case "call": return `${short(e.callee)}${e.brackets === null ? "" : brackets(e.brackets)}(${e.args.map((a) => (a.name === null ? "" : `${a.name.text}: `) + short(a.value)).join(" ")})`;
    case "when": return `(when ${short(e.condition)} ${short(e.value)} ${short(e.otherwise)})`;
    case "lambda": return `(${e.parameter.text} => ${short(e.body)})`;
    case "stack": return `(stack ${short(e.count)} ${short(e.body)})`;
    case "axis": return `(axis ${e.name.text}${e.size === null ? "" : ` ${short(e.size)}`})`;
    case "tuple": return `(tuple ${e.items.map(short).join(" ")})`;
    case "list": return `[${e.items.map(short).join(" ")}]`;
    default: return e.kind;
  }
}

function brackets(b: { readonly items: readonly Expr[]; readonly to: readonly Expr[] | null }): string {
  return `[${b.items.map(short).join(" ")}${b.to === null ? "" : ` -> ${b.to.map(short).join(" ")}`}]`;
}

describe("every block of the language page", () => {
  test.each(readdirSync(fixtures))("%s reads without a diagnostic", (name) => {
    const text = readFileSync(join(fixtures, name), "utf8");
    const { module, diagnostics } = parseModule(makeSource(name, text));
    expect(diagnostics).toEqual([]);
    walk(module, (node) => {
      expect(node.kind).not.toBe("missing");
      expect(node.span.end).toBeGreaterThan(node.span.start - (node.kind === "ident" ? 0 : 1));
    });
  });
});

test.each([
  ["a + b * c", "(+ a (* b c))"],
  ["a - b - c", "(- (- a b) c)"],
  ["a ** b ** c", "(** a (** b c))"],
  ["-a ** 2", "(- (** a 2))"],
  ["2 ** -a", "(** 2 (- a))"],
  ["a | b & c == d", "(| a (& b (== c d)))"],
  ["!same(x) & y", "(& (! same(x)) y)"],
  ["a * (b + c)", "(* a (+ b c))"],
  ["q.pos - k.pos < n", "(< (- q.pos k.pos) n)"],
  ["0..n + 1", "(.. 0 (+ n 1))"],
  ["dot[d](x, w)", "dot[d](x w)"],
  ["split[d -> h, e](x)", "split[d -> h e](x)"],
  ["linear(a, b)(x)", "linear(a b)(x)"],
  ["llm.hidden[16 + i]", "llm.hidden[(+ 16 i)]"],
  ["blocks[i](x)[0]", "blocks[i](x)[0]"],
  ["f(axis experts, axis k = 3, mask: m)", "f((axis experts) (axis k 3) mask: m)"],
  ["stack(n) block(d)", "(stack n block(d))"],
  ["stack(n) i => when i % 2 == 0 a(i) else b", "(stack n (i => (when (== (% i 2) 0) a(i) b)))"],
  ["when c then (a, b) else [a]", "(when c (tuple a b) [a])"],
  ["when a b else when c d else e", "(when a b (when c d e))"],
])("`%s` is grouped as %s", (text, shape) => {
  expect(short(exprOf(text))).toBe(shape);
});

test("numbers and strings have their values", () => {
  expect(exprOf("3e-4")).toMatchObject({ kind: "number", value: 3e-4, text: "3e-4", integer: false });
  expect(exprOf("100_000")).toMatchObject({ value: 100000, integer: true });
  expect(exprOf("\"a\\n\\\"\\u{1f9f5}\"")).toMatchObject({ kind: "string", value: "a\n\"🧵" });
});

test("a mask's last bare list holds its subjects", () => {
  expect(read("mask w(n: int)(q, k) = q.pos < n")[0]).toMatchObject({ kind: "mask", params: [{ name: { text: "n" } }], subjects: [{ text: "q" }, { text: "k" }] });
  expect(read("mask p(n: int) = causal")[0]).toMatchObject({ params: [{ name: { text: "n" } }], subjects: [] });
  expect(read("score c(s) = s")[0]).toMatchObject({ kind: "score", params: [], subjects: [{ text: "s" }] });
});

test("weights share their initial value and their condition", () => {
  expect(memberOf("frozen param a[d, e], b ~ zeros() when on", "layer l")).toMatchObject({
    kind: "weights", frozen: true, weights: [{ name: { text: "a" }, axes: [{ text: "d" }, { text: "e" }] }, { name: { text: "b" }, axes: [] }],
    init: { kind: "call" }, tie: null, condition: { kind: "name", text: "on" },
  });
  expect(memberOf("param w[v, d] = embed.w", "layer l")).toMatchObject({ init: null, tie: { kind: "member" }, condition: null });
});

test("a process is bound to streams in a model, and has a body at the top of a file", () => {
  expect(memberOf("process p on image, audio = flow()")).toMatchObject({ kind: "process", on: [{ text: "image" }, { text: "audio" }], members: null });
  expect(read("process p(s: float) { target x[t] = x }")[0]).toMatchObject({ kind: "process", on: [], value: null, members: [{ kind: "method" }] });
});

test("a task keeps its order, modifiers, repetition and choices", () => {
  const task = memberOf("task t(a: [text]) = <bos> given drop(0.1) text(a, turn: 1) { <x> predict text(a) | <y> }* given (<z>)");
  expect(task).toMatchObject({
    kind: "task",
    fields: [{ paramKind: { list: true, name: { text: "text" } } }],
    layout: [
      { kind: "literal_token", name: { text: "bos" } },
      { kind: "segment", role: "given", modifiers: [{ name: { text: "drop" } }], stream: { text: "text" }, args: [{ name: null }, { name: { text: "turn" } }] },
      { kind: "repeat_elements", elements: [{ kind: "choice", options: [[{ kind: "literal_token" }, { role: "predict" }], [{ kind: "literal_token" }]] }] },
      { kind: "group", role: "given", elements: [{ kind: "literal_token" }] },
    ],
  });
});

test("`else when` nests, and a body may be empty", () => {
  expect(memberOf("when a { x = 1 } else when b {} else { x = 2 }")).toMatchObject({
    kind: "when_members", members: [{ name: { text: "x" } }],
    otherwise: [{ kind: "when_members", members: [], otherwise: [{ kind: "binding" }] }],
  });
});

test("`by` has keys or `else`", () => {
  expect(exprOf("by q.stream { text, view -> a; else -> b }")).toMatchObject({
    kind: "by", subject: { kind: "member" }, cases: [{ keys: [{ text: "text" }, { text: "view" }] }, { keys: null }],
  });
});

test("a branch may be frozen and start from another", () => {
  const by = exprOf("by turn { 0 -> frozen a; 1 -> b from a; 2 -> frozen frozen from from; 3 -> frozen; 4 -> frozen from b; else -> from from a }");
  expect(by.kind === "by" && by.cases.map((c) => [c.frozen, c.value.kind === "name" ? c.value.text : "", c.from?.text])).toEqual([
    [true, "a", undefined], [false, "b", "a"], [true, "frozen", "from"], [false, "frozen", undefined], [false, "frozen", "b"], [false, "from", "a"],
  ]);
});

test("a weight goes by a route, before its condition", () => {
  expect(memberOf("param a[d], b ~ zeros by parts when on", "layer l")).toMatchObject({ kind: "weights", init: { text: "zeros" }, by: { text: "parts" }, condition: { text: "on" } });
  expect(memberOf("param a[d] by mine(turn)", "layer l")).toMatchObject({ init: null, tie: null, by: { kind: "call" }, condition: null });
  expect(memberOf("param a[d] when on", "layer l")).toMatchObject({ by: null, condition: { text: "on" } });
});

test("imports name what they bring", () => {
  const { module } = parseModule(makeSource("a", "use std.blocks { x, y as z }\nuse mine"));
  expect(module.uses).toMatchObject([
    { path: [{ text: "std" }, { text: "blocks" }], names: [{ name: { text: "x" }, local: { text: "x" } }, { name: { text: "y" }, local: { text: "z" } }] },
    { path: [{ text: "mine" }], names: null },
  ]);
});

test("doc lines belong to what stands below them", () => {
  const [first, second] = read("/// one\n///\n/// two\n// plain\nfn f(x) = x\n/// lost\n\n/// kept\nmodel m {\n  /// the stream\n  tokens t = bpe() // not a doc\n  mask = causal\n}");
  expect(first?.doc?.text).toBe("one\n\ntwo");
  expect(second?.doc?.text).toBe("kept");
  expect(second?.kind === "model" ? second.members.map((member) => member.doc?.text) : []).toEqual(["the stream", undefined]);
});

test("spans cover the text they stand for, names have their own", () => {
  const source = makeSource("a", "fn f(x) = (a + b) * dot[d](x, w)");
  const { module } = parseModule(source);
  const seen: string[] = [];
  walk(module, (node) => {
    if (["binary", "call", "ident", "brackets", "arg"].includes(node.kind)) seen.push(textOf(source, node.span));
  });
  expect(seen).toEqual(["f", "x", "(a + b) * dot[d](x, w)", "a + b", "dot[d](x, w)", "[d]", "x", "w"]);
});

test("the nodes around an offset go from the file to the name", () => {
  const source = makeSource("a", "fn f(x) = x + rate");
  const path = nodesAt(parseModule(source).module, 16);
  expect(path.map((node: Node) => node.kind)).toEqual(["module", "fn", "binary", "name"]);
  expect(children(parseModule(source).module)).toHaveLength(1);
});
