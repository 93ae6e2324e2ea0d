// docs/masks.md and the pictures of stdlib/masks are what the compiler says today; `node scripts/mask_gallery.mjs` writes them anew.

import { join } from "node:path";
import { expect, test } from "vitest";
import { namesOf } from "../../compiler/types/library.ts";
import { root } from "../types/loader.ts";
import { libraryPath, libraryText, masksOnPage, page } from "./gallery.ts";

const masks = namesOf("std.masks") ?? [];

test.each(masks)("the picture of %s", async (mask) => {
  await expect(await libraryText(mask)).toMatchFileSnapshot(libraryPath(mask));
});

test("the page has every mask, and is what the library says", async () => {
  expect([...masksOnPage].sort()).toEqual([...masks].sort());
  await expect(await page()).toMatchFileSnapshot(join(root, "docs/masks.md"));
});
