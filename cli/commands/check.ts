// heddle check: parse and check specs; every diagnostic of every file in one run.

import type { Command } from "commander";
import { diagnosticsToJson } from "../../compiler/report/json.ts";
import { dimText } from "../../compiler/dim/dim.ts";
import { parameterCounts } from "../../compiler/routing/active.ts";
import type { Model } from "../../compiler/types/model.ts";
import { EXIT, Exit } from "../exit_code.ts";
import { checkSpec, hasErrors, report } from "../spec.ts";

const summaryOf = (m: Model) => ({
  name: m.name,
  streams: m.streams.map((s) => s.name),
  tasks: m.tasks.map((t) => t.name),
  parameters: parameterCounts(m).all,
  /** At most so many are used for one token. */
  active: parameterCounts(m).active,
  notBuilt: m.notBuilt.length,
});

export function addCheck(program: Command): void {
  program
    .command("check")
    .description("check specs: syntax, names, axes, tasks, losses")
    .argument("<spec...>", ".heddle files")
    .option("--json", "diagnostics and models as JSON on stdout")
    .action((files: string[], options: { json?: boolean }) => {
      let failed = false;
      const all: unknown[] = [];
      for (const file of files) {
        const checked = checkSpec(file);
        failed ||= hasErrors(checked.diagnostics);
        const notBuilt = checked.models.flatMap((m) => m.notBuilt);
        if (options.json) {
          all.push({ file, diagnostics: diagnosticsToJson([...checked.diagnostics, ...notBuilt], checked.sources), models: checked.models.map(summaryOf) });
          continue;
        }
        report({ diagnostics: [...checked.diagnostics, ...notBuilt], sources: checked.sources }, false);
        if (!hasErrors(checked.diagnostics))
          for (const m of checked.models) {
            const s = summaryOf(m);
            process.stdout.write(`${file}: model ${m.name}: ${s.parameters.toLocaleString("en")} parameters${s.active < s.parameters ? ` (a token uses at most ${s.active.toLocaleString("en")})` : ""}, width ${dimText(m.network.width.size)}, tasks ${m.tasks.map((t) => t.name).join(", ")}\n`);
          }
      }
      if (options.json) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
      if (failed) throw new Exit(EXIT.failed);
    });
}
