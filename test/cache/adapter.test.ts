// One small model on the GPU: rows beside are encoded once and again when rows leave, the cache moves
// with its rows, and everything said is what the whole sequence says.

import { afterAll, beforeAll, expect, test } from "vitest";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import { check, lines } from "../types/loader.ts";
import { compareTask } from "./compare.ts";
import { backendOf, machineOf, tolerance } from "./machine.ts";

const text = `use std.blocks { cross_block }
model answerer(d: axis = 8) {
  tokens text = bytes()
  tokens view = patches(4, of: pixels(8, 4, channels: 1))
  task answer(seen: view, question: text, reply: text) = beside view(seen) <bos> given text(question) <sep> predict text(reply) <eos>
  embed view = linear(view.features, d) + grid_positions(view.rows, view.cols, d)
  body = cross_block(d, view.tokens, d, 2, causal)
  loss = next_token(text)
  sample text = greedy()
}`;

let host: GpuHost;
beforeAll(async () => {
  host = await openDevice({ trusted: true });
});
afterAll(() => host.destroy());

test("a reader of a row beside it, three requests that end one after the other", async () => {
  const checked = check(text);
  const [model] = checked.models;
  if (!model) throw new Error(lines(checked, text).join("\n"));
  const machine = machineOf(host, model);
  expect(machine.has("beside")).toBe(true);
  let [encoded, left] = [0, 0];
  const backend = backendOf(machine);
  const { beside, keep } = backend.runner;
  Object.assign(backend.runner, { beside: (g: Parameters<typeof beside>[0]) => (encoded++, beside(g)), keep: (r: readonly number[]) => (left++, keep(r)) });
  const { worst, where, logits } = await compareTask(machine.spec, backend, "answer");
  expect(worst, where).toBeLessThan(tolerance(machine));
  expect(logits).toBeGreaterThan(6);
  expect(left).toBeGreaterThan(0);
  expect(encoded).toBe(1 + left);
  await machine.destroy();
}, 120_000);
