// Archives: names long and hostile, cut short; folders that appear whole or not at all.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { cached, untar } from "../../runtime/device/cache.ts";
import { HeddleError } from "../../runtime/error.ts";

let folder: string;
let before: string | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-test-"));
  before = process.env["HEDDLE_CACHE"];
  process.env["HEDDLE_CACHE"] = folder;
});
afterEach(() => {
  if (before === undefined) delete process.env["HEDDLE_CACHE"];
  else process.env["HEDDLE_CACHE"] = before;
  rmSync(folder, { recursive: true, force: true });
});

function entry(name: string, body: string, kind = "0", prefix = ""): Uint8Array {
  const bytes = new TextEncoder().encode(body);
  const out = new Uint8Array(512 + Math.ceil(bytes.length / 512) * 512);
  const put = (text: string, at: number) => out.set(new TextEncoder().encode(text), at);
  put(name, 0);
  put("0000755\0", 100);
  put(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
  put(kind, 156);
  put("ustar\0", 257);
  put(prefix, 345);
  out.set(bytes, 512);
  return out;
}
const tar = (...entries: Uint8Array[]) => Buffer.concat([...entries, new Uint8Array(1024)]);

it("unpacks plain, prefixed, pax and GNU names and leaves links out", () => {
  const long = `${"d".repeat(60)}/${"f".repeat(90)}`;
  const pax = ` path=${long}.pax\n`;
  const record = `${pax.length + 3}${pax}`;
  const names = untar(tar(entry("a/b.txt", "one"), entry("c", "two", "0", "deep"), entry("x", record, "x"), entry("short", "three"), entry("y", `${long}.gnu`, "L"), entry("short", "four"), entry("link", "", "2")), folder);
  expect(names).toEqual(["a/b.txt", "deep/c", `${long}.pax`, `${long}.gnu`]);
  expect(readFileSync(join(folder, "a/b.txt"), "utf8")).toBe("one");
  expect(readFileSync(join(folder, `${long}.gnu`), "utf8")).toBe("four");
});

it.each(["../evil", "a/../../evil", "/etc/evil-heddle"])("refuses %s", (name) => {
  expect(() => untar(tar(entry(name, "x")), folder)).toThrow(HeddleError);
});

it("refuses an archive cut short", () => {
  expect(() => untar(tar(entry("a", "x".repeat(600))).subarray(0, 1024), folder)).toThrow(/cut short/);
});

it("leaves nothing behind when filling fails, and fills once", async () => {
  await expect(cached("thing-1", () => { throw new Error("no space left"); })).rejects.toMatchObject({ code: "E0507" });
  expect(readdirSync(folder)).toEqual([]);
  let times = 0;
  const fill = (temp: string) => { times++; writeFileSync(join(temp, "f"), "x"); };
  const path = await cached("thing-1", fill);
  expect(await cached("thing-1", fill)).toBe(path);
  expect(times).toBe(1);
  expect(readdirSync(folder)).toEqual(["thing-1"]);
});
