// WebGPU in a real page, through the same device layer as in Node; and that the harness sees a page's errors.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inPage, serveFolder, whyNoBrowser } from "./harness.ts";

const why = whyNoBrowser();
if (why !== undefined) console.warn(`skipped browser tests: ${why}`);

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "heddle-page-"));
  await build({ entryPoints: [resolve(import.meta.dirname, "device_page.ts")], outfile: join(folder, "page.js"), bundle: true, platform: "browser", format: "iife", logLevel: "silent" });
  writeFileSync(join(folder, "index.html"), '<!doctype html><script src="/page.js"></script>');
  writeFileSync(join(folder, "bad.html"), "<script>throw new Error('on purpose')</script>");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(why !== undefined)("in a page", () => {
  it("adds two vectors", async () => {
    const result = await inPage(folder, "/", (page) => page.evaluate("addVectors()"));
    expect(result).toMatchObject({ sum: [11, 22, 33, 44], refused: "E0505", info: { kind: "browser", fallback: true, trusted: false } });
  });

  it("reports itself as `heddle doctor` does", async () => {
    const text = await inPage(folder, "/", (page) => page.evaluate("doctor()"));
    expect(text).toMatch(/machine {4}browser/);
    expect(text).toMatch(/ready to run/);
  });

  it("does not hide a page's errors", async () => {
    await expect(inPage(folder, "/bad.html", async () => {})).rejects.toThrow(/on purpose/);
    await expect(inPage(folder, "/", (page) => page.evaluate("fetch('/missing').then((r) => r.status)"))).rejects.toThrow(/404/);
  });
});

it("serves only the folder", async () => {
  const server = await serveFolder(folder);
  expect((await fetch(`${server.origin}/%2e%2e/%2e%2e/etc/passwd`)).status).toBe(404);
  expect((await fetch(`${server.origin}/..%2f..%2fetc/passwd`)).status).toBe(403);
  expect((await fetch(`${server.origin}/page.js`)).headers.get("content-type")).toBe("text/javascript");
  await server.close();
});
