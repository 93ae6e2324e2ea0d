// What the masks of a model do on samples of the data: only what could not be decided before, on tables of the runtime's own layout.

import { expect, test } from "vitest";
import { MaskWatch } from "../../cli/mask_watch.ts";
import { checkBatch, openTasks } from "../../compiler/mask/check_batch.ts";
import { proveMasks } from "../../compiler/mask/proofs.ts";
import { sampleOf } from "../../compiler/mask/sample.ts";
import { layoutParameters, modelSpec } from "../../compiler/lower/model_spec.ts";
import type { Model } from "../../compiler/types/model.ts";
import { layoutSample, type FieldValue, type Sequence } from "../../runtime/sequence/layout.ts";
import { check } from "../types/loader.ts";

const spec = (mask: string, more = "", task = "<bos> given text(ask) <sep> predict text(reply) <eos>"): string => `use std.blocks { decoder_block }
model m(d: axis = 8) {
  tokens text  = bytes()
  task answer(ask: text, reply: text) = ${task}
  task write(reply: text) = <bos> predict text(reply) <eos>
  ${more}
  mask = mine
  mask mine(q, k) = ${mask}
  body = stack(2) decoder_block(d, 2, mask)
  loss = next_token(text)
  sample text = greedy()
}`;

function model(text: string): Model {
  const r = check(text);
  const [m] = r.models;
  if (!m) throw new Error(r.diagnostics.map((d) => d.message).join("\n"));
  return m;
}

const compiled = new WeakMap<Model, Parameters<typeof layoutSample>[0]>();
function sample(m: Model, task: string, lengths: Record<string, number>, dropped = new Set<number>()): Sequence {
  let s = compiled.get(m);
  if (!s) {
    s = modelSpec(m, layoutParameters(m), { sound: true });
    compiled.set(m, s);
  }
  const fields: Record<string, FieldValue> = Object.fromEntries(Object.entries(lengths).map(([f, n]) => [f, { kind: "ids", ids: Array.from({ length: n }, (_, i) => 65 + (i % 26)) }]));
  return layoutSample(s, task, fields, { dropped });
}

// A leak that a text shows only from 301 tokens on: no short sample has it, and ranges cannot rule it out.
const far = "k.pos <= q.pos | k.pos == q.pos + 1 & q.index >= 300";

test("a proven mask has nothing to look at", () => {
  const m = model(spec("k.pos <= q.pos"));
  expect([...openTasks(m)]).toEqual([]);
  expect(checkBatch(m, [sample(m, "write", { reply: 400 })])).toEqual([]);
});

test("a leak that only long samples have is open at first, and found on the first sample that shows it", () => {
  const m = model(spec(far));
  expect(check(spec(far)).diagnostics.map((d) => d.code)).toEqual(["W0602"]);
  expect(proveMasks(m).open.map((o) => `${o.task} ${o.kind} ${o.at}`)).toContain("write leak 1");
  expect(checkBatch(m, [sample(m, "write", { reply: 40 })])).toEqual([]);
  const [d] = checkBatch(m, [sample(m, "write", { reply: 320 })]);
  expect(d?.code).toBe("E0321");
  expect(d?.message).toBe("in task `write`, the token that predicts `reply[301]` sees it");
  expect(d?.labels[0]?.text).toBe("lets `reply[300]` see `reply[301]`");
  expect(d?.notes).toContain("found on a sample where `reply` has 320 tokens");
});

test("a run looks at the first sample of a task and at longer ones, and says a thing once", () => {
  const m = model(spec(far));
  const watch = new MaskWatch(m);
  const codes = (...all: Sequence[]): string[] => watch.look(all).map((d) => d.code);
  expect(codes(sample(m, "write", { reply: 10 }))).toEqual([]);
  expect(codes(sample(m, "write", { reply: 330 }), sample(m, "answer", { ask: 3, reply: 4 }))).toEqual(["E0321"]);
  expect(codes(sample(m, "write", { reply: 340 }))).toEqual([]);
});

test("a token that attends to nothing only in long samples is a warning then", () => {
  const text = spec("k.pos <= q.pos & (q.index < 250 | k.index > q.index)");
  expect(check(text).diagnostics.map((d) => d.code)).toEqual([]);
  const m = model(text);
  expect(checkBatch(m, [sample(m, "write", { reply: 250 })])).toEqual([]);
  const [d] = checkBatch(m, [sample(m, "write", { reply: 251 })]);
  expect(d?.code).toBe("W0604");
  expect(d?.message).toBe("in task `write`, `reply[250]` attends to nothing");
  expect(d?.labels.map((l) => l.text)).toEqual(Array(2).fill("holds for no token that `reply[250]` could look at"));
});

test("of a very long sample a part is looked at, and what is found there is so", () => {
  const m = model(spec("k.pos <= q.pos | k.pos == q.pos + 1 & q.index >= 1990"));
  const [d] = checkBatch(m, [sample(m, "write", { reply: 2000 })]);
  expect(d?.code).toBe("E0321");
});

test("tokens of the runtime's tables are found again in the task, whatever was dropped", () => {
  const m = model(spec(far, "", "<bos> given drop(0.5) text(ask) given drop(0.3) (<sep> given text(ask)) predict text(reply) <eos>"));
  const items = (s: Sequence): string => Array.from(sampleOf(m, s)?.item ?? []).join("");
  expect(items(sample(m, "answer", { ask: 2, reply: 3 }))).toBe("0112334445");
  expect(items(sample(m, "answer", { ask: 2, reply: 3 }, new Set([1])))).toBe("02334445");
  expect(items(sample(m, "answer", { ask: 2, reply: 3 }, new Set([1, 2, 3])))).toBe("04445");
  expect(items(sample(m, "answer", { ask: 0, reply: 1 }))).toBe("0245");
});

test("a run looks at the first sample of a task and at longer ones, and at no other", () => {
  const m = model(spec(far));
  const watch = new MaskWatch(m);
  watch.look([sample(m, "write", { reply: 20 }), sample(m, "write", { reply: 30 }), sample(m, "write", { reply: 25 })]);
  expect(watch.looked).toBe(1);
  for (let step = 0; step < 5; step++) watch.look([sample(m, "write", { reply: 30 }), sample(m, "write", { reply: 12 })]);
  expect(watch.looked).toBe(1);
  watch.look([sample(m, "write", { reply: 31 })]);
  expect(watch.looked).toBe(2);
});

test("of several samples that show a leak, the first is the witness", () => {
  const m = model(spec("k.pos <= q.pos | k.pos == q.pos + 1 & q.pos >= 300"));
  const [early, late] = [sample(m, "answer", { ask: 5, reply: 320 }), sample(m, "answer", { ask: 250, reply: 60 })];
  const said = (...tables: Sequence[]): string[] => checkBatch(m, tables).map((d) => d.message);
  expect(said(early)).not.toEqual(said(late));
  expect(said(early, late)).toEqual(said(early));
  expect(said(late, early)).toEqual(said(late));
});
