// Files that a command writes: whole or not at all, or to stdout for `-`. In: a path and its content. Refuses a folder that is not there.

import { existsSync } from "node:fs";
import path from "node:path";
import { HeddleError } from "../runtime/error.ts";
import { writeAtomically } from "../runtime/weights/file.ts";

/** A file in a folder that exists: said before the work, not after it. */
export function requireFolder(file: string): void {
  if (file !== "-" && !existsSync(path.dirname(path.resolve(file)))) throw new HeddleError({ code: "E0512", message: `cannot write \`${file}\`: its folder does not exist`, help: "make the folder or save elsewhere", exit: 2 });
}

export async function write(file: string, content: string | Uint8Array): Promise<void> {
  if (file === "-") {
    process.stdout.write(content);
    return;
  }
  await writeAtomically(file, content);
  process.stderr.write(`wrote ${file}\n`);
}
