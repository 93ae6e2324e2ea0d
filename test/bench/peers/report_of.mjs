// Runs one contender in a process of its own. In: a script, variables of its environment and its name. Out: the line of JSON that it
// prints last, or undefined with its errors on stderr where it fails.

import { spawn } from "node:child_process";
import { env, stderr } from "node:process";

export function reportOf(script, extra, name = script) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [script], { env: { ...env, ...extra }, stdio: ["ignore", "pipe", "pipe"] });
    let out = "", errors = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    child.on("close", (code) => {
      const line = out.split("\n").findLast((text) => text.startsWith("{"));
      if (code === 0 && line !== undefined) return resolve(JSON.parse(line));
      stderr.write(`${name} failed with exit code ${code}\n${errors}\n`);
      resolve(undefined);
    });
  });
}
