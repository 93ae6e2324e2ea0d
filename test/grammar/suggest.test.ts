// A hint is near, of the same kind, and absent where it would be a guess.

// Suggestions for mistyped names: near ones of the same kind, and none when nothing is near.

import { expect, test } from "vitest";
import { didYouMean, suggest } from "../../grammar/suggest.ts";

test("the nearest name within a third of the word", () => {
  expect(suggest("foward", ["forward", "choose"])).toBe("forward");
  expect(suggest("rmsnorm", ["rms_norm", "layer_norm"])).toBe("rms_norm");
  expect(suggest("attnetion", ["attention", "attend"])).toBe("attention");
  expect(suggest("image", ["video", "audio"])).toBeUndefined();
});

test("short words keep their first letter", () => {
  expect(suggest("q", ["k", "v"])).toBeUndefined();
  expect(suggest("loss", ["boss"])).toBe("boss");
  expect(suggest("mix", ["max"])).toBe("max");
  expect(suggest("mix", ["six"])).toBeUndefined();
});

test("two names equally near give no hint", () => {
  expect(suggest("headx", ["heads", "heady"])).toBeUndefined();
  expect(didYouMean("headx", ["heads"])).toBe("did you mean `heads`?");
});

test("the word itself is no suggestion", () => {
  expect(suggest("text", ["text"])).toBeUndefined();
});
