// Every mask and score of the library against a definition written here, over all pairs of a packed sample of everything.

import { expect, test } from "vitest";
import { evalExpr } from "../../compiler/scalar/eval.ts";
import type { ScalarExpr } from "../../compiler/scalar/expr.ts";
import { newContext } from "../../compiler/types/elaborate.ts";
import { folders } from "../../compiler/types/library.ts";
import { Files } from "../../compiler/types/modules.ts";
import { makeSource } from "../../grammar/source.ts";
import { loaderOf } from "../types/loader.ts";

type Token = Readonly<Record<string, number>>;
/** Two documents: text, an image of 3 x 3, text; streams 0 and 1. */
const tokens: Token[] = [0, 1].flatMap((doc) =>
  Array.from({ length: 15 }, (_, pos) => {
    const image = pos >= 3 && pos < 12;
    const i = pos - 3;
    return {
      pos, doc, span: doc * 10 + (pos < 3 ? 0 : image ? 1 : 2), stream: Number(image), task: doc, role: Number(pos >= 12), row: image ? Math.floor(i / 3) : 0, col: image ? i % 3 : 0,
      frame: Math.floor(pos / 4), scale: Math.floor(pos / 5), time: 0,
    };
  }));

function predicate(call: string): ScalarExpr {
  const cx = newContext();
  const file = new Files(cx, loaderOf()).link(makeSource("spec.heddle", `fn probe_of() = ${call}\n`));
  const decl = file.module.decls[0];
  if (decl?.kind !== "fn") throw new Error("no probe");
  for (const [name, id] of [["text", 0], ["image", 1]] as const) file.scope.set(name, { kind: "stream", name, id, axes: new Map() }, null, "file");
  const v = cx.evaluate.expr(cx, decl.body, { scope: file.scope, path: "", exact: false, inForward: false });
  expect(cx.diagnostics()).toEqual([]);
  if (v.kind !== "mask" && v.kind !== "score") throw new Error(`${call} is ${v.kind}`);
  return v.expr;
}

const at = (t: Token, name: string): number => t[name] ?? NaN;
const masks: Record<string, (q: Token, k: Token) => boolean> = {
  "full": () => true,
  "causal": (q, k) => at(q, "pos") >= at(k, "pos"),
  "within(image)": (q, k) => at(q, "stream") === 1 && at(q, "span") === at(k, "span"),
  "segment": (q, k) => at(q, "span") === at(k, "span"),
  "window(4)": (q, k) => Math.abs(at(q, "pos") - at(k, "pos")) < 4,
  "prefix": (q, k) => at(k, "role") === 0 || at(k, "pos") <= at(q, "pos"),
  "document": (q, k) => at(q, "doc") === at(k, "doc"),
  "sees(text, image)": (q, k) => (at(q, "stream") === 0 ? at(k, "stream") === 1 : true),
  "hidden(image)": (q, k) => (at(k, "stream") === 1 ? at(q, "span") === at(k, "span") : true),
  "near(1)": (q, k) => Math.max(Math.abs(at(q, "row") - at(k, "row")), Math.abs(at(q, "col") - at(k, "col"))) <= 1,
  "scales": (q, k) => at(k, "scale") <= at(q, "scale"),
  "frames": (q, k) => at(k, "frame") <= at(q, "frame"),
  "same(task)": (q, k) => at(q, "task") === at(k, "task"),
  "causal & !within(image) | same(row)": (q, k) => (at(q, "pos") >= at(k, "pos") && !(at(q, "stream") === 1 && at(q, "span") === at(k, "span"))) || at(q, "row") === at(k, "row"),
};

test.each(Object.entries(masks))("%s", (call, definition) => {
  const expr = predicate(call);
  for (const q of tokens) for (const k of tokens) expect(evalExpr(expr, { q, k }) !== 0, `${JSON.stringify(q)} ${JSON.stringify(k)}`).toBe(definition(q, k));
});

test("every mask that needs no `use` is here", () => {
  expect((folders["std.masks"]?.everyday ?? []).filter((n) => !Object.keys(masks).some((c) => c.split("(")[0] === n))).toEqual([]);
});

test("scores", () => {
  const [q, k] = [{ ...tokens[9] }, { ...tokens[2] }] as [Token, Token];
  expect(evalExpr(predicate("soft_cap(30.0)"), { names: { s: 45 } })).toBeCloseTo(30 * Math.tanh(1.5), 12);
  expect(evalExpr(predicate("distance(0.5)"), { names: { s: 1 }, q, k })).toBeCloseTo(1 - 0.5 * 7, 12);
  expect(evalExpr(predicate("alibi(8)"), { names: { s: 1, head: 3 }, q, k })).toBeCloseTo(1 - 2 ** -4 * 7, 12);
});
