// The built-in functions over lists: `any`, `all` and `count`. In: a list, tuple or range, and a condition on an entry.
// Out: a truth value, or the condition of a mask, unrolled while the model is built. Refuses what is no list, what is no condition, and long ranges.

import { dimConst, dimValue } from "../dim/dim.ts";
import * as S from "../scalar/expr.ts";
import type { BuiltinCall, Primitive } from "./builtin_call.ts";
import { valueOf } from "./builtin_call.ts";
import { newScope } from "./calls.ts";
import { toScalar } from "./operators.ts";
import { notTooLarge } from "./too_large.ts";
import type { Value } from "./values.ts";
import { boolean, describe, int, poison, scalar } from "./values.ts";

/** A range that is gone over stands in the mask entry by entry. */
const MOST = 1000;

/** How many entries a range has, where that is known. */
function lengthOf(v: Value & { kind: "range" }): number | undefined {
  const [from, to] = [dimValue(v.from), dimValue(v.to)];
  return from === undefined || to === undefined ? undefined : Math.max(0, to - from);
}

/** The entries of a list or range argument; undefined after a report, or where they are not known. */
function entriesOf(call: BuiltinCall): readonly Value[] | undefined {
  const v = valueOf(call, "list");
  if (v.kind === "list" || v.kind === "tuple") return v.items;
  if (v.kind === "range") {
    const [from, length] = [dimValue(v.from), lengthOf(v)];
    if (from === undefined || length === undefined) return undefined;
    if (length > MOST) {
      call.cx.report("E0319", `\`${call.name}\` goes over at most ${MOST} entries, and this range has ${length}`, call.args.get("list")?.value.span ?? call.expr.span);
      return undefined;
    }
    return Array.from({ length }, (_, i) => int(dimConst(from + i)));
  }
  if (v.kind !== "poison") call.cx.report("E0202", `\`${call.name}\` goes over a list, and this is ${describe(v)}`, call.args.get("list")?.value.span ?? call.expr.span);
  return undefined;
}

/** `any(list, x => condition)` and `all(…)`, unrolled while the model is built. */
function quantified(name: "any" | "all", doc: string, every: boolean): Primitive {
  return {
    signature: `${name}(list, x => condition)`, doc, brackets: "none", args: ["list", "condition"],
    run: (call) => {
      const { cx } = call;
      const test = call.args.get("condition")?.value;
      if (!test) return poison;
      const items = entriesOf(call);
      if (test.kind !== "lambda") return cx.report("E0202", `\`${name}\` needs a condition on an entry`, test.span, { help: `write \`${name}(list, x => …)\`` });
      if (!items) return poison;
      let out: S.ScalarExpr = S.bool(every);
      let known = true;
      for (const item of items) {
        const scope = newScope(call.env.scope);
        scope.set(test.parameter.text, item, test.parameter.span, "let");
        const v = cx.evaluate.expr(cx, test.body, { ...call.env, scope });
        if (v.kind === "poison") return poison;
        const e = toScalar(v);
        if (!e || e.type !== "bool") return cx.report("E0202", `\`${name}\` needs a condition, and this is ${describe(v)}`, test.body.span);
        known &&= v.kind === "bool";
        out = S.binary(every ? "and" : "or", out, e);
      }
      return known && out.kind === "const" ? boolean(out.value !== 0) : notTooLarge(cx, `\`${name}\``, call.expr, scalar(out), call.expr.span);
    },
  };
}

export const listPrimitives: Readonly<Record<"any" | "all" | "count", Primitive>> = {
  any: quantified("any", "For a list or range: whether the condition holds for one of the entries (`any(streams, s => k.stream == s)`).", false),
  all: quantified("all", "For a list or range: whether the condition holds for every entry.", true),
  count: {
    signature: "count(list)", doc: "How many entries a list or range has.", brackets: "none", args: ["list"],
    run: (call) => {
      const v = valueOf(call, "list");
      const length = v.kind === "range" ? lengthOf(v) : entriesOf(call)?.length;
      return length === undefined ? poison : int(dimConst(length));
    },
  },
};
