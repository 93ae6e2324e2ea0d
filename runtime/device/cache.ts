// The per-user cache folder, and archives unpacked into it once. Node only. A folder appears whole or not at all: it is
// unpacked beside its place and renamed, so concurrent processes and kills are harmless. Refuses entries that leave the folder.

import { randomBytes } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { HeddleError, messageOf } from "../error.ts";

/** `HEDDLE_CACHE`, else the platform's cache folder, else one in the temp folder that only this user may enter. */
export function cacheFolder(): string {
  const chosen = process.env["HEDDLE_CACHE"];
  if (chosen) return made(chosen) ?? refuse(chosen);
  const base =
    process.platform === "win32" ? process.env["LOCALAPPDATA"]
    : process.platform === "darwin" ? join(homedir(), "Library", "Caches")
    : process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const place = base === undefined ? undefined : made(join(base, "heddle"));
  if (place !== undefined) return place;
  const user = process.getuid?.() ?? "user";
  const fallback = join(tmpdir(), `heddle-${user}`);
  return made(fallback) ?? refuse(fallback);
}

function made(path: string): string | undefined {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const stat = lstatSync(path);
    // Libraries are loaded from here: a folder that somebody else put in our place is not ours to trust.
    if (!stat.isDirectory() || (process.getuid !== undefined && stat.uid !== process.getuid())) return undefined;
    return path;
  } catch {
    return undefined;
  }
}

function refuse(path: string): never {
  throw new HeddleError({
    code: "E0507",
    message: `cannot use the cache folder \`${path}\``,
    place: path,
    help: "set HEDDLE_CACHE to a folder you own and may write to",
  });
}

/** Makes `cache/name` by `fill(temporary folder, final path)` unless it is there. Returns the final path. */
export async function cached(name: string, fill: (folder: string, final: string) => void | Promise<void>): Promise<string> {
  const final = join(cacheFolder(), name);
  if (existsSync(final)) return final;
  const temp = `${final}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    mkdirSync(temp, { recursive: true, mode: 0o700 });
    await fill(temp, final);
    renameSync(temp, final);
  } catch (thrown) {
    rmSync(temp, { recursive: true, force: true });
    if (existsSync(final)) return final; // another process was first
    if (thrown instanceof HeddleError) throw thrown;
    throw new HeddleError({
      code: "E0507",
      message: `cannot unpack into the cache folder: ${messageOf(thrown)}`,
      place: final,
      help: "free some disk space, or set HEDDLE_CACHE to another folder",
      cause: thrown,
    });
  }
  return final;
}

/** The folder of an installed package and its version; undefined where it is not installed (it may be optional). */
export function installedPackage(name: string): { readonly folder: string; readonly version: string } | undefined {
  const require = createRequire(import.meta.url);
  for (const base of require.resolve.paths(name) ?? []) {
    const folder = join(base, name);
    try {
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version?: string };
      return { folder, version: manifest.version ?? "0" };
    } catch {
      continue;
    }
  }
  return undefined;
}

/** Writes the files of a tar archive (ustar, pax and GNU long names) under `folder`; links and devices are left out. */
export function untar(tar: Uint8Array, folder: string, keep: (path: string) => boolean = () => true): string[] {
  const text = (from: number, length: number): string => {
    const bytes = tar.subarray(from, from + length);
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  };
  const written: string[] = [];
  let longName: string | undefined;
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || "0", 8);
    const body = at + 512;
    if (!Number.isInteger(size) || size < 0 || body + size > tar.length) {
      throw new HeddleError({ code: "E0507", message: "an archive is cut short", place: folder, help: "reinstall the packages: `npm ci`" });
    }
    const kind = text(at + 156, 1);
    const prefix = text(at + 257, 5) === "ustar" ? text(at + 345, 155) : "";
    const name = longName ?? (prefix ? `${prefix}/${text(at, 100)}` : text(at, 100));
    longName = undefined;
    if (kind === "L") longName = text(body, size);
    else if (kind === "x") longName = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(text(body, size))?.[1];
    else if ((kind === "0" || kind === "") && keep(name)) {
      const path = resolve(folder, name);
      const inside = relative(folder, path);
      if (inside === "" || inside.startsWith(`..${sep}`) || inside === "..") {
        throw new HeddleError({ code: "E0507", message: `an archive holds a path outside its folder: \`${name}\``, place: folder });
      }
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, tar.subarray(body, body + size), { mode: Number.parseInt(text(at + 100, 8).trim() || "644", 8) & 0o755 });
      written.push(name);
    }
    at = body + Math.ceil(size / 512) * 512;
  }
  return written;
}
