// Checkpoints: RUN/step-000123/{weights,optimizer,ema}.safetensors and state.json. A checkpoint is written to a temporary folder, reaches
// the disk and takes its name in one step, so a kill or a full disk at any moment leaves every earlier one whole. state.json holds
// each file's length and SHA-256: a damaged checkpoint is refused by name, and the newest sound one is offered.

import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HeddleError, messageOf } from "../error.ts";
import { errorCode, readBytes, readError, syncFolder, writeDurably, writeError } from "../weights/file.ts";
import { parseSafetensors, type SafeTensors, type TensorData, writeSafetensors } from "../weights/safetensors.ts";

export interface Checkpoint {
  readonly path: string;
  readonly step: number;
  /** What the trainer saved beside the tensors. */
  readonly state: Readonly<Record<string, unknown>>;
  /** `weights`, `optimizer`, `ema`. */
  readonly tensors: Readonly<Record<string, SafeTensors>>;
}

export interface CheckpointContent {
  readonly step: number;
  /** Any JSON: seeds, the order's place, settings. */
  readonly state: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, Iterable<TensorData>>>;
}

interface Listed {
  readonly path: string;
  readonly step: number;
  readonly revision: number;
}

const format = 1;
const complete = /^step-(\d+)(?:\.(\d+))?$/;
const temporary = /^\.step-.*\.(\d+)-[0-9a-f]{8}\.tmp$/;

/** Saves and returns the checkpoint's path; then removes all but the newest `keep`. */
export async function saveCheckpoint(run: string, content: CheckpointContent, keep = Infinity): Promise<string> {
  const stem = `step-${String(content.step).padStart(6, "0")}`;
  let temp: string | undefined;
  try {
    await mkdir(run, { recursive: true });
    const there = await listCheckpoints(run);
    const same = there.filter((each) => each.step === content.step);
    // A step saved again gets a revision: replacing a folder is not atomic, adding one is.
    const name = same.length === 0 ? stem : `${stem}.${Math.max(...same.map((each) => each.revision)) + 1}`;
    temp = temporaryName(run, name);
    await mkdir(temp);
    const files: Record<string, { bytes: number; sha256: string }> = {};
    for (const [part, tensors] of Object.entries(content.tensors)) {
      const bytes = writeSafetensors(tensors, { format: "heddle" });
      await writeDurably(join(temp, `${part}.safetensors`), bytes);
      files[part] = { bytes: bytes.length, sha256: digest(bytes) };
    }
    const state = JSON.stringify({ format, step: content.step, files, state: content.state }, null, 1);
    await writeDurably(join(temp, "state.json"), `${state}\n`);
    await syncFolder(temp);
    const path = join(run, name);
    await rename(temp, path);
    await syncFolder(run);
    const old = [...there.filter((each) => each.step !== content.step).slice(0, Math.max(0, keep - 1)).map((each) => each.path), path];
    for (const each of there) if (!old.includes(each.path)) await discard(run, each.path);
    await sweep(run);
    return path;
  } catch (thrown) {
    if (temp !== undefined) await rm(temp, { recursive: true, force: true }).catch(() => {});
    throw writeError(join(run, stem), thrown);
  }
}

/** Complete checkpoints of a run, newest first; no folder means none. */
export async function listCheckpoints(run: string): Promise<Listed[]> {
  let names: string[];
  try {
    names = await readdir(run);
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return [];
    throw readError(run, thrown);
  }
  const found = names.flatMap((name) => {
    const match = complete.exec(name);
    return match === null ? [] : [{ path: join(run, name), step: Number(match[1]), revision: Number(match[2] ?? 0) }];
  });
  return found.sort((a, b) => b.step - a.step || b.revision - a.revision);
}

/**
 * Opens a checkpoint folder, or the newest of a run. A damaged one is an error that offers the newest sound one before it.
 * @example const from = await openCheckpoint("runs/digits")
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (complete.test(basename(path))) return withOffer(path, dirname(path));
  const newest = (await listCheckpoints(path))[0];
  if (newest === undefined) {
    throw new HeddleError({ code: "E0538", message: `no checkpoint in \`${path}\``, place: path, help: "name the folder that `heddle train` saved to, or train without --resume" });
  }
  return withOffer(newest.path, path);
}

/** One file of a checkpoint, such as `ema`, and an error where it is not what was saved. */
export async function readPart(path: string, part: string): Promise<Uint8Array> {
  const name = `${part}.safetensors`;
  const bytes = await readBytes(join(path, name));
  const damaged = (why: string, cause?: unknown): HeddleError =>
    new HeddleError({ code: "E0537", message: `the checkpoint is damaged: ${why}`, place: path, help: "name another checkpoint of the run", cause });
  let files: unknown;
  try {
    files = (JSON.parse(new TextDecoder().decode(await readBytes(join(path, "state.json")))) as Record<string, unknown> | null)?.["files"];
  } catch (thrown) {
    throw damaged("`state.json` cannot be read", thrown);
  }
  const saved = isRecord(files) ? files[part] : undefined;
  if (!isRecord(saved) || saved["bytes"] !== bytes.length || saved["sha256"] !== digest(bytes)) throw damaged(`\`${name}\` is not what was saved`);
  return bytes;
}

async function withOffer(path: string, run: string): Promise<Checkpoint> {
  try {
    return await readCheckpoint(path);
  } catch (thrown) {
    if (!(thrown instanceof HeddleError) || thrown.code !== "E0537") throw thrown;
    const list = await listCheckpoints(run);
    for (const { path: other } of list.slice(list.findIndex((each) => each.path === path) + 1)) {
      if (await readCheckpoint(other).then(() => true, () => false)) {
        throw new HeddleError({ code: thrown.code, message: thrown.message, place: thrown.place, help: `resume from the one before it: \`--resume ${other}\``, cause: thrown });
      }
    }
    throw thrown;
  }
}

async function readCheckpoint(path: string): Promise<Checkpoint> {
  const damaged = (why: string, cause?: unknown): HeddleError =>
    new HeddleError({ code: "E0537", message: `the checkpoint is damaged: ${why}`, place: path, help: "there is no sound one before it: train again", cause });
  const read = async (name: string): Promise<Uint8Array> => {
    try {
      return await readBytes(join(path, name));
    } catch (thrown) {
      throw damaged(messageOf(thrown), thrown);
    }
  };
  let header: Record<string, unknown>;
  const text = new TextDecoder().decode(await read("state.json"));
  try {
    header = JSON.parse(text) as Record<string, unknown>;
  } catch (thrown) {
    throw damaged("`state.json` is not JSON", thrown);
  }
  const { step, files, state } = header ?? {};
  if (header?.["format"] !== format) throw damaged(`\`state.json\` has the format ${JSON.stringify(header?.["format"])}, this version reads ${format}`);
  if (!Number.isSafeInteger(step) || !isRecord(files) || !isRecord(state)) throw damaged("`state.json` lacks its step, files or state");
  const tensors: Record<string, SafeTensors> = {};
  for (const [part, expected] of Object.entries(files)) {
    const name = `${part}.safetensors`;
    const bytes = await read(name);
    if (!isRecord(expected) || expected["bytes"] !== bytes.length) throw damaged(`\`${name}\` has ${bytes.length} bytes, not as many as were saved`);
    if (expected["sha256"] !== digest(bytes)) throw damaged(`\`${name}\` is not what was saved`);
    tensors[part] = parseSafetensors(bytes, join(path, name));
  }
  return { path, step: step as number, state, tensors };
}

/** Out of sight first: a checkpoint half removed must not look complete. */
async function discard(run: string, path: string): Promise<void> {
  const temp = temporaryName(run, basename(path));
  try {
    await rename(path, temp);
    await rm(temp, { recursive: true, force: true });
  } catch {
    return; // an old checkpoint too many harms nothing
  }
}

/** Removes what killed processes left. */
async function sweep(run: string): Promise<void> {
  for (const name of await readdir(run)) {
    const owner = Number(temporary.exec(name)?.[1] ?? process.pid);
    if (owner !== process.pid && !isAlive(owner)) await rm(join(run, name), { recursive: true, force: true }).catch(() => {});
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return errorCode(thrown) === "EPERM";
  }
}

function temporaryName(run: string, name: string): string {
  return join(run, `.${name}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
