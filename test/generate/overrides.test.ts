// Changed samplers: what fits passes unchanged, everything else is refused with what would fit.

import { describe, expect, test } from "vitest";
import { checkOverrides, type SamplerOverrides } from "../../runtime/generate/overrides.ts";
import { tinySpec } from "../sequence/tiny_spec.ts";

describe("changed samplers", () => {
  test("pass where they fit", () => {
    expect(checkOverrides(tinySpec, undefined)).toBeUndefined();
    expect(checkOverrides(tinySpec, { image: { kind: "heun", steps: 3, guidance: 0, clip: undefined }, text: { p: 0.5, max: 1 } })).toEqual({
      image: { kind: "heun", args: { steps: 3, guidance: 0 } },
      text: { args: { p: 0.5, max: 1 } },
    });
  });

  test.each<[SamplerOverrides, RegExp]>([
    [{ iamge: { steps: 3 } }, /no stream `iamge` is sampled/],
    [{ image: { stesp: 3 } }, /no setting `stesp`/],
    [{ image: { toString: 3 } as never }, /no setting `toString`/],
    [{ image: { p: 0.5 } }, /no setting `p`/],
    [{ image: { steps: 0 } }, /`image.steps` cannot be 0/],
    [{ image: { steps: 2.5 } }, /cannot be 2.5/],
    [{ image: { guidance: Number.NaN } }, /cannot be NaN/],
    [{ image: { guidance: "2" } }, /cannot be 2/],
    [{ text: { p: 1.5 } }, /`text.p` cannot be 1.5/],
    [{ image: { kind: "greedy" } }, /cannot be sampled by `greedy`/],
    [{ text: { kind: "heun" } }, /cannot be sampled by `heun`/],
  ])("%j is refused", (given, words) => {
    expect(() => checkOverrides(tinySpec, given)).toThrow(words);
  });
});
