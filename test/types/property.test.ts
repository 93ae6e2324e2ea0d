// Random layers, models and damaged specs: checking never throws, and says something or gives a model.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder } from "../../compiler/graph/builder.ts";
import { checkingLeaves } from "../../compiler/types/checking_leaves.ts";
import { elaborateNetwork } from "../../compiler/types/elaborate_network.ts";
import { check, root } from "./loader.ts";

const names = ["x", "w", "b", "d", "e", "t", "h", "n", "norm", "lin", "causal", "s", "missing", "token", "zeros"];
const functions = ["silu", "exp", "linear", "rms_norm", "attention", "swiglu", "within", "window", "soft_cap", "lin", "norm", "causal", "where", "max", "one_hot", "level", "dropout", "residual", "sinusoid", "w"];
const bracketed = ["sum", "mean", "softmax", "dot", "rope", "attend", "gather", "concat", "slice", "argmax", "max"];
const expression = fc.letrec<{ e: string }>((tie) => ({
  e: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(...names), fc.constantFrom("1", "2.5", "true", "0", "\"text\""),
    fc.tuple(tie("e"), fc.constantFrom("+", "-", "*", "/", "%", "**", "==", "<", "&", "|"), tie("e")).map(([a, o, b]) => `(${a} ${o} ${b})`),
    fc.tuple(fc.constantFrom(...functions), fc.array(tie("e"), { maxLength: 4 })).map(([f, args]) => `${f}(${args.join(", ")})`),
    fc.tuple(fc.constantFrom(...bracketed), fc.constantFrom("d", "t", "e", "h", "d, e"), fc.array(tie("e"), { maxLength: 4 })).map(([f, a, args]) => `${f}[${a}](${args.join(", ")})`),
    fc.tuple(fc.constantFrom("split[d -> h, e]", "merge[t, d -> n]", "rename[d -> e]"), tie("e")).map(([f, a]) => `${f}(${a})`),
    fc.tuple(tie("e"), fc.constantFrom("pos", "w", "features", "gain")).map(([a, m]) => `${a.includes(" ") ? `(${a})` : a}.${m}`),
    fc.tuple(tie("e"), tie("e")).map(([a, b]) => `stack(${a}) ${b}`),
    fc.tuple(tie("e"), tie("e"), tie("e")).map(([c, a, b]) => `(when ${c} then ${a} else ${b})`),
    tie("e").map((a) => `[${a}, x]`),
  ),
})).e;
const init = fc.constantFrom("zeros", "ones", "normal(std: 0.1)", "uniform(low: 0.0, high: 1.0)", "3", "normal()");
const layer = fc.tuple(expression, expression, init, fc.constantFrom("d", "d, e", "h", "e, d, d"), fc.constantFrom("x[t, d]", "x[d]", "x", "x[e]")).map(
  ([member, body, i, axes, input]) => `layer probe(d: axis, n: int, s: score, norm: layer) {\n  axis h = n, e = d / n\n  param w[${axes}], b[d] ~ ${i}\n  lin = ${member}\n  forward ${input} = ${body}\n}\n`,
);

test("random layers give diagnostics, never an exception", () => {
  fc.assert(fc.property(layer, fc.boolean(), (text, used) => {
    const model = used ? `model m(d: axis = 8) {\n  tokens text = bytes()\n  task w(line: text) = <bos> predict text(line)\n  body = probe(d, 2, soft_cap(3.0), rms_norm(d))\n  loss = next_token(text)\n  sample text = greedy()\n}\n` : "";
    const r = check(text + model);
    expect(Array.isArray(r.diagnostics)).toBe(true);
    for (const d of r.diagnostics) {
      expect(d.severity).not.toBe("bug");
      expect(d.message).not.toMatch(/undefined|\[object|NaN/);
    }
    // What checks must elaborate again.
    for (const m of r.models) {
      const b = new GraphBuilder("again");
      const leaves = checkingLeaves(b);
      const net = elaborateNetwork(m, b, leaves);
      const id = leaves.attribute("query", "id", dimVar("t"));
      net.head("text", net.body(net.embed("text", id)));
    }
  }), { numRuns: 300 });
});

test("a spec with any stretch cut out or doubled never throws", () => {
  const files = ["examples/digits/digits.heddle", "examples/decoder/decoder.heddle", "stdlib/attention.heddle", "stdlib/blocks.heddle", "stdlib/masks/near.heddle"];
  const texts = files.map((f) => readFileSync(join(root, f), "utf8"));
  fc.assert(fc.property(fc.constantFrom(...texts), fc.nat(), fc.nat(40), fc.boolean(), (text, at, length, twice) => {
    const start = at % text.length;
    const piece = text.slice(start, start + length);
    const damaged = text.slice(0, start) + (twice ? piece + piece : "") + text.slice(start + length);
    for (const d of check(damaged).diagnostics) expect(d.severity).not.toBe("bug");
  }), { numRuns: 150 });
});
