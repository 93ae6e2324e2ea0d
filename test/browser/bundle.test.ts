// A bundle in a real page: served as it lies on disk, opened by its own client, with the same result as in Node.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { load } from "../../runtime/bundle/open.ts";
import { PICTURE, tinyBundle, type TinyBundle } from "../bundle/tiny_bundle.ts";
import { scratch } from "../cli/heddle.ts";
import { inPage, whyNoBrowser } from "./harness.ts";

const why = whyNoBrowser();
if (why !== undefined) console.warn(`skipped the bundle in a page: ${why}`);

interface Result {
  readonly drawn: number[];
  readonly said: string[];
}

/** Runs in the page. */
const inside = `(async () => {
  const { open } = await import("/index.js");
  const model = await open();
  const picture = { height: 4, width: 4, channels: 1, data: Float32Array.from({ length: 16 }, (_, i) => i / 16) };
  const { picture: drawn } = await model.draw({ caption: "a 7" }, { seed: 5 });
  const said = await model.describeMany([{ picture }, { picture: { ...picture, data: picture.data.map((x) => 1 - x) } }], { seed: 5, samplers: { text: { kind: "greedy" } } });
  await model.destroy();
  return { drawn: [...drawn.data], said: said.map((s) => s.caption) };
})()`;

describe.skipIf(why !== undefined)("a bundle in a page", () => {
  const place = scratch();
  let tiny: TinyBundle;
  beforeAll(async () => {
    tiny = await tinyBundle(place);
  }, 120_000);
  afterAll(() => place.remove());

  test("draws and describes as it does in Node", { timeout: 180_000 }, async () => {
    const page = (await inPage(tiny.bundle, "/", (p) => p.evaluate(inside))) as Result;
    const model = await load(tiny.bundle);
    const { picture: drawn } = await model.run("draw", { caption: "a 7" }, { seed: 5 });
    const said = await model.runMany("describe", [{ picture: PICTURE }, { picture: { ...PICTURE, data: PICTURE.data.map((x) => 1 - x) } }], { seed: 5, samplers: { text: { kind: "greedy" } } });
    await model.destroy();
    await model.machine.host.destroy();
    expect(page.said).toEqual(said.map((s) => s.caption));
    const here = typeof drawn === "object" ? [...drawn.data] : [];
    expect(page.drawn.length).toBe(16);
    page.drawn.forEach((x, i) => expect(x).toBeCloseTo(here[i] ?? Number.NaN, 4));
  });

  test("says in a page, too, which file is missing", { timeout: 120_000 }, async () => {
    const message = await inPage(tiny.bundle, "/", (p) => p.evaluate(`import("/runtime/runtime.js").then(({ load }) => load("data:text/plain,").catch((e) => e.code + " " + e.message))`));
    expect(message).toMatch(/E057\d/);
  });
});
