// Random modules as trees, for round trips through the formatter. Only what the grammar can say: names are no reserved words,
// numbers are not negative, a call of a call has no brackets between, `axis` and `by` are not used as plain names.

import fc from "fast-check";
import type {
  Arg, Brackets, ByCase, Decl, Expr, Ident, Member, Module, Param, Statement, TaskElement,
} from "../../compiler/ast/nodes.ts";

const span = { source: "a", start: 0, end: 0 };
const words = ["x", "y", "heads", "mask", "score", "head", "layer", "loss", "on", "of", "in", "then", "train", "tokens", "predict", "d1", "_z", "stage", "repeat"];
export const ident = fc.constantFrom(...words).map((text): Ident => ({ kind: "ident", text, span }));
const plain = fc.constantFrom("x", "y", "blocks", "norm_1").map((text): Ident => ({ kind: "ident", text, span }));
const idents = fc.array(ident, { minLength: 1, maxLength: 3 });

const number = fc.constantFrom("0", "1", "2_000", "0.95", "3e-4", "1.5E+3").map((text): Expr => {
  return { kind: "number", value: Number(text.replaceAll("_", "")), text, integer: /^[\d_]+$/.test(text), span };
});
const text = fc.oneof(fc.string({ unit: "grapheme", maxLength: 8 }), fc.constantFrom("a\"b", "\\", "\n\t\r\0", "//"))
  .map((value): Expr => ({ kind: "string", value, span }));
const name = ident.map((one): Expr => ({ kind: "name", text: one.text, span }));

/** Brackets right before an argument list belong to the call, so no call's callee is an index. */
function call(callee: Expr, args: readonly Arg[]): Expr {
  if (callee.kind === "index") return { kind: "call", callee: callee.target, brackets: callee.brackets, args, span };
  return { kind: "call", callee, brackets: null, args, span };
}

const all = fc.letrec<{ expr: Expr; brackets: Brackets; arg: Arg[]; statement: Statement; byCase: ByCase }>((tie) => {
  const list = fc.array(tie("expr"), { maxLength: 3 });
  const some = fc.array(tie("expr"), { minLength: 1, maxLength: 3 });
  const compound: fc.Arbitrary<Expr> = fc.oneof(
    fc.record({ kind: fc.constant("member" as const), target: tie("expr"), name: ident, span: fc.constant(span) }),
    fc.record({ kind: fc.constant("index" as const), target: tie("expr"), brackets: tie("brackets"), span: fc.constant(span) }),
    fc.tuple(tie("expr"), tie("arg")).map(([callee, args]) => call(callee, args)),
    fc.record({ kind: fc.constant("unary" as const), op: fc.constantFrom("-" as const, "!" as const), operand: tie("expr"), span: fc.constant(span) }),
    fc.record({
      kind: fc.constant("binary" as const),
      op: fc.constantFrom("+" as const, "-" as const, "*" as const, "/" as const, "%" as const, "**" as const, "&" as const, "|" as const, "==" as const, "<" as const, ">=" as const),
      opSpan: fc.constant(span), left: tie("expr"), right: tie("expr"), span: fc.constant(span),
    }),
    fc.record({ kind: fc.constant("range" as const), from: tie("expr"), to: tie("expr"), span: fc.constant(span) }),
    fc.record({ kind: fc.constant("when" as const), condition: tie("expr"), value: tie("expr"), otherwise: tie("expr"), span: fc.constant(span) }),
    fc.record({
      kind: fc.constant("by" as const), subject: fc.constant<Expr>({ kind: "name", text: "stream", span }),
      cases: fc.array(tie("byCase"), { minLength: 1, maxLength: 3 }), span: fc.constant(span),
    }),
    fc.record({ kind: fc.constant("lambda" as const), parameter: ident, body: tie("expr"), span: fc.constant(span) }),
    fc.record({ kind: fc.constant("stack" as const), count: tie("expr"), body: tie("expr"), span: fc.constant(span) }),
    fc.record({ kind: fc.constant("axis" as const), name: ident, size: fc.option(tie("expr")), span: fc.constant(span) }),
    fc.record({ kind: fc.constant("list" as const), items: list, span: fc.constant(span) }),
    fc.array(tie("expr"), { minLength: 2, maxLength: 3 }).map((items): Expr => ({ kind: "tuple", items, span })),
    fc.record({ kind: fc.constant("block" as const), statements: fc.array(tie("statement"), { maxLength: 3 }), value: tie("expr"), span: fc.constant(span) }),
  );
  return {
    expr: fc.oneof({ maxDepth: 4, depthSize: "small" }, number, text, name, fc.boolean().map((value): Expr => ({ kind: "bool", value, span })), compound),
    brackets: fc.record({ kind: fc.constant("brackets" as const), items: some, to: fc.option(some), span: fc.constant(span) }),
    arg: fc.tuple(list, list, idents).map(([positional, named, names]): Arg[] => [
      ...positional.map((value): Arg => ({ kind: "arg", name: null, value, span })),
      ...named.map((value, i): Arg => ({ kind: "arg", name: names[i % names.length] ?? null, value, span })),
    ]),
    statement: fc.oneof(
      fc.record({
        kind: fc.constant("let" as const),
        targets: fc.array(fc.record({ kind: fc.constant("let_target" as const), name: ident, axes: fc.option(idents), span: fc.constant(span) }), { minLength: 1, maxLength: 2 }),
        value: tie("expr"), span: fc.constant(span),
      }),
      fc.record({ kind: fc.constant("assign" as const), name: ident, value: tie("expr"), span: fc.constant(span) }),
      fc.record({
        kind: fc.constant("repeat" as const), index: ident, range: tie("expr"),
        statements: fc.array(tie("statement"), { maxLength: 2 }), span: fc.constant(span),
      }),
    ) as fc.Arbitrary<Statement>,
    byCase: fc.oneof(
      fc.record({ kind: fc.constant("by_case" as const), keys: fc.option(some), frozen: fc.constant(false), value: tie("expr"), from: fc.constant(null), span: fc.constant(span) }),
      fc.record({ kind: fc.constant("by_case" as const), keys: fc.option(some), frozen: fc.boolean(), value: name, from: fc.option(ident), span: fc.constant(span) }),
    ),
  };
});

const kind = fc.record({ kind: fc.constant("param_kind" as const), name: ident, list: fc.boolean(), span: fc.constant(span) });
const param: fc.Arbitrary<Param> = fc.record({
  kind: fc.constant("param" as const), name: ident, axes: fc.option(idents), paramKind: fc.option(kind), fallback: fc.option(all.expr), span: fc.constant(span),
});
const params = fc.array(param, { maxLength: 4 });
const doc = fc.constant(null);
const base = { doc, span: fc.constant(span) };

const segment: fc.Arbitrary<TaskElement> = fc.record({
  kind: fc.constant("segment" as const), role: fc.constantFrom("given" as const, "predict" as const, "beside" as const),
  modifiers: fc.array(all.arg.map((args) => ({ kind: "modifier" as const, name: { kind: "ident" as const, text: "drop", span }, args, span })), { maxLength: 1 }),
  stream: ident, args: all.arg, span: fc.constant(span),
});
const layout = fc.letrec<{ element: TaskElement; elements: TaskElement[] }>((tie) => ({
  element: fc.oneof({ maxDepth: 3 },
    fc.constant<TaskElement>({ kind: "literal_token", name: { kind: "ident", text: "boi", span }, args: [], span }),
    all.expr.map((value): TaskElement => ({ kind: "literal_token", name: { kind: "ident", text: "eos", span }, args: [{ kind: "arg", name: { kind: "ident", text: "turn", span }, value, span }], span })),
    segment,
    fc.record({ kind: fc.constant("repeat_elements" as const), elements: tie("elements"), span: fc.constant(span) }),
    fc.record({
      kind: fc.constant("group" as const), role: fc.constantFrom("given" as const, null), modifiers: fc.constant([]), elements: tie("elements"), span: fc.constant(span),
    }),
  ),
  elements: fc.oneof(
    fc.array(tie("element"), { minLength: 1, maxLength: 3 }),
    fc.array(fc.array(tie("element"), { minLength: 1, maxLength: 2 }), { minLength: 2, maxLength: 3 })
      .map((options): TaskElement[] => [{ kind: "choice", options, span }]),
  ),
}));

const binding: fc.Arbitrary<Member> = fc.record({ kind: fc.constant("binding" as const), name: ident, index: fc.constant(null), value: all.expr, ...base });

const modelMember = fc.letrec<{ member: Member; members: Member[] }>((tie) => ({
  members: fc.array(tie("member"), { maxLength: 4 }),
  member: fc.oneof({ maxDepth: 3 },
    binding,
    fc.record({ kind: fc.constant("binding" as const), name: plain, index: fc.option(all.expr), value: all.expr, ...base }),
    fc.record({ kind: fc.constant("tokens" as const), name: ident, value: all.expr, ...base }),
    fc.record({ kind: fc.constantFrom("embed" as const, "head" as const, "sample" as const), stream: ident, value: all.expr, ...base }),
    fc.record({ kind: fc.constant("axes" as const), axes: fc.array(fc.record({ kind: fc.constant("axis_def" as const), name: ident, size: all.expr, span: fc.constant(span) }), { minLength: 1, maxLength: 3 }), ...base }),
    fc.record({ kind: fc.constant("attribute" as const), name: ident, attributeKind: kind, fallback: fc.option(all.expr), ...base }),
    fc.record({ kind: fc.constant("task" as const), name: ident, fields: params, layout: fc.array(layout.element, { minLength: 1, maxLength: 5 }).filter((all) => all[0]?.kind !== "group"), ...base }),
    fc.record({ kind: fc.constant("network" as const), name: ident, members: fc.array(binding, { maxLength: 3 }), ...base }),
    fc.record({ kind: fc.constant("when_members" as const), condition: all.expr, members: tie("members"), otherwise: fc.option(tie("members")), ...base }),
    fc.record({ kind: fc.constant("repeat_members" as const), index: ident, range: all.expr, members: tie("members"), ...base }),
  ) as fc.Arbitrary<Member>,
}));

const layerMember: fc.Arbitrary<Member> = fc.oneof(
  binding,
  fc.record({ kind: fc.constant("loss" as const), value: all.expr, ...base }),
  fc.record({ kind: fc.constant("method" as const), name: fc.constant<Ident>({ kind: "ident", text: "forward", span }), inputs: params, body: all.expr, ...base }),
  fc.record({
    kind: fc.constant("weights" as const), frozen: fc.boolean(),
    weights: fc.array(fc.record({ kind: fc.constant("weight_name" as const), name: ident, axes: fc.array(ident, { maxLength: 3 }), span: fc.constant(span) }), { minLength: 1, maxLength: 3 }),
    init: fc.option(all.expr), tie: fc.constant(null), by: fc.option(all.expr), condition: fc.option(all.expr), ...base,
  }),
);

const decl = fc.oneof(
  fc.record({ kind: fc.constant("layer" as const), name: ident, params, members: fc.array(layerMember, { maxLength: 4 }), ...base }),
  fc.record({ kind: fc.constant("fn" as const), name: ident, params, body: all.expr, ...base }),
  fc.record({ kind: fc.constant("mask" as const), name: ident, params: fc.constant([]), subjects: fc.array(ident, { maxLength: 2 }), body: all.expr, ...base }),
  fc.record({ kind: fc.constant("model" as const), name: ident, params, members: modelMember.members, ...base }),
  fc.record({ kind: fc.constant("variant" as const), name: ident, base: ident, members: modelMember.members, ...base }),
) as fc.Arbitrary<Decl>;

export const module: fc.Arbitrary<Module> = fc.array(decl, { minLength: 1, maxLength: 3 })
  .map((decls): Module => ({ kind: "module", path: "a", uses: [], decls, span }));
