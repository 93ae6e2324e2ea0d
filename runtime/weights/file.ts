// Files of the runtime in Node: read whole, written atomically. A write goes to a temporary file beside the target, reaches the disk
// (fsync) and takes the target's name in one step, so a full disk or a kill leaves the old file as it was. Every failure is a
// HeddleError that names the file and what to do, and leaves no temporary file.

import { randomBytes } from "node:crypto";
import { open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HeddleError, messageOf } from "../error.ts";
import { parseSafetensors, type SafeTensors, type TensorData, writeSafetensors } from "./safetensors.ts";

export async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (thrown) {
    throw readError(path, thrown);
  }
}

export async function readSafetensors(path: string): Promise<SafeTensors> {
  return parseSafetensors(await readBytes(path), path);
}

export async function saveSafetensors(path: string, tensors: Iterable<TensorData>, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
  await writeAtomically(path, writeSafetensors(tensors, metadata));
}

/** Replaces `path` by `content`, all or nothing. */
export async function writeAtomically(path: string, content: Uint8Array | string): Promise<void> {
  const temp = join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  try {
    await writeDurably(temp, content);
    await rename(temp, path);
    await syncFolder(dirname(path));
  } catch (thrown) {
    await rm(temp, { force: true }).catch(() => {});
    throw writeError(path, thrown);
  }
}

/** Writes a new file through to the disk. */
export async function writeDurably(path: string, content: Uint8Array | string): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a rename durable; not every file system can, and then the rename is still atomic. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch {
    return;
  }
}

export function readError(path: string, thrown: unknown): HeddleError {
  if (thrown instanceof HeddleError) return thrown;
  const reasons: Readonly<Record<string, readonly [string, string]>> = {
    ENOENT: ["there is no file", "check the path"],
    EACCES: ["may not be read", "change its permissions or run as its owner"],
    EPERM: ["may not be read", "change its permissions or run as its owner"],
    EISDIR: ["is a folder, not a file", "name a file in it"],
    ENOTDIR: ["lies under something that is not a folder", "check the path"],
  };
  const [what, help] = reasons[errorCode(thrown)] ?? [`cannot be read: ${messageOf(thrown)}`, "check the disk"];
  const message = what.startsWith("there") ? `${what} \`${path}\`` : `\`${path}\` ${what}`;
  return new HeddleError({ code: "E0511", message, place: path, help, cause: thrown });
}

export function writeError(path: string, thrown: unknown): HeddleError {
  if (thrown instanceof HeddleError) return thrown;
  const reasons: Readonly<Record<string, readonly [string, string]>> = {
    ENOSPC: ["the disk is full", "free some space or save elsewhere; what was saved before is intact"],
    EDQUOT: ["your disk quota is used up", "free some space or save elsewhere; what was saved before is intact"],
    EFBIG: ["the file is larger than this system allows", "raise the limit (`ulimit -f`) or save elsewhere; what was saved before is intact"],
    EROFS: ["the file system is read-only", "save elsewhere"],
    EACCES: ["it may not be written", "change the folder's permissions or save elsewhere"],
    EPERM: ["it may not be written", "change the folder's permissions or save elsewhere"],
    ENOENT: ["its folder does not exist", "make the folder or save elsewhere"],
    ENOTDIR: ["it lies under something that is not a folder", "save elsewhere"],
    EISDIR: ["a folder has its name", "remove the folder or save elsewhere"],
    EEXIST: ["something has its name already", "remove it or save elsewhere"],
    ENOTEMPTY: ["a folder with files has its name", "remove it or save elsewhere"],
  };
  const [why, help] = reasons[errorCode(thrown)] ?? [messageOf(thrown), "check the disk; what was saved before is intact"];
  return new HeddleError({ code: "E0512", message: `cannot write \`${path}\`: ${why}`, place: path, help, cause: thrown });
}

export function errorCode(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : "";
}
