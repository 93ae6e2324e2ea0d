// The specs of the design pages: they check as they stand, and what does not run yet is said, not hidden.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { check, lines, root } from "./loader.ts";

const fixture = (name: string): string => readFileSync(join(root, `test/ast/fixtures/${name}.heddle`), "utf8");

test("one file with the model, the library and the variants", () => {
  const text = `${fixture("transfusion")}\n${fixture("library")}`;
  const r = check(text);
  expect(lines({ ...r, notBuilt: [] }, text)).toEqual([]);
  expect([...new Set(r.notBuilt.map((d) => d.code))].sort()).toEqual(["E0403"]);
  expect(r.models.map((m) => m.name)).toEqual(["transfusion", "wide", "strict"]);
  expect(r.models[2]?.attentions[0]?.mask?.text).toBe("causal");
  expect(r.models[1]?.axes[0]?.size).toEqual({ terms: [{ coef: 1024, vars: [] }] });
});

test("two experts in a model: checked to the last name", () => {
  const text = `${fixture("bagel")}
model bagel_small(d: axis = 16) {
  tokens text  = bytes()
  tokens view  = patches(4, of: pixels(8, 8, channels: 1))
  tokens clean = patches(4, of: pixels(8, 8, channels: 1))
  tokens noisy = patches(4, of: pixels(8, 8, channels: 1))
  process noising on noisy = flow()
  task make(line: text, old: clean, new: noisy) = <bos> given text(line) <boi> given clean(old) <eoi> <boi> predict noisy(new)
  task tell(seen: view, line: text) = <bos> given view(seen) predict text(line) <eos>
  mask = bagel
  embed view  = linear(view.features, d)
  embed clean = linear(clean.features, d)
  embed noisy = linear(noisy.features, d) + time(noising, d)
  body = stack(2) mot_block(d, 2, mask, modality)
  head noisy = linear(d, noisy.features)
  loss = next_token(text) + denoise(noisy)
  sample text = greedy()
  sample noisy = euler(steps: 4)
}`;
  const r = check(text);
  // As the page has it, its mask lets a word see later words of the same text: where text is predicted, that is a leak.
  expect(r.diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual(["E0321 in task `tell`, the token that predicts `line[1]` sees it"]);
  const at = r.diagnostics[0]?.labels[0];
  expect(at && text.slice(at.span.start, at.span.end)).toBe("q.span == k.span");
  // With the span of an image instead, it is sound.
  expect(check(text.replace("k.pos <= q.pos | q.span == k.span)", "k.pos <= q.pos | q.span == k.span & k.stream != text)")).diagnostics).toEqual([]);
  expect(r.notBuilt).toEqual([]);
  const typo = check(text.replace("k.stream != noisy", "k.stream != nosy"));
  expect(typo.diagnostics.map((d) => d.message)).toContain("there is no name `nosy` here");
});
