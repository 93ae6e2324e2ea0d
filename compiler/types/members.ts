// `a.b`: attributes of tokens, axes of streams, parts and weights of layers, names of modules.
// Refuses a member the thing does not have, with the nearest one it has.

import { didYouMean } from "../../grammar/suggest.ts";
import type { Span } from "../../grammar/source.ts";
import type { Ident } from "../ast/nodes.ts";
import { attributeNamed, attributeNode, attributeOn, isAttribute, TOKEN_ID, unknownAttribute } from "./attributes.ts";
import type { Context } from "./context.ts";
import type { Env, Value } from "./values.ts";
import { describe, poison, scalar } from "./values.ts";

export function memberOf(cx: Context, target: Value, name: Ident, targetSpan: Span, at: Span, env: Env): Value {
  const text = name.text;
  if (text === "") return poison;
  switch (target.kind) {
    case "poison": return poison;
    case "subject": {
      const attribute = attributeNamed(text, env);
      if (attribute === TOKEN_ID && target.side !== "token") return cx.report("E0221", "masks and scores do not read the `id` of tokens", name.span, { help: "attributes hold for every stream, and ids only for text; `token.id` may be read in layers and routers" });
      // Outside a model nothing is known about declared attributes, so every word may be one.
      if (attribute !== TOKEN_ID && !isAttribute(cx, attribute) && !cx.alone) return unknownAttribute(cx, text, name.span);
      if (target.side === "token") return attributeNode(cx, attribute, at, env);
      const expr = attributeOn(cx, target.side, attribute);
      return expr ? scalar(expr) : poison;
    }
    case "stream": {
      const axis = target.axes.get(text);
      if (axis) return axis;
      if (target.id === undefined) return poison;
      return cx.report("E0212", `stream \`${target.name}\` has no \`${text}\``, name.span, {
        help: didYouMean(text, target.axes.keys()) ?? `it has ${[...target.axes.keys()].map((a) => `\`${a}\``).join(", ")}`,
      });
    }
    case "layer": {
      if (target.form.kind === "unknown") return poison;
      if (target.form.kind === "routed" && "layers" in target.form) {
        const { route, layers } = target.form;
        const branch = layers[route.branches.findIndex((b) => b.name === text)];
        if (branch) return branch;
        const names = route.branches.map((b) => b.name);
        return cx.report("E0212", `route \`${route.name}\` has no branch \`${text}\``, name.span, { help: didYouMean(text, names) ?? `its branches are ${names.map((n) => `\`${n}\``).join(", ")}` });
      }
      if (target.form.kind !== "instance") break;
      const { scope, decl } = target.form;
      const entry = scope.entries.get(text);
      if (entry && entry.origin === "member") return entry.value();
      const parts = [...scope.entries].filter(([, e]) => e.origin === "member").map(([n]) => n);
      return cx.report("E0212", `layer \`${decl.name.text}\` has no part \`${text}\``, name.span, {
        help: didYouMean(text, parts), also: [{ span: decl.name.span, text: "declared here" }],
      });
    }
    case "module": {
      const entry = target.scope.entries.get(text);
      if (entry) return entry.value();
      return cx.report("E0207", `module \`${target.name}\` has no \`${text}\``, name.span, { help: didYouMean(text, target.scope.entries.keys()) });
    }
  }
  return cx.report("E0212", `${cx.quote(targetSpan, "this")} is ${describe(target)} and has no parts`, name.span);
}
