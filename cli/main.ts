#!/usr/bin/env node
// The heddle command. Data goes to stdout, words to stderr; exit codes in exit_code.ts and docs/cli.md.

import { Command, CommanderError } from "commander";
import { HeddleError, renderHeddleError } from "../runtime/error.ts";
import type { Code } from "../grammar/codes.ts";
import { EXIT, Exit } from "./exit_code.ts";
import { version } from "./package_root.ts";

const program = new Command("heddle")
  .description("a small declarative language for multimodal models, its compiler and runtime")
  .version(version)
  .showHelpAfterError("(--help shows the options)")
  .exitOverride();

// Only what is asked for is loaded: the compiler costs a second that `heddle run` and `heddle explain E0214` need not pay.
const commands: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  check: async () => (await import("./commands/check.ts")).addCheck,
  fmt: async () => (await import("./commands/fmt.ts")).addFmt,
  explain: async () => (await import("./commands/explain.ts")).addExplain,
  build: async () => (await import("./commands/build.ts")).addBuild,
  run: async () => (await import("./commands/run.ts")).addRun,
  generate: async () => (await import("./commands/generate.ts")).addGenerate,
  train: async () => (await import("./commands/train.ts")).addTrain,
  doctor: async () => (await import("./commands/doctor.ts")).addDoctor,
};
const asked = process.argv.slice(2).find((a) => !a.startsWith("-"));
const wanted = asked !== undefined && Object.hasOwn(commands, asked) ? [asked] : Object.keys(commands);
for (const name of wanted) (await commands[name]?.())?.(program);
for (const c of program.commands) c.exitOverride().showHelpAfterError("(--help shows the options)");

function fail(thrown: unknown): number {
  if (thrown instanceof Exit) return thrown.code;
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (thrown instanceof HeddleError) {
    process.stderr.write(`${renderHeddleError(thrown)}\n`);
    return thrown.exit;
  }
  const code: Code = "B0000";
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  process.stderr.write(`bug[${code}]: ${text}\n  = help: this is a defect of Heddle ${version}: please report it with the spec and the output of \`heddle doctor\`\n`);
  return EXIT.bug;
}

// A reader that went away (`| head`) is no failure.
process.stdout.on("error", (e: NodeJS.ErrnoException) => process.exit(e.code === "EPIPE" ? EXIT.ok : EXIT.failed));

let code: number = EXIT.ok;
try {
  await program.parseAsync();
} catch (thrown) {
  code = fail(thrown);
}
// Dawn may hold the loop, so the process is ended, and an end leaves behind what a pipe has not taken yet.
process.exitCode ||= code;
for (const out of [process.stdout, process.stderr]) await new Promise((done) => out.write("", done));
setImmediate(() => process.exit(process.exitCode));
