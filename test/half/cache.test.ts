// Generation with a cache of halves says what one pass over the whole sequence says, with everything rounded alike.

import { afterAll, beforeAll, expect, test } from "vitest";
import { type GpuHost, openDevice } from "../../runtime/device/device.ts";
import { compareTask } from "../cache/compare.ts";
import { backendOf, machineOf, tolerance } from "../cache/machine.ts";
import { modelOf } from "../fixtures/numbers.ts";

const spec = `use std.blocks { decoder_block }
model m(d: axis = 8) {
  tokens text  = bytes()
  tokens image = patches(4, of: pixels(8, 8, channels: 1))
  process noising on image = flow()
  task both(prompt: text, picture: image, caption: text) = <bos> given text(prompt) <boi> predict image(picture) <eoi> predict text(caption) <eos>
  mask = causal | within(image)
  embed text = embedding(text.vocab, d)
  embed image = linear(image.features, d) + grid_positions(image.rows, image.cols, d) + time(noising, d)
  body = stack(1) decoder_block(d, 2, mask)
  head image = linear(d, image.features)
  loss = next_token(text) + denoise(image)
  sample text = greedy()
  sample image = euler(steps: 2)
}`;

let host: GpuHost;
beforeAll(async () => {
  host = await openDevice({ trusted: true });
});
afterAll(() => host.destroy());

test("cached and whole", async () => {
  const [wide, narrow] = (["f32", "f16"] as const).map((precision) => machineOf(host, modelOf(spec), { precision }));
  if (!wide || !narrow) throw new Error("no machines");
  const { worst, where, logits, denoised } = await compareTask(narrow.spec, backendOf(narrow), "both");
  expect(worst, where).toBeLessThan(tolerance(narrow, "f16"));
  expect(logits).toBeGreaterThan(0);
  expect(denoised).toBeGreaterThan(0);
  for (const machine of [wide, narrow]) machine.allocateCaches(3, 40);
  expect(wide.states.bytes - narrow.states.bytes).toBe((3 * 40 * 8 * 2 * 4) / 2);
  for (const machine of [wide, narrow]) await machine.destroy();
}, 120_000);
