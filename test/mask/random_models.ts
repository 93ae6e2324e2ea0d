// Random tasks and masks on one small model: what proofs and batch checks are tried against.

import fc from "fast-check";
import * as S from "../../compiler/scalar/expr.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import type { Model, Task, TaskItem } from "../../compiler/types/model.ts";
import { check } from "../types/loader.ts";

const found = check(`use std.blocks { decoder_block }
model m(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(4, of: pixels(8, 12, channels: 1))
  process noising on image = flow()
  task both(a: text, p: image) = <bos> given text(a) <boi> predict image(p) <eoi> predict text(a) <eos>
  mask = causal
  embed image = linear(image.features, d) + time(noising, d)
  body = stack(1) decoder_block(d, 2, mask)
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy()
  sample image = euler(steps: 4)
}`).models[0];
if (!found) throw new Error("the base model does not check");
export const base: Model = found;
const [attention] = base.attentions;
const [task] = base.tasks;

const attribute = fc.constantFrom("pos", "pos", "span", "index", "stream", "role", "time", "row", "col");
const number: fc.Arbitrary<ScalarExpr> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constantFrom("q", "k" as const), attribute).map(([side, n]) => S.attr(side, n)) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 4 }).map((n) => S.i32(n)) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom("q", "k" as const), attribute, fc.integer({ min: 1, max: 3 }), fc.constantFrom("add", "sub", "div", "mul" as const)).map(([side, n, c, op]) => S.binary(op, S.attr(side, n), S.i32(c))) },
);
/** The same attribute of both sides: what masks are mostly made of. */
const agree = fc.tuple(fc.constantFrom("eq", "eq", "le", "lt", "ne" as const), attribute, fc.boolean()).map(([op, n, swap]) => S.binary(op, S.attr(swap ? "q" : "k", n), S.attr(swap ? "k" : "q", n)));
const back = fc.constant(S.binary("le", S.attr("k", "pos"), S.attr("q", "pos")));
const span = fc.constantFrom(0, 1).map((s) => S.and(S.binary("eq", S.attr("q", "stream"), S.i32(s)), S.and(S.binary("eq", S.attr("k", "stream"), S.i32(s)), S.binary("eq", S.attr("q", "span"), S.attr("k", "span")))));
const predicate = fc.letrec<{ p: ScalarExpr }>((tie) => ({
  p: fc.oneof(
    { depthSize: "small", maxDepth: 4 },
    back, agree, fc.oneof(span, back), fc.tuple(fc.constantFrom("lt", "le", "eq", "ne" as const), number, number).map(([op, a, b]) => S.binary(op, a, b)),
    fc.tuple(fc.constantFrom("and", "or" as const), tie("p"), tie("p")).map(([op, a, b]) => S.binary(op, a, b)),
    tie("p").map((p) => S.unary("not", p)),
    fc.tuple(tie("p"), tie("p")).map(([a, b]) => S.select(S.binary("eq", S.name("head", "i32"), S.i32(0)), a, b)),
  ),
})).p;
/** Masks near the sound ones: what looks back, and little besides. */
const usual = fc.tuple(back, span, predicate, fc.boolean()).map(([b, s, p, both]) => S.and(S.binary("or", b, s), both ? p : S.binary("or", p, b)));
const mask = fc.oneof({ weight: 2, arbitrary: usual }, { weight: 1, arbitrary: predicate }).map((e) => S.and(S.binary("eq", S.attr("q", "doc"), S.attr("k", "doc")), e));

const span0 = base.span;
const item: fc.Arbitrary<TaskItem> = fc.oneof(
  fc.constantFrom("bos", "boi").map((name): TaskItem => ({ kind: "literal", name, id: 0, drop: 0, dropGroup: 0, span: span0 })),
  fc.tuple(fc.constantFrom("given", "predict" as const), fc.constantFrom("a", "b"), fc.constantFrom(0, 0, 0.5)).map(([kind, field, drop]): TaskItem => ({ kind, stream: "text", field, drop: kind === "given" ? drop : 0, dropGroup: 0, attributes: {}, span: span0 })),
  fc.tuple(fc.constantFrom("given", "predict" as const), fc.constantFrom("p", "r"), fc.constantFrom(0, 0, 0.5)).map(([kind, field, drop]): TaskItem => ({ kind, stream: "image", field, drop: kind === "given" ? drop : 0, dropGroup: 0, attributes: {}, span: span0 })),
);

export interface Parts {
  readonly items: readonly TaskItem[];
  readonly masks: readonly ScalarExpr[];
  /** The third attention stands beside the second, not after it. */
  readonly beside: boolean;
}

export const randomParts: fc.Arbitrary<Parts> = fc.record({ items: fc.array(item, { minLength: 2, maxLength: 6 }), masks: fc.array(mask, { minLength: 1, maxLength: 3 }), beside: fc.boolean() });

export function modelOf({ items, masks, beside }: Parts): Model {
  if (!attention || !task) throw new Error("the base model has no attention");
  const only: Task = { ...task, items };
  return {
    ...base, tasks: [only],
    flow: masks.map((expr, i) => ({ mask: expr, heads: 2, attention: { ...attention, layer: i, mask: { expr, text: "m", span: span0 } }, after: i === 0 || (beside && i === 2) ? [] : [i - 1], span: span0 })),
  };
}
