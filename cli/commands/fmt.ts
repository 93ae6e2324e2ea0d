// heddle fmt: the canonical form, written in place; --check only asks.

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { format } from "../../compiler/ast/format.ts";
import { makeSource } from "../../grammar/source.ts";
import { writeAtomically } from "../../runtime/weights/file.ts";
import { EXIT, Exit } from "../exit_code.ts";
import { hasErrors, readSource, report } from "../spec.ts";

export function addFmt(program: Command): void {
  program
    .command("fmt")
    .description("format specs in place; comments stay")
    .argument("<spec...>", ".heddle files, or - for stdin to stdout")
    .option("--check", "change nothing; exit 1 when a file is not formatted")
    .action(async (files: string[], options: { check?: boolean }) => {
      let failed = false;
      for (const file of files) {
        const source = file === "-" ? makeSource("stdin", readFileSync(0, "utf8")) : readSource(file);
        const { text, diagnostics } = format(source);
        if (hasErrors(diagnostics) || text === undefined) {
          report({ diagnostics, sources: (name) => (name === source.path ? source : undefined) }, false);
          failed = true;
        } else if (file === "-") process.stdout.write(text);
        else if (text !== source.text) {
          if (options.check) {
            process.stdout.write(`${file} is not formatted\n`);
            failed = true;
          } else {
            await writeAtomically(file, text);
            process.stdout.write(`${file}\n`);
          }
        }
      }
      if (failed) throw new Exit(EXIT.failed);
    });
}
